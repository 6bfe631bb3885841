from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from permgrad.metrics.jackknife import PARTS, jackknife_error
from permgrad.metrics.paired import mean_and_error


def test_of_a_mean_whose_rows_are_the_parts_it_is_the_standard_error():
    values = np.random.default_rng(0).normal(size=PARTS)
    found = jackknife_error(lambda rows: values[rows].mean(), np.zeros(PARTS))
    assert found == pytest.approx(values.std(ddof=1) / np.sqrt(PARTS))


def test_groups_are_left_out_whole():
    values = np.repeat(np.random.default_rng(0).normal(size=PARTS), 3)
    groups = np.repeat(np.arange(PARTS), 3).astype(str)
    left = []

    def mean(rows):
        left.append(set(groups) - set(groups[rows]))
        return values[rows].mean()

    assert jackknife_error(mean, np.zeros(len(values)), groups) == pytest.approx(
        mean_and_error(values, groups=groups)[1]
    )
    assert sorted(len(gone) for gone in left) == [1] * PARTS


def test_an_auc_varies_over_fresh_rows_as_it_says():
    """The standard deviation over four hundred tables, beside what each of them says of itself."""
    rng = np.random.default_rng(0)
    aucs, said = [], []
    for number in range(400):
        y = np.resize([0, 0, 0, 1], 200)
        score = y + rng.normal(size=200)
        aucs.append(roc_auc_score(y, score))
        if number < 20:
            said.append(jackknife_error(lambda rows: roc_auc_score(y[rows], score[rows]), y))  # noqa: B023
    assert np.mean(said) == pytest.approx(np.std(aucs), rel=0.1)


def test_a_rare_class_is_in_every_part_that_is_scored():
    y = np.array([0] * 98 + [1] * 2)
    classes = []
    jackknife_error(lambda rows: classes.append(len(set(y[rows]))) or 0.0, y)
    assert classes == [2] * PARTS


def test_a_single_row_says_nothing():
    assert np.isnan(jackknife_error(lambda rows: 1.0, np.zeros(1)))
