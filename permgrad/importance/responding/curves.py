"""Effects of columns on a model's answers, and of pairs of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any, Literal

import numpy as np

from permgrad.errors import PermGradError
from permgrad.importance.effects import ColumnEffect, Effects, PairEffect
from permgrad.importance.responding import accumulated as ale
from permgrad.importance.responding import partial as pdp
from permgrad.importance.responding.answers import Answers, Question, Scale, answers_of
from permgrad.importance.responding.grid import Grid, grid_of
from permgrad.importance.responding.replicates import Curve, bootstrap_of

MAX_ROWS = 2000
PAIR_POINTS, PAIR_ROWS = 10, 300
"""Values of each column of a pair, and rows that take all pairs of them, at most."""
Names = Sequence[str | tuple[str, str]]


def effects(
    model: Any,
    X: Any,
    features: Names | str | None = None,
    kind: Literal["ale", "pdp"] = "ale",
    *,
    pairs: Sequence[tuple[str, str]] = (),
    n_points: int = 20,
    ice: int = 0,
    scale: Scale = "log-odds",
    max_rows: int = MAX_ROWS,
    classes: Sequence[Any] | None = None,
    task: Literal["classification", "regression"] | None = None,
    random_state: int = 0,
) -> Effects:
    """Measure which way each column of a table pushes a model's prediction.

    Parameters
    ----------
    model : fitted estimator or keras.Model
        With ``predict_proba`` or ``predict``; or a Keras model whose input is the table's columns, all numbers.
    X : DataFrame, Table or array of shape (n_rows, n_columns)
        Rows, preferably test rows. Weights and groups of a `Table` count.
    features : sequence of str, or of pairs of str, optional
        Columns, and pairs of columns; by default all columns that vary and that the model reads.
    kind : {"ale", "pdp"}
        "ale": accumulated local effects. Each row's value is moved to both ends of its interval between two quantiles,
        or to the neighbouring levels, and the mean changes of the prediction are accumulated; so the dependence between
        columns is respected. Levels without a natural order are sorted by similarity in the other columns. Effects are
        centred: their mean over the rows is 0. Rows with a missing value in the column are left out. "pdp": partial
        dependence, the mean prediction if all rows had a value, whether or not such rows can exist; not centred. A
        missing value counts as a value, the last one.
    pairs : sequence of (str, str)
        Further pairs. For a pair, of either kind, the joint effect beyond those of each column is measured: the partial
        dependence on both minus that on each, plus the mean prediction; for at most 10 × 10 values, on at most 300
        rows.
    n_points : int
        Number of quantiles of a number or date (its values, if there are no more); at least 2. For a category, the 50
        most frequent levels are used.
    ice : int
        Number of rows, drawn at random, whose own curves are returned too ("pdp").
    scale : {"log-odds", "probability"}
        Scale of the prediction for classes; log-odds are cut off at ±16. Of two classes, the second one is shown.
    max_rows : int
        Maximum number of rows; of more, a random sample is used.
    classes, task
        Of a Keras model, see `rank_features`.
    random_state : int
        Seed of the random samples.

    Returns
    -------
    Effects
        With 95 % intervals: percentiles over 200 bootstrap draws of rows.

    Raises
    ------
    PermGradError
        If a column is unknown or has no values, settings are out of range, or the model cannot predict.

    References
    ----------
    Apley & Zhu, JRSS B 82 (2020); Friedman, Annals of Statistics 29 (2001); Goldstein, Kapelner, Bleich & Pitkin,
    Journal of Computational and Graphical Statistics 24 (2015), on single rows' curves.

    Examples
    --------
    >>> found = pg.effects(logistic, test, ["petal width (cm)"], n_points=4)
    >>> found.columns[0].effect.shape, found.classes
    ((4, 3), ('setosa', 'versicolor', 'virginica'))
    """
    _check(kind, n_points, ice)
    answers = answers_of(
        model, X, classes=classes, task=task, scale=scale, max_rows=max_rows, random_state=random_state
    )
    names, of_pairs = _named(answers, features, pairs)
    columns = _columns(answers, names, kind, n_points, ice, random_state)
    return Effects(
        kind=kind,
        unit=answers.unit,
        classes=answers.classes,
        columns=tuple(columns),
        pairs=tuple(_pairs(answers, of_pairs, n_points, random_state)),
        n_rows=len(answers),
    )


def _check(kind: str, n_points: int, ice: int) -> None:
    if kind not in ("ale", "pdp"):
        raise PermGradError(f"kind must be 'ale' or 'pdp', got {kind!r}")
    if n_points < 2:
        raise PermGradError(f"n_points must be at least 2, got {n_points}")
    if ice < 0 or (ice and kind == "ale"):
        raise PermGradError(f"ice must be a number of rows, and 0 unless kind='pdp', got {ice} with kind={kind!r}")


def _named(
    answers: Answers, features: Names | str | None, pairs: Sequence[tuple[str, str]]
) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the columns and the pairs that are asked for, checked."""
    asked = [features] if isinstance(features, str) else features
    if asked is None:
        asked = [name for name in answers.features if name not in answers.unseen and _varies(answers, name)]
    names = [name for name in asked if isinstance(name, str)]
    both = [*(name for name in asked if not isinstance(name, str)), *pairs]
    wrong = [given for given in both if len(given) != 2 or given[0] == given[1]]
    if wrong:
        raise PermGradError(f"a pair must be two different columns, got {wrong[0]!r}")
    for name in chain(names, *both):
        answers.position(name)
    return list(dict.fromkeys(names)), [(first, second) for first, second in dict.fromkeys(map(tuple, both))]


