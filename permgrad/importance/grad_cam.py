"""Grad-CAM and its finer kin on the image branch: which pixels, and so which features, raise each output.

One forward pass to the last convolution serves all classes; each class then takes one backward pass
through what follows the convolution. Rows are streamed in blocks: memory does not grow with the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from permgrad.backend import compiled, keras, vjp
from permgrad.errors import PermGradError, listing
from permgrad.images.layout import FeatureLayout
from permgrad.importance.bootstrap import Bootstrap, interval
from permgrad.importance.network.branches import Branch, CutModel, Graph, largest_tensor
from permgrad.importance.network.inputs import Inputs, resolve_groups
from permgrad.importance.network.outputs import final_activation
from permgrad.importance.ranking import FeatureRanking

ops = keras.ops


def grad_cam(
    model: Any,
    inputs: Any,
    layout: FeatureLayout,
    *,
    method: str = "grad_cam",
    layer: str = "last",
    readout: Literal["cell", "bilinear"] = "cell",
    groups: Mapping[str, Sequence[int]] | None = None,
    classes: Sequence[Any] | None = None,
    random_state: int = 0,
) -> FeatureRanking:
    """Read each feature's heat at its pixel, averaged over rows.

    Parameters
    ----------
    model : keras.Model
        A functional model with one image branch that has a convolution.
    inputs : array or list of arrays
        One for each of the model's inputs.
    layout : FeatureLayout
        Where each feature sits in the image.
    method : {"grad_cam", "layer_cam", "gradient_input"}
        How heat is computed, see `grad_cam_maps`. Grad-CAM's maps are as coarse as the last convolution
        (2 × 2 cells behind three poolings of a 20 × 20 image); the others tell cells, or pixels, apart.
    layer : str
        The convolution to look at: "last", "first" (as fine as the image, mostly) or its name. Gradient × input has
        none.
    readout : {"cell", "bilinear"}
        The value of the cell that a feature's pixel lies in, or interpolated between the centres of the four nearest.
    groups : mapping of str to positions in ``layout.features``, optional
        Features drawn at several pixels; the mean over their pixels is their score.
    classes : sequence, optional
        Class names, for a model that classifies.
    random_state : int
        Of the bootstrap that gives intervals.

    Returns
    -------
    FeatureRanking
        ``class_scores`` of shape (n_features, n_classes): mean over all rows of the heat map of each
        class, between 0 and 1; ``scores``: their mean over classes (for regression, of the one output). Intervals are
        of a bootstrap of rows.
    """
    data = Inputs.of(model, inputs)
    return read_heat(data, layout, method, layer, readout, groups, classes, Bootstrap.of(len(data), random_state))


def read_heat(
    data: Inputs,
    layout: FeatureLayout,
    method: str,
    layer: str,
    readout: str,
    groups: Mapping[str, Sequence[int]] | None,
    classes: Sequence[Any] | None,
    bootstrap: Bootstrap,
) -> FeatureRanking:
    """Do what `grad_cam` does, with a bootstrap that other explainers share."""
    if readout not in ("cell", "bilinear"):
        raise PermGradError(f"readout must be 'cell' or 'bilinear', got {readout!r}")
    members = resolve_groups(len(layout.features), layout.features, groups)
    totals: Any = None  # (n_bundles, n_features, n_outputs)
    start = 0
    for maps in _blocks_of_maps(data, method, layer):
        heat = read_pixels(maps, layout, readout)
        heat = np.stack([heat[:, columns].mean(axis=1) for columns in members.values()], axis=1)
        if totals is None:
            totals = np.zeros((bootstrap.n_bundles, *heat.shape[1:]), np.float32)
        np.add.at(totals, bootstrap.bundle[start : start + len(heat)], heat)
        start += len(heat)
    scores = totals.sum(axis=0, dtype=float) / len(data)
    if classes is not None and len(classes) != scores.shape[1]:
        raise PermGradError(
            f"the model tells {scores.shape[1]} classes apart, got {len(classes)} names; let a single output for"
            " two classes end in a sigmoid"
        )
    replicates = np.stack([bootstrap.means(totals[:, :, c].T) for c in range(scores.shape[1])], axis=-1)
    classification = classes is not None or scores.shape[1] > 1
    return FeatureRanking(
        tuple(members),
        scores.mean(axis=1),
        class_scores=scores if classification else None,
        classes=tuple(map(str, classes if classes is not None else range(scores.shape[1]))) if classification else None,
        method=method,
        **interval(scores.mean(axis=1), replicates.mean(axis=-1)),
        settings={"n_rows": len(data), "layer": layer, "readout": readout},
        replicates=replicates if classification else replicates.mean(axis=-1),
    )


def grad_cam_maps(model: Any, inputs: Any, *, method: str = "grad_cam", layer: str = "last") -> np.ndarray:
    """Return the heat map of every row and output.

    With A the activations (height, width, channels) of a convolution, and g the gradient of output c with
    respect to them, for each row, divided by its own maximum where that is positive:

    - ``"grad_cam"``: ``relu(sum_k w_k A_k)``, w_k the mean of g_k over space;
    - ``"layer_cam"``: ``relu(sum_k relu(g_k) A_k)``, place by place: where A is large but does not matter, it counts
      for nothing, so maps of earlier, finer convolutions can be read;
    - ``"gradient_input"``: ``|sum_k g_k A_k|`` with A the image itself.

    Where the network ends in a softmax or sigmoid, the gradient is that of the log-odds. It is the
    probability's gradient divided by the positive number p (1 - p), so the divided map is the same, but
    does not vanish where the probability saturates. A sigmoid's single output stands for two classes.

    Parameters
    ----------
    model, inputs, method, layer
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
    Selvaraju et al., Grad-CAM, ICCV (2017), equations 1 and 2; Jiang et al., LayerCAM, IEEE TIP 30 (2021),
    equations 5 to 7; Shrikumar et al., arXiv 1605.01713 (2016), gradient × input.
    """
    return np.concatenate(list(_blocks_of_maps(Inputs.of(model, inputs), method, layer)))


def read_pixels(maps: np.ndarray, layout: FeatureLayout, readout: str = "cell") -> np.ndarray:
    """Read each feature's heat off the maps.

    Parameters
    ----------
    maps : ndarray of shape (n_rows, map_height, map_width, n_outputs)
    layout : FeatureLayout
    readout : {"cell", "bilinear"}
        Pixel (row, col) lies in cell (row * map_height // height, ...); or the maps are enlarged to the image by
        linear interpolation between the centres of cells, as OpenCV does it, and read at the pixel.

    Returns
    -------
    ndarray of shape (n_rows, n_layout_features, n_outputs)
    """
    at = [layout.rows, layout.cols]
    if readout == "cell":
        rows, cols = (at[axis] * maps.shape[1 + axis] // layout.shape[axis] for axis in (0, 1))
        return maps[:, rows, cols]
    found: Any = 0.0
    corners = [_nearest_two(at[axis], layout.shape[axis], maps.shape[1 + axis]) for axis in (0, 1)]
    for rows, row_weight in corners[0]:
        for cols, col_weight in corners[1]:
            found = found + maps[:, rows, cols] * (row_weight * col_weight)[:, None]
    return found


def _nearest_two(pixels: np.ndarray, n_pixels: int, n_cells: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the two cells whose centres lie around each pixel's, along one axis, with the weight of each."""
    place = np.clip((pixels + 0.5) * n_cells / n_pixels - 0.5, 0, n_cells - 1)
    low = np.floor(place).astype(int)
    share = (place - low).astype(np.float32)
    return [(low, 1 - share), (np.minimum(low + 1, n_cells - 1), share)]


def _blocks_of_maps(data: Inputs, method: str, layer: str) -> Iterator[np.ndarray]:
    if method not in HEAT:
        raise PermGradError(f"heat maps are by {listing(HEAT)}, got {method!r}")
    found = data.cut.of_kind("image")
    if len(found) != 1:
        raise PermGradError(f"Grad-CAM needs a model with one image branch, this one has {len(found)}")
    before, after, scores, heat = data.cut.once((method, layer), lambda: _heat_parts(data.cut, found[0], method, layer))
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


def _heat_parts(cut: CutModel, branch: Branch, method: str, layer: str) -> tuple[Any, Any, _Scores, Callable[..., Any]]:
    split = (
        split_at_image(branch.encoder) if method == "gradient_input" else split_at_convolution(branch.encoder, layer)
    )
    scores = _scores(cut, branch, split[1])
    return *split, scores, _heat_function(*split, scores, HEAT[method])


def _heat_function(before: Any, after: Any, scores: _Scores, heat_of: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    n_outputs = scores.n_outputs

    def heat(images: Any, others: list[Any]) -> Any:
        A = before(images, training=False)  # (n, h, w, channels)
        values, pullback = vjp(lambda a: scores(a, others), A)  # (n, n_outputs)
        maps = []
        for c in range(n_outputs):
            one_hot = ops.broadcast_to(ops.one_hot(c, n_outputs, dtype=values.dtype), ops.shape(values))
            gradient = ops.cast(pullback(one_hot), "float32")
            maps.append(heat_of(gradient, ops.cast(A, "float32")))  # (n, h, w)
        stacked = ops.stack(maps, axis=-1)
        peak = ops.max(stacked, axis=(1, 2), keepdims=True)
        return stacked / ops.where(peak > 0, peak, ops.ones_like(peak)), after(A, training=False)

    return compiled(heat, before, after, scores.model)


def _grad_cam(gradient: Any, A: Any) -> Any:
    return ops.relu(ops.sum(ops.mean(gradient, axis=(1, 2), keepdims=True) * A, axis=-1))


def _layer_cam(gradient: Any, A: Any) -> Any:
    return ops.relu(ops.sum(ops.relu(gradient) * A, axis=-1))


def _gradient_input(gradient: Any, A: Any) -> Any:
    return ops.abs(ops.sum(gradient * A, axis=-1))


HEAT = {"grad_cam": _grad_cam, "layer_cam": _layer_cam, "gradient_input": _gradient_input}
"""Gradient and activations, (n, h, w, channels) → heat, (n, h, w); see `grad_cam_maps`."""


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


def split_at_convolution(model: Any, layer: str = "last") -> tuple[Any, Any]:
    """Split a model of one input behind a convolution: (input → activations, activations → output).

    Models nested in it (a backbone used as a layer) are searched too. Where a skip connection goes
    around the convolution, the split comes at the next image that everything after depends on.

    Parameters
    ----------
    model : keras.Model
    layer : str
        "last", "first", or the convolution's name.

    Raises
    ------
    PermGradError
        If there is no convolution, or none of the name `layer`.
    """
    graph = Graph(model)
    nodes = list(enumerate(graph.nodes))
    for i, node in nodes if layer == "first" else reversed(nodes):
        if isinstance(node.operation, keras.Model) and _has_convolution(node.operation, layer):
            return _split_nested(model, node, layer)
        if _is_convolution(node.operation, layer):
            images = [t for later in graph.nodes[i:] for t in later.outputs if len(t.shape) == 4]
            split = next((tensor for tensor in images if graph.separates(tensor)), None)
            if split is not None:
                return keras.Model(model.inputs[0], split), keras.Model(split, model.outputs[0])
    named = "" if layer in ("last", "first") else f"{layer!r} "
    raise PermGradError(f"no convolution {named}in the image branch to look at")


def split_at_image(model: Any) -> tuple[Any, Any]:
    """Split a model of one input at the first image in it: (input → image, image → output).

    Raises
    ------
    PermGradError
        If there is no image that everything after depends on.
    """
    if len(model.inputs[0].shape) == 4:
        rows = keras.Input(model.inputs[0].shape[1:])
        return keras.Model(rows, keras.layers.Identity()(rows)), model
    graph = Graph(model)
    images = [tensor for node in graph.nodes for tensor in node.outputs if len(tensor.shape) == 4]
    split = next((tensor for tensor in images if graph.separates(tensor)), None)
    if split is None:
        raise PermGradError("no image in the image branch to look at")
    return keras.Model(model.inputs[0], split), keras.Model(split, model.outputs[0])


def _split_nested(model: Any, node: Any, layer: str) -> tuple[Any, Any]:
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


def _is_convolution(operation: Any, layer: str) -> bool:
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)
    return isinstance(operation, kinds) and layer in ("last", "first", operation.name)


def _has_convolution(model: Any, layer: str) -> bool:
    return any(
        _is_convolution(op, layer) or (isinstance(op, keras.Model) and _has_convolution(op, layer))
        for op in model.layers
    )
