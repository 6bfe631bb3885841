"""A panel of columns: how often each is chosen over reseeded trainings, and how well the panel predicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm as normal
from scipy.stats import t as student
from sklearn.base import clone
from sklearn.utils import check_array
from tqdm.auto import tqdm

from permgrad.data.cells import Cells
from permgrad.data.on_disk import RowsOnDisk
from permgrad.data.table import Table
from permgrad.errors import PermGradError, as_permgrad_error
from permgrad.evaluation._panel_columns import candidates, check_redundancy, without_redundant
from permgrad.evaluation.stability import rank_stability
from permgrad.importance.ranking import FeatureRanking
from permgrad.parallel import run

N_REPLICATES = 2000
LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Panel:
    """The columns that several rankings of the same columns choose.

    Attributes
    ----------
    k : int
        Number of columns in the panel, the included ones among them.
    n_trainings : int
        Number of trainings, over all data sets together.
    table : DataFrame
        One row per column that may be chosen, the most often chosen first: ``feature``, ``frequency`` (the share of
        rankings in which it is among the best, as many as are wanted), ``mean_rank``. Equal frequencies are ordered by
        mean rank. If redundant columns are passed over: ``like``, the panel's column that stands for this one, or "".
    stability : float
        Nogueira's index of the choices: 1 if all are equal; random choices have an expected value of 0.
    stability_interval : (float, float)
        Its asymptotic 95 % interval. It is too narrow for few rankings, and has no width for two.
    included : tuple of str
        Columns that are in the panel by request. They are not in `table`, and the stability does not count them.

    Examples
    --------
    >>> panel = pg.panel_of([ranking, ranking], k=2)
    >>> panel.stability, len(panel.features)
    (1.0, 2)
    """

    k: int
    n_trainings: int
    table: pd.DataFrame
    stability: float
    stability_interval: tuple[float, float]
    included: tuple[str, ...] = ()

    @property
    def features(self) -> list[str]:
        """The recommended panel: the included columns, then the most often chosen ones, without redundant columns."""
        table = self.table
        free = table["feature"] if "like" not in table else table["feature"][table["like"] == ""]
        return [*self.included, *free.head(self.k - len(self.included))]

    def __repr__(self) -> str:
        low, high = self.stability_interval
        always = int((self.table["frequency"] == 1).sum())
        included = f" {len(self.included)} included," if self.included else ""
        return (
            f"Panel(k={self.k},{included} {self.n_trainings} trainings, {always} columns always chosen,"
            f" Nogueira {self.stability:.2f} [{low:.2f}, {high:.2f}])"
        )


@dataclass(frozen=True, eq=False)
class PanelScore:
    """Mean per-class accuracy of networks trained on a panel alone.

    Attributes
    ----------
    mean, low, high : float
        The mean over trainings, and an interval that covers trainings and test rows; see `score_panel`.
    by_training : tuple of float
    """

    mean: float
    low: float
    high: float
    by_training: tuple[float, ...]

    def __repr__(self) -> str:
        return f"PanelScore({self.mean:.4f} [{self.low:.4f}, {self.high:.4f}], {len(self.by_training)} trainings)"


def panel_of(rankings: Sequence[FeatureRanking], k: int) -> Panel:
    """Count how often each column is among the `k` best.

    Parameters
    ----------
    rankings : sequence of FeatureRanking
        Rankings of reseeded trainings: at least two, of the same features.
    k : int

    Raises
    ------
    PermGradError
        For fewer than two rankings, for different features, or if `k` leaves nothing to choose.

    Examples
    --------
    >>> pg.panel_of([ranking, ranking], k=2).table["frequency"].tolist()
    [1.0, 1.0, 0.0, 0.0]
    """
    stable = rank_stability(rankings, k)
    shown = pd.DataFrame(
        {"feature": stable.features, "frequency": stable.chosen.mean(axis=0), "mean_rank": stable.ranks.mean(axis=0)}
    )
    table = shown.sort_values(["frequency", "mean_rank"], ascending=[False, True], kind="stable", ignore_index=True)
    return Panel(k, len(stable.chosen), table, stable.nogueira, stable.nogueira_interval)


def choose_panel(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    k: int = 100,
    n_trainings: int = 20,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    redundancy: float | None = None,
    expression_range: tuple[float, float] | None = None,
    verbose: bool = False,
    n_jobs: int | None = None,
) -> Panel:
    """Train repeatedly with different seeds, and choose the columns that are selected most often.

    Parameters
    ----------
    estimator : SelectorClassifier
        Unfitted. Clones of it are fitted, with consecutive seeds that start at its own.
    X, y
        Training rows, as for its ``fit``. A list of `Cells` gives one panel for several data sets: networks are trained
        on each, on the columns that all have, and each data set counts equally.
    k : int
        Number of columns in the panel, those of `include` among them.
    n_trainings : int
        Number of trainings on each data set.
    include : sequence of str
        Columns that must be in the panel, such as an existing panel to extend. The selector does not penalise them
        (``estimator.include``), so the other columns are chosen for what they add.
    exclude : sequence of str
        Columns that must not be in the panel. No network sees them, so the panel looks for their information in other
        columns.
    redundancy : float, optional
        Largest allowed absolute correlation, over the training rows, between two columns of the panel. Columns are
        added from the most often chosen on. A column that correlates more strongly with a column already in the panel
        is passed over (for several data sets: if it does so in each).
    expression_range : (float, float), optional
        Lowest and highest allowed mean of a column in the class where that mean is highest, in the units of `X`; for
        several data sets, in each of them. No network sees the other columns.
    verbose : bool
        Show a progress bar.
    n_jobs : int, optional
        Number of processes that train; see `permgrad.parallel.run`.

    Returns
    -------
    Panel

    Raises
    ------
    PermGradError
        For fewer than two trainings, a `k` out of range, unknown column names, an invalid range or correlation, or if
        too few columns are left that are not redundant.

    Examples
    --------
    >>> few = pg.SelectorClassifier(hidden_units=(4,), epochs=1)
    >>> panel = pg.choose_panel(few, train.X, train.y, k=2, n_trainings=2)
    >>> len(panel.features)
    2
    """
    if n_trainings < 2:
        raise PermGradError(f"n_trainings must be at least 2, got {n_trainings}")
    included = tuple(dict.fromkeys(include))
    sets: list[tuple[Any, Any]] = [(X, y)]
    cells, free = [], None
    if _several(X) or included or len(exclude) or redundancy is not None or expression_range is not None:
        cells = list(X) if _several(X) else [_as_cells(X, y)]
        free = candidates(cells, included, exclude, expression_range)
        cells = [each.only([*included, *free]) for each in cells]
        sets = [(each, None) for each in cells]
    n_columns = _n_columns(X) if free is None else len(included) + len(free)
    if not max(1, len(included) + 1) <= k < n_columns:
        raise PermGradError(
            f"k must be at least {len(included) + 1} and less than the number of columns, {n_columns}, got {k}"
        )
    check_redundancy(redundancy)
    if included:
        estimator = clone(estimator).set_params(include=included)
    jobs = ((each, *rows) for rows in sets for each in _reseeded(estimator, n_trainings))
    bar = tqdm(run(_ranked, jobs, n_jobs), "trainings", n_trainings * len(sets), disable=not verbose)
    rankings = [each if free is None else each.only(free) for each in bar]
    panel = replace(panel_of(rankings, k - len(included)), k=k, included=included)
    return panel if redundancy is None else _without_redundant(panel, cells, redundancy)


def _several(X: Any) -> bool:
    return isinstance(X, (list, tuple)) and len(X) > 0 and all(isinstance(each, Cells) for each in X)


def _n_columns(X: Any) -> int:
    return len(X.features) if isinstance(X, (Cells, Table)) else np.shape(X)[1]


def _as_cells(X: Any, y: Any) -> Cells:
    """Return rows of any kind as cells, from which columns can be taken; numbers only, without weights."""
    if isinstance(X, Cells):
        return X if y is None else replace(X, y=np.asarray(y))
    if isinstance(X, Table):
        if X.weights is not None:
            raise PermGradError("a panel of some of a table's columns cannot use row weights; this table has weights")
        X, y = X.X, X.y if y is None else y
    if y is None:
        raise PermGradError("the target y is None; labels are needed")
    if isinstance(X, pd.DataFrame):
        with as_permgrad_error():
            return Cells(X.to_numpy(np.float32), np.asarray(y), tuple(map(str, X.columns)))
    X = X if isinstance(X, RowsOnDisk) else check_array(X, accept_sparse="csr", dtype=np.float32)
    return Cells(X, np.asarray(y), tuple(f"x{i}" for i in range(X.shape[1])))


def _without_redundant(panel: Panel, cells: Sequence[Cells], redundancy: float) -> Panel:
    order, n_wanted = panel.table["feature"].tolist(), panel.k - len(panel.included)
    chosen, like = without_redundant(order, cells, panel.included, n_wanted, redundancy)
    if len(chosen) < n_wanted:
        raise PermGradError(
            f"only {len(chosen)} of {n_wanted} columns are left whose correlation with others of the"
            f" panel is at most {redundancy}; choose a smaller k, or a higher redundancy"
        )
    return replace(panel, table=panel.table.assign(like=[like.get(name, "") for name in order]))


def _reseeded(estimator: Any, n_trainings: int) -> Iterator[Any]:
    """Yield unfitted copies with consecutive seeds, from the estimator's own seed on."""
    for number in range(n_trainings):
        yield clone(estimator).set_params(random_state=estimator.random_state + number)


