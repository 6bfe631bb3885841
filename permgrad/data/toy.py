"""Tables whose relevant columns are known: what a feature ranking should find, and how much of it it found.

Each function returns a `Table` (`single_cells`: `Cells`) whose ``notes["relevant"]`` lists the columns that the target
depends on. Features are named ``x0``, ``x1``, ...; the seed draws the positions of the relevant ones, for an image
layout or the order of equal scores may favour the first columns.

`ring`, `xor`, `ring_xor` and `ring_xor_sum` are the problems of Passemiers, Folco, Raimondi, Birolo, Moreau and
Fariselli, "How good Neural Networks interpretation methods really are? A quantitative benchmark"
(arXiv 2304.02383): no single feature of ring or xor correlates with the class. Their code (src/data.py of
AntoinePassemiers/Feature-Selection-Benchmark on GitHub) has cut points of the unions that the paper's figures are of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import pi
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from permgrad.data.cells import Cells
from permgrad.data.table import Table, Task
from permgrad.errors import PermGradError, listing

if TYPE_CHECKING:
    from permgrad.importance.ranking import FeatureRanking

RING_RADIUS = 0.35
RING_WIDTH = 0.1151
"""Half the ring's width in the single problem, as published."""
SUM_NOISE = 0.2
"""Standard deviation, as published."""

CutPoints = Literal["balanced", "published"]


class _Cuts(NamedTuple):
    """Where the parts of a union begin: half the ring's width, the least product, and the least sum."""

    ring: float
    xor: float
    total: float = np.inf


# Of a balanced union of m parts, each has the probability p = 1 - 0.5 ** (1 / m), so that the union has one half. With
# U, V uniform on [0, 1], a ring of half width w that stays inside the square has the area 4 pi r w, from which w
# follows; P((U - .5)(.5 - V) >= t) = .5 - 2t + 2t ln(4t), and the tail of U + V + noise, an integral, were solved for
# p.
CUTS: dict[str, dict[int, _Cuts]] = {
    "balanced": {
        2: _Cuts((1 - 0.5 ** (1 / 2)) / (4 * pi * RING_RADIUS), 0.0348676),
        3: _Cuts((1 - 0.5 ** (1 / 3)) / (4 * pi * RING_RADIUS), 0.0608615, 1.3891429),
    },
    "published": {2: _Cuts(0.0704, 0.0337), 3: _Cuts(0.0479, 0.0598, 1.4074)},
}
"""By name and number of parts; the published ones are those of the authors' code, whose union has 0.515 and 0.498."""


def ring(n_rows: int = 1000, n_features: int = 8, random_state: int = 0) -> Table:
    """Return uniform features; the class is 1 where two of them lie in a ring: ``|r - 0.35| <= 0.1151``.

    r is the distance of the point of both features from (0.5, 0.5). The classes are about equal (0.506 in the ring).

    Parameters
    ----------
    n_rows, n_features : int
    random_state : int

    Returns
    -------
    Table
        Classification, classes 0 and 1; ``notes["relevant"]`` holds 2 columns.

    Raises
    ------
    PermGradError
        If there are fewer features than relevant ones.

    Examples
    --------
    >>> table = pg.toy.ring(n_rows=100, n_features=3)
    >>> table.X.shape, table.classes, len(table.notes["relevant"])
    ((100, 3), [0, 1], 2)
    """
    X, at, _ = _uniform(n_rows, n_features, 2, random_state)
    return _planted("ring", X, _in_ring(X[:, at], RING_WIDTH), at)


def xor(n_rows: int = 1000, n_features: int = 8, random_state: int = 0) -> Table:
    """Return uniform features; the class is 1 where just one of two is above one half: ``(a - .5)(.5 - b) >= 0``.

    Parameters, classes and errors as of `ring`; 2 relevant columns.

    Examples
    --------
    >>> table = pg.toy.xor(n_rows=100, n_features=3)
    >>> len(table.notes["relevant"])
    2
    """
    X, at, _ = _uniform(n_rows, n_features, 2, random_state)
    return _planted("xor", X, _xor(X[:, at]) >= 0, at)


