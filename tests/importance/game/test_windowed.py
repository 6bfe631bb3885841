"""Walks through an image branch by windows: every step is what the whole network says of the rows as they are seen."""

from __future__ import annotations

import numpy as np
import pytest

import permgrad as pg
from permgrad.importance.game import _views, _windowed
from permgrad.importance.game._views import NetworkView
from permgrad.importance.network._inputs import Inputs
from permgrad.importance.network._target import Target
from permgrad.importance.network.windows import walking
from permgrad.models.hybrid import HybridConfig, build_hybrid
from tests.oracle import predicted, two_input_model

N_ROWS, N_PAIRS = 40, 24
FEATURES = [[0], [4, 2], [1, 3], [5]]
"""A corner; two far apart; neighbours; one that hardly varies."""


@pytest.fixture
def always(monkeypatch):
    """Walk by windows, however small the network, and however little is drawn."""
    monkeypatch.setattr(_views, "work_of_steps", lambda cut, branch, *rest: float(branch.kind != "image"))
    monkeypatch.setattr(_views, "work_by_cells", lambda *given: np.inf)


def hybrid(layout, rng, **settings):
    sizes = {"dense_units": (8,), "n_conv_layers": 2, "base_filters": 8, "head_units": (6,), **settings}
    model = build_hybrid(HybridConfig(**sizes), 6, 1, layout=layout, task="regression")
    for weight in model.trainable_weights:
        weight.assign_add(rng.normal(size=weight.shape) * 0.3)
    return model


def largest_error(model, rng, features, *, shared=True, anew=False, fuse=False, way=_windowed.Windowed):
    """Walk pairs along all players in a random order; the largest error of what is said, over the largest answer."""
    X = rng.random((N_ROWS, 6)).astype(np.float32)
    X[:, 5] = X[:, 5] > 0.8
    data = Inputs.of(model, X, shared=shared)
    target = Target.of(rng.random(N_ROWS), data, None, None)
    positions = {branch: [np.array(columns) for columns in features] for branch in data.cut.branches}
    view = NetworkView(data, target, positions, n_steps=10**6 if fuse else N_PAIRS)
    assert any(type(each) is way for each in view.walker.ways)
    rows, donors = rng.integers(0, N_ROWS, (2, N_PAIRS))
    order = [view.players[i] for i in rng.permutation(len(view.players))]
    said = list(view.walk(rows, donors, [[player] for player in order], anew=anew))
    kinds = [branch.kind for branch in data.cut.branches]
    start = {kind: X[donors].copy() for kind in kinds}
    expected = [start]
    for feature, b in order:
        seen = {kind: values.copy() for kind, values in (start if anew else expected[-1]).items()}
        seen[kinds[b]][:, features[feature]] = X[rows][:, features[feature]]
        expected.append(seen)
    both = two_input_model(model)
    answers = np.stack([predicted(both, [seen["tabular"], seen["image"]]) for seen in expected])
    assert np.ptp(answers, axis=0).max() > 1e-2
    return np.abs(np.stack(said) - answers).max() / np.abs(answers).max()


@pytest.mark.slow
@pytest.mark.parametrize(
    "anew",
    [pytest.param(False, marks=pytest.mark.backend), True],
    ids=["one after the other", "each from the start"],
)
def test_each_step_is_the_whole_network(anew, places, rng, always):
    features = [*FEATURES, list(range(6))] if anew else FEATURES
    assert largest_error(hybrid(places, rng), rng, features, anew=anew) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"downsampling": "stride", "gated_image": True},
        {"n_conv_layers": 1, "batch_norm": True},
    ],
)
def test_other_networks(settings, places, rng, always):
    assert largest_error(hybrid(places, rng, **settings), rng, FEATURES) < 1e-5


@pytest.mark.slow
def test_fused(places, rng, always):
    assert largest_error(hybrid(places, rng), rng, FEATURES, fuse=True) < 1e-5


@pytest.mark.slow
def test_maps_that_are_not_kept_of_all_rows(places, rng, always):
    assert largest_error(hybrid(places, rng), rng, FEATURES, shared=False) < 1e-5


def test_a_full_image_has_no_live_cells(rng, always):
    places = pg.FeatureLayout(
        tuple("abcdef"),
        *np.divmod(np.arange(6, dtype=np.int32), 3),
        (2, 3),
        np.zeros(6),
        np.ones(6),
        "by hand",
    )
    model = hybrid(places, rng, n_conv_layers=1)
    assert largest_error(model, rng, [[0], [5]]) < 1e-5


@pytest.mark.slow
def test_a_map_that_stays_as_it_was_is_seen(places, rng, monkeypatch, always):
    """What these tests are worth: the cells of the maps are not replaced."""
    model = hybrid(places, rng)
    monkeypatch.setattr(
        walking.Walked,
        "replaced",
        lambda self, at, boxes, started: walking.Walked(self.cells, self.empty, started),
    )
    assert largest_error(model, rng, FEATURES) > 1e-3


def test_what_does_not_change_leaves_every_digit(places, rng, always):
    model = hybrid(places, rng)
    X = rng.random((N_ROWS, 6)).astype(np.float32)
    X[:20, 0] = 0.5
    data = Inputs.of(model, X, shared=True)
    view = NetworkView(
        data,
        Target.of(rng.random(N_ROWS), data, None, None),
        {branch: [np.array([i]) for i in range(6)] for branch in data.cut.branches},
        n_steps=N_PAIRS,
    )
    rows, donors = np.arange(N_PAIRS), np.arange(N_PAIRS)[::-1]  # the middle ones trade among the same
    _, before, after = view.walk(rows, donors, [[(1, 1)], [(0, 1)]])
    same = X[rows, 0] == X[donors, 0]
    assert 0 < same.sum() < N_PAIRS
    np.testing.assert_array_equal(before[same], after[same])
    assert (before[~same] != after[~same]).all()


def test_small_batches_are_computed_whole(places, rng):
    cut = pg.cut_model(hybrid(places, rng, base_filters=32))
    image = cut.of_kind("image")[0]
    few, many = (_windowed.work_of_steps(cut, image, [np.array([0])], n) for n in (_views.pairs_of(1), 10**6))
    assert many < 1 < few
