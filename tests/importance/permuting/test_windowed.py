"""Permutations through an image branch by windows: against the plain loop, and that nothing else is computed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import permgrad as pg
from permgrad.backend import keras
from permgrad.importance.network._inputs import Inputs
from permgrad.importance.network.branches import Graph
from permgrad.importance.network.windows.drawing import find_drawing
from permgrad.importance.permuting import _measurement as measurement
from permgrad.importance.permuting import _network as permuted
from permgrad.importance.permuting._network import work_of_permuting
from permgrad.importance.permuting._windowed import Square, Windowed
from permgrad.models.hybrid import HybridConfig, build_hybrid
from tests.oracle import columns_of, plain_permutation, predicted, via

pytestmark = pytest.mark.backend

L = keras.layers
GROUPS = {"corner": [0], "far apart": [4, 2], "neighbours": [1, 3], "one": [5], "all": list(range(6))}
"""Pixels that lie in squares of 1, 4, 2 and 8; the last is as large as the image."""


@pytest.fixture(scope="module")
def places():
    """Six features in 12 × 12 pixels: two corners, and a pixel that two features share."""
    rows, cols = np.array([0, 11, 5, 11, 5, 3], np.int32), np.array([0, 10, 1, 11, 4, 7], np.int32)
    names = tuple(f"f{i}" for i in range(6))
    return pg.FeatureLayout(names, rows, cols, (12, 12), np.zeros(6), np.ones(6), "by hand")


def hybrid(layout, rng, **settings):
    sizes = {"dense_units": (8,), "n_conv_layers": 2, "base_filters": 4, "head_units": (6,), **settings}
    model = build_hybrid(HybridConfig(**sizes), 6, 3, layout=layout, task="classification")
    for weight in model.trainable_weights:
        weight.assign_add(rng.normal(size=weight.shape) * 0.3)
    return model


def assert_is_plain_loop(model, layout, rng, way, groups, **given):
    X = rng.random((50, 6)).astype(np.float32)
    X[:, 5] = X[:, 5] > 0.8  # few rows change
    y = rng.integers(0, 3, 50)
    ranking = pg.permutation_importance(model, X, y, via=way, layout=layout, groups=groups, n_repeats=2, **given)
    plain = plain_permutation(via(model, X, way), X, y, groups=columns_of(groups, 6), n_repeats=2, random_state=0)
    expected = plain.mean(axis=(1, 2))
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(ranking.scores, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "groups", "settings"),
    [
        ("image", None, {}),
        ("both", GROUPS, {}),
        ("both", None, {"downsampling": "stride", "gated_image": True, "scaling": "quantile"}),
        ("image", GROUPS, {"downsampling": "stride", "ensemble_size": 3}),
    ],
)
def test_hybrids(way, groups, settings, places, rng):
    assert_is_plain_loop(hybrid(places, rng, **settings), places, rng, way, groups)


@pytest.mark.slow
def test_features_that_share_a_pixel(places, rng):
    """As published: the pixel shows their mean, so each moves it by half."""
    rows, cols = places.rows.copy(), places.cols.copy()
    rows[4], cols[4] = rows[2], cols[2]
    shared = replace(places, rows=rows, cols=cols, merge="mean")
    model = hybrid(shared, rng)
    encoder = pg.cut_model(model).branches[1].encoder
    square = Square.around(find_drawing(Graph(encoder), encoder), np.array([2]))
    np.testing.assert_allclose(square.matrix, [[0.5]])
    assert (square.top, square.left) == (5, 1)
    assert_is_plain_loop(model, shared, rng, "both", {"shared": [2, 4], "one": [2], "other": [4], "far": [0]})


@pytest.mark.slow
def test_nothing_is_computed_whole(places, rng, monkeypatch):
    monkeypatch.delattr(permuted.Recomputed, "code")
    assert_is_plain_loop(hybrid(places, rng), places, rng, "both", {"a": [0], "b": [1, 3]})


@pytest.mark.slow
def test_few_rows_at_a_time(places, rng, monkeypatch):
    """Maps of 7 rows are kept at a time: blocks of rows, small calls, and the same numbers."""
    monkeypatch.setattr(permuted, "BLOCK", (4, 8))
    monkeypatch.setattr(measurement, "CALLS_PER_CHUNK", 2)
    kept = []
    prepare = Windowed.prepare
    monkeypatch.setattr(Windowed, "prepare", lambda self, data, rows: kept.append(rows) or prepare(self, data, rows))
    model = hybrid(places, rng)
    floats = permuted.PermutedNetwork(pg.cut_model(model), pg.cut_model(model).branches, True, fuse=False)
    budget = pg.Budget(max_memory=2 * 4 * 7 * floats.floats_per_row)
    assert_is_plain_loop(model, places, rng, "both", {"a": [0], "b": [1, 3], "c": [4]}, budget=budget)
    assert max(rows.stop - rows.start for rows in kept) == 7


@pytest.mark.slow
def test_an_image_of_its_own_with_a_skip_connection(places, rng):
    """Two channels; the second convolution's output is added to the first one's, and a mean follows."""
    image = keras.Input((12, 12, 2))
    x = L.Conv2D(4, 3, padding="same", activation="elu")(image)
    x = L.ReLU()(L.Add()([x, L.Conv2D(4, 3, padding="same")(x)]))
    model = keras.Model(image, L.Dense(1)(L.GlobalAveragePooling2D()(x)))
    P, y = rng.random((40, 12, 12, 2)).astype(np.float32), rng.normal(size=40)
    ranking = pg.permutation_importance(model, P, y, via="image", layout=places, n_repeats=2)
    for f in range(6):
        increases = []
        for repeat in range(2):
            changed, order = P.copy(), np.random.default_rng([0, f, repeat]).permutation(40)
            changed[:, places.rows[f], places.cols[f]] = P[order, places.rows[f], places.cols[f]]
            before, after = (predicted(model, rows)[:, 0].astype(float) for rows in (P, changed))
            increases.append(np.mean((after - y) ** 2) - np.mean((before - y) ** 2))
        np.testing.assert_allclose(ranking.scores[f], np.mean(increases), rtol=1e-4, atol=1e-6)


def test_work_is_counted_by_what_is_done(places, rng):
    """A pixel costs less than a square, and pixels far apart what the whole branch does."""
    cut = pg.cut_model(hybrid(places, rng))
    image = Inputs.of(cut, rng.random((3, 6))).cut.of_kind("image")[0]
    one, near, far = (work_of_permuting(cut, image, [np.array(columns)]) for columns in ([0], [1, 3], [0, 3]))
    assert one < near < far
    assert work_of_permuting(cut, image, [np.array([0]), np.array([1, 3])]) == one + near
