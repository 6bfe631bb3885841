"""``permgrad rank`` on Parquet files larger than memory: read block by block, fitted, scored and ranked."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Any

import click

from permgrad.cli._notes import notes_printed
from permgrad.cli._shown import show_models
from permgrad.cli._tables import OF_FILES, OF_ROWS, is_path
from permgrad.cli._written import write_or_keep

if TYPE_CHECKING:
    from pathlib import Path

    from permgrad.cli._steps import Steps
    from permgrad.data.streamed import StreamedTable
    from permgrad.importance.ranking import FeatureRanking

SHARE_OF_MEMORY = 0.25
"""Of the memory that is free, above which a table's values are not read all at once: on its way to a ranking a table is
there several times, raw, cleaned, in parts and encoded."""
ROWS_OF_PAGE = 10_000
"""Test rows, at most, that curves, effects and explained rows are of."""


def streams(table: str, stream: bool | None) -> bool:
    """Tell whether a table is to be read block by block: as told, or where its values would fill the memory.

    Of other tables than Parquet files, and of files that cannot be read, what reads them whole says what is wrong.
    """
    if stream is not None:
        return stream
    if not is_path(table):
        return False
    from permgrad.backend import free_memory
    from permgrad.data.in_files import ParquetFiles, parquet_paths
    from permgrad.errors import PermGradError

    try:
        n_bytes, most = ParquetFiles(parquet_paths(table)).n_bytes, SHARE_OF_MEMORY * free_memory()
    except PermGradError:
        return False
    if n_bytes > most:
        click.echo(
            f"the files' values take {n_bytes / 1e9:,.1f} GB, more than a quarter of the memory that is free: they are"
            " read block by block (--no-stream reads them all at once)"
        )
    return n_bytes > most


def load_by_blocks(table: str, target: str | None, task: Any, told: dict[str, Any]) -> StreamedTable:
    """Look at the files; see `load_table`."""
    from permgrad.data.streamed import StreamedTable
    from permgrad.errors import PermGradError

    if target is None:
        raise PermGradError(f"which column of {table} should be predicted? pass --target COLUMN")
    wrong = [f"--{name}" for name in (*OF_FILES, *OF_ROWS, "rare") if name in told and name != "na"]
    if wrong:
        raise PermGradError(
            f"{', '.join(wrong)} cannot be combined with Parquet files that are read block by block; leave it out"
        )
    return StreamedTable.from_files(table, target, task=task, **told)


def write_by_blocks(
    directory: Path, data: StreamedTable, split_random_state: int, estimator: Any, steps: Steps
) -> FeatureRanking:
    """Train, score on all test rows, rank on some of them, and write all of it, its page of rows that are drawn."""
    from permgrad.errors import PermGradError
    from permgrad.evaluation.reference_models import reference_models
    from permgrad.metrics.scores import scores
    from permgrad.report.results import InFiles, Results

    if steps.trainings > 1:
        raise PermGradError("--trainings are for tables in memory; leave it out, or pass --no-stream")
    if steps.evaluate:
        raise PermGradError(
            "--evaluate trains on tables in memory; rank fewer rows, so that they fit, and evaluate that"
        )
    train, val, test = data.split(random_state=split_random_state)
    steps.check(data, test)
    click.echo(estimator.description())
    estimator.fit(train, validation_data=val)
    in_files = InFiles(data, test, scores(estimator, test))
    ranking, groups = steps.rank(estimator, test)
    _show_drawn(ranking)
    rows = train.sample(split_random_state)
    drawn = rows.more_rows(test.draw(ROWS_OF_PAGE, split_random_state))
    models = reference_models(estimator, rows, drawn, random_state=steps.random_state)
    show_models(models)
    said = (
        f"What is beside the ranking and the scores is of rows drawn at random: the check-up of {len(rows):,} training"
        f" rows; curves, effects, explained rows and the models beside the network of {len(drawn):,} test rows."
    )
    known: Any = {"groups": groups, "models": models, "notes": (*notes_printed(), said), "in_files": in_files}
    command = shlex.join(["permgrad", *sys.argv[1:]])
    return write_or_keep(
        directory, Results(estimator, ranking, rows, drawn, split_random_state, command=command, **known)
    )


def _show_drawn(ranking: FeatureRanking) -> None:
    """Say on how many rows the ranking is."""
    drawn = ranking.settings["drawn"]
    off = "" if drawn["reached"] is None else f"; half the widest interval is {drawn['reached']:.1%} of the total"
    click.echo(f"ranked on {drawn['rows']:,} of {drawn['of']:,} test rows, drawn at random{off}")
