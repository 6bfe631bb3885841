"""Groups, times and weights in `fit`: which rows are set apart, within scikit-learn's tools too."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn
from sklearn.model_selection import GridSearchCV, GroupKFold

import permgrad as pg
from tests.conftest import SMALL

PATIENTS = np.repeat(np.arange(30), 5)


@pytest.fixture
def numbered(mixed):
    """150 rows of 30 patients, with their number among the columns."""
    X, y = mixed
    return X.assign(number=np.arange(150.0)), y


def rows_of(model, trainings):
    at = model.encoder_.get_feature_names_out().tolist().index("number")
    sides = [(train, validation) for _, train, validation, _ in trainings]
    return [tuple(side[0][:, at].astype(int) for side in pair) for pair in sides]


@pytest.mark.parametrize("n_networks", [1, 3])
@pytest.mark.parametrize("kind", [pg.HybridClassifier, pg.HybridRegressor])
def test_no_group_is_on_both_sides(kind, n_networks, numbered, trainings):
    X, y = numbered
    y = np.where(y > 0, "yes", "no") if kind is pg.HybridClassifier else y
    model = kind(**SMALL, n_networks=n_networks).fit(X, y, groups=[f"p{i}" for i in PATIENTS])
    for fitted, deciding in rows_of(model, trainings):
        assert not set(PATIENTS[fitted]) & set(PATIENTS[deciding])
        assert len(fitted) + len(deciding) == 150


@pytest.mark.parametrize("n_networks", [1, 3])
def test_what_decides_is_later_than_what_is_fitted_on(n_networks, numbered, trainings):
    X, y = numbered
    order = np.random.default_rng(0).permutation(150)
    table = pg.Table(X, y, "regression", times=order // 3)
    model = pg.HybridRegressor(**SMALL, n_networks=n_networks).fit(table)
    last = -1
    for fitted, deciding in rows_of(model, trainings):
        assert (order[fitted] // 3).max() < (order[deciding] // 3).min()
        assert last < (order[deciding] // 3).min()
        last = (order[deciding] // 3).max()
    assert len(deciding) >= 0.9 * 150 * (0.2 if n_networks == 1 else 0.5 / 3)


def test_a_table_brings_weights_and_groups_along(numbered, trainings):
    X, y = numbered
    weights = np.linspace(0.5, 2, 150)
    model = pg.HybridRegressor(**SMALL).fit(pg.Table(X, y, "regression", weights=weights, groups=PATIENTS))
    same = pg.HybridRegressor(**SMALL).fit(X, y, weights, groups=PATIENTS)
    for one, other in zip(trainings[0][1:3], trainings[1][1:3], strict=True):
        for mine, theirs in zip(one, other, strict=True):
            np.testing.assert_array_equal(mine, theirs)
    of_table = pg.Table(X, y, "regression", weights=weights)
    assert model.loss(of_table) == pytest.approx(model.loss(X, y, weights))
    assert model.loss(of_table) == same.loss(of_table)


def test_validation_rows_weigh(numbered, trainings):
    X, y = numbered
    table = pg.Table(X, y, "regression", weights=np.linspace(0.5, 2, 150))
    pg.HybridRegressor(**SMALL).fit(table.take(np.arange(100)), validation_data=table.take(np.arange(100, 150)))
    validation = trainings[0][2]
    np.testing.assert_allclose(validation[2], table.weights[100:] / table.weights[100:].mean(), rtol=1e-6)


def test_averages_hand_groups_on(numbered, trainings):
    X, y = numbered
    averaged = pg.AveragedRegressor([pg.HybridRegressor(**SMALL)]).fit(X, y, groups=PATIENTS)
    ((fitted, deciding),) = rows_of(averaged.estimators_[0], trainings)
    assert not set(PATIENTS[fitted]) & set(PATIENTS[deciding])


@pytest.mark.slow
def test_within_scikit_learns_tools(numbered, trainings):
    """Metadata is routed: the tool's folds, and what an estimator sets apart within them, keep groups whole."""
    X, y = numbered
    with sklearn.config_context(enable_metadata_routing=True):
        model = pg.HybridRegressor(**SMALL).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        search = GridSearchCV(model, {"epochs": [1]}, cv=GroupKFold(2))
        search.fit(X, y, groups=PATIENTS, sample_weight=np.ones(150))
    assert len(trainings) == 3
    for fitted, deciding in rows_of(search.best_estimator_, trainings):
        assert not set(PATIENTS[fitted]) & set(PATIENTS[deciding])
    plain = GridSearchCV(pg.HybridRegressor(**SMALL), {"epochs": [1]}, cv=GroupKFold(2)).fit(X, y, groups=PATIENTS)
    assert plain.n_splits_ == 2


def test_what_groups_cannot_be(numbered):
    X, y = numbered
    with pytest.raises(pg.PermGradError, match="groups must have one value for each of 150 rows, got 2"):
        pg.HybridRegressor(**SMALL).fit(X, y, groups=[1, 2])
    with pytest.raises(pg.PermGradError, match="3 folds need as many groups, 'groups' has 2"):
        pg.HybridRegressor(**SMALL, n_networks=3).fit(X, y, groups=PATIENTS > 15)


def test_rankings_know_a_tables_rows(numbered, trainings, monkeypatch):
    """What is given goes before what the table says."""
    X, y = numbered
    model = pg.HybridRegressor(**SMALL).fit(X, y)
    handed = []

    def record(*_, sample_weight, row_groups, **__):
        handed.append((sample_weight, row_groups))
        raise pg.PermGradError("recorded")

    monkeypatch.setattr("permgrad.estimators._ranking.rank_network", record)
    table = pg.Table(X, y, "regression", groups=PATIENTS, weights=np.ones(150))
    for given in ({}, {"sample_weight": np.arange(150), "row_groups": PATIENTS // 2}):
        with pytest.raises(pg.PermGradError, match="recorded"):
            model.rank_features(table, **given)
    assert handed[0][0].tolist() == [1] * 150
    assert handed[0][1].tolist() == PATIENTS.tolist()
    assert handed[1][0].tolist() == list(range(150))
    assert handed[1][1].tolist() == (PATIENTS // 2).tolist()
