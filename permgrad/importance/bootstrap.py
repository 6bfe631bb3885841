"""How far a score could be off: rows, or groups of them, drawn anew without computing anything of the network again.

Scores are means over rows. Rows are put into bundles, explainers add up what each bundle contributes, and
replicates of the scores follow from the bundles' sums alone: as many bundles as rows for small tables, about two
hundred for large ones, so that memory does not grow with the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm, rankdata
from scipy.stats import t as student

from permgrad.importance.budget import check_random_state
from permgrad.metrics.paired import effective_number

N_REPLICATES = 200
MOST_BUNDLES = 200
"""Of all classes; a class has five at least, so more where there are over 40 classes."""
BUNDLES_OF_A_CLASS = 20
"""At least, with up to ten classes: a rare class's spread is seen from its own bundles alone."""
LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """A bootstrap of rows that loses no class; build it with `Bootstrap.of`.

    Attributes
    ----------
    bundle : ndarray of shape (n_rows,), int
        Which bundle a row is in.
    counts : ndarray of shape (n_bundles,)
        Rows in each bundle, or what they weigh.
    classes : ndarray of shape (n_bundles,), int
        The class of the rows in each bundle; 0 without classes.
    weights : ndarray of shape (n_replicates, n_bundles), float32
        How often each replicate draws each bundle, times how much more of its class the replicate has.
    widening : float
        By how much replicates are to be further from the estimate, see `widening_of`.
    """

    bundle: np.ndarray
    counts: np.ndarray
    classes: np.ndarray
    weights: np.ndarray
    widening: float = 1.0

    @classmethod
    def of(
        cls,
        n_rows: int,
        random_state: int,
        classes: np.ndarray | None = None,
        *,
        groups: np.ndarray | None = None,
        weights: np.ndarray | None = None,
    ) -> Bootstrap:
        """Bundle rows at random and draw the replicates; of one seed and the same classes they are the same.

        Parameters
        ----------
        n_rows, random_state : int
        classes : ndarray of shape (n_rows,), int, optional
            Rows are drawn within each class, so that none is lost; how many rows a class has is drawn before.
        groups : ndarray of shape (n_rows,), int, optional
            Rows of a group are drawn together; within classes only where each group is of one class.
        weights : ndarray of shape (n_rows,), optional
            What rows weigh: sums are to be of weighed values.

        References
        ----------
        Efron & Tibshirani, An Introduction to the Bootstrap (1993).
        """
        check_random_state(random_state)
        rng = np.random.default_rng([random_state, N_REPLICATES, MOST_BUNDLES])
        unit, labels = _units(n_rows, classes, groups)
        bundle_of = np.zeros(len(labels), int)
        of_class, drawn, n_bundles = [], [], 0
        by_class = [(int(label), np.flatnonzero(labels == label)) for label in np.unique(labels)]
        least = max(5, min(BUNDLES_OF_A_CLASS, MOST_BUNDLES // len(by_class)))
        rows_of_class = _drawn_class_counts(rng, [len(members) for _, members in by_class])
        for (label, members), n_drawn in zip(by_class, rows_of_class.T, strict=True):
            size = min(len(members), max(least, round(MOST_BUNDLES * len(members) / len(labels))))
            bundle_of[rng.permutation(members)] = n_bundles + np.arange(len(members)) % size
            draws = rng.multinomial(size, np.full(size, 1 / size), N_REPLICATES)
            drawn.append(draws * (n_drawn / len(members))[:, None])
            of_class += [label] * size
            n_bundles += size
        bundle, draws = bundle_of[unit], np.hstack(drawn).astype(np.float32)
        if classes is not None and not np.array_equal(np.array(of_class)[bundle], classes):
            # Groups of several classes: a bundle's rows of each class are apart, and are drawn together.
            n_classes = int(classes.max()) + 1
            cells, bundle = np.unique(bundle * n_classes + classes, return_inverse=True)
            draws, of_class = draws[:, cells // n_classes], (cells % n_classes).tolist()
        counts = np.bincount(bundle, weights, minlength=len(of_class)).astype(float)
        of_unit = np.bincount(unit, weights, minlength=len(labels)).astype(float)
        return cls(bundle, counts, np.array(of_class), draws, widening_of(of_unit, len(by_class)))

    @property
    def n_bundles(self) -> int:
        """How many bundles there are."""
        return len(self.counts)

    def sums(self, rows: np.ndarray, values: np.ndarray, job: np.ndarray | None = None, n_jobs: int = 1) -> np.ndarray:
        """Add up a value for each of some rows, by job and bundle: (n_jobs, n_bundles), float64."""
        at = self.bundle[rows] if job is None else job * self.n_bundles + self.bundle[rows]
        return np.bincount(at, values, n_jobs * self.n_bundles).reshape(n_jobs, self.n_bundles)

    def paired_means(self, taking: np.ndarray, giving: np.ndarray, of_class: int | None = None) -> np.ndarray:
        """Return the replicates of a permutation's mean difference, in which each row has two roles.

        A row takes another's value, and gives its own to another: drawn anew, it is so in both. Counting the
        first alone would make intervals too narrow, by half for a linear model. To first order (the Hájek
        projection of a V-statistic) the two add up.

        Parameters
        ----------
        taking, giving : ndarray of shape (n_scores, n_bundles)
            Differences added up by the bundle of the row that takes, and by that of the row that gives; of takers of
            the class alone, if there is one.
        of_class : int, optional

        Returns
        -------
        ndarray of shape (n_replicates, n_scores), float32

        References
        ----------
        van der Vaart, Asymptotic Statistics (1998), chapter 12.
        """
        takers = self.counts if of_class is None else self.counts * (self.classes == of_class)
        n_takers = takers.sum() or 1.0
        mean = taking.sum(axis=1, dtype=float, keepdims=True) / n_takers
        expected = mean * (takers + self.counts * (n_takers / self.counts.sum()))
        deviation = (taking + giving - expected).astype(np.float32)
        return (mean.T + self.widening * (self.weights @ deviation.T) / n_takers).astype(np.float32)

    def widened(self, estimate: np.ndarray, replicates: np.ndarray) -> np.ndarray:
        """Return replicates, (n_replicates, ...), as far from the estimate, (...), as so few rows or groups ask for."""
        return estimate + self.widening * (replicates - estimate)

    def means(self, sums: np.ndarray, of_class: int | None = None) -> np.ndarray:
        """Return the replicates of a mean over rows, or over the rows of a class.

        Parameters
        ----------
        sums : ndarray of shape (n_scores, n_bundles)
        of_class : int, optional

        Returns
        -------
        ndarray of shape (n_replicates, n_scores), float32
            0 for a class without rows.
        """
        at = slice(None) if of_class is None else self.classes == of_class
        weights = self.weights[:, at]
        rows = weights @ self.counts[at]
        totals = weights @ np.asarray(sums, np.float32)[:, at].T
        replicates = totals / np.where(rows > 0, rows, 1)[:, None]
        return self.widened(sums[:, at].sum(axis=1) / (self.counts[at].sum() or 1.0), replicates).astype(np.float32)


def widening_of(units: np.ndarray, n_strata: int = 1) -> float:
    """Return by how much a bootstrap of so few units must be widened for its 95 % intervals to hold.

    Replicates of a mean of n values spread by the root of (n - 1) / n too little, and as if the values' spread were
    known: Student's t has n - 1 degrees of freedom. Each stratum within which is drawn takes one. Units that count
    differently are as many as `effective_number` says.

    Parameters
    ----------
    units : ndarray of shape (n_units,)
        What each row or group that is drawn counts.
    n_strata : int

    References
    ----------
    Hesterberg, What Teachers Should Know About the Bootstrap, The American Statistician 69 (2015).
    """
    n = effective_number(units)
    free = max(1.0, n - n_strata)
    return float(student.ppf((1 + LEVEL) / 2, free) / norm.ppf((1 + LEVEL) / 2) * np.sqrt(n / free))


def _units(n_rows: int, classes: np.ndarray | None, groups: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of what is drawn for each row, itself or its group, and the class of each that may be drawn.

    The class is 0 for all where there are no classes, or some group has rows of several.
    """
    rows = np.arange(n_rows)
    labels = np.zeros(n_rows, int) if classes is None else classes
    if groups is None:
        return rows, labels
    _, first, unit = np.unique(groups, return_index=True, return_inverse=True)
    place = np.argsort(np.argsort(first))  # in order of appearance, as rows are
    unit, of_group = place[unit], labels[np.sort(first)]
    return unit, of_group if (of_group[unit] == labels).all() else np.zeros(len(first), int)


def _drawn_class_counts(rng: np.random.Generator, counts: Sequence[int]) -> np.ndarray:
    """Return how many rows of each class each replicate has, (n_replicates, n_classes), one at least."""
    n_rows = sum(counts)
    return np.maximum(1, rng.multinomial(n_rows, np.divide(counts, n_rows), N_REPLICATES))


def percentiles(replicates: np.ndarray) -> np.ndarray:
    """Return the ends of 95 % intervals of replicates along the first axis: (2, ...).

    A new value is between the ends with a probability of 95 %: of few replicates, numpy's own percentiles are nearer
    to the middle (with 200, 94 %).

    References
    ----------
    Hyndman & Fan, Sample quantiles in statistical packages (1996), definition 6.
    """
    return np.quantile(replicates, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0, method="weibull")


def interval(scores: np.ndarray, replicates: np.ndarray, measured: np.ndarray | None = None) -> dict[str, Any]:
    """Return 95 % intervals of scores and of their ranks.

    Parameters
    ----------
    scores : ndarray of shape (n_features,)
    replicates : ndarray of shape (n_replicates, n_features)
    measured : ndarray of shape (n_features,), bool, optional
        The others share the last rank, and do not count among these.

    Returns
    -------
    dict
        ``low``, ``high``: percentiles of the replicates, widened to hold the score itself; ``rank_low``,
        ``rank_high``: percentiles of the rank, 1 for the best, ties having their mean rank. Each of
        shape (n_features,).
    """
    low, high = percentiles(replicates)
    among = slice(None) if measured is None else measured
    ranks = np.full((2, len(scores)), float(len(scores)))
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    ranks[:, among] = np.quantile(rankdata(-replicates[:, among], axis=1), tails, axis=0, method="nearest")
    return {
        "low": np.minimum(low, scores),
        "high": np.maximum(high, scores),
        "rank_low": ranks[0],
        "rank_high": ranks[1],
    }
