"""Which pairs of columns do more together than each alone: Friedman's H."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from permgrad.data.html import html_table
from permgrad.errors import PermGradError
from permgrad.files import plain
from permgrad.importance.donors import shuffled
from permgrad.importance.responding.answers import Answers, Question, Scale, answers_of
from permgrad.importance.responding.replicates import bootstrap_of, ends_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KIND = "interactions"
"""Of what `Interactions.to_dict` returns."""
ROWS, CHOOSING_ROWS, CHOOSING_TURNS = 100, 500, 3
NOTHING = 1e-10
"""Share of the answers' variance up to which a pair does nothing, so that its H is 0."""


@dataclass(frozen=True, eq=False)
class Interactions:
    """How much pairs of columns interact; `permgrad.interactions` measures it.

    Attributes
    ----------
    table : DataFrame
        A row for each pair, the strongest first: ``first``, ``second``; ``strength``, the standard deviation over rows
        of the pair's joint effect beyond those of each column, in `unit`, and its 95 % interval ``strength_low``,
        ``strength_high``; ``h2``, the same as a share of the variance of the pair's whole effect, 0 to 1, and its
        interval ``h2_low``, ``h2_high``. For an additive model, both are 0 up to rounding.
    columns : tuple of str
        The columns whose pairs were measured; the one that moves the prediction most comes first.
    unit : str
        As of `Effects`.
    n_rows : int
        Rows that took part.

    Examples
    --------
    >>> found = pg.interactions(logistic, test, ["petal width (cm)", "petal length (cm)"], max_rows=10)
    >>> found.columns, found.unit
    (('petal width (cm)', 'petal length (cm)'), 'log-odds')
    """

    table: pd.DataFrame
    columns: tuple[str, ...]
    unit: str
    n_rows: int

    def __repr__(self) -> str:
        return f"Interactions({len(self.table)} pairs of {len(self.columns)} columns, {self.unit}, {self.n_rows} rows)"

    def plot(self, top: int = 10) -> Figure:
        """Draw the strongest pairs as bars, with 95 % intervals over rows.

        Examples
        --------
        >>> found = pg.interactions(logistic, test, ["petal width (cm)", "petal length (cm)"], max_rows=10)
        >>> figure = found.plot()
        """
        from permgrad.plotting import plot_interactions

        return plot_interactions(self, top)

    def _repr_html_(self) -> str:
        return html_table(f"What pairs of columns do beyond each alone: {self.unit}, {self.n_rows:,} rows", self.table)

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers, ready for JSON.

        Examples
        --------
        >>> found = pg.interactions(logistic, test, ["petal width (cm)", "petal length (cm)"], max_rows=10)
        >>> sorted(found.to_dict())
        ['columns', 'kind', 'n_rows', 'pairs', 'unit']
        """
        pairs = plain(self.table.to_dict("list"))
        return {"kind": KIND, "pairs": pairs, "columns": list(self.columns), "unit": self.unit, "n_rows": self.n_rows}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Interactions:
        """Build the interactions that `to_dict` described.

        Examples
        --------
        >>> found = pg.interactions(logistic, test, ["petal width (cm)", "petal length (cm)"], max_rows=10)
        >>> pg.Interactions.from_dict(found.to_dict()).n_rows
        10
        """
        return cls(pd.DataFrame(content["pairs"]), tuple(content["columns"]), content["unit"], content["n_rows"])


def interactions(
    model: Any,
    X: Any,
    features: Sequence[str] | None = None,
    *,
    n_columns: int = 8,
    max_rows: int = ROWS,
    scale: Scale = "log-odds",
    classes: Sequence[Any] | None = None,
    task: Literal["classification", "regression"] | None = None,
    random_state: int = 0,
) -> Interactions:
    """Measure how much pairs of columns interact in a model: Friedman and Popescu's H².

    With centred partial dependences F of the prediction, ``H² = sum (F_jk - F_j - F_k)² / sum F_jk²``, over the rows'
    own pairs of values. A pair with a tiny effect may have a large H², so pairs are sorted by the numerator
    (``strength``).

    Parameters
    ----------
    model, X
        As of `effects`.
    features : sequence of str, optional
        Two or more columns, such as ``ranking.select(8)``; by default the `n_columns` whose shuffling changes
        predictions most, alone or together with others (total Sobol indices, by Jansen's estimator).
    n_columns : int
    max_rows : int
        Number of rows drawn at random. Each row takes the values of each other row, so the number of predictions grows
        with the square.
    scale, classes, task, random_state
        As of `effects`.

    Returns
    -------
    Interactions
        With 95 % intervals: percentiles over 200 bootstrap draws of the rows.

    Raises
    ------
    PermGradError
        If there are fewer than two columns, a column is unknown, or the model cannot predict.

    References
    ----------
    Friedman & Popescu, Predictive learning via rule ensembles, Annals of Applied Statistics 2 (2008). Jansen, Computer
    Physics Communications 117 (1999).

    Examples
    --------
    >>> found = pg.interactions(logistic, test, ["petal width (cm)", "petal length (cm)"], max_rows=10)
    >>> found.table.columns.tolist()
    ['first', 'second', 'strength', 'strength_low', 'strength_high', 'h2', 'h2_low', 'h2_high']
    """
    if n_columns < 2 or max_rows < 2:
        raise PermGradError(f"n_columns and max_rows must be at least 2, got {n_columns} and {max_rows}")
    given: Any = {"classes": classes, "task": task, "scale": scale, "random_state": random_state}
    many = answers_of(model, X, max_rows=max(max_rows, CHOOSING_ROWS), **given)
    names = list(dict.fromkeys(features)) if features is not None else _moving(many, n_columns, random_state)
    at = [many.position(name) for name in names]
    if len(at) < 2:
        raise PermGradError(f"interactions need at least two columns, got {names}")
    answers = many.some(max_rows, random_state)
    table = _pairs(answers, names, at, random_state)
    return Interactions(table, tuple(names), answers.unit, len(answers))


def _moving(answers: Answers, n_columns: int, random_state: int) -> list[str]:
    """Return the columns whose shuffling moves the answers most."""
    columns = [c for c, name in enumerate(answers.features) if name not in answers.unseen]
    rows = np.arange(len(answers))
    drawn = [shuffled(len(rows), np.random.default_rng([random_state, t])) for t in range(CHOOSING_TURNS)]
    said = answers.to(Question(rows, {column: order}) for column in columns for order in drawn)
    moved = np.array([np.mean((one - answers.own) ** 2) for one in said]).reshape(len(columns), -1).mean(axis=1)
    best = np.argsort(-moved, kind="stable")[:n_columns]
    return [answers.features[columns[i]] for i in best if moved[i] > 0]


def _pairs(answers: Answers, names: Sequence[str], at: Sequence[int], random_state: int) -> pd.DataFrame:
    bootstrap = bootstrap_of(answers, random_state)
    weights = np.ones(len(answers)) if answers.weights is None else answers.weights
    draws = weights * np.vstack([np.ones(len(answers)), bootstrap.weights[:, bootstrap.bundle]])
    draws /= draws.sum(axis=1, keepdims=True)
    own = answers.own - draws[0] @ answers.own
    least = NOTHING * float((draws[0] @ own**2).sum())
    pairs = list(combinations(range(len(at)), 2))
    asked = [(i,) for i in range(len(at))] + pairs
    taken = [_everyone(answers, [at[i] for i in some]) for some in asked]
    found = answers.to(question for question, _ in taken)
    curves = [
        _centred(said.reshape(-1, len(answers), said.shape[1])[of_row], draws)
        for said, (_, of_row) in zip(found, taken, strict=True)
    ]
    rows = []
    for (j, k), both in zip(pairs, curves[len(at) :], strict=True):
        beyond = np.einsum("rm,rmk->r", draws, (both - curves[j] - curves[k]) ** 2)
        whole = np.einsum("rm,rmk->r", draws, both**2)
        h2 = np.divide(beyond, whole, out=np.zeros_like(beyond), where=whole > least)
        row: dict[str, Any] = {"first": names[j], "second": names[k]}
        for name, values in {"strength": np.sqrt(beyond), "h2": h2}.items():
            low, high = ends_of(values, bootstrap)
            row |= {name: values[0], f"{name}_low": max(0.0, float(low)), f"{name}_high": float(high)}
        rows.append(row)
    return pd.DataFrame(rows).sort_values("strength", ascending=False, kind="stable", ignore_index=True)


def _everyone(answers: Answers, columns: Sequence[int]) -> tuple[Question, np.ndarray]:
    """Ask about all rows with each one's values of some columns, equal ones once; return which are each row's, too."""
    codes = np.stack([answers.codes(column) for column in columns])
    _, donors, of_row = np.unique(codes, axis=1, return_index=True, return_inverse=True)
    rows = np.arange(len(answers))
    source = np.repeat(donors, len(rows))
    return Question(np.tile(rows, len(donors)), dict.fromkeys(columns, source)), of_row.ravel()


def _centred(said: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Return partial dependence at the rows' values, centred, by each draw: (n_draws, n_rows, width)."""
    means = np.einsum("rb,mbk->rmk", draws, said, optimize=True)
    return means - np.einsum("rm,rmk->rk", draws, means)[:, None]
