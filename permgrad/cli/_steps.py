"""What `rank` does with a trained network: rank columns and groups of them, and put the ranking to the test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from permgrad.data.table import Table
    from permgrad.estimators.hybrid import HybridClassifier, HybridRegressor
    from permgrad.evaluation.result import RankingEvaluation
    from permgrad.importance.ranking import FeatureRanking


@dataclass(frozen=True)
class Steps:
    """What the options of `rank` ask for.

    Attributes
    ----------
    random_state : int
    n_repeats : int
        Permutations of each column.
    timeout : float or None
        Seconds for the rankings of columns and groups together.
    formula : {"game", "fused", "published"} or None
        See `permgrad.rank_features`.
    tolerance : float
        Of the game's scores, see `permgrad.Budget`.
    conditional, groups : bool
        Whether to permute conditionally, and to rank groups.
    evaluate : bool
        Put the ranking to the test; conditional permutation and groups come with it where the table allows them.
    evaluate_timeout : float or None
        Seconds for the tests.
    """

    random_state: int
    n_repeats: int
    timeout: float | None
    formula: Any
    tolerance: float
    conditional: bool
    groups: bool
    evaluate: bool
    evaluate_timeout: float | None

    def check(self, data: Table, test: Table) -> None:
        """Raise before training for what would not be possible after it."""
        from permgrad.errors import PermGradError
        from permgrad.importance.grouping.correlated import MOST_FEATURES
        from permgrad.importance.permuting.conditional import LEAST_ROWS

        if self.conditional and len(test) < LEAST_ROWS:
            raise PermGradError(
                f"--conditional needs at least {LEAST_ROWS} test rows, this table's test part has {len(test)}"
            )
        if test.groups is not None and test.groups.nunique() < 2:
            raise PermGradError(
                f"--group {test.groups.name} leaves {test.groups.nunique()} group to test on, and intervals draw groups"
                " anew: two are needed, better ten; give more rows, or leave --group out"
            )
        if self.groups and len(data.features) > MOST_FEATURES:
            raise PermGradError(f"--groups clusters at most {MOST_FEATURES:,} columns, got {len(data.features):,}")

    def rank(
        self, estimator: HybridClassifier | HybridRegressor, test: Table
    ) -> tuple[FeatureRanking, FeatureRanking | None]:
        """Rank single columns and, where asked for, groups; both within one time limit."""
        from permgrad.importance.budget import Budget
        from permgrad.importance.grouping.correlated import MOST_FEATURES, THRESHOLDS
        from permgrad.importance.permuting.conditional import LEAST_ROWS

        settings: dict[str, Any] = {
            "n_repeats": self.n_repeats,
            "formula": self.formula,
            "budget": Budget(timeout=self.timeout, tolerance=self.tolerance).begin(),
        }
        conditional = self.conditional or (self.evaluate and len(test) >= LEAST_ROWS)
        ranking = estimator.rank_features(test, conditional=conditional, **settings)
        if not self.groups and (not self.evaluate or len(test.features) > MOST_FEATURES):
            return ranking, None
        groups = estimator.rank_features(test, groups="correlated", **settings)
        if not groups.children:
            click.echo(f"no columns correlate by {THRESHOLDS[0]} or more: there are no groups")
        return ranking, groups if groups.children else None

    def put_to_the_test(
        self,
        estimator: HybridClassifier | HybridRegressor,
        ranking: FeatureRanking,
        train: Table,
        val: Table | None,
        test: Table,
    ) -> RankingEvaluation | None:
        """Evaluate the ranking, if that is asked for; `train` and `val` as `rows_to_fit` gave them."""
        if not self.evaluate:
            return None
        from permgrad.evaluation.referee import evaluate_ranking

        return evaluate_ranking(
            estimator,
            ranking,
            train,
            test,
            validation_data=val,
            random_state=self.random_state,
            timeout=self.evaluate_timeout,
            verbose=True,
        )


def rows_to_fit(estimator: HybridClassifier | HybridRegressor, train: Table, val: Table) -> tuple[Table, Table | None]:
    """Return the rows to fit on, and those that decide when to stop.

    Of several networks each sets other rows apart by itself, so that together they see all of both parts.
    """
    return (train.with_rows(val), None) if estimator.settings()["n_networks"] > 1 else (train, val)
