"""Intervals of a regression hold the target as often as they say, whatever the network."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from tests.conftest import SMALL

TABULAR = {**SMALL, "branches": "tabular"}


def planted(n: int, rng) -> tuple[np.ndarray, np.ndarray]:
    X = rng.normal(size=(n, 3))
    return X, 100 + 20 * X[:, 0] + 5 * rng.standard_t(4, size=n)


def held(model, X, y, coverage: float) -> float:
    low, high = model.predict_interval(X, coverage).T
    return float(((low <= y) & (y <= high)).mean())


@pytest.mark.slow
def test_fresh_rows_lie_in_them(rng):
    """Of a network that has learned; 4 deviations of the noise are narrow beside the target's own 20."""
    X, y = planted(600, rng)
    model = pg.HybridRegressor(**TABULAR, epochs=8, learning_rate=3e-2, batch_size=64).fit(X, y)
    fresh, truth = planted(4000, rng)
    assert held(model, fresh, truth, 0.9) >= 0.85
    widths = np.diff(model.predict_interval(fresh, 0.9), axis=1)
    assert np.ptp(widths) < 1e-3
    assert widths.mean() < 2 * 20


def test_they_hold_what_they_say_of_a_network_that_learned_nothing(rng, trainings):
    X, y = planted(2000, rng)
    model = pg.HybridRegressor(**TABULAR, validation_fraction=0.5).fit(X, y)
    fresh, truth = planted(4000, rng)
    for coverage in (0.5, 0.9, 0.99):
        assert held(model, fresh, truth, coverage) == pytest.approx(coverage, abs=0.05)


def test_widths_by_hand(rng, trainings, tmp_path):
    """The ⌈(n + 1) c⌉-th smallest absolute error of the rows set apart."""
    X, y = planted(60, rng)
    model = pg.HybridRegressor(**TABULAR).fit(X[:40], y[:40], validation_data=(X[40:], y[40:]))
    errors = sorted(abs(model.predict(X[40:]) - y[40:]))
    np.testing.assert_allclose(model.residuals_, errors, rtol=1e-4)
    for coverage in (0.05, 0.5, 0.9, 0.95):
        width = errors[math.ceil(21 * coverage) - 1]
        predicted = model.predict(X)
        expected = np.stack([predicted - width, predicted + width], axis=1)
        np.testing.assert_allclose(model.predict_interval(X, coverage), expected, rtol=1e-5)
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(pg.load(tmp_path / "m").predict_interval(X), model.predict_interval(X))


def test_targets_far_from_zero(rng, trainings):
    """What float32 would blur is taken off before, and added again."""
    X, y = planted(60, rng)
    near, far = (
        pg.HybridRegressor(**TABULAR).fit(X[:40], t[:40], validation_data=(X[40:], t[40:])) for t in (y, y + 1e9)
    )
    np.testing.assert_allclose(far.predict_interval(X) - 1e9, near.predict_interval(X), atol=1e-3)


def test_those_of_several_networks_are_of_all_rows(rng, trainings):
    """Each row's error is that of the network that did not see it."""
    X, y = planted(60, rng)
    model = pg.HybridRegressor(**TABULAR, n_networks=3).fit(X, y)
    errors = [
        np.abs(network.predict(validation[0], verbose=0)[:, 0] - validation[1])
        for network, _, validation, _ in trainings
    ]
    assert len(model.residuals_) == 60
    np.testing.assert_allclose(model.residuals_, np.sort(np.concatenate(errors)), rtol=1e-4)


def test_of_networks_that_share_the_rows_set_apart_errors_are_the_means(rng, trainings):
    """A row is one row, however many networks it decided for."""
    X, y = planted(60, rng)
    model = pg.HybridRegressor(**TABULAR, n_networks=3).fit(X[:40], y[:40], validation_data=(X[40:], y[40:]))
    np.testing.assert_allclose(model.residuals_, np.sort(np.abs(model.predict(X[40:]) - y[40:])), rtol=1e-4)


def test_validation_rows_that_weigh(rng, trainings, tmp_path):
    """The smallest error whose rows, up to it, weigh the coverage of all and of a new row, by a plain loop."""
    X, y = planted(60, rng)
    X, weights = pd.DataFrame(X, columns=list("abc")), rng.integers(1, 4, 60).astype(float)
    train, val = (pg.Table(X[rows], y[rows], weights=weights[rows]) for rows in (slice(0, 40), slice(40, None)))
    model = pg.HybridRegressor(**TABULAR).fit(train, validation_data=val)
    errors, own = np.abs(model.predict(X[40:]) - y[40:]), weights[40:]
    twice = pg.HybridRegressor(**TABULAR).fit(X[:40], y[:40], validation_data=(X[40:], y[40:]))
    twice.residuals_ = np.sort(np.repeat(errors, own.astype(int)))
    for coverage in (0.05, 0.33, 0.5, 0.8):
        need = coverage * (own.sum() + (own**2).sum() / own.sum())
        width = next(error for error in np.sort(errors) if own[errors <= error].sum() >= need)
        assert model.half_width(coverage) == pytest.approx(width, rel=1e-4)
        # As of the rows so often, but for the new row, which then weighs 1.
        near = [int(np.abs(np.sort(errors) - found).argmin()) for found in (width, twice.half_width(coverage))]
        assert abs(near[0] - near[1]) <= 1
    with pytest.raises(pg.PermGradError, match="validation rows that weigh alike, this network had 20"):
        model.predict_interval(X, 0.99)
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(pg.load(tmp_path / "m").predict_interval(X, 0.8), model.predict_interval(X, 0.8))
    alike = pg.Table(X[40:], y[40:], weights=np.full(20, 3.0))
    same = pg.HybridRegressor(**TABULAR).fit(train, validation_data=alike)
    assert same.half_width(0.9) == same.residuals_[math.ceil(21 * 0.9) - 1]


def test_what_cannot_be(rng, trainings):
    X, y = planted(48, rng)
    with pytest.raises(pg.UnfittedError):
        pg.HybridRegressor().predict_interval(X)
    model = pg.HybridRegressor(**TABULAR).fit(X[:40], y[:40], validation_data=(X[40:], y[40:]))
    for coverage in (0, 1, -0.1, math.nan):
        with pytest.raises(pg.PermGradError, match="coverage must be between 0 and 1"):
            model.predict_interval(X, coverage)
    with pytest.raises(pg.PermGradError, match=r"0\.9 needs at least 9 validation rows, this network had 8"):
        model.predict_interval(X, 0.9)
    assert model.predict_interval(X, 8 / 9).shape == (48, 2)
    none = pg.HybridRegressor(**TABULAR, validation_fraction=0.0).fit(X, y)
    with pytest.raises(pg.PermGradError, match="this network had 0"):
        none.predict_interval(X, 0.5)
