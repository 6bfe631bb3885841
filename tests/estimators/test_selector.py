"""The classifier that selects columns: planted markers, every kind of rows, the path from dense to sparse, saving."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone

import permgrad as pg
from permgrad.backend import keras
from permgrad.data.on_disk import RowsOnDisk

QUICK = {"hidden_units": (32,), "epochs": 15, "batch_size": 32, "learning_rate": 1e-2, "alpha": 0.01}
SELECTORS = ("free", "clamped", "stochastic", "narrowing", "none")


@pytest.fixture(scope="module")
def cells():
    """Logarithms of planted counts: 9 markers of three classes and 20 genes that vary for no reason, among 80."""
    counts = pg.toy.single_cells(900, 80, n_classes=3, n_markers=9, n_programs=2, program_size=10, fold=6)
    return pg.Cells(counts.X.log1p(), counts.y, counts.features, notes=counts.notes)


@pytest.fixture(scope="module")
def parts(cells):
    return [cells.take(rows) for rows in pg.capped_split(cells.y, (500, 50, 100))]


@pytest.fixture(scope="module")
def trained_selectors(parts):
    models = {}
    for selector in SELECTORS:
        given = {"selector": selector, "sizes": (500, 30, 15, 9)} if selector == "narrowing" else {"selector": selector}
        models[selector] = pg.SelectorClassifier(**QUICK, **given).fit(parts[0], validation_data=parts[1])
    return models


@pytest.mark.parametrize("selector", SELECTORS)
def test_planted_markers_are_found(selector, trained_selectors, parts):
    """At twice as many columns as there are markers; and no more than a few of the genes that vary for no reason."""
    ranking = trained_selectors[selector].rank_by_weights()
    assert pg.toy.recall(ranking, parts[0].notes["relevant"], k=18) >= 0.9
    assert len(set(ranking.select(9)) & set(parts[0].notes["programs"])) <= 1
    assert set(trained_selectors[selector].set_params(n_features_to_select=9).get_feature_names_out()) == set(
        ranking.select(9)
    )
    test = parts[2]
    assert (trained_selectors[selector].predict(test) == test.y).mean() > 0.9


def test_selectors_rank_by_their_weights(trained_selectors):
    for selector in ("free", "clamped"):
        model = trained_selectors[selector]
        np.testing.assert_allclose(model.rank_by_weights().scores, np.abs(model.selector_weights_), rtol=1e-6)
    plain = trained_selectors["none"]
    assert plain.selector_weights_ is None
    kernel = keras.ops.convert_to_numpy(plain.network_.get_layer("hidden_0").kernel)
    np.testing.assert_allclose(plain.rank_by_weights().scores, np.abs(kernel).sum(axis=1), rtol=1e-6)


@pytest.mark.slow
def test_every_kind_of_rows_trains_the_same_network(parts):
    """Sparse, dense, named: one seed, one network. Of a file, rows come in another order: as good a network."""
    train, _, test = parts
    model = pg.SelectorClassifier(**{**QUICK, "epochs": 4}, scaling="standard")
    frame = pd.DataFrame(train.X.toarray(), columns=list(train.features))
    expected = clone(model).fit(train).predict_proba(test)
    for X in (train.X, train.X.toarray(), frame):
        found = clone(model).fit(X, train.y)
        given = pd.DataFrame(test.X.toarray(), columns=list(test.features)) if X is frame else test.X
        np.testing.assert_allclose(found.predict_proba(given), expected, atol=1e-4)
    on_disk = pg.Cells(RowsOnDisk(train.X), train.y, train.features)
    backed = clone(model).fit(on_disk, validation_data=pg.Cells(RowsOnDisk(test.X), test.y, test.features))
    assert (backed.predict(test) == test.y).mean() > 0.9
    assert backed.features_ == train.features
    assert len(backed.history_["val_loss"]) == 4


def test_a_path_narrows_in_one_training(trained_selectors, parts):
    model = trained_selectors["narrowing"]
    assert model.path_["size"].tolist() == [30, 15, 9]  # of 80 columns there are no 500 to keep
    assert len(model.history_["loss"]) == 15 + 3 * 3
    weights = model.selector_weights_
    assert (weights != 0).sum() == 9
    assert set(model.rank_by_weights().select(9)) == {
        name for name, w in zip(model.features_, weights, strict=True) if w
    }
    assert model.path_["balanced_accuracy"].iloc[-1] > 0.7  # of nine genes; chance: a third
    # The last row is the network that is left; the validation rows are what it was judged on.
    val = parts[1]
    assert model.path_["loss"].iloc[-1] == pytest.approx(model.loss(val), rel=1e-4)
    assert model.path_["accuracy"].iloc[-1] == pytest.approx((model.predict(val) == val.y).mean())


def test_steps_are_whole_epochs(parts):
    """693 cells in batches of 32 make 22 steps an epoch: 23 steps are 2 epochs. A path's stages stay in epochs."""
    assert len(parts[0]) == 693
    given = {**QUICK, "steps": 23, "hidden_units": (2,)}
    assert len(pg.SelectorClassifier(**given).fit(parts[0]).history_["loss"]) == 2
    path = pg.SelectorClassifier(**given, selector="narrowing", sizes=(20, 10), epochs_per_size=1).fit(parts[0])
    assert len(path.history_["loss"]) == 2 + 2


