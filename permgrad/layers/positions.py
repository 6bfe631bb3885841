"""What a token of an image is told of its place: a trained vector for each place, added to it."""

from __future__ import annotations

from typing import Any

from permgrad.backend import keras

STDDEV = 0.02
"""Of the vectors at the start, as in Dosovitskiy et al. (2021)."""


@keras.saving.register_keras_serializable("permgrad")
class PositionEmbedding(keras.layers.Layer):
    """Add a trained vector to each token: (batch, n_tokens, width) → the same.

    Parameters
    ----------
    random_state : int, optional
        Of the vectors at the start, N(0, 0.02²).
    """

    def __init__(self, random_state: int | None = None, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.random_state = random_state

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the vectors, (n_tokens, width)."""
        initial = keras.initializers.RandomNormal(stddev=STDDEV, seed=self.random_state)
        self.vectors = self.add_weight(shape=input_shape[1:], initializer=initial, name="vectors")

    def call(self, tokens: Any) -> Any:
        """Add them."""
        return tokens + keras.ops.cast(self.vectors, tokens.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the input's."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the settings."""
        return {**super().get_config(), "random_state": self.random_state}
