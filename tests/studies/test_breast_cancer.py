from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import permgrad as pg
from studies.breast_cancer import choices, study, tables
from studies.breast_cancer.study import STUDY, BreastCancer
from studies.breast_cancer.tables import Results

TINY = (
    "network.hidden_units=[8]",
    "network.epochs=2",
    "selection.repeats=2",
    "published.seeds=1",
    "cross_validation.folds=2",
    "cross_validation.repeats=1",
    "others.trees=5",
    "others.hybrid_epochs={published: 1, default: 1}",
    "others.permgrad_repeats=1",
)


def settings(*overrides: str) -> BreastCancer:
    return STUDY.read([*TINY, *overrides])


@pytest.fixture(scope="module")
def table() -> pg.Table:
    return study.load_table()


@pytest.fixture(scope="module")
def pools(table) -> dict[str, Any]:
    return study.make_pools(study.split(table, settings()), settings())


class Models:
    """Quick stand-ins for the networks; they keep the rows that they were fitted on."""

    def __init__(self) -> None:
        self.fitted: list[pg.Table] = []

    def fit(self, parts, settings, random_state, *, watch=False) -> Any:
        self.fitted += [parts["train"], parts["validation"]]
        model = make_pipeline(StandardScaler(), LogisticRegression())
        epochs = [{"epoch": 1, "rows": "train", "score": "accuracy", "value": 0.5, "spread": 0.0}]
        return model.fit(parts["train"].X, parts["train"].y), epochs

    def permgrad(self, parts, settings, random_state) -> dict[str, Any]:
        ranking = pg.score_importance(
            self.fit(parts, settings, random_state)[0], parts["validation"].X, parts["validation"].y
        )
        return {"ranking": ranking.to_dict()}


@contextmanager
def quick_models() -> Iterator[Models]:
    quick = Models()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "train", quick.fit)
        patch.setattr(study, "fit_hybrid", lambda *given: quick.fit(*given[:3])[0])  # whatever the preset
        patch.setattr(study, "permgrad_ranking", quick.permgrad)
        yield quick


@pytest.fixture
def models() -> Iterator[Models]:
    with quick_models() as quick:
        yield quick


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Results:
    with quick_models():
        return STUDY.run(settings(), STUDY.workspace(tmp_path_factory.mktemp("breast_cancer")))


def test_columns_have_short_names(table):
    assert {"radius_mean", "area_se", "concave points_worst", "fractal_dimension_worst"} < set(table.features)
    assert len(table.features) == 30


def test_the_split_is_the_published_one(pools):
    counts = {part: rows.y.value_counts().to_dict() for part, rows in pools["raw"].items()}
    assert counts["test"] == {"benign": 72, "malignant": 42}
    assert counts["validation"] == {"benign": 57, "malignant": 34}
    assert len(pools["raw"]["train"]) == 364


def test_engineered_columns_by_hand(pools):
    raw, engineered = pools["raw"]["test"].X, pools["engineered"]["test"].X
    product = raw["smoothness_worst"] * raw["radius_worst"]
    np.testing.assert_allclose(engineered["smooth_worst_radius"], product, rtol=1e-12)
    other = raw["fractal_dimension_worst"] * raw["perimeter_worst"]
    np.testing.assert_allclose(engineered["fd_worst_perimeter"], other, rtol=1e-12)
    np.testing.assert_allclose(engineered["radius_variation"], raw["radius_se"] / raw["radius_mean"], rtol=1e-12)


def test_union_takes_a_shared_feature_once(pools):
    both = study.unite(pools, {"raw": ["area_se", "radius_worst"], "engineered": ["smooth_worst_radius", "area_se"]})
    assert both["test"].features == ["area_se", "radius_worst", "smooth_worst_radius"]
    assert both["test"].X["smooth_worst_radius"].equals(pools["engineered"]["test"].X["smooth_worst_radius"])
    assert both["train"].y.equals(pools["raw"]["train"].y)


