"""What `rank` does with a trained network: rank columns and groups of them, and put the ranking to the test."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from permgrad.data.streamed import StreamedTable
    from permgrad.data.table import Table
    from permgrad.estimators.hybrid import HybridClassifier, HybridRegressor
    from permgrad.evaluation.by_level import ByLevel
    from permgrad.evaluation.result import RankingEvaluation
    from permgrad.importance.budget import Budget
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
    trainings : int
        Networks to train, each on a split of its own; their scores are averaged.
    part, checkpoint : optional
        See `permgrad.Budget`.
    by : str or None
        Column by whose levels the first network is scored and ranked too.
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
    trainings: int = 1
    part: tuple[int, int] | None = None
    checkpoint: str | None = None
    by: str | None = None

    def check(self, data: Table | StreamedTable, test: Table | StreamedTable) -> None:
        """Raise before training for what would not be possible after it."""
        from permgrad.errors import PermGradError, require
        from permgrad.importance.grouping.correlated import MOST_FEATURES
        from permgrad.importance.permuting.conditional import LEAST_ROWS

        if self.evaluate:
            require("shap", "--evaluate, which compares with SHAP,", "shap")
        if self.conditional and len(test) < LEAST_ROWS:
            raise PermGradError(
                f"--conditional needs at least {LEAST_ROWS} test rows, this table's test part has {len(test)}"
            )
        if test.groups is not None and test.groups.nunique() < 2:
            raise PermGradError(
                f"--group {test.groups.name} leaves {test.groups.nunique()} group among the test rows; intervals"
                " resample groups and need at least two, better ten; give more rows, or leave --group out"
            )
        if self.by is not None:
            _check_by(self.by, test)
        if self.groups and len(data.features) > MOST_FEATURES:
            raise PermGradError(f"--groups clusters at most {MOST_FEATURES:,} columns, got {len(data.features):,}")

    def rank(
        self, estimator: HybridClassifier | HybridRegressor, test: Table | StreamedTable
    ) -> tuple[FeatureRanking, FeatureRanking | None]:
        """Rank single columns and, where asked for, groups; both within the first training's part of the time."""
        from permgrad.importance.grouping.correlated import MOST_FEATURES, THRESHOLDS

        settings = self._settings()
        ranking = self._columns(estimator, test, settings)
        if not self.groups and (not self.evaluate or len(test.features) > MOST_FEATURES):
            return ranking, None
        groups = estimator.rank_features(test, groups="correlated", **settings)
        if not groups.children:
            click.echo(f"no columns correlate by {THRESHOLDS[0]} or more: there are no groups")
        return ranking, groups if groups.children else None

    def further_trainings(
        self,
        estimator: HybridClassifier | HybridRegressor,
        ranking: FeatureRanking,
        data: Table,
        split_random_state: int,
        n_train: int,
    ) -> FeatureRanking:
        """Return the recipe's ranking, given that of the first training; that itself, where one training is all.

        Parameters
        ----------
        estimator : HybridClassifier or HybridRegressor
            Of the first training.
        ranking : FeatureRanking
        data : Table
            All rows.
        split_random_state : int
            Of the first split.
        n_train : int
            Rows that the first network was fitted on.
        """
        numbers = range(1, self.trainings)
        further = list(self.trained(estimator, data, split_random_state, numbers))
        return self.averaged([ranking, *further], n_train) if further else ranking

    def trained(
        self,
        estimator: HybridClassifier | HybridRegressor,
        data: Table,
        split_random_state: int,
        numbers: Sequence[int],
    ) -> Iterator[FeatureRanking]:
        """Yield the rankings of some of the trainings, from 0: side by side where there are workers."""
        from sklearn.base import clone

        from permgrad.parallel import count_workers, run

        def jobs() -> Iterator[tuple[Any, ...]]:
            quietly = count_workers() > 1
            for number in numbers:
                click.echo(f"training {number + 1} of {self.trainings}, on a split of its own")
                yield self, clone(estimator), data, split_random_state, number, quietly

        yield from run(_trained, jobs())

    def averaged(self, rankings: Sequence[FeatureRanking], n_train: int) -> FeatureRanking:
        """Return the recipe's ranking, given those of all trainings and the rows that the first was fitted on."""
        from permgrad.importance.recipe import average_trainings

        n_test = rankings[-1].settings["n_test"]
        return average_trainings(rankings, n_train=n_train, n_test=n_test, random_state=self.random_state)

    def by_level(
        self, estimator: HybridClassifier | HybridRegressor, ranking: FeatureRanking, test: Table
    ) -> ByLevel | None:
        """Score and rank in each level of a column, if that is asked for."""
        if self.by is None:
            return None
        from permgrad.evaluation.by_level import by_level

        whole = ranking if self.trainings == 1 else None  # of several trainings, it is not this network's
        known = {"ranking": whole, "random_state": self.random_state, **self._settings()}
        return by_level(estimator, test, by=self.by, **known)

    def budget(self) -> Budget:
        """Return a training's part of the time, begun."""
        from permgrad.importance.budget import Budget

        timeout = None if self.timeout is None else self.timeout / self.trainings
        return Budget(timeout=timeout, checkpoint=self.checkpoint, tolerance=self.tolerance, part=self.part).begin()

    def _settings(self) -> dict[str, Any]:
        """Return what rankings of one training share."""
        return {"n_repeats": self.n_repeats, "formula": self.formula, "budget": self.budget()}

    def _columns(
        self, estimator: HybridClassifier | HybridRegressor, test: Table | StreamedTable, settings: dict[str, Any]
    ) -> FeatureRanking:
        from permgrad.importance.permuting.conditional import LEAST_ROWS

        conditional = self.conditional or (self.evaluate and len(test) >= LEAST_ROWS)
        return estimator.rank_features(test, conditional=conditional, **settings)

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


def _trained(
    steps: Steps,
    estimator: HybridClassifier | HybridRegressor,
    data: Table,
    split_random_state: int,
    number: int,
    quietly: bool,
) -> FeatureRanking:
    """Train once, and rank columns; without progress bars where others do so at the same time."""
    from permgrad.evaluation.recipe import silenced, train_once

    estimator = silenced(estimator) if quietly else estimator
    training = train_once(estimator, data, number, split_random_state=split_random_state)
    ranking = steps._columns(training.estimator, training.test, steps._settings())
    return replace(ranking, settings={**ranking.settings, "n_test": len(training.test)})


def _check_by(by: str, test: Table | StreamedTable) -> None:
    """Raise where test rows cannot be parted by a column."""
    from permgrad.data.streamed import StreamedTable
    from permgrad.errors import PermGradError
    from permgrad.evaluation.by_level import check_by

    if isinstance(test, StreamedTable):
        raise PermGradError("--by is for tables in memory; leave it out, or pass --no-stream")
    check_by(test.X, by)
