"""The table that a command is given: a data set's name, or a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from permgrad.data.table import Table


def load_table(table: str, target: str | None, task: Any) -> Table:
    """Load a data set by its name, or read a file."""
    from permgrad.data.datasets import load_dataset
    from permgrad.data.table import Table
    from permgrad.errors import PermGradError

    if not Path(table).suffix and not Path(table).is_file():
        data = load_dataset(table)
        if target not in (None, data.y.name):
            raise PermGradError(f"the target of data set {table!r} is {data.y.name!r}; leave --target out")
        if task not in (None, data.task):
            raise PermGradError(f"the task of data set {table!r} is {data.task}; leave --task out")
        return data
    if target is None:
        raise PermGradError(f"which column of {table} is to be predicted? pass --target COLUMN")
    return Table.from_file(table, target, task=task)


def same_table(table: str | None, known: dict[str, Any]) -> Table:
    """Load the table that a ranking is of."""
    from permgrad.data.datasets import list_datasets
    from permgrad.errors import PermGradError

    named = known["name"] in set(list_datasets()["name"])
    if table is None and not named:
        raise PermGradError(
            f"the ranking is of a file called {known['name']!r}; name it: permgrad evaluate RESULTS FILE"
        )
    is_file = table is not None and (bool(Path(table).suffix) or Path(table).is_file())
    data = load_table(table or known["name"], known["target"] if is_file else None, None)
    if data.sha256 != known["sha256"]:
        raise PermGradError(
            f"the ranking is of a table with SHA-256 {known['sha256']}, {table or data.name} has {data.sha256}; pass"
            " the table that was ranked"
        )
    return data
