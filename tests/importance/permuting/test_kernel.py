"""Kernel regression in a learned metric, and predictions from most of the rows and from half of them."""

from __future__ import annotations

import numpy as np
import pytest

from permgrad.importance.permuting import _kernel
from permgrad.importance.permuting._halving import by_most_and_half
from permgrad.importance.permuting._kernel import KernelRidge
from permgrad.importance.permuting._ties import cross_predicted, folds_of, normal_scores, standardised


def product_of_three(rng, n):
    X = rng.uniform(-1.7, 1.7, size=(n, 7))
    return X, X[:, :3].prod(axis=1)[:, None]


def slow_kernel(A, B):
    far = np.sqrt(5) * np.array([[np.linalg.norm(a - b) for b in B] for a in A])
    return (1 + far + far**2 / 3) * np.exp(-far)


def test_gradients_are_those_of_small_steps(rng):
    A, B, alpha = rng.normal(size=(8, 3)), rng.normal(size=(5, 3)), rng.normal(size=5)
    gradients = _kernel._gradients(A, alpha, B)
    for column in range(3):
        step = np.zeros(3)
        step[column] = 1e-5
        up, down = (slow_kernel(A + sign * step, B) @ alpha for sign in (1, -1))
        np.testing.assert_allclose(gradients[:, column], (up - down) / 2e-5, atol=1e-6)


def test_errors_are_those_of_leaving_each_row_out(rng):
    A, T = rng.normal(size=(12, 2)), rng.normal(size=(12, 2))
    errors, weights, best = _kernel._fit(A, T, np.array([0.1, 1.0]))
    K = slow_kernel(A, A)
    for k, number in enumerate(best):
        penalised = K + [0.1, 1.0][number] * np.eye(12)
        np.testing.assert_allclose(penalised @ weights[:, k], T[:, k])
        left = [
            T[i, k] - K[i, rows] @ np.linalg.solve(penalised[np.ix_(rows, rows)], T[rows, k])
            for i in range(12)
            for rows in [np.delete(np.arange(12), i)]
        ]
        assert errors[k] == pytest.approx(np.mean(np.square(left)))


def test_a_fold_is_predicted_by_the_other_rows_alone(rng):
    X, T = product_of_three(rng, 60)
    fold, kernel = folds_of(60, 0), KernelRidge(X, T, 0)
    predicted = kernel.predicted(X, T, fold)
    A = _kernel._inputs(X) * kernel.scales
    inside, mean = fold != 2, T[fold != 2].mean()
    weights = np.linalg.solve(slow_kernel(A[inside], A[inside]) + kernel.penalties[0] * np.eye(48), T[inside] - mean)
    np.testing.assert_allclose(predicted[fold == 2], mean + slow_kernel(A[fold == 2], A[inside]) @ weights)
    changed = np.where(fold[:, None] == 2, 100, T)
    np.testing.assert_allclose(kernel.predicted(X, changed, fold)[fold == 2], predicted[fold == 2])


def test_steepness_is_how_much_small_steps_of_the_columns_change_the_other_folds_fit(rng, monkeypatch):
    X, T = product_of_three(rng, 60)
    T = np.hstack([T, X[:, 3:4] + 0.1 * rng.normal(size=(60, 1))])
    X[:, 6] = 1.0  # constant
    fold, kernel = folds_of(60, 0), KernelRidge(X, T, 0)
    (found, left), predicted = kernel.steepness(X, T, fold), kernel.predicted(X, T, fold)
    np.testing.assert_allclose(left, T - predicted)
    scores = standardised(normal_scores(X))
    of_scores = np.tanh(4 * scores)
    middle, spread = of_scores.mean(axis=0), np.where(np.ptp(X, axis=0) > 0, of_scores.std(axis=0), np.inf)

    def inputs(moved):
        return np.hstack([moved, (np.tanh(4 * moved) - middle) / spread])

    squares = np.zeros(60)
    for column in range(7):
        ends = []
        for sign in (1, -1):
            moved = scores.copy()
            moved[fold == 2, column] += sign * 1e-5
            monkeypatch.setattr(_kernel, "_inputs", lambda _, moved=moved: inputs(moved))
            ends.append(kernel.predicted(X, T, fold)[fold == 2])
            monkeypatch.undo()
        squares[fold == 2] += (((ends[0] - ends[1]) / 2e-5) ** 2).sum(axis=1)
    expected = np.sqrt(squares / (left**2).sum(axis=1).mean())
    np.testing.assert_allclose(found[fold == 2], expected[fold == 2], rtol=1e-4)
    assert found.min() > 0


def test_a_tie_is_steep_at_its_edge(rng):
    """A disc of two columns: of the half of the rows that are flattest, few are near its edge."""
    X = rng.normal(size=(500, 5))
    radius = np.sqrt((X[:, :2] ** 2).sum(axis=1))
    T = (radius < 1.2)[:, None] + 0.3 * rng.normal(size=(500, 1))
    steepness, _ = KernelRidge(X, T, 0).steepness(X, T, folds_of(500, 0, None, 10))
    near = np.abs(radius - 1.2) < 0.25
    flat = steepness < np.median(steepness)
    assert near[flat].mean() < 0.3 * near[~flat].mean()


