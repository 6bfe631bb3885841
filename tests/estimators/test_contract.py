"""What every estimator keeps: scikit-learn's contract, within scikit-learn's own tools."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import permgrad as pg
from permgrad.backend import keras
from permgrad.data import table as tables

pytestmark = pytest.mark.filterwarnings("ignore:Even though the .tf.config")  # see `eager`

ONE_STEP = {"epochs": 1, "batch_size": 512}
HYBRID = {
    **ONE_STEP,
    "preset": "published",
    "branches": ("tabular",),
    "dense_units": (8,),
    "head_units": (8,),
    "dropout": 0.0,
    "schedule": "constant",
}
NETWORKS = {
    "hybrid": pg.HybridClassifier(**HYBRID),
    "regressor": pg.HybridRegressor(**HYBRID),
    "mlp": pg.MLPClassifier(**ONE_STEP, hidden_units=(4,), dropout=0.0),
    "selector": pg.SelectorClassifier(
        **ONE_STEP, hidden_units=(4,), alpha=0.0, noise=0.0, dropout=0.0, scaling="standard"
    ),
}
ESTIMATORS = {
    **NETWORKS,
    "averaged": pg.AveragedClassifier([LogisticRegression(), GaussianNB()]),
    "averaged regressor": pg.AveragedRegressor([Ridge(), LinearRegression()]),
}
CLASSIFIERS = [name for name, estimator in ESTIMATORS.items() if is_classifier(estimator)]
REGRESSORS = [name for name in ESTIMATORS if name not in CLASSIFIERS]

TRAINED = {"epochs": 20, "learning_rate": 0.05, "batch_size": 32}
OF_TRAINED = {
    "check_class_weight_classifiers",
    "check_classifiers_classes",
    "check_classifiers_train",
    "check_regressors_train",
}
"""scikit-learn's checks of what an estimator has learnt; the others ask for a fit, however short."""

IN_BATCHES = "rows that are there twice make other batches than a row that counts twice"
EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": IN_BATCHES,
    "check_sample_weight_equivalence_on_sparse_data": IN_BATCHES,
    "check_methods_sample_order_invariance": "in float32 the last bit depends on a row's neighbours; see below",
    "check_regressors_no_decision_function": "its target is a column of X: a leak, which is refused on purpose",
}


@pytest.fixture(autouse=True)
def eager(request):
    """One step at a time, nothing compiled: a fit of one step takes a tenth of a second, compiled ten times that."""
    check = getattr(getattr(request.node, "callspec", None), "params", {}).get("check")
    if keras.backend.backend() != "tensorflow" or (check is not None and check.func.__name__ in OF_TRAINED):
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@parametrize_with_checks(
    [*ESTIMATORS.values(), pg.ColumnEncoder()],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES if hasattr(estimator, "epochs") else {},
)
def test_scikit_learns_checks(estimator, check):
    """Those of networks outside `conftest.FAST_CHECKS` fit many of them and are marked slow."""
    if check.func.__name__ in OF_TRAINED and hasattr(estimator, "epochs"):
        patience = {"patience": 20} if hasattr(estimator, "patience") else {}
        estimator = clone(estimator).set_params(**TRAINED, **patience)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


@pytest.fixture(scope="module")
def rows():
    """80 rows of four named columns; the first two decide."""
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(80, 4)), columns=list("abcd"))
    return X, X["a"] + 0.5 * X["b"]


@pytest.fixture
def problem(request, rows):
    """An estimator by its name, unfitted, and rows with a target for it."""
    estimator = clone(ESTIMATORS[request.param])
    X, value = rows
    return estimator, X, np.where(value > 0, "high", "low") if is_classifier(estimator) else value


def output(estimator, X):
    return estimator.predict_proba(X) if is_classifier(estimator) else estimator.predict(X)


