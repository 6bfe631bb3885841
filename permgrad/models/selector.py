"""An MLP behind a layer that selects columns.

rows (batch, n_features) ─ [scale] ─ noise ─ [Selector] ─ [Dense → [BatchNorm] → LeakyReLU → Dropout]* ─ Dense ─ softmax
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from permgrad.backend import keras
from permgrad.errors import PermGradError, listing
from permgrad.layers.selectors import (
    PENALTIES,
    AbsoluteNormal,
    ClampedSelector,
    NarrowingSelector,
    Selector,
    SelectorPenalty,
    StochasticSelector,
)
from permgrad.models.hybrid import BATCH_NORM_MOMENTUM

SELECTORS = ("none", "free", "clamped", "stochastic", "narrowing")
STARTS = ("random", "ones")
NEGATIVE_SLOPE = 0.2
SMALLEST_VARIANCE = 1e-30


@dataclass(frozen=True)
class SelectorConfig:
    """An MLP and its selector.

    Attributes
    ----------
    hidden_units : tuple of int
        Of the Dense layers before the logits.
    selector : {"free", "clamped", "stochastic", "narrowing", "none"}
        `Selector`, from N(0, 1) on, `ClampedSelector`, from |N(0, 0.2²)| on, `StochasticSelector`,
        `NarrowingSelector` (from 1 on); or a plain MLP.
    penalty : {"l1", "l2", "l1/l2"} or None
        Of the selector's weights; stochastic gates have one of their own.
    alpha : float
        The penalty's factor.
    start : {"random", "ones"}
        Where the weights of "free" and "clamped" begin: as published, or alike. (Gates and "narrowing" begin alike.)
    always : tuple of int
        Columns that pass the selector as they are.
    noise : float
        Standard deviation of the Gaussian noise added to each input in training.
    dropout : float
        After each hidden layer.
    batch_norm : bool
        After each hidden layer, before its LeakyReLU.
    precision : str
        Keras dtype policy of the hidden layers; input, selector and output stay in float32.
    random_state : int
        Of weights, noise and dropout.
    """

    hidden_units: tuple[int, ...] = (512, 128, 64)
    selector: str = "free"
    penalty: str | None = "l1"
    alpha: float = 0.1
    start: str = "random"
    always: tuple[int, ...] = ()
    noise: float = 0.2
    dropout: float = 0.3
    batch_norm: bool = False
    precision: str = "float32"
    random_state: int = 0

    def __post_init__(self) -> None:
        if not self.hidden_units or min(self.hidden_units) < 1:
            raise PermGradError(f"hidden_units must be one or more sizes of at least 1, got {self.hidden_units!r}")
        if self.selector not in SELECTORS:
            raise PermGradError(f"selector must be one of {listing(SELECTORS)}, got {self.selector!r}")
        if self.penalty not in (None, *PENALTIES):
            raise PermGradError(f"penalty must be None or one of {listing(PENALTIES)}, got {self.penalty!r}")
        if self.start not in STARTS:
            raise PermGradError(f"start must be one of {listing(STARTS)}, got {self.start!r}")
        for name in ("alpha", "noise", "random_state"):
            if not getattr(self, name) >= 0:
                raise PermGradError(f"{name} must be at least 0, got {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise PermGradError(f"dropout must be in [0, 1), got {self.dropout}")


def build_selector_mlp(
    config: SelectorConfig, n_features: int, n_classes: int, *, moments: tuple[np.ndarray, np.ndarray] | None = None
) -> Any:
    """Build the network.

    Parameters
    ----------
    config : SelectorConfig
    n_features, n_classes : int
    moments : (ndarray, ndarray), optional
        Mean and variance of each column over the training rows: a first layer standardises by them.

    Returns
    -------
    keras.Model
        (batch, n_features) → probabilities (batch, n_classes), float32.
    """
    drawn = np.random.default_rng(config.random_state).integers(2**31, size=2 * len(config.hidden_units) + 3)
    seeds = iter(drawn.tolist())
    inputs = keras.Input((n_features,), name="features")
    x = inputs
    if moments is not None:
        variance = np.maximum(moments[1], SMALLEST_VARIANCE)
        x = keras.layers.Normalization(mean=moments[0], variance=variance, dtype="float32", name="scale")(x)
    x = keras.layers.GaussianNoise(config.noise, seed=next(seeds), dtype="float32", name="noise")(x)
    selector = make_selector(config, next(seeds))
    x = x if selector is None else selector(x)
    for i, units in enumerate(config.hidden_units):
        initial = keras.initializers.GlorotUniform(seed=next(seeds))
        x = keras.layers.Dense(units, kernel_initializer=initial, dtype=config.precision, name=f"hidden_{i}")(x)
        if config.batch_norm:
            x = keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, dtype=config.precision)(x)
        x = keras.layers.LeakyReLU(NEGATIVE_SLOPE, dtype=config.precision)(x)
        x = keras.layers.Dropout(config.dropout, seed=next(seeds), dtype=config.precision)(x)
    initial = keras.initializers.GlorotUniform(seed=next(seeds))
    x = keras.layers.Dense(n_classes, kernel_initializer=initial, dtype="float32", name="logits")(x)
    return keras.Model(inputs, keras.layers.Softmax(dtype="float32", name="probabilities")(x), name="selector_mlp")


def make_selector(config: SelectorConfig, random_state: int) -> Selector | None:
    """Return the selector's layer, "selector" by name; None for a plain MLP."""
    if config.selector == "none":
        return None
    given: Any = {"always": config.always, "name": "selector"}
    if config.selector == "stochastic":
        return StochasticSelector(config.alpha, random_state=random_state, **given)
    penalty = SelectorPenalty(config.penalty, config.alpha) if config.penalty else None
    if config.selector == "narrowing":
        return NarrowingSelector("ones", penalty, **given)
    if config.selector == "clamped":
        drawn, layer = AbsoluteNormal(random_state=random_state), ClampedSelector
    else:
        drawn, layer = keras.initializers.RandomNormal(0.0, 1.0, seed=random_state), Selector
    return layer(drawn if config.start == "random" else "ones", penalty, **given)