def ring_xor(
    n_rows: int = 1000, n_features: int = 8, random_state: int = 0, *, cut_points: CutPoints = "balanced"
) -> Table:
    """Return uniform features; the class is 1 in a ring of two features, or in the xor of two others.

    Both are narrower than alone. Other parameters, classes and errors as of `ring`; 4 relevant columns.

    Parameters
    ----------
    n_rows, n_features, random_state : int
    cut_points : {"balanced", "published"}
        How narrow: each of probability 1 - sqrt(0.5), so that the classes are equal; or as in the authors' code
        (0.31 in the ring, 0.30 in the xor, 0.515 in either).

    Examples
    --------
    >>> len(pg.toy.ring_xor(n_rows=100, n_features=5).notes["relevant"])
    4
    """
    X, at, _ = _uniform(n_rows, n_features, 4, random_state)
    cuts = _cuts(cut_points, 2)
    union = _in_ring(X[:, at[:2]], cuts.ring) | (_xor(X[:, at[2:]]) >= cuts.xor)
    return _planted("ring+xor", X, union, at)


def ring_xor_sum(
    n_rows: int = 1000, n_features: int = 8, random_state: int = 0, *, cut_points: CutPoints = "balanced"
) -> Table:
    """Return uniform features; the class is 1 in a ring, a xor, or where two more add up to 1.4 with noise.

    The noise is normal, of standard deviation 0.2. Other parameters, classes and errors as of `ring`; 6 relevant
    columns.

    Parameters
    ----------
    n_rows, n_features, random_state : int
    cut_points : {"balanced", "published"}
        How narrow: each part of probability 1 - 0.5 ** (1 / 3), so that the classes are equal; or as in the authors'
        code (0.21 in the ring, 0.21 in the xor, 0.20 by the sum, 0.498 in any).

    Examples
    --------
    >>> len(pg.toy.ring_xor_sum(n_rows=100, n_features=7).notes["relevant"])
    6
    """
    X, at, rng = _uniform(n_rows, n_features, 6, random_state)
    total = X[:, at[4:]].sum(axis=1) + rng.normal(scale=SUM_NOISE, size=n_rows)
    cuts = _cuts(cut_points, 3)
    union = _in_ring(X[:, at[:2]], cuts.ring) | (_xor(X[:, at[2:4]]) >= cuts.xor) | (total >= cuts.total)
    return _planted("ring+xor+sum", X, union, at)


PROBLEMS: dict[str, Callable[..., Table]] = {
    "ring": ring,
    "xor": xor,
    "ring+xor": ring_xor,
    "ring+xor+sum": ring_xor_sum,
}
"""The benchmark's problems, in its order."""


def _uniform(n_rows: int, n_features: int, n_relevant: int, random_state: int) -> tuple[np.ndarray, np.ndarray, Any]:
    rng = np.random.default_rng([random_state, n_relevant])
    return rng.random((n_rows, n_features)), _positions(rng, n_features, n_relevant), rng


def _positions(rng: np.random.Generator, n_features: int, n_relevant: int) -> np.ndarray:
    if not 1 <= n_relevant <= n_features:
        raise PermGradError(
            f"this table has {n_relevant} relevant features and needs at least as many, got n_features={n_features}"
        )
    return rng.permutation(n_features)[:n_relevant]


def _cuts(name: str, n_parts: int) -> _Cuts:
    if name not in CUTS:
        raise PermGradError(f"cut_points must be one of {listing(CUTS)}, got {name!r}")
    return CUTS[name][n_parts]


def _in_ring(points: np.ndarray, width: float) -> np.ndarray:
    return np.abs(np.hypot(*(points - 0.5).T) - RING_RADIUS) <= width


def _xor(points: np.ndarray) -> np.ndarray:
    return (points[:, 0] - 0.5) * (0.5 - points[:, 1])


