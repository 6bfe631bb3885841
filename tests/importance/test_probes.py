"""What is said of probes, and that a network trained with them ranks them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression

import permgrad as pg
from permgrad.importance.probes import probe_sentence


def test_columns_above_the_probes_are_counted(rng):
    X = pd.DataFrame(rng.normal(size=(400, 3)), columns=list("abc"))
    table = pg.Table(X, 3 * X["a"] + 2 * X["b"] + rng.normal(size=400), task="regression").with_probes(2)
    train, _, test = table.split()
    ranking = pg.rank_features(LinearRegression().fit(train.X, train.y), test, test.y)
    assert ranking.settings["probes"] == table.probes
    assert ranking.select(above_probes=True) == ["a", "b"]
    assert "2 probes" in probe_sentence(ranking)
    assert "2 of 3 columns have a higher score" in probe_sentence(ranking)


def test_nothing_is_said_without_probes():
    assert probe_sentence(pg.FeatureRanking(("a",), np.ones(1))) is None
