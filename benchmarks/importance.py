"""Permutation importance, Grad-CAM and ablation, against plain loops and against other packages."""

from __future__ import annotations

from typing import Any

import numpy as np

import permgrad as pg
from benchmarks.measure import (
    Peak,
    Row,
    first_and_later,
    largest_difference,
    matmul_rate,
    mlp,
    operations,
    table,
    timed,
)
from permgrad.backend import compiled, keras
from tests.oracle import plain_grad_cam, plain_loss, plain_permutation, plain_read, plain_subset_losses, via

N_REPEATS = 5
GENES = (20531, 5000, 1000, 100, 10, 5)
SOME_GENES = 1000
PLAIN_GENES = 50
SHAP_ROWS = 10
SOME_ROWS = 600


def puma() -> Row:
    """All of PermGrad on a hybrid, against loops that call the whole network, and Grad-CAM row by row."""
    train, val, test = pg.load_dataset("puma8nh").split()
    estimator = pg.HybridRegressor(preset="published", n_conv_layers=2, base_filters=64, epochs=2)
    estimator.fit(train.X, train.y, validation_data=(val.X, val.y))
    model, layout = estimator.network_, estimator.layout_
    X, y = estimator.encoder_.transform(test.X), test.y.to_numpy(np.float32)
    alike = pg.Formula(attribution="grad_cam", baseline="mean")  # what the plain loops do
    with Peak() as peak:
        ranking, first, later = first_and_later(
            lambda: pg.rank_features(model, X, y, layout=layout, formula=alike, end_to_end=False)
        )
    with Peak() as other_peak:
        slow, other = timed(lambda: _plain_permgrad(model, layout, X, y))
    fast = [part.scores for part in ranking.components.values()] + [np.array([*ranking.settings["losses"].values()])]
    cut = pg.cut_model(model)
    tabular, image = (operations(branch.encoder) for branch in cut.branches)
    first_dense = 2 * X.shape[1] * 128
    head = operations(model) - tabular - image
    met = 2 * cut.branches[0].code.shape[-1] * 64  # the head's first layer, as far as the tabular branch enters
    a_pair = tabular - first_dense + 2 * 128 + met + 2 * 64
    needed = len(X) * (tabular + image + head + 4 * 2 * 64 + X.shape[1] * N_REPEATS * a_pair)
    return Row(
        "Puma hybrid, all of PermGrad / plain loops",
        later,
        first,
        other,
        "≥ 100",
        needed / matmul_rate(),
        max(largest_difference(a, b) for a, b in zip(fast, slow, strict=True)),
        peak.megabytes,
        other_peak.megabytes,
    )


