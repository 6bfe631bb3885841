"""What a model's output means: the tensor before its final softmax or sigmoid, and which of them it is."""

from __future__ import annotations

from typing import Any

from permgrad.backend import keras
from permgrad.importance.network.branches import node_of


def final_activation(model: Any) -> tuple[Any, str]:
    """Return the logits of a model's output, and the activation that follows them.

    Seen are a softmax or sigmoid as a layer, as an operation of `keras.ops`, and as the activation of a
    last Dense or Activation layer; also as the end of a model that is the last layer. Anything else is an output as it
    is, "".
    """
    output = model.outputs[0]
    node = node_of(output)
    operation, source = node.operation, node.input_tensors[0] if node.input_tensors else output
    ends = getattr(operation, "outputs", None) if isinstance(operation, keras.Model) else None
    if ends:  # a functional model
        at = next(i for i, tensor in enumerate(node.outputs) if tensor is output)
        inner, activation = final_activation(keras.Model(operation.inputs, ends[at]))
        return keras.Model(operation.inputs, inner)(list(node.input_tensors)), activation
    kind = type(operation).__name__.lower()
    if kind in ("softmax", "sigmoid"):
        return source, kind
    name = getattr(getattr(operation, "activation", None), "__name__", "")
    if name not in ("softmax", "sigmoid"):
        return output, ""
    if isinstance(operation, keras.layers.Activation):
        return source, name
    if isinstance(operation, keras.layers.Dense) and operation.quantization_mode is None:
        return _WithoutActivation(operation)(source), name
    return output, ""


class _WithoutActivation(keras.layers.Layer):
    """A Dense layer up to its activation. It has the layer's own weights: the model may be trained further."""

    def __init__(self, dense: Any) -> None:
        super().__init__(dtype=dense.dtype_policy)
        self.dense = dense

    def call(self, x: Any) -> Any:
        product = keras.ops.matmul(x, keras.ops.cast(self.dense.kernel, self.compute_dtype))
        return product + keras.ops.cast(self.dense.bias, self.compute_dtype) if self.dense.use_bias else product
