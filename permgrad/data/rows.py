"""What is known of rows beside their columns: which belong together, when they are of, how much they weigh."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import check_array

from permgrad.data._kinds import cleaned
from permgrad.errors import PermGradError, as_permgrad_error, listing

PARTS = ("train", "validation", "test")
"""Of a split; a row whose part is "" is put into one of the first two where the table is split."""


@dataclass(frozen=True, eq=False)
class RowFacts:
    """Facts of each row; None where nothing is known.

    Attributes
    ----------
    groups : Series or None
        Rows of one label belong together: a patient, a slide, a machine.
    times : Series or None
        Numbers, or datetime64.
    weights : Series or None
        How many rows each row stands for, float64, at least 0.
    parts : Series or None
        "train", "validation", "test", or "".
    """

    groups: pd.Series | None = None
    times: pd.Series | None = None
    weights: pd.Series | None = None
    parts: pd.Series | None = None

    @classmethod
    def of(cls, n_rows: int, **given: Any) -> RowFacts:
        """Check facts that came as arrays, lists or Series.

        Raises
        ------
        PermGradError
            If they are not one for each row, some are missing, times are neither dates nor numbers, weights are
            negative or all zero, a part has another name, or a group is in two parts.
        """
        series = {name: _as_series(name, values, n_rows) for name, values in given.items() if values is not None}
        for name, check in (("times", _as_times), ("weights", _as_weights), ("parts", _as_parts)):
            if name in series:
                series[name] = check(series[name])
        facts = cls(**series)
        _check_groups_apart(facts)
        if facts.times is not None and facts.parts is not None and (facts.parts == PARTS[1]).any():
            raise PermGradError(
                f"both {facts.times.name!r} (time) and {facts.parts.name!r} (split) define the validation rows; leave"
                " one out"
            )
        return facts

    def items(self) -> Iterator[tuple[str, pd.Series | None]]:
        """Walk them by name."""
        yield from ((each.name, getattr(self, each.name)) for each in fields(self))

    def known(self) -> dict[str, pd.Series]:
        """Return those that there are, by name."""
        return {name: values for name, values in self.items() if values is not None}

    def take(self, rows: np.ndarray) -> RowFacts:
        """Return those of some rows, by position."""
        return RowFacts(**{name: values.iloc[rows].reset_index(drop=True) for name, values in self.known().items()})

    def joined(self, other: RowFacts, sizes: tuple[int, int]) -> RowFacts:
        """Return those of these rows and of others behind them; of weights that one side lacks, 1.

        Raises
        ------
        PermGradError
            If only one of the two has groups, or times.
        """
        ours, theirs = self.known(), other.known()
        for name in {*ours, *theirs} - {"parts", "weights"}:
            if name not in ours or name not in theirs:
                raise PermGradError(f"some of these rows have {name}, and some have none; give them for all, or none")
        ones = [pd.Series(np.ones(n)) for n in sizes]
        none = [pd.Series([""] * n, dtype=object) for n in sizes]
        fill: dict[str, list[pd.Series]] = {"weights": ones, "parts": none}
        joined = {}
        for name in {**ours, **theirs}:
            both = [known[name] if name in known else fill[name][i] for i, known in enumerate((ours, theirs))]
            label = str({**theirs, **ours}[name].name)
            joined[name] = pd.concat(both, ignore_index=True).rename(label)
        return RowFacts(**joined)

    def with_parts(self, parts: Any) -> RowFacts:
        """Return the same with other parts."""
        return replace(self, parts=pd.Series(np.asarray(parts, object), name="part"))

    def codes(self) -> np.ndarray | None:
        """Return the number of each row's group, in order of appearance, (n_rows,); None without groups."""
        return None if self.groups is None else pd.factorize(self.groups)[0]

    def said(self) -> list[str]:
        """Say what is known, a line each."""
        lines = []
        if self.groups is not None:
            lines.append(
                f"rows of one {self.groups.name!r} belong together: {self.groups.nunique():,} groups of"
                f" {len(self.groups):,} rows"
            )
        if self.weights is not None:
            low, high = self.weights.min(), self.weights.max()
            lines.append(f"rows weigh {self.weights.name!r}: {low:.4g} to {high:.4g}")
        return lines


def taken_columns(
    frame: pd.DataFrame, group: str | None, time: str | None, weight: str | None, split: str | None, kinds: Any
) -> tuple[list[str], dict[str, pd.Series]]:
    """Return the columns that are no features, and the facts that columns hold, by name.

    Parameters
    ----------
    frame : DataFrame
    group, time, weight, split : str, optional
        Names of columns. That of times stays among the features.
    kinds : mapping of str to str
        What columns are, as the user said: dates in numbers are none.

    Raises
    ------
    PermGradError
        If there is no such column, or one has two roles.
    """
    roles = {"groups": group, "times": time, "weights": weight, "parts": split}
    named = {role: name for role, name in roles.items() if name is not None}
    absent = [name for name in named.values() if name not in frame.columns]
    if absent:
        raise PermGradError(f"no column {listing(absent)} in the table; its columns are {listing(frame.columns, 12)}")
    if len(set(named.values())) < len(named):
        raise PermGradError(f"group, time, weight and split must be different columns, got {listing(named.values())}")
    facts = {role: frame[name] for role, name in named.items()}
    if time is not None and kinds.get(time) in ("date", "number"):
        facts["times"] = cleaned(frame[[time]], {time: kinds[time]}).frame[time]
    if split is not None and facts["parts"].isna().any():
        raise PermGradError(f"the column {split!r} says of each row its part; it is missing in some")
    return [name for role, name in named.items() if role != "times"], facts


