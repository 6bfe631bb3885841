"""What the page can be asked, without a browser: answers to changed rows, likeness, curves, sorted cells."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from permgrad.importance.row_explanations import RowExplanations
from permgrad.metrics.curves import curves_of
from permgrad.report.page import _columns as columns
from permgrad.report.page import _performance as performance
from permgrad.report.page._columns import plain_value
from permgrad.report.page._effects import effect_charts, pair_charts, pairs_of, strongest_pairs
from permgrad.report.page._ranking import ranked_table, ranking_charts
from permgrad.report.page._rows import nearest
from permgrad.report.page._script import as_script
from permgrad.report.page._what_if import VALUES, changed, grid, places, what_if
from permgrad.report.pictures import pictures_of_classes, reliability
from permgrad.report.results import Results

N = 40


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"x": rng.normal(size=N), "kind": rng.choice(["u", "v"], N), "yes": rng.random(N) < 0.5})
    X = X.assign(day=pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(N), unit="D"), probe=rng.normal(size=N))
    X.loc[0, "x"] = np.nan
    return X


class Classifier:
    """Probabilities by a formula, of as many classes as it is told."""

    layout_ = None

    def __init__(self, n_classes: int) -> None:
        self.classes_ = np.array(list("abc")[:n_classes])

    def predict_proba(self, X):
        z = 0.5 * X["x"].fillna(1.0) + (X["kind"] == "u") * X["x"].fillna(0.0) - X["yes"] + X["day"].dt.day / 30
        scores = np.column_stack([np.zeros(len(X)), z, z**2])[:, : len(self.classes_)]
        return np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


class Regressor:
    layout_ = None

    def predict(self, X):
        return 100 + 10 * Classifier(2).predict_proba(X)[:, 1]


def results_of(estimator, frame: pd.DataFrame) -> Results:
    y = estimator.predict(frame)
    y[:3] = y[::-1][:3]
    task = "classification" if hasattr(estimator, "classes_") else "regression"
    table = pg.Table(frame, pd.Series(y, name="y"), name="t", task=task)
    settings = {"probes": ["probe"]}
    ranking = pg.FeatureRanking(tuple(frame), [5.0, 4.0, 3.0, 2.0, 9.0], method="shapley", settings=settings)
    return Results(estimator, ranking, table, table, 0)


@pytest.mark.parametrize("estimator", [Classifier(2), Classifier(3), Regressor()], ids=["two", "three", "number"])
def test_an_answer_to_one_change_is_the_models_own(estimator, frame):
    results, at = results_of(estimator, frame), np.array([0, 7, 21])
    known = what_if(results, at)
    assert [column["name"] for column in known["columns"]] == ["x", "kind", "yes", "day"]  # no probe, best first
    for column in known["columns"]:
        name = column["name"]
        chosen = results.table.X[name].iloc[grid(results.table.X[name])].tolist()
        assert column["values"] == [plain_value(value) for value in chosen]
        assert len(chosen) == len(column["labels"]) == min(VALUES, results.table.X[name].nunique())
        for i, row in enumerate(at):
            for value, answer in zip(chosen, column["answers"][i], strict=True):
                one = results.test.X.iloc[[row]].copy()
                one[name] = pd.Series([value], index=one.index, dtype=one[name].dtype)
                np.testing.assert_allclose(shares(answer, known["classes"]), said(estimator, one), atol=6e-4)
    own = [shares(answer, known["classes"]) for answer in known["own"]]
    np.testing.assert_allclose(own, said(estimator, results.test.X.iloc[at]), atol=6e-4)


def said(estimator, X) -> np.ndarray:
    return estimator.predict_proba(X).squeeze() if hasattr(estimator, "classes_") else estimator.predict(X).squeeze()


def shares(answer: list[float], classes) -> np.ndarray:
    """Return what the page makes of an answer."""
    if classes is None:
        return np.array(answer).squeeze()
    weights = np.exp([0, *answer] if len(answer) == 1 else answer)
    return weights / weights.sum()


def test_values_to_choose_from_span_the_column(frame):
    numbers = frame["x"].iloc[grid(frame["x"])]
    assert numbers.is_monotonic_increasing
    assert (numbers.iloc[0], numbers.iloc[-1]) == (frame["x"].min(), frame["x"].max())
    levels = pd.Series(["b"] * 3 + ["a"] * 2 + [None] + [f"z{i}" for i in range(20)])
    chosen = levels.iloc[grid(levels)].tolist()
    assert chosen[:2] == ["a", "b"]
    assert len(chosen) == VALUES
    ordered = pd.Series(pd.Categorical(["low", "high", "low"], ["low", "high"], ordered=True))
    assert ordered.iloc[grid(ordered)].tolist() == ["low", "high"]
    assert places(pd.Series([np.nan, -9.0, 2.0, 9.0]), pd.Series([0.0, 2.0, 4.0])) == [0, 0, 1, 2]
    assert places(levels, levels) == [-1] * len(levels)
    block = changed(frame.iloc[:2], "yes", pd.Series([True, False]))
    assert block["yes"].tolist() == [True, False] * 2
    assert block.dtypes.equals(frame.dtypes)


def test_rows_like_another_are_those_of_its_class_whose_values_are_near():
    values = np.array([[0.0, 0], [5, 0], [1, 0], [0.5, 0], [0, 3]])
    explained = ("a", "a", "a", "b", "a")
    zeros = np.zeros(5)
    found = RowExplanations(("x", "z"), values, 0 * values, zeros, zeros, explained=explained)
    assert nearest(found)[0] == [2, 4, 1]
    assert nearest(found)[3] == []


def test_cells_are_sorted_by_what_they_show():
    ranking = pg.FeatureRanking(
        ("a", "1", "c"),
        [2.0, 1500.0, 0.0],
        low=[-1.0, 1400, 0],
        high=[3.0, 1600, 0],
        p_values=[0.0001, 0.5, 1],
        classes=("u", "v"),
        class_scores=[[1.0, 1], [500, 1000], [-1, 1]],
        pending=("c",),
    )
    table = ranked_table(ranking, 2)
    assert table.cells.header == ["#", "column", "score", "95 % interval", "p", "q", "score of u", "score of v"]
    assert table.sort_by[0] == [1, None, 1500, 1400, 0.5, 0.5, 500, 1000]
    assert table.sort_by[1][:5] == [2, None, 2, -1, 0.001]
    assert table.classes == [*[None] * 6, 0, 1]
    assert ranked_table(ranking, 3).sort_by[2] == [None] * 8
    whole, of_classes = ranking_charts(ranking)
    bars = [row for row in whole["data"]["values"] if "score" in row]
    assert [(row["column"], row["score"], row["part"]) for row in bars[:2]] == [("1", 500, "u"), ("1", 1000, "v")]
    assert [row["column"] for row in of_classes[0]["data"]["values"]] == ["1", "a"]


def test_counts_of_a_column_add_up(frame):
    results = results_of(Classifier(3), frame)
    for name in frame:
        counts = columns.distribution(results.table, name)["data"]["values"]
        assert sum(row["n"] for row in counts) == frame[name].notna().sum()
        of_a = sum(row["n"] for row in counts if row["part"] == "a")
        assert of_a == (frame[name].notna() & (results.table.y == "a")).sum()
    points = columns.distribution(results_of(Regressor(), frame).table, "x")["data"]["values"]
    np.testing.assert_allclose([point["x"] for point in points], frame["x"].dropna())


def test_curves_are_those_of_the_test_rows(frame):
    results = results_of(Classifier(2), frame)
    charts = performance.performance_charts(results)
    curve = pd.DataFrame(charts["roc"]["data"]["values"])
    area = np.trapezoid(curve["y"], curve["x"])
    assert area == pytest.approx(pg.auc_interval(results.class_numbers, results.probabilities[:, 1]).auc, abs=1e-3)
    counts = charts["confusion"]["data"]["values"]
    right = sum(row["rows"] for row in counts if row["true"] == row["predicted"])
    assert right == (results.predicted == results.test.y).sum()
    assert sum(row["rows"] for row in counts) == N
    numbers = results_of(Regressor(), frame)
    rows = performance.performance_charts(numbers)["residuals"]["data"]["values"]
    expected = numbers.test.y - numbers.predicted
    np.testing.assert_allclose([row["residual"] for row in rows], expected, atol=1e-3)


def test_effects_are_charts_of_their_values():
    effect, half = np.array([-1.0, 1]), np.ones(2) / 2
    number = pg.ColumnEffect("x", np.array([0.0, 1]), effect, effect - 1, effect + 1, half, False)
    three = np.arange(6.0).reshape(2, 3)
    levels = pg.ColumnEffect("k", ("u", "v"), three, three - 1, three + 1, half, True)
    of_number = effect_charts(pg.Effects("ale", "the target's unit", None, (number,)), "dose")["x"]
    assert [(row["x"], row["effect"], row["low"]) for row in of_number["data"]["values"]] == [(0, -1, -2), (1, 1, 0)]
    of_levels = effect_charts(pg.Effects("ale", "log-odds", ("a", "b", "c"), (levels,)), "y")["k"]
    assert [(row["x"], row["part"], row["effect"]) for row in of_levels["data"]["values"][:4]] == [
        ("u", "a", 0),
        ("u", "b", 1),
        ("u", "c", 2),
        ("v", "a", 3),
    ]


def test_a_columns_pairs_are_the_strongest_first():
    pairs = {"first": ["a", "b", "a"], "second": ["b", "c", "c"], "strength": [3.0, 2, 1], "h2": [0.5, 0.4, 0.1]}
    ends = {f"{name}_{end}": pairs[name] for name in ("strength", "h2") for end in ("low", "high")}
    found = pg.Interactions(pd.DataFrame({**pairs, **ends}), ("a", "b", "c"), "log-odds", 60)
    assert [(row["column"], row["score"]) for row in pairs_of(found, "c")] == [("b", 2), ("a", 1)]
    assert list(pair_charts(found)) == ["a", "b", "c"]
    assert strongest_pairs(found)["columns"].tolist() == ["a × b", "b × c", "a × c"]
    assert pair_charts(None) == {}
    assert strongest_pairs(None) is None


def test_text_of_the_data_does_not_end_its_script():
    text = "</script><!--<script>alert(1)</script>"
    written = as_script({"name": text, "n": 1.5})
    assert "<" not in written
    assert json.loads(written) == {"name": text, "n": 1.5}
    with pytest.raises(ValueError, match="JSON"):
        as_script({"n": float("nan")})


def test_a_model_that_is_better_stands_right_of_the_line():
    rows = {"model": ["network", "Ridge"], "better_by": [np.nan, 0.1], "low": [np.nan, 0.05], "high": [np.nan, 0.2]}
    models = SimpleNamespace(table=pd.DataFrame(rows), task="regression")
    chart = performance.models_chart(models)
    assert chart["data"]["values"] == [{"model": "Ridge", "better_by": 0.1, "low": 0.05, "high": 0.2}]
    assert performance.models_chart(SimpleNamespace(table=pd.DataFrame(rows).head(1), task="regression")) is None


def test_the_pages_own_script_writes_no_markup():
    source = (files("permgrad") / "report" / "page" / "report.js").read_text(encoding="utf-8")
    assert len(source.splitlines()) < 200
    assert not any(way in source for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("))
    for script in (files("permgrad") / "report" / "page" / "vega").iterdir():
        assert script.suffix != ".js" or "</script" not in script.read_text(encoding="utf-8").lower()


def test_curves_weigh_rows_as_scores_do(frame):
    """A row of weight 2 is the row twice: in the charts, and in the pictures that they take the place of."""
    results = results_of(Classifier(2), frame)
    twice = np.r_[np.arange(N), np.arange(0, N, 2)]
    repeated = results.test.take(twice)
    weights = np.where(np.arange(N) % 2 == 0, 2.0, 1.0)
    weighed = pg.Table(results.test.X, results.test.y, task="classification", weights=weights)
    by_weight, by_rows = replace(results, test=weighed), replace(results, test=repeated)
    for chart in ("roc", "precision_recall"):
        known, counted = (
            performance.performance_charts(each)[chart]["data"]["values"] for each in (by_weight, by_rows)
        )
        np.testing.assert_allclose([[p["x"], p["y"]] for p in known], [[p["x"], p["y"]] for p in counted], atol=1e-4)
        assert known != performance.performance_charts(results)[chart]["data"]["values"]
    assert not reliability(by_weight)[0].equals(reliability(results)[0])
    chart = performance.performance_charts(by_weight)["reliability"]["data"]["values"]
    np.testing.assert_allclose([point["share"] for point in chart], reliability(by_weight)[0]["share"], atol=1e-4)
    labels = [
        [line.get_label() for name, figure in pictures_of_classes(each) for line in figure.axes[0].lines]
        for each in (by_weight, by_rows, results)
    ]
    assert labels[0] == labels[1] != labels[2]


@pytest.mark.parametrize("n_classes", [2, 3])
def test_curves_of_other_models_are_beside_the_networks(frame, n_classes):
    """Of two classes in one chart with it; of more, in charts of their own."""
    results = results_of(Classifier(n_classes), frame)
    y, p = results.class_numbers, results.probabilities
    curves = {"net": curves_of(y, p), "Ridge": curves_of(y, p[:, ::-1])}
    table = pd.DataFrame({"model": list(curves), "better_by": 0.0, "low": 0.0, "high": 0.0})
    results = replace(results, models=pg.ReferenceModels(table, "classification", N, N, curves=curves))
    found = performance.performance_charts(results)
    own = {2: "roc", 3: "models_roc"}[n_classes]
    for chart, kind in ((own, "roc"), (own.replace("roc", "precision_recall"), "precision_recall")):
        for name, known in curves.items():
            points = [(row["x"], row["y"]) for row in found[chart]["data"]["values"] if row["part"] == name]
            assert points == list(zip(known[kind]["x"], known[kind]["y"], strict=True))
    bins = found["reliability"]["data"]["values"]
    assert [row["predicted"] for row in bins if row["part"] == "Ridge"] == curves["Ridge"]["reliability"]["x"]
    assert all("low" in row for row in bins if row["part"] == "net")
    if n_classes == 3:
        assert {row["part"] for row in found["roc"]["data"]["values"]} <= set("abc")
    drawn = {name: [line.get_label() for line in figure.axes[0].lines] for name, figure in pictures_of_classes(results)}
    assert ("Ridge" in drawn["roc"]) == ("Ridge" in drawn["precision_recall"]) == (n_classes == 2)
    assert "Ridge" in drawn["reliability"]