TOOLS = {
    "bagging": (BaggingClassifier, BaggingRegressor, {"n_estimators": 2, "random_state": 0}),
    "voting": (VotingClassifier, VotingRegressor, {}),
    "stacking": (StackingClassifier, StackingRegressor, {"cv": 2}),
}
FEW_FITS = [name for name in ESTIMATORS if name not in ("hybrid", "regressor", "selector")]
"""Estimators that all of these tools are tried on among the fast tests; the others come among the slow ones."""


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize(
    "problem",
    [pytest.param(name, marks=() if name in FEW_FITS else pytest.mark.slow) for name in ESTIMATORS],
    indirect=True,
)
def test_ensembles_of_scikit_learn(problem, tool):
    estimator, X, y = problem
    of_classifiers, of_regressors, settings = TOOLS[tool]
    kind = of_classifiers if is_classifier(estimator) else of_regressors
    if tool == "bagging":
        ensemble = kind(estimator, **settings)
    else:
        soft = {"voting": "soft"} if kind is VotingClassifier else {}
        ensemble = kind([("one", estimator), ("two", clone(estimator))], **soft, **settings)
    ensemble.fit(X, y)
    assert ensemble.predict(X).shape == (80,)
    if tool == "voting":  # two equal estimators vote as each alone
        expected = output(clone(estimator).fit(X, y), X)
        np.testing.assert_allclose(output(ensemble, X), expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["mlp", "selector", "hybrid"])
def test_a_bag_holds_different_networks(name, rows):
    """Of the same rows: it is by `random_state` alone that they differ."""
    X, value = rows
    bag = BaggingClassifier(clone(ESTIMATORS[name]), n_estimators=2, bootstrap=False, random_state=0)
    first, second = bag.fit(X.to_numpy(), value > 0).estimators_
    assert first.random_state_ != second.random_state_
    assert not np.allclose(first.predict_proba(X.to_numpy()), second.predict_proba(X.to_numpy()))


@pytest.mark.parametrize("problem", CLASSIFIERS, indirect=True)
def test_probabilities_can_be_calibrated(problem):
    estimator, X, y = problem
    calibrated = CalibratedClassifierCV(estimator, cv=2).fit(X, y)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1, rtol=1e-6)
    assert calibrated.classes_.tolist() == ["high", "low"]


