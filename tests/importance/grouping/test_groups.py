"""Groups of features: by the user, by category, by correlation; and from a group down to its members."""

from __future__ import annotations

import keras
import numpy as np
import pandas as pd
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from scipy.stats import spearmanr

import permgrad as pg
from permgrad.importance.grouping import correlated


@pytest.fixture
def blocks(rng):
    """Two tight blocks (a, b), which hang together loosely, and a column alone."""
    base = rng.normal(size=300)
    first = base + 0.6 * rng.normal(size=300)
    second = base + 0.6 * rng.normal(size=300)
    noise = lambda: 0.1 * rng.normal(size=300)  # noqa: E731
    return pd.DataFrame(
        {
            "a1": first + noise(),
            "z": rng.normal(size=300),
            "b1": second + noise(),
            "a2": np.exp(first + noise()),  # rank correlation sees through a monotone map
            "b2": -second + noise(),
            "a3": first + noise(),
        }
    )


def test_levels_from_coarse_to_fine(blocks):
    coarse, fine = pg.correlated_groups(blocks, (0.5, 0.8))
    assert coarse == {"a1 + b1 + 3 more": ["a1", "b1", "a2", "b2", "a3"], "z": ["z"]}
    assert fine == {"a1 + a2 + 1 more": ["a1", "a2", "a3"], "z": ["z"], "b1 + b2": ["b1", "b2"]}
    single = {name: [name] for name in blocks}
    assert pg.correlated_groups(blocks, 0.999) == [single]
    assert pg.correlated_groups(blocks, (0.998, 0.999)) == [single, single]


def test_clusters_are_average_linkage_of_spearmans(blocks):
    """The two blocks join exactly where the mean of |rho| between their members says."""
    rho = np.abs(spearmanr(blocks).statistic)
    between = rho[np.ix_([0, 3, 5], [2, 4])].mean()
    assert len(pg.correlated_groups(blocks, between - 0.005)[0]) == 2
    assert len(pg.correlated_groups(blocks, between + 0.005)[0]) == 3


@pytest.mark.parametrize("floats_per_block", [2**25, 200])
def test_parts_clustered_alone_are_those_of_one_tree(rng, monkeypatch, floats_per_block):
    """Against average linkage of all features at once; blocks of many columns, and of few."""
    monkeypatch.setattr(correlated, "FLOATS_PER_BLOCK", floats_per_block)
    latent = rng.normal(size=(60, 12))
    X = latent[:, rng.integers(0, 12, 70)] + rng.uniform(0.1, 1.5, 70) * rng.normal(size=(60, 70))
    levels = (0.25, 0.5, 0.8)
    tree = linkage(squareform(1 - np.abs(spearmanr(X).statistic), checks=False), "average")
    for level, clusters in zip(levels, pg.correlated_groups(X, levels), strict=True):
        expected = fcluster(tree, 1 - level, "distance")
        groups = {frozenset(f"x{i}" for i in np.flatnonzero(expected == c)) for c in expected}
        assert {frozenset(group) for group in clusters.values()} == groups
    X[:, 12] = X[:, 7]
    columns = {"pair": [3, 40], "other": [7], "third": [8, 9, 10], "twice": [11, 12]}
    rho = np.abs(spearmanr(X).statistic)
    joined = pg.correlated_groups(X, 0.999, columns=columns)[0]
    assert ["other", "twice"] in joined.values()
    assert len(joined) == 70 - 8 + 3
    assert rho[3, 8] < 0.999


@pytest.mark.slow
def test_tens_of_thousands_of_features_are_clustered(rng):
    X = rng.normal(size=(60, 21_000)).astype(np.float32)
    X[:, [5, 20_000]] = X[:, :1] + 0.01 * rng.normal(size=(60, 2))
    clusters = pg.correlated_groups(X, 0.9)[0]
    assert clusters["x0 + x5 + 1 more"] == ["x0", "x5", "x20000"]
    assert len(clusters) == 20_998


def test_too_many_features_that_hang_together(blocks, monkeypatch):
    monkeypatch.setattr(correlated, "MOST_FEATURES", 4)
    assert len(pg.correlated_groups(blocks, 0.8)[0]) == 3  # 3 at most hang together
    with pytest.raises(pg.PermGradError, match="at most 4 features that hang together can be clustered, got 5"):
        pg.correlated_groups(blocks, 0.2)


