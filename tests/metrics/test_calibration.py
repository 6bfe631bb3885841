from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

import permgrad as pg
from permgrad.metrics.calibration import calibrated_error
from tests.oracle import plain_calibration_error


def sampled(rng, n, classes, power=1.0):
    """Labels drawn by probabilities, and these, sharpened by a power."""
    p = rng.dirichlet(np.ones(classes), n)
    y = (rng.random((n, 1)) > p.cumsum(axis=1)).sum(axis=1)
    told = p**power
    return y, told / told.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("n", "bins"), [(200, 15), (103, 7), (5, 15)])
def test_the_slow_loop_agrees(n, bins, rng):
    y, p = sampled(rng, n, 3, 2)
    assert pg.expected_calibration_error(y, p, bins) == pytest.approx(plain_calibration_error(y, p, bins))


def test_by_hand():
    """Bins of two rows: told 0.1 and 0.2 of the second class, none is (gap 0.15); 0.3 and 0.4, one is (gap 0.15)."""
    p = np.array([0.9, 0.6, 0.8, 0.7])
    probabilities = np.column_stack([p, 1 - p])
    assert pg.expected_calibration_error([0, 1, 0, 0], probabilities, 2) == pytest.approx(0.15)


def test_errors_of_two_classes_do_not_cancel(rng):
    """All are 0.1 too sure of the first class: the likeliest's probability is too high as often as too low."""
    p = np.concatenate([np.full(500, 0.2), np.full(500, 0.8)])
    told = p - 0.1
    y = (rng.random(1000) < p).astype(int)
    assert pg.expected_calibration_error(y, np.column_stack([1 - told, told]), 2) == pytest.approx(0.1, abs=0.04)


def test_a_calibrated_sampler_is_at_the_noise_floor_and_an_overconfident_one_above(rng):
    for power, calibrated in ((1, True), (3, False)):
        y, p = sampled(rng, 2000, 3, power)
        mean, most = calibrated_error(p)
        assert 0 < mean < most < 0.05
        assert (pg.expected_calibration_error(y, p) < most) == calibrated


def test_the_curve_counts_every_row_once_and_covers_the_truth(rng):
    p = rng.random(1000)
    curve = pg.reliability_curve(rng.random(1000) < p, p)
    assert curve["rows"].tolist() == [100] * 10
    assert curve["predicted"].is_monotonic_increasing
    assert ((curve["low"] <= curve["predicted"]) & (curve["predicted"] <= curve["high"])).sum() >= 8
    assert ((curve["low"] < curve["share"]) & (curve["share"] < curve["high"])).all()
    wrong = pg.reliability_curve(rng.random(1000) < p**3, p)
    assert (wrong["high"] < wrong["predicted"]).sum() >= 5


def test_few_rows_have_few_bins():
    assert pg.reliability_curve([True, False, True], [0.9, 0.5, 0.7])["rows"].tolist() == [3]


def test_a_row_of_weight_k_is_the_row_k_times(rng):
    y, p = sampled(rng, 103, 3, 2)
    weights = rng.integers(0, 4, 103)
    rows = np.repeat(np.arange(103), weights)
    expected = plain_calibration_error(y[rows], p[rows], 15)
    for scale in (1, 0.01, 50.0):
        assert pg.expected_calibration_error(y, p, sample_weight=scale * weights) == pytest.approx(expected)
    assert pg.expected_calibration_error(y, p, 7, sample_weight=np.ones(103)) == pytest.approx(
        pg.expected_calibration_error(y, p, 7)
    )
    few = plain_calibration_error(y[[0, 1, 1]], p[[0, 1, 1]], 15)
    assert pg.expected_calibration_error(y[:2], p[:2], sample_weight=[1, 2]) == pytest.approx(few)


def test_a_weighed_curve_has_the_points_of_the_rows_as_often_and_intervals_of_rows_drawn_once(rng):
    told, happened, weights = rng.random(103), rng.random(103) < 0.5, rng.integers(1, 4, 103)
    rows = np.repeat(np.arange(103), weights)
    curve = pg.reliability_curve(happened, told, sample_weight=weights)
    repeated = pg.reliability_curve(happened[rows], told[rows])
    np.testing.assert_allclose(curve[["predicted", "share"]], repeated[["predicted", "share"]])
    assert ((curve["high"] - curve["low"]) > (repeated["high"] - repeated["low"])).all()
    alike = pg.reliability_curve(happened, told, sample_weight=np.full(103, 2.0))
    pd.testing.assert_frame_equal(alike, pg.reliability_curve(happened, told))
    ends = binomtest(7, 10).proportion_ci(0.95, method="wilson")
    point = pg.reliability_curve(np.arange(10) < 7, np.linspace(0.1, 0.9, 10)).iloc[0]
    assert (point["low"], point["high"]) == (pytest.approx(ends.low), pytest.approx(ends.high))


def test_errors():
    with pytest.raises(pg.PermGradError, match="expected class numbers"):
        pg.expected_calibration_error([0, 1], np.ones((3, 2)))
    with pytest.raises(pg.PermGradError, match="n_bins must be at least 1"):
        pg.expected_calibration_error([0, 1], np.ones((2, 2)), 0)
    with pytest.raises(pg.PermGradError, match="an outcome and a probability for each row"):
        pg.reliability_curve([True], [0.5, 0.5])
