"""A directory with ``data.csv`` and ``labels.csv``, as gene expression tables are shared → a `Table` in float32.

``data.csv`` has a column for each gene behind one of sample names; ``labels.csv`` has the sample and its class. Read by
pyarrow block by block: pandas takes a minute for 20,531 columns, and twice the memory.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv as arrow_csv
from tqdm.auto import tqdm

from permgrad.data.table import Table
from permgrad.errors import PermGradError, listing, reading

TABLE = "a readable table of samples and genes"
BLOCK_BYTES = 16 * 2**20
"""Of text that is parsed at a time; it must hold one row."""


def read_expression(directory: str | Path, *, target: str = "Class", verbose: bool = False, **keywords: Any) -> Table:
    """Read ``data.csv`` and ``labels.csv``.

    Parameters
    ----------
    directory : path
    target : str
        What the second column of ``labels.csv`` must be called.
    verbose : bool
        Show a progress bar.
    **keywords
        Of `Table`, such as ``name``.

    Returns
    -------
    Table
        Classification; X of shape (n_samples, n_genes), float32.

    Raises
    ------
    PermGradError
        If a file is absent or no such table, a value is no number or missing, the label file has no header row, or its
        samples are not those of the table in the same order.
    """
    directory = Path(directory)
    samples, genes, values = _read_values(directory / "data.csv", verbose)
    labels = _read_labels(directory / "labels.csv", target)
    if list(labels["sample"]) != samples:
        at = next(
            (i for i, (a, b) in enumerate(zip(samples, labels["sample"], strict=False)) if a != b),
            min(len(samples), len(labels)),
        )
        there = [names[at] if at < len(names) else "none" for names in (samples, list(labels["sample"]))]
        raise PermGradError(
            f"{directory}: labels.csv must name the samples of data.csv in their order; in row {at + 1} data.csv has"
            f" {there[0]!r}, labels.csv {there[1]!r}"
        )
    X = pd.DataFrame(values, columns=genes)
    return Table(X, labels["label"].rename(target), task="classification", **keywords)


def _read_values(path: Path, verbose: bool) -> tuple[list[str], list[str], np.ndarray]:
    """Return samples, genes and values (n_samples, n_genes), float32."""
    first, *genes = _header(path) or [""]
    if not genes:
        raise PermGradError(f"{path} must have a column of sample names and one for each gene, got {first!r} alone")
    repeated = pd.Index(genes)[pd.Index(genes).duplicated()].unique()
    if len(repeated):
        raise PermGradError(f"{path}: gene names must differ, twice there are {listing(repeated)}")
    types = {first: pa.string(), **dict.fromkeys(genes, pa.float32())}
    samples: list[str] = []
    blocks: list[np.ndarray] = []
    with reading(path, TABLE), pa.OSFile(str(path)) as file, _progress(path, verbose) as bar:
        reader = arrow_csv.open_csv(
            file,
            read_options=arrow_csv.ReadOptions(block_size=BLOCK_BYTES),
            convert_options=arrow_csv.ConvertOptions(column_types=types),
        )
        for batch in reader:
            samples += batch.column(0).to_pylist()
            blocks.append(np.stack([_numbers(batch.column(j)) for j in range(1, batch.num_columns)], axis=1))
            bar.update(file.tell() - bar.n)
    if not blocks:
        raise PermGradError(f"{path} has a header row and no samples")
    values = np.concatenate(blocks)
    if not np.isfinite(values).all():
        row, gene = np.argwhere(~np.isfinite(values))[0]
        raise PermGradError(f"{path}: sample {samples[row]!r} has no finite number for gene {genes[gene]!r}")
    return samples, genes, values


def _numbers(column: Any) -> np.ndarray:
    return column.to_numpy(zero_copy_only=False)  # what is missing becomes NaN


def _header(path: Path) -> list[str]:
    with reading(path, TABLE), path.open(encoding="utf-8", newline="") as file:
        return next(csv.reader(file), [""])


def _progress(path: Path, verbose: bool) -> Any:
    size = path.stat().st_size
    return tqdm(total=size, desc=f"reading {path.name}", unit="B", unit_scale=True, disable=not verbose)


def _read_labels(path: Path, target: str) -> pd.DataFrame:
    header = _header(path)
    if len(header) != 2 or header[1] != target:
        raise PermGradError(
            f"{path} must begin with a header row of two columns, a sample's name and {target!r}, got {header}"
        )
    return pd.DataFrame(_pairs(path), columns=["sample", "label"])


def _pairs(path: Path) -> list[list[str]]:
    """Return the rows below a header row of two columns; pandas would take a third column for an index."""
    with reading(path, TABLE), path.open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file)
        next(lines)
        pairs = [line for line in lines if line]
    wrong = next((line for line in pairs if len(line) != 2), None)
    if wrong:
        raise PermGradError(f"{path} must have two columns in every row, found {len(wrong)} in {','.join(wrong[:4])!r}")
    return pairs


def rename_columns(table: Table, path: str | Path) -> Table:
    """Give columns the names that a two-column file says: old name, new name; with a header row, CSV.

    Columns that the file does not name keep theirs; a new name that is taken gets the old one in brackets.

    Raises
    ------
    PermGradError
        If the file has not two columns, names a column twice, or none of the table's.
    """
    path = Path(path)
    if len(_header(path)) != 2:
        raise PermGradError(f"{path} must have two columns, the old name and the new one, under a header row")
    pairs = pd.DataFrame(_pairs(path), columns=["old", "new"])
    if pairs["old"].duplicated().any():
        raise PermGradError(f"{path} names {listing(pairs['old'][pairs['old'].duplicated()].unique())} more than once")
    new = dict(zip(pairs["old"], pairs["new"], strict=True))
    if not set(new) & set(table.features):
        raise PermGradError(f"{path} names no column of the table; it begins with {listing(pairs['old'][:3])}")
    wanted = pd.Series([new.get(name) or name for name in table.features])
    shared = wanted.duplicated(keep=False)
    names = [
        f"{name} ({old})" if twice and name != old else name
        for name, old, twice in zip(wanted, table.features, shared, strict=True)
    ]
    return Table(table.X.set_axis(names, axis=1), table.y, task=table.task, name=table.name, notes=table.notes)
