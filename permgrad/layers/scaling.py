"""The scale of a table's columns, as layers.

They compute in float32 whatever the model's precision: half precision comes after scaling. They are
registered, so a saved ``.keras`` file loads without custom objects.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.preprocessing import PowerTransformer

from permgrad.backend import keras

ops = keras.ops
MOST_DEVIATIONS = 8.0
"""Beyond, one cell would outweigh all others."""
SMALLEST_POWER = 1e-6
"""Below, a power is taken for 0."""


@keras.saving.register_keras_serializable("permgrad")
class MinMaxScale(keras.layers.Layer):
    """Scale each column to [0, 1] over the training rows: ``(x - minimum) / (maximum - minimum)``.

    Input and output have shape (batch, n_features), float32. Rows beyond the training range are not
    clipped. The range is stored as weights that are not trained; see `adapt`.
    """

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**{"dtype": "float32", **keywords})

    def build(self, input_shape: tuple[int | None, int]) -> None:
        """Create the two weights, of shape (n_features,)."""
        self.minimum = self.add_weight(shape=input_shape[-1:], initializer="zeros", trainable=False, name="minimum")
        self.span = self.add_weight(shape=input_shape[-1:], initializer="ones", trainable=False, name="span")

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the layer; without this method Keras would forget its name."""
        return super().get_config()

    def adapt(self, X: np.ndarray) -> None:
        """Take the range from training rows of shape (n_rows, n_features); a constant column gets span 1."""
        low, high = X.min(axis=0), X.max(axis=0)
        self.minimum.assign(low)
        self.span.assign(np.where(high > low, high - low, 1))

    def call(self, x: Any) -> Any:
        """Scale a batch."""
        return (x - self.minimum) / self.span

    def of_columns(self, x: Any, columns: np.ndarray) -> Any:
        """Scale some of the columns, shape (n_rows, n_columns), alone."""
        return (x - ops.take(self.minimum, columns)) / ops.take(self.span, columns)

    def columnwise_scale(self) -> np.ndarray:
        """Return what each column is multiplied by, shape (n_features,)."""
        return 1 / ops.convert_to_numpy(self.span)

    @property
    def origin(self) -> Any:
        """What is scaled to 0, shape (n_features,)."""
        return self.minimum


@keras.saving.register_keras_serializable("permgrad")
class Standardise(keras.layers.Layer):
    """Standardise each column by the training rows: ``(x - mean) / standard deviation``, clipped to [-8, 8].

    Input and output have shape (batch, n_features), float32. A column of two values becomes 0 and 1 instead: its spread
    says how rare one of them is, not how much it matters. Mean and deviation are weights that are not trained; see
    `adapt`.
    """

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**{"dtype": "float32", **keywords})

    def build(self, input_shape: tuple[int | None, int]) -> None:
        """Create the two weights, of shape (n_features,)."""
        self.origin = self.add_weight(shape=input_shape[-1:], initializer="zeros", trainable=False, name="origin")
        self.spread = self.add_weight(shape=input_shape[-1:], initializer="ones", trainable=False, name="spread")

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the layer; without this method Keras would forget its name."""
        return super().get_config()

    def adapt(self, X: np.ndarray) -> None:
        """Take means and deviations from training rows of shape (n_rows, n_features); of a constant column, 1."""
        low, high = X.min(axis=0), X.max(axis=0)
        two_values = ((low == X) | (high == X)).all(axis=0)
        spread = np.where(two_values, high - low, X.std(axis=0, dtype=np.float64))
        self.origin.assign(np.where(two_values, low, X.mean(axis=0, dtype=np.float64)))
        self.spread.assign(np.where(spread > 0, spread, 1))

    def call(self, x: Any) -> Any:
        """Standardise a batch."""
        return ops.clip((x - self.origin) / self.spread, -MOST_DEVIATIONS, MOST_DEVIATIONS)

    def of_columns(self, x: Any, columns: np.ndarray) -> Any:
        """Standardise some of the columns, shape (n_rows, n_columns), alone."""
        scaled = (x - ops.take(self.origin, columns)) / ops.take(self.spread, columns)
        return ops.clip(scaled, -MOST_DEVIATIONS, MOST_DEVIATIONS)


@keras.saving.register_keras_serializable("permgrad")
class YeoJohnson(keras.layers.Layer):
    """Take the skew off each column by a power of its own: (batch, n_features) → the same shape, float32.

    For x ≥ 0 it is ``((1 + x) ** p - 1) / p`` (``log(1 + x)`` for p = 0), for x < 0 minus the same of -x with 2 - p.
    Columns should be standardised before: the 1 is added to numbers of about that size.

    Parameters
    ----------
    powers : list of float, one per column
        See `fit_powers`.

    References
    ----------
    Yeo & Johnson, A New Family of Power Transformations to Improve Normality or Symmetry, Biometrika 87 (2000).
    """

    def __init__(self, powers: Any, **keywords: Any) -> None:
        super().__init__(**{"dtype": "float32", **keywords})
        self.powers = np.asarray(powers, np.float32)

    @staticmethod
    def fit_powers(X: np.ndarray) -> np.ndarray:
        """Return the powers (n_features,) under which training rows (n_rows, n_features) are most likely normal."""
        return PowerTransformer(standardize=False).fit(np.asarray(X, float)).lambdas_

    def call(self, x: Any) -> Any:
        """Transform a batch."""
        power = ops.where(x >= 0, self.powers, 2 - self.powers)
        flat = ops.abs(power) < SMALLEST_POWER
        logarithm = ops.log1p(ops.abs(x))
        # expm1 keeps the digits that 1 + x would lose in float32; where the power is 0 the quotient is not looked at.
        grown = ops.expm1(power * logarithm) / ops.where(flat, 1.0, power)
        return ops.sign(x) * ops.where(flat, logarithm, grown)

    def compute_output_shape(self, input_shape: tuple[int | None, int]) -> tuple[int | None, int]:
        """Return the shape that came."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the powers."""
        return {**super().get_config(), "powers": self.powers.tolist()}
