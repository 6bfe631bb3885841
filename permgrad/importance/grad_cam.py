"""Grad-CAM of the image branch: which pixels, and so which features, raise each output.

One forward pass to the last convolution serves all classes; each class then takes one backward pass
through what follows the convolution. Rows are streamed in blocks: memory does not grow with the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from permgrad.backend import compiled, keras, vjp
from permgrad.errors import PermGradError
from permgrad.importance.branches import Branch, CutModel, Graph, largest_tensor
from permgrad.importance.inputs import Inputs, resolve_groups
from permgrad.importance.outputs import final_activation
from permgrad.importance.ranking import FeatureRanking
from permgrad.layout import FeatureLayout

ops = keras.ops


def grad_cam(
    model: Any,
    inputs: Any,
    layout: FeatureLayout,
    *,
    groups: Mapping[str, Sequence[int]] | None = None,
    classes: Sequence[Any] | None = None,
    layer: str | None = None,
) -> FeatureRanking:
    """Read each feature's Grad-CAM at its pixel, averaged over rows.

    Parameters
    ----------
    model : keras.Model
        A functional model with one image branch that has a convolution.
    inputs : array or list of arrays
        One for each of the model's inputs.
    layout : FeatureLayout
        Where each feature sits in the image.
    groups : mapping of str to positions in ``layout.features``, optional
        Features drawn at several pixels; the mean over their pixels is their score.
    classes : sequence, optional
        Class names, for a model that classifies.
    layer : str, optional
        Name of the convolution to look at; by default the last one.

    Returns
    -------
    FeatureRanking
        ``class_scores`` of shape (n_features, n_classes): mean over all rows of the heat map of each
        class, between 0 and 1; ``scores``: their mean over classes (for regression, of the one output).
    """
    data = Inputs.of(model, inputs)
    members = resolve_groups(len(layout.features), layout.features, groups)
    total: np.ndarray | float = 0.0
    for maps in _blocks_of_maps(data, layer):
        total = total + read_pixels(maps, layout).sum(axis=0)  # (n_layout_features, n_outputs)
    by_column = np.asarray(total) / len(data)
    if classes is not None and len(classes) != by_column.shape[1]:
        raise PermGradError(
            f"the model tells {by_column.shape[1]} classes apart, got {len(classes)} names; let a single output for"
            " two classes end in a sigmoid"
        )
    scores = np.stack([by_column[columns].mean(axis=0) for columns in members.values()])
    classification = classes is not None or scores.shape[1] > 1
    return FeatureRanking(
        tuple(members),
        scores.mean(axis=1),
        class_scores=scores if classification else None,
        classes=tuple(map(str, classes if classes is not None else range(scores.shape[1]))) if classification else None,
        method="grad_cam",
        settings={"n_rows": len(data), "layer": layer or "last convolution"},
    )


def grad_cam_maps(model: Any, inputs: Any, *, layer: str | None = None) -> np.ndarray:
    """Return the heat map of every row and output.

    For each row and output c: the gradient of c with respect to the convolution's activations A
    (height, width, channels), averaged over space, weights the channels; ``relu(sum_k weight_k A_k)``,
    divided by its own maximum where that is positive.

    Where the network ends in a softmax or sigmoid, the gradient is that of the log-odds. It is the
    probability's gradient divided by the positive number p (1 - p), so the divided map is the same, but
    does not vanish where the probability saturates. A sigmoid's single output stands for two classes.

    Parameters
    ----------
    model, inputs, layer
        As for `grad_cam`.

    Returns
    -------
    ndarray of shape (n_rows, map_height, map_width, n_outputs), float32
        In the convolution's resolution; rows and columns as in the image.

    Raises
    ------
    PermGradError
        If the model has no image branch, several, or one without a convolution.

    References
    ----------
    Selvaraju et al., Grad-CAM, ICCV (2017), equations 1 and 2.
    """
    return np.concatenate(list(_blocks_of_maps(Inputs.of(model, inputs), layer)))


def read_pixels(maps: np.ndarray, layout: FeatureLayout) -> np.ndarray:
    """Read each feature's cell: pixel (row, col) lies in cell (row * map_height // height, ...).

    Parameters
    ----------
    maps : ndarray of shape (n_rows, map_height, map_width, n_outputs)

    Returns
    -------
    ndarray of shape (n_rows, n_layout_features, n_outputs)
    """
    rows = layout.rows * maps.shape[1] // layout.shape[0]
    cols = layout.cols * maps.shape[2] // layout.shape[1]
    return maps[:, rows, cols]


def _blocks_of_maps(data: Inputs, layer: str | None) -> Iterator[np.ndarray]:
    found = data.cut.of_kind("image")
    if len(found) != 1:
        raise PermGradError(f"Grad-CAM needs a model with one image branch, this one has {len(found)}")
    before, after, scores, heat = data.cut.once(("grad_cam", layer), lambda: _heat_parts(data.cut, found[0], layer))
    floats = largest_tensor(before) + (2 + scores.n_outputs) * largest_tensor(after) + data.floats_per_row()
    size = None
    codes: list[Any] = []
    for rows in data.blocks(floats, most=1024):
        n_rows = rows.stop - rows.start
        size = size or n_rows
        images = data.of_branch(found[0])[rows]
        others = [data.encode(branch, rows) for branch in data.cut.branches if branch is not found[0]]
        # The last block is padded to the size of the others: another size would be compiled anew.
        padding = size - n_rows
        images = np.pad(images, [(0, padding)] + [(0, 0)] * (images.ndim - 1))
        others = [ops.pad(code, [[0, padding]] + [[0, 0]] * (len(code.shape) - 1)) for code in others]
        maps, code = heat(images, others)
        if data.keeps(found[0]):
            codes.append(code[:n_rows])
        yield np.asarray(ops.convert_to_numpy(maps))[:n_rows]
    if codes:  # most of the way to the branch's code has been gone: others need not go it again
        data.keep(found[0], codes)


def _heat_parts(cut: CutModel, branch: Branch, layer: str | None) -> tuple[Any, Any, _Scores, Callable[..., Any]]:
    before, after = split_at_convolution(branch.encoder, layer)
    scores = _scores(cut, branch, after)
    return before, after, scores, _heat_function(before, after, scores)


def _heat_function(before: Any, after: Any, scores: _Scores) -> Callable[..., Any]:
    n_outputs = scores.n_outputs

    def heat(images: Any, others: list[Any]) -> Any:
        A = before(images, training=False)  # (n, h, w, channels)
        values, pullback = vjp(lambda a: scores(a, others), A)  # (n, n_outputs)
        maps = []
        for c in range(n_outputs):
            one_hot = ops.broadcast_to(ops.one_hot(c, n_outputs, dtype=values.dtype), ops.shape(values))
            weights = ops.mean(
                ops.cast(pullback(one_hot), "float32"), axis=(1, 2), keepdims=True
            )  # (n, 1, 1, channels)
            maps.append(ops.relu(ops.sum(weights * ops.cast(A, "float32"), axis=-1)))  # (n, h, w)
        stacked = ops.stack(maps, axis=-1)
        peak = ops.max(stacked, axis=(1, 2), keepdims=True)
        return stacked / ops.where(peak > 0, peak, ops.ones_like(peak)), after(A, training=False)

    return compiled(heat, before, after, scores.model)


class _Scores:
    """What is differentiated: activations and the other branches' codes → one score per output, (n, n_outputs)."""

    def __init__(self, activations_to_output: Any, activation: str) -> None:
        self.model = activations_to_output
        self.activation = activation
        width = math.prod(activations_to_output.outputs[0].shape[1:])
        self.two_sided = activation == "sigmoid" and width == 1
        self.n_outputs = 2 if self.two_sided else width

    def __call__(self, activations: Any, others: list[Any]) -> Any:
        z = self.model([activations, *others] if others else activations, training=False)
        z = ops.reshape(ops.cast(z, "float32"), (ops.shape(z)[0], -1))
        if self.activation == "softmax":
            return _log_odds(z)
        return ops.concatenate([-z, z], axis=-1) if self.two_sided else z


