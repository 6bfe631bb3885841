from __future__ import annotations

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import classification_report, get_scorer
from sklearn.model_selection import cross_val_score

import permgrad as pg
from permgrad.metrics.scorers import PredictedAtOnce


@pytest.fixture
def three_classes(rng):
    y = rng.choice(["low", "mid", "high"], 90)
    X = rng.normal(size=(90, 3)) + (y == "high")[:, None]
    return LogisticRegression().fit(X, y), X, y


def test_one_class_is_that_of_the_report(three_classes):
    model, X, y = three_classes
    report = classification_report(y, model.predict(X), output_dict=True)
    for label in ("low", "mid", "high"):
        for metric, name in (("recall", "recall"), ("precision", "precision"), ("f1", "f1-score")):
            assert pg.get_scorer(f"{metric}[{label}]")(model, X, y) == pytest.approx(report[label][name])


def test_a_recall_by_hand():
    y = np.array([1, 1, 1, 0, 0])
    model = DummyClassifier(strategy="constant", constant=1).fit(np.zeros((5, 1)), y)
    values = [pg.get_scorer(name)(model, np.zeros((5, 1)), y) for name in ("recall[1]", "recall[0]", "precision[1]")]
    assert values == [1, 0, 0.6]


def test_names_and_callables(three_classes):
    model, X, y = three_classes
    assert pg.get_scorer("accuracy")(model, X, y) == model.score(X, y)
    assert pg.get_scorer(three_classes.count) == three_classes.count
    assert cross_val_score(LogisticRegression(), X, y, scoring=pg.get_scorer("recall[high]")).shape == (5,)


@pytest.mark.parametrize("name", ["recal", "recall[", "roc_auc[high]", 3])
def test_unknown_scorer(name):
    with pytest.raises(pg.PermGradError, match="scoring must be a name"):
        pg.get_scorer(name)


def test_unknown_class(three_classes):
    with pytest.raises(pg.PermGradError, match="no class 'hihg' to score; the classes are 'high', 'low', 'mid'"):
        pg.get_scorer("recall[hihg]")(*three_classes)


@pytest.mark.parametrize("name", ["accuracy", "roc_auc_ovr", "neg_log_loss", "recall[mid]"])
def test_predicted_at_once_scores_as_the_estimator_does(three_classes, name):
    model, X, y = three_classes
    parts = PredictedAtOnce(model, np.concatenate([X, X[::-1]]), 90)
    assert parts.score(1, pg.get_scorer(name), y) == pytest.approx(get_score(model, X[::-1], y, name))


def get_score(model, X, y, name):
    return pg.get_scorer(name)(model, X, y) if "[" in name else get_scorer(name)(model, X, y)


def test_a_scorer_with_rows_of_its_own(rng):
    X, y = rng.normal(size=(20, 2)), rng.normal(size=20)
    model = Ridge().fit(X, y)

    def half(estimator, rows, target):
        return -np.mean((estimator.predict(rows[:10]) - target[:10]) ** 2)

    parts = PredictedAtOnce(model, np.concatenate([X, 2 * X]), 20)
    assert parts.score(1, half, y) == half(model, 2 * X, y)
