"""How good the network is, as charts that can be asked: curves of classes, predicted against true numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_curve, roc_curve

from permgrad.evaluation.reference_models import ReferenceModels
from permgrad.report.page import _charts as charts
from permgrad.report.pictures import class_outcomes, reliability
from permgrad.report.results import Results

POINTS = 150
"""Of a curve."""
MOST_ROWS = 1000
"""Points of a scatter plot, drawn at random of more."""


def performance_charts(results: Results) -> dict[str, charts.Spec]:
    """Return the charts by the names of the pictures that they take the place of."""
    if results.test.task != "classification":
        return {"predicted_against_true": _scatter(results), "residuals": _residuals(results)}
    found = {"confusion": _confusion(results), "reliability": _reliability(results)}
    outcomes = class_outcomes(results)
    if not outcomes:
        return found
    weights = results.test.weights
    return {**found, "roc": _roc(outcomes, weights), "precision_recall": _precision_recall(outcomes, weights)}


def models_chart(models: ReferenceModels) -> charts.Spec | None:
    """Return a chart of how much better each model predicts than the network, with intervals."""
    table = models.table.dropna(subset=["better_by", "low", "high"])
    if table.empty:
        return None
    gain = f"better than the network, by {'R²' if models.task == 'regression' else 'log loss'}"
    values = table[["model", "better_by", "low", "high"]].to_dict("records")
    y, x = charts.names("model"), charts.axis("better_by", gain)
    rule = {"y": y, "x": charts.axis("low", x["title"]), "x2": {"field": "high"}}
    layers: list[charts.Spec] = [
        {
            "data": {"values": [{"zero": 0}]},
            "mark": {"type": "rule"},
            "encoding": {"x": charts.axis("zero", x["title"])},
        },
        {"mark": {"type": "rule", "color": charts.ACCENT}, "encoding": rule},
        {"mark": {"type": "point", "size": 60, "tooltip": True}, "encoding": {"y": y, "x": x}},
    ]
    return charts.chart(f"Reference models: {gain}, with 95 % intervals", layers, data=values, height={"step": 34})  # type: ignore[arg-type]


def _roc(outcomes: dict[str, tuple[np.ndarray, np.ndarray]], weights: Any) -> charts.Spec:
    rows = []
    for label, (happened, p) in outcomes.items():
        false, true, _ = roc_curve(happened, p, sample_weight=weights)
        rows += _thinned(label, x=false, y=true)
    x = charts.axis("x", "false positive rate")
    return _curves(rows, x, charts.axis("y", "true positive rate"), "ROC curves", [{"x": 0, "y": 0}, {"x": 1, "y": 1}])


def _precision_recall(outcomes: dict[str, tuple[np.ndarray, np.ndarray]], weights: Any) -> charts.Spec:
    rows = []
    for label, (happened, p) in outcomes.items():
        precision, recall, _ = precision_recall_curve(happened, p, sample_weight=weights)
        rows += _thinned(label, x=recall[::-1], y=precision[::-1])
    share = float(np.average(next(iter(outcomes.values()))[0], weights=weights))
    chance = [{"x": 0, "y": share}, {"x": 1, "y": share}] if len(outcomes) == 1 else []
    return _curves(rows, charts.axis("x", "recall"), charts.axis("y", "precision"), "Precision–recall curves", chance)


def _thinned(label: str, x: np.ndarray, y: np.ndarray) -> list[dict[str, Any]]:
    at = np.unique(np.linspace(0, len(x) - 1, POINTS).astype(int))
    return [
        {"x": round(float(a), 4), "y": round(float(b), 4), "part": label, "place": place}
        for place, (a, b) in enumerate(zip(x[at], y[at], strict=True))
    ]


def _curves(rows: charts.Records, x: charts.Spec, y: charts.Spec, said: str, chance: charts.Records) -> charts.Spec:
    unit: charts.Spec = {"scale": {"domain": [0, 1]}}
    x, y = {**x, **unit}, {**y, **unit}
    layer = charts.line(x, y)
    layer["encoding"] |= {"color": charts.axis("part", "class", "nominal", sort=None), "order": charts.axis("place")}
    return charts.chart(said, [layer, *([charts.constant(chance, x, y)] if chance else [])], data=rows)


def _reliability(results: Results) -> charts.Spec:
    curve, of = reliability(results)
    name = f"probability of {'the likeliest class' if of is None else of}"
    unit: charts.Spec = {"scale": {"domain": [0, 1]}}
    x, y_axis = charts.axis("predicted", name, **unit), charts.axis("share", "share of rows", **unit)
    rule = {"x": x, "y": charts.axis("low", "share of rows", **unit), "y2": {"field": "high"}}
    layers: list[charts.Spec] = [
        charts.constant([{"x": 0, "y": 0}, {"x": 1, "y": 1}], x, y_axis),
        {"mark": {"type": "rule"}, "encoding": rule},
        charts.line(x, y_axis, point=True),
    ]
    return charts.chart("Reliability: share of test rows against the probability given", layers, data=_records(curve))


def _confusion(results: Results) -> charts.Spec:
    classes = [str(label) for label in results.estimator.classes_]
    predicted = np.searchsorted(results.estimator.classes_, results.predicted)
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, (results.class_numbers, predicted), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rows = [
        {"true": classes[i], "predicted": classes[j], "rows": int(counts[i, j]), "share": round(float(shares[i, j]), 4)}
        for i in range(len(classes))
        for j in range(len(classes))
    ]
    x = charts.axis("predicted", "predicted", "nominal", sort=None, axis={"labelAngle": 0 if len(classes) < 6 else -90})
    y = charts.axis("true", "true", "nominal", sort=None)
    heat = charts.axis("share", "share of the class", scale={"scheme": "blues", "domain": [0, 1]}, legend=None)
    layers: list[charts.Spec] = [
        {"mark": {"type": "rect", "tooltip": True}, "encoding": {"x": x, "y": y, "color": heat}}
    ]
    if len(classes) <= 15:
        colour = {"condition": {"test": "datum.share > 0.55", "value": "white"}, "value": "black"}
        written = {"x": x, "y": y, "text": charts.axis("rows"), "color": colour}
        layers.append({"mark": {"type": "text"}, "encoding": written})
    return charts.chart("Confusion matrix: rows by true and predicted class", layers, data=rows)


def _scatter(results: Results) -> charts.Spec:
    rows = _drawn(results)
    ends = [
        min(min(row["true"], row["predicted"]) for row in rows),
        max(max(row["true"], row["predicted"]) for row in rows),
    ]
    target = str(results.test.y.name)
    near: charts.Spec = {"scale": {"zero": False}}
    encoding: charts.Spec = {
        "x": charts.axis("true", f"true {target}", **near),
        "y": charts.axis("predicted", f"predicted {target}", **near),
        "tooltip": [{"field": name, "type": "nominal"} for name in ("row", "true", "predicted")],
    }
    diagonal = charts.constant([{"x": end, "y": end} for end in ends], encoding["x"], encoding["y"])
    points = {"mark": {"type": "point", "opacity": 0.6, "size": 30}, "encoding": encoding}
    return charts.chart("Predicted against true values of the test rows", [diagonal, points], data=rows)


def _residuals(results: Results) -> charts.Spec:
    rows = [{**row, "residual": round(row["true"] - row["predicted"], 6)} for row in _drawn(results)]
    near: charts.Spec = {"scale": {"zero": False}}
    encoding = {
        "x": charts.axis("predicted", f"predicted {results.test.y.name}", **near),
        "y": charts.axis("residual", "true − predicted"),
        "tooltip": [{"field": name, "type": "nominal"} for name in ("row", "true", "predicted", "residual")],
    }
    zero: charts.Spec = {
        "data": {"values": [{"zero": 0}]},
        "mark": {"type": "rule", "color": "#8a939c"},
        "encoding": {"y": charts.axis("zero", "true − predicted")},
    }
    points = {"mark": {"type": "point", "opacity": 0.6, "size": 30}, "encoding": encoding}
    return charts.chart("True less predicted values against predicted ones", [zero, points], data=rows)


def _drawn(results: Results) -> list[dict[str, Any]]:
    y = np.asarray(results.test.y, float)
    rows = np.sort(np.random.default_rng(0).permutation(len(y))[:MOST_ROWS])
    return [
        {"row": int(i) + 1, "true": float(f"{y[i]:.6g}"), "predicted": float(f"{results.predicted[i]:.6g}")}
        for i in rows
    ]


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): round(float(value), 4) for name, value in row.items()} for row in frame.to_dict("records")]
