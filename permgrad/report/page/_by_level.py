"""The network in each level of a column: sentences, tables and charts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from permgrad.evaluation.by_level import ALL, FEW, LEAST, ByLevel
from permgrad.report.page import _charts as charts
from permgrad.report.page._tables import Cells, column_text, number, spans

NAMES = {"accuracy": "accuracy", "log_loss": "log loss", "r2": "R²", "rmse": "RMSE"}
ALPHA = 0.05
MOST_TOLD = 3
"""Differences of each kind that are told."""
DRAWN, LISTED = 8, 60
"""Columns of the chart, and of the table."""
TAB_LETTERS = 20
BAR = 9
"""Pixels between two levels of a column."""


def by_values(found: ByLevel) -> dict[str, Any]:
    """Return the template's values of the levels."""
    name = found.by if len(found.by) <= TAB_LETTERS else f"{found.by[: TAB_LETTERS - 1]}…"
    return {
        "column": found.by,
        "tab": f"By {name}",
        "said": [*_differences(found), *_few(found)],
        "compared": len(found.differences()) > 0,
        "scores": _score_cells(found),
        "ranking": _ranking_cells(found),
        "measures": [NAMES[measure] for measure in found.measures],
        "pale": " Paler: few rows." if found.table["few"].any() else "",
        "drawn": min(DRAWN, found.importance["feature"].nunique()),
    }


def by_charts(found: ByLevel) -> dict[str, charts.Spec]:
    """Return the charts: of both measures, and of what the best columns are worth in each level."""
    measured = {f"by_measure_{i}": _measure_chart(found, name) for i, name in enumerate(found.measures)}
    return {**measured, "by_columns": _columns_chart(found)}


def _differences(found: ByLevel) -> list[str]:
    """Say where levels differ by more than noise: in the loss, and in what columns are worth."""
    loss = found.measures[1]
    table = found.differences()
    if not (table["of"] == loss).any():
        return [f"Fewer than two levels have {FEW} test rows: no difference can be told from noise."]
    table = table.assign(told=table["p"] < ALPHA).sort_values("p", kind="stable")
    of_loss, of_columns = table[table["of"] == loss], table[table["of"] != loss]
    told = [_told(row) for row in of_loss[of_loss["told"]].to_dict("records")]
    said = [_sentence(f"The {NAMES[loss]}", told, f"No two levels differ in {NAMES[loss]} by more than noise.")]
    worth = [
        f"{row.of} ({number(row.value)} in {row.level}, {number(row.other_value)} in {row.other})"
        for row in of_columns[of_columns["told"]].itertuples()
    ]
    if len(of_columns):
        none = "No column is worth more in one level than in another by more than noise."
        said.append(_sentence("What a column is worth", worth, none))
    return said


def _told(row: dict[Any, Any]) -> str:
    """Say how two levels differ."""
    least, most = sorted(abs(row[end]) for end in ("low", "high"))
    ends = f"a difference of {number(least)} to {number(most)}"
    return f"{number(row['value'])} in {row['level']} and {number(row['other_value'])} in {row['other']} ({ends})"


def _sentence(what: str, told: list[str], none: str) -> str:
    if not told:
        return none
    more = f"; and {len(told) - MOST_TOLD} more pairs" if len(told) > MOST_TOLD else ""
    return f"{what} differs by more than noise: {'; '.join(told[:MOST_TOLD])}{more}."


def _few(found: ByLevel) -> list[str]:
    """Say in which levels too few rows tell."""
    few = found.table[found.table["few"] & (found.table["level"] != ALL)]
    if few.empty:
        return []
    names = ", ".join(f"{level} ({number(int(n))})" for level, n in zip(few["level"], few["rows"], strict=True))
    unranked = [level for level in few["level"] if level not in found.rankings]
    left = f" Columns are not ranked in those under {LEAST}." if unranked else ""
    return [f"Too few rows to tell: {names}. Levels under {FEW} rows are not compared.{left}"]


