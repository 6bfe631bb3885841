"""Permuting through an image: windows of what changes, against computing the whole branch for each pair."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import permgrad as pg
from benchmarks.measure import Peak, Row, first_and_later, largest_difference, matmul_rate, operations, timed
from permgrad.importance.network.branches import CutModel
from permgrad.importance.permuting import _network
from permgrad.importance.permuting._windowed import Windowed
from permgrad.models.hybrid import HybridConfig, build_hybrid
from tests.oracle import plain_permutation, via

N_ROWS, N_COLUMNS, N_REPEATS = 1600, 8, 5
GENES, GENE_ROWS, GENE_SIDE, SOME_GENES = 20531, 161, 144, 400


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
    engine = _engine(pg.cut_model(model))
    products = N_COLUMNS * N_REPEATS * engine.plan(1).products
    needed = N_ROWS * (operations(model) + 2 * products)
    whole = N_ROWS * N_COLUMNS * N_REPEATS * operations(model)
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


def _doubled(side: int) -> Callable[[], Row]:
    def row() -> Row:
        single, double = (_seconds(n) for n in (side, 2 * side))
        name = f"both, 16/32 filters, {side} → {2 * side} pixels a side"
        return Row(name, single[0], other=double[0], target="≤ 1.3", memory=double[1], note="'other' is the double")

    row.__name__ = f"double_side_{side}"
    return row


def _seconds(side: int) -> tuple[float, float]:
    model, layout, X, y = _hybrid(side, filters=16)
    with Peak() as peak:
        _, _, later = first_and_later(lambda: _both(model, layout, X, y), 3)
    return later, peak.megabytes


def genes_both() -> Row:
    """161 rows of 20,531 genes through both branches, once; on some of the genes, and reckoned for all."""
    rng = np.random.default_rng(0)
    X, y = rng.random((GENE_ROWS, GENES), np.float32), rng.integers(0, 5, GENE_ROWS)
    at = rng.permutation(GENE_SIDE**2)[:GENES].astype(np.int32)
    names = tuple(f"g{i}" for i in range(GENES))
    shape = (GENE_SIDE, GENE_SIDE)
    layout = pg.FeatureLayout(names, at // GENE_SIDE, at % GENE_SIDE, shape, np.zeros(GENES), np.ones(GENES), "random")
    config = HybridConfig(n_conv_layers=2, base_filters=16)
    model = build_hybrid(config, GENES, 5, layout=layout, task="classification")

    def seconds(n: int) -> float:
        groups = {names[i]: [i] for i in range(n)}
        return timed(lambda: _both(model, layout, X, y, groups=groups, n_repeats=1))[1]

    with Peak() as peak:
        first = seconds(SOME_GENES)
        few, many = seconds(SOME_GENES), seconds(5 * SOME_GENES)
    a_gene = (many - few) / (4 * SOME_GENES)
    _, plain = timed(lambda: plain_permutation(via(model, X, "both"), X, y, groups=[[0]], n_repeats=3, random_state=0))
    return Row(
        f"both, {GENES} genes × {GENE_ROWS} rows / plain loop",
        few + a_gene * (GENES - SOME_GENES),
        first + a_gene * (GENES - SOME_GENES),
        plain / 4 * GENES,
        "≥ 100",
        memory=peak.megabytes,
        note=f"reckoned from {SOME_GENES} and {5 * SOME_GENES} genes, the plain loop from 4 calls of the network",
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


ROWS = [windows, *(_doubled(side) for side in (20, 40)), genes_both]
