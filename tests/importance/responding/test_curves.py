"""Effects of columns against their definitions, row by row; and planted models whose effects are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit
from sklearn.inspection import partial_dependence
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeRegressor

import permgrad as pg
from permgrad.backend import keras


@dataclass
class Predicts:
    """A model that predicts what a function says of a frame; counts the calls."""

    say: object
    calls: int = 0

    def predict(self, X):
        self.calls += 1
        return np.asarray(self.say(X), float)


@pytest.fixture
def frame(rng):
    """30 rows: two numbers that go together, a count, a category with an order, one without, a date; with gaps."""
    n = 30
    a = rng.normal(size=n)
    return pd.DataFrame(
        {
            "a": a,
            "b": np.where(rng.random(n) < 0.1, np.nan, a + 0.3 * rng.normal(size=n)),
            "count": rng.integers(0, 4, n),
            "size": pd.Categorical(rng.choice(["s", "m", "l"], n), ["s", "m", "l"], ordered=True),
            "colour": np.where(rng.random(n) < 0.1, None, rng.choice(["red", "green", "blue", "grey"], n)),
            "day": pd.Timestamp("2020-01-31") + pd.to_timedelta(rng.integers(0, 400, n), unit="D"),
        }
    )


def mixed(X):
    """An answer to all of the columns, with products."""
    b = X["b"].fillna(-2.0)
    colour = X["colour"].map({"red": 1.0, "green": -1.0, "blue": 0.5, "grey": 2.0}).fillna(3.0).astype(float)
    size = X["size"].map({"s": 0.0, "m": 1.0, "l": 4.0}).astype(float)
    days = (X["day"] - pd.Timestamp("2020-01-01")).dt.days
    return X["a"] * b + colour * X["count"] + size * b + np.sin(days / 50) * X["a"]


def with_value(frame, name, value, rows=slice(None)):
    changed = frame.iloc[rows].copy()
    changed[name] = pd.Series([value] * len(changed), index=changed.index, dtype=frame[name].dtype)
    return changed


def raw(frame, effect):
    """The values of a grid as the frame has them."""
    column = frame[effect.name]
    values = [None if value == "(missing)" or value != value else value for value in effect.values]
    return [pd.Timestamp(value) if effect.is_date and value else value for value in values] if column.size else []


def plain_ale(model, frame, name, values):
    """Accumulated local effects by loops over steps and rows."""
    column, steps = frame[name], [0.0]
    number = [values.index(v) if v in values else None for v in column] if isinstance(values[0], str) else None
    for k in range(1, len(values)):
        low, high = values[k - 1], values[k]
        if number is not None:
            rows = [i for i in range(len(frame)) if number[i] in (k - 1, k)]
        else:
            rows = [i for i in range(len(frame)) if low < column[i] <= high or (k == 1 and column[i] == low)]
        changes = [
            model.predict(with_value(frame, name, high, [i]))[0] - model.predict(with_value(frame, name, low, [i]))[0]
            for i in rows
        ]
        steps.append(np.mean(changes))
    curve = np.cumsum(steps)
    if number is not None:
        at_rows = [curve[n] for n in number if n is not None]
    else:
        x = column.dropna().map(lambda v: v.value if isinstance(v, pd.Timestamp) else v).astype(float)
        at_rows = np.interp(x, [v.value if isinstance(v, pd.Timestamp) else v for v in values], curve)
    return curve - np.mean(at_rows)


@pytest.mark.parametrize("name", ["a", "b", "count", "size", "colour", "day"])
def test_accumulated_local_effects_are_those_of_loops(frame, name):
    model = Predicts(mixed)
    found = pg.effects(model, frame, [name], n_points=4)[name]
    np.testing.assert_allclose(found.effect, plain_ale(model, frame, name, raw(frame, found)), atol=1e-9)
    assert found.weights @ found.effect == pytest.approx(0, abs=1e-9)
    assert found.weights.sum() == pytest.approx(frame[name].notna().mean())
    assert (found.lower <= found.effect).all()
    assert (found.effect <= found.upper).all()


@pytest.mark.parametrize("name", ["a", "b", "count", "size", "colour", "day"])
def test_partial_dependence_and_single_rows_are_those_of_loops(frame, name):
    model = Predicts(mixed)
    found = pg.effects(model, frame, [name], "pdp", n_points=4, ice=30)[name]
    rows = np.array([model.predict(with_value(frame, name, value)) for value in raw(frame, found)]).T
    np.testing.assert_allclose(found.effect, rows.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(found.ice, rows, atol=1e-9)
    gaps = frame[name].isna().mean()
    assert found.weights.sum() == pytest.approx(1)
    if gaps:
        assert found.weights[-1] == pytest.approx(gaps)


def test_partial_dependence_is_scikit_learns(rng):
    X = pd.DataFrame(rng.normal(size=(80, 3)), columns=list("abc"))
    y = X["a"] * X["b"] + (X["c"] > 0)
    for model, method in [
        (DecisionTreeRegressor(max_depth=4, random_state=0).fit(X, y), "auto"),
        (LogisticRegression().fit(X, y > 0.5), "decision_function"),
    ]:
        found = pg.effects(model, X, ["a"], "pdp", n_points=9)["a"]
        known = partial_dependence(
            model, X, ["a"], custom_values={"a": found.values}, response_method=method, method="brute"
        )
        np.testing.assert_allclose(found.effect, known["average"][0], atol=1e-9)
    shares = pg.effects(model, X, "a", "pdp", scale="probability")["a"]
    known = partial_dependence(model, X, ["a"], custom_values={"a": shares.values}, response_method="predict_proba")
    np.testing.assert_allclose(shares.effect, known["average"][0], atol=1e-9)


def test_effects_of_a_plane_are_lines_whatever_goes_together(rng):
    """Of ``2 a - b`` each column has its own slope, by both methods; so it has in every draw of the rows."""
    a = rng.normal(size=300)
    X = pd.DataFrame({"a": a, "b": a + 0.1 * rng.normal(size=300), "none": rng.normal(size=300)})
    model = Predicts(lambda X: 2 * X["a"] - X["b"])
    for kind in ("ale", "pdp"):
        found = pg.effects(model, X, kind=kind)
        for name, slope in {"a": 2, "b": -1, "none": 0}.items():
            effect = found[name]
            np.testing.assert_allclose(np.diff(effect.effect), slope * np.diff(effect.values), atol=1e-9)
        assert found["none"].spread == pytest.approx(0, abs=1e-9)
        assert [column.name for column in found.furthest(2)] == ["a", "b"]
    assert found["a"].spread == pytest.approx(2 * a.std(), rel=0.05)


def test_what_goes_together_is_not_pulled_apart_by_local_effects(rng):
    """``a b`` where b is a: along the rows b's slope is a; averaged over all rows it is the mean of a, 0."""
    a = rng.uniform(-1, 1, 2000)
    X = pd.DataFrame({"a": a, "b": a})
    model = Predicts(lambda X: X["a"] * X["b"])
    local, everywhere = (pg.effects(model, X, ["b"], kind)["b"] for kind in ("ale", "pdp"))
    values = local.values
    parabola = (values**2 - np.mean(a**2)) / 2
    np.testing.assert_allclose(local.effect, parabola, atol=0.02)
    np.testing.assert_allclose(everywhere.effect, values * a.mean(), atol=1e-9)