def test_a_share_of_the_penalty_is_that_of_the_ridge(rng):
    X, T = product_of_three(rng, 60)
    fold, kernel = folds_of(60, 0), KernelRidge(X, T, 0)
    by_share = kernel.predicted(X, T, fold, 0.1)
    kernel.penalties = kernel.penalties * 0.1
    np.testing.assert_allclose(by_share, kernel.predicted(X, T, fold))


def test_scales_find_the_columns_that_count_and_a_product_of_three_is_learned(rng):
    X, T = product_of_three(rng, 500)
    kernel = KernelRidge(X, T, 0)
    scales = kernel.scales.reshape(2, 7).max(axis=0)
    assert scales[:3].min() > 3 * scales[3:].max()
    predicted = kernel.predicted(X, T, folds_of(500, 0))
    assert np.corrcoef(predicted[:, 0], T[:, 0])[0, 1] > 0.95
    by_ridge = cross_predicted(X, T, folds_of(500, 0))
    assert np.corrcoef(by_ridge[:, 0], T[:, 0])[0, 1] < 0.7


def test_the_nearest_rows_are_those_of_other_folds_by_the_columns_that_count(rng):
    X, fold = rng.normal(size=(60, 4)), folds_of(60, 0, np.repeat(np.arange(20), 3))
    kernel = KernelRidge(X, X[:, :1] * X[:, 1:2], 0)
    kernel.scales = np.array([1.0, 0.5, 0.4, 0, 0, 0.45, 0, 0])  # of the columns, and of their steep copies
    A = _kernel._inputs(X)[:, [0, 1, 5]] * [1.0, 0.5, 0.45]
    found = kernel.nearest(X, fold, 3)
    for row in range(60):
        far = [(np.linalg.norm(A[row] - A[other]), other) for other in range(60) if fold[other] != fold[row]]
        assert found[row].tolist() == [other for _, other in sorted(far)[:3]]
    assert kernel.nearest(X, fold, 1).tolist() == found[:, :1].tolist()
    kernel.scales = np.array([1.0, 0, 0, 0, 0, 0, 0, 0])
    assert (kernel.nearest(X, fold, 1) == kernel.nearest(X[:, [0, 3, 2, 1]], fold, 1)).all()


def test_the_decisive_columns_are_those_with_the_largest_scales_of_both_copies(rng):
    X = rng.normal(size=(300, 5))
    kernel = KernelRidge(X, X[:, 1:2] * X[:, 3:4] + 0.1 * rng.normal(size=(300, 1)), 0)
    assert set(kernel.decisive(2)) == {1, 3}
    assert len(kernel.decisive(9)) == 5
    kernel.scales = np.array([0.5, 0.6, 0, 0, 0, 0.4, 0, 0.3, 0.2, 0.7])
    assert kernel.decisive(5).tolist() == [4, 0, 1, 2, 3]


def test_of_a_group_one_row_tells_scales(rng):
    groups = np.repeat(np.arange(5), 4)
    rows = _kernel._unrelated(20, rng, groups)
    assert sorted(groups[rows]) == list(range(5))
    assert sorted(_kernel._unrelated(20, rng, None)) == list(range(20))


def test_half_of_the_rows_tell_less(rng):
    X, T = product_of_three(rng, 300)
    T = T + 0.3 * rng.normal(size=T.shape)
    by_most, by_half = by_most_and_half(X, T, 0, with_trees=False)
    most, half = (((each - T) ** 2).mean() for each in (by_most, by_half))
    assert most < half < T.var()


def test_no_row_is_predicted_by_its_group(rng):
    """Each group has a value of its own that no column tells: nothing can be learned of it by other groups."""
    groups = np.repeat(np.arange(60), 5)
    X = np.column_stack([rng.normal(size=60)[groups], rng.normal(size=60)[groups]])
    T = rng.normal(size=60)[groups, None]
    for predicted in by_most_and_half(X, T, 0, groups, with_trees=True):
        assert ((predicted - T) ** 2).mean() > 0.9 * T.var()
    assert ((by_most_and_half(X, T, 0, with_trees=True)[0] - T) ** 2).mean() < 0.3 * T.var()


def test_undersmoothed_predictions_miss_less_of_the_truth_and_hold_more_noise(rng):
    """The mean over many targets' noise shows what is smoothed away: the truth is the same for all."""
    X, truth = product_of_three(rng, 120)
    T = truth + 0.5 * rng.normal(size=(120, 30))
    smooth, rough = (by_most_and_half(X, T, 0, undersmoothed=under)[0] for under in (False, True))
    missed = [((each.mean(axis=1) - truth[:, 0]) ** 2).mean() for each in (smooth, rough)]
    noise = [each.var(axis=1).mean() for each in (smooth, rough)]
    assert missed[1] < missed[0]
    assert noise[1] > noise[0]
