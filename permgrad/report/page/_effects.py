"""Which way a column pushes the answer, and what it does together with others, as charts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from permgrad.importance.effects import ColumnEffect, Effects
from permgrad.importance.responding.interactions import Interactions
from permgrad.report.page import _charts as charts

MOST_PAIRS = 5
"""In the table of the strongest."""


def effect_title(effects: Effects, target: str) -> str:
    """Say what an effect is of."""
    if effects.classes is None:
        return f"effect on {target}"
    of = f" of {effects.told_classes[0]}" if len(effects.told_classes) == 1 else ""
    return f"effect on the {effects.unit}{of}"


def effect_charts(effects: Effects, target: str) -> dict[str, charts.Spec]:
    """Return the chart of each column's effect: a line with its interval, or a point for each level."""
    title = effect_title(effects, target)
    return {
        column.name: _of_levels(column, _records(column, effects), title)
        if column.is_category and not column.is_date
        else _of_numbers(column, _records(column, effects), title)
        for column in effects.columns
    }


def pair_charts(found: Interactions | None) -> dict[str, charts.Spec]:
    """Return for each column the chart of what it does together with each other, beyond both alone."""
    if found is None:
        return {}
    title = f"beyond each alone, {found.unit}"
    return {
        name: charts.bars(pairs_of(found, name), title, f"What {name} does together with other columns, beyond each")
        for name in found.columns
    }


def pairs_of(found: Interactions, name: str) -> list[dict[str, Any]]:
    """Return the other columns, that first with which a column does most beyond each alone."""
    records: list[dict[str, Any]] = []
    for row in found.table.to_dict("records"):
        if name in (row["first"], row["second"]):
            other = row["second"] if row["first"] == name else row["first"]
            low, high = float(row["strength_low"]), float(row["strength_high"])
            records.append({"column": other, "score": float(row["strength"]), "low": low, "high": high})
    return records


def strongest_pairs(found: Interactions | None) -> pd.DataFrame | None:
    """Return the strongest pairs as a table for readers."""
    if found is None:
        return None
    table = found.table.head(MOST_PAIRS)
    named = {"columns": table["first"] + " × " + table["second"], f"beyond each alone, {found.unit}": table["strength"]}
    return pd.DataFrame({**named, "from": table["strength_low"], "to": table["strength_high"], "H²": table["h2"]})


def _records(column: ColumnEffect, effects: Effects) -> list[dict[str, Any]]:
    """Return a record for each value, of each class: ``x``, ``effect``, ``low``, ``high``, ``share``, ``part``."""
    classes = effects.told_classes or ("",)
    shape = (len(column.values), len(classes))
    parts = [np.reshape(getattr(column, name), shape) for name in ("effect", "lower", "upper")]
    found = []
    for i, value in enumerate(column.values):
        if not isinstance(value, str) and not np.isfinite(value):
            continue
        x = int(pd.Timestamp(value).timestamp() * 1000) if column.is_date else value
        for c, label in enumerate(classes):
            effect, low, high = (float(f"{part[i, c]:.5g}") for part in parts)
            known = {"x": x if isinstance(x, (str, int)) else float(x), "effect": effect, "low": low, "high": high}
            found.append({**known, "share": round(float(column.weights[i]), 4), **({"part": label} if label else {})})
    return found


def _colour(rows: charts.Records) -> charts.Spec:
    several = len({row.get("part") for row in rows}) > 1
    return {"color": charts.axis("part", "class", "nominal", sort=None)} if several else {}


def _of_numbers(column: ColumnEffect, rows: charts.Records, title: str) -> charts.Spec:
    x = charts.axis("x", column.name, "temporal") if column.is_date else charts.axis("x", column.name)
    x["scale"] = {"zero": False}
    colour = _colour(rows)
    ends = {"x": x, "y": charts.axis("low", title), "y2": {"field": "high"}}
    area = {"mark": {"type": "area", "opacity": 0.2, "color": charts.ACCENT}, "encoding": {**ends, **colour}}
    line = charts.line(x, charts.axis("effect", title), point={"size": 18})
    line["encoding"] |= colour
    return charts.chart(
        f"Effect of {column.name}, with 95 % interval", [_zero("y", title), area, line], data=rows, height=220
    )


def _of_levels(column: ColumnEffect, rows: charts.Records, title: str) -> charts.Spec:
    y, colour = charts.names("x"), _colour(rows)
    rule = {"y": y, "x": charts.axis("low", title), "x2": {"field": "high"}, **colour}
    point = {"y": y, "x": charts.axis("effect", title), **colour}
    layers: list[charts.Spec] = [
        _zero("x", title),
        {"mark": {"type": "rule", "strokeWidth": 2}, "encoding": rule},
        {"mark": {"type": "point", "size": 60, "tooltip": True}, "encoding": point},
    ]
    return charts.chart(f"Effect of {column.name}, with 95 % intervals", layers, data=rows, height={"step": 26})


def _zero(at: str, title: str) -> charts.Spec:
    rule = {at: charts.axis("zero", title)}
    return {"data": {"values": [{"zero": 0}]}, "mark": {"type": "rule", "color": "#8a939c"}, "encoding": rule}
