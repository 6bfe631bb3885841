"""Explainers as methods: what holds for the rows of any kind that a selector takes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

import permgrad as pg
from permgrad.data.on_disk import RowsOnDisk


def test_a_selector_ranks_by_permutation_on_rows_of_any_kind(rng):
    X = np.where(rng.random((60, 5)) < 0.6, rng.normal(size=(60, 5)), 0).astype(np.float32)
    X[:, 3] = 0
    y = np.where(X[:, 1] > 0, "high", "low")
    with pytest.warns(UserWarning, match="1 columns never vary"):
        model = pg.SelectorClassifier(hidden_units=(8,), epochs=2, batch_size=16).fit(X, y)
    ranking = model.rank_features(X, y, n_repeats=2, random_state=3, formula="fused")
    assert (ranking.features, ranking.unused) == (("x0", "x1", "x2", "x3", "x4"), ("x3",))
    varying = {name: [i] for i, name in enumerate(ranking.features) if name != "x3"}
    direct = pg.permutation_importance(
        model.network_, X, np.searchsorted(model.classes_, y), groups=varying, n_repeats=2, random_state=3
    )
    np.testing.assert_array_equal(ranking.scores[[0, 1, 2, 4]], direct.scores[:4])
    assert ranking.classes == ("high", "low")

    by_row = sparse.csr_matrix(X)
    for rows in (by_row, RowsOnDisk(by_row), RowsOnDisk(X)):
        assert model.rank_features(rows, y, n_repeats=2, random_state=3, formula="fused") == ranking
    cells = pg.Cells(by_row, y, ranking.features)
    assert (
        model.rank_features(cells, n_repeats=2, random_state=3, formula="fused") == ranking
    )  # their labels are their own
    with pytest.raises(pg.PermGradError, match="one dense array"):
        model.rank_features(by_row, y, groups="correlated")
    pair = model.rank_features(cells, groups={"pair": ["x0", "x4"]}, n_repeats=2, random_state=3, formula="fused")
    assert pair.drill_down("pair").scores.tolist() == ranking.only(["x0", "x4"]).scores.tolist()