def _varies(answers: Answers, name: str) -> bool:
    return bool(answers.columns[name].notna().any()) and len(np.unique(answers.codes(answers.position(name)))) > 1


def _columns(
    answers: Answers, names: Sequence[str], kind: str, n_points: int, ice: int, random_state: int
) -> Iterator[ColumnEffect]:
    bootstrap = bootstrap_of(answers, random_state)
    rows = np.arange(len(answers))
    shown = np.sort(np.random.default_rng(random_state).permutation(rows)[:ice])
    at = [answers.position(name) for name in names]
    grids = [grid_of(answers.columns.iloc[:, column], n_points, missing=kind == "pdp") for column in at]
    if kind == "ale":
        grids = [ale.in_order(answers, column, grid) for column, grid in zip(at, grids, strict=True)]

    def questions() -> Iterator[Question]:
        for column, grid in zip(at, grids, strict=True):
            yield from ale.questions_of(column, grid) if kind == "ale" else [pdp.everywhere((column,), (grid,), rows)]

    said = answers.to(questions())
    for name, grid in zip(names, grids, strict=True):
        if kind == "ale":
            yield _effect(answers, name, grid, ale.accumulated(answers, grid, list(islice(said, 2)), bootstrap))
        else:
            own = next(said)
            curves = own.reshape(len(grid), len(answers), -1)[:, shown].swapaxes(0, 1) if ice else None
            yield _effect(answers, name, grid, pdp.partial(answers, grid, own, bootstrap), curves)


def _effect(answers: Answers, name: str, grid: Grid, curve: Curve, ice: np.ndarray | None = None) -> ColumnEffect:
    effect, lower, upper = (_flat(values) for values in curve[:3])
    return ColumnEffect(
        name,
        grid.labels,
        effect,
        lower,
        upper,
        curve.shares,
        is_category=grid.is_category,
        ice=None if ice is None else _flat(ice),
        is_date=grid.is_date,
    )


def _flat(values: np.ndarray) -> np.ndarray:
    """Leave out the last axis of what is told of one number."""
    return values[..., 0] if values.shape[-1] == 1 else values


def _pairs(
    answers: Answers, pairs: Sequence[tuple[str, str]], n_points: int, random_state: int
) -> Iterator[PairEffect]:
    if not pairs:
        return
    answers = answers.some(PAIR_ROWS, random_state)
    bootstrap, rows = bootstrap_of(answers, random_state), np.arange(len(answers))
    at = [tuple(answers.position(name) for name in names) for names in pairs]
    grids = [
        tuple(
            grid_of(answers.columns.iloc[:, c], min(n_points, PAIR_POINTS), missing=True, most_levels=PAIR_POINTS)
            for c in columns
        )
        for columns in at
    ]
    questions = (
        pdp.everywhere(some, of, rows)
        for columns, both in zip(at, grids, strict=True)
        for some, of in ((columns, both), (columns[:1], both[:1]), (columns[1:], both[1:]))
    )
    said = answers.to(questions)
    for names, both in zip(pairs, grids, strict=True):
        curve = pdp.pair(answers, both, tuple(islice(said, 3)), bootstrap)  # type: ignore[arg-type]
        effect, lower, upper = (_flat(values) for values in curve[:3])
        labels = (both[0].labels, both[1].labels)
        yield PairEffect(names, labels, effect, lower, upper, curve.shares)
