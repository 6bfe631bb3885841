"""Which pixels a table's columns write, and what they write there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from permgrad.backend import keras
from permgrad.importance.network.branches import Graph
from permgrad.importance.network.first_layer import FirstLayer, columnwise_until
from permgrad.layers.image import FeatureImage

ops = keras.ops


@dataclass(frozen=True, eq=False)
class Drawing:
    """The way from a branch's input to its image.

    Attributes
    ----------
    image : KerasTensor
        (batch, height, width, channels).
    before : FirstLayer, optional
        What a table goes through up to the layer that draws; without, the input is the image.
    """

    image: Any
    before: FirstLayer | None
    to_image: Any

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        height, width, channels = self.image.shape[1:]
        return height, width, channels

    @property
    def n_columns(self) -> int:
        """Count the columns in front of the image; of an image that is the input, its numbers."""
        return int(np.prod(self.shape if self.before is None else self.before.before.inputs[0].shape[1:]))

    def draw(self, rows: Any) -> Any:
        """Return the rows' images."""
        return ops.cast(rows, "float32") if self.to_image is None else self.to_image(rows, training=False)

    @cached_property
    def written(self) -> np.ndarray | None:
        """Numbers of the pixels that any column writes, ascending; None where the input is the image."""
        return None if self.before is None else np.unique(self._written[1])

    def draw_written(self, rows: Any) -> Any:
        """Return the rows' `written` pixels alone, (n_written, n_rows, 1)."""
        layer, before = self.before.layer, self.before.before  # type: ignore[union-attr]
        x = ops.pad(ops.cast(before(rows, training=False), "float32"), [[0, 0], [0, 1]])
        index, weight = layer.index[self.written], layer.weight[self.written]
        pixels = sum(ops.take(x, index[:, depth], axis=1) * weight[:, depth] for depth in range(index.shape[1]))
        return ops.transpose(pixels)[:, :, None]

    def drawn(self, columns: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return values of some columns as the image shows them, but for a constant: (n_rows, n_columns)."""
        if self.before is None:
            return values
        if self.before.linear:
            return values * self.before.scale[columns]
        return self.before.embedded(columns, values)

    def pixels(self, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what columns write: (place among `columns`, number in the flat image, weight), each time they do.

        The flat image's last axis is the channel's. A column may write no pixel at all.
        """
        if self.before is None:
            return np.arange(len(columns)), columns, np.ones(len(columns), np.float32)
        column, pixel, weight = self._written
        first, last = np.searchsorted(column, columns), np.searchsorted(column, columns, side="right")
        place = np.repeat(np.arange(len(columns)), last - first)
        at = np.concatenate([np.arange(0), *(np.arange(a, b) for a, b in zip(first, last, strict=True))])
        return place, pixel[at], weight[at]

    @cached_property
    def _written(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All that is written, by column: (column, pixel, weight)."""
        layer = self.before.layer  # type: ignore[union-attr]
        pixel, depth = np.nonzero((layer.weight != 0) & (layer.index < self.before.before.outputs[0].shape[-1]))  # type: ignore[union-attr]
        column = layer.index[pixel, depth]
        order = np.argsort(column, kind="stable")
        return column[order], pixel[order], layer.weight[pixel, depth][order]


def find_drawing(graph: Graph, encoder: Any) -> Drawing | None:
    """Find a branch's image: its input, or what a `FeatureImage` draws of columns kept apart; None without."""
    source = encoder.inputs[0]
    if len(source.shape) == 4:
        return Drawing(source, None, None)
    found = columnwise_until(graph, encoder, (FeatureImage,))
    if found is None:
        return None
    columnwise, before, node = found
    image = node.outputs[0]
    one_each = before.outputs[0].shape[-1] == source.shape[-1]  # no layer makes several numbers of a column
    first = FirstLayer(node.operation, before, None, None, columnwise)
    return Drawing(image, first, keras.Model(source, image)) if one_each else None