@pytest.mark.parametrize("problem", REGRESSORS, indirect=True)
def test_targets_can_be_transformed(problem):
    estimator, X, y = problem
    around = TransformedTargetRegressor(estimator, func=np.arctan, inverse_func=np.tan).fit(X, y)
    direct = clone(estimator).fit(X, np.arctan(y))
    np.testing.assert_allclose(around.predict(X), np.tan(direct.predict(X)), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("names", [CLASSIFIERS, REGRESSORS], ids=["classifiers", "regressors"])
def test_a_grid_is_searched_in_two_processes(names, rows):
    X, value = rows
    y = np.where(value > 0, "high", "low") if names is CLASSIFIERS else value
    candidates = [clone(ESTIMATORS[name]) for name in names]
    search = GridSearchCV(Pipeline([("model", candidates[0])]), {"model": candidates}, cv=2, n_jobs=2).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    best = clone(ESTIMATORS[names[search.best_index_]]).fit(X, y)
    np.testing.assert_allclose(output(search.best_estimator_, X), output(best, X), rtol=1e-4)


@pytest.mark.parametrize("name", ["mlp", "selector"])
def test_columns_are_selected_from_a_model(name, rows):
    X, value = rows
    model = clone(ESTIMATORS[name])
    chain = make_pipeline(SelectFromModel(model, max_features=2, threshold=-np.inf), clone(model))
    chain.fit(X.to_numpy(), value > 0)
    importances = chain[0].estimator_.feature_importances_
    assert set(chain[0].get_support(indices=True)) == set(np.argsort(-importances)[:2])
    assert chain[1].n_features_in_ == 2


@pytest.mark.parametrize(("wanted", "k"), [(3, 3), (0.25, 1), (None, 2)])
def test_a_selector_selects(wanted, k, rows):
    X, value = rows
    model = clone(ESTIMATORS["selector"]).set_params(n_features_to_select=wanted).fit(X, value > 0)
    best = model.rank_by_weights().select(k)
    assert set(model.get_feature_names_out()) == set(best)
    assert list(model.set_output(transform="pandas").transform(X)) == [name for name in X if name in best]
    with pytest.raises(pg.PermGradError, match="n_features_to_select must be a number of columns from 1 to 4"):
        model.set_params(n_features_to_select=5).get_support()


@pytest.mark.parametrize("problem", ESTIMATORS, indirect=True)
def test_text_is_encoded_in_a_pipeline(problem):
    estimator, X, y = problem
    X = X.assign(colour=np.where(X["c"] > 0, "red", "blue"))
    chain = make_pipeline(pg.ColumnEncoder(), estimator).fit(X, y)
    assert chain[:-1].get_feature_names_out().tolist() == ["a", "b", "c", "d", "colour=blue", "colour=red"]
    encoded = pg.ColumnEncoder().fit(X).transform(X)
    np.testing.assert_allclose(output(chain, X), output(clone(estimator).fit(encoded, y), encoded), rtol=1e-5)


@pytest.mark.parametrize("problem", NETWORKS, indirect=True)
def test_saved_and_loaded(problem, tmp_path):
    estimator, X, y = problem
    estimator.set_params(random_state=np.random.RandomState(3)).fit(X, y)
    estimator.save(tmp_path / "model")
    loaded = pg.load(tmp_path / "model")
    np.testing.assert_array_equal(output(loaded, X), output(estimator, X))
    assert loaded.random_state_ == estimator.random_state_ == np.random.RandomState(3).randint(2**31 - 1)
    assert loaded.feature_names_in_.tolist() == list(X)
    assert loaded.n_features_in_ == 4
    assert loaded.features_ == tuple(X)
    assert {**loaded.get_params(), "random_state": 0} == {**estimator.get_params(), "random_state": 0}
    assert loaded.loss(X, y) == estimator.loss(X, y)


@pytest.mark.parametrize("problem", NETWORKS, indirect=True)
def test_the_order_of_rows_does_not_matter(problem):
    estimator, X, y = problem
    order = np.random.default_rng(2).permutation(len(X))
    estimator.fit(X, y)
    np.testing.assert_allclose(output(estimator, X.iloc[order]), output(estimator, X)[order], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("problem", NETWORKS, indirect=True)
def test_random_states(problem):
    """A number gives the same network again; of a RandomState and of None, each fit draws another."""
    estimator, X, y = problem
    first, again = (output(clone(estimator).fit(X, y), X) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    for random_state in (np.random.RandomState(0), None):
        estimator.set_params(random_state=random_state)
        assert estimator.fit(X, y).random_state_ != estimator.fit(X, y).random_state_


@pytest.mark.slow
@pytest.mark.parametrize("problem", NETWORKS, indirect=True)
def test_only_ratios_of_sample_weights_matter_and_rows_of_none_are_left_out(problem):
    estimator, X, y = problem
    weight = np.random.default_rng(1).integers(0, 3, len(X)).astype(float)
    counted = weight > 0
    expected = output(clone(estimator).fit(X[counted], y[counted], weight[counted]), X)
    np.testing.assert_allclose(output(clone(estimator).fit(X, y, 7 * weight), X), expected, rtol=1e-4, atol=1e-6)
    equal = output(clone(estimator).fit(X[counted], y[counted]), X)
    assert not np.allclose(expected, equal, rtol=1e-4)


@pytest.mark.parametrize("problem", NETWORKS, indirect=True)
def test_training_and_loss_weigh_rows_alike(problem):
    """One batch, hardly a step: the logged loss is the weighted mean of what the first weights give, times classes'."""
    estimator, X, y = problem
    estimator.set_params(learning_rate=1e-12)
    if is_classifier(estimator):
        estimator.set_params(class_weight={"high": 2.0, "low": 0.5})
    weight = np.random.default_rng(1).uniform(0.5, 2, len(X))
    estimator.set_params(**{name: False for name in ("batch_norm",) if name in estimator.get_params()})
    estimator.fit(X, y, weight, validation_data=(X, y))
    if is_classifier(estimator):
        p = estimator.predict_proba(X)
        losses = -np.log(np.where(y == "high", p[:, 0], p[:, 1])) * np.where(y == "high", 2.0, 0.5)
    else:
        losses = (estimator.predict(X) - y) ** 2 / np.var(y)
    assert estimator.loss(X, y) == pytest.approx(losses.mean(), rel=1e-4)
    assert estimator.loss(X, y, weight) == pytest.approx(np.average(losses, weights=weight), rel=1e-4)
    assert estimator.history_["val_loss"][0] == pytest.approx(losses.mean(), rel=1e-3)
    if not isinstance(estimator, pg.MLPClassifier):  # BatchNorm, in training, takes the batch's own moments
        assert estimator.history_["loss"][0] == pytest.approx(np.average(losses, weights=weight), rel=1e-3)


def test_weights_of_rows_set_apart_decide_when_to_stop(rows):
    """The rows set apart keep their weights: the logged validation loss is theirs."""
    X, value = rows
    model = clone(ESTIMATORS["hybrid"]).set_params(learning_rate=1e-12, validation_fraction=0.5, random_state=3)
    y, weight = (value > 0).to_numpy(), np.random.default_rng(1).uniform(0.5, 2, len(X))
    model.fit(X, y, weight)
    _, apart = train_test_split(np.arange(80), test_size=40, random_state=3, stratify=y)
    relative = weight / weight.mean()
    losses = -np.log(model.predict_proba(X.iloc[apart])[np.arange(40), y[apart].astype(int)])
    assert model.history_["val_loss"][0] == pytest.approx(np.mean(relative[apart] * losses), rel=1e-3)


@pytest.mark.parametrize("problem", NETWORKS, indirect=True)
@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones(5), r"for each of 80 rows.*shape \(5,\)"),
        (np.ones((80, 2)), r"shape \(80, 2\)"),
        (-np.ones(80), "at least 0"),
        (np.zeros(80), "not all of them zero"),
        (np.full(80, np.nan), "NaN"),
    ],
    ids=["few", "wide", "negative", "zero", "missing"],
)
def test_sample_weights_that_cannot_be(problem, weight, message):
    estimator, X, y = problem
    with pytest.raises(pg.PermGradError, match=message):
        estimator.fit(X, y, weight)