def _ranked(estimator: Any, X: Any, y: Any) -> FeatureRanking:
    return estimator.fit(X, y).rank_by_weights()


def score_panel(
    estimator: Any,
    panel: Panel | Sequence[str],
    train: Cells,
    test: Cells,
    *,
    n_trainings: int = 5,
    random_state: int = 0,
    n_jobs: int | None = None,
) -> PanelScore:
    """Train on a panel's columns only, and score on rows that were used to choose neither the panel nor the network.

    Parameters
    ----------
    estimator : classifier with a ``random_state``
        Unfitted, such as ``SelectorClassifier(selector="none")``.
    panel : Panel or sequence of str
    train, test : Cells
    n_trainings : int
        Number of trainings, with consecutive seeds that start at the estimator's own.
    random_state : int
        Seed of the bootstrap.
    n_jobs : int, optional
        Number of processes that train; see `permgrad.parallel.run`.

    Examples
    --------
    >>> plain = pg.SelectorClassifier(selector="none", hidden_units=(4,), epochs=1)
    >>> score = pg.score_panel(plain, cells.features[:5], cells, cells, n_trainings=2)
    >>> score.low <= score.mean <= score.high
    True
    """
    names = panel.features if isinstance(panel, Panel) else list(panel)
    train, test = train.only(names), test.only(names)
    jobs = ((each, train, test) for each in _reseeded(estimator, n_trainings))
    return bootstrap_score(np.array(list(run(_right, jobs, n_jobs))), test.y, random_state=random_state)


