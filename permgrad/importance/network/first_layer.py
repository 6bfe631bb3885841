"""A branch split at its first Dense layer, behind which one column is one term of a sum.

Layers that scale each column on its own may stand before it (`columnwise_scale`), so the Dense layer's
sums, its pre-activations, are ``constant + sum_j scale_j x_j kernel_j``. Where column j changes by d_j they
change by ``d_j scale_j kernel_j``: the product of all columns with the kernel need not be repeated.

Layers may also bend each column on its own, or embed it as several numbers f_j(x_j) (`of_columns`). The sums are then
``constant + sum_j f_j(x_j) @ kernel_j`` and change by ``(f_j(new) - f_j(old)) @ kernel_j``: `FirstLayer.embedded`
computes f_j of the columns that change, alone. The first layer of a batch ensemble (`EnsembleDense`) is one wide Dense
layer here, network after network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from permgrad.backend import keras
from permgrad.importance.network.branches import Graph
from permgrad.layers.batch_ensemble import EnsembleDense
from permgrad.layers.selectors import ColumnMask

ops = keras.ops

ELEMENTWISE = ("Activation", "BatchNormalization", "Dropout", "ELU", "GaussianNoise", "LeakyReLU", "ReLU", "Rescaling")
"""Layers that may be computed in the same pass over memory as the sums before them."""


@dataclass(frozen=True, eq=False)
class FirstLayer:
    """A branch as ``finish(activate(sums(rows)))``.

    Attributes
    ----------
    layer : keras.layers.Dense or EnsembleDense
    before : keras.Model
        Rows → what goes into the layer.
    elementwise, after : keras.Model or None
        What follows its activation: layers that act on each unit alone, then the rest up to the code.
    columnwise : list of keras.layers.Layer
        What `before` consists of.
    """

    layer: Any
    before: Any
    elementwise: Any
    after: Any
    columnwise: list[Any]

    @property
    def width(self) -> int:
        """How many sums there are."""
        return self.layer.units * getattr(self.layer, "ensemble_size", 1)

    @property
    def linear(self) -> bool:
        """Whether columns are no more than scaled and shifted before they enter the layer."""
        return all(columnwise_scale(layer) is not None for layer in self.columnwise)

    @property
    def size(self) -> int:
        """How many inputs of the layer one column is, at most."""
        return math.prod(getattr(layer, "size", 1) for layer in self.columnwise)

    def positions(self, columns: np.ndarray) -> np.ndarray:
        """Return which inputs of the layer these columns are, column after column."""
        for layer in self.columnwise:
            columns = _positions(layer, columns)
        return columns

    @property
    def scale(self) -> np.ndarray:
        """What one unit of a column is worth where it enters the layer, as of now; (n_columns,), float32."""
        return self._product(self.columnwise)

    @property
    def gates(self) -> np.ndarray:
        """The part that selectors have in `scale`."""
        return self._product([layer for layer in self.columnwise if getattr(layer, "selects_columns", False)])

    def _product(self, layers: list[Any]) -> np.ndarray:
        """Multiply scales, column by column; only where no layer makes several numbers of a column."""
        product = np.ones(self.before.inputs[0].shape[1], np.float32)
        for layer in layers:
            product = product * columnwise_scale(layer)
        return product.astype(np.float32)

    @property
    def models(self) -> list[Any]:
        """What of Keras's is used, for `compiled`."""
        return [part for part in (self.before, self.layer, self.elementwise, self.after) if part is not None]

    def sums(self, rows: Any) -> Any:
        """Return the pre-activations (n_rows, units) in float32, also under mixed precision."""
        x = ops.cast(self.before(rows, training=False), "float32")
        if isinstance(self.layer, EnsembleDense):
            return ops.reshape(self.layer.sums(x), (-1, self.width))
        product = ops.matmul(x, ops.cast(self.layer.kernel, "float32"))
        return product + ops.cast(self.layer.bias, "float32") if self.layer.use_bias else product

    def kernel_rows(self, columns: Any) -> Any:
        """Return the weights of these inputs of the layer, (n, width), float32."""
        if isinstance(self.layer, EnsembleDense):
            return ops.reshape(self.layer.kernel_rows(columns), (-1, self.width))
        return ops.cast(ops.take(self.layer.kernel, columns, axis=0), "float32")

    def embedded(self, columns: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return what the layer sees of some columns, where they are bent or embedded.

        Parameters
        ----------
        columns : ndarray of shape (n,), int
        values : ndarray of shape (n_rows, n)

        Returns
        -------
        ndarray of shape (n_rows, n_inputs), float32
            Of the inputs `positions`, in that order. A shift of all rows alike may be left out: it changes no
            difference.
        """
        x, at = ops.convert_to_tensor(values.astype(np.float32)), columns
        for layer in self.columnwise:
            if hasattr(layer, "of_columns"):
                x, at = layer.of_columns(x, at), _positions(layer, at)
            else:
                x = x * np.broadcast_to(np.asarray(columnwise_scale(layer)), layer.output.shape[1:])[at]
        return np.asarray(ops.convert_to_numpy(x))

    def activate(self, sums: Any) -> Any:
        """Go from pre-activations through all that acts on each unit alone."""
        x = self.layer.activation(ops.cast(sums, self.layer.compute_dtype))
        if isinstance(self.layer, EnsembleDense):
            x = ops.reshape(x, (-1, self.layer.ensemble_size, self.layer.units))
        return x if self.elementwise is None else self.elementwise(x, training=False)

    def finish(self, activations: Any) -> Any:
        """Go on to the branch's code."""
        return activations if self.after is None else self.after(activations, training=False)


def first_layer(encoder: Any) -> FirstLayer | None:
    """Find the first Dense layer of a model of one table; None where it does not come first."""
    graph = Graph(encoder)
    found = columnwise_until(graph, encoder, (keras.layers.Dense, EnsembleDense))
    if found is None:
        return None
    columnwise, before, node = found
    layer = node.operation
    if type(layer) is keras.layers.Dense and (layer.quantization_mode is not None or layer.lora_enabled):
        return None
    return behind(graph, layer, before, node.outputs[0], encoder.outputs[0], columnwise)


def columnwise_until(graph: Graph, encoder: Any, kinds: tuple[type, ...]) -> tuple[list[Any], Any, Any] | None:
    """Follow layers that keep a table's columns apart to a layer of these kinds, which sees nothing else.

    Returns
    -------
    (list of keras.layers.Layer, keras.Model, node) or None
        Those layers, as a model up to there, and the node of the one that follows; None if something else comes first.
    """
    tensor = encoder.inputs[0]
    if len(tensor.shape) != 2:
        return None
    columnwise: list[Any] = []
    while True:
        takers = graph.takers(tensor)
        if len(takers) != 1 or len(takers[0].outputs) != 1:
            return None
        if type(takers[0].operation) in kinds:
            break
        columnwise.append(takers[0].operation)
        tensor = takers[0].outputs[0]
    if not _one_by_one(columnwise):
        return None
    return columnwise, keras.Model(encoder.inputs[0], tensor), takers[0]


def behind(graph: Graph, layer: Any, before: Any, tensor: Any, code: Any, columnwise: list[Any]) -> FirstLayer:
    """Split what follows a Dense layer, whose output is `tensor`, up to a code."""
    elementwise_end = _end_of_elementwise(graph, tensor)
    return FirstLayer(
        layer, before, _model_between(tensor, elementwise_end), _model_between(elementwise_end, code), columnwise
    )


def open_columns(encoder: Any) -> np.ndarray | None:
    """Return which columns a mask in front of all else lets pass, (n_columns,) bool; None without one."""
    takers = Graph(encoder).takers(encoder.inputs[0])
    mask = takers[0].operation if len(takers) == 1 else None
    return mask.open if isinstance(mask, ColumnMask) else None


def _one_by_one(layers: list[Any]) -> bool:
    """Tell whether layers keep columns apart, and shift none in front of a layer that bends it.

    `FirstLayer.embedded` knows of a layer that merely scales and shifts by how much it scales.
    """
    bends = [columnwise_scale(layer) is None for layer in layers]
    if not all(hasattr(layer, "of_columns") for layer, bend in zip(layers, bends, strict=True) if bend):
        return False
    last = max((i for i, bend in enumerate(bends) if bend), default=0)
    return all(hasattr(layer, "of_columns") for layer in layers[:last])


def _positions(layer: Any, columns: np.ndarray) -> np.ndarray:
    """Return which of a layer's outputs its inputs `columns` become."""
    return layer.positions(columns) if hasattr(layer, "positions") else columns


def columnwise_scale(layer: Any) -> np.ndarray | None:
    """Return what a layer multiplies each column by, in inference; None if it does anything else than scale and shift.

    A layer of one's own says so by a method ``columnwise_scale()`` that returns an array of shape
    (n_columns,); selectors also have ``selects_columns = True``.
    """
    if hasattr(layer, "columnwise_scale"):
        return np.asarray(layer.columnwise_scale(), np.float32)
    if isinstance(layer, (keras.layers.Dropout, keras.layers.GaussianNoise, keras.layers.Identity)):
        return np.ones((), np.float32)
    if type(layer) is keras.layers.Rescaling:
        return np.asarray(layer.scale, np.float32)
    if type(layer) is keras.layers.BatchNormalization and layer.axis in (-1, 1):
        variance = ops.convert_to_numpy(layer.moving_variance)
        gamma = ops.convert_to_numpy(layer.gamma) if layer.scale else 1.0
        return np.asarray(gamma / np.sqrt(variance + layer.epsilon), np.float32)
    if type(layer) is keras.layers.Normalization and layer.axis in ((-1,), (1,)) and not layer.invert:
        variance = ops.convert_to_numpy(layer.variance).reshape(-1)
        return np.asarray(1 / np.maximum(np.sqrt(variance), keras.backend.epsilon()), np.float32)
    return None


def _end_of_elementwise(graph: Graph, tensor: Any) -> Any:
    """Follow the layers that act on each unit alone, as long as nothing else takes the tensor."""
    while True:
        takers = graph.takers(tensor)
        if len(takers) != 1 or type(takers[0].operation).__name__ not in ELEMENTWISE:
            return tensor
        tensor = takers[0].outputs[0]


def _model_between(start: Any, end: Any) -> Any:
    return None if start is end else keras.Model(start, end)
