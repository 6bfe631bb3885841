"""The network that `rank` trains: its settings, its rows, and what is found out on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from permgrad.cli._options import check_class_weight
from permgrad.cli._shown import show_models
from permgrad.cli._tables import show_split
from permgrad.cli.check import show_findings

if TYPE_CHECKING:
    from permgrad.cli._steps import Steps
    from permgrad.data.checkup import TableCheck
    from permgrad.data.streamed import StreamedTable
    from permgrad.data.table import Table
    from permgrad.estimators.hybrid import HybridClassifier, HybridRegressor
    from permgrad.evaluation.reference_models import ReferenceModels


@dataclass(frozen=True)
class Fitted:
    """A network, the rows that it was fitted on, those that decided when to stop, and what stands beside it."""

    estimator: HybridClassifier | HybridRegressor
    rows: Table
    deciding: Table | None
    test: Table
    models: ReferenceModels
    check: TableCheck


def fit(data: Table, split_random_state: int, settings: dict[str, Any], steps: Steps) -> Fitted:
    """Train on a table's rows, and show what is found on the way; what is not possible fails before training."""
    from permgrad.evaluation.recipe import rows_to_fit
    from permgrad.evaluation.reference_models import reference_models

    train, val, test = data.split(random_state=split_random_state)
    show_split(data, split_random_state)
    steps.check(data, test)
    estimator = build_estimator(data, settings)
    check = data.check(random_state=split_random_state)
    if check.findings:
        show_findings(check)
        click.echo()
    click.echo(estimator.description())
    rows, deciding = rows_to_fit(estimator, train, val)
    estimator.fit(rows, validation_data=deciding)
    missing = estimator.encoder_.missing_
    if missing:
        counts = ", ".join(f"{name} {count}" for name, count in missing.items())
        click.echo(f"missing training values, filled with the median or a category of their own: {counts}")
    models = reference_models(estimator, rows, test, validation_data=deciding, random_state=settings["random_state"])
    show_models(models)
    return Fitted(estimator, rows, deciding, test, models, check)


def build_estimator(data: Table | StreamedTable, settings: dict[str, Any]) -> HybridClassifier | HybridRegressor:
    """Build the estimator of a table's task with these settings.

    Parameters
    ----------
    data : Table or StreamedTable
    settings : dict
        Of the estimator, but that ``"branches"`` may be "both", and ``"class_weight"`` is there for regression too.
    """
    from permgrad.estimators.hybrid import HybridClassifier, HybridRegressor

    check_class_weight(settings["class_weight"], data.task)
    branches = ("tabular", "image") if settings["branches"] == "both" else (settings["branches"],)
    settings = {**settings, "branches": branches, "verbose": True}
    if data.task == "classification":
        return HybridClassifier(**settings)
    settings.pop("class_weight")
    return HybridRegressor(**settings)
