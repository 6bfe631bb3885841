"""What the page says of a column that is asked for: its values, what it is worth, and what goes with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from permgrad.data.table import Table
from permgrad.importance.ranking import FeatureRanking
from permgrad.plotting import method_title
from permgrad.report.page import _charts as charts
from permgrad.report.page._content import drawn_from
from permgrad.report.page._effects import effect_charts, pair_charts
from permgrad.report.page._tables import number
from permgrad.report.results import Results

MAX_ASKED = 60
"""Columns that can be asked for, the best ones."""
BINS = 20
LEVELS = 12
"""Of a category, the most frequent ones."""
POINTS = 300
"""Rows that a scatter plot shows."""
EFFECT = "Its effect on the network’s mean prediction, centred at 0 (accumulated local effects)."
PAIRS = "Interaction with other columns, beyond the effects of each column: standard deviation over rows."
WORTH = {"first_in": "on its own (first in) it saves", "end_to_end": "without it (last in) the loss rises by"}


def asked_columns(results: Results) -> list[dict[str, Any]]:
    """Return what the page holds of each of the best columns: name, sentences and charts, ready for JSON."""
    ranking = results.ranking
    known = results.checkup.table.set_index("column")
    effects = effect_charts(results.effects, str(results.test.y.name))
    values = f"Its values in {number(len(results.table))} rows of the table{drawn_from(results)}."
    pairs = pair_charts(results.interactions)
    alike = {name: group for group in ranking.settings.get("alike") or () for name in group}
    return [
        {
            "name": name,
            "said": [_place(ranking, place), *_values(known, name), *_alike(alike.get(name, ()), name)],
            "charts": [
                {"title": values, "spec": distribution(results.table, name)},
                *([{"title": EFFECT, "spec": effects[name]}] if name in effects else []),
                *([{"title": PAIRS, "spec": pairs[name]}] if name in pairs else []),
            ],
        }
        for place, name in enumerate(asked_names(ranking), 1)
        if name in results.table.X
    ]


def asked_names(ranking: FeatureRanking) -> list[str]:
    """Return the names of the columns that can be asked for, best first."""
    return [ranking.features[i] for i in ranking.order[:MAX_ASKED]]


def _place(ranking: FeatureRanking, place: int) -> str:
    """Say what a column is worth."""
    at = ranking.order[place - 1]
    name = ranking.features[at]
    if name in ranking.pending:
        return "It was not measured: the time limit left it out."
    if name in ranking.unused:
        return "It never varies in the training rows, so the network does not use it."
    said = f"Place {place} of {len(ranking.features)}: score {number(float(ranking.scores[at]))}"
    if ranking.low is not None and ranking.high is not None:
        said += f" ({number(float(ranking.low[at]))} to {number(float(ranking.high[at]))})"
    for part, words in WORTH.items():
        if part in ranking.components:
            said += f"; {words} {number(float(ranking.components[part].scores[at]))}"
    parts = ", ".join(
        f"{method_title(branch)} {number(float(ranking.components[branch].scores[at]))}"
        for branch in ("tabular", "image")
        if branch in ranking.components
    )
    probe = " It is a probe: a shuffled copy of another column, without information." if name in ranking.probes else ""
    return said + (f" ({parts})" if parts else "") + "." + probe


def _values(known: pd.DataFrame, name: str) -> list[str]:
    """Say what a column holds."""
    if name not in known.index:
        return []
    row: Any = known.loc[name]
    missing = f", {number(int(row['missing']))} missing" if row["missing"] else ""
    ends = f", {row['low']} to {row['high']}" if row["low"] else ""
    return [f"{str(row['kind']).capitalize()}: {number(int(row['distinct']))} distinct values{ends}{missing}."]


def _alike(group: Any, name: str) -> list[str]:
    others = [other for other in group if other != name]
    return [f"Correlates with {', '.join(others[:6])}: such columns share their score."] if others else []


def distribution(table: Table, name: str) -> charts.Spec:
    """Return the chart of a column's values: counts by class, or the target against them."""
    column, target = table.X[name], str(table.y.name)
    number_like = is_number(column)
    if table.task == "classification":
        counts = _binned(column, table.y) if number_like else _levels(column, table.y)
        return _histogram(counts, name, target) if number_like else _level_bars(counts, name, target)
    rows = np.flatnonzero(column.notna())
    rows = np.sort(np.random.default_rng(0).permutation(rows)[:POINTS])
    values = column.iloc[rows]
    points = [
        {"x": plain_value(value), "y": float(y)}
        for value, y in zip(values, table.y.iloc[rows].to_numpy(float), strict=True)
    ]
    dates = pd.api.types.is_datetime64_any_dtype(column.dtype)
    kind = "temporal" if dates else "quantitative" if number_like else "nominal"
    x = charts.axis("x", name, kind, **({"scale": {"zero": False}} if kind == "quantitative" else {}))
    mark = {"type": "point", "opacity": 0.5, "size": 25, "tooltip": True}
    encoding = {"x": x, "y": charts.axis("y", target, scale={"zero": False})}
    return charts.chart(
        f"{target} against {name}, {len(rows)} rows", [{"mark": mark, "encoding": encoding}], data=points, height=220
    )


