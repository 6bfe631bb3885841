"""Counts → logarithms of counts per 10,000, by scanpy; and the highly variable genes, as scanpy finds them.

Normalisation looks at one cell at a time, so all cells may go through it; which genes vary is asked of training cells
alone. Of a file larger than memory, rows are normalised as they are read, or chunk by chunk into a new file.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from permgrad.data.cells import Cells, imported, write_chunks
from permgrad.data.on_disk import RowsOnDisk
from permgrad.errors import PermGradError

COUNTS_PER_CELL = 1e4
CHUNK_ROWS = 4096
MEAN_BINS = 20
"""Ranges of mean expression; a gene's dispersion is compared with those of the genes in its range."""
DIGITS = 9
"""Of dispersions that are compared: those of two genes in one bin are equal but for rounding, and chunks round."""


def log_normalise(cells: Cells) -> Cells:
    """Return cells with ``log(1 + counts per 10,000)``, by scanpy's `normalize_total` and `log1p`.

    Parameters
    ----------
    cells : Cells
        Counts of all genes that were measured. Those in memory are copied. Rows in a file are left there, and
        normalised whenever they are read.

    Raises
    ------
    PermGradError
        If scanpy is not installed, or there are negative numbers; in a file, they are found when their rows are read.
    """
    rows = cells.X
    X = RowsOnDisk(_Normalised(rows, cells.name)) if isinstance(rows, RowsOnDisk) else _normalised(rows, cells.name)
    return replace(cells, X=X)


class _Normalised:
    """Rows in a file as `RowsOnDisk` reads them, normalised."""

    def __init__(self, rows: RowsOnDisk, name: str) -> None:
        self.rows, self.name, self.shape = rows, name, rows.shape

    def __getitem__(self, rows: slice) -> Any:
        return _normalised(self.rows[rows], self.name)


def variable_genes(cells: Cells, n_genes: int, *, max_rows: int = 100_000, random_state: int = 0) -> list[str]:
    """Return the highly variable genes, as scanpy's `highly_variable_genes` (flavour "seurat"), in the table's order.

    The dispersion of a gene is the logarithm of variance over mean of its counts per 10,000. It is standardised among
    the genes of similar mean. Of equal ones, the first genes of the table are taken. Rows are read chunk by chunk.

    Parameters
    ----------
    cells : Cells
        Training cells alone, log-normalised; in memory or in a file.
    n_genes : int
        How many; of fewer, all are returned.
    max_rows : int
        Cells to look at, drawn without replacement where there are more.
    random_state : int
        Of the draw.

    References
    ----------
    Satija et al., Spatial reconstruction of single-cell gene expression data, Nature Biotechnology 33 (2015).
    """
    if n_genes < 1:
        raise PermGradError(f"n_genes must be at least 1, got {n_genes}")
    if n_genes >= len(cells.features):
        return list(cells.features)
    if len(cells) > max_rows:
        drawn = np.random.default_rng(random_state).choice(len(cells), max_rows, replace=False)
        cells = cells.take(np.sort(drawn))
    dispersion = _standardised_dispersion(*_count_moments(cells.X))
    best = np.argsort(-dispersion.round(DIGITS), kind="stable")[:n_genes]
    return [cells.features[i] for i in np.sort(best) if np.isfinite(dispersion[i])]


def _count_moments(X: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance (ddof 1) of the counts whose logarithms are given, (n_genes,) float64 each."""
    total, squares, n_rows = np.zeros(X.shape[1]), np.zeros(X.shape[1]), X.shape[0]
    for start in range(0, n_rows, CHUNK_ROWS):
        counts = sparse.csr_matrix(X[start : start + CHUNK_ROWS]).expm1().astype(np.float64)
        total += np.asarray(counts.sum(axis=0)).ravel()
        squares += np.asarray(counts.power(2).sum(axis=0)).ravel()
    mean = total / n_rows
    return mean, (squares / n_rows - mean**2) * (n_rows / max(1, n_rows - 1))


def _standardised_dispersion(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Return each gene's logarithm of variance over mean, standardised within its bin of means; -inf if it is none."""
    mean = np.where(mean == 0, 1e-12, mean)  # as in scanpy: what is never expressed has no dispersion
    ratio = variance / mean
    genes = pd.DataFrame({"dispersion": np.log(ratio, out=np.full_like(ratio, np.nan), where=ratio > 0)})
    by_bin = genes.groupby(pd.cut(np.log1p(mean), MEAN_BINS), observed=True)["dispersion"]
    centre, spread = by_bin.transform("mean"), by_bin.transform("std")
    alone = spread.isna()  # the only gene of its bin is standardised to 1
    centre, spread = centre.mask(alone, 0.0), spread.mask(alone, centre)
    return ((genes["dispersion"] - centre) / spread).fillna(-np.inf).to_numpy()


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
    if not X.shape[0]:
        return X.astype(np.float32)  # which scanpy does not take
    data = anndata.AnnData(X.astype(np.float32, copy=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scanpy's own
        scanpy.pp.normalize_total(data, target_sum=COUNTS_PER_CELL)
        scanpy.pp.log1p(data)
    return sparse.csr_matrix(data.X) if sparse.issparse(data.X) else data.X
