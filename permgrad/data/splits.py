"""Parts of a table: no class with more than so many rows in a part; parts kept as files, and read from then on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from permgrad.data.checks import check_columns
from permgrad.data.reading import read_csv
from permgrad.data.table import Table
from permgrad.errors import PermGradError, listing, reading
from permgrad.files import new_file


def capped_split(y: Any, caps: Sequence[int] = (5000, 1000, 1000), *, random_state: int = 0) -> tuple[np.ndarray, ...]:
    """Split rows class by class, with a maximum number of rows per class in each part.

    Parameters
    ----------
    y : array of shape (n_rows,)
        Labels.
    caps : sequence of int
        Maximum number of rows of one class in train, validation and test. A class with fewer rows than their sum is
        split in their proportion, to the nearest row, with at least one row in each part.
    random_state : int

    Returns
    -------
    tuple of ndarray
        Row numbers of each part, sorted.

    Raises
    ------
    PermGradError
        If a cap is not positive, or a class has fewer rows than there are parts.

    Examples
    --------
    >>> train, val, test = pg.capped_split(table.y, caps=(20, 5, 5))
    >>> len(train), len(val), len(test)
    (60, 15, 15)
    """
    labels, sizes = np.asarray(y), np.asarray(caps)
    if len(sizes) < 2 or sizes.min() < 1:
        raise PermGradError(f"caps must be two or more positive numbers of rows, got {tuple(caps)}")
    classes, counts = np.unique(labels, return_counts=True)
    small = classes[counts < len(sizes)]
    if len(small):
        raise PermGradError(f"each class needs a row for each of {len(sizes)} parts, not so: {listing(small.tolist())}")
    rng = np.random.default_rng(random_state)
    parts: list[list[np.ndarray]] = [[] for _ in sizes]
    for label in classes:
        rows = rng.permutation(np.flatnonzero(labels == label))[: sizes.sum()]
        for part, drawn in zip(parts, np.split(rows, np.cumsum(_shares(len(rows), sizes))[:-1]), strict=True):
            part.append(drawn)
    return tuple(np.sort(np.concatenate(part)) for part in parts)


def _shares(n: int, sizes: np.ndarray) -> np.ndarray:
    """Return `n` rows dealt out in proportion to `sizes`, by largest remainders, at least one each."""
    exact = n * sizes / sizes.sum()
    dealt = np.maximum(np.floor(exact).astype(int), 1)
    while dealt.sum() < n:
        dealt[np.argmax(exact - dealt)] += 1
    while dealt.sum() > n:
        dealt[np.argmax(np.where(dealt > 1, dealt - exact, -np.inf))] -= 1
    return dealt


def read_or_write_splits(paths: Mapping[str, str | Path], tables: Mapping[str, Table]) -> dict[str, Table]:
    """Read the parts of a split from their files; if there are none, write them.

    Parameters
    ----------
    paths : mapping of str to path
        Part ("train", "test", ...) → CSV file. Absent directories are made.
    tables : mapping of str to Table
        The parts to write if no file exists. Existing files may hold other rows (another split), but must have the same
        columns, and the same classes or task.

    Returns
    -------
    dict of Table
        The parts as the files have them. Numbers are written without loss.

    Raises
    ------
    PermGradError
        If only some of the files exist, a file has other columns or labels, or two parts share a row.

    Examples
    --------
    >>> paths = {"train": "train.csv", "test": "test.csv"}
    >>> parts = pg.read_or_write_splits(paths, {"train": train, "test": test})
    >>> len(parts["train"]), len(parts["test"])
    (90, 30)
    """
    files = {part: Path(path) for part, path in paths.items()}
    absent = [part for part, path in files.items() if not path.is_file()]
    if len(absent) not in (0, len(files)):
        raise PermGradError(
            f"{absent[0]}: no file {files[absent[0]]}, though other parts of this split are there;"
            " restore it, or remove all of them to have them written anew"
        )
    for part in absent:
        _write(tables[part], files[part])
    parts = {part: _read(files[part], tables[part]) for part in files}
    _check_apart(parts)
    return parts


def _write(table: Table, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PermGradError(f"cannot make {path.parent}: {error.strerror}; choose a writable path") from error
    if str(table.y.name) in table.features:
        raise PermGradError(f"a column of features is called {table.y.name!r} as the target is; rename one of them")
    with new_file(path) as temporary:
        table.X.assign(**{str(table.y.name): table.y}).to_csv(temporary, index=False)


def _read(path: Path, expected: Table) -> Table:
    with reading(path, "a table of a split"):
        frame = read_csv(path)
    kinds = {name: kind for name, kind in expected.kinds.items() if name in expected.features}
    facts: dict[str, Any] = {"task": expected.task, "name": expected.name, "notes": expected.notes}
    part = Table.from_frame(frame, str(expected.y.name), kinds=kinds, **facts)
    check_columns(part.features, expected.features, str(path))
    if part.classes != expected.classes:
        raise PermGradError(f"{path} must have the classes {listing(expected.classes or ())}, got {part.classes}")
    return part


def _check_apart(tables: Mapping[str, Table]) -> None:
    rows = pd.concat([table.X.assign(part=part) for part, table in tables.items()], ignore_index=True)
    # A table may hold a row twice; that is its own affair as long as both are in one part.
    parts = rows.groupby([name for name in rows.columns if name != "part"], dropna=False, sort=False)["part"]
    both = next((names for names in (list(each.unique()) for _, each in parts) if len(names) > 1), None)
    if both:
        raise PermGradError(f"the files of {both[0]} and {both[1]} share a row; make the split anew")
