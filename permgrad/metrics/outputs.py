"""What a Keras model shows of its output: its last step, the loss it is compiled with; and one output of several."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from permgrad.backend import keras
from permgrad.errors import PermGradError, listing
from permgrad.metrics.task import Output, Task, understand

LOSSES = {
    "binary_crossentropy": "binary",
    "binary_focal_crossentropy": "binary",
    "categorical_crossentropy": "categorical",
    "categorical_focal_crossentropy": "categorical",
    "categorical_generalized_cross_entropy": "categorical",
    "sparse_categorical_crossentropy": "categorical",
    "kl_divergence": "categorical",
    "categorical_hinge": "margins",
    "hinge": "margins",
    "squared_hinge": "margins",
    "cosine_similarity": "values",
    "huber": "values",
    "log_cosh": "values",
    "mean_absolute_error": "values",
    "mean_absolute_percentage_error": "values",
    "mean_squared_error": "values",
    "mean_squared_logarithmic_error": "values",
    "poisson": "values",
}
"""What Keras's losses are of, by the names of their functions."""
KINDS = {"cross_entropy": "categorical", "squared_error": "values"}
"""The same by the kind of an `EnsembleLoss`."""


def task_of(
    model: Any, y: Any = None, *, classes: Sequence[Any] | None = None, task: str | None = None
) -> tuple[Task, np.ndarray | None, tuple[str, ...] | None]:
    """Decide what a model of one output says of a row, and bring `y` into the form of its loss; see `understand`."""
    return understand(output_of(model), y, classes, task)


def output_of(model: Any, width: int | None = None) -> Output:
    """Return what a model shows of its output.

    Parameters
    ----------
    model : keras.Model
        Of one output.
    width : int, optional
        Numbers of one row's output: a model that is no functional one does not tell them.
    """
    functional = bool(getattr(model, "outputs", None))
    if width is None:
        width = math.prod(model.outputs[0].shape[1:])
    kind, from_logits = _kind_of_loss(getattr(model, "loss", None))
    return Output(width, _last_step(model) if functional else "", kind, from_logits)


def one_output(model: Any, output: int | str | None = None) -> Any:
    """Return the model of one output among several, with that output's loss; one of a single output as it is.

    Parameters
    ----------
    model : keras.Model
    output : int or str, optional
        Position or name.

    Raises
    ------
    PermGradError
        If there is no such output, or none is named where there are several.
    """
    outputs = getattr(model, "outputs", None) or []
    names = [str(name) for name in getattr(model, "output_names", [])]
    if output is None and len(outputs) < 2:
        return model
    known = list(range(len(outputs)))
    if output is None or (output not in names and output not in known):
        asked = "say which to explain" if output is None else f"there is no {output!r}"
        raise PermGradError(f"the model has the outputs {listing(names)}: {asked}; pass output= a name or position")
    if len(outputs) == 1:
        return model
    at = names.index(output) if isinstance(output, str) else int(output)
    loss = _loss_of(getattr(model, "loss", None), at, names)
    parts = getattr(model, "_permgrad_outputs", {})
    if at not in parts or parts[at].outputs[0] is not outputs[at]:
        single = model.inputs[0] if len(model.inputs) == 1 else model.inputs
        parts[at] = keras.Model(single, outputs[at])
        object.__setattr__(model, "_permgrad_outputs", parts)  # past Keras, so that what explainers compile is kept
    if loss is not None and parts[at].__dict__.get("loss") is not loss:
        parts[at].compile(loss=loss)
    return parts[at]


def head_and_unit(model: Any, output: int | str | None) -> tuple[int | str | None, int | None]:
    """Return which of a model's outputs is meant, and which number of it: the latter where there is a single output.

    A cut model has a single one.
    """
    several = len(getattr(model, "outputs", None) or [0]) > 1
    return (output, None) if several or not isinstance(output, int) else (None, output)


def _loss_of(losses: Any, at: int, names: list[str]) -> Any:
    """Return one output's loss of what a model was compiled with."""
    if isinstance(losses, dict):
        return losses.get(names[at])
    return losses[at] if isinstance(losses, (list, tuple)) else losses


def _kind_of_loss(loss: Any) -> tuple[str, bool]:
    """Return what kind of loss it is, "" for an unknown one, and whether it takes logits."""
    if isinstance(loss, (list, tuple)) and len(loss) == 1:
        return _kind_of_loss(loss[0])
    if isinstance(loss, dict) and len(loss) == 1:
        return _kind_of_loss(next(iter(loss.values())))
    if isinstance(loss, str):
        return _kind_of_loss(keras.losses.get(loss))
    if isinstance(loss, functools.partial):
        return _kind_of_loss(loss.func)[0], bool(loss.keywords.get("from_logits"))
    if isinstance(loss, keras.losses.Loss):
        settings = loss.get_config()
        named = getattr(getattr(loss, "fn", None), "__name__", "")
        return LOSSES.get(named) or KINDS.get(settings.get("kind"), ""), bool(settings.get("from_logits"))
    return LOSSES.get(getattr(loss, "__name__", ""), ""), False


def _last_step(model: Any) -> str:
    """Return the final activation; "linear" for a Dense layer that has none."""
    activation = final_activation(model)[1]
    if activation:
        return activation
    operation = node_of(model.outputs[0]).operation
    ends = getattr(operation, "outputs", None) if isinstance(operation, keras.Model) else None
    if ends and len(ends) == 1:
        return _last_step(operation)
    if isinstance(operation, (keras.layers.Identity, keras.layers.Flatten, keras.layers.Reshape)):
        return _last_step(keras.Model(model.inputs, node_of(model.outputs[0]).input_tensors[0]))
    named = getattr(getattr(operation, "activation", None), "__name__", "")
    if isinstance(operation, keras.layers.Activation) and named == "linear":
        return _last_step(keras.Model(model.inputs, node_of(model.outputs[0]).input_tensors[0]))
    return "linear" if isinstance(operation, keras.layers.Dense) and named == "linear" else ""


def node_of(tensor: Any) -> Any:
    """Return the node of Keras's graph that made `tensor`."""
    operation, node_index, _ = tensor._keras_history
    return operation._inbound_nodes[node_index]


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
