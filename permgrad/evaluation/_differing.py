"""Do levels differ by more than noise: pairs of measures that come from different rows, each with its interval."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import norm

from permgrad.evaluation.comparison import holm
from permgrad.importance.bootstrap import LEVEL

if TYPE_CHECKING:
    from permgrad.evaluation.by_level import ByLevel

COLUMNS = ("of", "level", "other", "value", "other_value", "difference", "low", "high", "p")


def differing(found: ByLevel) -> pd.DataFrame:
    """Compare the levels pairwise; see `ByLevel.differences`."""
    enough = set(found.table["level"][1:][~found.table["few"][1:].to_numpy(bool)])
    loss = found.measures[1]
    ends = {"value": found.table[loss], "low": found.table[f"{loss}_low"], "high": found.table[f"{loss}_high"]}
    measured = pd.DataFrame({"level": found.table["level"], **ends})
    scores = found.importance.rename(columns={"score": "value"})
    families = [
        [(loss, measured[measured["level"].isin(enough)])],
        list(scores[scores["level"].isin(enough)].groupby("feature", sort=False)),
    ]
    tables = []
    for family in families:
        rows = [{"of": name, **pair} for name, values in family for pair in _pairs(values)]
        table = pd.DataFrame(rows, columns=list(COLUMNS))
        tables.append(table.assign(p=holm(table["p"].to_numpy(float)) if len(table) else table["p"]))
    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)


def _pairs(values: pd.DataFrame) -> list[dict[str, object]]:
    """Compare values of levels, each pair by itself."""
    rows = [row for row in values.itertuples() if np.isfinite([row.value, row.low, row.high]).all()]
    pairs = []
    for a, b in combinations(rows, 2):
        low, high, p = difference_of(*((float(each.value), float(each.low), float(each.high)) for each in (a, b)))
        ends = {"level": a.level, "other": b.level, "value": a.value, "other_value": b.value}
        pairs.append({**ends, "difference": a.value - b.value, "low": low, "high": high, "p": p})
    return pairs


def difference_of(first: tuple[float, float, float], second: tuple[float, float, float]) -> tuple[float, float, float]:
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
    (a, a_low, a_high), (b, b_low, b_high) = first, second
    below, above = np.hypot(a - a_low, b_high - b), np.hypot(a_high - a, b - b_low)
    margin = below if a >= b else above
    p = 2 * norm.sf(abs(a - b) / margin * norm.ppf((1 + LEVEL) / 2)) if margin > 0 else 1.0
    return float(a - b - below), float(a - b + above), float(p)
