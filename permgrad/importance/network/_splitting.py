"""A branch split behind one of its convolutions, or at its image."""

from __future__ import annotations

from typing import Any

from permgrad.backend import keras
from permgrad.errors import PermGradError
from permgrad.importance.network.branches import Graph


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
        If there is no convolution, or none of the name `layer`; or no image behind it that everything after depends on.
    """
    graph = Graph(model)
    nodes = list(enumerate(graph.nodes))
    for i, node in nodes if layer == "first" else reversed(nodes):
        nested = isinstance(node.operation, keras.Model) and _has_convolution(node.operation, layer)
        if nested and graph.separates(node.outputs[0]):
            return _split_nested(model, node, layer)
        if nested or _is_convolution(node.operation, layer):
            images = [t for later in graph.nodes[i:] for t in later.outputs if len(t.shape) == 4]
            split = next((tensor for tensor in images if graph.separates(tensor)), None)
            if split is not None:
                return keras.Model(model.inputs[0], split), _rest(split, model.outputs[0])
    named = "" if layer in ("last", "first") else f"{layer!r} "
    raise PermGradError(
        f"found no suitable convolution {named}in the image branch: all that follows must depend on its output"
    )


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
        raise PermGradError("found no image in the image branch")
    return keras.Model(model.inputs[0], split), keras.Model(split, model.outputs[0])


def _rest(split: Any, output: Any) -> Any:
    """Return the model from a tensor to the output, which may be that tensor."""
    if split is not output:
        return keras.Model(split, output)
    same = keras.Input(split.shape[1:])
    return keras.Model(same, keras.layers.Identity()(same))


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
