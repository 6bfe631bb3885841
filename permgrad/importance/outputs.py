"""What a model's output means: the tensor before its final softmax or sigmoid, and which of them it is."""

from __future__ import annotations

from typing import Any

from permgrad.backend import keras
from permgrad.importance.branches import node_of


def final_activation(model: Any) -> tuple[Any, str]:
    """Return the logits of a model's output, and the activation that follows them.

    Seen are a softmax or sigmoid as a layer, as an operation of `keras.ops`, and as the activation of a
    last Dense or Activation layer. Anything else is an output as it is, "".
    """
    output = model.outputs[0]
    node = node_of(output)
    operation, source = node.operation, node.input_tensors[0] if node.input_tensors else output
    kind = type(operation).__name__.lower()
    if kind in ("softmax", "sigmoid"):
        return source, kind
    name = getattr(getattr(operation, "activation", None), "__name__", "")
    if name not in ("softmax", "sigmoid"):
        return output, ""
    if isinstance(operation, keras.layers.Activation):
        return source, name
    if isinstance(operation, keras.layers.Dense):
        linear = keras.layers.Dense.from_config({**operation.get_config(), "activation": "linear"})
        logits = linear(source)
        linear.set_weights(operation.get_weights())
        return logits, name
    return output, ""
