"""Pages of small trained networks, made once, and a browser to see them in."""

from __future__ import annotations

from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from permgrad.report.directory import write_results
from permgrad.report.results import Results
from tests.conftest import SMALL
from tests.referees import evaluation

SCRIPT = "<script>alert(1)</script>"
NOTES = {
    "title": "A <b>bold</b> title",
    "license": "CC BY 4.0",
    "homepage": "javascript:alert(1)",
    "citation": "Doe & Roe",
}


class Reader(HTMLParser):
    """Tags in order, and the text between them that is read; that of scripts is kept apart."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        inside = self.cdata_elem == "script"
        (self.scripts if inside else self.words).append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def written(out, table, estimator, **keywords):
    """Fit on the split's training rows, write the results, return (ranking, page's source)."""
    train, _, test = table.split(random_state=7)
    estimator.fit(train.X, train.y)
    models = pg.reference_models(estimator, train, test)
    ranking = estimator.rank_features(test.X, test.y, n_repeats=2, budget=pg.Budget(tolerance=0.1))
    settings = {**ranking.settings, "agreement": {"permutation": 0.75, "end_to_end": 0.4375}}
    ranking = pg.FeatureRanking.from_dict({**ranking.to_dict(), "settings": settings})
    results = Results(estimator, ranking, table, test, 7, models=models, **keywords)
    ranking = write_results(out, results)
    return results, ranking, (out / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def table() -> pg.Table:
    """Names that break HTML, formulas and narrow screens; gaps; a column that never varies."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(120, 4)), columns=[SCRIPT, "cost in $ per $", "a'b\"c&d", "x_" * 60]).assign(
        same=1.0
    )
    y = pd.Series(np.where(X[SCRIPT] > 0, "<i>yes</i>", "no"), name="out</h1>come")
    X.iloc[:3, 1] = np.nan
    return pg.Table(X, y, name="<u>mine</u>", notes=NOTES)


def levels() -> pg.ByLevel:
    """Levels by hand, with names that break HTML: two that differ in the loss and in a column, one of few rows."""
    names, rows = ["(all rows)", "<b>a</b>", "b", "few"], [112, 50, 50, 12]
    loss, right = np.array([0.5, 0.3, 0.7, 0.9]), np.array([0.75, 0.9, 0.6, 0.5])
    table = pd.DataFrame({"level": names, "rows": rows, "few": [n < 30 for n in rows], "accuracy": right})
    table = table.assign(accuracy_low=right - 0.1, accuracy_high=right + 0.1)
    table = table.assign(log_loss=loss, log_loss_low=loss - 0.1, log_loss_high=loss + 0.1)
    features, scores = (SCRIPT, "other"), {"(all rows)": [0.2, 0.1], "<b>a</b>": [0.4, 0.1], "b": [0.0, 0.1]}
    rankings = {name: pg.FeatureRanking(features, score, method="shapley") for name, score in scores.items()}
    importance = pd.concat(
        pd.DataFrame({"feature": features, "level": name, "score": score, "rank": [1, 2] if name != "b" else [2, 1]})
        for name, score in scores.items()
    )
    importance = importance.assign(low=importance["score"] - 0.05, high=importance["score"] + 0.05)
    return pg.ByLevel("<i>site</i>", table, importance.reset_index(drop=True), rankings)


@pytest.fixture(scope="session")
def report(table, tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    with pytest.warns(UserWarning, match="no information in 'same'"):
        results, ranking, page = written(
            out,
            table,
            pg.HybridClassifier(**SMALL, epochs=2, random_state=3),
            evaluation=evaluation(),
            by=levels(),
            command="permgrad rank 'a & b.csv' --target y",
        )
    return SimpleNamespace(results=results, path=out / "report.html", ranking=ranking, page=page)


@pytest.fixture(scope="session")
def wide(tmp_path_factory):
    """More columns than the page holds; a network without images that learned nothing."""
    rng = np.random.default_rng(1)
    table = pg.Table(pd.DataFrame(rng.normal(size=(60, 230))).add_prefix("x"), rng.normal(size=60), name="wide")
    estimator = pg.HybridRegressor(
        preset="published", branches=("tabular",), dense_units=(4,), epochs=1, learning_rate=1e-6
    )
    _, ranking, page = written(tmp_path_factory.mktemp("wide"), table, estimator)
    return ranking, page


@pytest.fixture(scope="session")
def numbers(tmp_path_factory):
    """A regression on numbers, categories, truth values and dates, with gaps."""
    rng = np.random.default_rng(2)
    n = 120
    X = pd.DataFrame({"x": rng.normal(size=n), "few": rng.integers(0, 3, n).astype(float)})
    days = pd.to_timedelta(rng.integers(0, 300, n), unit="D")
    X = X.assign(kind=rng.choice(["u", "v", "w"], n), yes=rng.random(n) < 0.5, day=pd.Timestamp("2024-01-01") + days)
    y = 3 * X["x"] + X["few"] + 2 * (X["kind"] == "u") + X["yes"]
    X.iloc[:4, 0] = np.nan
    table = pg.Table(X, pd.Series(y, name="dose"), name="numbers", task="regression")
    settings = {"preset": "published", "branches": ("tabular",), "dense_units": (8,), "epochs": 20}
    estimator = pg.HybridRegressor(**settings, random_state=1)
    out = tmp_path_factory.mktemp("numbers")
    results, ranking, page = written(out, table, estimator)
    return SimpleNamespace(results=results, path=out / "report.html", ranking=ranking, page=page)
