"""A wide MLP for tables of many thousand columns: ReLU *then* BatchNorm, columns scaled to [0, 1] by the training rows.

rows (batch, n_features) ─ MinMaxScale ─ [Selector] ─ [Dense → ReLU → BatchNorm]* ─ Dense → ReLU ─ Dense ─ softmax
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from permgrad.backend import keras
from permgrad.errors import PermGradError
from permgrad.layers.scaling import MinMaxScale
from permgrad.layers.selectors import Selector


@dataclass(frozen=True)
class WideConfig:
    """Size of a wide MLP.

    Attributes
    ----------
    hidden_units : tuple of int
        Of the Dense layers before the logits; all but the last are followed by BatchNorm.
    gate_penalty : float, optional
        With a number, each column has a gate of its own (`Selector`, from 1 on), and so much times the sum of their
        absolute values is added to the loss.
    precision : str
        Keras dtype policy of the hidden layers; scaling and output stay in float32.
    random_state : int
        Of the initial weights.
    """

    hidden_units: tuple[int, ...] = (5000, 1000, 100, 10)
    gate_penalty: float | None = None
    precision: str = "float32"
    random_state: int = 0

    def __post_init__(self) -> None:
        if not self.hidden_units or min(self.hidden_units) < 1:
            raise PermGradError(f"hidden_units must be one or more sizes of at least 1, got {self.hidden_units!r}")
        if self.gate_penalty is not None and self.gate_penalty < 0:
            raise PermGradError(f"gate_penalty must be at least 0, got {self.gate_penalty}")
        if self.random_state < 0:
            raise PermGradError(f"random_state must be at least 0, got {self.random_state}")


def build_wide_mlp(config: WideConfig, rows: np.ndarray, n_classes: int) -> Any:
    """Build the network; it scales its columns by the training rows.

    Parameters
    ----------
    config : WideConfig
    rows : ndarray of shape (n_rows, n_features), float32
        Training rows. Only their columns' ranges are taken.
    n_classes : int

    Returns
    -------
    keras.Model
        (batch, n_features) → probabilities (batch, n_classes), float32.

    References
    ----------
    The order of ReLU and BatchNorm, and which layers have it, are those of the published tumour network. Initial
    weights are uniform within ±1/sqrt(inputs), as PyTorch draws them.
    """
    seeds = iter(np.random.default_rng(config.random_state).integers(2**31, size=len(config.hidden_units) + 1).tolist())

    def dense(units: int, name: str, dtype: str) -> Any:
        # VarianceScaling's uniform draws are within sqrt(3 * scale / fan_in).
        initial = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform", seed=next(seeds))
        return keras.layers.Dense(units, kernel_initializer=initial, dtype=dtype, name=name)

    inputs = keras.Input((rows.shape[1],), name="features")
    scale = MinMaxScale(name="scale")
    x = scale(inputs)
    scale.adapt(rows)
    if config.gate_penalty is not None:
        x = Selector("ones", keras.regularizers.L1(config.gate_penalty), name="selector")(x)
    for i, units in enumerate(config.hidden_units):
        x = dense(units, f"hidden_{i}", config.precision)(x)
        x = keras.layers.ReLU(dtype=config.precision)(x)
        if i < len(config.hidden_units) - 1:
            x = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, dtype=config.precision)(x)
    x = dense(n_classes, "logits", "float32")(x)
    return keras.Model(inputs, keras.layers.Softmax(dtype="float32", name="probabilities")(x), name="wide_mlp")