def _planted(name: str, X: Any, y: Any, at: np.ndarray, **notes: Any) -> Table:
    task: Task = "classification" if y.dtype == bool else "regression"
    relevant = [f"x{i}" for i in at]
    return Table(
        X, y.astype(int) if y.dtype == bool else y, task=task, name=name, notes={"relevant": relevant, **notes}
    )


def additive(
    n_rows: int = 1000,
    n_features: int = 20,
    random_state: int = 0,
    *,
    n_relevant: int = 5,
    noise: float = 0.3,
    task: Task = "regression",
) -> Table:
    """Return standard normal features; the target is a weighted sum of some of them, plus noise.

    Parameters
    ----------
    n_rows, n_features : int
    random_state : int
    n_relevant : int
    noise : float
        Standard deviation, beside weights between 0.5 and 1.5 in size, of either sign.
    task : {"regression", "classification"}
        The sum itself, or whether it is above 0.

    Returns
    -------
    Table
        ``notes["relevant"]``, and ``notes["coefficients"]``: the weight of each relevant column.

    Raises
    ------
    PermGradError
        If there are fewer features than relevant ones.

    Examples
    --------
    >>> table = pg.toy.additive(n_rows=100, n_features=6, n_relevant=2)
    >>> table.X.shape, table.task
    ((100, 6), 'regression')
    >>> table.notes["relevant"]
    ['x5', 'x1']
    """
    rng = np.random.default_rng([random_state, n_relevant])
    X, at = rng.normal(size=(n_rows, n_features)), _positions(rng, n_features, n_relevant)
    weights = _weights(rng, n_relevant)
    y = _target(X[:, at] @ weights + rng.normal(scale=noise, size=n_rows), task)
    return _planted("additive", X, y, at, coefficients=_named(at, weights))


def correlated_nulls(
    n_rows: int = 1000,
    n_relevant: int = 3,
    n_null: int = 6,
    correlation: float = 0.8,
    random_state: int = 0,
    *,
    noise: float = 0.5,
    task: Task = "regression",
) -> Table:
    """Return normal features; the irrelevant ones correlate with relevant ones, but add no information.

    The relevant features z are independent and standard normal. Each null is ``correlation * z_j +
    sqrt(1 - correlation**2) * e`` of one of them, its parent, in turn, with noise e of its own: given the relevant
    features, it is independent of the target, so a p-value of a conditional test is uniform; two nulls of one
    parent correlate by ``correlation**2``. The target is a weighted sum of all z and of (z_1**2 - 1) / sqrt(2), with
    noise.

    Parameters
    ----------
    n_rows : int
    n_relevant, n_null : int
    correlation : float
        Of a null with its parent, in [-1, 1].
    random_state : int
    noise : float
        Standard deviation, beside weights between 0.5 and 1.5 in size.
    task : {"regression", "classification"}
        The sum itself, or whether it is above 0.

    Returns
    -------
    Table
        ``notes["relevant"]``; ``notes["parents"]``, null → relevant column; ``notes["correlation"]``;
        ``notes["coefficients"]`` of the linear part, and ``notes["squared"]``, the column and weight of the square.

    Raises
    ------
    PermGradError
        If there is no relevant feature, or the correlation is out of range.

    Examples
    --------
    >>> table = pg.toy.correlated_nulls(n_rows=2000, n_relevant=1, n_null=2)
    >>> table.notes["parents"]
    {'x0': 'x2', 'x1': 'x2'}
    >>> float(table.X.corr().iloc[0, 1].round(1))
    0.7
    """
    if not -1 <= correlation <= 1:
        raise PermGradError(f"correlation must be in [-1, 1], got {correlation}")
    rng = np.random.default_rng([random_state, n_relevant])
    n_features = n_relevant + n_null
    at = _positions(rng, n_features, n_relevant)
    nulls = np.setdiff1d(np.arange(n_features), at)
    z, parents = rng.normal(size=(n_rows, n_relevant)), np.arange(n_null) % n_relevant
    X = np.empty((n_rows, n_features))
    X[:, at] = z
    X[:, nulls] = correlation * z[:, parents] + np.sqrt(1 - correlation**2) * rng.normal(size=(n_rows, n_null))
    weights, square = _weights(rng, n_relevant), _weights(rng, 1)[0]
    signal = z @ weights + square * (z[:, 0] ** 2 - 1) / np.sqrt(2)
    notes = {
        "parents": {f"x{null}": f"x{at[parent]}" for null, parent in zip(nulls, parents, strict=True)},
        "correlation": float(correlation),
        "coefficients": _named(at, weights),
        "squared": {f"x{at[0]}": float(square)},
    }
    y = _target(signal + rng.normal(scale=noise, size=n_rows), task)
    return _planted("correlated nulls", X, y, at, **notes)


