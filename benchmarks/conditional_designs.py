"""Tables whose truth is known: a column that tells nothing beyond ties to others, and one that tells a little.

What a conditional p-value says of them was looked at while the method was made for those of `TUNED`, and only
afterwards for those of `JUDGED`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import ndtr

Design = Callable[[Any, int], tuple[np.ndarray, np.ndarray, Any, int, set[int]]]
"""Generator, rows → columns, target, null column(s), weak column, all relevant columns."""


def independent(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    return X, _base(X) + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def toeplitz(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    for j in range(1, 12):
        X[:, j] = 0.8 * X[:, j - 1] + 0.6 * X[:, j]
    y = X[:, [1, 4, 7, 10]] @ [1.5, 1.2, 1.0, 0.15] + rng.normal(size=n)
    return X, y, 5, 10, {1, 4, 7, 10}


def product(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    X[:, 11] = X[:, 0] * X[:, 1] + 0.3 * rng.normal(size=n)
    y = X[:, 0] * X[:, 1] + X[:, 1] * X[:, 2] + X[:, 0] * X[:, 2] + 0.15 * X[:, 3] + rng.normal(size=n)
    return X, y, 11, 3, {0, 1, 2, 3}


def sine(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    X[:, 11] = np.sin(2 * X[:, 0]) + 0.4 * rng.normal(size=n)
    return X, 1.5 * np.sin(2 * X[:, 0]) + X[:, 1] + X[:, 2] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def heavy_tails(rng: Any, n: int) -> Any:
    X = rng.standard_t(2.5, size=(n, 12))
    X[:, 11] = 0.8 * X[:, 0] + 0.6 * rng.standard_t(2.5, size=n)
    return X, _base(X) + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def binary(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    mixed = X[:, 0] + 0.7 * X[:, 1]
    X[:, 11] = mixed + 0.5 * rng.normal(size=n) > 0
    return X, _base(X) + 1.5 * (mixed > 0) + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def weak_ties(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 40))
    X[:, 39] = 0.16 * X[:, :39].sum(axis=1) + 0.3 * rng.normal(size=n)
    return X, 0.25 * X[:, :39].sum(axis=1) - 0.1 * X[:, 3] + rng.normal(size=n), 39, 3, set(range(39))


def category(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 11))
    level = (ndtr(0.9 * X[:, 0] + 0.436 * rng.normal(size=n)) * 12).astype(int).clip(0, 11)
    said = 2 * np.sin(2 * X[:, 0]) + X[:, 1] + 0.15 * X[:, 3] + rng.logistic(size=n)
    return np.hstack([X, np.eye(12)[level]]), (said > 0).astype(int), np.arange(11, 23), 3, {0, 1, 3}


def absolute(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = np.abs(X[:, 0] - X[:, 1])
    X[:, 11] = known + 0.3 * rng.normal(size=n)
    return X, 2 * known + X[:, 2] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def triple(rng: Any, n: int) -> Any:
    X = rng.uniform(-1.7, 1.7, size=(n, 12))
    known = X[:, 0] * X[:, 1] * X[:, 2]
    X[:, 11] = known + 0.3 * rng.normal(size=n)
    return X, 1.5 * known + X[:, 0] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def ratio(rng: Any, n: int) -> Any:
    X = rng.lognormal(sigma=0.7, size=(n, 12))
    known = X[:, 0] / X[:, 1]
    X[:, 11] = known * rng.lognormal(sigma=0.3, size=n)
    return X, 2 * np.log(known) + np.log(X[:, 2]) + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def switch(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    X[:, 2] = X[:, 2] > 0
    known = np.where(X[:, 2] > 0, X[:, 0], -X[:, 0])
    X[:, 11] = known + 0.4 * rng.normal(size=n)
    return X, 1.5 * known + X[:, 1] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def spread(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    X[:, 11] = np.abs(X[:, 0]) * rng.standard_t(4, size=n)
    return X, 1.5 * X[:, 0] ** 2 + X[:, 1] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 3}


def counts(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    X[:, 11] = rng.poisson(np.exp(0.6 * X[:, 0] + 0.6 * X[:, 1]))
    y = 1.5 * np.exp(0.5 * X[:, 0] + 0.5 * X[:, 1]) + X[:, 2] + 0.15 * X[:, 3] + rng.normal(size=n)
    return X, y, 11, 3, {0, 1, 2, 3}


def maximum(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = X[:, :3].max(axis=1)
    X[:, 11] = known + 0.3 * rng.normal(size=n)
    return X, 2 * known + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def heavier_tails(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    X[:, 0] = rng.standard_t(1.5, size=n)
    X[:, 11] = X[:, 0] + 0.5 * rng.standard_t(1.5, size=n)
    return X, 2 * np.tanh(X[:, 0]) + X[:, 1] + 0.15 * X[:, 3] + rng.standard_t(3, size=n), 11, 3, {0, 1, 3}


def three_classes(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    X[:, 11] = X[:, 0] * X[:, 1] + 0.4 * rng.normal(size=n)
    said = np.stack([2 * X[:, 0] * X[:, 1], X[:, 2] + 0.3 * X[:, 3], np.zeros(n)], axis=1)
    return X, (said + rng.gumbel(size=(n, 3))).argmax(axis=1), 11, 3, {0, 1, 2, 3}


def rare_class(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    X[:, 11] = X[:, 0] ** 2 + 0.5 * rng.normal(size=n)
    said = -3.5 + 1.2 * X[:, 0] ** 2 + 0.3 * X[:, 3] + X[:, 1] + rng.logistic(size=n)
    return X, (said > 0).astype(int), 11, 3, {0, 1, 3}


def uneven_noise(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    X[:, 11] = 0.9 * X[:, 0] + 0.436 * rng.normal(size=n)
    y = 1.5 * X[:, 0] + X[:, 1] ** 2 + 0.2 * X[:, 3] + np.exp(0.5 * X[:, 0]) * rng.normal(size=n)
    return X, y, 11, 3, {0, 1, 3}


def one_factor(rng: Any, n: int) -> Any:
    X = np.sqrt(0.8) * rng.normal(size=(n, 1)) + np.sqrt(0.2) * rng.normal(size=(n, 12))
    y = X[:, :6] @ [1.5, 1.5, 1.2, 1.2, 1.0, 0.35] + rng.normal(size=n)
    return X, y, 11, 5, set(range(6))


def fast_sine(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = np.sin(3 * X[:, 0])
    X[:, 11] = known + 0.3 * rng.normal(size=n)
    return X, 2 * known + X[:, 1] + X[:, 2] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def switched_classes(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = np.where(X[:, 2] > 0, X[:, 0], X[:, 1])
    X[:, 11] = known + 0.4 * rng.normal(size=n)
    said = np.stack([2 * known, X[:, 4] + 0.3 * X[:, 3], np.zeros(n)], axis=1)
    return X, (said + rng.gumbel(size=(n, 3))).argmax(axis=1), 11, 3, {0, 1, 2, 3, 4}


def ordered_levels(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = X[:, 0] + X[:, 1]
    X[:, 11] = np.digitize(known + 0.6 * rng.normal(size=n), [-1.5, -0.5, 0.5, 1.5])
    return X, 2 * np.tanh(known) + X[:, 2] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def waiting_times(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = 0.5 * X[:, 0] + 0.5 * X[:, 1]
    X[:, 11] = np.exp(known) * rng.gamma(2.0, 0.5, size=n)
    said = -0.5 + 2 * known + X[:, 2] + 0.2 * X[:, 3] + rng.logistic(size=n)
    return X, (said > 0).astype(int), 11, 3, {0, 1, 2, 3}


def bent_product(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = X[:, 0] * X[:, 1]
    X[:, 11] = np.tanh(known) + 0.3 * rng.normal(size=n)
    said = 2 * np.tanh(known) + X[:, 2] * X[:, 4] + 0.3 * X[:, 3] + rng.logistic(size=n)
    return X, (said > 0).astype(int), 11, 3, {0, 1, 2, 3, 4}


def radius(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = np.sqrt((X[:, :3] ** 2).sum(axis=1))
    X[:, 11] = known + 0.3 * rng.normal(size=n)
    return X, 2 * known + X[:, 4] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3, 4}


def middle_of_three(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = np.median(X[:, :3], axis=1)
    X[:, 11] = known + 0.4 * rng.normal(size=n)
    said = 3 * known + X[:, 4] + 0.3 * X[:, 3] + rng.logistic(size=n)
    return X, (said > 0).astype(int), 11, 3, {0, 1, 2, 3, 4}


def slopes_by_level(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    level = rng.integers(0, 4, size=n)
    X[:, 5:9] = np.eye(4)[level]
    known = np.array([1.5, 0.5, -0.5, -1.5])[level] * X[:, 0]
    X[:, 11] = known + 0.4 * rng.normal(size=n)
    return X, 1.5 * known + X[:, 1] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 3, 5, 6, 7, 8}


def many_zeros(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = X[:, 0] + X[:, 1]
    X[:, 11] = np.where(known + 0.5 * rng.normal(size=n) > 0, np.exp(0.5 * X[:, 2] + 0.4 * rng.normal(size=n)), 0)
    y = 1.5 * ndtr(2 * known) * np.exp(0.5 * X[:, 2]) + X[:, 4] + 0.15 * X[:, 3] + rng.normal(size=n)
    return X, y, 11, 3, {0, 1, 2, 3, 4}


def toeplitz_product(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    for j in range(1, 11):
        X[:, j] = 0.8 * X[:, j - 1] + 0.6 * X[:, j]
    known = X[:, 0] * X[:, 4]
    X[:, 11] = known + 0.4 * rng.normal(size=n)
    return X, 1.5 * known + X[:, 8] + 0.3 * X[:, 2] + rng.normal(size=n), 11, 2, {0, 2, 4, 8}


def saturation(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    X[:, :2] = np.exp(0.6 * X[:, :2])
    known = X[:, 0] * X[:, 1] / (0.5 + X[:, 1])
    X[:, 11] = known * np.exp(0.3 * rng.normal(size=n))
    return X, 3 * known + X[:, 2] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def season(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    X[:, 0] = rng.uniform(0, 2 * np.pi, size=n)
    known = (1 + 0.5 * X[:, 1]) * np.cos(X[:, 0])
    X[:, 11] = known + 0.4 * rng.normal(size=n)
    said = 2 * known + X[:, 2] + 0.3 * X[:, 3] + rng.logistic(size=n)
    return X, (said > 0).astype(int), 11, 3, {0, 1, 2, 3}


def detection_limit(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = X[:, 0] + 0.5 * X[:, 1] ** 2
    X[:, 11] = np.maximum(known + 0.5 * rng.normal(size=n), 0.3)
    return X, 1.5 * known + X[:, 2] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def clusters(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    centres = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    X[:, :3] += 1.5 * centres[rng.integers(0, 4, size=n)]
    member = (X[:, :3] @ centres.T).argmax(axis=1)  # the nearest: what the columns tell, and not where a row came from
    X[:, 11] = np.array([0.0, 3.0, 1.0, 2.0])[member] + 0.7 * rng.normal(size=n)
    y = np.array([2.0, 0.0, -1.0, 1.0])[member] + X[:, 4] + 0.15 * X[:, 3] + rng.normal(size=n)
    return X, y, 11, 3, {0, 1, 2, 3, 4}


def band(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    within = np.abs(X[:, 0]) < 0.7
    X[:, 11] = rng.random(n) < np.where(within, 0.85, 0.15)
    return X, 2.0 * within + X[:, 1] + X[:, 2] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def checkerboard(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = (np.floor(X[:, 0] / 0.9) + np.floor(X[:, 1] / 0.9)) % 2
    X[:, 11] = known + 0.5 * rng.normal(size=n)
    return X, 1.5 * known + X[:, 2] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def nearest_of_five(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    angles = 2 * np.pi * np.arange(5) / 5
    nearest = (X[:, :2] @ np.stack([np.cos(angles), np.sin(angles)])).argmax(axis=1)
    X[:, 11] = np.array([0.0, 2.0, 1.0, 3.0, 0.5])[nearest] + 0.6 * rng.normal(size=n)
    said = np.array([2.0, -1.5, 0.5, -0.5, 1.0])[nearest] + X[:, 2] + 0.3 * X[:, 3] + rng.logistic(size=n)
    return X, (said > 0).astype(int), 11, 3, {0, 1, 2, 3}


def staircase(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = np.round((X[:, 0] + X[:, 1]) / 1.2)
    X[:, 11] = known + 0.4 * rng.normal(size=n)
    return X, 1.2 * known + X[:, 2] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def hinge_with_jump(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = np.where(X[:, 0] > 0.5, 1.5 + X[:, 0] - 0.5, 0.3 * X[:, 1])
    X[:, 11] = known + 0.4 * rng.normal(size=n)
    return X, 1.5 * known + X[:, 2] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def two_way_table(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    X[:, :2] = rng.integers(0, 5, size=(n, 2))
    cells = np.random.default_rng(0).normal(size=(5, 5))
    known = cells[X[:, 0].astype(int), X[:, 1].astype(int)]
    X[:, 11] = known + 0.5 * rng.normal(size=n)
    return X, 1.5 * known + X[:, 2] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def signs_with_a_margin(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    between = X[:, 0] * X[:, 1]
    known = np.where(np.abs(between) > 0.1, np.sign(between), 0.0)
    X[:, 11] = known + 0.5 * rng.normal(size=n) > 0
    said = 1.5 * known + X[:, 2] + 0.3 * X[:, 3] + rng.logistic(size=n)
    return X, (said > 0).astype(int), 11, 3, {0, 1, 2, 3}


def stripes(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = np.floor(X[:, 0] + 0.7 * X[:, 1]) % 2
    X[:, 11] = known + 0.5 * rng.normal(size=n)
    return X, 1.5 * known + X[:, 2] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def three_signs(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = np.sign(X[:, 0] * X[:, 1] * X[:, 2])
    X[:, 11] = known + 0.7 * rng.normal(size=n)
    return X, known + X[:, 4] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3, 4}


def disc(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = (X[:, 0] ** 2 + X[:, 1] ** 2 < 1.4).astype(float)
    X[:, 11] = known + 0.5 * rng.normal(size=n)
    return X, 1.5 * known + X[:, 2] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def largest_of_three(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    largest = X[:, :3].argmax(axis=1)
    X[:, 11] = np.array([0.0, 2.0, 1.0])[largest] + 0.6 * rng.normal(size=n)
    y = np.array([1.5, 0.0, -1.0])[largest] + X[:, 4] + 0.15 * X[:, 3] + rng.normal(size=n)
    return X, y, 11, 3, {0, 1, 2, 3, 4}


def steps_on_one_side(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = np.digitize(X[:, 0], [-1, 0, 1]) * (X[:, 4] > 0)
    X[:, 11] = known + 0.6 * rng.normal(size=n)
    said = 1.5 * known - 1.5 + X[:, 2] + 0.3 * X[:, 3] + rng.logistic(size=n)
    return X, (said > 0).astype(int), 11, 3, {0, 2, 3, 4}


def rounded_product(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = np.round(X[:, 0] * X[:, 1]).clip(-2, 2)
    X[:, 11] = known + 0.4 * rng.normal(size=n)
    return X, 1.5 * known + X[:, 2] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def soft_difference(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = np.log1p(np.exp(2 * (X[:, 0] - X[:, 1])))
    X[:, 11] = known + 0.5 * rng.normal(size=n)
    return X, known + X[:, 2] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def hill(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = np.exp(-(X[:, 0] ** 2 + X[:, 1] ** 2))
    X[:, 11] = known + 0.2 * rng.normal(size=n)
    return X, 3 * known + X[:, 2] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def growth(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = ndtr(X[:, 0] * (1 + 0.8 * X[:, 1])) + 0.5 * X[:, 4]
    X[:, 11] = known + 0.3 * rng.normal(size=n)
    return X, 2.5 * known + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 3, 4}


def nearest_of_seven(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    fixed = np.random.default_rng(7)
    centres, of_null, of_target = fixed.normal(size=(7, 3)), fixed.normal(size=7), fixed.normal(size=7)
    nearest = ((X[:, None, :3] - centres) ** 2).sum(axis=2).argmin(axis=1)
    X[:, 11] = of_null[nearest] + 0.5 * rng.normal(size=n)
    return X, 1.5 * of_target[nearest] + X[:, 4] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3, 4}


def place_among_four(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    place = (X[:, :4] > X[:, :1]).sum(axis=1)
    X[:, 11] = place + 0.6 * rng.normal(size=n)
    return X, place - 1.5 + X[:, 5] + 0.15 * X[:, 6] + rng.normal(size=n), 11, 6, {0, 1, 2, 3, 5, 6}


def leaves_of_a_tree(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    left = np.where(X[:, 1] > -0.5, 0, 1)
    leaf = np.where(X[:, 0] > 0, left, np.where(X[:, 2] > 0.3, 2, np.where(X[:, 4] > 0, 3, 4)))
    X[:, 11] = np.array([0.0, 2.0, 1.0, -1.0, 0.5])[leaf] + 0.6 * rng.normal(size=n)
    said = np.array([1.5, -1.0, 0.5, -1.5, 2.0])[leaf] + X[:, 5] + 0.3 * X[:, 3] + rng.logistic(size=n)
    return X, (said > 0).astype(int), 11, 3, {0, 1, 2, 3, 4, 5}


def rings(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = np.floor(X[:, 0] ** 2 + X[:, 1] ** 2).clip(0, 4) % 3
    X[:, 11] = known + 0.5 * rng.normal(size=n)
    return X, 1.2 * known + X[:, 2] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def side_of_a_wave(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    above = X[:, 1] > np.sin(2 * X[:, 0])
    X[:, 11] = rng.random(n) < np.where(above, 0.9, 0.1)
    said = 3.0 * above - 1.5 + X[:, 2] + 0.3 * X[:, 3] + rng.logistic(size=n)
    return X, (said > 0).astype(int), 11, 3, {0, 1, 2, 3}


def whole_part_of_a_ratio(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    X[:, :2] = np.exp(0.7 * X[:, :2])
    known = np.floor(X[:, 0] / X[:, 1]).clip(0, 3)
    X[:, 11] = known + 0.5 * rng.normal(size=n)
    return X, 1.5 * known + X[:, 2] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def sawtooth(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = X[:, 0] + 0.5 * X[:, 1]
    known = known - np.floor(known)
    X[:, 11] = known + 0.25 * rng.normal(size=n)
    return X, 4 * known + X[:, 2] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def most_of_three_signs(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = ((X[:, :3] > 0).sum(axis=1) >= 2).astype(float)
    X[:, 11] = known + 0.5 * rng.normal(size=n)
    said = np.stack([2.5 * known, X[:, 4] + 0.3 * X[:, 3] + 1, np.ones(n)], axis=1)
    return X, (said + rng.gumbel(size=(n, 3))).argmax(axis=1), 11, 3, {0, 1, 2, 3, 4}


def bent_plane(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = np.maximum(X[:, 0] + X[:, 1], X[:, 2])
    X[:, 11] = known + 0.5 * rng.normal(size=n)
    return X, 1.5 * known + X[:, 4] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3, 4}


def wave_by_slope(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = np.sin(X[:, 0] * (1 + X[:, 1]))
    X[:, 11] = known + 0.4 * rng.normal(size=n)
    return X, 2 * known + X[:, 2] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def parity_of_a_sum(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = np.floor(X[:, :3].sum(axis=1)) % 2
    X[:, 11] = known + 0.5 * rng.normal(size=n)
    return X, 1.5 * known + X[:, 4] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3, 4}


def spiral(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    turns = np.arctan2(X[:, 1], X[:, 0]) / (2 * np.pi) + np.hypot(X[:, 0], X[:, 1])
    known = np.floor(2 * turns) % 2
    X[:, 11] = known + 0.4 * rng.normal(size=n)
    return X, 1.5 * known + X[:, 2] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def closest_two_of_three(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    far = np.abs(X[:, [0, 0, 1]] - X[:, [1, 2, 2]])
    closest = far.argmin(axis=1)
    X[:, 11] = np.array([0.0, 2.0, 1.0])[closest] + 0.6 * rng.normal(size=n)
    y = np.array([1.5, 0.0, -1.0])[closest] + X[:, 4] + 0.15 * X[:, 3] + rng.normal(size=n)
    return X, y, 11, 3, {0, 1, 2, 3, 4}


def thresholds_by_level(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    level = rng.integers(0, 3, size=n)
    X[:, 5:8] = np.eye(3)[level]
    above = X[:, 0] > np.array([-0.8, 0.0, 0.8])[level]
    X[:, 11] = rng.random(n) < np.where(above, 0.9, 0.1)
    said = 3.0 * above - 1.5 + X[:, 2] + 0.3 * X[:, 3] + rng.logistic(size=n)
    return X, (said > 0).astype(int), 11, 3, {0, 2, 3, 5, 6, 7}


def rounded_by_half(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = np.round(1.5 * (X[:, 0] * X[:, 1] + X[:, 2])) / 1.5
    X[:, 11] = known + 0.3 * rng.normal(size=n)
    return X, 1.5 * known + X[:, 4] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3, 4}


def steps_times_a_sign(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = np.floor(1.5 * X[:, 0]) * np.sign(X[:, 1])
    X[:, 11] = known + 0.7 * rng.normal(size=n)
    said = np.stack([known, X[:, 4] + 0.3 * X[:, 3], np.zeros(n)], axis=1)
    return X, (said + rng.gumbel(size=(n, 3))).argmax(axis=1), 11, 3, {0, 1, 3, 4}


def gate_of_a_sum(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = ndtr(2 * (X[:, 0] + X[:, 1] - 0.5)) * X[:, 2]
    X[:, 11] = known + 0.4 * rng.normal(size=n)
    return X, 2 * known + X[:, 4] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3, 4}


def rounded_product_of_three(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = np.floor(2 * X[:, :3].prod(axis=1)).clip(-2, 1)
    X[:, 11] = known + 0.5 * rng.normal(size=n)
    return X, known + X[:, 4] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3, 4}


def within_a_hexagon(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    within = np.abs(np.stack([X[:, 0], X[:, 1], X[:, 0] + X[:, 1]])).max(axis=0) < 1.1
    X[:, 11] = rng.random(n) < np.where(within, 0.85, 0.1)
    said = 3.0 * within - 1 + X[:, 2] + 0.3 * X[:, 3] + rng.logistic(size=n)
    return X, (said > 0).astype(int), 11, 3, {0, 1, 2, 3}


def largest_of_four(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    largest = X[:, :4].argmax(axis=1)
    X[:, 11] = np.array([0.0, 2.0, 1.0, -1.0])[largest] + 0.6 * rng.normal(size=n)
    y = np.array([1.0, 0.0, -1.5, 0.5])[largest] + X[:, 5] + 0.15 * X[:, 6] + rng.normal(size=n)
    return X, y, 11, 6, {0, 1, 2, 3, 5, 6}


def steps_of_a_parabola(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = np.floor(X[:, 0] + X[:, 1] ** 2).clip(-2, 3)
    X[:, 11] = known + 0.5 * rng.normal(size=n)
    return X, known + X[:, 2] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def sine_of_a_product(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = np.sin(2 * X[:, 0] * X[:, 1])
    X[:, 11] = known + 0.4 * rng.normal(size=n)
    return X, 2 * known + X[:, 2] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def rounded_distance(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = np.round(2 * np.hypot(X[:, 0], X[:, 1] - 0.5)) / 2
    X[:, 11] = known + 0.25 * rng.normal(size=n)
    said = 4 * (known - 1.25) + X[:, 2] + 0.3 * X[:, 3] + rng.logistic(size=n)
    return X, (said > 0).astype(int), 11, 3, {0, 1, 2, 3}


def rank_among_five(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    rank = (X[:, :1] > X[:, 1:5]).sum(axis=1)
    X[:, 11] = rank + 0.7 * rng.normal(size=n)
    return X, 1.2 * rank + X[:, 5] + 0.15 * X[:, 6] + rng.normal(size=n), 11, 6, {0, 1, 2, 3, 4, 5, 6}


def second_of_three(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    second = np.argsort(X[:, :3], axis=1)[:, 1]
    X[:, 11] = np.array([-1.0, 1.0, 0.0])[second] + 0.5 * rng.normal(size=n)
    said = 1.5 * np.eye(3)[second] + np.outer(X[:, 4] + 0.3 * X[:, 3], [1.0, 0.0, -1.0])
    return X, (said + rng.gumbel(size=(n, 3))).argmax(axis=1), 11, 3, {0, 1, 2, 3, 4}


def phase(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = (X[:, 0] + X[:, 1] * X[:, 2]) % 1.5
    X[:, 11] = known + 0.3 * rng.normal(size=n)
    return X, 2 * known + X[:, 4] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3, 4}


def doses(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = np.floor(np.exp(X[:, 0])).clip(0, 4) * (X[:, 1] > -0.3)
    X[:, 11] = known + 0.6 * rng.normal(size=n)
    return X, known + X[:, 2] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def majority_of_five(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    most = np.sign(X[:, :5]).sum(axis=1) > 0
    X[:, 11] = rng.random(n) < np.where(most, 0.85, 0.15)
    return X, 2.0 * most + X[:, 5] + 0.15 * X[:, 6] + rng.normal(size=n), 11, 6, {0, 1, 2, 3, 4, 5, 6}


def saddle_times_a_column(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = np.tanh(X[:, 0] ** 2 - X[:, 1] ** 2) * X[:, 2]
    X[:, 11] = known + 0.4 * rng.normal(size=n)
    return X, 2 * known + X[:, 4] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3, 4}


def _base(X: np.ndarray) -> np.ndarray:
    return X[:, :3] @ [1.5, 1.2, 1.0]


TUNED: list[Design] = [
    *(independent, toeplitz, product, sine, fast_sine, heavy_tails, binary, weak_ties, category, one_factor),
    *(counts, maximum, three_classes, triple, switched_classes),
    *(radius, many_zeros, toeplitz_product),
    *(band, middle_of_three, slopes_by_level, clusters),
    *(checkerboard, nearest_of_five, staircase, signs_with_a_margin, three_signs, stripes),
    *(disc, largest_of_three, rounded_product),
    *(rings, sawtooth, place_among_four),
    *(parity_of_a_sum, closest_two_of_three),
    *(rounded_by_half, largest_of_four),
]
JUDGED: list[Design] = [
    *(absolute, ratio, switch, spread, heavier_tails, rare_class, uneven_noise),
    *(ordered_levels, waiting_times, bent_product),
    *(saturation, season, detection_limit),
    *(hinge_with_jump, two_way_table, hill, growth),
    *(steps_on_one_side, soft_difference),
    *(nearest_of_seven, leaves_of_a_tree, side_of_a_wave, whole_part_of_a_ratio),
    *(most_of_three_signs, bent_plane, wave_by_slope),
    *(spiral, thresholds_by_level, steps_times_a_sign, gate_of_a_sum),
    *(rounded_product_of_three, within_a_hexagon, steps_of_a_parabola, sine_of_a_product),
    *(rounded_distance, rank_among_five, second_of_three, phase, doses, majority_of_five, saddle_times_a_column),
]
