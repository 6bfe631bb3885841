"""All that is known of one ranking: what a results directory and its page are made from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from permgrad.data.checkup import TableCheck
from permgrad.data.streamed import StreamedTable
from permgrad.data.table import Table
from permgrad.errors import PermGradError
from permgrad.estimators.saving import versions
from permgrad.evaluation.by_level import ByLevel
from permgrad.evaluation.reference_models import ReferenceModels
from permgrad.evaluation.result import RankingEvaluation
from permgrad.importance.effects import Effects
from permgrad.importance.network.opaque import Opaque
from permgrad.importance.ranking import FeatureRanking
from permgrad.importance.responding.interactions import Interactions, interactions
from permgrad.metrics.calibration import BINS, calibrated_error, expected_calibration_error
from permgrad.metrics.scores import classification_scores, regression_scores, scores
from permgrad.report.any_model import AnyModel
from permgrad.report.explained_rows import CarriedRows, ImageRows, explain_test_rows

MOST_EFFECTS, EFFECT_POINTS, EFFECT_ROWS = 30, 15, 500
"""Columns, values of each, and test rows, of the effects that the page shows."""
MOST_PAIRED, PAIR_ROWS = 6, 60
"""Columns whose pairs are measured, and rows that take each one's values."""
COVERAGE = 0.9
"""Of the intervals whose share of test rows is counted, where the estimator gives intervals."""


@dataclass(frozen=True, eq=False)
class InFiles:
    """A table larger than memory, of which `Results` holds some rows.

    Attributes
    ----------
    table, test : StreamedTable
        All rows, and all test rows.
    scores : dict of str to float
        Of all test rows.
    """

    table: StreamedTable
    test: StreamedTable
    scores: dict[str, float]


@dataclass(frozen=True, eq=False)
class Results:
    """One network, its ranking, and the table that both are of.

    Attributes
    ----------
    estimator : HybridClassifier, HybridRegressor or AnyModel
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
    models : ReferenceModels or None
        The network beside simpler models.
    notes : tuple of str
        What was said while all this was made, beside what `Table.said` has.
    check : TableCheck or None
        Of the table, its parts split as here; where it is None, it is made when it is asked for.
    by : ByLevel or None
        The network in each level of a column.
    in_files : InFiles or None
        Of a table larger than memory: the whole of it. `table` are then training rows and `test` test rows that were
        drawn at random.
    """

    estimator: Any
    ranking: FeatureRanking
    table: Table
    test: Table
    split_random_state: int
    groups: FeatureRanking | None = None
    evaluation: RankingEvaluation | None = None
    command: str | None = None
    models: ReferenceModels | None = None
    notes: tuple[str, ...] = ()
    check: TableCheck | None = None
    by: ByLevel | None = None
    in_files: InFiles | None = None

    @property
    def foreign(self) -> str | None:
        """What a model is called that this package did not train: its file, or its kind; None of others."""
        return self.estimator.name if isinstance(self.estimator, AnyModel) else None

    @property
    def whole(self) -> Table | StreamedTable:
        """The table of all rows, wherever they are."""
        return self.table if self.in_files is None else self.in_files.table

    @cached_property
    def predicted(self) -> np.ndarray:
        """Predictions of the test rows, shape (n_test_rows,)."""
        return self.estimator.predict(self.test.X)

    @cached_property
    def probabilities(self) -> np.ndarray:
        """Probabilities of the test rows' classes, shape (n_test_rows, n_classes)."""
        return self.estimator.predict_proba(self.test.X)

    @cached_property
    def class_numbers(self) -> np.ndarray:
        """Positions of the test rows' labels among the estimator's classes, shape (n_test_rows,)."""
        return np.searchsorted(self.estimator.classes_, np.asarray(self.test.y))

    @cached_property
    def checkup(self) -> TableCheck:
        """What the table's check-up finds, its parts split as here."""
        return self.check or self.table.check(random_state=self.split_random_state)

    @property
    def carried(self) -> CarriedRows | None:
        """Test rows that the page carries, explained; None of tables with too many columns."""
        return self._explained[0]

    @property
    def images(self) -> ImageRows | None:
        """Test rows whose images are drawn, explained; None of networks without an image."""
        return self._explained[1]

    @cached_property
    def _explained(self) -> tuple[CarriedRows | None, ImageRows | None]:
        if self.foreign is not None:  # how a row reaches such a model is its own affair
            return None, None
        return explain_test_rows(self.estimator, self.test, self.predicted)

    @cached_property
    def effects(self) -> Effects:
        """Which way the best columns push the network's answers to the test rows; of probes and unused ones none."""
        ranking, X = self.ranking, self.test.X
        left_out = {*ranking.unused, *ranking.probes}
        named = [ranking.features[i] for i in ranking.order]
        able = [name for name in named if name in X and name not in left_out and X[name].nunique() > 1]
        return self.estimator.effects(self.test, able[:MOST_EFFECTS], n_points=EFFECT_POINTS, max_rows=EFFECT_ROWS)

    @cached_property
    def interactions(self) -> Interactions | None:
        """What pairs of the best columns do to the answers beyond each alone; None of a single column."""
        best = [column.name for column in self.effects.columns[:MOST_PAIRED]]
        if len(best) < 2:
            return None
        return interactions(self.estimator, self.test, best, max_rows=PAIR_ROWS)

    def calibration(self) -> dict[str, Any]:
        """Return how far probabilities, or intervals, hold what they say on the test rows.

        Classification: ``ece`` (`expected_calibration_error`), its ``bins``, and what a perfectly calibrated network's
        would be on so many rows: ``ece_calibrated`` (mean) and ``ece_calibrated_most`` (95th percentile). Regression:
        ``coverage`` and the share ``inside`` intervals of it, where the estimator gives intervals.
        """
        if self.test.task == "classification":
            weights = self.test.weights
            mean, most = calibrated_error(self.probabilities, sample_weight=weights)
            error = expected_calibration_error(self.class_numbers, self.probabilities, sample_weight=weights)
            return {"ece": error, "bins": BINS, "ece_calibrated": mean, "ece_calibrated_most": most}
        ends = _intervals(self.estimator, self.test)
        if ends is None:
            return {}
        y = np.asarray(self.test.y, float)
        inside = (ends[:, 0] <= y) & (y <= ends[:, 1])
        return {"coverage": COVERAGE, "inside": float(np.average(inside, weights=self.test.weights))}

    def with_settings(self) -> Results:
        """Return the same, the ranking with where it comes from: data, split, scores, estimator, versions, command."""
        settings = {**self.ranking.settings, **self._origin()}
        return replace(self, ranking=replace(self.ranking, settings=settings))

    def _origin(self) -> dict[str, Any]:
        estimator = self.estimator
        if isinstance(estimator, AnyModel):  # the ranking knows the rest
            return {"calibration": self.calibration(), "notes": [*self.table.said, *self.notes]}
        return {
            **self._rows(),
            "missing_values_in_training": estimator.encoder_.missing_,
            "split_random_state": self.split_random_state,
            "calibration": self.calibration(),
            **({} if self.models is None else {"verdict": self.models.verdict, "beaten_by": self.models.beaten_by}),
            "estimator": {"class": type(estimator).__name__, **estimator.all_settings()},
            "versions": versions(),
            "command": self.command,
            "notes": [*self.whole.said, *self.notes],
        }

    def _rows(self) -> dict[str, Any]:
        """Return where the rows come from, how they were split, and the scores of all that are tested on."""
        whole = self.in_files
        if whole is None:
            split = self.table.how_split(random_state=self.split_random_state)
            tested = {"test_rows": len(self.test), "test_scores": scores(self.estimator, self.test)}
            return {"data": facts_of(self.table), "split": split, **tested}
        split = f"each row by a hash of its number in the files, random state {self.split_random_state}"
        tested = {"test_rows": len(whole.test), "test_scores": whole.scores}
        return {"data": facts_of_files(whole.table), "split": split, **tested}


