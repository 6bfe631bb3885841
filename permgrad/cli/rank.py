"""``permgrad rank``: train a network on a table and rank its columns."""

from __future__ import annotations

import shlex
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from permgrad.cli._notes import notes_printed
from permgrad.cli._options import PRESETS, SECONDS, SettingsApart, check_class_weight, settings_options, shared_options
from permgrad.cli._saved_model import check_options, check_rows, rank_model, write_ranking
from permgrad.cli._shown import show_by_level, show_evaluation, show_models, show_ranking
from permgrad.cli._signals import stop_by_interrupt
from permgrad.cli._steps import Steps
from permgrad.cli._streamed import load_by_blocks, streams, write_by_blocks
from permgrad.cli._tables import load_table, show_split, show_table, take_reading
from permgrad.cli.check import show_findings

if TYPE_CHECKING:
    from permgrad.data.streamed import StreamedTable
    from permgrad.data.table import Table
    from permgrad.estimators.hybrid import HybridClassifier, HybridRegressor
    from permgrad.importance.ranking import FeatureRanking


BYTES_OF_RESULTS, BYTES_PER_COLUMN = 20_000_000, 4096
"""What pictures and page take at most, and what a column adds to rankings, page and network."""


@click.command(cls=SettingsApart)
@shared_options
@click.option(
    "--preset",
    type=click.Choice(PRESETS),
    default="default",
    show_default=True,
    help="All settings by a name: of what does best on many tables, of a smaller network for a first look, of five"
    " networks whose predictions are averaged, or of the published network.",
)
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="A saved Keras model (.keras) to rank by instead of training one: the columns are its inputs, in their order"
    " or by name, and all rows are test rows.",
)
@click.option(
    "--probes",
    type=click.IntRange(0, 1000),
    default=0,
    show_default=True,
    help="Shuffled copies of columns to train and rank with: the score that a column gets for nothing.",
)
@click.option(
    "--trainings",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="Networks to train, each on a split of its own: mean scores, with intervals of what the recipe gives.",
)
@click.option("--stable", "trainings", flag_value=5, type=int, help="The same as --trainings 5.")
@click.option("--overwrite", is_flag=True, help="Replace an existing results directory.")
@click.option(
    "--branches",
    type=click.Choice(["both", "tabular", "image"]),
    default="both",
    show_default=True,
    help="What the network reads: the row, its image, or both.",
)
@click.option(
    "--n-repeats", type=click.IntRange(1, 100_000), default=5, show_default=True, help="Permutations of each column."
)
@click.option(
    "--timeout",
    type=SECONDS,
    metavar="S",
    help="Seconds after which no column's permutations are begun; those left out are marked.",
)
@click.option(
    "--formula",
    type=click.Choice(["game", "fused", "published"]),
    help="How columns are scored: by Shapley values of the loss, or by permutation, Grad-CAM and ablation made one"
    " score (the published way, or a later one). By default the first where it takes minutes at most, else by"
    " permutation alone.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.01,
    show_default=True,
    help="Walks of the game go on until no score is further off than this share of what the network saves.",
)
@click.option("--conditional", is_flag=True, help="Also permute among rows alike in the other columns: p-values.")
@click.option("--groups", is_flag=True, help="Also rank groups of correlated columns, down to single columns.")
@click.option(
    "--by", metavar="COL", help="Also score and rank in each level of this column: by.csv, by_importance.csv."
)
@click.option("--evaluate", is_flag=True, help="All of the above, and put the ranking to the test, as `evaluate` does.")
@click.option("--evaluate-timeout", type=SECONDS, metavar="S", help="Seconds for the tests.")
@click.option(
    "--stream/--no-stream",
    default=None,
    help="Read Parquet files block by block, never all at once.  [default: where they would fill the memory]",
)
@settings_options
def rank(
    table: str,
    target: str | None,
    task: Any,
    out: Path | None,
    model: Path | None,
    probes: int,
    trainings: int,
    overwrite: bool,
    split_random_state: int,
    n_repeats: int,
    timeout: float | None,
    formula: str | None,
    tolerance: float,
    conditional: bool,
    groups: bool,
    by: str | None,
    evaluate: bool,
    evaluate_timeout: float | None,
    stream: bool | None,
    **settings: Any,  # the other options are the estimator's settings, by name
) -> None:
    """Train a hybrid network on TABLE and rank its columns.

    TABLE is a data set's name (see `permgrad datasets`) or a file: text with any separator, Parquet, Feather, JSON,
    Excel, Stata or SPSS; a directory of Parquet files, or a pattern in quotes. What no option says of the network is
    decided by the preset. With --model, nothing is trained.
    """
    from permgrad.data.streamed import StreamedTable
    from permgrad.directories import new_directory

    stop_by_interrupt()
    if model is not None:
        check_options(click.get_current_context())
    told = take_reading(settings)
    by_blocks = model is None and streams(table, stream)
    data: Any = load_by_blocks(table, target, task, told) if by_blocks else load_table(table, target, task, told)
    if model is not None:
        check_rows(data)
    if probes:
        if by_blocks:
            raise click.UsageError("--probes is for tables in memory; leave it out, or pass --no-stream")
        data = data.with_probes(probes, random_state=settings["random_state"])
    steps = Steps(
        settings["random_state"],
        n_repeats,
        timeout,
        formula,
        tolerance,
        conditional,
        groups,
        evaluate,
        evaluate_timeout,
        trainings,
        by,
    )
    out = out or Path("results") / data.name
    protected = [path for path in (table, model) if path is not None and Path(path).exists()]
    needs = BYTES_OF_RESULTS + BYTES_PER_COLUMN * len(data.features)
    with new_directory(out, overwrite=overwrite, protected=protected, needs=needs) as staging:
        show_table(data)
        if isinstance(data, StreamedTable):
            ranking = write_by_blocks(staging, data, split_random_state, build_estimator(data, settings), steps)
        elif model is None:
            ranking = _write_ranking(staging, data, split_random_state, settings, steps)
        else:
            known: Any = {"n_repeats": n_repeats, "timeout": timeout, "conditional": conditional}
            ranking = rank_model(model, data, task, random_state=settings["random_state"], **known)
            write_ranking(staging, ranking)
    show_ranking(ranking)
    written = "report.html, ranking.csv, ranking.json, model/ and pictures"
    written = "ranking.csv, ranking.json, ranking.png and model/" if by_blocks else written
    click.echo(f"\nresults in {out}/: {written if model is None else 'ranking.csv, ranking.json, ranking.png'}")


