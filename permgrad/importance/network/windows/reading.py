"""An image branch read once: the stages that windows are followed through, and where the rest begins."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from permgrad.backend import keras
from permgrad.importance.network.branches import Graph
from permgrad.importance.network.first_layer import ELEMENTWISE
from permgrad.importance.network.windows.spans import Sliding
from permgrad.importance.network.windows.stages import Bend, Convolution, MeanPooling, Meeting, Stage
from permgrad.layers.selectors import BranchGate

layers = keras.layers

BENDS = (
    *("celu", "elu", "exponential", "gelu", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu", "log_sigmoid"),
    *("mish", "relu", "relu6", "selu", "sigmoid", "silu", "softplus", "softsign", "swish", "tanh"),
)
"""Activations that act on each number alone."""
CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D)
SAME = (layers.Dropout, layers.SpatialDropout2D, layers.GaussianNoise, layers.GaussianDropout, layers.Identity)
"""Layers that do nothing in inference."""


@dataclass(frozen=True, eq=False)
class Reading:
    """The part of a branch that windows are followed through.

    Attributes
    ----------
    stages : list of Stage
        In the order of computation; value 0 is the image, value i + 1 the output of stage i.
    tensor : KerasTensor
        Their last output, on which everything after depends alone.
    """

    stages: list[Stage]
    tensor: Any


def read_stages(graph: Graph, image: Any) -> Reading | None:
    """Follow the layers behind an image for as long as they are understood; None if not even the first is."""
    stages: list[Stage] = []
    numbers, ends = {id(image): 0}, {0: image}
    for node in graph.nodes:
        sources = node.input_tensors
        if not sources or len(node.outputs) != 1 or any(id(tensor) not in numbers for tensor in sources):
            continue
        inputs = tuple(numbers[id(tensor)] for tensor in sources)
        alone = len(sources) == 1 and len(graph.takers(sources[0])) == 1
        before = stages[inputs[0] - 1] if alone and inputs[0] else None
        if type(node.operation) in SAME or (isinstance(before, Bend) and _taken_on(before, node)):
            number = inputs[0]
        else:
            found = _stages(node, inputs, len(stages))
            stages += found
            number = len(stages) if found else -1
        if number >= 0:
            numbers[id(node.outputs[0])], ends[number] = number, node.outputs[0]
    for last in range(len(stages), 0, -1):
        if last in ends and graph.separates(ends[last]):
            return Reading(stages[:last], ends[last])
    return None


def _taken_on(bend: Bend, node: Any) -> bool:
    """Let a stage go on with this layer, if it can."""
    if _is_pooling(node, layers.MaxPooling2D) and bend.pooling is None:
        bend.pooling, bend.slidings = node.operation, _slidings(node.operation, "pool_size")
        return True
    alone = _elementwise(node.operation)
    if alone is None:
        return False
    (bend.before if bend.pooling is None else bend.after).append(alone)
    return True


def _stages(node: Any, inputs: tuple[int, ...], n_before: int) -> list[Stage]:
    """Return the stages that a layer is, none if it is not understood."""
    layer = node.operation
    if len(node.outputs[0].shape) != 4:
        return []
    if type(layer) in CONVOLUTIONS:
        return _convolution(layer, inputs, n_before)
    if _is_pooling(node, layers.AveragePooling2D):
        return [MeanPooling(layer, inputs, _slidings(layer, "pool_size"))]
    if type(layer) is layers.Add or (type(layer) is layers.Concatenate and layer.axis in (-1, 3)):
        alike = {tuple(tensor.shape[1:3]) for tensor in node.input_tensors}
        return [Meeting(layer, inputs)] if len(alike) == 1 else []
    bend = Bend(inputs, number=n_before + 1)
    return [bend] if _taken_on(bend, node) else []


def _convolution(layer: Any, inputs: tuple[int, ...], n_before: int) -> list[Stage]:
    states = ("quantization_mode", "lora_enabled")  # then the kernel is not what it multiplies by
    known = layer.padding in ("valid", "same") and layer.data_format == "channels_last"
    if not known or any(getattr(layer, state, None) for state in states):
        return []
    name = getattr(layer.activation, "__name__", "")
    convolution = Convolution(layer, inputs, _slidings(layer, "kernel_size"))
    if name == "linear":
        return [convolution]
    return [convolution, Bend((n_before + 1,), [layer.activation], number=n_before + 2)] if name in BENDS else []


def _is_pooling(node: Any, kind: Any) -> bool:
    layer = node.operation
    return type(layer) is kind and bool(layer.data_format == "channels_last")


def _slidings(layer: Any, size: str) -> tuple[Sliding, Sliding]:
    kernel, dilation = getattr(layer, size), getattr(layer, "dilation_rate", (1, 1))
    shape = layer.input.shape[1:3]
    down, across = (
        Sliding.over(shape[axis], kernel[axis], layer.strides[axis], dilation[axis], layer.padding) for axis in (0, 1)
    )
    return down, across


def _elementwise(layer: Any) -> Callable[[Any], Any] | None:
    """Return what a layer does to each number alone in inference, None if it does anything else."""
    kind = type(layer)
    known = kind.__name__ in ELEMENTWISE and kind is getattr(layers, kind.__name__, None)
    if kind is layers.Activation:
        known = getattr(layer.activation, "__name__", "") in (*BENDS, "linear")
    if kind is layers.BatchNormalization:
        known = layer.axis in (-1, 3)
    return functools.partial(layer, training=False) if known or kind is BranchGate else None