def duplicated(
    n_rows: int = 1000,
    n_features: int = 20,
    random_state: int = 0,
    *,
    n_relevant: int = 4,
    n_copied: int = 2,
    n_copies: int = 2,
    copy_noise: float = 0.0,
    noise: float = 0.3,
    task: Task = "regression",
) -> Table:
    """Return standard normal features, with copies of some relevant ones: importance is shared or lost.

    Parameters
    ----------
    n_rows : int
    n_features : int
        All columns, copies among them.
    random_state : int
    n_relevant : int
        Columns that the weighted sum is made of.
    n_copied, n_copies : int
        How many of them have copies, and how many copies each.
    copy_noise : float
        Standard deviation of what is added to a copy; 0 for exact copies.
    noise, task
        As of `additive`.

    Returns
    -------
    Table
        ``notes["relevant"]``: columns that tell about the target, originals first, then their copies;
        ``notes["groups"]``: each copied original → itself and its copies; ``notes["coefficients"]`` of the originals.

    Raises
    ------
    PermGradError
        If the columns do not suffice, or more relevant features are to be copied than there are.

    Examples
    --------
    >>> table = pg.toy.duplicated(n_rows=100, n_features=8)
    >>> table.notes["groups"]
    {'x5': ['x5', 'x1', 'x4'], 'x0': ['x0', 'x7', 'x3']}
    """
    if not 0 <= n_copied <= n_relevant or n_copies < 0:
        raise PermGradError(
            f"n_copied must be between 0 and n_relevant={n_relevant}, and n_copies at least 0;"
            f" got {n_copied} and {n_copies}"
        )
    rng = np.random.default_rng([random_state, n_relevant])
    at = _positions(rng, n_features, n_relevant + n_copied * n_copies)
    X = rng.normal(size=(n_rows, n_features))
    originals, copies = at[:n_relevant], at[n_relevant:].reshape(n_copied, n_copies)
    X[:, copies] = X[:, originals[:n_copied], None] + copy_noise * rng.normal(size=(n_rows, n_copied, n_copies))
    weights = _weights(rng, n_relevant)
    y = _target(X[:, originals] @ weights + rng.normal(scale=noise, size=n_rows), task)
    groups = {f"x{i}": [f"x{j}" for j in (i, *own)] for i, own in zip(originals, copies, strict=False)}
    return _planted("duplicated", X, y, at, groups=groups, coefficients=_named(originals, weights))