def test_categories_are_clustered_as_one(rng):
    kind = rng.integers(0, 3, 200)
    X = np.hstack([np.eye(3)[kind], (kind == 2)[:, None] + 0.01 * rng.normal(size=(200, 1)), rng.normal(size=(200, 1))])
    clusters = pg.correlated_groups(X, 0.8, columns={"kind": [0, 1, 2], "copy": [3], "other": [4]})
    assert clusters == [{"kind + copy": ["kind", "copy"], "other": ["other"]}]


@pytest.mark.parametrize("thresholds", [0.0, 1.0, (0.8, 0.5), ()])
def test_thresholds_out_of_range(blocks, thresholds):
    with pytest.raises(pg.PermGradError, match="between 0 and 1, ascending"):
        pg.correlated_groups(blocks, thresholds)


@pytest.fixture(scope="module")
def fitted():
    """y follows the sum of two near copies, so that neither alone is needed; a category matters a little."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=500)
    X = pd.DataFrame({"u": base + 0.05 * rng.normal(size=500), "noise": rng.normal(size=500)})
    X["v"] = base + 0.05 * rng.normal(size=500)
    X["kind"] = rng.choice(["p", "q", "r"], 500)
    X["same"] = 1.0
    y = X["u"] + X["v"] + 0.5 * (X["kind"] == "p")
    with pytest.warns(UserWarning, match="no information"):
        model = pg.HybridRegressor(
            preset="published",
            branches=("tabular",),
            dense_units=(16,),
            head_units=(),
            dropout=0.0,
            epochs=15,
            learning_rate=1e-2,
        ).fit(X[:350], y[:350])
    return model, X[350:], y[350:]


@pytest.mark.slow
def test_users_groups_are_permuted_together(fitted):
    model, X, y = fitted
    ranking = model.rank_features(X, y, groups={"both": ["u", "v"]}, formula="fused")
    assert ranking.features == ("both", "noise", "kind", "same")
    assert ranking.select(1) == ["both"]
    alone = model.rank_features(X, y, formula="fused")
    assert ranking.drill_down("both") == alone.only(["u", "v"])
    encoded = model.encoder_.transform(X)
    columns = {"both": [0, 2], "noise": [1], "kind": [3, 4, 5]}
    direct = pg.permutation_importance(model.network_, encoded, y.to_numpy(), groups=columns)
    np.testing.assert_allclose(ranking.scores[:3], direct.scores, rtol=1e-5)
    together, apart = direct.scores[0], alone.scores[[0, 2]]
    assert together > 1.1 * apart.sum()  # what one copy loses the other still tells


@pytest.mark.slow
def test_correlated_groups_and_the_way_down(fitted):
    model, X, y = fitted
    ranking = model.rank_features(X, y, groups="correlated", n_repeats=2)
    assert ranking.features == ("u + v", "noise", "kind", "same")
    assert ranking.unused == ("same",)
    assert set(ranking.drill_down("u + v").features) == {"u", "v"}
    assert list(ranking.children) == ["u + v"]


def test_levels_hang_below_each_other():
    from permgrad.importance.grouping._hierarchy import with_members

    levels = [{"abc": ["a", "b", "c"], "d": ["d"]}, {"ab": ["a", "b"], "c": ["c"], "d": ["d"]}]
    rankings = [
        pg.FeatureRanking(("abc", "d"), [3, 1]),
        pg.FeatureRanking(("ab", "c", "d"), [2, 1, 1]),
        pg.FeatureRanking(("a", "b", "c", "d"), [1.5, 0.5, 1, 1]),
    ]
    top = with_members(rankings, levels)
    assert top.drill_down("abc").scores.tolist() == [2, 1]
    assert top.drill_down("abc").drill_down("ab").scores.tolist() == [1.5, 0.5]
    assert list(top.children) == ["abc"]
    # A level that does not part the group is skipped.
    assert with_members([rankings[0], rankings[0], rankings[2]], [levels[0]] * 2).drill_down("abc").features == (
        "a",
        "b",
        "c",
    )


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"g": ["u", "w"]}, "name columns of the table, not so: 'w'"),
        ({"g": ["u"], "h": ["u", "v"]}, "not share columns: 'u'"),
        ({"g": ["same"]}, "at least one column that varies, not so: 'g'"),
        ({"noise": ["u", "v"]}, "not be named like columns outside them: 'noise'"),
        ({"g": "uv"}, "map names to lists of columns"),
        ("alike", "or be 'correlated', got 'alike'"),
    ],
)
def test_groups_that_make_no_sense(groups, message, fitted):
    model, X, y = fitted
    with pytest.raises(pg.PermGradError, match=message):
        model.rank_features(X, y, groups=groups)


def test_groups_can_be_stopped_and_resumed(fitted, tmp_path):
    model, X, y = fitted
    options, file = {"groups": "correlated", "n_repeats": 2, "formula": "fused"}, tmp_path / "kept.npz"
    stopped = model.rank_features(X, y, **options, budget=pg.Budget(timeout=1e-9, checkpoint=file))
    assert stopped.pending
    resumed = model.rank_features(X, y, **options, budget=pg.Budget(checkpoint=file))
    assert not resumed.pending
    whole = model.rank_features(X, y, **options)
    np.testing.assert_allclose(resumed.scores, whole.scores, rtol=1e-5, atol=1e-7)


def test_a_group_is_not_called_like_a_column_that_never_varies(fitted):
    model, X, y = fitted
    with pytest.raises(pg.PermGradError, match="not be named like columns outside them: .same"):
        model.rank_features(X, y, groups={"same": ["u", "noise"]})


def test_rows_that_tell_nothing(fitted):
    model, X, y = fitted
    with pytest.raises(pg.PermGradError, match="all rows have the same target value"):
        model.rank_features(X, 0 * y)
    with pytest.raises(pg.PermGradError, match="at least 5 rows"):
        model.rank_features(X[:3], y[:3])


class Linear:
    """Anything with ``predict``: the first two columns' sum and half of the third."""

    def predict(self, X):
        return np.asarray(X, float) @ [1.0, 1.0, 0.5, 0.0]


