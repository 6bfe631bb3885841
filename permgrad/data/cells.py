"""Cells × genes: AnnData's ``.h5ad`` files, sparse or dense, in memory or left on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from permgrad.data.on_disk import RowsOnDisk
from permgrad.errors import FileFormatError, PermGradError, listing, reading, require
from permgrad.files import new_file


@dataclass(frozen=True, eq=False)
class Cells:
    """Rows of expression values, with a class for each.

    Attributes
    ----------
    X : ndarray, scipy.sparse.csr_matrix or RowsOnDisk of shape (n_cells, n_genes)
        Float32.
    y : ndarray of shape (n_cells,)
        Labels, text.
    features : tuple of str
        The genes.
    name : str
    notes : dict
        Facts about their origin; for simulated cells, what is planted.

    Examples
    --------
    >>> cells = pg.Cells(np.eye(3, dtype=np.float32), np.array(["B", "T", "T"]), ("CD3", "CD4", "CD19"))
    >>> len(cells), cells.classes
    (3, ['B', 'T'])
    """

    X: Any
    y: np.ndarray
    features: tuple[str, ...]
    name: str = "cells"
    notes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.X.shape != (len(self.y), len(self.features)):
            raise PermGradError(
                f"X must have a row for each of {len(self.y)} labels and a column for each of {len(self.features)}"
                f" genes, its shape is {self.X.shape}"
            )
        if len(set(self.features)) < len(self.features):
            repeated = sorted(gene for gene, times in Counter(self.features).items() if times > 1)
            raise PermGradError(f"gene names must be unique; these occur twice: {listing(repeated)}; rename them first")

    def __len__(self) -> int:
        return len(self.y)

    @property
    def classes(self) -> list[str]:
        """Sorted labels."""
        return np.unique(self.y).tolist()

    def take(self, rows: np.ndarray) -> Cells:
        """Return some of the cells, by position or by mask; rows in a file are not read.

        Examples
        --------
        >>> len(cells), len(cells.take(np.arange(10)))
        (60, 10)
        """
        at = np.arange(len(self))[rows]
        X = self.X.take(at) if isinstance(self.X, RowsOnDisk) else self.X[at]
        return replace(self, X=X, y=self.y[at])

    def only(self, features: Sequence[str]) -> Cells:
        """Return the cells with some of the genes only, in the given order: a panel.

        Raises
        ------
        PermGradError
            If one is not among them.

        Examples
        --------
        >>> cells.only(["x2", "x0"]).features
        ('x2', 'x0')
        """
        place = {gene: i for i, gene in enumerate(self.features)}
        absent = [gene for gene in features if gene not in place]
        if absent:
            raise PermGradError(f"no such gene: {listing(absent)}; there are {listing(self.features)}")
        if tuple(features) == self.features:
            return self
        at = np.array([place[gene] for gene in features], int)
        X = self.X.only(at) if isinstance(self.X, RowsOnDisk) else self.X[:, at]
        return replace(self, X=X, features=tuple(features))

    def in_memory(self) -> Cells:
        """Return the cells with their rows in memory, if they were left in a file: only these rows and genes are kept.

        Examples
        --------
        >>> cells.only(["x2", "x0"]).in_memory().X.shape
        (60, 2)
        """
        return replace(self, X=self.X.in_memory()) if isinstance(self.X, RowsOnDisk) else self

    def __repr__(self) -> str:
        where = {RowsOnDisk: "on disk"}.get(type(self.X), "sparse" if sparse.issparse(self.X) else "dense")
        return f"Cells({self.name!r}, {len(self)} cells × {len(self.features)} genes, {where})"


def read_cells(path: str | Path, target: str, *, on_disk: bool = False) -> Cells:
    """Read an ``.h5ad`` file.

    Parameters
    ----------
    path : path
    target : str
        Column of ``obs`` with the classes. Cells without a class are left out.
    on_disk : bool
        Leave the matrix in the file, which must then not move: each batch is read when it is needed. Sparse matrices
        must be stored by row (CSR).

    Returns
    -------
    Cells

    Raises
    ------
    PermGradError
        If anndata is not installed; if the file is absent, not an ``.h5ad`` file, stored by column, or has no such
        column.

    Examples
    --------
    >>> import anndata
    >>> obs = pd.DataFrame({"type": cells.y}, index=[f"cell {i}" for i in range(len(cells))])
    >>> anndata.AnnData(cells.X, obs, pd.DataFrame(index=list(cells.features))).write_h5ad("cells.h5ad")
    >>> pg.read_cells("cells.h5ad", "type").X.shape == cells.X.shape
    True
    """
    anndata = imported("anndata")
    path = Path(path)
    if not path.is_file():
        raise FileFormatError(f"cannot read {path}: no such file")
    if path.suffix.lower() != ".h5ad":
        raise FileFormatError(f"expected an .h5ad file of cells, got {path}; rank other tables with permgrad rank")
    with reading(path, "a readable .h5ad file"):
        data = anndata.read_h5ad(path, backed="r" if on_disk else None)
        return cells_of(data, target, name=path.stem)


def is_by_column(path: str | Path) -> bool:
    """Tell whether an ``.h5ad`` file holds a sparse matrix by column, whose rows cannot be left in it."""
    h5py = imported("h5py")
    if not h5py.is_hdf5(path):
        return False  # as `read_cells` will say
    with h5py.File(path) as file:
        return "X" in file and file["X"].attrs.get("encoding-type") == "csc_matrix"


def cells_of(data: Any, target: str, *, name: str = "cells") -> Cells:
    """Return an ``AnnData`` in memory, or opened in backed mode, as `Cells`; see `read_cells`."""
    if target not in data.obs:
        raise PermGradError(f"{name} has no column {target!r} in obs; its columns are {listing(data.obs.columns)}")
    X = RowsOnDisk(data.X) if data.isbacked else data.X
    if data.isbacked and getattr(data.X, "format", "csr") == "csc":
        raise PermGradError(f"{name} is stored by column, and is read by row; convert X to CSR and write it again")
    if sparse.issparse(X):
        X = sparse.csr_matrix(X, dtype=np.float32)
    elif not data.isbacked:
        X = np.asarray(X, np.float32)
    labels = data.obs[target]
    cells = Cells(X, labels.astype(str).to_numpy(object).astype(str), tuple(map(str, data.var_names)), name)
    known = labels.notna().to_numpy()
    return cells if known.all() else cells.take(known)


def write_chunks(path: str | Path, chunks: Iterable[Any], obs: pd.DataFrame, var: pd.DataFrame) -> None:
    """Write an ``.h5ad`` file chunk by chunk: one chunk of rows is in memory at a time.

    Parameters
    ----------
    path : path
    chunks : iterable of scipy.sparse.csr_matrix
        Rows, in order, at least one chunk.
    obs, var : DataFrame
        Of the rows and of the columns.

    Raises
    ------
    PermGradError
        If anndata is not installed, or the file cannot be written.
    """
    io, h5py = imported("anndata").io, imported("h5py")
    with new_file(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["encoding-type"], file.attrs["encoding-version"] = "anndata", "0.1.0"
        io.write_elem(file, "obs", obs)
        io.write_elem(file, "var", var)
        for i, chunk in enumerate(chunks):
            if i:
                io.sparse_dataset(file["X"]).append(chunk)
            else:
                first = sparse.csr_matrix(chunk)
                # 64 bits: a matrix larger than memory may well hold more numbers than 32 bits count.
                first.indptr = first.indptr.astype(np.int64)
                io.write_elem(file, "X", first)


def imported(module: str) -> Any:
    """Import a package of the extra "cells"."""
    require("cells", "this", module)
    return import_module(module)