def test_selection_falls_back_on_the_best():
    ranking = pg.FeatureRanking(("a", "b", "c"), np.array([0.01, 0.05, 0.02]))
    assert study.select(ranking, 0.03, 1) == ["b"]
    assert study.select(ranking, 0.03, 2) == ["b", "c"]
    assert study.select(ranking, 0.9, 1) == ["b"]


@pytest.mark.slow
def test_a_fold_fits_and_selects_without_its_test_rows(table, models):
    """Test rows made of nonsense change the test scores, and nothing that was fitted or selected."""
    rest, test = np.arange(0, 400), np.arange(400, 569)
    rng = np.random.default_rng(0)
    X, y = table.X.copy(), table.y.copy()
    X.iloc[test] = rng.uniform(1, 1e3, (len(test), 30))
    y[test] = rng.permutation(y[test])
    nonsense = pg.Table(X, y, name=table.name)
    honest = study.one_fold(table, rest, test, settings(), 1)
    seen = [rows.sha256 for rows in models.fitted]
    models.fitted.clear()
    spoilt = study.one_fold(nonsense, rest, test, settings(), 1)
    assert [rows.sha256 for rows in models.fitted] == seen
    assert len(seen) == 10
    assert spoilt["selected"] == honest["selected"]
    assert all(len(rows) in (320, 80) for rows in models.fitted)
    accuracy = {name: scores["accuracy"] for name, scores in spoilt["scores"].items()}
    assert list(accuracy) == [
        "raw",
        "engineered",
        "combined",
        "logistic regression",
        "random forest",
        "published hybrid",
        "default hybrid",
    ]
    assert max(accuracy.values()) < 0.8 < min(scores["accuracy"] for scores in honest["scores"].values())


@pytest.mark.slow
def test_the_report_says_what_is_within_noise(results, tmp_path):
    text = " ".join(STUDY.write_report(settings(), results, tmp_path).text().split())
    assert "364 training, 91 validation and 114 test rows" in text
    assert "raw, test accuracy: median" in text
    pairs = pd.read_csv(tmp_path / "pairs.csv")
    assert len(pairs) == 3 * 21
    assert f"Of 63 differences, {(pairs['verdict'] == 'within noise').sum()} are within noise" in text


def test_scores_of_classes_are_those_of_the_predictions(results):
    table = tables.class_scores(results).set_index(["network", "part", "class"])
    called = np.array(results.first["raw"]["test"]["predicted"]) == "malignant"
    malignant = results.test_classes == "malignant"
    row = table.loc[("raw", "test", "malignant")]
    assert row["rows"] == 42
    assert row["recall"] == pytest.approx((called & malignant).sum() / 42)
    assert row["precision"] == pytest.approx((called & malignant).sum() / called.sum())
    assert len(table) == 3 * 2 * 2


def test_other_settings_need_another_directory(pools, tmp_path):
    place = STUDY.workspace(tmp_path)
    study.check_same(settings(), pools, place)
    study.check_same(settings("published.seeds=2", "cross_validation.repeats=2"), pools, place)
    with pytest.raises(pg.PermGradError, match=r"other settings: network.dropout was 0.25, now 0.5"):
        study.check_same(settings("network.dropout=0.5"), pools, place)
    with pytest.raises(pg.PermGradError, match=r"other settings: sha256.raw.train was"):
        study.check_same(settings(), {**pools, "raw": pools["engineered"]}, place)


def test_goals_are_counted_over_folds():
    values = {"raw": ([0.99, 0.98, 0.97], [0.96, 0.97, 1.0]), "published hybrid": ([0.9, 0.99, 0.9], [0.9, 1.0, 0.9])}
    folds = pd.DataFrame(
        {"fold": fold, "model": model, "score": score, "value": value}
        for model, columns in values.items()
        for score, column in zip(("accuracy", "recall[malignant]"), columns, strict=True)
        for fold, value in enumerate(column)
    )
    found = tables.goals_in_folds(folds, "malignant").set_index("model")
    assert found.loc["raw"].tolist() == [2, 2, 1]
    assert found.loc["published hybrid"].tolist() == [1, 1, 1]


