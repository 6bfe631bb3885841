"""Permuting through an image: windows of what changes, against computing the whole branch for each pair."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

import permgrad as pg
from benchmarks.measure import Peak, Row, first_and_later, largest_difference, matmul_rate, operations, timed
from permgrad.backend import keras
from permgrad.importance.game._by_cells import cell_walks
from permgrad.importance.network.branches import CutModel
from permgrad.importance.permuting import _network
from permgrad.importance.permuting._windowed import Windowed
from permgrad.models.hybrid import HybridConfig, build_hybrid
from tests.oracle import plain_grad_cam, plain_permutation, predicted, via

ops = keras.ops

N_ROWS, N_COLUMNS, N_REPEATS = 1600, 8, 5
GENES, GENE_ROWS, GENE_SIDE, SOME_GENES = 20531, 161, 144, 8
SOME_ROWS, TURNS = 20, 7


def windows() -> Row:
    """A hybrid of 64 and 128 filters at 20 × 20, through both branches; the whole branch for each pair beside it."""
    model, layout, X, y = _hybrid(20)
    with Peak() as peak:
        ranking, first, later = first_and_later(lambda: _both(model, layout, X, y), 3)
    with whole_branches(), Peak() as other_peak:
        same = _hybrid(20)[0]
        expected, other = timed(lambda: _both(same, layout, X, y))
    _, plain = timed(lambda: plain_permutation(via(model, X, "both"), X, y, groups=[[0]], n_repeats=1, random_state=0))
    plain *= N_COLUMNS * N_REPEATS / 2  # half of it is the prediction of unpermuted rows
    needed, whole = _needed(model), N_ROWS * N_COLUMNS * N_REPEATS * operations(model)
    return Row(
        "both, 64/128 filters, 20 × 20 / the whole branch",
        later,
        first,
        other,
        "≥ 8",
        needed / matmul_rate(),
        largest_difference(ranking.scores, expected.scores),
        peak.megabytes,
        other_peak.megabytes,
        f"{needed / 2e9:.1f} billion multiplications and additions rather than {whole / 2e9:.0f}; the plain loop, timed"
        f" on one permutation of {N_COLUMNS * N_REPEATS}, takes {plain:.3g} s, {plain / later:.0f} times as long",
    )


def _needed(model: Any) -> int:
    """Count the operations of permuting all columns: of the pass over unpermuted rows, and of each pair's windows."""
    engine = _engine(pg.cut_model(model))
    images = sum(operations(branch.encoder) for branch in pg.cut_model(model).of_kind("image"))
    a_pass = operations(model) - images
    a_pass += 2 * engine.products_of_start if engine.live else images
    return N_ROWS * (a_pass + 2 * N_COLUMNS * N_REPEATS * engine.plan(1).products)


def rank_three() -> Row:
    """`rank_features` by permutation, Grad-CAM and end to end, against the plain loops of the three.

    The floor: both permutations, and of Grad-CAM the image branch of each row and as much again for what is behind it.
    """
    model, layout, X, y = _answering()
    alike = pg.Formula(attribution="grad_cam", baseline="mean")  # what the plain loops do
    with Peak() as peak:
        ranking, first, later = first_and_later(
            lambda: pg.rank_features(model, X, y, layout=layout, formula=alike, end_to_end=True), 3
        )
    other, parts, note = _plain_three(model, X, y)
    tabular, image = pg.cut_model(model).branches
    behind = operations(tabular.encoder) + 2 * tabular.code.shape[-1] * model.get_layer("head_0").units
    needed = _needed(model) + N_ROWS * (N_COLUMNS * N_REPEATS * behind + 2 * operations(image.encoder))
    mine = [ranking.components[name].scores[0] for name in ("permutation", "end_to_end")]
    return Row(
        "permutation, Grad-CAM, end to end / plain loops",
        later,
        first,
        other,
        "≥ 60",
        needed / matmul_rate(),
        difference=largest_difference(np.array(mine), np.array(parts)),
        memory=peak.megabytes,
        note=note,
    )


