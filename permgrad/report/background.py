"""Some test rows that a results directory keeps: their values stand for what is not seen when a row is explained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from permgrad.errors import FileFormatError, reading

FILE = "background.parquet"
ROWS = 64


def write_background(X: pd.DataFrame, directory: Path) -> None:
    """Write 64 of the test rows, drawn at random, or all where they are fewer; text stays text."""
    write_rows(X.iloc[chosen_rows(len(X))], directory / FILE)


def write_rows(X: pd.DataFrame, path: Path) -> None:
    """Write rows as they are to a Parquet file; text stays text."""
    frame = X.reset_index(drop=True)
    mixed = [str(name) for name, column in frame.items() if column.dtype == np.dtype(object)]
    frame = frame.assign(**{name: frame[name].map(str, na_action="ignore") for name in mixed})
    frame.to_parquet(path, index=False)


def chosen_rows(n: int, most: int = ROWS) -> np.ndarray:
    """Return the positions of at most so many of `n` rows, drawn at random, ascending; of equal `n` the same."""
    return np.sort(np.random.default_rng(n).permutation(n)[:most])


def read_background(results: Path) -> pd.DataFrame:
    """Read what `write_background` wrote; see `read_rows`."""
    return read_rows(results, FILE)


def read_rows(results: Path, name: str) -> pd.DataFrame:
    """Read what `write_rows` wrote into a results directory.

    Raises
    ------
    FileFormatError
        If the directory has no such file, or it is damaged.
    """
    path = Path(results) / name
    if not path.is_file():
        raise FileFormatError(f"{results} has no {name}, which `permgrad rank` writes; rank the table again")
    with reading(path, "a table of test rows", "rank the table again"):
        return pd.read_parquet(path)
