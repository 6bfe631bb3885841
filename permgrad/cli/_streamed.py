"""``permgrad rank`` on Parquet files larger than memory: read block by block, fitted, scored and ranked."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from permgrad.cli._notes import notes_printed
from permgrad.cli._saved_model import write_ranking
from permgrad.cli._tables import OF_FILES, OF_ROWS, is_path

if TYPE_CHECKING:
    from pathlib import Path

    from permgrad.cli._steps import Steps
    from permgrad.data.streamed import StreamedTable
    from permgrad.importance.ranking import FeatureRanking

SHARE_OF_MEMORY = 0.25
"""Of the memory that is free, above which a table's values are not read all at once: on its way to a ranking a table is
there several times, raw, cleaned, in parts and encoded."""


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
    """Train, score on all test rows, rank on some of them, and write the ranking and the model."""
    from permgrad.errors import PermGradError
    from permgrad.estimators.saving import versions, write_estimator
    from permgrad.metrics.scores import scores
    from permgrad.report.background import ROWS, write_background

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
    tested = scores(estimator, test)
    ranking, groups = steps.rank(estimator, test)
    drawn = ranking.settings["drawn"]
    off = "" if drawn["reached"] is None else f"; half the widest interval is {drawn['reached']:.1%} of the total"
    click.echo(f"ranked on {drawn['rows']:,} of {drawn['of']:,} test rows, drawn at random{off}")
    told = {"name": data.name, "target": str(data.y.name), "task": data.task, "rows": len(data)}
    origin = {
        "data": {**told, "files": data.X.files.paths, **data.notes},
        "missing_values_in_training": estimator.encoder_.missing_,
        "split_random_state": split_random_state,
        "test_rows": len(test),
        "test_scores": tested,
        "estimator": {"class": type(estimator).__name__, **estimator.all_settings()},
        "versions": versions(),
        "command": shlex.join(["permgrad", *sys.argv[1:]]),
        "notes": [*data.said, *notes_printed()],
    }
    ranking = replace(ranking, settings={**ranking.settings, **origin})
    write_ranking(directory, ranking)
    if groups is not None:
        groups.table.to_csv(directory / "groups.csv", index=False)
        groups.save(directory / "groups.json")
    write_background(test.draw(ROWS, split_random_state)[0], directory)
    (directory / "model").mkdir()
    write_estimator(estimator, directory / "model", origin)
    return ranking
