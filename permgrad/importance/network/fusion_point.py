"""What happens where branches meet, split by branch, so that a branch that stays the same is computed once.

Branches mostly meet in ``Dense(Concatenate(codes))``. That is a sum of one product per branch,
``sum_b code_b @ kernel_b + bias``, and the product of a branch that is not permuted stays what it is.
Any other meeting is taken as a whole: the branch's code is all that is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from permgrad.backend import keras
from permgrad.importance.network.branches import CutModel, Graph, largest_tensor

ops = keras.ops


@dataclass(frozen=True, eq=False)
class FusionPoint:
    """The head in two steps: ``finish([contribute(b, code_b) for each branch b])`` is the prediction.

    Attributes
    ----------
    contribute : callable
        (position of the branch in ``cut.branches``, its code) → its contribution, row by row.
    finish : callable
        Contributions of all branches, in order → prediction.
    shape : callable
        Position of the branch → shape of its contribution for one row.
    widest : int
        Floats of the largest tensor in `finish`, for one row.
    kernel : callable, optional
        Position of the branch → the matrix that its code is multiplied by, (width of the code, units), if that is all
        that `contribute` does but for a constant.
    """

    contribute: Callable[[int, Any], Any]
    finish: Callable[[list[Any]], Any]
    shape: Callable[[int], tuple[int, ...]]
    widest: int
    kernel: Callable[[int], Any] | None = None


def fusion_point(cut: CutModel) -> FusionPoint:
    """Split the head of a cut model."""
    dense = _dense_of_concatenation(cut) if len(cut.branches) > 1 else None
    if dense is None:
        shapes = [tuple(branch.code.shape[1:]) for branch in cut.branches]
        return FusionPoint(
            lambda at, code: code,
            lambda codes: cut.head(codes if len(codes) > 1 else codes[0], training=False),
            lambda at: shapes[at],
            largest_tensor(cut.head),
        )
    layer, rest = dense
    ends = np.cumsum([branch.code.shape[-1] for branch in cut.branches])
    starts = np.concatenate([[0], ends[:-1]])

    def kernel(at: int) -> Any:
        return ops.cast(layer.kernel[starts[at] : ends[at]], layer.compute_dtype)

    def contribute(at: int, code: Any) -> Any:
        product = ops.matmul(ops.cast(code, layer.compute_dtype), kernel(at))
        return product + ops.cast(layer.bias, layer.compute_dtype) if at == 0 and layer.use_bias else product

    def finish(products: list[Any]) -> Any:
        met = layer.activation(sum(products[1:], start=products[0]))
        return met if rest is None else rest(met, training=False)

    widest = max(layer.units, 0 if rest is None else largest_tensor(rest))
    return FusionPoint(contribute, finish, lambda at: (layer.units,), widest, kernel)


def _dense_of_concatenation(cut: CutModel) -> tuple[Any, Any] | None:
    """Return the Dense layer on the concatenated codes and the model behind it, if the branches meet so."""
    graph = Graph(cut.head)
    joins = graph.takers(cut.head.inputs[0])
    if (
        any(len(graph.takers(code)) != 1 for code in cut.head.inputs)
        or type(joins[0].operation) is not keras.layers.Concatenate
    ):
        return None
    joined = joins[0]
    in_order = [id(tensor) for tensor in joined.input_tensors] == [id(tensor) for tensor in cut.head.inputs]
    takers = graph.takers(joined.outputs[0])
    flat = all(len(tensor.shape) == 2 for tensor in joined.input_tensors)
    if not (in_order and flat and len(takers) == 1 and type(takers[0].operation) is keras.layers.Dense):
        return None
    if takers[0].operation.quantization_mode is not None:
        return None
    after = takers[0].outputs[0]
    if after is cut.head.outputs[0]:
        return takers[0].operation, None
    return takers[0].operation, keras.Model(after, cut.head.outputs[0])
