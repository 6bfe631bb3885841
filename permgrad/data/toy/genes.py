"""Genes: a table of expression with groups that go together, and counts of single cells with markers."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse

from permgrad.data.cells import Cells
from permgrad.data.table import Table
from permgrad.errors import PermGradError


def gene_expression(
    n_rows: int = 801,
    n_genes: int = 20_531,
    random_state: int = 0,
    *,
    n_classes: int = 5,
    n_markers: int = 10,
    n_others: int = 40,
    n_copies: int = 80,
    correlation: float = 0.9,
    shift: float = 3.0,
) -> Table:
    """Return features like gene expression: groups of correlated genes, some of which are raised in one class.

    A group is a planted gene, a standard normal number z for each row, and copies ``correlation * z + sqrt(1 -
    correlation**2) * e`` with noise e of their own. In marker groups z is `shift` higher in the rows of one class; the
    classes take turns. The other groups, and all genes outside groups, carry no information. Each gene then gets a mean
    between 2 and 12 and a standard deviation (of the noise) between 0.5 and 1.5, and is cut off at 0, as logarithms of
    counts are.

    Parameters
    ----------
    n_rows, n_genes : int
        By default those of the published tumour table.
    random_state : int
    n_classes : int
        Sizes are as unequal as the published ones: the first class is about twice the mean, the third about half.
    n_markers, n_others : int
        Groups that tell about the class, and that do not.
    n_copies : int
        Of each group's planted gene.
    correlation : float
        Of a copy with its planted gene within a class, in (0, 1].
    shift : float
        In standard deviations.

    Returns
    -------
    Table
        Float32; classes "T0", "T1", ... ``notes["relevant"]``: the planted genes of marker groups;
        ``notes["groups"]``: each of them → itself and its copies; ``notes["other_groups"]``: the same of the others.

    Raises
    ------
    PermGradError
        If the genes do not suffice for the groups, or a number is out of range.

    Examples
    --------
    >>> table = pg.toy.gene_expression(60, 40, n_classes=3, n_markers=3, n_others=1, n_copies=4)
    >>> table.X.shape, table.classes
    ((60, 40), ['T0', 'T1', 'T2'])
    >>> len(table.notes["relevant"])
    3
    """
    n_groups, size = n_markers + n_others, n_copies + 1
    if min(n_markers, n_classes - 1) < 1 or min(n_others, n_copies) < 0 or not 0 < correlation <= 1:
        raise PermGradError("needs a marker group, two classes, a correlation in (0, 1], and counts of at least 0")
    if n_groups * size > n_genes:
        raise PermGradError(f"{n_groups} groups of {size} genes need {n_groups * size} genes, got n_genes={n_genes}")
    rng = np.random.default_rng([random_state, n_markers])
    weights = np.array([(2.0, 1.0, 0.5, 1.0, 1.0)[c % 5] for c in range(n_classes)])
    y = rng.permutation(np.resize(np.repeat(np.arange(n_classes), np.ceil(weights * 10).astype(int)), n_rows))
    X = rng.standard_normal((n_rows, n_genes), np.float32)
    groups = rng.permutation(n_genes)[: n_groups * size].reshape(n_groups, size)
    for g, group in enumerate(groups):
        z = X[:, group[0]] + (shift * (y == g % n_classes) if g < n_markers else 0)
        X[:, group] = correlation * z[:, None] + np.sqrt(1 - correlation**2) * X[:, group]
        X[:, group[0]] = z
    spread, mean = rng.uniform(0.5, 1.5, n_genes), rng.uniform(2, 12, n_genes)
    X = np.maximum(X * spread.astype(np.float32) + mean.astype(np.float32), 0)
    names = [[f"x{i}" for i in group] for group in groups]
    notes = {
        "relevant": [group[0] for group in names[:n_markers]],
        "groups": {group[0]: group for group in names[:n_markers]},
        "other_groups": {group[0]: group for group in names[n_markers:]},
    }
    labels = pd.Series([f"T{c}" for c in y], name="class")
    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(n_genes)])
    return Table(frame, labels, task="classification", name="gene expression", notes=notes)


def single_cells(
    n_cells: int = 3000,
    n_genes: int = 2000,
    random_state: int = 0,
    *,
    n_classes: int = 10,
    n_markers: int = 50,
    n_programs: int = 5,
    program_size: int = 40,
    fold: float = 4.0,
    part: int = 0,
) -> Cells:
    """Return sparse counts of simulated cell types: a few genes distinguish them, many more vary for other reasons.

    The count of a gene in a cell is negative binomial (dispersion 2), its mean the product of the gene's own rate, the
    cell's depth and fold changes. A marker is `fold` times as high in the cells of one class; the classes take turns.
    The genes of a program are `fold` times as high in a random half of the cells, whatever their class, all of a
    program together: highly variable, and of no use.

    Parameters
    ----------
    n_cells, n_genes : int
    random_state : int
        Of genes and classes.
    n_classes : int
        From the largest to the smallest, five times as rare.
    n_markers : int
    n_programs, program_size : int
    fold : float
    part : int
        Another number draws other cells of the same genes.

    Returns
    -------
    Cells
        CSR, float32; classes "type_0", "type_1", ... ``notes["relevant"]``: the markers; ``notes["markers_of"]``:
        class → markers; ``notes["programs"]``: the genes of all programs.

    Raises
    ------
    PermGradError
        If the genes do not suffice, or a number is out of range.

    Examples
    --------
    >>> cells = pg.toy.single_cells(100, 30, n_classes=3, n_markers=6, program_size=2)
    >>> cells.X.shape, cells.classes
    ((100, 30), ['type_0', 'type_1', 'type_2'])
    >>> len(cells.notes["relevant"])
    6
    """
    n_planted = n_markers + n_programs * program_size
    if min(n_markers, n_classes - 1, n_cells - n_classes) < 1 or min(n_programs, program_size) < 0 or fold <= 0:
        raise PermGradError("needs a marker, two classes, cells enough, a positive fold, and counts of at least 0")
    if n_planted > n_genes:
        raise PermGradError(f"{n_planted} markers and genes of programs need as many genes, got n_genes={n_genes}")
    genes, cells = (
        np.random.default_rng([random_state, n_markers]),
        np.random.default_rng([random_state, n_markers, part, 1]),
    )
    rates = genes.lognormal(-2.5, 1.2, n_genes)
    at = genes.permutation(n_genes)[:n_planted]
    markers, programs = at[:n_markers], at[n_markers:].reshape(n_programs, program_size)
    rates[at] = genes.uniform(0.3, 1.0, n_planted)  # a gene that is hardly ever seen tells nothing
    shares = np.geomspace(5, 1, n_classes)
    y = cells.choice(n_classes, n_cells, p=shares / shares.sum())
    means = rates * cells.lognormal(0, 0.3, (n_cells, 1))  # (n_cells, n_genes)
    means[:, markers] *= np.where(np.arange(n_markers) % n_classes == y[:, None], fold, 1)
    for program in programs:
        means[:, program] *= np.where(cells.random((n_cells, 1)) < 0.5, fold, 1)
    counts = sparse.csr_matrix(cells.poisson(cells.gamma(2, means / 2)), dtype=np.float32)
    names = np.array([f"x{i}" for i in range(n_genes)])
    notes = {
        "relevant": names[markers].tolist(),
        "markers_of": {f"type_{c}": names[markers[c::n_classes]].tolist() for c in range(n_classes)},
        "programs": names[programs.ravel()].tolist(),
    }
    return Cells(counts, np.array([f"type_{c}" for c in y]), tuple(names.tolist()), "planted cells", notes)
