"""Planted truth: what decides the target must come first, and known mistakes must be caught."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

import permgrad as pg
from permgrad.backend import keras
from permgrad.layers.image import FeatureImage
from tests.oracle import predicted

pytestmark = pytest.mark.backend

layers = keras.layers
ATTRIBUTION = "gradient_input"
PLANTED = 3  # at pixel (2, 5); its mirror image (5, 2) carries nothing


@pytest.fixture
def planted_rows(rng):
    """Feature 3 is 0 or 1 and decides the class; the others stay below 0.4."""
    X = rng.uniform(0, 0.4, (200, 6)).astype(np.float32)
    X[:, PLANTED] = rng.integers(0, 2, 200)
    return X, X[:, PLANTED].astype(int)


@pytest.fixture
def planted_model(layout):
    """Two inputs, weights by hand: a convolution that passes only values above 0.5, and a Dense layer on feature 3."""
    table, image = keras.Input((6,)), keras.Input((8, 8, 1))
    tabular = layers.Dense(1, name="tabular_code")(table)
    seen = layers.Conv2D(1, 1, activation="relu", name="bright")(image)
    seen = layers.Dense(1, name="image_code")(layers.Flatten()(seen))
    output = layers.Dense(2, "softmax", name="out")(layers.Concatenate()([tabular, seen]))
    model = keras.Model([table, image], output)
    column, pixel = np.zeros((6, 1)), np.zeros((64, 1))
    column[PLANTED], pixel[layout.pixels[PLANTED]] = 1, 2
    model.get_layer("tabular_code").set_weights([column, np.array([-0.5])])
    model.get_layer("bright").set_weights([np.ones((1, 1, 1, 1)), np.array([-0.5])])
    model.get_layer("image_code").set_weights([pixel, np.array([-0.5])])
    model.get_layer("out").set_weights([np.array([[-4.0, 4.0], [-4.0, 4.0]]), np.zeros(2)])
    return model


def ranked(model, layout, rows, **options):
    X, y = rows
    return pg.rank_features(model, [X, layout.render(X)], y, layout=layout, classes=["off", "on"], **options)


@pytest.mark.parametrize("attribution", ["gradient_input", "layer_cam", "grad_cam"])
def test_planted_feature_is_first_everywhere(attribution, planted_model, layout, planted_rows):
    ranking = ranked(planted_model, layout, planted_rows, formula=pg.Formula(attribution=attribution))
    assert ranking.select(1) == ["f3"]
    assert ranking.components["permutation"].select(1) == ["f3"]
    assert ranking.components[attribution].select(1) == ["f3"]
    # The class "on" sees it in just the rows that have it; no other pixel passes the convolution.
    planted_cam = ranking.components[attribution].class_scores[:, 1]
    np.testing.assert_allclose(planted_cam, planted_rows[1].mean() * (np.arange(6) == PLANTED), atol=1e-6)
    others = np.delete(ranking.components["permutation"].scores, PLANTED)
    np.testing.assert_allclose(others, 0, atol=1e-6)
    assert ranking.branch_weights["tabular"] == pytest.approx(0.5, abs=0.05)


@pytest.mark.slow
def test_end_to_end_stands_beside_the_fused_score(random_hybrid, layout, rng, tmp_path, monkeypatch):
    monkeypatch.setattr("permgrad.importance.permuting.conditional.TREES", 30)
    model, X, y = random_hybrid("classification", 3), rng.random((60, 6)).astype(np.float32), rng.integers(0, 3, 60)
    ranking = pg.rank_features(
        model,
        X,
        y,
        layout=layout,
        conditional=True,
        formula="fused",
        budget=pg.Budget(checkpoint=tmp_path / "kept.npz"),
    )
    assert list(ranking.components) == ["permutation", ATTRIBUTION, "end_to_end", "conditional"]
    for name, conditional in (("end_to_end", False), ("conditional", True)):
        direct = pg.permutation_importance(
            model, X, y, via="both", layout=layout, features=layout.features, conditional=conditional
        )
        np.testing.assert_allclose(ranking.components[name].scores, direct.scores, rtol=1e-5, atol=1e-7)
        expected = spearmanr(direct.scores, ranking.scores).statistic
        assert ranking.settings["agreement"][name] == pytest.approx(expected)
    files = {"kept.npz", "kept-end_to_end.npz", "kept-conditional.npz"}
    assert {path.name for path in tmp_path.iterdir()} == files


@pytest.mark.slow
def test_end_to_end_is_left_out_where_it_takes_long(random_hybrid, layout, rng, monkeypatch):
    model, X, y = random_hybrid("classification", 3), rng.random((30, 6)), rng.integers(0, 3, 30)
    monkeypatch.setattr("permgrad.importance.rank.QUICK", 1000)
    rank = partial(pg.rank_features, model, X, y, layout=layout, n_repeats=1, formula="fused")
    assert "end_to_end" not in rank().components
    assert "end_to_end" in rank(end_to_end=True).components
    monkeypatch.undo()
    assert "end_to_end" not in rank(end_to_end=False).components


def test_transposed_read_fails(planted_model, layout, planted_rows):
    """The published mistake: reading the heat map at (column, row)."""
    X, _ = planted_rows
    transposed = replace(layout, rows=layout.cols, cols=layout.rows)
    cam = pg.grad_cam(planted_model, [X, layout.render(X)], transposed, classes=["off", "on"])
    np.testing.assert_allclose(cam.scores, 0, atol=1e-6)


def test_target_leak_is_an_error(planted_rows):
    X, y = planted_rows
    table = pg.Table(X, y)
    frame = table.X.assign(target=y)
    with pytest.raises(pg.PermGradError, match="'target' equals the target"):
        pg.Table(frame, y)
    with pytest.raises(pg.PermGradError, match="'target' equals the target"):
        pg.HybridClassifier().fit(frame, y)
    value = np.linspace(0, 1, len(X))
    with pytest.raises(pg.PermGradError, match="'copy' equals the target"):
        pg.HybridRegressor().fit(table.X.assign(copy=value), value)


def test_one_branch_is_its_explainer_alone(random_hybrid, layout, rng):
    X, y = rng.random((40, 6)), rng.integers(0, 3, 40)
    tabular = pg.rank_features(random_hybrid("classification", 3, ("tabular",)), X, y, formula="fused")
    assert tabular.method == "permutation"
    assert tabular.branch_weights == {"tabular": 1.0}
    image = pg.rank_features(random_hybrid("classification", 3, ("image",)), X, y, layout=layout, formula="fused")
    assert image.method == ATTRIBUTION
    assert list(image.components) == [ATTRIBUTION]


def test_published_formula_is_the_parts_put_together(random_hybrid, layout, rng):
    model, X = random_hybrid("regression", 1), rng.random((60, 6))
    y = predicted(model, X)[:, 0] + rng.normal(size=60) / 100  # of a model that has learned something
    groups = {"one": [0], "pair": [2, 4]}
    ranking = pg.rank_features(
        model, X, y, layout=layout, groups=groups, random_state=4, formula=pg.PUBLISHED, end_to_end=False
    )
    weights = pg.branch_weights(model, X, y, weights="softmax", baseline="zero").weights
    parted = {**groups, "f1": [1], "f3": [3], "f5": [5]}  # each column that is in no group is a feature of its own
    permutation = pg.permutation_importance(model, X, y, groups=parted, features=layout.features, random_state=4)
    parts = pg.fuse(permutation, pg.grad_cam(model, X, layout, groups=parted), weights, fusion_scale="min-max")
    assert ranking.features == parts.features == ("one", "pair", "f1", "f3", "f5")
    np.testing.assert_allclose(ranking.scores, parts.scores, rtol=1e-5)
    assert ranking.settings["weights"] == "softmax"


def test_columns_in_another_order_are_refused(planted_model, layout, planted_rows):
    X, y = planted_rows
    frame = pd.DataFrame(X, columns=layout.features)[["f5", "f4", "f3", "f2", "f1", "f0"]]
    with pytest.raises(pg.PermGradError, match="expected columns in another order"):
        pg.rank_features(planted_model, [frame, layout.render(X)], y, layout=layout)
    with pytest.raises(pg.PermGradError, match="expected columns in another order"):
        layout.scale(frame)


@pytest.mark.slow
def test_branches_are_encoded_once(random_hybrid, layout, rng, monkeypatch):
    """Grad-CAM leaves the image branch's codes behind, ablation the tabular branch's."""
    from permgrad.importance.network import _inputs as inputs

    calls, cached = [], []
    build, cache = inputs.Inputs._encoder, inputs.Inputs.cache

    def counted(self, branch):
        encode = build(self, branch)
        return lambda rows: calls.append(branch.name) or encode(rows)

    monkeypatch.setattr(inputs.Inputs, "_encoder", counted)
    monkeypatch.setattr(inputs.Inputs, "cache", lambda *a: cached.append(a[1].name) or cache(*a))
    pg.rank_features(
        random_hybrid("regression", 1, fresh=True), rng.random((30, 6)), rng.random(30), layout=layout, formula="fused"
    )
    assert calls == ["tabular"]
    assert sorted(cached) == ["image", "tabular"]


def softmax_in_its_last_layer(layout):
    rows = keras.Input((6,))
    image = layers.Flatten()(layers.Conv2D(3, 3, activation="relu")(FeatureImage.from_layout(layout)(rows)))
    both = layers.Concatenate()([layers.Dense(4, "relu")(rows), image])
    return keras.Model(rows, layers.Dense(3, "softmax")(both))


@pytest.mark.slow
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_second_ranking_compiles_nothing_and_sees_new_weights(task, random_hybrid, layout, rng, monkeypatch):
    X = rng.random((30, 6))
    if task == "regression":
        model, y = random_hybrid("regression", 1, fresh=True), rng.random(30)
    else:
        model, y = softmax_in_its_last_layer(layout), rng.integers(0, 3, 30)
    options = {"layout": layout, "n_repeats": 1, "end_to_end": task == "classification", "formula": "fused"}
    first = pg.rank_features(model, X, y, **options)
    with monkeypatch.context() as patch:
        # A model's call is Python only while it is traced.
        patch.setattr(keras.layers.Dense, "call", None)
        assert pg.rank_features(model, X, y, **options) == first
    weights = [weight * rng.uniform(0.5, 1.5, weight.shape) for weight in model.get_weights()]
    model.set_weights(weights)
    fresh = keras.models.clone_model(model)
    fresh.set_weights(weights)
    changed, expected = (pg.rank_features(m, X, y, **options) for m in (model, fresh))
    np.testing.assert_allclose(changed.scores, expected.scores, rtol=1e-4, atol=1e-6)
    assert not np.allclose(changed.scores, first.scores, rtol=1e-3)


def test_a_model_that_was_changed_is_looked_at_anew(rng):
    """What compiling takes in as a constant, or another output: the second answer is that of a fresh model."""

    def build(variance, units=1):
        rows = keras.Input((4,))
        scaled = layers.Normalization(mean=np.zeros(4), variance=variance)(rows)
        hidden = layers.Dense(3, "relu", kernel_initializer=keras.initializers.HeNormal(seed=1))(scaled)
        return keras.Model(rows, layers.Dense(units, kernel_initializer=keras.initializers.HeNormal(seed=2))(hidden))

    X, y = rng.normal(size=(30, 4)).astype(np.float32), rng.normal(size=30)
    model = build(np.ones(4))
    before = pg.permutation_importance(model, X, y)
    normalization = model.layers[1]
    normalization.variance = keras.ops.convert_to_tensor(np.array([[4.0, 1.0, 9.0, 1.0]], np.float32))
    after = pg.permutation_importance(model, X, y)
    fresh = pg.permutation_importance(build(np.array([4.0, 1.0, 9.0, 1.0])), X, y)
    np.testing.assert_allclose(after.scores, fresh.scores, rtol=1e-4)
    assert not np.allclose(after.scores, before.scores, rtol=1e-2)

    sequence = keras.Sequential([keras.Input((4,)), layers.Dense(3, "relu"), layers.Dense(1)])
    pg.permutation_importance(sequence, X, y)
    sequence.pop()
    sequence.add(layers.Dense(2, "softmax"))
    assert pg.permutation_importance(sequence, X, (y > 0).astype(int)).classes == ("0", "1")


def test_what_is_kept_for_a_model_goes_with_it(random_hybrid, rng):
    model = random_hybrid("regression", 1, fresh=True)
    before = len(model.layers), len(model.variables)
    pg.permutation_importance(model, rng.random((10, 6)), rng.random(10))
    gone = weakref.ref(pg.cut_model(model))
    n_layers, n_variables = len(model.layers), len(model.variables)
    del model  # pytest would keep what stands in an assertion
    gc.collect()
    assert gone() is None
    assert (n_layers, n_variables) == before  # Keras takes none of it for parts of the model


def test_missing_layout_and_too_many_branches(random_hybrid, rng):
    with pytest.raises(pg.PermGradError, match="pass layout="):
        pg.rank_features(random_hybrid("regression", 1), rng.random((5, 6)), rng.random(5))
    a, b = keras.Input((2,)), keras.Input((2,))
    model = keras.Model([a, b], layers.Dense(1)(layers.Concatenate()([a, b])))
    with pytest.raises(pg.PermGradError, match="one tabular and one image branch, this model has 2 and 0"):
        pg.rank_features(model, [np.ones((3, 2)), np.ones((3, 2))], np.ones(3))


@pytest.mark.parametrize("formula", ["game", "fused"])
def test_a_sequential_model_is_ranked_as_the_functional_one(formula, rng):
    layers = [keras.layers.Dense(8, "relu"), keras.layers.Dense(3, "softmax")]
    sequential = keras.Sequential([keras.Input((4,)), *layers])
    functional = keras.Model(sequential.inputs, sequential.outputs)
    X, y = rng.normal(size=(60, 4)).astype(np.float32), rng.integers(0, 3, 60)
    rank = partial(pg.rank_features, inputs=X, y=y, formula=formula, budget=pg.Budget(tolerance=0.1))
    np.testing.assert_allclose(rank(sequential).scores, rank(functional).scores, atol=1e-6)