def with_a_copy(cells):
    """Return the cells, and a copy of their first marker: who has the one needs not the other."""
    marker = cells.notes["relevant"][0]
    X = sparse.csr_matrix(sparse.hstack([cells.X, cells.only([marker]).X]))
    return pg.Cells(X, cells.y, (*cells.features, "copy")), marker


@pytest.mark.slow
@pytest.mark.parametrize("selector", ["free", "stochastic", "narrowing"])
def test_what_included_columns_tell_is_not_chosen_again(selector, parts):
    """Beside its copy, which passes anyway, a marker is not worth its penalty; without the copy it is."""
    train, marker = with_a_copy(parts[0])
    given = {**QUICK, "selector": selector, "alpha": 0.02, "sizes": (40, 20, 10)}
    alone = pg.SelectorClassifier(**given).fit(parts[0]).rank_by_weights()
    beside = pg.SelectorClassifier(**given, include=("copy",)).fit(train)
    ranking = beside.rank_by_weights().only(parts[0].features)
    assert list(alone.table["feature"]).index(marker) < 9
    assert list(ranking.table["feature"]).index(marker) > list(alone.table["feature"]).index(marker) + 3
    assert "copy" in beside.set_params(n_features_to_select=2).get_feature_names_out()
    others = [name for name in parts[0].notes["relevant"] if name != marker]
    assert pg.toy.recall(ranking, others, k=16) >= 0.7


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [None, "l1", "l2"])
def test_weights_that_begin_alike_choose_better_in_a_short_training(penalty, parts):
    """So few steps move weights by less than random ones differ: these choose at chance, 9 of 80, or little above."""
    given = {**QUICK, "penalty": penalty, "steps": 60, "learning_rate": 3e-3}
    relevant = parts[0].notes["relevant"]
    found = {
        start: np.mean(
            [
                pg.toy.recall(
                    pg.SelectorClassifier(**given, start=start, random_state=s).fit(parts[0]).rank_by_weights(),
                    relevant,
                )
                for s in range(2)
            ]
        )
        for start in ("random", "ones")
    }
    assert found["random"] < 0.4
    assert found["ones"] > 0.7


@pytest.mark.slow
def test_a_stronger_penalty_leaves_smaller_weights(parts):
    sizes = [
        np.abs(pg.SelectorClassifier(**{**QUICK, "alpha": alpha}).fit(parts[0]).selector_weights_).sum()
        for alpha in (0.0, 0.01, 0.1)
    ]
    assert sizes[0] > 2 * sizes[1] > 4 * sizes[2]


def test_what_is_logged_is_without_noise_and_penalty(parts):
    train, val, _ = parts
    model = pg.SelectorClassifier(**{**QUICK, "epochs": 2}, log_evaluation=True).fit(train, validation_data=val)
    history = model.history_
    p = model.predict_proba(train)
    numbers = np.searchsorted(model.classes_, train.y)
    assert history["train_loss"][-1] == pytest.approx(-np.log(p[np.arange(len(p)), numbers]).mean(), rel=1e-4)
    assert history["train_accuracy"][-1] == pytest.approx((model.predict(train) == train.y).mean())
    assert history["validation_loss"][-1] == pytest.approx(model.loss(val), rel=1e-4)
    assert history["penalty"][-1] == pytest.approx(0.01 * np.abs(model.selector_weights_).sum(), rel=1e-4)
    assert history["val_loss"][-1] == pytest.approx(history["validation_loss"][-1] + history["penalty"][-1], rel=1e-4)


@pytest.mark.slow
def test_one_seed_one_network(parts):
    small = pg.SelectorClassifier(**{**QUICK, "epochs": 2}, selector="stochastic")
    first, second, other = (clone(small).set_params(random_state=s).fit(parts[0]).rank_by_weights() for s in (1, 1, 2))
    assert first == second
    assert first != other