def test_a_pairs_effect_is_their_product_and_nothing_of_a_sum(rng):
    X = pd.DataFrame(rng.normal(size=(90, 3)), columns=list("abc"))
    model = Predicts(lambda X: X["a"] * X["b"] + np.exp(X["c"]) + 2 * X["a"])
    found = pg.effects(model, X, [("a", "b")], pairs=[("a", "c")], n_points=5)
    assert found.columns == ()
    product = found["a", "b"]
    own = X["a"] * X["b"]
    a, b = product.values
    known = np.outer(a, b) - a[:, None] * X["b"].mean() - b * X["a"].mean() + own.mean()
    np.testing.assert_allclose(product.effect, known, atol=1e-9)
    np.testing.assert_allclose(found["a", "c"].effect, 0, atol=1e-9)
    assert product.weights.sum() == pytest.approx(1)


def test_several_classes_have_an_effect_each_and_rows_are_asked_in_few_calls(rng):
    X = rng.normal(size=(70, 3))
    model = LogisticRegression().fit(X, np.arange(70) % 3)
    found = pg.effects(model, X)
    assert found.classes == ("0", "1", "2")
    assert found["x1"].effect.shape == (20, 3)
    p = model.predict_proba(X)
    at_own = pg.effects(model, X, ["x1"], "pdp", n_points=100, ice=70)["x1"]
    place = np.searchsorted(at_own.values, X[:, 1])
    np.testing.assert_allclose(at_own.ice[np.arange(70), place], logit(p), atol=1e-9)
    counted = Predicts(lambda X: np.asarray(X)[:, 0])
    pg.effects(counted, X, kind="pdp")
    assert counted.calls == 2