def facts_of(table: Table) -> dict[str, Any]:
    """Return what tells a table from others, and where it comes from."""
    return {
        "name": table.name,
        "target": str(table.y.name),
        "task": table.task,
        "sha256": table.sha256,
        "rows": len(table),
        **table.notes,
    }


def facts_of_files(table: StreamedTable) -> dict[str, Any]:
    """Return what tells a table in files from others, and where it comes from."""
    told = {"name": table.name, "target": str(table.y.name), "task": table.task, "rows": len(table)}
    return {**told, "files": table.X.files.paths, **table.notes}


def origin_of(opaque: Opaque, table: Table) -> dict[str, Any]:
    """Return what a ranking of these rows keeps of where it comes from: data, the model's scores, versions."""
    return {
        "data": facts_of(table),
        "test_rows": len(table),
        "test_scores": _scores_of(opaque),
        "versions": versions(),
    }


def _scores_of(opaque: Opaque) -> dict[str, float]:
    target, said = opaque.target, opaque.target.task.probabilities(opaque.outputs)
    if target.classes:
        return classification_scores(target.y, said, np.arange(len(target.classes)), target.weights)
    if target.task.link == "identity" and said.shape[1] == 1:
        return regression_scores(target.y, said[:, 0], target.weights)
    return {"loss": target.mean(opaque.baseline)}


def _intervals(estimator: Any, test: Table) -> np.ndarray | None:
    """Return the ends of each test row's interval, (n_rows, 2); None where the estimator gives none."""
    predict = getattr(estimator, "predict_interval", None)
    if predict is None:
        return None
    try:
        return np.asarray(predict(test.X, COVERAGE), float)
    except PermGradError:  # of an estimator that was fitted without what intervals need
        return None
