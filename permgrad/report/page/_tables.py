"""DataFrames and rankings → cells of text for the page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from permgrad.plotting import method_title

if TYPE_CHECKING:
    from permgrad.evaluation.reference_models import ReferenceModels
    from permgrad.evaluation.stability import RankStability
    from permgrad.importance.ranking import FeatureRanking

DIGITS = 4
"""Significant digits of a column's largest number; the others get as many decimals."""
MAX_DECIMALS = 8
SHORT_TITLES = {
    "permutation": "Permu\u00adtation",
    "end_to_end": "Last in",
    "conditional": "Condi\u00adtional",
    "tabular": "Tabular",
    "image": "Image",
}
"""Of columns that stand beside many others; a soft hyphen says where a word may break."""


@dataclass(frozen=True)
class Cells:
    """A table of text, ready to be shown.

    Attributes
    ----------
    header : list of str
    numeric : list of bool
        Which columns hold numbers, and stand on the right.
    rows : list of list of str
    left_out : int
        Rows that are not shown.
    named : int
        The column whose cells name the rows.
    """

    header: list[str]
    numeric: list[bool]
    rows: list[list[str]]
    left_out: int = 0
    named: int = 0


def cells(frame: pd.DataFrame | None, limit: int = 50) -> Cells | None:
    """Return a DataFrame's first `limit` rows as text, rounded by column; None where there is nothing.

    An index that is more than row numbers becomes the first column.
    """
    if frame is None or not len(frame):
        return None
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.rename_axis(str(frame.index.name or "")).reset_index()
    shown = frame.head(limit)
    columns = [column_text(shown.iloc[:, i]) for i in range(shown.shape[1])]
    return Cells(
        [str(name).replace("_", " ") for name in frame.columns],
        [_is_number(shown.iloc[:, i]) for i in range(shown.shape[1])],
        [list(row) for row in zip(*columns, strict=True)],
        len(frame) - len(shown),
    )


def ranking_cells(ranking: FeatureRanking, limit: int) -> Cells:
    """Return the ranking's `limit` best features as text.

    Columns: place, name, score, its interval and that of the place where known, each component's score, and
    p- and q-values: those of conditional permutation where there is one, else the ranking's own.
    """
    table = ranking.table
    measured = ~table["feature"].isin(ranking.pending).to_numpy()
    columns: dict[str, list[str]] = {
        "#": [str(i) if known else "–" for i, known in enumerate(measured, 1)],
        "column": table["feature"].tolist(),
        "score": column_text(table["score"]),
        **_intervals(table),
    }
    parts = [name for name in ranking.components if name != ranking.method]
    columns |= {SHORT_TITLES.get(name, method_title(name)): column_text(table[name]) for name in parts}
    tested = "conditional_" if "conditional" in parts else ""
    columns |= {
        name: [probability(value) for value in table[tested + name]] for name in ("p", "q") if tested + name in table
    }
    for name in columns.keys() - {"#", "column"}:
        columns[name] = [text if known else "not measured" for text, known in zip(columns[name], measured, strict=True)]
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    numeric = [name != "column" for name in columns]
    return Cells(list(columns), numeric, rows[:limit], max(0, len(rows) - limit), named=1)


def titled_cells(frame: pd.DataFrame) -> Cells | None:
    """Return a table of rankings as text, each by its method's name."""
    return cells(frame.assign(ranking=frame["ranking"].astype(str).map(method_title)))


def stability_cells(stability: Mapping[str, Mapping[str, RankStability]]) -> Cells | None:
    """Return how stable each ranking is as text: one row for each kind of repetition and ranking."""
    rows = [
        {
            "what differs": kind,
            "ranking": method_title(name),
            "Nogueira": stable.nogueira,
            "95 % interval": " to ".join(f"{end:.2f}" for end in stable.nogueira_interval),
            "overlap of the best": stable.overlap,
            "Spearman": stable.spearman,
        }
        for kind, rankings in stability.items()
        for name, stable in rankings.items()
    ]
    return cells(pd.DataFrame(rows))


def number(value: Any) -> str:
    """Return a number as text: whole ones with thousands apart, others with four significant digits."""
    if value is None or (isinstance(value, Real) and not isinstance(value, bool) and math.isnan(value)):
        return "–"
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        return str(value)
    if isinstance(value, (int, np.integer)):
        return f"{value:,}".replace("-", "−")
    return f"{value:.{DIGITS}g}".replace("-", "−")


def shown(value: Any) -> str:
    """Return a cell as text."""
    if value is None or (not isinstance(value, str) and pd.isna(value)):
        return "missing"
    if isinstance(value, pd.Timestamp):
        return str(value).removesuffix(" 00:00:00")
    if isinstance(value, (float, np.floating)):
        return f"{value:.6g}".replace("-", "−")
    return str(value)


def percent(share: float, decimals: int = 0) -> str:
    """Return a share as per cent; the space does not break."""
    return f"{100 * share:z.{decimals}f}\u00a0%".replace("-", "−")


def probability(value: float) -> str:
    """Return a p-value with three decimals, none smaller than 0.001."""
    if math.isnan(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def models_cells(models: ReferenceModels) -> Cells:
    """Return the scores of the network and the models beside it, and by how much each of them predicts better."""
    table = models.table
    names = {"accuracy": "accuracy", "auc": "AUC", "log_loss": "log loss", "r2": "R²", "rmse": "RMSE"}
    names["weighted_log_loss"] = "weighted log loss"
    columns = {"model": table["model"].tolist()}
    columns |= {title: column_text(table[name]) for name, title in names.items() if name in table}
    gain = "R² above the network’s" if models.task == "regression" else "log loss below the network’s"
    low, high = column_text(table["low"]), column_text(table["high"])
    ends = ["–" if text == "–" else span for text, span in zip(low, spans(low, high), strict=True)]
    columns |= {gain: column_text(table["better_by"]), "95 % interval": ends}
    columns["p"] = [probability(value) for value in table["p"]]
    if table["note"].any():
        columns["fitted on"] = [note or "all of it" for note in table["note"]]
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    return Cells(list(columns), [name not in ("model", "fitted on") for name in columns], rows)


def _intervals(table: pd.DataFrame) -> dict[str, list[str]]:
    columns = {}
    if {"low", "high"} <= set(table):
        ends = column_text(pd.concat([table["low"], table["high"]]))  # one number of decimals for both
        columns["95 % interval"] = spans(ends[: len(table)], ends[len(table) :])
    if {"rank_low", "rank_high"} <= set(table):
        ends = [f"{place:g}" for place in pd.concat([table["rank_low"], table["rank_high"]])]
        columns["place, 95 %"] = spans(ends[: len(table)], ends[len(table) :])
    return columns


def spans(low: list[str], high: list[str]) -> list[str]:
    """Return intervals as text, given their ends."""
    return [f"{a} to {b}" for a, b in zip(low, high, strict=True)]


def column_text(values: pd.Series) -> list[str]:
    """Return a column's values as text, with the decimals that its largest number needs."""
    if not _is_number(values) or pd.api.types.is_integer_dtype(values):
        return [number(value) for value in values]
    finite = np.abs(values.to_numpy(float, na_value=np.nan))
    largest = finite[np.isfinite(finite)].max(initial=0)
    decimals = DIGITS - 1 - math.floor(math.log10(largest)) if largest > 0 else 0
    if not 0 <= decimals <= MAX_DECIMALS:
        return [number(float(value)) for value in values]
    return ["–" if math.isnan(value) else f"{value:,.{decimals}f}".replace("-", "−") for value in values.astype(float)]


def _is_number(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