def _log_odds(logits: Any) -> Any:
    """Return ``log(p / (1 - p))`` of softmax probabilities, (n, n_classes): each logit against the rest."""
    others = -1e30 * ops.eye(logits.shape[-1], dtype="float32")  # (class, class): takes the class itself out
    return logits - ops.logsumexp(logits[:, None, :] + others, axis=-1)


def _scores(cut: CutModel, branch: Branch, after: Any) -> _Scores:
    """Join what follows the convolution with the head, up to the logits where the last step shows them."""
    head = cut.head if len(cut.branches) > 1 else None
    last = after if head is None else head
    tensor, activation = final_activation(last)
    to_logits = keras.Model(last.inputs, tensor)
    if head is None:
        return _Scores(to_logits, activation)
    activations = keras.Input(after.inputs[0].shape[1:])
    codes = [after(activations) if b is branch else keras.Input(b.code.shape[1:]) for b in cut.branches]
    others = [code for code, b in zip(codes, cut.branches, strict=True) if b is not branch]
    return _Scores(keras.Model([activations, *others], to_logits(codes)), activation)


def split_at_convolution(model: Any, layer: str | None = None) -> tuple[Any, Any]:
    """Split a model of one input behind its last convolution: (input → activations, activations → output).

    Models nested in it (a backbone used as a layer) are searched too. Where a skip connection goes
    around the convolution, the split comes at the next image that everything after depends on.

    Raises
    ------
    PermGradError
        If there is no convolution, or none of the name `layer`.
    """
    graph = Graph(model)
    for i, node in reversed(list(enumerate(graph.nodes))):
        if isinstance(node.operation, keras.Model) and _has_convolution(node.operation, layer):
            return _split_nested(model, node, layer)
        if _is_convolution(node.operation, layer):
            images = [t for later in graph.nodes[i:] for t in later.outputs if len(t.shape) == 4]
            split = next((tensor for tensor in images if graph.separates(tensor)), None)
            if split is not None:
                return keras.Model(model.inputs[0], split), keras.Model(split, model.outputs[0])
    raise PermGradError(f"no convolution {'' if layer is None else repr(layer) + ' '}in the image branch to look at")


def _split_nested(model: Any, node: Any, layer: str | None) -> tuple[Any, Any]:
    inner_before, inner_after = split_at_convolution(node.operation, layer)
    rows = keras.Input(model.inputs[0].shape[1:])
    source = node.input_tensors[0]
    outer_before = rows if source is model.inputs[0] else keras.Model(model.inputs[0], source)(rows)
    before = keras.Model(rows, inner_before(outer_before))
    activations = keras.Input(before.outputs[0].shape[1:])
    nested_output = inner_after(activations)
    same = node.outputs[0] is model.outputs[0]
    output = nested_output if same else keras.Model(node.outputs[0], model.outputs[0])(nested_output)
    return before, keras.Model(activations, output)


def _is_convolution(operation: Any, layer: str | None) -> bool:
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)
    return isinstance(operation, kinds) and layer in (None, operation.name)


def _has_convolution(model: Any, layer: str | None) -> bool:
    return any(
        _is_convolution(op, layer) or (isinstance(op, keras.Model) and _has_convolution(op, layer))
        for op in model.layers
    )
