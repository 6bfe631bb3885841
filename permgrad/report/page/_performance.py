"""How good the network is, as charts that can be asked: curves of classes, predicted against true numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from permgrad.evaluation.reference_models import ReferenceModels
from permgrad.metrics.curves import Curve, precision_recall_points, roc_points
from permgrad.report.page import _charts as charts
from permgrad.report.pictures import class_outcomes, curves_beside, reliability
from permgrad.report.results import Results

MOST_ROWS = 1000
"""Points of a scatter plot, drawn at random of more."""


def performance_charts(results: Results) -> dict[str, charts.Spec]:
    """Return the charts by the names of the pictures that they take the place of.

    Of two classes, the reference models' curves are beside the network's; of more, charts of their own hold theirs.
    """
    if results.test.task != "classification":
        return {"predicted_against_true": _scatter(results), "residuals": _residuals(results)}
    found = {"confusion": _confusion(results), "reliability": _reliability(results)}
    outcomes = class_outcomes(results)
    if not outcomes:
        return found
    of_classes = {
        "roc": {label: roc_points(*told, results.test.weights) for label, told in outcomes.items()},
        "precision_recall": {
            label: precision_recall_points(*told, results.test.weights) for label, told in outcomes.items()
        },
    }
    of_models = {kind: {name: known[kind] for name, known in curves_beside(results).items()} for kind in of_classes}
    two = len(results.estimator.classes_) == 2
    share = float(np.average(next(iter(outcomes.values()))[0], weights=results.test.weights))
    for kind, curves in of_classes.items():
        if two and of_models[kind]:
            found[kind] = _curves(kind, of_models[kind], "model", share)
            continue
        found[kind] = _curves(kind, curves, "class", share if len(curves) == 1 else None)
        if of_models[kind]:
            found[f"models_{kind}"] = _curves(kind, of_models[kind], "model", None)
    return found


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


def _curves(kind: str, curves: dict[str, Curve], colour: str, share: float | None) -> charts.Spec:
    """Return a chart of curves, each of a class or a model; `share` is that of the rows that are of the one class."""
    titles = {"roc": ("false positive rate", "true positive rate"), "precision_recall": ("recall", "precision")}
    said = {"roc": "ROC curves", "precision_recall": "Precision–recall curves"}
    chance: list[dict[str, float]] = [{"x": 0, "y": 0}, {"x": 1, "y": 1}]
    if kind == "precision_recall":
        chance = [] if share is None else [{"x": 0, "y": share}, {"x": 1, "y": share}]
    x, y = (charts.axis(at, title, scale={"domain": [0, 1]}) for at, title in zip("xy", titles[kind], strict=True))
    layer = charts.line(x, y)
    layer["encoding"] |= {"color": charts.axis("part", colour, "nominal", sort=None), "order": charts.axis("place")}
    behind = [charts.constant(chance, x, y)] if chance else []
    return charts.chart(said[kind], [layer, *behind], data=_points(curves))


def _points(curves: dict[str, Curve]) -> list[dict[str, Any]]:
    return [
        {"x": x, "y": y, "part": name, "place": place}
        for name, curve in curves.items()
        for place, (x, y) in enumerate(zip(curve["x"], curve["y"], strict=True))
    ]


def _reliability(results: Results) -> charts.Spec:
    curve, of = reliability(results)
    name = f"probability of {'the likeliest class' if of is None else of}"
    unit: charts.Spec = {"scale": {"domain": [0, 1]}}
    x, y_axis = charts.axis("predicted", name, **unit), charts.axis("share", "share of rows", **unit)
    rule = {"x": x, "y": charts.axis("low", "share of rows", **unit), "y2": {"field": "high"}}
    data, line = _records(curve), charts.line(x, y_axis, point=True)
    beside = curves_beside(results)
    if beside:
        network, *others = beside
        data = [{**row, "part": network} for row in data]
        for model in others:
            points = zip(*beside[model]["reliability"].values(), strict=True)
            data += [{"predicted": a, "share": b, "part": model} for a, b in points]
        line["encoding"]["color"] = charts.axis("part", "model", "nominal", sort=None)
    layers: list[charts.Spec] = [
        charts.constant([{"x": 0, "y": 0}, {"x": 1, "y": 1}], x, y_axis),
        {"transform": [{"filter": "isValid(datum.low)"}], "mark": {"type": "rule"}, "encoding": rule},
        line,
    ]
    return charts.chart("Reliability: share of test rows against the probability given", layers, data=data)


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