def _write_ranking(
    directory: Path, data: Table, split_random_state: int, settings: dict[str, Any], steps: Steps
) -> FeatureRanking:
    """Train, rank, put to the test, and write all of it; what is not possible fails before training."""
    from permgrad.errors import PermGradError
    from permgrad.evaluation.recipe import rows_to_fit
    from permgrad.evaluation.reference_models import reference_models
    from permgrad.report.directory import write_results
    from permgrad.report.results import Results

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
    ranking, groups = steps.rank(estimator, test)
    ranking = steps.further_trainings(estimator, ranking, data, split_random_state, len(rows))
    evaluation = steps.put_to_the_test(estimator, ranking, rows, deciding, test)
    if evaluation is not None:
        show_evaluation(evaluation)
    parts = steps.by_level(estimator, ranking, test)
    if parts is not None:
        show_by_level(parts)
    command = shlex.join(["permgrad", *sys.argv[1:]])
    results = Results(
        estimator, ranking, data, test, split_random_state, groups, evaluation, command, models, notes_printed(), check
    )
    try:
        return write_results(directory, replace(results, by=parts))
    except (OSError, PermGradError):  # such as a full disk: the ranking is what took the time
        _rescue(results.with_settings().ranking)
        raise


def _rescue(ranking: FeatureRanking) -> None:
    """Show a ranking that cannot be written where it should be, and keep it where there is room."""
    from permgrad.errors import PermGradError

    show_ranking(ranking)
    kept = Path(tempfile.mkdtemp(prefix="permgrad-")) / "ranking.json"
    try:
        ranking.save(kept)
    except PermGradError as error:
        click.echo(f"the ranking could not be kept: {error}", err=True)
    else:
        click.echo(f"the ranking is kept in {kept}", err=True)


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