def test_pools_must_hold_the_same_rows(tmp_path):
    study.load_pools(settings(), tmp_path)
    for part in ("train", "validation", "test"):
        path = tmp_path / f"splits/engineered_{part}.csv"
        frame = pd.read_csv(path)
        frame.iloc[::-1].to_csv(path, index=False)
    with pytest.raises(pg.PermGradError, match=r"data.raw.train and data.engineered.train must hold the same rows"):
        study.load_pools(settings(), tmp_path)
    (tmp_path / "splits/raw_test.csv").unlink()
    with pytest.raises(pg.PermGradError, match=r"^data.raw.test: no file"):
        study.load_pools(settings(), tmp_path)


def test_wrong_settings():
    for override, message in {
        "network.dropout=1.5": "network.dropout: input should be less than 1, got 1.5",
        "data.raw.test=null": "data.raw.test: input should be a valid string, got None",
        "selection.scoring=acuracy": "selection.scoring: scoring must be a name of scikit-learn's scorers",
        "positive=ill": "positive: input should be 'malignant' or 'benign', got 'ill'",
    }.items():
        with pytest.raises(pg.PermGradError, match=message):
            settings(override)


@pytest.mark.slow
def test_real_networks_of_both_kinds(pools):
    """Elsewhere quick models stand in for them; trained again from the same random state, they are the same."""
    networks = study.three_networks(pools, settings(), 42, watch=True)
    assert list(networks) == list(tables.NETWORKS)
    assert len(networks["combined"]["features"]) >= 5
    assert study.train(pools["raw"], settings(), 42, watch=True)[1] == networks["raw"]["epochs"]
    ranking = pg.FeatureRanking.from_dict(study.permgrad_ranking(pools["raw"], settings(), 42)["ranking"])
    assert sorted(ranking.features) == sorted(pools["raw"]["test"].features)


def test_choices_are_compared_without_test_rows(pools, monkeypatch):
    """Who calls every row benign misses each malignant one of the known rows once per repeat, and nobody else."""
    made = []

    class AllBenign(DummyClassifier):
        def __init__(self, **options):
            made.append(options)
            super().__init__(strategy="constant", constant="benign")

    monkeypatch.setattr(pg, "MLPClassifier", AllBenign)
    known = choices.known_rows(pools["raw"])
    assert len(known) == 364 + 91
    found = choices.errors(known, settings("cross_validation.repeats=2"), {"batch_size": 16})
    assert (found["missed"], found["false alarms"]) == (136 + 34, 0)
    assert [options["batch_size"] for options in made] == [16] * 4
    assert [options["random_state"] for options in made] == [0, 1, 2, 3]
    test = pools["raw"]["test"].X
    assert not known.X.merge(test, how="inner").size
    made.clear()
    found = choices.on_the_split(pools["raw"], settings("published.seeds=3"), {"batch_size": 16})
    assert (found["test accuracy"], found["test recall"]) == (72 / 114, 0)
    assert [options["random_state"] for options in made] == [42, 43, 44]


def test_choices_are_sorted_by_the_mean_loss_of_both_pools():
    losses = {
        ("standard", "raw"): 0.1,
        ("standard", "engineered"): 0.3,
        ("power", "raw"): 0.2,
        ("power", "engineered"): 0.1,
    }
    rest = {"batch_size": "16", "class_weight": "None", "missed": 1.0, "false alarms": 2.5, "test recall": 0.9}
    rows = pd.DataFrame(
        {"pool": pool, "scaling": scaling, **rest, "loss": loss, "test accuracy": 1 - loss}
        for (scaling, pool), loss in losses.items()
    )
    table = choices.side_by_side(rows)
    assert table["scaling"].tolist() == ["power", "standard"]
    np.testing.assert_allclose(table["loss"], [0.15, 0.2])
    assert table["engineered wrong"].tolist() == [3.5, 3.5]
    assert table["raw test accuracy"].tolist() == [0.8, 0.9]
    assert table["engineered test accuracy"].tolist() == [0.9, 0.7]
