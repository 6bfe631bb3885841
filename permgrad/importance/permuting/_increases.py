"""By how much permutations raise the loss, added up pair by pair: a pair is a row under one permutation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from tqdm.auto import tqdm

from permgrad.importance.bootstrap import Bootstrap
from permgrad.importance.budget import Budget
from permgrad.importance.network._target import Target
from permgrad.importance.permuting._checkpoint import Checkpoint
from permgrad.metrics.paired import mean_p_value


@dataclass(eq=False)
class Increases:
    """By how much permuting each feature raises the loss; 0 (a p-value: 1) until it is measured.

    Attributes
    ----------
    by_repeat : ndarray of shape (n_features, n_repeats, 1 + n_classes)
        Mean over all rows, then over each class's.
    p_values : ndarray of shape (n_features,)
        Of the rows' mean differences over repeats, or of `independence_p_value` where rows alike trade values.
    untold : ndarray of shape (n_features,)
        See `independence_p_value`; else 0.
    taking : ndarray of shape (n_features, n_bundles), float32
        Differences of losses, averaged over repeats and added up by the bootstrap's bundle of the row.
    giving : ndarray of shape (n_features, n_classes or 1, n_bundles), float32
        The same by the row's class, and the bundle of the row whose value it took.
    measured : ndarray of shape (n_features,), bool
    """

    by_repeat: np.ndarray
    p_values: np.ndarray
    untold: np.ndarray
    taking: np.ndarray
    giving: np.ndarray
    measured: np.ndarray
    _of_rows: np.ndarray = field(init=False, default_factory=lambda: np.zeros((0, 0)))
    NAMES: ClassVar = ("by_repeat", "p_values", "untold", "taking", "giving", "measured")

    @classmethod
    def none_yet(cls, n_features: int, n_repeats: int, target: Target, bootstrap: Bootstrap) -> Increases:
        """Return those of features of which none has been measured."""
        n_bundles, n_classes = bootstrap.n_bundles, len(target.classes or "1")
        return cls(
            np.zeros((n_features, n_repeats, len(target.counts()))),
            np.ones(n_features),
            np.zeros(n_features),
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
        if self.repeats.start == 0:
            self.increases._of_rows = np.zeros((len(self.features), len(self.target.y)))
            self.increases.taking[self.features] = self.increases.giving[self.features] = 0

    def add(self, job: np.ndarray, rows: np.ndarray, taken: np.ndarray, increase: np.ndarray) -> None:
        """Add pairs: by how much the loss of `rows` grew with the values of the rows `taken`."""
        self.sums += self.target.sums(rows, job, increase, self.n_jobs)
        at = job // len(self.repeats) * len(self.target.y) + rows
        np.add.at(self.increases._of_rows.reshape(-1), at, increase)
        increase = self.target.weighed(rows, increase)
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
        if self.repeats.stop == self.increases.by_repeat.shape[1]:
            # Rows, or groups, are what was drawn independently; the repeats of a row are not, and are averaged first.
            for feature, differences in zip(self.features, self.increases._of_rows, strict=True):
                self.increases.p_values[feature] = mean_p_value(
                    differences / self.repeats.stop, self.target.weights, self.target.groups
                )


def measure_in_chunks(
    increases: Increases,
    chunks: Iterable[list[int]],
    measure: Callable[[list[int]], None],
    checkpoint: Checkpoint,
    budget: Budget,
    verbose: bool,
) -> None:
    """Measure chunks of features as far as time allows, keeping what is there."""
    measured = increases.measured
    bar = tqdm(total=len(measured), initial=int(measured.sum()), desc="permuting", unit="feature", disable=not verbose)
    try:
        for chunk in chunks:
            measure(chunk)
            bar.update(len(chunk) - int(measured[chunk].sum()))
            measured[chunk] = True
            checkpoint.write(increases.arrays())
            if budget.is_spent:
                break
    finally:
        bar.close()
        checkpoint.write(increases.arrays(), now=True)