@pytest.mark.slow
@pytest.mark.parametrize("problem", NETWORKS, indirect=True)
def test_validation_rows_are_a_pair_or_a_table(problem):
    estimator, X, y = problem
    pair, table = (
        clone(estimator).fit(X, y, validation_data=data).history_["val_loss"]
        for data in ((X[:30], y[:30]), pg.Table(X[:30], y[:30]))
    )
    assert pair == table
    with pytest.raises(pg.PermGradError, match=r"validation_data must be a pair \(X, y\) or a Table, got DataFrame"):
        estimator.fit(X, y, validation_data=X)


@pytest.mark.parametrize("name", ["hybrid", "regressor", "mlp"])
def test_rows_are_checked_once(name, rows, monkeypatch):
    """A fit looks through the values of its rows once; of a `Table`, which was looked through, not at all."""
    X, value = rows
    y = value if name == "regressor" else value > 0
    table, checked = pg.Table(X, y), []
    check = tables.check_numbers
    monkeypatch.setattr(tables, "check_numbers", lambda frame: checked.append(len(frame)) or check(frame))
    clone(ESTIMATORS[name]).fit(X, y)
    assert checked == [80]
    model = clone(ESTIMATORS[name]).fit(table, validation_data=table)
    model.predict(table)
    assert checked == [80]
    np.testing.assert_array_equal(model.predict(table), model.predict(X))


def test_settings_are_those_of_the_signature():
    """Of the classifier all that the regressor has, and weights of classes; an MLP is no hybrid."""
    hybrid, regressor = (set(kind().get_params()) for kind in (pg.HybridClassifier, pg.HybridRegressor))
    assert hybrid - regressor == {"class_weight"}
    assert not issubclass(pg.MLPClassifier, pg.HybridClassifier)
    with pytest.raises(TypeError, match="unexpected keyword argument 'members'"):
        pg.HybridClassifier(members=3)