def _score_cells(found: ByLevel) -> Cells:
    """Return the measures of each level, with intervals."""
    table = found.table
    columns = {"level": table["level"].tolist(), "rows": [number(int(n)) for n in table["rows"]]}
    for measure in found.measures:
        values = table[[measure, f"{measure}_low", f"{measure}_high"]]
        value, low, high = _as_text(values).T.tolist()
        columns |= {NAMES[measure]: value, f"{NAMES[measure]}, 95 % interval": spans(low, high)}
    if table["few"].any():
        columns["note"] = ["few rows" if few else "" for few in table["few"]]
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    return Cells(list(columns), [name not in ("level", "note") for name in columns], rows)


def _ranking_cells(found: ByLevel) -> Cells:
    """Return each column's score in each level, and its place there; of columns that are worth exactly 0, none."""
    wide = found.scores()
    levels = [name for name in wide.columns if name != "feature"]
    places = found.importance.pivot(index="feature", columns="level", values="rank").loc[wide["feature"]]
    scores = _as_text(wide[levels])
    columns = {"column": wide["feature"].tolist()}
    for i, level in enumerate(levels):
        told = zip(scores[:, i], wide[level], places[level], strict=True)
        columns[str(level)] = [f"{text} ({place:.0f})" if score else text for text, score, place in told]
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    return Cells(list(columns), [name != "column" for name in columns], rows[:LISTED], max(0, len(rows) - LISTED))


def _as_text(numbers: pd.DataFrame) -> np.ndarray:
    """Return numbers as text, all with as many decimals as the largest needs."""
    return np.array(column_text(pd.Series(numbers.to_numpy(float).ravel()))).reshape(numbers.shape)


def _measure_chart(found: ByLevel, measure: str) -> charts.Spec:
    title = NAMES[measure]
    table = found.table[np.isfinite(found.table[measure])]
    values = [
        {
            "level": f"{row['level']} ({number(int(row['rows']))})",
            "value": row[measure],
            "low": row[f"{measure}_low"],
            "high": row[f"{measure}_high"],
            "few": bool(row["few"]),
        }
        for _, row in table.iterrows()
    ]
    y, pale = charts.names("level"), _pale()
    x = charts.axis("value", title, scale={"zero": False})
    layers: list[charts.Spec] = [
        {
            "mark": {"type": "rule", "color": charts.ACCENT},
            "encoding": {"y": y, "x": charts.axis("low", title), "x2": {"field": "high"}, "opacity": pale},
        },
        {"mark": {"type": "point", "size": 60, "tooltip": True}, "encoding": {"y": y, "x": x, "opacity": pale}},
    ]
    return charts.chart(f"{title} in each level of {found.by}", layers, data=values, height={"step": 26})


def _columns_chart(found: ByLevel) -> charts.Spec:
    few = dict(zip(found.table["level"], found.table["few"], strict=True))
    levels = [level for level in found.table["level"] if level in found.rankings]
    at = found.importance.set_index(["feature", "level"])
    values = []
    for name in found.scores(DRAWN)["feature"]:
        for level in levels:
            row: Any = at.loc[(name, level)]
            ends = {"low": row["low"], "high": row["high"]} if np.isfinite(row["low"]) else {}
            values.append({"column": name, "level": level, "score": row["score"], **ends, "few": bool(few[level])})
    title = "what the column saves of the loss there"
    colour = charts.axis("level", found.by, "nominal", sort=None)
    place = {"y": charts.names("column"), "yOffset": {"field": "level", "type": "nominal", "sort": levels}}
    place |= {"color": colour, "opacity": _pale()}
    whiskers = {**place, "x": charts.axis("low", title), "x2": {"field": "high"}}
    zero = {
        "data": {"values": [{"zero": 0}]},
        "mark": {"type": "rule", "color": "#8a939c"},
        "encoding": {"x": charts.axis("zero", title)},
    }
    points = {
        "mark": {"type": "point", "size": 40, "tooltip": True, "cursor": "pointer"},
        "encoding": {**place, "x": charts.axis("score", title)},
    }
    rules = {"transform": [{"filter": "isValid(datum.low)"}], "mark": {"type": "rule"}, "encoding": whiskers}
    height = {"step": max(18, BAR * (len(levels) + 1)), "for": "position"}
    said = f"What the best columns are worth in each level of {found.by}; the table below holds the numbers."
    return charts.chart(said, [zero, rules, points], data=values, height=height)


def _pale() -> charts.Spec:
    """Return the encoding by which levels of few rows are paler."""
    return {"condition": {"test": "datum.few", "value": 0.4}, "value": 1}
