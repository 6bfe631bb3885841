"""Interactions against their definition, and planted ones."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

import permgrad as pg


@dataclass
class Predicts:
    say: object

    def predict(self, X):
        return np.asarray(self.say(X), float)


@pytest.fixture
def rows(rng):
    frame = pd.DataFrame(rng.normal(size=(40, 5)), columns=list("abcde"))
    return frame.assign(kind=rng.choice(["p", "q", "r"], 40), none=0.0)


def plain_h2(model, X, first, second):
    """Friedman's and Popescu's equation 44, and its numerator's root mean, by loops."""

    def depends(*names):
        values = []
        for i in range(len(X)):
            changed = X.copy()
            for name in names:
                changed[name] = X[name].iloc[i]
            values.append(model.predict(changed).mean())
        return np.array(values) - np.mean(values)

    both, beyond = depends(first, second), depends(first, second) - depends(first) - depends(second)
    return (beyond**2).sum() / (both**2).sum(), np.sqrt((beyond**2).mean())


def test_they_are_those_of_the_definition(rows):
    model = Predicts(lambda X: X["a"] * X["b"] + X["a"] * (X["kind"] == "q") + X["c"] - np.exp(X["d"]))
    X = rows.iloc[:12]
    found = pg.interactions(model, X, ["a", "b", "kind"])
    for _, row in found.table.iterrows():
        h2, strength = plain_h2(model, X, row["first"], row["second"])
        assert row["h2"] == pytest.approx(h2, abs=1e-9)
        assert row["strength"] == pytest.approx(strength, abs=1e-9)
        assert row["h2_low"] <= row["h2"] <= row["h2_high"]
    assert found.table.iloc[0][["first", "second"]].tolist() == ["a", "b"]
    assert found.table["strength"].is_monotonic_decreasing


def test_columns_are_found_by_what_they_do_with_others_too(rows):
    """The mean of a product's column does nothing by itself; that of a sum has no interaction at all."""
    centred = rows.assign(a=rows["a"] - rows["a"].mean(), b=rows["b"] - rows["b"].mean())
    found = pg.interactions(Predicts(lambda X: 3 * X["a"] * X["b"] + X["c"]), centred, n_columns=3)
    assert set(found.columns) == {"a", "b", "c"}
    assert found.table["h2"].iloc[0] > 0.9
    np.testing.assert_allclose(found.table["strength_high"].iloc[1:], 0, atol=1e-9)
    added = pg.interactions(Predicts(lambda X: np.sin(X["a"]) + X["b"] ** 2 + 2 * (X["kind"] == "q")), rows)
    assert set(added.columns) == {"a", "b", "kind"}
    np.testing.assert_allclose(added.table[["h2_high", "strength_high"]], 0, atol=1e-9)


def test_log_odds_of_a_logistic_regression_add_up_where_probabilities_do_not(rows):
    frame = rows[list("abc")]
    model = LogisticRegression().fit(frame, frame.sum(axis=1) + frame["a"] > 0.5)
    assert pg.interactions(model, frame).table["h2"].max() < 1e-9
    assert pg.interactions(model, frame, scale="probability").table["h2"].max() > 1e-4
    several = LogisticRegression().fit(frame, np.arange(40) % 3)
    assert pg.interactions(several, frame, max_rows=20).n_rows == 20


def test_json_picture_and_html(rows):
    found = pg.interactions(Predicts(lambda X: X["<a>"] * X["b"]), rows.rename(columns={"a": "<a>"}), ["<a>", "b"])
    again = pg.Interactions.from_dict(json.loads(json.dumps(found.to_dict())))
    pd.testing.assert_frame_equal(again.table, found.table)
    assert found.plot().axes[0].get_yticklabels()[0].get_text() == "<a> × b"
    assert "&lt;a&gt;" in found._repr_html_()
    assert "1 pairs of 2 columns" in repr(found)


def test_bad_input(rows):
    model = Predicts(lambda X: X["a"])
    with pytest.raises(pg.PermGradError, match="at least two columns, got \\['a'\\]"):
        pg.interactions(model, rows)
    with pytest.raises(pg.PermGradError, match="no column 'z'"):
        pg.interactions(model, rows, ["a", "z"])
    with pytest.raises(pg.PermGradError, match="n_columns and max_rows must be at least 2, got 1 and 100"):
        pg.interactions(model, rows, n_columns=1)