def rank_default() -> Row:
    """`rank_features` with defaults, which plays the game, against the plain loops of permutation, Grad-CAM, both."""
    model, layout, X, y = _answering()
    ranking, first = timed(lambda: pg.rank_features(model, X, y, layout=layout))
    _, later = timed(lambda: pg.rank_features(model, X, y, layout=layout))
    other, _, note = _plain_three(model, X, y)
    said = f"plays the {ranking.settings['formula']}"
    if "rounds" in ranking.settings:
        whole = via(model, X, "both")
        _, once = timed(lambda: whole(X))
        n_players = 2 * N_COLUMNS
        predicted_times = ranking.settings["donors"] * (
            2 * ranking.settings["rounds"] * (n_players + 1) + N_COLUMNS + 1
        )
        game = once * predicted_times
        floor = (_of_game(model, ranking.settings) + _needed(model)) / matmul_rate()
        said += (
            f", {ranking.settings['rounds']} rounds, and permutes end to end; with the game's plain loop,"
            f" {predicted_times} predictions of the table reckoned from one, {(other + game) / later:.0f} times as long"
        )
    else:
        floor = _needed(model) / matmul_rate()
    return Row(
        "rank_features, defaults / plain loops of those three",
        later,
        first,
        other,
        "≥ 60",
        floor,
        note=f"{said}; {note}",
    )


def _of_game(model: Any, settings: Mapping[str, Any]) -> int:
    """Count the operations of the game's walks: cells of the image, the tabular branch from its sums on, the head.

    Both meet in a Dense layer; of the image, what its cells add there is counted with them.
    """
    cut = pg.cut_model(model)
    tabular, image = cut.branches
    walks = cell_walks(cut, image, [np.array([i]) for i in range(N_COLUMNS)], fuse=False)
    assert walks is not None
    width, units = model.get_layer("tabular_0").units, model.get_layer("head_0").units
    behind = operations(tabular.encoder) - 2 * N_COLUMNS * width + 2 * width + 2 * tabular.code.shape[-1] * units
    head = 2 * units * model.get_layer("logits").units
    both_ways = 2 * walks[False].products + (N_COLUMNS + 1) * behind + (2 * N_COLUMNS + 1) * head
    anew = 2 * walks[True].products + (N_COLUMNS + 1) * (behind + head)
    return N_ROWS * settings["donors"] * (2 * settings["rounds"] * both_ways + anew)


def _answering() -> tuple[Any, pg.FeatureLayout, np.ndarray, np.ndarray]:
    """Return a hybrid, and rows whose target is what it says of them, but for noise: as if it were trained."""
    model, layout, X, _ = _hybrid(20)
    said = predicted(model, X)[:, 0]
    return model, layout, X, said + 0.5 * said.std() * np.random.default_rng(1).normal(size=len(X))


def _plain_three(model: Any, X: np.ndarray, y: np.ndarray) -> tuple[float, list[float], str]:
    """Return the seconds of the three plain loops, the first column's scores by both permutations, and a note."""
    total, scores = 0.0, []
    for way in ("tabular", "both"):
        predict = via(model, X, way)
        predict(X)
        plain, seconds = timed(
            lambda: plain_permutation(predict, X, y, groups=[[0]], n_repeats=N_REPEATS, random_state=0)  # noqa: B023
        )
        scores.append(float(plain.mean()))
        total += seconds / (N_REPEATS + 1) * (N_COLUMNS * N_REPEATS + 1)
    cut, last = pg.cut_model(model), model.get_layer("conv_1").output
    before, after = keras.Model(model.inputs[0], last), keras.Model([last, cut.branches[0].code], model.outputs[0])
    codes = cut.branches[0].encoder.predict(X[: SOME_ROWS + 1], verbose=0)
    plain_grad_cam(before, after, X[:1], codes[:1], 1)
    _, seconds = timed(lambda: plain_grad_cam(before, after, X[1 : SOME_ROWS + 1], codes[1:], 1))
    total += seconds / SOME_ROWS * len(X)
    note = f"plain loops reckoned from one of {N_COLUMNS} columns, all repeats, and from {SOME_ROWS} rows of Grad-CAM"
    return total, scores, note


