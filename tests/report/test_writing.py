"""The page of a ranking by any fitted model."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import permgrad as pg
from permgrad.report.page._render import draw_again


def words(page):
    """Return what is read of a page, without scripts and styles."""
    body = re.sub(r"<(script|style)[^>]*>.*?</\1>", " ", page[page.index("<title>") :], flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {"sex": rng.choice(["f", "m"], 120), "age": rng.normal(50, 9, 120), "home network": rng.normal(size=120)}
    )
    return X, 2.0 * (X["sex"] == "m") + X["age"] / 20


def pipeline(model):
    columns = make_column_transformer((OneHotEncoder(), ["sex"]), ("passthrough", ["age", "home network"]))
    return make_pipeline(columns, model)


@pytest.fixture(scope="module")
def classifier(rows):
    X, y = rows
    labels = np.where(y > y.median(), "old", "young")
    return pipeline(LogisticRegression(max_iter=2000)).fit(X, labels), X, labels


def test_the_page_of_a_pipeline_speaks_of_a_model(classifier, tmp_path):
    model, X, labels = classifier
    ranking = pg.rank_features(model, X, labels, n_repeats=1)
    path = pg.write_report(ranking, model, X, labels, tmp_path / "out", name="my pipeline")
    page = path.read_text()
    said = words(page)
    assert (
        re.findall(r"[^.]*\bnetwork\b[^.]*", said.replace("home network", "").replace("no network connection", ""))
        == []
    )
    for each in (
        "home network",
        "How good the model is",
        "120: all of them test rows",
        "my pipeline",
        "explains no rows",
    ):
        assert each in said, each
    assert ranking.settings.get("test_scores") is None  # the ranking that was given is as it was
    written = pg.FeatureRanking.load(tmp_path / "out" / "ranking.json")
    np.testing.assert_array_equal(written.scores, ranking.scores)
    accuracy = (model.predict(X) == labels).mean()
    assert written.settings["test_scores"]["accuracy"] == pytest.approx(accuracy)
    assert {"ranking.png", "roc.png", "effects.png", "page.json"} <= {each.name for each in path.parent.iterdir()}
    assert draw_again(path.parent) == page
    with pytest.raises(pg.PermGradError, match="exists already"):
        pg.write_report(ranking, model, X, labels, tmp_path / "out")


def test_the_page_of_numbers(rows, tmp_path):
    X, y = rows
    model = pipeline(LinearRegression()).fit(X, y)
    ranking = pg.rank_features(model, X, y, n_repeats=1, groups={"who": ["sex", "age"]})
    page = pg.write_report(ranking, model, pg.Table(X, y, name="clinic"), y, tmp_path / "out").read_text()
    assert "<h1>clinic</h1>" in page
    assert "your fitted Pipeline" in page
    assert (tmp_path / "out" / "residuals.png").exists()


def test_what_has_no_page_is_one_error(rows, classifier, tmp_path):
    X, y = rows
    both = pipeline(LinearRegression()).fit(X, np.column_stack([y, -y]))
    ranking = pg.rank_features(both, X, np.column_stack([y, -y]), n_repeats=1)
    with pytest.raises(pg.PermGradError, match="this model says several values"):
        pg.write_report(ranking, both, X, np.column_stack([y, -y]), tmp_path / "out")
    model, X, labels = classifier
    other = pg.FeatureRanking(("sex", "height"), np.array([1.0, 0.0]))
    with pytest.raises(pg.PermGradError, match="columns that the table does not have: 'height'"):
        pg.write_report(other, model, X, labels, tmp_path / "out")
    assert not (tmp_path / "out").exists()
