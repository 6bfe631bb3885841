"""All that is known of one ranking: what a results directory and its page are made from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from permgrad.data.table import Table
from permgrad.estimators.hybrid import HybridClassifier, HybridRegressor
from permgrad.estimators.saving import versions
from permgrad.evaluation.result import RankingEvaluation
from permgrad.importance.ranking import FeatureRanking
from permgrad.metrics.scores import scores


@dataclass(frozen=True, eq=False)
class Results:
    """One network, its ranking, and the table that both are of.

    Attributes
    ----------
    estimator : HybridClassifier or HybridRegressor
        Fitted.
    ranking : FeatureRanking
        Of `test`.
    table, test : Table
        All rows, and those that the ranking and the scores are of.
    split_random_state : int
        Of the split that gave `test`.
    groups : FeatureRanking or None
        Of groups of columns, whose columns are its ``children``.
    evaluation : RankingEvaluation or None
        How the ranking stands up to tests.
    command : str or None
        Command line that repeats the run.
    """

    estimator: HybridClassifier | HybridRegressor
    ranking: FeatureRanking
    table: Table
    test: Table
    split_random_state: int
    groups: FeatureRanking | None = None
    evaluation: RankingEvaluation | None = None
    command: str | None = None

    @cached_property
    def predicted(self) -> np.ndarray:
        """Predictions of the test rows, shape (n_test_rows,)."""
        return self.estimator.predict(self.test.X)

    def with_settings(self) -> Results:
        """Return the same, the ranking with where it comes from: data, split, scores, estimator, versions, command."""
        settings = {**self.ranking.settings, **self._origin()}
        return replace(self, ranking=replace(self.ranking, settings=settings))

    def _origin(self) -> dict[str, Any]:
        table, estimator = self.table, self.estimator
        return {
            "data": {
                "name": table.name,
                "target": str(table.y.name),
                "sha256": table.sha256,
                "rows": len(table),
                **table.notes,
            },
            "missing_values_in_training": estimator.encoder_.missing_,
            "split_random_state": self.split_random_state,
            "test_rows": len(self.test),
            "test_scores": scores(estimator, self.test),
            "estimator": {"class": type(estimator).__name__, **estimator.get_params()},
            "versions": versions(),
            "command": self.command,
        }
