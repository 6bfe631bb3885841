"""``permgrad rank``: train a network on a table and rank its columns."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from permgrad.cli._fitting import build_estimator, fit
from permgrad.cli._notes import notes_printed
from permgrad.cli._options import (
    PRESETS,
    SECONDS,
    SettingsApart,
    settings_options,
    shared_options,
    workers_option,
)
from permgrad.cli._saved_model import (
    check_formula,
    check_options,
    check_rows,
    facts_of_model,
    rank_model,
    write_ranked,
)
from permgrad.cli._shards import Shard, ShardOf, check_shard, parted, write_facts, write_shard
from permgrad.cli._shown import show_by_level, show_evaluation, show_ranking
from permgrad.cli._signals import stop_by_interrupt
from permgrad.cli._steps import Steps
from permgrad.cli._streamed import load_by_blocks, streams, write_by_blocks
from permgrad.cli._tables import load_table, show_table, take_reading
from permgrad.cli._written import write_or_keep

if TYPE_CHECKING:
    from permgrad.data.streamed import StreamedTable
    from permgrad.data.table import Table
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
    help="Named set of settings: default does best on many tables; fast is a smaller network for a first look; best"
    " averages five networks; published is the network of the paper.",
)
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="A saved Keras model (.keras) to rank instead of training one. The columns are its inputs, by order or by"
    " name, and all rows are test rows.",
)
@click.option(
    "--probes",
    type=click.IntRange(0, 1000),
    default=0,
    show_default=True,
    help="Shuffled copies of columns, trained and ranked with the others: the score that a column gets by chance.",
)
@click.option(
    "--trainings",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="Networks to train, each on its own split: mean scores, with intervals that describe the recipe.",
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
    help="Seconds after which nothing further is started; what was left out is said.",
)
@click.option(
    "--formula",
    type=click.Choice(["game", "last-in", "fused", "published"]),
    help="How columns are scored. game: Shapley values of the loss. last-in: permutation importance. published:"
    " permutation, Grad-CAM and ablation fused, as in the paper; fused: the same with newer choices."
    "  [default: game if it takes a few minutes at most, else last-in]",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.01,
    show_default=True,
    help="The game stops when the error of every score is at most this share of the loss that the network saves, or a"
    " sixth of the uncertainty from the test rows.",
)
@click.option(
    "--conditional", is_flag=True, help="Also compute p-values: permute among rows that are alike in the other columns."
)
@click.option("--groups", is_flag=True, help="Also rank groups of correlated columns, down to single columns.")
@click.option(
    "--by", metavar="COL", help="Also score and rank in each level of this column: by.csv, by_importance.csv."
)
@click.option(
    "--evaluate", is_flag=True, help="Compute p-values and groups, and test the ranking as `permgrad evaluate` does."
)
@click.option("--evaluate-timeout", type=SECONDS, metavar="S", help="Time limit for the tests, in seconds.")
@click.option(
    "--stream/--no-stream",
    default=None,
    help="Read Parquet files block by block, never all at once.  [default: if they would fill the memory]",
)
@workers_option
@click.option(
    "--devices",
    type=click.IntRange(1, 1000),
    metavar="N",
    help="Number of devices to split each training step between.",
)
@click.option(
    "--shard",
    type=ShardOf(),
    help="Do part I of N of the work: a share of the trainings or, for one network, of the columns (with --formula"
    " last-in). `permgrad merge` puts the parts together.",
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
    workers: int | None,
    shard: Shard | None,
    **settings: Any,  # the other options are the estimator's settings, by name
) -> None:
    """Train a hybrid network on TABLE and rank its columns.

    TABLE is a data set's name (see `permgrad datasets`) or a file: text with any separator, Parquet, Feather, JSON,
    Excel, Stata or SPSS; a directory of Parquet files, or a pattern in quotes. The preset decides every setting that
    you do not give. With --model, nothing is trained.
    """
    from permgrad.directories import new_directory
    from permgrad.parallel import workers as use_workers

    stop_by_interrupt()
    formula = None if formula is None else formula.replace("-", " ")
    if model is not None:
        check_options(click.get_current_context())
        check_formula(formula)
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
        by=by,
    )
    if shard is not None:
        check_shard(shard, steps, by_blocks=by_blocks)
    out = out or Path("results") / (data.name if shard is None else f"{data.name}-{shard.number}-of-{shard.of}")
    protected = [path for path in (table, model) if path is not None and Path(path).exists()]
    needs = BYTES_OF_RESULTS + BYTES_PER_COLUMN * len(data.features)
    with new_directory(out, overwrite=overwrite, protected=protected, needs=needs) as staging, use_workers(workers):
        show_table(data)
        if shard is None:
            ranking = _write(staging, data, model, task, split_random_state, settings, steps)
        elif model is None:
            write_shard(staging, shard, data, split_random_state, settings, steps)
        else:
            rank_model(model, data, task, parted(steps, shard, staging))
            write_facts(staging, shard, steps, data, {"model": facts_of_model(model), "task": task})
    if shard is not None:
        click.echo(f"\nshard {shard} is in {out}/; permgrad merge puts all {shard.of} together")
        return
    show_ranking(ranking)
    network = ", model/" if model is None else ""
    click.echo(f"\nresults in {out}/: report.html, ranking.csv, ranking.json{network} and pictures")


def _write(
    directory: Path,
    data: Table | StreamedTable,
    model: Path | None,
    task: str | None,
    split_random_state: int,
    settings: dict[str, Any],
    steps: Steps,
) -> FeatureRanking:
    """Rank in the way that options ask for, and write results."""
    from permgrad.data.streamed import StreamedTable

    if isinstance(data, StreamedTable):
        return write_by_blocks(directory, data, split_random_state, build_estimator(data, settings), steps)
    if model is None:
        return _write_ranking(directory, data, split_random_state, settings, steps)
    return write_ranked(directory, rank_model(model, data, task, steps), data)


def _write_ranking(
    directory: Path, data: Table, split_random_state: int, settings: dict[str, Any], steps: Steps
) -> FeatureRanking:
    """Train, rank, put to the test, and write all of it."""
    from permgrad.report.results import Results

    fitted = fit(data, split_random_state, settings, steps)
    estimator, test = fitted.estimator, fitted.test
    ranking, groups = steps.rank(estimator, test)
    ranking = steps.further_trainings(estimator, ranking, data, split_random_state, len(fitted.rows))
    evaluation = steps.put_to_the_test(estimator, ranking, fitted.rows, fitted.deciding, test)
    if evaluation is not None:
        show_evaluation(evaluation)
    parts = steps.by_level(estimator, ranking, test)
    if parts is not None:
        show_by_level(parts)
    command = shlex.join(["permgrad", *sys.argv[1:]])
    known: Any = {"groups": groups, "evaluation": evaluation, "command": command, "models": fitted.models}
    known |= {"notes": notes_printed(), "check": fitted.check}
    results = Results(estimator, ranking, data, test, split_random_state, **known)
    return write_or_keep(directory, replace(results, by=parts))