def linear_network():
    row = keras.Input((4,))
    model = keras.Model(row, keras.layers.Dense(1)(row))
    model.layers[-1].set_weights([np.array([[1.0], [1.0], [0.5], [0.0]], np.float32), np.zeros(1, np.float32)])
    model.compile("sgd", "mse")
    return model


@pytest.fixture(scope="module")
def sizes():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(120, 4)).astype(np.float32), columns=["length", "width", "age", "noise"])
    X["width"] = (X["length"] + 0.3 * X["width"]).astype(np.float32)
    return X, (X["length"] + X["width"] + 0.5 * X["age"]).to_numpy()


MODELS = {"opaque": Linear, "network": linear_network}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("size", [["length", "width"], [0, "width"]])
def test_a_column_in_no_group_is_ranked_by_itself(model, size, sizes):
    """Of any model, by names or positions: nothing is dropped, and scores add up to the total."""
    X, y = sizes
    ranking = pg.rank_features(MODELS[model](), X, y, groups={"size": size}, n_repeats=2)
    assert ranking.features == ("size", "age", "noise")
    assert ranking.scores.sum() == pytest.approx(ranking.settings["total"], rel=1e-6)
    assert ranking.scores[0] > 0.8 * ranking.settings["total"]
    assert ranking.drill_down("size").features == ("length", "width")
    assert (ranking.drill_down("size").scores > 0).all()
    assert list(ranking.children) == ["size"]


@pytest.mark.parametrize("model", MODELS)
def test_correlated_groups_of_any_model(model, sizes):
    X, y = sizes
    ranking = pg.rank_features(MODELS[model](), X, y, groups="correlated", n_repeats=2)
    assert ranking.features == ("length + width", "age", "noise")
    assert set(ranking.drill_down("length + width").features) == {"length", "width"}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"a": ["length", "width"], "b": ["width", "age"]}, "must not share columns: 'width'"),
        ({"a": ["length", "height"]}, "must name columns of the table, not so: 'height'"),
        ({"a": [0, 7]}, "must name columns of the table, not so: 7"),
        ({"age": ["length", "width"]}, "must not be named like columns outside them: 'age'"),
        ([["length", "width"]], "must map names to lists of columns"),
        ("correlates", "or be 'correlated', got 'correlates'"),
        ({}, "must name at least one feature"),
        ({"a": []}, "at least one column"),
    ],
)
def test_groups_that_no_model_can_have(model, groups, message, sizes):
    with pytest.raises(pg.PermGradError, match=message):
        pg.rank_features(MODELS[model](), *sizes, groups=groups)
