"""What some columns tell of others: left-out predictions against refits, and ties that are not linear."""

from __future__ import annotations

import numpy as np
import pytest

from permgrad.importance.permuting._ties import Features, Ridge, cross_predicted, folds_of, learned, standardised


@pytest.mark.parametrize("n_features", [5, 60])
def test_left_out_predictions_are_those_of_refits(n_features, rng):
    """Fewer features than rows, and more: each row predicted by a ridge regression of the other rows."""
    A, targets = rng.normal(size=(40, n_features)), rng.normal(size=(40, 2))
    A -= A.mean(axis=0)
    fit = Ridge(A, targets, 0.0)
    for k, penalty in enumerate(fit.penalties):
        for row in (0, 17):
            kept = np.arange(40) != row
            centre, mean = A[kept].mean(axis=0), targets[kept, k].mean()
            K = A[kept] - centre
            beta = np.linalg.solve(K.T @ K + penalty * np.eye(n_features), K.T @ (targets[kept, k] - mean))
            assert fit.left_out[row, k] == pytest.approx(mean + (A[row] - centre) @ beta, abs=1e-8)
        whole = np.linalg.solve(A.T @ A + penalty * np.eye(n_features), A.T @ targets[:, k])
        np.testing.assert_allclose(fit.coefficients[:, k], whole, atol=1e-8)


TIES = {
    "linear": lambda Z: Z[:, 0] - Z[:, 1],
    "sine": lambda Z: np.sin(2 * Z[:, 0]),
    "product": lambda Z: Z[:, 0] * Z[:, 1],
    "square": lambda Z: Z[:, 2] ** 2,
}


@pytest.mark.parametrize(
    "tie",
    [pytest.param("linear", marks=pytest.mark.slow), "sine", "product", pytest.param("square", marks=pytest.mark.slow)],
)
def test_ties_are_found_among_columns_that_tell_nothing(tie, rng):
    Z = rng.normal(size=(1000, 10))
    known = TIES[tie](Z)
    own = standardised(np.stack([known + 0.3 * known.std() * rng.normal(size=1000)], axis=1))
    known = (known - known.mean()) / known.std()
    for predicted in (learned(Features.of(Z), own)[0][-1], cross_predicted(Z, own, folds_of(len(Z), 0))):
        assert np.corrcoef(predicted[:, 0], known)[0, 1] > 0.98


def test_rounds_that_scale_features_come_nearer(rng):
    Z = rng.normal(size=(500, 10))
    known = np.sin(3 * Z[:, 0])
    targets = (known + 0.5 * rng.normal(size=500))[:, None]
    first, *_, last = (np.mean((part[:, 0] - known) ** 2) for part in learned(Features.of(Z), targets)[0])
    assert last < 0.6 * first


def test_cross_predictions_do_not_betray_the_row(rng):
    """Of an independent column nothing is predicted; left-one-out means would order the rows by it."""
    Z, own = rng.normal(size=(400, 6)), rng.normal(size=(400, 1))
    assert abs(np.corrcoef(cross_predicted(Z, own, folds_of(len(Z), 0))[:, 0], own[:, 0])[0, 1]) < 0.2


def test_constant_columns_and_targets(rng):
    Z = np.hstack([np.ones((50, 1)), rng.normal(size=(50, 1))])
    assert (standardised(Z)[:, 0] == 0).all()
    np.testing.assert_allclose(cross_predicted(Z, np.full((50, 1), 3.0), folds_of(50, 0)), 3, atol=1e-9)


def test_a_group_is_predicted_by_the_others(rng):
    """Against ridge regressions that are fitted without it, features centred and penalised as with it."""
    A, targets = rng.normal(size=(40, 3)), rng.normal(size=(40, 1))
    A = A - A.mean(axis=0)
    groups = rng.integers(0, 9, 40)
    fit = Ridge(A, targets, 0.0, groups)
    penalty = fit.penalties[0]
    for group in np.unique(groups):
        out = groups == group
        # Leaving rows out of the centred fit: the intercept is a column that is not penalised.
        columns = np.hstack([np.ones((40, 1)), A])
        squares = columns[~out].T @ columns[~out] + penalty * np.diag([0.0, 1, 1, 1])
        beta = np.linalg.solve(squares, columns[~out].T @ targets[~out])
        np.testing.assert_allclose(fit.left_out[out], columns[out] @ beta, atol=1e-9)


def test_rows_repeated_as_groups_are_predicted_as_they_were(rng):
    Z, targets, rows = rng.normal(size=(50, 3)), rng.normal(size=(50, 1)), np.repeat(np.arange(50), 3)
    targets = targets + Z[:, :1] ** 2
    plain = learned(Features.of(Z), targets)[0][-1]
    repeated = learned(Features.of(Z[rows]), targets[rows], groups=rows)[0][-1]
    np.testing.assert_allclose(repeated, plain[rows], atol=1e-6)
    assert np.abs(learned(Features.of(Z[rows]), targets[rows])[0][-1] - plain[rows]).max() > 0.1