def _plain_permgrad(model: Any, layout: pg.FeatureLayout, X: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    cut = pg.cut_model(model)
    codes = cut.branches[0].encoder.predict(X, verbose=0)
    last = model.get_layer("conv_1").output
    before, after = keras.Model(model.inputs[0], last), keras.Model([last, cut.branches[0].code], model.outputs[0])
    groups = [[i] for i in range(X.shape[1])]
    permutation = plain_permutation(via(model, X), X, y, groups=groups, n_repeats=N_REPEATS, random_state=0)
    maps = plain_read(plain_grad_cam(before, after, X, codes, 1), layout)
    losses = plain_subset_losses(model, X, y, "mean")
    return [permutation.mean(axis=(1, 2)), maps.mean(axis=(0, 2)), np.array([*losses.values()])]


def first_heloc() -> Row:
    """The first ranking of a process, which compiles, against a later one; of a network that was hardly trained."""
    train, val, test = pg.load_dataset("heloc").split(random_state=0)
    estimator = pg.HybridClassifier(epochs=1, random_state=0)
    estimator.fit(train.X[:SOME_ROWS], train.y[:SOME_ROWS], validation_data=val)
    _, first, later = first_and_later(lambda: estimator.rank_features(test.X, test.y), 1)
    return Row("HELOC: the first ranking of a process / a later one", later, first, first, "≤ 2")


def genes() -> Row:
    """Every gene of 801 rows, once; reckoned from some of them."""
    return _genes(801, 1, "≥ 18", "< 12 min", SOME_GENES)


def genes_every() -> Row:
    """Every gene of 801 rows, once, for real."""
    return _genes(801, 1, "≥ 18", "< 12 min", GENES[0])


def genes_test_part() -> Row:
    """Every gene of the 161 rows of a test part, five times; reckoned from some of them."""
    return _genes(161, 5, "", "< 15 min", SOME_GENES)


def _genes(n_rows: int, n_repeats: int, ratio: str, time: str, some: int) -> Row:
    model = mlp(*GENES, batch_norm=3)
    X, y = table(n_rows, GENES[0], GENES[-1])

    def permuted(n: int) -> Any:
        groups = None if n == GENES[0] else {f"g{i}": [i] for i in range(n)}
        return pg.permutation_importance(model, X, y, groups=groups, n_repeats=n_repeats, verbose=True)

    with Peak() as peak:
        ranking, ours = timed(lambda: permuted(some))
    if some < GENES[0]:
        _, half = timed(lambda: permuted(some // 2))
        ours += (ours - half) / (some - some // 2) * (GENES[0] - some)
    network = compiled(lambda rows: model(rows, training=False), model)

    def predict(rows: np.ndarray) -> np.ndarray:
        return keras.ops.convert_to_numpy(network(rows))

    predict(X)
    columns = [[i] for i in range(PLAIN_GENES // n_repeats)]
    plain, seconds = timed(
        lambda: plain_permutation(predict, X, y, groups=columns, n_repeats=n_repeats, random_state=0)
    )
    behind_first = operations(model) - 2 * GENES[0] * GENES[1] + 2 * GENES[1]
    needed = n_rows * (operations(model) + GENES[0] * n_repeats * behind_first)
    timed_on = "all genes" if some == GENES[0] else f"{some:,} genes and on half of them, and reckoned for all"
    return Row(
        f"{GENES[0]} genes × {n_rows} rows × {n_repeats} / plain loop",
        ours,
        other=seconds / PLAIN_GENES * GENES[0] * n_repeats,
        target=ratio,
        floor=needed / matmul_rate(),
        difference=largest_difference(ranking.scores[: len(columns)], plain.mean(axis=(1, 2))),
        memory=peak.megabytes,
        note=f"wanted {time}, takes {ours / 60:.1f} min, timed on {timed_on};"
        f" the plain loop is timed on {PLAIN_GENES} permutations",
    )


MLP, MLP_ROWS = (128, 256, 128, 2), 1340


def sklearn_mlp() -> Row:
    """scikit-learn's function over the same Keras network, as one uses it: an estimator with predict_proba."""
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.inspection import permutation_importance

    model, (X, y) = mlp(*MLP), table(MLP_ROWS, MLP[0], MLP[-1])

    class Keras(ClassifierMixin, BaseEstimator):
        classes_ = np.arange(MLP[-1])

        def fit(self, X: np.ndarray, y: np.ndarray) -> Keras:
            return self

        def predict_proba(self, X: np.ndarray) -> np.ndarray:
            return model.predict(X, batch_size=len(X), verbose=0)

    Keras().predict_proba(X)
    with Peak() as other_peak:
        _, other = timed(
            lambda: permutation_importance(Keras(), X, y, scoring="neg_log_loss", n_repeats=N_REPEATS, random_state=0)
        )
    return _mlp_row("MLP 128-256-128-2, 1,340 rows × 5 / scikit-learn", MLP, model, X, y, 5, other, "≥ 40", other_peak)


def captum_mlp() -> Row:
    """captum's FeaturePermutation in PyTorch, the same weights, the loss as its forward function."""
    return _captum("MLP 128-256-128-2, 1,340 rows × 5 / captum", MLP, MLP_ROWS, N_REPEATS, "≥ 1.5")


def captum_wide() -> Row:
    """The same on 2,000 columns."""
    return _captum("MLP 2000-512-128-64-40, 2,000 rows / captum", (2000, 512, 128, 64, 40), 2000, 1, "≥ 8")


def _captum(name: str, widths: tuple[int, ...], n_rows: int, n_repeats: int, target: str) -> Row:
    import torch
    from captum.attr import FeaturePermutation

    model, (X, y) = mlp(*widths), table(n_rows, widths[0], widths[-1])
    network = _in_torch(model)
    rows, truth = torch.from_numpy(X), torch.from_numpy(y)

    def loss(rows: Any) -> Any:
        probability = network(rows).clamp(1e-7, 1 - 1e-7)
        return torch.nn.functional.nll_loss(torch.log(probability), truth).reshape(1)

    explainer = FeaturePermutation(loss)
    np.testing.assert_allclose(network(rows).numpy(), model.predict(X, verbose=0), rtol=1e-3, atol=1e-5)
    loss(rows)
    with Peak() as other_peak, torch.no_grad():
        _, other = timed(lambda: [explainer.attribute(rows) for _ in range(n_repeats)])
    return _mlp_row(name, widths, model, X, y, n_repeats, other, target, other_peak)


def _in_torch(model: Any) -> Any:
    import torch

    layers: list[Any] = []
    for layer in model.layers[1:]:
        kernel, bias = (torch.from_numpy(weight) for weight in layer.get_weights())
        linear = torch.nn.Linear(*kernel.shape)
        linear.weight.data, linear.bias.data = kernel.T.contiguous(), bias
        layers += [linear, torch.nn.Softmax(-1) if layer is model.layers[-1] else torch.nn.ReLU()]
    return torch.nn.Sequential(*layers).eval().requires_grad_(False)


def shap_mlp() -> Row:
    """shap's PermutationExplainer: Shapley values of single rows, another quantity; for scale."""
    import shap

    model, (X, y) = mlp(*MLP), table(MLP_ROWS, MLP[0], MLP[-1])
    network = compiled(lambda rows: model(rows, training=False), model)

    def predict(rows: np.ndarray) -> np.ndarray:
        return keras.ops.convert_to_numpy(network(rows.astype(np.float32)))

    explainer = shap.PermutationExplainer(predict, shap.maskers.Independent(X, 100), random_state=0)
    explainer(X[:1], silent=True)
    with Peak() as other_peak:
        _, some = timed(lambda: explainer(X[:SHAP_ROWS], silent=True))
    row = _mlp_row(
        "MLP 128-256-128-2, 1,340 rows × 5 / shap", MLP, model, X, y, 5, some / SHAP_ROWS * MLP_ROWS, "", other_peak
    )
    row.note = (
        f"shap's PermutationExplainer with 100 background rows, timed on {SHAP_ROWS} rows; Shapley values of rows"
    )
    return row


def _mlp_row(
    name: str,
    widths: tuple[int, ...],
    model: Any,
    X: np.ndarray,
    y: np.ndarray,
    n_repeats: int,
    other: float,
    target: str,
    other_peak: Peak,
) -> Row:
    with Peak() as peak:
        ranking, first, later = first_and_later(lambda: pg.permutation_importance(model, X, y, n_repeats=n_repeats), 3)
    some = [[0], [1], [2]]
    plain = plain_permutation(
        lambda rows: model.predict(rows, verbose=0), X, y, groups=some, n_repeats=n_repeats, random_state=0
    )
    behind_first = operations(model) - 2 * widths[0] * widths[1] + 2 * widths[1]
    needed = len(X) * (operations(model) + widths[0] * n_repeats * behind_first)
    assert np.isclose(ranking.settings["baseline_loss"], plain_loss(y, model.predict(X, verbose=0)).mean())
    return Row(
        name,
        later,
        first,
        other,
        target,
        needed / matmul_rate(),
        largest_difference(ranking.scores[: len(some)], plain.mean(axis=(1, 2))),
        peak.megabytes,
        other_peak.megabytes,
    )


ROWS = [puma, first_heloc, sklearn_mlp, captum_mlp, captum_wide, shap_mlp, genes, genes_test_part]
LONG = [genes_every]
