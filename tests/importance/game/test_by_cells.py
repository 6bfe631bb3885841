"""Walks through an image by cells: every step is what the whole network says of the rows as they are seen."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import permgrad as pg
from permgrad.importance.game import _views
from permgrad.importance.game._by_cells import ByCells, cell_walks, work_by_cells
from permgrad.importance.game._views import NetworkView
from permgrad.importance.game._windowed import Windowed
from permgrad.importance.network._inputs import Inputs
from permgrad.importance.network._target import Target
from permgrad.importance.network.windows.mixed import CellsOfMap
from tests.importance.game import test_windowed
from tests.importance.game.test_windowed import FEATURES, hybrid

largest_error = functools.partial(test_windowed.largest_error, way=ByCells)


@pytest.fixture
def always(monkeypatch):
    """Walk by cells, however small the network."""
    monkeypatch.setattr(_views, "work_of_steps", lambda cut, branch, *rest: 0.5 if branch.kind == "image" else np.inf)
    monkeypatch.setattr(_views, "work_by_cells", lambda *given: 0.0)


@pytest.mark.backend
@pytest.mark.parametrize(
    "anew",
    [False, pytest.param(True, marks=pytest.mark.slow)],
    ids=["one after the other", "each from the start"],
)
def test_each_step_is_the_whole_network(anew, places, rng, always):
    assert largest_error(hybrid(places, rng), rng, FEATURES, anew=anew) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"downsampling": "stride", "gated_image": True},
        {"n_conv_layers": 1, "batch_norm": True},
        {"n_conv_layers": 3},
    ],
)
def test_other_networks(settings, places, rng, always):
    """Each column is a feature, but for one that is none, and stays the donor's."""
    assert largest_error(hybrid(places, rng, **settings), rng, [[0], [1], [2], [3], [5]]) < 1e-5


@pytest.mark.slow
def test_fused(places, rng, always):
    assert largest_error(hybrid(places, rng), rng, FEATURES, fuse=True) < 1e-5


@pytest.mark.slow
def test_cells_that_are_never_the_rows_are_seen(places, rng, monkeypatch, always):
    """What these tests are worth."""
    states = CellsOfMap.states
    monkeypatch.setattr(CellsOfMap, "states", lambda self, order: (states(self, order)[0] * 0, states(self, order)[1]))
    assert largest_error(hybrid(places, rng), rng, FEATURES) > 1e-3


@pytest.mark.parametrize("anew", [False, True])
def test_a_cell_is_mixed_where_it_sees_some_of_its_features(anew):
    sees = np.array([[True, False, False], [True, False, True], [True, True, True]])
    cells = CellsOfMap(sees, anew=anew)
    whose, of_mixed = cells.states(np.array([2, 0, 1]))
    if anew:
        np.testing.assert_array_equal(whose, [[0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
        np.testing.assert_array_equal(of_mixed, [[-1, -1, -1, -1], [-1, 1, 0, -1], [-1, 4, 2, 3]])
    else:
        np.testing.assert_array_equal(whose, [[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1]])
        np.testing.assert_array_equal(of_mixed, [[-1, -1, -1, -1], [-1, 0, -1, -1], [-1, 1, 2, -1]])
    at = cells.times(np.array([2, 0, 1]))
    np.testing.assert_array_equal(of_mixed[cells.cell, at], np.arange(len(cells.cell)))


def test_features_that_meet_nowhere_are_known_from_whole_rows(rng):
    corners = np.array([0, 0, 23, 23], np.int32), np.array([0, 23, 0, 23], np.int32)
    layout = pg.FeatureLayout(tuple("abcd"), *corners, (24, 24), np.zeros(4), np.ones(4), "by hand")
    model = test_windowed.build_hybrid(
        test_windowed.HybridConfig(n_conv_layers=2, base_filters=8), 4, 1, layout=layout, task="regression"
    )
    cut = pg.cut_model(model)
    walks = cell_walks(cut, cut.of_kind("image")[0], [np.array([i]) for i in range(4)], fuse=False)
    assert walks[False].products == walks[True].products == 0


@pytest.mark.parametrize(("merge", "goes"), [("mean", False), ("last", True)])
def test_columns_that_share_a_pixel(merge, goes, rng):
    """Of columns of which the last alone is drawn, the others reach no cell."""
    at = np.array([0, 0, 5, 11, 5, 3], np.int32)
    names = tuple(f"f{i}" for i in range(6))
    layout = pg.FeatureLayout(names, at, at, (12, 12), np.zeros(6), np.ones(6), "by hand", merge=merge)
    cut = pg.cut_model(hybrid(layout, rng))
    image = cut.of_kind("image")[0]
    assert (work_by_cells(cut, image, [np.array([0]), np.array([1])]) < np.inf) == goes
    assert work_by_cells(cut, image, [np.array([0, 1]), np.array([2, 4])]) < np.inf


def test_where_memory_is_short_windows_are_computed(places, rng, always):
    model = hybrid(places, rng)
    X = rng.random((40, 6)).astype(np.float32)
    for max_memory, way in ((2**30, ByCells), (2**16, Windowed)):
        data = Inputs.of(model, X, max_memory)
        positions = {branch: [np.array([i]) for i in range(6)] for branch in data.cut.branches}
        view = NetworkView(data, Target.of(X[:, 0], data, None, None), positions, n_steps=24)
        assert [type(each) for each in view.walker.ways][-1] is way
        assert view.at_once == (way is ByCells)
