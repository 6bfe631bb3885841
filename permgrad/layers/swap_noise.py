"""Swap noise: in training, some values of a row are another row's, so that no column is relied on alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from permgrad.backend import keras
from permgrad.errors import PermGradError

ops = keras.ops


@keras.saving.register_keras_serializable("permgrad")
class SwapNoise(keras.layers.Layer):
    """In training, replace values of some columns by another row's: (batch, n_features) → (batch, n_features), float32.

    The other row is the batch's one before, the same for all columns. How large a share of a row is replaced is drawn
    for each row, and then which bundles of columns are. Predicting, nothing changes.

    It is for columns that repeat one another: a network that cannot rely on any one of them learns to use them all, as
    one averages measurements. It also meets in training what the game asks it about: rows of which some values are a
    donor's.

    Parameters
    ----------
    bundles : array of int, shape (n_features,)
        Columns of one number are replaced together, such as those of a category; those below 0 never.
    rate : float
        Largest share, at least 0 and at most 1: of each row it is uniform between 0 and this.
    random_state : int

    References
    ----------
    Vincent, Larochelle, Bengio & Manzagol, Extracting and Composing Robust Features with Denoising Autoencoders (ICML
    2008), for noise on inputs; of swapping values between rows, Jahrer's solution of Porto Seguro (Kaggle, 2017).
    """

    def __init__(self, bundles: Any, rate: float, random_state: int = 0, **keywords: Any) -> None:
        super().__init__(**{"dtype": "float32", **keywords})
        if not 0 <= rate <= 1:
            raise PermGradError(f"the rate of swap noise must be between 0 and 1, got {rate}")
        self.bundles, self.rate, self.random_state = np.asarray(bundles, np.int32), float(rate), int(random_state)
        self.noise = keras.random.SeedGenerator(self.random_state)

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Swap values in training."""
        if not training:
            return x
        n_rows, n_bundles = ops.shape(x)[0], int(self.bundles.max()) + 1
        share = keras.random.uniform((n_rows, 1), maxval=self.rate, seed=self.noise)
        drawn = keras.random.uniform((n_rows, n_bundles), seed=self.noise) < share
        swapped = ops.take(drawn, np.maximum(self.bundles, 0), axis=1)
        return ops.where(ops.logical_and(swapped, self.bundles >= 0), ops.roll(x, 1, axis=0), x)

    def of_columns(self, x: Any, columns: np.ndarray) -> Any:
        """Return some of the columns, shape (n_rows, n_columns), as they are: nothing changes in prediction."""
        return x

    def columnwise_scale(self) -> np.ndarray:
        """Return 1 for each column, shape (n_features,), float32."""
        return np.ones(len(self.bundles), np.float32)

    def compute_output_shape(self, input_shape: tuple[int | None, int]) -> tuple[int | None, int]:
        """Return the input's."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the settings."""
        settings = {"bundles": self.bundles.tolist(), "rate": self.rate, "random_state": self.random_state}
        return {**super().get_config(), **settings}
