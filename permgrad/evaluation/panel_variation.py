"""How much of the variation of all columns a panel keeps, whatever the classes: variance, and nearest neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.linalg import eigh
from sklearn.neighbors import NearestNeighbors

from permgrad.data.cells import Cells
from permgrad.data.checks import check_columns
from permgrad.data.on_disk import RowsOnDisk
from permgrad.errors import PermGradError
from permgrad.evaluation._panel_columns import second_moments
from permgrad.evaluation.panels import Panel
from permgrad.training.batches import dense, moments

N_COMPONENTS = 50
"""Number of principal components in which cells are compared, as is usual for single cells."""
SMALLEST_SHARE = 1e-10
"""Share of the largest eigenvalue; directions in which the panel's columns vary by less are left out."""


@dataclass(frozen=True, eq=False)
class PanelVariation:
    """How much of the variation of all columns a panel keeps, on rows that were used neither to choose nor to fit it.

    Attributes
    ----------
    explained : float
        Share of the variance of all columns that a linear regression on the panel's columns explains: 1 - residual over
        total variance, both summed over all columns, the panel's own included.
    best : float
        The same for as many principal components. No panel explains more of the rows on which it is fitted.
    by_chance : float
        The same for random panels of this size, on average.
    neighbours : float
        Share of a row's nearest rows, by the first principal components of all columns, that are also among its nearest
        by the panel's columns; mean over rows.
    neighbours_by_chance : float
        The same for random panels, on average.
    n_columns : int
        Number of columns in the panel.
    """

    explained: float
    best: float
    by_chance: float
    neighbours: float
    neighbours_by_chance: float
    n_columns: int

    def __repr__(self) -> str:
        return (
            f"PanelVariation({self.n_columns} columns: {self.explained:.3f} of the variance explained (best"
            f" {self.best:.3f}, random panels {self.by_chance:.3f}), {self.neighbours:.3f} of the neighbours kept"
            f" (random panels {self.neighbours_by_chance:.3f}))"
        )


def panel_variation(
    panel: Panel | Sequence[str],
    train: Cells,
    test: Cells,
    *,
    n_neighbours: int = 15,
    n_random: int = 5,
    most_rows: int = 3000,
    most_columns: int = 3000,
    random_state: int = 0,
) -> PanelVariation:
    """Measure how much of the variation of all columns a panel keeps, whatever the classes.

    Parameters
    ----------
    panel : Panel or sequence of str
    train, test : Cells
        Rows with all columns from which the panel was chosen, such as log-normalised counts. Regression and components
        are fitted on `train`.
    n_neighbours : int
    n_random : int
        Number of random panels for comparison.
    most_rows : int
        Largest number of test rows, drawn at random, among which neighbours are searched.
    most_columns : int
        Of more columns, only so many count, those that vary most in `train`, and the panel's: time grows with the cube
        of their number, and memory with its square. "All columns" are then these.
    random_state : int
        Seed of the random panels and rows.

    Returns
    -------
    PanelVariation

    Raises
    ------
    PermGradError
        If the columns of `train` and `test` differ, a name is not among them, or there are too few rows.

    Notes
    -----
    Kuemmerle et al., Probe set selection for targeted spatial transcriptomics (Nature Methods, 2024), judge panels by
    classes, by neighbours and by correlations of genes.

    Examples
    --------
    >>> kept = pg.panel_variation(cells.features[:5], cells, cells, n_neighbours=3, n_random=1)
    >>> type(kept).__name__
    'PanelVariation'
    """
    check_columns(test.features, train.features, "test")
    names = panel.features if isinstance(panel, Panel) else list(panel)
    train.only(names)  # which says what is not there
    if len(test) < n_neighbours + 2 or n_neighbours < 1 or n_random < 1 or not names:
        raise PermGradError(
            "expected a column, a neighbour, a random panel, and more test rows than neighbours; got"
            f" {len(names)} columns, n_neighbours={n_neighbours}, n_random={n_random} and {len(test)} rows"
        )
    if len(train.features) > most_columns:
        counted = _varying_most(train, names, most_columns)
        train, test = _seen(train, counted), _seen(test, counted)
    rng = np.random.default_rng(random_state)
    place = {name: i for i, name in enumerate(train.features)}
    drawn = [rng.permutation(len(train.features))[: len(names)] for _ in range(n_random)]
    panels = [np.array([place[name] for name in names]), *drawn]
    rows = np.sort(rng.permutation(len(test))[:most_rows])
    space = _Space(train, test, max(N_COMPONENTS, len(names)))
    near = space.neighbours(dense(test.X[rows]).astype(float), panels, n_neighbours)
    explained = [space.explained(np.eye(len(train.features))[:, columns]) for columns in panels]
    best = space.explained(space.components[:, : len(names)])
    own, own_near = explained[0], near[0]
    return PanelVariation(own, best, float(np.mean(explained[1:])), own_near, float(np.mean(near[1:])), len(names))


def _varying_most(cells: Cells, panel: Sequence[str], n: int) -> list[str]:
    """Return the `n` columns of the highest variance, and the panel's, in the table's order."""
    highest = np.argsort(-moments(cells.X)[1], kind="stable")[:n]
    counts = {*panel, *(cells.features[i] for i in highest)}
    return [name for name in cells.features if name in counts]


def _seen(cells: Cells, columns: Sequence[str]) -> Cells:
    """Return the cells with some columns, which are cut out of a few rows at a time: they hold most of the numbers."""
    X = cells.X if isinstance(cells.X, RowsOnDisk) else RowsOnDisk(cells.X)
    return replace(cells, X=X).only(columns)


class _Space:
    """Second moments of training and test rows, which are all that regressions on some of the columns need."""

    def __init__(self, train: Cells, test: Cells, n_components: int) -> None:
        self.mean, self.train = second_moments(train.X)
        mean, self.test = second_moments(test.X, self.mean)  # about the training means, as predictions are
        self.total = float(np.trace(self.test) - np.sum((mean - self.mean) ** 2))
        n = len(self.train)
        leading = (max(0, n - n_components), n - 1)  # of ascending ones; all of them would take much more memory
        self.components = eigh(self.train, subset_by_index=leading)[1][:, ::-1]

    def explained(self, directions: np.ndarray) -> float:
        """Return the share of the test variance that a regression on some directions, (n_features, k), explains."""
        within = directions.T @ self.train @ directions
        inverse = np.linalg.pinv(within, rcond=SMALLEST_SHARE, hermitian=True)
        slopes = inverse @ directions.T @ self.train  # (k, n_features)
        crossed = directions.T @ self.test
        residual = np.trace(self.test) - 2 * np.sum(slopes * crossed) + np.sum(slopes * (crossed @ directions @ slopes))
        return 1 - float(residual) / self.total

    def neighbours(self, rows: np.ndarray, panels: Sequence[np.ndarray], n: int) -> list[float]:
        """Return, for each panel, the share of the rows' neighbours that it keeps."""
        true = _nearest((rows - self.mean) @ self.components[:, :N_COMPONENTS], n)
        return [float(np.mean(_shared(true, _nearest(rows[:, columns], n)))) for columns in panels]


def _nearest(rows: np.ndarray, n: int) -> np.ndarray:
    return NearestNeighbors(n_neighbors=n).fit(rows).kneighbors(return_distance=False)  # without the row itself


def _shared(first: np.ndarray, second: np.ndarray) -> Any:
    return [len({*a} & {*b}) / len(a) for a, b in zip(first.tolist(), second.tolist(), strict=True)]
