"""What every part of the referee starts from: the network, its rows as arrays, and its explainer."""

from __future__ import annotations

import warnings
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone, is_classifier
from sklearn.utils.validation import has_fit_parameter

from permgrad.data.checks import as_target
from permgrad.data.table import Table
from permgrad.estimators._base import NetworkEstimator
from permgrad.importance.budget import Budget
from permgrad.importance.formula import formula_of
from permgrad.importance.game.play import COARSE
from permgrad.importance.ranking import FeatureRanking
from permgrad.metrics.losses import cross_entropy, squared_error


@dataclass(frozen=True, eq=False)
class ExplainedModel:
    """A fitted estimator, the ranking that is tested, and the tables.

    Attributes
    ----------
    estimator : HybridClassifier or HybridRegressor
        Fitted.
    ranking : FeatureRanking
        The ranking under test: what is explained again is explained with its settings.
    train, test : Table
    validation_data : Table or None
        For early stopping wherever a network is trained.
    random_state : int
    name : str
        Of the ranking under test; by default its method's.
    """

    estimator: Any
    ranking: FeatureRanking
    train: Table
    test: Table
    validation_data: Table | None = None
    random_state: int = 0
    name: str = ""

    @cached_property
    def classification(self) -> bool:
        """Whether the estimator tells classes apart."""
        return bool(is_classifier(self.estimator))

    @cached_property
    def groups(self) -> dict[str, np.ndarray]:
        """For each column of the table that the network sees: the positions of its encoded columns."""
        return self.estimator.encoder_.groups_

    @cached_property
    def n_numbers(self) -> int:
        """So many of the encoded columns, the first ones, are numbers; the others are 0/1."""
        return self.estimator.encoder_.n_numbers_

    @cached_property
    def train_rows(self) -> np.ndarray:
        """Encoded training rows, float32."""
        return self.estimator.encoder_.transform(self.train.X)

    @cached_property
    def test_rows(self) -> np.ndarray:
        """Encoded test rows, float32."""
        return self.estimator.encoder_.transform(self.test.X)

    @cached_property
    def train_target(self) -> np.ndarray:
        """Class numbers, or target values, of the training rows."""
        return self.estimator._encode_target(as_target(self.train.y))

    @cached_property
    def test_target(self) -> np.ndarray:
        """Class numbers, or target values, of the test rows."""
        return self.estimator._encode_target(as_target(self.test.y))

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Return the network's output for encoded rows."""
        return self.estimator._predicted(rows)

    def losses(self, target: np.ndarray, output: np.ndarray) -> np.ndarray:
        """Return each row's cross-entropy, or squared error over the variance of the training target."""
        if self.classification:
            return cross_entropy(target, output)
        return squared_error(target, output) / np.var(self.train_target, dtype=float)

    def unfitted(self) -> ExplainedModel:
        """Return what `refit` and `explain` need, to send to a process: without network and replicates."""
        return replace(self, estimator=clone(self.estimator), ranking=_bare(self.ranking))

    def explain(self, estimator: Any) -> FeatureRanking:
        """Rank the columns on the test rows, by the settings of the ranking under test."""
        known: dict[str, Any] = {}
        for part in (*self.ranking.components.values(), self.ranking):
            known.update(part.settings)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a resample may lack a category, and says so
            return estimator.rank_features(
                self.test,
                formula=formula_of(known),
                end_to_end=bool({"end_to_end", "permutation"} & set(self.ranking.components)),
                n_repeats=known.get("n_repeats", 5),
                random_state=known.get("random_state"),
                budget=Budget(tolerance=COARSE),  # orders are compared, many times
                verbose=False,
            )

    def named(self, explained: FeatureRanking) -> dict[str, FeatureRanking]:
        """Return what `explain` gave by name: the one that corresponds to the ranking under test under that one's."""
        own = self.name if self.name and explained.method == self.ranking.method else explained.method
        return {own: explained, **_others(explained)}

    def refit(self, estimator: Any, train: Table, validation_data: Table | None = None, **settings: Any) -> Any:
        """Fit an unfitted copy of `estimator`, with these settings changed, silently."""
        fresh = clone(estimator)
        if "verbose" in fresh.get_params():
            settings = {"verbose": False, **settings}
        fresh.set_params(**settings)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # columns that no longer vary
            if isinstance(fresh, NetworkEstimator):  # a table says what its rows are
                return fresh.fit(train, validation_data=validation_data)
            validation = None if validation_data is None else (validation_data.X, validation_data.y)
            known = {"sample_weight": train.weights, "groups": train.groups, "validation_data": validation}
            known = {name: rows for name, rows in known.items() if rows is not None and has_fit_parameter(fresh, name)}
            return fresh.fit(train.X, train.y, **known)


def halves(explained: ExplainedModel) -> tuple[ExplainedModel, ExplainedModel]:
    """Return the model with either half of the test rows, drawn at random: one to rank on, one to judge on.

    Of groups, whole ones; a single group is parted.
    """
    rng = np.random.default_rng([explained.random_state, 12])
    groups = explained.test.facts.codes()
    if groups is None or groups.max() < 1:
        order = rng.permutation(len(explained.test))
        middle = (len(order) + 1) // 2
        parts = (np.sort(order[:middle]), np.sort(order[middle:]))
    else:
        drawn = rng.permutation(int(groups.max()) + 1)
        rows = np.cumsum(np.bincount(groups)[drawn])
        middle = 1 + int(np.abs(rows[:-1] - len(groups) / 2).argmin())
        is_first = np.isin(groups, drawn[:middle])
        parts = (np.flatnonzero(is_first), np.flatnonzero(~is_first))
    first, second = (replace(explained, test=explained.test.take(rows)) for rows in parts)
    return first, second


def named_parts(ranking: FeatureRanking) -> dict[str, FeatureRanking]:
    """Return a ranking under its method's name, and its components under theirs."""
    return {ranking.method or "ranking": ranking, **_others(ranking)}


def _bare(ranking: FeatureRanking) -> FeatureRanking:
    components = {name: _bare(part) for name, part in ranking.components.items()}
    return replace(ranking, components=components, children={}, replicates=None, class_replicates=None)


PARTS = ("first_in", "tabular", "image")
"""Components that say where a score comes from, and are no orders of their own to compare."""


def _others(ranking: FeatureRanking) -> dict[str, FeatureRanking]:
    return {name: part for name, part in ranking.components.items() if name not in (ranking.method, *PARTS)}


def columns_of(table: Table, names: list[str]) -> Table:
    """Return the table with these columns only."""
    return with_data(table, table.X[names], table.y)


def with_data(table: Table, X: pd.DataFrame, y: pd.Series) -> Table:
    """Return a copy of a table with other rows or columns, unchecked: they are a checked table's."""
    part = copy(table)
    object.__setattr__(part, "X", X)
    object.__setattr__(part, "y", y)
    return part