def _doubled(side: int) -> Callable[[], Row]:
    def row() -> Row:
        sides = [_of_side(side), _of_side(2 * side)]
        with Peak() as peak:
            taken = np.array([[[timed(one)[1] for one in of_side] for of_side in sides] for _ in range(TURNS + 1)])
        (single, a_pass), (double, of_double) = taken[1:].min(axis=0)  # the first turn compiles
        rest = (double - of_double) / (single - a_pass)
        return Row(
            f"both, 16/32 filters, {side} → {2 * side} pixels a side",
            single,
            taken[0, 0, 0],
            double,
            "≤ 1.3",
            memory=peak.megabytes,
            note=f"'other' is the double; the least of {TURNS} turns; of them the pass over unpermuted rows takes"
            f" {a_pass:.2g} and {of_double:.2g} s; the rest grows {rest:.2f} times",
        )

    row.__name__ = f"double_side_{side}"
    return row


def _of_side(side: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return what permutes all columns, and what makes the pass over unpermuted rows alone."""
    model, layout, X, y = _hybrid(side, filters=16)
    engine = _engine(pg.cut_model(model))
    return lambda: _both(model, layout, X, y), lambda: float(ops.sum(engine.start([X])[-1]))


def genes_both() -> Row:
    """161 rows of 20,531 genes through both branches, every gene once."""
    rng = np.random.default_rng(0)
    X, y = rng.random((GENE_ROWS, GENES), np.float32), rng.integers(0, 5, GENE_ROWS)
    at = rng.permutation(GENE_SIDE**2)[:GENES].astype(np.int32)
    names = tuple(f"g{i}" for i in range(GENES))
    shape = (GENE_SIDE, GENE_SIDE)
    layout = pg.FeatureLayout(names, at // GENE_SIDE, at % GENE_SIDE, shape, np.zeros(GENES), np.ones(GENES), "random")
    config = HybridConfig(n_conv_layers=2, base_filters=16)
    model = build_hybrid(config, GENES, 5, layout=layout, task="classification")

    with Peak() as peak:
        ranking, ours = timed(lambda: _both(model, layout, X, y, n_repeats=1))
    predict = via(model, X, "both")
    predict(X)
    some = [[i] for i in range(SOME_GENES)]
    plain, seconds = timed(lambda: plain_permutation(predict, X, y, groups=some, n_repeats=1, random_state=0))
    engine = _engine(pg.cut_model(model))
    needed = GENE_ROWS * (operations(model) + GENES * 2 * engine.plan(1).products)
    return Row(
        f"both, {GENES} genes × {GENE_ROWS} rows / plain loop",
        ours,
        other=seconds / (SOME_GENES + 1) * (GENES + 1),
        target="≥ 100",
        floor=needed / matmul_rate(),
        difference=largest_difference(ranking.scores[:SOME_GENES], plain.mean(axis=(1, 2))),
        memory=peak.megabytes,
        note=f"wanted < 20 min, took {ours / 60:.1f} with compilation; the plain loop is timed on {SOME_GENES} genes",
    )


def _hybrid(side: int, filters: int = 64) -> tuple[Any, pg.FeatureLayout, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X, y = rng.random((N_ROWS, N_COLUMNS), np.float32), rng.random(N_ROWS)
    layout = pg.fit_layout(X, size=side)
    config = HybridConfig(n_conv_layers=2, base_filters=filters)
    return build_hybrid(config, N_COLUMNS, 1, layout=layout, task="regression"), layout, X, y


def _both(model: Any, layout: pg.FeatureLayout, X: np.ndarray, y: np.ndarray, **given: Any) -> pg.FeatureRanking:
    return pg.permutation_importance(model, X, y, via="both", layout=layout, **{"n_repeats": N_REPEATS, **given})


@contextmanager
def whole_branches() -> Iterator[None]:
    """Have image branches computed as a whole, of models that have not been permuted before."""
    engine = _network.windowed_branch
    _network.windowed_branch = lambda *given, **settings: None  # type: ignore[assignment]
    try:
        yield
    finally:
        _network.windowed_branch = engine


def _engine(cut: CutModel) -> Any:
    network = _network.PermutedNetwork(cut, cut.of_kind("image"), False, fuse=False)
    return next(way for way in network.ways if isinstance(way, Windowed)).engine


ROWS = [windows, rank_three, rank_default, *(_doubled(side) for side in (20, 40)), genes_both]
