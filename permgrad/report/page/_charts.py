"""The page's charts as Vega-Lite specifications: plain dicts, their values inside.

Fields have fixed names; names of columns and classes are values and titles, which Vega draws as text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Spec = dict[str, Any]
Records = Sequence[Mapping[str, Any]]

ACCENT, UP, DOWN, BAND = "#1b4f72", "#c44e52", "#4c72b0", "#d4d9de"
COLOURS = ("#4c72b0", "#dd8452", "#55a868", "#c44e52", "#8172b3", "#937860", "#da8bc3", "#8c8c8c", "#ccb974", "#64b5cd")
CONFIG: Spec = {
    "background": None,
    "font": "system-ui, -apple-system, Segoe UI, Roboto, DejaVu Sans, sans-serif",
    "view": {"stroke": None},
    "axis": {"labelColor": "#1d2329", "titleColor": "#56606b", "titleFontWeight": "normal", "gridColor": "#eceff2"},
    "axisY": {"labelLimit": 150},
    "legend": {"orient": "bottom", "titleColor": "#56606b", "labelLimit": 180, "columns": 3},
    "range": {"category": list(COLOURS)},
    "bar": {"color": ACCENT},
    "line": {"color": ACCENT},
    "point": {"color": ACCENT, "filled": True},
}
"""Of all charts, as the page's own style."""
STEP = 22
"""Pixels of a bar."""
SIDE = 300
"""Height of a chart that is about square."""


def chart(description: str, layers: Sequence[Spec], *, data: Records | None = None, height: Any = SIDE) -> Spec:
    """Return a chart as wide as its place."""
    fit = {"type": "fit-x" if isinstance(height, dict) else "fit", "contains": "padding"}
    spec: Spec = {"description": description, "width": "container", "height": height, "autosize": fit}
    spec["layer"] = list(layers)
    return spec if data is None else {**spec, "data": {"values": list(data)}}


def axis(field: str, title: str | None = None, kind: str = "quantitative", **more: Any) -> Spec:
    """Return an encoding by a field."""
    return {"field": field, "type": kind, "title": title, **more}


def names(field: str, **more: Any) -> Spec:
    """Return the vertical axis of bars: names in the order in which they come."""
    return axis(field, None, "nominal", sort=None, **more)


def line(x: Spec, y: Spec, **more: Any) -> Spec:
    """Return a line with tooltips."""
    return {"mark": {"type": "line", "tooltip": True, **more}, "encoding": {"x": x, "y": y}}


def constant(values: Records, x: Spec, y: Spec) -> Spec:
    """Return a grey line of its own values, which says what is to be expected, by the encodings of another layer."""
    return {
        "data": {"values": list(values)},
        "mark": {"type": "line", "color": "#8a939c", "strokeDash": [3, 3], "strokeWidth": 1},
        "encoding": {"x": {**x, "field": "x"}, "y": {**y, "field": "y"}},
    }


def bars(data: Records, title: str, description: str, *, band: tuple[float, float] | None = None) -> Spec:
    """Return bars with intervals, best first; a band lies behind them.

    Parameters
    ----------
    data : sequence of dict
        ``column``, ``score``; with ``part`` bars are stacked by it; with ``low`` and ``high`` they have whiskers, which
        a row of its own may carry.
    """
    colour = {"color": axis("part", "class", "nominal", sort=None)} if any("part" in row for row in data) else {}
    layers: list[Spec] = []
    if band is not None:
        layers.append(
            {
                "data": {"values": [{"low": band[0], "high": band[1]}]},
                "mark": {"type": "rect", "color": BAND},
                "encoding": {"x": axis("low", title), "x2": {"field": "high"}},
            }
        )
    y = names("column")
    valid = {"filter": "isValid(datum.score)"}
    layers.append(
        {
            "transform": [valid],
            "mark": {"type": "bar", "tooltip": True, "cursor": "pointer"},
            "encoding": {"y": y, "x": axis("score", title), **colour},
        }
    )
    layers.append(
        {
            "transform": [{"filter": "isValid(datum.low)"}],
            "mark": {"type": "rule", "color": "black"},
            "encoding": {"y": y, "x": axis("low", title), "x2": {"field": "high"}},
        }
    )
    return chart(description, layers, data=data, height={"step": STEP})


def waterfall(unit: str) -> Spec:
    """Return the chart of one row's answer, whose bars the page fills in as dataset ``row``.

    A bar has ``column``, what it ``adds``, ``half`` of the interval of that, and the ``base`` where the first begins.
    """
    y = names("column", axis={"labelLimit": 170})
    colour = {"condition": {"test": "datum.adds < 0", "value": DOWN}, "value": UP}
    ends = {"y": y, "x": axis("from", unit, scale={"zero": False}), "x2": {"field": "to"}, "color": colour}
    whisker = {"y": y, "x": axis("low", unit), "x2": {"field": "high"}}
    described = "Waterfall: what each column adds to the row’s answer; the table beside holds the numbers."
    told = [axis("column", None, "nominal"), axis("text", "adds", "nominal")]
    spec = chart(
        described,
        [
            {"mark": "bar", "encoding": {**ends, "tooltip": told}},
            {"mark": {"type": "rule", "color": "black"}, "encoding": whisker},
        ],
        height={"step": STEP},
    )
    summed = {"window": [{"op": "sum", "field": "adds", "as": "sum"}]}
    places = {
        "to": "datum.base + datum.sum",
        "from": "datum.to - datum.adds",
        "low": "datum.to - datum.half",
        "high": "datum.to + datum.half",
    }
    calculated = [{"calculate": formula, "as": name} for name, formula in places.items()]
    return {**spec, "data": {"name": "row"}, "transform": [summed, *calculated]}
