"""Whether a model orders rows, beside scikit-learn's and SciPy's numbers, and what is said of one whose loss is bad."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

import permgrad as pg
from permgrad.importance.learned import average, sentence, what_is_learned
from permgrad.importance.network._target import Target
from permgrad.importance.ordering import ordering
from permgrad.metrics.task import Task


def of_classes(y, n_classes=2):
    return Target(np.asarray(y), Task(n_classes, "softmax", n_classes=n_classes), tuple("abc"[:n_classes]))


def test_the_area_is_scikit_learns_and_its_interval_delongs(rng):
    y = rng.integers(0, 2, 150)
    p = np.round(1 / (1 + np.exp(-(y + rng.normal(size=150)))), 2)  # with ties
    found = ordering(of_classes(y), np.column_stack([1 - p, p]))
    assert found["measure"] == "AUC"
    assert found["value"] == pytest.approx(roc_auc_score(y, p))
    known = pg.auc_interval(y, p)
    assert (found["low"], found["high"]) == pytest.approx((known.low, known.high), abs=0.015)
    assert found["p"] < 1e-6
    three, q = rng.integers(0, 3, 90), rng.dirichlet(np.ones(3), 90)
    assert ordering(of_classes(three, 3), q)["value"] == pytest.approx(roc_auc_score(three, q, multi_class="ovr"))


def test_the_correlation_is_scipys(rng):
    y = rng.normal(size=200)
    said = np.exp(y + rng.normal(size=200))
    found = ordering(Target(y, Task(1), None), said[:, None])
    assert found["value"] == pytest.approx(spearmanr(y, said).statistic)
    assert 0 < found["low"] < found["value"] < found["high"] < 1


@pytest.mark.parametrize("classes", [True, False])
def test_at_chance_one_in_twenty_is_said_to_order(classes, rng):
    """Rows of a group are alike, in target and prediction: by groups, and only so, the test holds."""
    found = []
    for _ in range(300):
        groups = np.repeat(np.arange(25), 4)
        y, said = rng.normal(size=(2, 25))[:, groups]
        target = of_classes((y > 0).astype(int)) if classes else Target(y, Task(1), None)
        outputs = np.column_stack([1 - (p := 1 / (1 + np.exp(-said))), p]) if classes else said[:, None]
        found.append(ordering(target.counting(None, groups), outputs)["p"] < 0.05)
    assert np.mean(found) < 0.09


def said_of(y, p):
    target, outputs = of_classes(y), np.column_stack([1 - p, p])
    return what_is_learned(target, target.task.losses(y, outputs), outputs=lambda: outputs)


def test_a_model_that_orders_rows_has_not_learned_nothing(rng):
    y = rng.integers(0, 2, 200)
    sure = np.where(y + rng.normal(0, 0.7, 200) > 0.5, 1 - 1e-6, 1e-6)
    said = said_of(y, sure)
    assert not said["better"]
    assert "It orders them, though: AUC 0.7" in sentence(said, True)
    assert "CalibratedClassifierCV" in sentence(said, True)
    nothing = said_of(y, rng.uniform(0.3, 0.7, 200))
    assert "Nor is it shown to order them: AUC" in sentence(nothing, True)
    assert "order" not in said_of(y, np.where(y == 1, 0.9, 0.1))  # its loss is better: nobody asked
    assert average([said, nothing])["order"]["p"] == pytest.approx(min(1, said["order"]["p"] + nothing["order"]["p"]))
    assert "order" not in average([said, said_of(y, np.where(y == 1, 0.9, 0.1))])
