"""The image of each row, as a layer: a linear map from features to pixels.

It computes in float32 whatever the model's precision, and is registered: a saved ``.keras`` file loads without custom
objects.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from permgrad.backend import keras
from permgrad.images.layout import FeatureLayout

ops = keras.ops


@keras.saving.register_keras_serializable("permgrad")
class FeatureImage(keras.layers.Layer):
    """Draw each row as an image, by a layout: (batch, n_features) → (batch, height, width, 1), float32.

    A linear map, done by one gather per feature that a pixel shows: one, but for layouts whose pixels
    show the mean of several. Same pixels as `FeatureLayout.render`.

    Parameters
    ----------
    shape : (int, int)
        Height and width.
    index, weight : lists of shape (height * width, depth)
        From `FeatureLayout.sources`.
    """

    def __init__(self, shape: Any, index: Any, weight: Any, **keywords: Any) -> None:
        super().__init__(**{"dtype": "float32", **keywords})
        self.shape = tuple(shape)
        self.index = np.asarray(index, np.int32)
        self.weight = np.asarray(weight, np.float32)

    @classmethod
    def from_layout(cls, layout: FeatureLayout, **keywords: Any) -> FeatureImage:
        """Build the layer that draws by `layout`."""
        return cls(layout.shape, *layout.sources(), **keywords)

    def call(self, x: Any) -> Any:
        """Draw a batch of scaled rows."""
        padded = ops.pad(x, [[0, 0], [0, 1]])  # (batch, n_features + 1): pixels without a feature read the zero
        image = sum(
            ops.take(padded, self.index[:, depth], axis=1) * self.weight[:, depth]  # (batch, height * width)
            for depth in range(self.index.shape[1])
        )
        return ops.reshape(image, (-1, *self.shape, 1))

    def compute_output_shape(self, input_shape: tuple[int | None, int]) -> tuple[int | None, int, int, int]:
        """Return (batch, height, width, 1)."""
        return (input_shape[0], *self.shape, 1)

    def get_config(self) -> dict[str, Any]:
        """Return the layout as plain lists."""
        lists = {"shape": list(self.shape), "index": self.index.tolist(), "weight": self.weight.tolist()}
        return {**super().get_config(), **lists}