def weights_and_groups(X: Any, sample_weight: Any, groups: Any) -> tuple[Any, Any]:
    """Return weights and groups of rows: those that are given, else what a `Table` brings along."""
    facts = getattr(X, "facts", None)
    known = facts if isinstance(facts, RowFacts) else RowFacts()
    weights = known.weights if sample_weight is None else sample_weight
    return weights, known.groups if groups is None else groups


def check_sample_weight(sample_weight: Any, n_rows: int) -> np.ndarray:
    """Return the weight of each row, shape (n_rows,), float64.

    Raises
    ------
    PermGradError
        If it is not one number of at least 0 for each row, or all are 0.
    """
    with as_permgrad_error():
        weight = check_array(
            sample_weight, ensure_2d=False, allow_nd=True, dtype=np.float64, input_name="sample_weight"
        )
    if weight.shape != (n_rows,) or weight.min() < 0 or not weight.any():
        raise PermGradError(
            f"sample_weight must hold one number of at least 0 for each of {n_rows} rows, not all of them zero;"
            f" got numbers of shape {weight.shape}, the least {weight.min():g}"
        )
    return weight


def _as_series(name: str, values: Any, n_rows: int) -> pd.Series:
    if not isinstance(values, pd.Series) and hasattr(values, "to_pandas"):  # polars, pyarrow
        values = values.to_pandas()
    series = pd.Series(values) if not isinstance(values, pd.Series) else values
    if len(series) != n_rows:
        raise PermGradError(f"{name} must have one value for each of {n_rows} rows, got {len(series)}")
    series = series.rename(name if series.name is None else str(series.name)).reset_index(drop=True)
    missing = int(series.isna().sum())
    if missing:
        named = "" if series.name == name else f" ({series.name!r})"
        raise PermGradError(f"{name}{named} must be known of each row, missing in {missing}; fill or drop them")
    return series


def _as_times(series: pd.Series) -> pd.Series:
    """Return times as numbers or datetime64; texts are read as columns are."""
    frame = cleaned(series.to_frame("times")).frame["times"].rename(str(series.name))
    kind = frame.dtype
    usable = pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind)
    if not usable and not pd.api.types.is_datetime64_any_dtype(kind):
        raise PermGradError(
            f"times must be dates or numbers, {series.name!r} holds {listing(series.unique(), 3)}; if they are dates,"
            f" say so (kinds, --as {series.name}=date)"
        )
    if frame.isna().any():
        raise PermGradError(f"times must be known of each row, {series.name!r} is not in {int(frame.isna().sum())}")
    return frame


def _as_weights(series: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(cleaned(series.to_frame("weights")).frame["weights"], errors="coerce").rename(
        str(series.name)
    )
    values = numbers.to_numpy(float, na_value=np.nan)
    if not np.isfinite(values).all() or values.min() < 0 or not values.any():
        raise PermGradError(
            f"weights must be finite numbers of at least 0, not all of them zero; {series.name!r} holds"
            f" {listing(series[~(values >= 0)].unique() if (~(values >= 0)).any() else ['infinite ones or zeros'], 3)}"
        )
    return numbers.astype(float)


def _as_parts(series: pd.Series) -> pd.Series:
    texts = series.map(str).astype(object)
    unknown = sorted(set(texts) - {*PARTS, ""})
    if unknown:
        raise PermGradError(
            f"{series.name!r} must hold 'train', 'validation' or 'test', it holds {listing(unknown, 4)}; rename them"
        )
    missing = [part for part in PARTS if part not in set(texts)]
    if missing and not (texts == "").any():
        raise PermGradError(f"{series.name!r} must hold 'train', 'validation' and 'test'; no row is {listing(missing)}")
    return texts


def _check_groups_apart(facts: RowFacts) -> None:
    if facts.groups is None or facts.parts is None:
        return
    side = facts.parts.where(facts.parts != "", PARTS[0] if not (facts.parts == PARTS[1]).any() else "")
    several = side.groupby(facts.groups.to_numpy()).nunique()
    both = several.index[several > 1].tolist()
    if both:
        raise PermGradError(
            f"{len(both)} of {facts.groups.name!r} are in more than one part: {listing(both, 4)}; no group may be on"
            " both sides of a split"
        )
