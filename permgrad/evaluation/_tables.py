"""The referee's tables: their columns, of which type, and CSV files that give back what was written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from permgrad.data.reading import read_csv
from permgrad.errors import reading

SCHEMAS: dict[str, dict[str, type]] = {
    "curves": {
        "ranking": str,
        "replacement": str,
        "curve": str,
        "order": str,
        "k": int,
        "share": float,
        "loss": float,
        "score": float,
    },
    "areas": {
        "ranking": str,
        "replacement": str,
        "deletion_most": float,
        "deletion_least": float,
        "difference": float,
        "std_error": float,
        "normalised": float,
        "better_p": float,
    },
    "chance": {"ranking": str, "replacement": str, "mean": float, "low": float, "high": float},
    "retrain": {
        "ranking": str,
        "share": float,
        "removed": int,
        "kept": int,
        "seed": int,
        "loss": float,
        "score": float,
    },
    "sanity": {
        "test": str,
        "step": int,
        "layers": str,
        "ranking": str,
        "spearman": float,
        "overlap": float,
        "by_chance": float,
    },
}


def evaluation_table(name: str, rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return the rows as the table of this name; one without rows has its columns too."""
    return pd.DataFrame(list(rows), columns=list(SCHEMAS[name])).astype(_types(name))


def write_table(table: pd.DataFrame, path: Path, *, index: bool = False) -> None:
    """Write a table as CSV, every number with all its digits."""
    table.to_csv(path, index=index)


def read_table(name: str, path: Path) -> pd.DataFrame:
    """Read a table of this name. A text such as "NA" stays a text."""
    with reading(path, f"a table of {name}"):
        table = read_csv(path, dtype=_types(name), keep_default_na=False, na_values=[""])
        return table[list(SCHEMAS[name])]


def read_matrix(path: Path) -> pd.DataFrame:
    """Read a square table with the same names on both sides."""
    with reading(path, "a square table"):
        table = read_csv(path, dtype={0: str}, index_col=0, keep_default_na=False, na_values=[""])
        return table.set_axis(table.columns.tolist(), axis=0).astype(float)


def _types(name: str) -> dict[str, Any]:
    return {column: object if kind is str else kind for column, kind in SCHEMAS[name].items()}