def _right(estimator: Any, train: Cells, test: Cells) -> np.ndarray:
    return estimator.fit(train.X, train.y).predict(test.X) == test.y


def bootstrap_score(right: np.ndarray, y: np.ndarray, *, random_state: int = 0) -> PanelScore:
    """Return the mean per-class accuracy of several trainings, with an interval over trainings and test rows.

    Parameters
    ----------
    right : ndarray of shape (n_trainings, n_rows), bool
        Whether each training's network classifies each row correctly.
    y : ndarray of shape (n_rows,)
        Labels. Rows are resampled within each class, so that no class is lost.
    random_state : int

    Returns
    -------
    PanelScore
        The interval: 2.5 % and 97.5 % quantiles of 2,000 replicates. Each replicate is the mean over as many trainings
        and rows, drawn with replacement. A bootstrap of a few trainings varies less than new trainings would. So each
        training's weight is moved away from the mean weight, by the factor that makes the trainings' part of the
        interval as wide as Student's t gives. The interval ends at 0 and 1, where scores do (for differences, at -1 and
        1).
    """
    right = np.asarray(right, float)
    if right.ndim != 2 or right.shape[1] != len(y) or not len(y):
        raise PermGradError(f"right must have a row for each training and a column for each label, got {right.shape}")
    rng = np.random.default_rng(random_state)
    replicates = np.zeros(N_REPLICATES)
    trainings = rng.integers(len(right), size=(N_REPLICATES, len(right)))
    weight = np.stack([np.bincount(drawn, minlength=len(right)) for drawn in trainings]) / len(right)
    weight = 1 / len(right) + _widening(len(right)) * (weight - 1 / len(right))
    classes = np.unique(y)
    for label in classes:
        # Rows on which the trainings are right and wrong alike are drawn as one: few patterns, however many rows.
        rows, alike = np.unique(right[:, y == label], axis=1, return_counts=True)
        drawn = rng.multinomial(alike.sum(), alike / alike.sum(), size=N_REPLICATES) / alike.sum()
        replicates += np.einsum("rt,tn,rn->r", weight, rows, drawn, optimize=True) / len(classes)
    by_class = np.stack([right[:, y == label].mean(axis=1) for label in classes])  # (n_classes, n_trainings)
    by_training = tuple(by_class.mean(axis=0).tolist())
    low, high = np.quantile(replicates, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).clip(-1.0 if right.min() < 0 else 0.0, 1.0)
    mean = float(np.mean(by_training))
    return PanelScore(mean, min(float(low), mean), max(float(high), mean), by_training)  # rounding errors apart


def _widening(n_trainings: int) -> float:
    """Return Student's 97.5 % quantile over the normal one, corrected for the bootstrap's too small variance."""
    if n_trainings == 1:
        return 1.0
    top = (1 + LEVEL) / 2
    return float(student.ppf(top, n_trainings - 1) / normal.ppf(top) * np.sqrt(n_trainings / (n_trainings - 1)))
