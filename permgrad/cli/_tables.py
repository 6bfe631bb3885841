"""The table that a command is given: a data set's name, or a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from permgrad.data.streamed import StreamedTable
    from permgrad.data.table import Table


OF_FILES = ("sep", "decimal", "encoding", "header", "na", "sheet", "test")
OF_ROWS = ("group", "time", "weight", "split")
OF_TABLES = ("drop", "kinds", "rare", *OF_ROWS)


def take_reading(options: dict[str, Any]) -> dict[str, Any]:
    """Take the options that say how a table is read out of others; return those that say something."""
    taken = {name: options.pop(name) for name in (*OF_FILES, *OF_TABLES)}
    taken["kinds"] = dict(taken["kinds"])
    nothing: tuple[Any, ...] = (None, (), {}, "error")
    return {name: value for name, value in taken.items() if value not in nothing}


def show_table(data: Table | StreamedTable) -> None:
    """Print a table's size, and what was made of it."""
    click.echo(f"{data.name}: {len(data)} rows × {len(data.features)} features, {data.task}")
    for line in [data.notes["note"]] if "note" in data.notes else []:
        click.echo(f"  {line}")
    for line in data.said:
        click.echo(f"  {line}")


def show_split(data: Table, random_state: int) -> None:
    """Print how rows are split, where that is not at random."""
    if {*data.facts.known()} - {"weights"}:
        click.echo(f"  {data.how_split(random_state=random_state)}")


def load_table(table: str, target: str | None, task: Any, told: dict[str, Any] | None = None) -> Table:
    """Load a data set by its name, or read a file.

    Parameters
    ----------
    table, target, task
        As on the command line.
    told : dict, optional
        Arguments of `Table.from_file` that say how it is read.
    """
    from permgrad.data.datasets import load_dataset
    from permgrad.data.table import Table
    from permgrad.errors import PermGradError

    told = told or {}
    if not is_path(table):
        of_files = [name for name in OF_FILES if name in told]
        if of_files:
            raise PermGradError(f"--{of_files[0]} is for files; leave it out for the data set {table!r}")
        data = load_dataset(table)
        if target not in (None, data.y.name):
            raise PermGradError(f"the target of data set {table!r} is {data.y.name!r}; leave --target out")
        if task not in (None, data.task):
            raise PermGradError(f"the task of data set {table!r} is {data.task}; leave --task out")
        facts: dict[str, Any] = {"task": data.task, "name": data.name, "notes": data.notes | {"read": told}}
        frame = data.X.assign(**{str(data.y.name): data.y})
        return Table.from_frame(frame, str(data.y.name), **facts, **told) if told else data
    if target is None:
        raise PermGradError(f"which column of {table} should be predicted? pass --target COLUMN")
    return Table.from_file(table, target, task=task, notes={"path": str(Path(table).resolve())}, **told)


def is_path(table: str) -> bool:
    """Tell whether a command is given files, and not a data set's name."""
    return bool(Path(table).suffix) or Path(table).exists() or any(letter in table for letter in "*?/")


def same_table(table: str | None, known: dict[str, Any], results: Path) -> Table:
    """Load the table that a ranking is of.

    Parameters
    ----------
    table : str, optional
        As on the command line; without it, what the ranking remembers of its file is looked for.
    known : dict
        What the ranking knows of its data.
    results : Path
        Its directory.
    """
    from permgrad.data.datasets import list_datasets
    from permgrad.errors import PermGradError

    if "sha256" not in known:
        raise PermGradError(
            "the table was ranked block by block (--stream), but tests need a table in memory; rank fewer rows, so that"
            " they fit, and evaluate that"
        )
    named = known["name"] in set(list_datasets()["name"])
    if table is None and not named:
        table = _remembered(known, results)
    is_file = table is not None and is_path(table)
    task = known.get("task") if is_file else None
    data = load_table(table or known["name"], known["target"] if is_file else None, task, known.get("read"))
    if "probes" in known:
        data = data.with_probes(known["probes"]["n_probes"], random_state=known["probes"]["random_state"])
    if data.sha256 != known["sha256"]:
        where = table or data.name
        raise PermGradError(
            f"the ranking is of a table with SHA-256 {known['sha256']}, {where} has {data.sha256}; pass"
            " the table that was ranked"
        )
    return data


def _remembered(known: dict[str, Any], results: Path) -> str:
    """Return where a ranking's file is: where it was, in or beside the results, or here. Its hash tells if it is that.

    Its path is kept, and not its rows: tests train anew, on all of them, and results are handed around, where a copy of
    the table would be one more than its owner knows of.
    """
    from permgrad.errors import PermGradError

    if "path" not in known:
        raise PermGradError(f"the ranking is of a table called {known['name']!r} that came from no file; name the file")
    path = Path(known["path"])
    for place in (path, *(directory / path.name for directory in (results, results.resolve().parent, Path()))):
        if place.exists() or (place == path and any(letter in path.name for letter in "*?")):
            return str(place)
    raise PermGradError(
        f"the ranked file {path.name!r} is neither in {path.parent} nor beside the results; say where it is: permgrad"
        " evaluate RESULTS FILE, or permgrad merge ... --table FILE"
    )
