"""The result of moving columns: which way each pushes a model's answer, with what values, for which classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from permgrad.data.html import html_table
from permgrad.errors import PermGradError, listing
from permgrad.files import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KIND = "effects"
"""Of what `Effects.to_dict` returns."""
Labels = tuple[str, ...] | np.ndarray
NAMES = {"ale": "accumulated local effects", "pdp": "partial dependence"}


@dataclass(frozen=True, eq=False)
class ColumnEffect:
    """The effect of a column's values on the prediction.

    Attributes
    ----------
    name : str
    values : ndarray of shape (n_grid,), or tuple of str
        Numbers; levels, and dates (ISO 8601), as text. The last may stand for missing values: NaN, "(missing)".
    effect : ndarray of shape (n_grid,), or (n_grid, n_classes) of more than two classes
        For "ale", centred: its mean by ``weights`` is 0. For "pdp", the mean prediction.
    lower, upper : ndarray
        95 % interval, over rows; of the shape of `effect`.
    weights : ndarray of shape (n_grid,)
        Share of the rows at each value; a row between two values is split between them, by distance. The sum is less
        than 1 if rows were left out because of a missing value or a rare level.
    is_category : bool
        `values` are text.
    ice : ndarray of shape (n_shown, n_grid) or (n_shown, n_grid, n_classes), optional
        Predictions for single rows.
    is_date : bool

    Examples
    --------
    >>> effect = effects.columns[0]
    >>> effect.name, effect.effect.shape, effect.is_category
    ('petal width (cm)', (4, 3), False)
    """

    name: str
    values: Labels
    effect: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    weights: np.ndarray
    is_category: bool
    ice: np.ndarray | None = None
    is_date: bool = False

    @property
    def spread(self) -> float:
        """Standard deviation of the effect over the rows: how far the column moves the answer; of classes the mean."""
        shares = self.weights / max(self.weights.sum(), 1e-300)
        mean = shares @ self.effect
        return float(np.mean(np.sqrt(shares @ (self.effect - mean) ** 2)))

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers, ready for JSON.

        Examples
        --------
        >>> sorted(effects.columns[0].to_dict())
        ['effect', 'ice', 'is_category', 'is_date', 'lower', 'name', 'upper', 'values', 'weights']
        """
        arrays = ("effect", "lower", "upper", "weights", "ice")
        return {
            "name": self.name,
            "values": plain(list(self.values) if self.is_category else np.asarray(self.values)),
            **{name: None if (array := getattr(self, name)) is None else array.tolist() for name in arrays},
            "is_category": self.is_category,
            "is_date": self.is_date,
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> ColumnEffect:
        """Build the effect that `to_dict` described.

        Examples
        --------
        >>> effect = effects.columns[0]
        >>> pg.ColumnEffect.from_dict(effect.to_dict()).name == effect.name
        True
        """
        arrays = {name: np.array(content[name], float) for name in ("effect", "lower", "upper", "weights")}
        ice = None if content["ice"] is None else np.array(content["ice"], float)
        values = tuple(content["values"]) if content["is_category"] else np.array(content["values"], float)
        category, date = bool(content["is_category"]), bool(content["is_date"])
        return cls(content["name"], values, **arrays, is_category=category, ice=ice, is_date=date)


@dataclass(frozen=True, eq=False)
class PairEffect:
    """The joint effect of two columns on the prediction, beyond the effects of each.

    Attributes
    ----------
    names : (str, str)
    values : pair of ndarray, or of tuples of str
        As of `ColumnEffect`.
    effect : ndarray of shape (n_first, n_second) or (n_first, n_second, n_classes)
    lower, upper : ndarray
        95 % interval.
    weights : ndarray of shape (n_first, n_second)
        Share of the rows at each pair of values.

    Examples
    --------
    >>> pair = effects.pairs[0]
    >>> pair.names, pair.effect.shape
    (('petal width (cm)', 'petal length (cm)'), (4, 4, 3))
    """

    names: tuple[str, str]
    values: tuple[Labels, Labels]
    effect: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    weights: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers, ready for JSON.

        Examples
        --------
        >>> sorted(effects.pairs[0].to_dict())
        ['effect', 'lower', 'names', 'upper', 'values', 'weights']
        """
        return {
            "names": list(self.names),
            "values": [plain(list(values)) for values in self.values],
            **{name: getattr(self, name).tolist() for name in ("effect", "lower", "upper", "weights")},
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> PairEffect:
        """Build the effect that `to_dict` described.

        Examples
        --------
        >>> pair = effects.pairs[0]
        >>> pg.PairEffect.from_dict(pair.to_dict()).names == pair.names
        True
        """
        arrays = {name: np.array(content[name], float) for name in ("effect", "lower", "upper", "weights")}
        first, second = (_labels(values) for values in content["values"])
        return cls((content["names"][0], content["names"][1]), (first, second), **arrays)

    def plot(self, of: int = -1, *, unit: str = "") -> Figure:
        """Draw a heat map; with several classes, that of class number `of`, by default the last.

        Examples
        --------
        >>> figure = effects.pairs[0].plot(unit="log-odds")
        """
        from permgrad.plotting import plot_pair

        return plot_pair(self, of, unit=unit)


@dataclass(frozen=True, eq=False)
class Effects:
    """Effects of columns on a model's predictions; `permgrad.effects` measures them.

    Attributes
    ----------
    kind : {"ale", "pdp"}
        Accumulated local effects, or partial dependence.
    unit : {"log-odds", "probability", "the target's unit"}
        For classes: of the second of two, or of each.
    classes : tuple of str or None
    columns : tuple of ColumnEffect
    pairs : tuple of PairEffect
    n_rows : int
        Rows that took part.

    Examples
    --------
    >>> effects.kind, effects.unit, effects.n_rows
    ('ale', 'log-odds', 20)
    """

    kind: str
    unit: str
    classes: tuple[str, ...] | None
    columns: tuple[ColumnEffect, ...]
    pairs: tuple[PairEffect, ...] = ()
    n_rows: int = 0

    def __getitem__(self, name: str | tuple[str, str]) -> Any:
        """Return a column's effect, or that of a pair, by its name or names.

        Raises
        ------
        PermGradError
            If there is none.
        """
        for known in self.columns:
            if known.name == name:
                return known
        for both in self.pairs:
            if both.names == name:
                return both
        known_names = [*(column.name for column in self.columns), *(pair.names for pair in self.pairs)]
        raise PermGradError(f"no effect of {name!r} was measured; there are effects of {listing(known_names, 12)}")

    def __repr__(self) -> str:
        what = [f"{len(self.columns)} columns", *([f"{len(self.pairs)} pairs"] if self.pairs else [])]
        return f"Effects({self.kind!r}, {', '.join(what)}, {self.unit}, {self.n_rows:,} rows)"

    @property
    def told_classes(self) -> tuple[str, ...]:
        """The classes that effects are told of: all, but of two the second; none of a target of numbers."""
        classes = self.classes or ()
        return classes[1:] if len(classes) == 2 else classes

    @property
    def table(self) -> pd.DataFrame:
        """A row for each column, value and class: ``column``, ``value``, ``class``, ``effect``, ``lower``, ..."""
        parts = []
        for column in self.columns:
            shape = (len(column.values), max(1, len(self.told_classes)))
            told: dict[str, Any] = {
                "column": column.name,
                "value": np.repeat(np.asarray(column.values, dtype=object), shape[1]),
            }
            if self.told_classes:
                told["class"] = np.tile(np.asarray(self.told_classes, dtype=object), shape[0])
            told |= {name: getattr(column, name).reshape(shape).ravel() for name in ("effect", "lower", "upper")}
            parts.append(pd.DataFrame({**told, "share": np.repeat(column.weights, shape[1])}))
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"column": [], "value": [], "effect": []})

    @property
    def summary(self) -> pd.DataFrame:
        """A row for each column, of the greatest ``spread`` first: its ``least`` and ``greatest`` effect, and where."""
        rows = []
        for column in sorted(self.columns, key=lambda each: -each.spread):
            effect = column.effect.reshape(len(column.values), -1)
            row: dict[str, Any] = {"column": column.name, "spread": column.spread}
            for name, at in (("least", effect.argmin()), ("greatest", effect.argmax())):
                value, of = divmod(int(at), effect.shape[1])
                row |= {name: effect[value, of], f"{name} at": column.values[value]}
                row |= {f"{name} of": self.told_classes[of]} if effect.shape[1] > 1 else {}
            rows.append(row)
        return pd.DataFrame(rows)

    def plot(self, columns: Sequence[str] | None = None, top: int = 6) -> Figure:
        """Draw the effects of some columns, by default of those that move the prediction most.

        Examples
        --------
        >>> figure = effects.plot(top=1)
        """
        from permgrad.plotting import plot_effects

        chosen = [self[name] for name in columns] if columns is not None else self.furthest(top)
        return plot_effects(self, chosen)

    def furthest(self, top: int) -> list[ColumnEffect]:
        """Return the columns that move the prediction most, by their `spread`.

        Examples
        --------
        >>> len(effects.furthest(1))
        1
        """
        return sorted(self.columns, key=lambda each: -each.spread)[:top]

    def _repr_html_(self) -> str:
        of = f" of {self.told_classes[0]!r}" if len(self.told_classes) == 1 else ""
        return html_table(f"{NAMES[self.kind]}: {self.unit}{of}, {self.n_rows:,} rows", self.summary)

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers, ready for JSON.

        Examples
        --------
        >>> sorted(effects.to_dict())
        ['classes', 'columns', 'effect', 'kind', 'n_rows', 'pairs', 'unit']
        """
        return {
            "kind": KIND,
            "effect": self.kind,
            "unit": self.unit,
            "classes": None if self.classes is None else list(self.classes),
            "columns": [column.to_dict() for column in self.columns],
            "pairs": [pair.to_dict() for pair in self.pairs],
            "n_rows": self.n_rows,
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Effects:
        """Build the effects that `to_dict` described.

        Examples
        --------
        >>> pg.Effects.from_dict(effects.to_dict()).classes
        ('setosa', 'versicolor', 'virginica')
        """
        return cls(
            kind=content["effect"],
            unit=content["unit"],
            classes=None if content["classes"] is None else tuple(content["classes"]),
            columns=tuple(ColumnEffect.from_dict(each) for each in content["columns"]),
            pairs=tuple(PairEffect.from_dict(each) for each in content["pairs"]),
            n_rows=content["n_rows"],
        )


def _labels(values: Sequence[Any]) -> Labels:
    """Return values that were read: text, or numbers, among which null is NaN."""
    if any(isinstance(value, str) for value in values):
        return tuple(values)
    return np.array(values, float)