def categorical(
    n_rows: int = 1000,
    n_features: int = 12,
    random_state: int = 0,
    *,
    n_relevant: int = 4,
    n_levels: int = 4,
    n_null_levels: int = 30,
    noise: float = 0.3,
    task: Task = "classification",
) -> Table:
    """Return text columns beside standard normal ones; the irrelevant text columns have many more levels.

    Impurity importance, and any method that scores one-hot columns one by one, is drawn to columns of many levels.
    Half of the relevant features and half of the others (rounded up) are text. Each level of a relevant text
    column adds its own amount to the target; the amounts are evenly spaced, of mean 0 and variance 1, times a weight.

    Parameters
    ----------
    n_rows, n_features : int
    random_state : int
    n_relevant : int
    n_levels, n_null_levels : int
        Levels of a relevant and of an irrelevant text column, equally likely.
    noise, task
        As of `additive`.

    Returns
    -------
    Table
        ``notes["relevant"]``; ``notes["text"]``: the text columns; ``notes["coefficients"]``.

    Raises
    ------
    PermGradError
        If there are fewer features than relevant ones, or a text column would have a single level.

    Examples
    --------
    >>> table = pg.toy.categorical(n_rows=200, n_features=4, n_relevant=2)
    >>> table.notes["text"]
    ['x0', 'x2']
    >>> table.X["x0"].nunique(), table.X.shape
    (30, (200, 4))
    """
    if min(n_levels, n_null_levels) < 2:
        raise PermGradError(f"a text column needs two levels or more, got {n_levels} and {n_null_levels}")
    rng = np.random.default_rng([random_state, n_relevant])
    at = _positions(rng, n_features, n_relevant)
    others = np.setdiff1d(np.arange(n_features), at)
    X = pd.DataFrame(rng.normal(size=(n_rows, n_features))).add_prefix("x")
    values = X.to_numpy(copy=True)
    amounts = (np.arange(n_levels) - (n_levels - 1) / 2) / np.sqrt((n_levels**2 - 1) / 12)
    relevant_text, null_text = at[: -(-n_relevant // 2)], others[: -(-len(others) // 2)]
    for i in (*relevant_text, *null_text):
        level = rng.integers(n_levels if i in relevant_text else n_null_levels, size=n_rows)
        X[f"x{i}"] = [f"level {number}" for number in level]
        if i in relevant_text:
            values[:, i] = amounts[level]
    weights = _weights(rng, n_relevant)
    y = _target(values[:, at] @ weights + rng.normal(scale=noise, size=n_rows), task)
    text = [f"x{i}" for i in sorted((*relevant_text, *null_text))]
    return _planted("categorical", X, y, at, text=text, coefficients=_named(at, weights))


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


def recall(ranking: FeatureRanking | Sequence[str], relevant: Sequence[str], k: int | None = None) -> float:
    """Return the share of the relevant features that are among the `k` best.

    Parameters
    ----------
    ranking : FeatureRanking or sequence of str
        Column names, best first.
    relevant : sequence of str
        Such as ``table.notes["relevant"]``.
    k : int, optional
        By default the number of relevant features ("best-k"; twice as many is "best-2k").

    Returns
    -------
    float
        Relevant features found over all relevant features, between 0 and 1.

    Raises
    ------
    PermGradError
        If a name occurs twice or is text instead of a list, nothing is relevant, or `k` is not positive.

    Examples
    --------
    >>> pg.toy.recall(["age", "dose", "noise"], relevant=["age", "sex"])
    0.5
    >>> pg.toy.recall(["age", "dose", "sex"], relevant=["age", "sex"], k=3)
    1.0
    """
    whole = not isinstance(ranking, Sequence)  # a FeatureRanking, of all columns
    names = ranking if isinstance(ranking, Sequence) else [ranking.features[i] for i in ranking.order]
    for what, given in (("ranking", names), ("relevant", relevant)):
        if isinstance(given, str) or len(set(given)) != len(given) or not len(given):
            raise PermGradError(f"{what} must be distinct column names, at least one, got {listing([given])}")
    if whole and not set(relevant) <= set(names):
        raise PermGradError(f"not in the ranking: {listing(sorted(set(relevant) - set(names)))}")
    k = len(relevant) if k is None else k
    if k < 1:
        raise PermGradError(f"k must be at least 1, got {k}")
    return len(set(names[:k]) & set(relevant)) / len(relevant)


def _weights(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.uniform(0.5, 1.5, count) * rng.choice([-1, 1], count)


def _named(at: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    return {f"x{i}": float(weight) for i, weight in zip(at, weights, strict=True)}


def _target(total: np.ndarray, task: Task) -> np.ndarray:
    if task not in ("regression", "classification"):
        raise PermGradError(f"task must be 'regression' or 'classification', got {task!r}")
    return total > 0 if task == "classification" else total
