"""The plain loops of PermGrad: slow, obvious, and what the fast code must agree with.

One call of the whole model per feature and repeat; one row and class at a time for Grad-CAM;
one forward pass of the whole model per subset of branches. TensorFlow's or JAX's gradient is taken
of the model's own output.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from permgrad.backend import keras, vjp
from permgrad.importance.network.branches import cut_model


def predicted(model: keras.Model, inputs: object) -> np.ndarray:
    """Predict all rows in one call, of which nothing is compiled."""
    return keras.ops.convert_to_numpy(model(inputs, training=False))


def plain_loss(y: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Loss of each row: cross-entropy for class numbers, squared error for values."""
    if np.issubdtype(np.asarray(y).dtype, np.integer):
        if predictions.shape[1] == 1:
            predictions = np.hstack([1 - predictions, predictions])
        p = np.array([row[label] for row, label in zip(predictions.astype(float), y, strict=True)])
        return -np.log(np.clip(p, 1e-7, 1 - 1e-7))
    return (predictions[:, 0].astype(float) - y) ** 2


def columns_of(groups: dict[str, list[int]] | None, n_columns: int) -> list[list[int]]:
    """Return the columns of each group, or each column."""
    return [[i] for i in range(n_columns)] if groups is None else list(groups.values())


def plain_permutation(
    predict: Callable[[np.ndarray], np.ndarray],
    X: np.ndarray,
    y: np.ndarray,
    *,
    groups: list[list[int]],
    n_repeats: int,
    random_state: int,
    order: Callable[[int, int], np.ndarray] | None = None,
) -> np.ndarray:
    """Return loss increases (n_groups, n_repeats, n_rows); `predict` takes permuted rows and predicts all of them."""
    order = order or (lambda g, repeat: np.random.default_rng([random_state, g, repeat]).permutation(len(X)))
    baseline = plain_loss(y, predict(X))
    result = np.empty((len(groups), n_repeats, len(X)))
    for g, columns in enumerate(groups):
        for repeat in range(n_repeats):
            permuted = X.copy()
            permuted[:, columns] = X[order(g, repeat)][:, columns]
            result[g, repeat] = plain_loss(y, predict(permuted)) - baseline
    return result


def via(model: keras.Model, X: np.ndarray, which: str = "tabular") -> Callable[[np.ndarray], np.ndarray]:
    """Return what predicts from rows that a one-input hybrid sees in one branch, or in both; the other sees X."""
    both = two_input_model(model)
    inputs = {"tabular": lambda P: [P, X], "image": lambda P: [X, P], "both": lambda P: [P, P]}[which]
    return lambda permuted: predicted(both, inputs(permuted))


def two_input_model(model: keras.Model) -> keras.Model:
    """Turn a one-input hybrid into one that takes (rows of the tabular branch, rows of the image branch)."""
    cut = cut_model(model)
    first, second = keras.Input(model.inputs[0].shape[1:]), keras.Input(model.inputs[0].shape[1:])
    by_kind = {"tabular": first, "image": second}
    return keras.Model([first, second], cut.head([branch.encoder(by_kind[branch.kind]) for branch in cut.branches]))


def plain_grad_cam(
    to_activations: keras.Model,
    to_output: keras.Model,
    X: np.ndarray,
    others: np.ndarray | None,
    n_outputs: int,
    method: str = "grad_cam",
) -> np.ndarray:
    """Return maps (n_rows, h, w, n_outputs), row by row and output by output."""
    maps = []
    for i in range(len(X)):
        A = keras.ops.convert_to_tensor(to_activations(X[i : i + 1], training=False))
        rest = [] if others is None else [keras.ops.convert_to_tensor(others[i : i + 1])]
        per_output = []
        for c in range(n_outputs):

            def score(a, c=c, rest=rest):
                return to_output([a, *rest] if rest else a, training=False)[:, c]

            value, pullback = vjp(score, A)
            gradient = keras.ops.convert_to_numpy(pullback(keras.ops.ones_like(value)))[0]
            activation = keras.ops.convert_to_numpy(A)[0]
            heat = np.zeros(activation.shape[:2])
            for k in range(activation.shape[2]):
                g = gradient[:, :, k]
                weight = {"grad_cam": g.mean(), "layer_cam": np.maximum(g, 0), "gradient_input": g}[method]
                heat += weight * activation[:, :, k]
            heat = np.abs(heat) if method == "gradient_input" else np.maximum(heat, 0)
            per_output.append(heat / heat.max() if heat.max() > 0 else heat)
        maps.append(np.stack(per_output, axis=-1))
    return np.stack(maps)


def plain_read(maps: np.ndarray, layout) -> np.ndarray:
    """Read each feature's cell of each map, one at a time: (n_rows, n_features, n_outputs)."""
    result = np.empty((len(maps), len(layout.features), maps.shape[3]))
    for f in range(len(layout.features)):
        row = int(layout.rows[f] * maps.shape[1] / layout.shape[0])
        col = int(layout.cols[f] * maps.shape[2] / layout.shape[1])
        result[:, f] = maps[:, row, col]
    return result


def plain_subset_losses(
    model: keras.Model,
    X: np.ndarray,
    y: np.ndarray,
    baseline: str,
    random_state: int = 0,
    rows: np.ndarray | None = None,
) -> dict[str, float]:
    """Return the mean loss with each subset of the two branches on: "", "tabular", "image", "tabular+image".

    `rows` are those that count, by default all.
    """
    rows = np.arange(len(X)) if rows is None else rows
    cut = cut_model(model)
    codes = {branch.kind: predicted(branch.encoder, X) for branch in cut.branches}
    shuffled = np.random.default_rng([random_state, len(X)]).permutation(len(X))
    make = {
        "zero": np.zeros_like,
        "mean": lambda code: 0 * code + code.mean(axis=0),
        "shuffled": lambda code: code[shuffled],
    }
    off = {kind: make[baseline](code) for kind, code in codes.items()}
    losses = {}
    for on in ([], ["tabular"], ["image"], ["tabular", "image"]):
        mixed = [codes[b.kind] if b.kind in on else off[b.kind] for b in cut.branches]
        losses["+".join(on)] = float(plain_loss(y, predicted(cut.head, mixed))[rows].mean())
    return losses


def plain_calibration_error(y: np.ndarray, probabilities: np.ndarray, n_bins: int) -> float:
    """Sort rows by the second of two classes', or the highest, probability; each bin's gap, weighed by its rows."""
    pairs = zip(probabilities, y, strict=True)
    rows = sorted((p[1], label == 1) if len(p) == 2 else (p.max(), p.argmax() == label) for p, label in pairs)
    n_bins, total, start = min(n_bins, len(rows)), 0.0, 0
    for number in range(n_bins):
        size = len(rows) // n_bins + (number < len(rows) % n_bins)
        part = rows[start : start + size]
        start += size
        told, right = sum(p for p, _ in part) / size, sum(hit for _, hit in part) / size
        total += size / len(rows) * abs(told - right)
    return total
