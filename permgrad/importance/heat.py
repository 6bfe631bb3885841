"""The function from images to heat maps: what is differentiated, and how gradients and activations make heat."""

from __future__ import annotations

from typing import Any

from permgrad.backend import compiled, keras, vjp
from permgrad.importance.network._splitting import split_at_convolution, split_at_image
from permgrad.importance.network.branches import Branch, CutModel, largest_tensor
from permgrad.metrics.outputs import final_activation
from permgrad.metrics.task import Task

ops = keras.ops


class HeatFunction:
    """Images and the other branches' codes → heat maps, (n, h, w, n_outputs), and the image branch's code."""

    def __init__(self, cut: CutModel, branch: Branch, task: Task, attribution: str, layer: str) -> None:
        encoder = branch.encoder
        self.before, self.after = (
            split_at_image(encoder) if attribution == "gradient_input" else split_at_convolution(encoder, layer)
        )
        self.scores = _scores(cut, branch, self.after, task)
        self.heat_of = HEAT[attribution]
        self.floats_per_row = largest_tensor(self.before) + (2 + self.scores.n_outputs) * largest_tensor(self.after)
        """Of the tensors that a call holds at once, for one row."""
        self._call = compiled(self._maps_and_code, self.before, self.after, self.scores.model)

    def __call__(self, images: Any, others: list[Any]) -> tuple[Any, Any]:
        """Compute both; each number of rows is compiled anew."""
        return self._call(images, others)

    def _maps_and_code(self, images: Any, others: list[Any]) -> tuple[Any, Any]:
        n_outputs = self.scores.n_outputs
        A = self.before(images, training=False)  # (n, h, w, channels)
        values, pullback = vjp(lambda a: self.scores(a, others), A)  # (n, n_outputs)
        maps = []
        for c in range(n_outputs):
            one_hot = ops.broadcast_to(ops.one_hot(c, n_outputs, dtype=values.dtype), ops.shape(values))
            gradient = ops.cast(pullback(one_hot), "float32")
            maps.append(self.heat_of(gradient, ops.cast(A, "float32")))  # (n, h, w)
        stacked = ops.stack(maps, axis=-1)
        peak = ops.max(stacked, axis=(1, 2), keepdims=True)
        return stacked / ops.where(peak > 0, peak, ops.ones_like(peak)), self.after(A, training=False)


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

    def __init__(self, activations_to_output: Any, task: Task, *, logits: bool) -> None:
        self.model = activations_to_output
        self.log_odds = logits and task.link == "softmax"
        self.two_sided = task.link == "sigmoid" and task.width == 1
        self.n_outputs = 2 if self.two_sided else task.width

    def __call__(self, activations: Any, others: list[Any]) -> Any:
        z = self.model([activations, *others] if others else activations, training=False)
        z = ops.reshape(ops.cast(z, "float32"), (ops.shape(z)[0], -1))
        if self.log_odds:
            return _log_odds(z)
        return ops.concatenate([-z, z], axis=-1) if self.two_sided else z


def _log_odds(logits: Any) -> Any:
    """Return ``log(p / (1 - p))`` of softmax probabilities, (n, n_classes): each logit against the rest."""
    others = -1e30 * ops.eye(logits.shape[-1], dtype="float32")  # (class, class): takes the class itself out
    return logits - ops.logsumexp(logits[:, None, :] + others, axis=-1)


def _scores(cut: CutModel, branch: Branch, after: Any, task: Task) -> _Scores:
    """Join what follows the convolution with the head, up to the logits where the last step shows them."""
    head = cut.head if len(cut.branches) > 1 else None
    last = after if head is None else head
    tensor, activation = final_activation(last)
    if task.link == "identity":
        tensor = last.outputs[0]
    to_logits, logits = keras.Model(last.inputs, tensor), bool(activation) or task.logits
    if head is None:
        return _Scores(to_logits, task, logits=logits)
    activations = keras.Input(after.inputs[0].shape[1:])
    codes = [after(activations) if b is branch else keras.Input(b.code.shape[1:]) for b in cut.branches]
    others = [code for code, b in zip(codes, cut.branches, strict=True) if b is not branch]
    return _Scores(keras.Model([activations, *others], to_logits(codes)), task, logits=logits)