@pytest.mark.parametrize("selector", SELECTORS)
def test_saved_and_loaded(selector, trained_selectors, parts, tmp_path):
    model = trained_selectors[selector]
    model.save(tmp_path / "model")
    loaded = pg.load(tmp_path / "model")
    assert type(loaded) is pg.SelectorClassifier
    np.testing.assert_array_equal(loaded.predict_proba(parts[2]), model.predict_proba(parts[2]))
    assert loaded.rank_by_weights() == model.rank_by_weights()
    assert loaded.get_params() == model.get_params()
    assert (loaded.path_ is None) == (model.path_ is None)


def test_columns_that_never_vary_rank_last(parts):
    train = parts[0]
    X = train.X.toarray()[:, :12]
    X[:, 3] = 0
    X[:, 7] = 2.5
    with pytest.warns(UserWarning, match="2 columns never vary in training"):
        model = pg.SelectorClassifier(**{**QUICK, "alpha": 0.0, "epochs": 1}).fit(X, train.y)
    assert model.constant_ == ("x3", "x7")
    ranking = model.rank_by_weights()
    assert set(ranking.table["feature"].tolist()[-2:]) == {"x3", "x7"}
    assert ranking.unused == ("x3", "x7")
    assert model.feature_importances_[[3, 7]].tolist() == [0, 0]
    assert model.set_params(n_features_to_select=10).get_support(indices=True).tolist() == [
        0,
        1,
        2,
        4,
        5,
        6,
        8,
        9,
        10,
        11,
    ]


def test_permutation_importance_takes_the_network(trained_selectors, parts):
    """What is ranked by weights can be ranked by what the network does, on test rows that stay sparse."""
    test, model = parts[2], trained_selectors["free"]
    numbers = np.searchsorted(model.classes_, test.y)
    found = pg.permutation_importance(model.network_, test.X, numbers, features=test.features)
    assert pg.toy.recall(found, test.notes["relevant"], k=18) >= 0.8


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"selector": "narrowing", "sizes": (10, 20)}, "sizes must go down"),
        ({"selector": "narrowing", "sizes": ()}, "sizes must go down"),
        ({"selector": "narrowing", "sizes": (90, 80)}, "less than the number of columns, 80"),
        ({"selector": "narrowing", "epochs_per_size": 0}, "epochs_per_size must be at least 1"),
        ({"scaling": "other"}, "scaling must be one of"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"start": "zeros"}, "start must be one of"),
        ({"include": ("other",)}, "include must name columns; there is no 'other'"),
        ({"selector": "narrowing", "sizes": (1,), "include": ("gene_0",)}, "sizes must be above the number of columns"),
        ({"class_weight": {"type_0": 1.0}}, "class_weight must name the classes"),
    ],
)
def test_settings_that_cannot_be(wrong, message, parts):
    with pytest.raises(pg.PermGradError, match=message):
        pg.SelectorClassifier(**{**QUICK, "epochs": 1, **wrong}).fit(parts[1])


def test_rows_that_cannot_be(trained_selectors, parts):
    model, train = pg.SelectorClassifier(**{**QUICK, "epochs": 1}), parts[1]
    dense = train.X.toarray()
    with pytest.raises(pg.PermGradError, match="the target y is None"):
        model.fit(dense)
    with pytest.raises(pg.PermGradError, match="NaN"):
        model.fit(np.where(dense == dense.max(), np.nan, dense), train.y)
    spoiled = train.X.copy()
    spoiled.data[3] = np.nan
    for X in (spoiled, spoiled.toarray()):
        with pytest.raises(pg.PermGradError, match="NaN"):
            model.fit(pg.Cells(X, train.y, train.features))
    with pytest.raises(pg.PermGradError, match="one class"):
        model.fit(dense, np.zeros(len(train)))
    with pytest.raises(pg.PermGradError, match="same number of rows"):
        model.fit(dense, train.y[:-1])
    with pytest.raises(pg.PermGradError, match="no column varies"):
        model.fit(np.ones((10, 3)), np.arange(10) % 2)
    with pytest.raises(pg.PermGradError, match="labels not seen in training: 'other'"):
        model.fit(train, validation_data=(train.X, np.repeat("other", len(train))))
    with pytest.raises(pg.UnfittedError):
        pg.SelectorClassifier().predict(dense)
    with pytest.raises(pg.UnfittedError):
        pg.SelectorClassifier().rank_by_weights()
    with pytest.raises(pg.PermGradError, match="has the expected columns in another order"):
        trained_selectors["free"].predict(train.only([*train.features[1:], train.features[0]]))
    with pytest.raises(pg.PermGradError, match="columns|features"):
        trained_selectors["free"].predict(sparse.csr_matrix(dense[:, :5]))
