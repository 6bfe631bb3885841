"""By how much permutations raise the loss, added up pair by pair: a pair is a row under one permutation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.stats import t as student

from permgrad.importance.bootstrap import Bootstrap
from permgrad.importance.network._target import Target


@dataclass(eq=False)
class Increases:
    """By how much permuting each feature raises the loss; 0 (a p-value: 1) until it is measured.

    Attributes
    ----------
    by_repeat : ndarray of shape (n_features, n_repeats, 1 + n_classes)
        Mean over all rows, then over each class's.
    p_values : ndarray of shape (n_features, n_repeats)
        Of the paired t-test in each repeat.
    taking : ndarray of shape (n_features, n_bundles), float32
        Differences of losses, averaged over repeats and added up by the bootstrap's bundle of the row.
    giving : ndarray of shape (n_features, n_classes or 1, n_bundles), float32
        The same by the row's class, and the bundle of the row whose value it took.
    measured : ndarray of shape (n_features,), bool
    """

    by_repeat: np.ndarray
    p_values: np.ndarray
    taking: np.ndarray
    giving: np.ndarray
    measured: np.ndarray
    NAMES: ClassVar = ("by_repeat", "p_values", "taking", "giving", "measured")

    @classmethod
    def none_yet(cls, n_features: int, n_repeats: int, target: Target, bootstrap: Bootstrap) -> Increases:
        """Return those of features of which none has been measured."""
        n_bundles, n_classes = bootstrap.n_bundles, len(target.classes or "1")
        return cls(
            np.zeros((n_features, n_repeats, len(target.counts()))),
            np.ones((n_features, n_repeats)),
            np.zeros((n_features, n_bundles), np.float32),
            np.zeros((n_features, n_classes, n_bundles), np.float32),
            np.zeros(n_features, bool),
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Return them by name, as a checkpoint keeps them."""
        return {name: getattr(self, name) for name in self.NAMES}


@dataclass(eq=False)
class Tally:
    """The increases of some features in some repeats, while their pairs come in; a job is a feature in a repeat.

    Attributes
    ----------
    increases : Increases
        What is written to.
    target : Target
    bootstrap : Bootstrap
    features : list of int
    repeats : range
    """

    increases: Increases
    target: Target
    bootstrap: Bootstrap
    features: list[int]
    repeats: range

    def __post_init__(self) -> None:
        self.n_jobs = len(self.features) * len(self.repeats)
        self.sums = np.zeros((self.n_jobs, self.increases.by_repeat.shape[2]))
        self.squares = np.zeros(self.n_jobs)
        if self.repeats.start == 0:
            self.increases.taking[self.features] = self.increases.giving[self.features] = 0

    def add(self, job: np.ndarray, rows: np.ndarray, taken: np.ndarray, increase: np.ndarray) -> None:
        """Add pairs: by how much the loss of `rows` grew with the values of the rows `taken`."""
        self.sums += self.target.sums(rows, job, increase, self.n_jobs)
        self.squares += np.bincount(job, increase**2, self.n_jobs)
        self._bundle(job // len(self.repeats), rows, taken, increase / self.increases.by_repeat.shape[1])

    def _bundle(self, feature: np.ndarray, rows: np.ndarray, taken: np.ndarray, increase: np.ndarray) -> None:
        """Add up the pairs' increases by the bundles of the rows that take a value, and of those that give it."""
        n_features, n_classes = len(self.features), self.increases.giving.shape[1]
        self.increases.taking[self.features] += self.bootstrap.sums(rows, increase, feature, n_features)
        of_class = feature * n_classes + (self.target.y[rows] if self.target.classes else 0)
        given = self.bootstrap.sums(taken, increase, of_class, n_features * n_classes)
        self.increases.giving[self.features] += given.reshape(n_features, n_classes, -1)

    def finish(self) -> None:
        """Write means and p-values; pairs that never came changed nothing."""
        n_features, columns = len(self.features), slice(self.repeats.start, self.repeats.stop)
        means = (self.sums / self.target.counts()).reshape(n_features, len(self.repeats), -1)
        self.increases.by_repeat[self.features, columns] = means
        p_values = _p_values(self.sums[:, 0], self.squares, len(self.target.y))
        self.increases.p_values[self.features, columns] = p_values.reshape(n_features, len(self.repeats))


def _p_values(sums: np.ndarray, squares: np.ndarray, n: int) -> np.ndarray:
    """Test that means of differences, given by their sums over n rows, are not above 0: one-sided t-tests."""
    if n < 2:
        return np.ones(len(sums))
    mean = sums / n
    error = np.sqrt(np.maximum(squares / n - mean**2, 0) / (n - 1))
    statistic = np.divide(mean, error, out=np.where(mean > 0, np.inf, -np.inf), where=error > 0)
    return student.sf(statistic, n - 1)
