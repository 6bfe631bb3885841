"""Do levels differ by more than noise: pairs of measures that come from different rows, each with its interval."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from permgrad.evaluation.comparison import holm
from permgrad.importance.bootstrap import LEVEL

COLUMNS = ("of", "level", "other", "value", "other_value", "difference", "low", "high", "p")


def differing(table: pd.DataFrame, importance: pd.DataFrame, loss: str) -> pd.DataFrame:
    """Compare the levels pairwise, given a `ByLevel`'s tables and its loss's name; see `ByLevel.differences`."""
    enough = set(table["level"][1:][~table["few"][1:].to_numpy(bool)])
    ends = {"value": table[loss], "low": table[f"{loss}_low"], "high": table[f"{loss}_high"]}
    measured = pd.DataFrame({"level": table["level"], **ends})
    scores = importance.rename(columns={"score": "value"})
    scores = scores[scores["level"].isin(enough)]
    of_columns = {str(name): values for name, values in scores.groupby("feature", sort=False)}
    families: list[dict[str, pd.DataFrame]] = [{loss: measured[measured["level"].isin(enough)]}, of_columns]
    tables = []
    for family in families:
        rows = [{"of": name, **pair} for name, values in family.items() for pair in _pairs(values)]
        table = pd.DataFrame(rows, columns=list(COLUMNS))
        tables.append(table.assign(p=holm(table["p"].to_numpy(float)) if len(table) else table["p"]))
    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)


def _pairs(values: pd.DataFrame) -> list[dict[str, Any]]:
    """Compare values of levels, each pair by itself."""
    records: list[dict[Any, Any]] = values.to_dict("records")
    rows = {row["level"]: tuple(float(row[name]) for name in ("value", "low", "high")) for row in records}
    known = [(level, ends) for level, ends in rows.items() if np.isfinite(ends).all()]
    pairs = []
    for (level, first), (other, second) in combinations(known, 2):
        low, high, p = difference_of(first, second)
        ends = {"level": level, "other": other, "value": first[0], "other_value": second[0]}
        pairs.append({**ends, "difference": first[0] - second[0], "low": low, "high": high, "p": p})
    return pairs


def difference_of(first: tuple[float, ...], second: tuple[float, ...]) -> tuple[float, float, float]:
    """Return the 95 % interval of how much the first of two independent values is above the second, and its p.

    Parameters
    ----------
    first, second : (value, low, high)
        With the ends of 95 % intervals.

    Returns
    -------
    low, high, p : float
        Two-sided: of no difference, of values that are about normal. 1 where neither interval has a width.

    References
    ----------
    Zou & Donner, Statistics in Medicine 27 (2008): each value's own interval gives its variance near either end.
    """
    a, a_low, a_high = first
    b, b_low, b_high = second
    below, above = np.hypot(a - a_low, b_high - b), np.hypot(a_high - a, b - b_low)
    margin = below if a >= b else above
    p = 2 * norm.sf(abs(a - b) / margin * norm.ppf((1 + LEVEL) / 2)) if margin > 0 else 1.0
    return float(a - b - below), float(a - b + above), float(p)
