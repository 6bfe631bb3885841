"""``permgrad rank``: train a network on a table and rank its columns."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from permgrad.cli.options import no_classes, shared_options
from permgrad.cli.shown import show_evaluation, show_ranking
from permgrad.cli.tables import load_table

if TYPE_CHECKING:
    from permgrad.data.table import Table
    from permgrad.estimators.hybrid import HybridClassifier, HybridRegressor
    from permgrad.importance.ranking import FeatureRanking


@click.command()
@shared_options
@click.option("--overwrite", is_flag=True, help="Replace an existing results directory.")
@click.option("--branches", type=click.Choice(["both", "tabular", "image"]), default="both", show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True)
@click.option("--learning-rate", type=float, default=1e-3, show_default=True, help="Peak of the one-cycle schedule.")
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True, help="Permutations of each feature.")
@click.option(
    "--timeout",
    type=click.FloatRange(0),
    metavar="S",
    help="Seconds after which no feature's permutations are begun; those left out are marked.",
)
@click.option("--formula", type=click.Choice(["permgrad", "published"]), default="permgrad", show_default=True)
@click.option("--conditional", is_flag=True, help="Also permute among rows alike in the other columns: p-values.")
@click.option("--groups", is_flag=True, help="Also rank groups of correlated columns, down to their members.")
@click.option("--evaluate", is_flag=True, help="All of the above, and put the ranking to the test, as `evaluate` does.")
@click.option("--evaluate-timeout", type=click.FloatRange(0), metavar="S", help="Seconds for the tests.")
def rank(table: str, target: str | None, out: Path | None, overwrite: bool, **options: Any) -> None:
    """Train a hybrid network on TABLE and rank its columns.

    TABLE is a data set's name (see `permgrad datasets`), a CSV file or a Parquet file.
    """
    from permgrad.files import new_directory

    data = load_table(table, target, options["task"])
    out = out or Path("results") / data.name
    with new_directory(out, overwrite=overwrite) as staging:
        click.echo(f"{data.name}: {len(data)} rows × {len(data.features)} features, {data.task}")
        if "note" in data.notes:
            click.echo(f"  {data.notes['note']}")
        ranking = _rank(data, staging, options)
    show_ranking(ranking)
    click.echo(f"\nresults in {out}/: report.html, ranking.csv, ranking.json, model/ and pictures")


def _rank(data: Table, directory: Path, options: dict[str, Any]) -> FeatureRanking:
    from permgrad.evaluation.referee import evaluate_ranking
    from permgrad.report.directory import write_results

    train, val, test = data.split(random_state=options["split_random_state"])
    _check_feasible(data, test, options)
    estimator = build_estimator(data, options).fit(train.X, train.y, validation_data=(val.X, val.y))
    missing = estimator.encoder_.missing
    if missing:
        counts = ", ".join(f"{name} {count}" for name, count in missing.items())
        click.echo(f"missing training values, filled with the median or a category of their own: {counts}")
    ranking, groups = _rankings(estimator, test, options)
    evaluation = None
    if options["evaluate"]:
        evaluation = evaluate_ranking(
            estimator,
            ranking,
            train,
            test,
            validation_data=val,
            random_state=options["random_state"],
            timeout=options["evaluate_timeout"],
            verbose=True,
        )
        show_evaluation(evaluation)
    return write_results(
        directory,
        estimator,
        ranking,
        data,
        test,
        split_random_state=options["split_random_state"],
        groups=groups,
        evaluation=evaluation,
        command=shlex.join(["permgrad", *sys.argv[1:]]),
    )


def _check_feasible(data: Table, test: Table, options: dict[str, Any]) -> None:
    """Raise before training for what could not be done after it."""
    from permgrad.errors import PermGradError
    from permgrad.importance.grouping.correlated import MOST_FEATURES
    from permgrad.importance.permuting.conditional import LEAST_ROWS

    if options["conditional"] and len(test) < LEAST_ROWS:
        raise PermGradError(
            f"--conditional needs at least {LEAST_ROWS} test rows, this table's test part has {len(test)}"
        )
    if options["groups"] and len(data.features) > MOST_FEATURES:
        raise PermGradError(f"--groups clusters at most {MOST_FEATURES:,} columns, got {len(data.features):,}")


def _rankings(
    estimator: HybridClassifier | HybridRegressor, test: Table, options: dict[str, Any]
) -> tuple[FeatureRanking, FeatureRanking | None]:
    """Rank single columns and, where asked for, groups; all within one time limit."""
    from permgrad.importance.budget import Budget
    from permgrad.importance.formula import PUBLISHED, Formula
    from permgrad.importance.grouping.correlated import MOST_FEATURES, THRESHOLDS
    from permgrad.importance.permuting.conditional import LEAST_ROWS

    evaluate = options["evaluate"]
    conditional = options["conditional"] or (evaluate and len(test) >= LEAST_ROWS)
    settings: dict[str, Any] = {
        "n_repeats": options["repeats"],
        "formula": PUBLISHED if options["formula"] == "published" else Formula(),
        "budget": Budget(timeout=options["timeout"]).begin(),
    }
    ranking = estimator.rank_features(test.X, test.y, conditional=conditional, **settings)
    if not options["groups"] and (not evaluate or len(test.features) > MOST_FEATURES):
        return ranking, None
    groups = estimator.rank_features(test.X, test.y, groups="correlated", **settings)
    if not groups.children:
        click.echo(f"no columns correlate by {THRESHOLDS[0]} or more: there are no groups")
    return ranking, groups if groups.children else None


def build_estimator(data: Table, options: dict[str, Any]) -> HybridClassifier | HybridRegressor:
    """Build the estimator that a table's task and the options ask for."""
    from permgrad.estimators.hybrid import HybridClassifier, HybridRegressor

    branches = ("tabular", "image") if options["branches"] == "both" else (options["branches"],)
    settings: dict[str, Any] = {
        "branches": branches,
        "layout": options["layout"],
        "image_size": options["size"],
        "unique": not options["shared_pixels"],
        "epochs": options["epochs"],
        "batch_size": options["batch_size"],
        "learning_rate": options["learning_rate"],
        "precision": options["precision"],
        "random_state": options["random_state"],
        "verbose": True,
    }
    if data.task == "classification":
        return HybridClassifier(**settings, class_weight=options["class_weight"])
    if options["class_weight"]:
        raise no_classes()
    return HybridRegressor(**settings)