def is_number(column: pd.Series) -> bool:
    """Tell whether a column's values are numbers or dates, and no levels."""
    if pd.api.types.is_bool_dtype(column) or isinstance(column.dtype, pd.CategoricalDtype):
        return False
    return pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column.dtype)


def plain_value(value: Any) -> Any:
    """Return a cell as JSON has it: dates as milliseconds, levels as text."""
    if isinstance(value, pd.Timestamp):
        return int(value.timestamp() * 1000)
    return float(value) if isinstance(value, (int, float, np.number)) and not isinstance(value, bool) else str(value)


def _binned(column: pd.Series, y: pd.Series) -> list[dict[str, Any]]:
    """Return the number of rows in each bin by class: ``low``, ``high``, ``n``, ``part``."""
    known = column.notna().to_numpy()
    values = np.array([plain_value(value) for value in column[known]], float)
    if not len(values):
        return []
    edges = np.histogram_bin_edges(values, bins=min(BINS, max(1, len(np.unique(values)))))
    found = []
    for label in np.unique(y):
        counts, _ = np.histogram(values[(y[known] == label).to_numpy()], bins=edges)
        found += [
            {"low": float(low), "high": float(high), "n": int(n), "part": str(label)}
            for low, high, n in zip(edges, edges[1:], counts, strict=False)
            if n
        ]
    return found


def _levels(column: pd.Series, y: pd.Series) -> list[dict[str, Any]]:
    """Return the number of rows of each level by class: ``level``, ``n``, ``part``."""
    text = column.map(str, na_action="ignore").astype(object)
    kept = text.value_counts().index[:LEVELS]
    counts = pd.crosstab(text.where(text.isin(kept)), y.map(str))
    return [
        {"level": level, "n": int(n), "part": label}
        for level in kept
        if level in counts.index
        for label, n in counts.loc[level].items()
        if n
    ]


def _histogram(counts: charts.Records, name: str, target: str) -> charts.Spec:
    encoding = {
        "x": charts.axis("low", name, bin={"binned": True}, scale={"zero": False}),
        "x2": {"field": "high"},
        "y": charts.axis("n", "rows"),
        "color": charts.axis("part", target, "nominal"),
    }
    layer = {"mark": {"type": "bar", "tooltip": True}, "encoding": encoding}
    return charts.chart(f"Histogram of {name} by {target}", [layer], data=counts, height=220)


def _level_bars(counts: charts.Records, name: str, target: str) -> charts.Spec:
    encoding = {
        "y": charts.names("level"),
        "x": charts.axis("n", "rows"),
        "color": charts.axis("part", target, "nominal"),
    }
    layer = {"mark": {"type": "bar", "tooltip": True}, "encoding": encoding}
    return charts.chart(f"Rows of each level of {name} by {target}", [layer], data=counts, height={"step": charts.STEP})
