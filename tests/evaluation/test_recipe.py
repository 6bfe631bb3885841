"""A recipe: what is split, seeded and ranked, and that its intervals cover what many trainings give."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import permgrad as pg
from benchmarks.coverage import recipe_hits
from permgrad.evaluation.recipe import rows_to_fit, train_once


@pytest.fixture
def table(rng):
    X = pd.DataFrame(rng.normal(size=(100, 3)), columns=list("abc"))
    return pg.Table(X, 2 * X["a"] + X["b"] + rng.normal(size=100), task="regression")


def test_scores_are_means_over_trainings_on_their_own_splits(table):
    ranking = pg.rank_recipe(LinearRegression(), table, trainings=2, split_random_state=5, formula="game")
    alone = []
    for number in range(2):
        train, val, test = table.split(random_state=5 + number)
        rows = train.with_rows(val)
        model = LinearRegression().fit(rows.X, rows.y)
        alone.append(pg.rank_features(model, test.X, test.y, formula="game").scores)
    np.testing.assert_allclose(ranking.scores, np.mean(alone, axis=0))
    assert (ranking.settings["n_train"], ranking.settings["n_test"]) == (80, 20)
    assert ranking.scope == "this recipe"
    assert ranking.select(1) == ["a"]


def test_random_states_count_up_in_steps_too(table):
    forest = RandomForestRegressor(n_estimators=1, random_state=3)
    assert train_once(make_pipeline(StandardScaler(), forest), table, 2).estimator[-1].random_state == 5
    assert train_once(forest, table, 0).estimator.random_state == 3
    assert train_once(forest.set_params(random_state=None), table, 1).estimator.random_state == 1


def test_a_network_stops_by_its_validation_rows(table):
    train, val, _ = table.split()
    assert rows_to_fit(pg.HybridRegressor(), train, val) == (train, val)


def test_several_networks_see_training_and_validation_rows(table):
    train, val, test = table.split()
    rows, deciding = rows_to_fit(pg.HybridRegressor(preset="best"), train, val)
    assert deciding is None
    pd.testing.assert_frame_equal(rows.X, pd.concat([train.X, val.X], ignore_index=True))
    pd.testing.assert_series_equal(rows.y, pd.concat([train.y, val.y], ignore_index=True))
    assert not set(map(tuple, rows.X.dropna().to_numpy())) & set(map(tuple, test.X.dropna().to_numpy()))


def test_it_goes_on_from_what_is_there(table, tmp_path, monkeypatch):
    given = {"trainings": 2, "formula": "game", "directory": tmp_path / "kept"}
    whole = pg.rank_recipe(LinearRegression(), table, **given)
    kept = sorted(path.name for path in (tmp_path / "kept").iterdir())
    assert kept == ["training1.json", "training2.json"]
    (tmp_path / "kept" / "training2.json").unlink()
    numbers = []

    def counted(*arguments, **keywords):
        numbers.append(arguments[2])
        return train_once(*arguments, **keywords)

    monkeypatch.setattr("permgrad.evaluation.recipe.train_once", counted)
    assert pg.rank_recipe(LinearRegression(), table, **given) == whole
    assert numbers == [1]
    with pytest.raises(pg.PermGradError, match="belongs to another recipe"):
        pg.rank_recipe(LinearRegression(fit_intercept=False), table, **given)


def test_what_is_no_recipe_is_refused(table):
    with pytest.raises(pg.PermGradError, match="expected a pg.Table, which each training splits, got DataFrame"):
        pg.rank_recipe(LinearRegression(), table.X)
    with pytest.raises(pg.PermGradError, match="trainings must be a whole number from 2 to 1,000, got 1"):
        pg.rank_recipe(LinearRegression(), table, trainings=1)


@pytest.mark.slow
def test_intervals_cover_what_the_recipe_gives_on_average():
    """Of 20 intervals at 95 %, fewer than 16 cover the truth thrice in a thousand times; the benchmark draws more."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        hits = recipe_hits(simulations=20, population=60)
    assert hits.mean(axis=0).min() > 15 / 20