def test_intervals_hold_the_true_effect(rng):
    """Of a product whose effect differs from row to row: the slope at the rows' mean of b is 0.5."""
    held = []
    for _ in range(60):
        X = pd.DataFrame(rng.normal([0, 0.5], 1, size=(80, 2)), columns=["a", "b"])
        X["a"] = np.clip(X["a"].round(), -1, 1)
        found = pg.effects(Predicts(lambda X: X["a"] * X["b"]), X, ["a"], "pdp")["a"]
        held.append((found.lower[-1] <= 0.5) & (found.upper[-1] >= 0.5))
    assert 0.85 < np.mean(held) < 1


def test_rows_of_weight_k_are_k_rows_and_groups_widen(rng):
    X, y = pd.DataFrame(rng.normal(size=(40, 2)), columns=["a", "b"]).round(1), rng.normal(size=40)
    weights = rng.integers(1, 4, 40)
    rows = np.repeat(np.arange(40), weights)
    model = Predicts(lambda X: X["a"] * X["b"])
    for kind in ("ale", "pdp"):
        weighed = pg.effects(model, pg.Table(X, y, "regression", weights=weights), kind=kind, n_points=100)
        repeated = pg.effects(model, X.iloc[rows], kind=kind, n_points=100)
        for column in weighed.columns:
            np.testing.assert_allclose(column.effect, repeated[column.name].effect, atol=1e-9)
            np.testing.assert_allclose(column.weights, repeated[column.name].weights, atol=1e-9)
    many = pg.Table(
        X.iloc[np.repeat(np.arange(40), 4)], np.repeat(y, 4), "regression", groups=np.repeat(np.arange(40), 4)
    )
    grouped, alone = pg.effects(model, many, kind="pdp")["a"], pg.effects(model, many.X, kind="pdp")["a"]
    assert (alone.upper - alone.lower).sum() / (grouped.upper - grouped.lower).sum() == pytest.approx(0.5, abs=0.1)


def test_a_keras_model_of_a_table_is_asked_too(rng):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, activation="sigmoid")])
    model.layers[-1].set_weights([np.array([[1.0], [-2]]), np.array([0.5])])
    X = pd.DataFrame(rng.normal(size=(30, 2)), columns=["a", "b"])
    found = pg.effects(model, X, task="classification")
    np.testing.assert_allclose(np.diff(found["b"].effect), -2 * np.diff(found["b"].values), atol=1e-4)
    assert found.unit == "log-odds"


def test_tables_of_polars_keep_their_names(rng):
    polars = pytest.importorskip("polars")
    X = pd.DataFrame(rng.normal(size=(30, 2)), columns=["a", "b"])
    model = LogisticRegression().fit(X, X["a"] > 0)
    given, known = (pg.effects(model, rows, ["b"]) for rows in (polars.from_pandas(X), X))
    assert given.to_dict() == known.to_dict()


def test_bad_input(rng):
    X = pd.DataFrame({"a": [1.0, 2, 3], "gone": np.nan})
    model = Predicts(lambda X: X["a"])
    for given, said in {
        ("a", "neither"): "kind must be 'ale' or 'pdp', got 'neither'",
        ("b", "ale"): "no column 'b'; the rows have 'a', 'gone'",
        ("gone", "ale"): "'gone' holds no value",
    }.items():
        with pytest.raises(pg.PermGradError, match=said):
            pg.effects(model, X, *given)
    with pytest.raises(pg.PermGradError, match="a pair must be two different columns"):
        pg.effects(model, X, pairs=[("a", "a")])
    with pytest.raises(pg.PermGradError, match="ice must be a number of rows, and 0 unless kind='pdp'"):
        pg.effects(model, X, ice=3)
    with pytest.raises(pg.PermGradError, match="n_points must be at least 2, got 1"):
        pg.effects(model, X, n_points=1)
    with pytest.raises(pg.PermGradError, match="scale must be one of"):
        pg.effects(model, X, scale="odds")
    with pytest.raises(pg.PermGradError, match="this model has 2; pass a model with one"):
        pg.effects(Predicts(lambda X: np.ones((len(X), 2))), X)


def test_many_levels_are_the_most_frequent(rng):
    X = pd.DataFrame({"zip": [f"z{i:02}" for i in range(70)] * 2 + ["z69", "z10"] * 3, "a": rng.normal(size=146)})
    model = Predicts(lambda X: X["zip"].str[1:].astype(float) * X["a"])
    found = pg.effects(model, X, ["zip", ("zip", "a")])
    assert len(found["zip"].values) == 50
    assert {"z69", "z10"} <= set(found["zip"].values)
    assert found["zip"].weights.sum() == pytest.approx(106 / 146)
    assert found["zip"].weights @ found["zip"].effect == pytest.approx(0, abs=1e-9)
    assert found["zip", "a"].effect.shape == (10, 10)
