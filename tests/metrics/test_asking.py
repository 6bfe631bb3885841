"""Models of other libraries: what does not fit is one line that names the model, and says what to do."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import permgrad as pg
from permgrad.backend import keras
from permgrad.metrics.asking import Asked, ask

rng = np.random.default_rng(0)
X = pd.DataFrame(rng.normal(size=(60, 3)), columns=list("abc"))
y = (X["a"] + rng.normal(size=60) > 0).astype(int).to_numpy()
LOGISTIC = LogisticRegression().fit(X, y)
QUICKLY = {"formula": "last in", "n_repeats": 1}


class Raises:
    def predict(self, rows):
        raise RuntimeError("a device is on fire\nand much more")


class ByPosition:
    """Knows names, and does not look at them, as a booster of LightGBM's."""

    feature_names_in_ = np.array(list("abc"))

    def predict(self, rows):
        return np.asarray(rows)[:, 0]


class Booster:
    """Named as XGBoost's."""

    __module__ = "xgboost.core"

    def predict(self, rows):
        raise TypeError(type(rows))


@pytest.mark.parametrize(
    ("model", "rows", "message"),
    [
        (LOGISTIC, X.rename(columns={"a": "z"}), "absent: 'a'; not expected: 'z'"),
        (LOGISTIC, X.assign(z=1), "absent: none; not expected: 'z'"),
        (LOGISTIC, X[["b", "a", "c"]], "another order; they must be 'a', 'b', 'c'"),
        (ByPosition(), X[["b", "a", "c"]], "another order; they must be 'a', 'b', 'c'"),
        (LogisticRegression().fit(X.to_numpy(), y), X.to_numpy()[:, :2], "fitted on 3 columns, the table has 2"),
        (LOGISTIC, X.mask(X > 2, np.inf), "infini.* in 'b'"),
        (LOGISTIC, X.mask(X < -2), "does not take these rows: .*; missing values are in "),
        (LOGISTIC, X.set_axis(list("aac"), axis=1), "column names must be unique, found 'a' more than once"),
        (LogisticRegression(), X, "LogisticRegression is not fitted; fit it before"),
        (LogisticRegression, X, r"got the class LogisticRegression; pass .*: LogisticRegression\(\).fit"),
        (Raises(), X, "Raises.predict does not take these rows: a device is on fire$"),
        (Booster(), X, "load it into XGBClassifier"),
    ],
)
def test_what_a_model_does_not_take_is_one_line(model, rows, message):
    for call in (
        lambda: pg.rank_features(model, rows, y, **QUICKLY),
        lambda: pg.effects(model, rows),
    ):
        with pytest.raises(pg.PermGradError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_scores_too():
    with pytest.raises(pg.PermGradError, match="absent: 'a'; not expected: 'z'"):
        pg.score_importance(LOGISTIC, X.rename(columns={"a": "z"}), y)
    with pytest.raises(pg.PermGradError, match="got the class LogisticRegression"):
        pg.score_importance(LogisticRegression, X, y)


def test_an_unfitted_model_raises_the_error_of_unfitted_estimators():
    with pytest.raises(pg.UnfittedError):
        ask(LogisticRegression(), "predict", X)


def test_a_model_that_reads_columns_by_name_takes_them_in_any_order():
    by_name = make_pipeline(make_column_transformer(("passthrough", ["a", "b"])), LogisticRegression()).fit(X, y)
    given = X[["c", "b", "a"]].assign(z=1)
    np.testing.assert_array_equal(Asked(by_name, "predict_proba")(given), by_name.predict_proba(X))


@pytest.mark.parametrize(("given", "message"), [("5", "a whole number, got '5'"), (2.5, "got 2.5"), (0, "got 0")])
def test_repeats(given, message):
    with pytest.raises(pg.PermGradError, match=f"n_repeats must be between 1 and 100,000, {message}|{message}"):
        pg.rank_features(LOGISTIC, X, y, n_repeats=given)


@pytest.mark.parametrize("seed", [None, -1, "0", 0.5])
def test_seeds(seed):
    message = f"random_state must be a whole number, 0 or more, got {seed!r}"
    calls = [
        lambda: pg.rank_features(LOGISTIC, X, y, random_state=seed),
        lambda: pg.score_importance(LOGISTIC, X, y, random_state=seed),
        lambda: pg.effects(LOGISTIC, X, random_state=seed),
        lambda: pg.interactions(LOGISTIC, X, random_state=seed),
        lambda: pg.random_masking(LOGISTIC, X, y, random_state=seed),
    ]
    for call in calls:
        with pytest.raises(pg.PermGradError, match=message):
            call()


class Nameless:
    """Two probabilities, and no classes_."""

    def predict_proba(self, rows):
        return LOGISTIC.predict_proba(rows)


@pytest.fixture(scope="module")
def network():
    row = keras.Input((3,))
    return keras.Model(row, keras.layers.Dense(2, "softmax")(row))


@pytest.mark.filterwarnings("ignore:this")
def test_labels_are_told_apart_by_the_classes_that_are_given(network):
    labels = np.where(y == 1, "yes", "no")
    for model in (Nameless(), network):
        known = pg.rank_features(model, X, labels, classes=["no", "yes"], **QUICKLY)
        np.testing.assert_array_equal(known.scores, pg.rank_features(model, X, y, **QUICKLY).scores)
        assert known.classes == ("no", "yes")
        for classes, message in ((None, "holds labels .*pass classes="), (["no", "ja"], "not among classes=.*: 'yes'")):
            with pytest.raises(pg.PermGradError, match=message):
                pg.rank_features(model, X, labels, classes=classes, **QUICKLY)
    assert pg.effects(Nameless(), X, ["a"], classes=["no", "yes"]).classes == ("no", "yes")
    with pytest.raises(pg.PermGradError, match="no classes_; pass classes="):
        pg.effects(Nameless(), X)


@pytest.mark.filterwarnings("ignore:this")
def test_a_table_may_be_given_to_a_network(network):
    table = pg.Table(X, y, weights=rng.integers(1, 4, 60), groups=np.arange(60) // 3)
    known = {"sample_weight": table.weights, "row_groups": table.groups}
    for call in (pg.rank_features, pg.permutation_importance):
        given = QUICKLY if call is pg.rank_features else {"n_repeats": 1}
        ours, theirs = call(network, table, y, **given), call(network, X, y, **known, **given)
        assert ours.features == ("a", "b", "c")
        np.testing.assert_array_equal(ours.low, theirs.low)
    assert pg.explain_rows(network, table, table, n_orders=1).features == ("a", "b", "c")
    with pytest.raises(pg.PermGradError, match="numeric columns without missing values; these are not: 'b'"):
        pg.rank_features(network, X.assign(b="x"), y)


@pytest.mark.parametrize("formula", ["games", "published", pg.Formula()])
def test_formulas_of_an_estimator(formula):
    with pytest.raises(pg.PermGradError, match="formula must be 'game' or 'last in' for an estimator, got "):
        pg.rank_features(LOGISTIC, X, y, formula=formula)


def test_rows_of_another_model_are_explained_by_shap():
    with pytest.raises(pg.PermGradError, match=r"got LogisticRegression; .*shap.Explainer\(model.predict_proba"):
        pg.explain_rows(LOGISTIC, X, X)


def test_missing_groups_are_named_as_the_argument():
    with pytest.raises(pg.PermGradError, match=r"\('row_groups'\) must be known of each row, missing in 60"):
        pg.rank_features(LOGISTIC, X, y, row_groups=np.full(60, np.nan))


def test_our_own_encoder_says_in_one_line_which_columns_are_absent():
    fitted = pg.ColumnEncoder().fit(X)
    with pytest.raises(pg.PermGradError, match=r"unseen at fit time: - z .*yet now missing: - a$") as caught:
        fitted.transform(X.rename(columns={"a": "z"}))
    assert "\n" not in str(caught.value)
