"""A plain MLP: Dense → BatchNorm → ReLU for each hidden layer, dropout, logits.

rows (batch, n_features) ─ scale ─ [Dense → BatchNorm → ReLU]* ─ Dropout ─ Dense ─ softmax
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from permgrad.backend import keras
from permgrad.errors import PermGradError
from permgrad.layers.scaling import YeoJohnson
from permgrad.models.hybrid import BATCH_NORM_MOMENTUM

SMALLEST_VARIANCE = 1e-30


@dataclass(frozen=True)
class MLPConfig:
    """Size of an MLP.

    Attributes
    ----------
    hidden_units : tuple of int
        Of the Dense layers before the logits.
    dropout : float
        Share of the last hidden layer that is dropped in training.
    scaling : {"standard", "power"}
        Columns standardised; or also freed of their skew (`YeoJohnson`) and standardised again.
    precision : str
        Keras dtype policy of the hidden layers; scaling and output stay in float32.
    random_state : int
        Of the initial weights and of dropout.
    """

    hidden_units: tuple[int, ...] = (256, 512)
    dropout: float = 0.25
    scaling: Literal["standard", "power"] = "standard"
    precision: str = "float32"
    random_state: int = 0

    def __post_init__(self) -> None:
        if not self.hidden_units or min(self.hidden_units) < 1:
            raise PermGradError(f"hidden_units must be one or more sizes of at least 1, got {self.hidden_units!r}")
        if not 0 <= self.dropout < 1:
            raise PermGradError(f"dropout must be in [0, 1), got {self.dropout}")
        if self.scaling not in ("standard", "power"):
            raise PermGradError(f"scaling must be 'standard' or 'power', got {self.scaling!r}")
        if self.random_state < 0:
            raise PermGradError(f"random_state must be at least 0, got {self.random_state}")


def build_mlp(config: MLPConfig, rows: np.ndarray, n_classes: int) -> Any:
    """Build the network; it scales its columns by the training rows.

    Parameters
    ----------
    config : MLPConfig
    rows : ndarray of shape (n_rows, n_features), float32
        Training rows. Only their columns' means, variances and powers are taken.
    n_classes : int

    Returns
    -------
    keras.Model
        (batch, n_features) → probabilities (batch, n_classes), float32.
    """
    seeds = iter(np.random.default_rng(config.random_state).integers(2**31, size=len(config.hidden_units) + 2).tolist())

    def dense(units: int, name: str, dtype: str) -> Any:
        return keras.layers.Dense(
            units, kernel_initializer=keras.initializers.HeNormal(seed=next(seeds)), dtype=dtype, name=name
        )

    inputs = keras.Input((rows.shape[1],), name="features")
    x = inputs
    for layer in _scaling(config.scaling, rows):
        x = layer(x)
    for i, units in enumerate(config.hidden_units):
        x = dense(units, f"hidden_{i}", config.precision)(x)
        x = keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, dtype=config.precision)(x)
        x = keras.layers.ReLU(dtype=config.precision)(x)
    x = keras.layers.Dropout(config.dropout, seed=next(seeds), dtype=config.precision)(x)
    x = dense(n_classes, "logits", "float32")(x)
    return keras.Model(inputs, keras.layers.Softmax(dtype="float32", name="probabilities")(x), name="mlp")


def _scaling(kind: str, rows: np.ndarray) -> list[Any]:
    """Return the layers that scale a table as these rows ask for."""
    scale = _standardise(rows, "scale")
    if kind == "standard":
        return [scale]
    scaled = keras.ops.convert_to_numpy(scale(rows))
    power = YeoJohnson(YeoJohnson.fit_powers(scaled), name="power")
    return [scale, power, _standardise(keras.ops.convert_to_numpy(power(scaled)), "power_scale")]


def _standardise(rows: np.ndarray, name: str) -> Any:
    means, variances = rows.mean(axis=0, dtype=float), rows.var(axis=0, dtype=float)
    return keras.layers.Normalization(
        mean=means, variance=np.maximum(variances, SMALLEST_VARIANCE), dtype="float32", name=name
    )
