"""Columns of any kind as numbers, for the ties among them; and conditional p-values of a model that reads them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from permgrad.importance.network.numeric import NumericColumns


def mixed(n, rng):
    """A text column that tells the target; two columns without information that hang on it; noise; gaps."""
    kind = rng.choice(list("pqr"), n)
    X = pd.DataFrame({"kind": kind, "tied": (kind == "p") + 0.4 * rng.normal(size=n)})
    X["twin"] = np.where(rng.random(n) < 0.85, np.where(kind == "p", "one", "two"), rng.choice(["one", "two"], n))
    X["dose"] = rng.normal(size=n)
    y = 1.5 * (kind == "p") - 1.5 * (kind == "q") + X["dose"].to_numpy() + rng.normal(size=n)
    X.loc[rng.random(n) < 0.15, ["dose"]] = np.nan
    X.loc[rng.random(n) < 0.15, ["tied"]] = np.nan
    return X, y


class Reads:
    """A model that takes the columns as they are, and relies on what is tied to the text, too."""

    def predict(self, X):
        assert X["kind"].isin(list("pqr")).all()  # never asked with codes
        tied, twin = X["tied"].fillna(0.3).clip(0, 1), (X["twin"] == "one").astype(float)
        kind = 0.5 * (X["kind"] == "p") - 1.5 * (X["kind"] == "q")
        return (kind + 0.6 * tied + 0.4 * twin + X["dose"].fillna(0)).to_numpy()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the other columns tell more")
def test_a_null_tied_to_text_is_not_found_and_the_text_is():
    """Of three tables, with gaps: plain permutation flags most of the six nulls."""
    found, plain = [], []
    for seed in range(3):
        X, y = mixed(200, np.random.default_rng(seed))
        ranking = pg.rank_features(Reads(), X, y, conditional=True, n_repeats=1, formula="last in")
        found.append(ranking.components["conditional"].p_values < 0.05)
        plain.append(ranking.components["permutation"].p_values < 0.05)
    assert np.sum(plain, axis=0)[1:3].sum() >= 4
    kind, tied, twin, dose = np.sum(found, axis=0)
    assert min(kind, dose) >= 2
    assert tied + twin <= 1


def test_numbers_stay_as_they_are(rng):
    X = rng.normal(size=(30, 3))
    numeric = NumericColumns.of(X)
    np.testing.assert_array_equal(numeric.values, X.astype(np.float32))
    assert [at.tolist() for at in numeric.of_column] == [[0], [1], [2]]
    assert numeric.of_columns(np.array([2, 0])).tolist() == [2, 0]


def test_other_columns_become_numbers(rng):
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(60) % 50, unit="D")
    frame = pd.DataFrame({"when": days, "kind": np.tile(list("ab"), 30), "size": np.arange(60.0), "same": 1})
    frame.loc[:9, "size"] = np.nan
    numeric = NumericColumns.of(frame)
    assert numeric.notes == ()
    when, kind, size, same = (numeric.values[:, at] for at in numeric.of_column)
    assert when[:, 0].tolist() == (np.arange(60) % 50).tolist()
    np.testing.assert_array_equal(kind, np.tile(np.eye(2), (30, 1)))
    assert size[:10].tolist() == [[34.5, 1]] * 10  # the median, and that it is missing
    assert size[10:, 0].tolist() == list(range(10, 60))
    assert same.shape == (60, 0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:this model")
def test_many_levels_are_said_to_be_joined(rng):
    n = 120
    X = pd.DataFrame({"x": rng.normal(size=n), "zip": [f"z{i % 40 if i < 60 else i % 7}" for i in range(n)]})
    X["id"] = [f"P{i}" for i in range(n)]
    y = X["x"].to_numpy() + rng.normal(size=n)

    class Model:
        def predict(self, X):
            return X["x"].to_numpy() + 0.1 * X["id"].str.len().to_numpy() + 0.1 * (X["zip"] == "z1")

    with pytest.warns(UserWarning, match="rare levels|nothing can be learned") as warned:
        ranking = pg.rank_features(Model(), X, y, conditional=True, n_repeats=1, formula="last in")
    said = " ".join(str(each.message) for each in warned)
    assert "rare levels count together as one when ties among columns are learned: zip (7 levels of their own)" in said
    assert "nothing can be learned of ties to 'id'" in said
    conditional = ranking.components["conditional"]
    assert conditional.p_values[2] == 1
    assert conditional.scores[2] == 0
    assert conditional.p_values[0] < 0.01
