"""Counts → logarithms of counts per 10,000, and the highly variable genes, by scanpy's own functions.

Normalisation looks at one cell at a time, so all cells may go through it; which genes vary is asked of training cells
alone. A file larger than memory is normalised chunk by chunk into a new one.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from permgrad.data.cells import Cells, imported, write_chunks
from permgrad.errors import PermGradError

COUNTS_PER_CELL = 1e4
CHUNK_ROWS = 16_384


def log_normalise(cells: Cells) -> Cells:
    """Return a copy of the cells with ``log(1 + counts per 10,000)``, by scanpy's `normalize_total` and `log1p`.

    Parameters
    ----------
    cells : Cells
        Counts of all genes that were measured, in memory. (Of a file, see `normalise_file`.)

    Raises
    ------
    PermGradError
        If scanpy is not installed, there are negative numbers, or the matrix is on disk.
    """
    if not (sparse.issparse(cells.X) or isinstance(cells.X, np.ndarray)):
        raise PermGradError("the matrix is on disk; normalise_file writes a normalised copy, chunk by chunk")
    return Cells(_normalised(cells.X, cells.name), cells.y, cells.features, cells.name, cells.notes)


def variable_genes(cells: Cells, n_genes: int, *, max_rows: int = 100_000, random_state: int = 0) -> list[str]:
    """Return the highly variable genes, by scanpy's `highly_variable_genes` (flavour "seurat"), in the table's order.

    Parameters
    ----------
    cells : Cells
        Training cells alone, log-normalised.
    n_genes : int
        How many; of fewer, all are returned.
    max_rows : int
        Cells to look at, drawn without replacement where there are more.
    random_state : int
        Of the draw.
    """
    scanpy, anndata = imported("scanpy"), imported("anndata")
    if n_genes < 1:
        raise PermGradError(f"n_genes must be at least 1, got {n_genes}")
    if n_genes >= len(cells.features):
        return list(cells.features)
    rows = np.arange(len(cells))
    if len(rows) > max_rows:
        rows = np.sort(np.random.default_rng(random_state).choice(rows, max_rows, replace=False))
    data = anndata.AnnData(cells.X[rows])
    data.uns["log1p"] = {"base": None}  # that it is logarithms, in scanpy's way
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scanpy's own, about pandas and genes that never vary
        scanpy.pp.highly_variable_genes(data, n_top_genes=n_genes, flavor="seurat")
    return [gene for gene, varies in zip(cells.features, data.var["highly_variable"], strict=True) if varies]


def normalise_file(source: str | Path, out: str | Path, *, chunk_rows: int = CHUNK_ROWS) -> None:
    """Write a log-normalised copy of a sparse ``.h5ad`` file of counts, a chunk of rows in memory at a time.

    Parameters
    ----------
    source, out : path
        ``obs`` and ``var`` are copied; layers, embeddings and the like are not.
    chunk_rows : int

    Raises
    ------
    PermGradError
        If a package is not installed, the file cannot be read, is not sparse by rows, or holds negative numbers.
    """
    data = _opened(imported("anndata"), source)
    starts = range(0, data.n_obs, chunk_rows)
    chunks = (_normalised(data.X[start : start + chunk_rows], str(source)) for start in starts)
    write_chunks(out, chunks, data.obs, data.var)


def _opened(anndata: Any, source: str | Path) -> Any:
    try:
        data = anndata.read_h5ad(source, backed="r")
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise PermGradError(f"{source} is no readable .h5ad file: {str(error).splitlines()[0]}") from error
    if getattr(data.X, "format", None) != "csr":
        raise PermGradError(f"{source} must hold a sparse matrix by rows (CSR); read a dense one into memory")
    return data


def _normalised(X: Any, name: str) -> Any:
    scanpy, anndata = imported("scanpy"), imported("anndata")
    values = X.data if sparse.issparse(X) else X
    if len(values) and np.min(values) < 0:
        raise PermGradError(f"{name} holds negative numbers; counts are wanted, as they come from the sequencer")
    data = anndata.AnnData(X.astype(np.float32, copy=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scanpy's own
        scanpy.pp.normalize_total(data, target_sum=COUNTS_PER_CELL)
        scanpy.pp.log1p(data)
    return sparse.csr_matrix(data.X) if sparse.issparse(data.X) else data.X
