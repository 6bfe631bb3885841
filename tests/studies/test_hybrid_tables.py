from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression

import permgrad as pg
from permgrad.backend import keras
from permgrad.importance.pixels import read_pixels
from studies.hybrid_tables import baselines, ensembles, mistakes, networks, ranking_tables, score_tables, study
from studies.hybrid_tables.results import DatasetResults
from studies.hybrid_tables.settings import HybridSettings
from studies.hybrid_tables.statistics import row_difference, shared_best
from studies.hybrid_tables.study import STUDY, Experiment
from tests.conftest import SMALL

COMMITTED = STUDY.directory.parent / "results" / STUDY.name
TINY = (
    "seeds=2",
    "tuning.trials=1",
    "tuning.epochs.regression=1",
    "tuning.epochs.classification=1",
    "networks={hybrid: {space: hybrid, settings: {}, ranges: {base_filters: [8, 8]}}}",
    "ensembles={}",
    "presets=[]",
    "baselines=[random forest]",
    "layouts.sizes=[8]",
    "permgrad_repeats=1",
)


def settings(*overrides: str) -> HybridSettings:
    return STUDY.read([*TINY, *overrides])


def make_table(task: str = "classification", n: int = 90) -> pg.Table:
    """Three classes that the first column tells apart, or a number that it is nearly."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.uniform(size=(n, 4)), columns=list("abcd"))
    if task == "regression":
        return pg.Table(X, (10 * X["a"] + 0.1 * rng.normal(size=n)).rename("y"), name="puma8nh")
    y = pd.cut(X["a"], [0, 0.6, 0.85, 1.01], labels=["low", "middle", "top"]).astype(str)
    return pg.Table(X, y.rename("y"), name="heloc")


def make_parts(task: str = "classification") -> dict[str, pg.Table]:
    return dict(zip(("train", "validation", "test"), make_table(task).split(), strict=True))


@pytest.fixture(scope="module")
def parts() -> dict[str, pg.Table]:
    return make_parts()


@pytest.fixture(scope="module")
def fitted(parts) -> pg.HybridClassifier:
    """A network of both branches that was trained for a moment."""
    return pg.HybridClassifier(**SMALL, epochs=1, random_state=1).fit(parts["train"].X, parts["train"].y)


@pytest.fixture(scope="module")
def rankings(fitted, parts) -> dict[str, pg.FeatureRanking]:
    """The network's rankings by each formula, each made alone."""
    rows = parts["test"]
    return {
        name: fitted.rank_features(rows.X, rows.y, n_repeats=1, end_to_end=True, formula=formula)
        for name, formula in networks.FORMULAS.items()
    }


# Mistakes


def test_png_files_do_to_an_image_what_the_layer_does(tmp_path):
    """The reference writes the file as the published notebooks do, and reads it back."""
    cv2 = pytest.importorskip("cv2")
    layout = pg.fit_layout(make_table().X, size=8)
    rows = make_table().X.to_numpy(np.float32)[:5]
    draw = mistakes.PngImage.from_layout(layout)
    drawn = keras.ops.convert_to_numpy(draw(layout.scale(rows).astype(np.float32)))
    for row, image in zip(rows, drawn, strict=True):
        path = tmp_path / "row.png"
        plt.imsave(path, layout.render(row[None])[0, :, :, 0], cmap="binary")
        read = cv2.imread(str(path))[:, :, 0] / 255
        np.testing.assert_allclose(image[:, :, 0], read, atol=1.01 / 255)
    assert np.ptp(draw(np.zeros((1, 4), np.float32))) == 0


@pytest.mark.slow
def test_networks_with_mistakes_of_their_input(fitted, parts):
    """PNG files forget a row's level, so twice all values is the same image; the scaling has seen rows of the test."""
    every = pd.concat([parts["train"].X, parts["test"].X + 10])
    kind = mistakes.fitted_on_all_rows(mistakes.through_png_files(pg.HybridClassifier), every)
    spoilt = kind(**{**fitted.get_params(), "branches": ("image",)}).fit(parts["train"].X, parts["train"].y)
    np.testing.assert_allclose(spoilt.layout_.maximum, every.max(), rtol=1e-6)
    scaled = keras.ops.convert_to_numpy(spoilt.network_.get_layer("scale")(every.to_numpy(np.float32)))
    assert (scaled.min(), scaled.max()) == (0, 1)

    def once_and_twice(model: Any) -> list[pd.DataFrame]:
        low, span = model.layout_.minimum, model.layout_.maximum - model.layout_.minimum
        share = np.array([0.1, 0.2, 0.3, 0.4])
        return [pd.DataFrame(low + span * times * share, index=list("abcd")).T for times in (1, 2)]

    once, twice = map(spoilt.predict_proba, once_and_twice(spoilt))
    np.testing.assert_allclose(once, twice, atol=1e-3)
    once, twice = map(fitted.images, once_and_twice(fitted))
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-4)


def test_transposed_reads_the_mirrored_pixel(layout):
    """One hot pixel: read where it was written, or where its mirror image is."""
    maps = np.zeros((1, 8, 8, 1), np.float32)
    maps[0, layout.cols[0], layout.rows[0], 0] = 1
    assert read_pixels(maps, mistakes.transposed(layout))[0, 0, 0] == 1
    assert read_pixels(maps, layout)[0, 0, 0] == 0


def test_one_map_for_all_as_the_published_loop(fitted, parts):
    X = parts["test"].X
    heat = mistakes.one_map_for_all(fitted, X)
    maps, predicted, layout = fitted.grad_cam_maps(X), fitted.predict(X), fitted.layout_
    for f, (row, col) in enumerate(zip(layout.rows, layout.cols, strict=True)):
        at = row * maps.shape[1] // 8, col * maps.shape[2] // 8
        values = [maps[i, at[0], at[1], list(fitted.classes_).index(predicted[i])] for i in range(len(X))]
        np.testing.assert_allclose(heat.class_scores[f], np.mean(values), rtol=1e-5)
    assert heat.features == layout.features


@pytest.mark.slow
def test_misreading_leaves_permutation_and_weights_alone(fitted, parts, rankings):
    readings = mistakes.misread(fitted, parts, 1)
    assert set(readings) == {"corrected", "transposed", "one map", "end_to_end", "features"}
    np.testing.assert_allclose(readings["corrected"]["scores"], rankings["published"].scores, rtol=1e-5)
    assert readings["corrected"]["weight"] == pytest.approx(rankings["published"].branch_weights["image"])
    assert readings["one map"]["heat"].shape == (4,)
    encoded = fitted.encoder_.transform(parts["test"].X)
    wrong = pg.grad_cam(fitted.network_, encoded, mistakes.transposed(fitted.layout_))
    np.testing.assert_allclose(readings["transposed"]["heat"], wrong.scores, rtol=1e-5)


def test_both_formulas_explain_one_network(fitted, parts, rankings):
    """What is permuted end to end is computed once, and stands in both."""
    explained = networks.explain(fitted, parts, 1)
    for name, alone in rankings.items():
        ranking = pg.FeatureRanking.from_dict(explained["rankings"][name])
        np.testing.assert_allclose(ranking.scores, alone.scores, rtol=1e-5)
        shown = ranking.components["end_to_end"].scores
        np.testing.assert_allclose(shown, alone.components["end_to_end"].scores, rtol=1e-4, atol=1e-6)
    image = fitted.images(parts["test"].X[:1])[0, :, :, 0]
    np.testing.assert_allclose(explained["sample"]["image"], image, atol=1e-4)


def test_the_leaked_target_gives_the_target_away():
    rows = make_parts("regression")
    leaky = mistakes.with_leak(rows)
    model = LinearRegression().fit(leaky["train"].X, leaky["train"].y)
    assert model.score(leaky["test"].X, leaky["test"].y) == pytest.approx(1)
    assert leaky["train"].X[mistakes.LEAK].min() == 0
    assert rows["train"].features == list("abcd")


# Presets


def test_a_preset_is_trained_as_it_comes_and_never_sees_test_rows(parts, monkeypatch):
    given = []

    class Watching(BaseEstimator):
        def __init__(self, preset: str, random_state: int) -> None:
            self.preset, self.random_state = preset, random_state

        def fit(self, X, y, validation_data):
            given.append((self.get_params(), X, y, validation_data))
            self.classes_ = np.unique(y)
            return self

        def predict_proba(self, X):
            return np.tile([0.5, 0.3, 0.2], (len(X), 1))

        def predict(self, X):
            return np.full(len(X), "low")

    monkeypatch.setattr(pg, "HybridClassifier", Watching, raising=False)
    evaluation = networks.train_preset("best", parts, 3)
    ((params, X, y, (X_val, y_val)),) = given
    assert params == {"preset": "best", "random_state": 3}
    assert X.equals(parts["train"].X)
    assert y.equals(parts["train"].y)
    assert X_val.equals(parts["validation"].X)
    assert y_val.equals(parts["validation"].y)
    assert evaluation["test"]["accuracy"] == pytest.approx((parts["test"].y == "low").mean())
    assert evaluation["seconds"] >= 0


# Baselines


def test_baselines_never_see_test_rows(parts, monkeypatch):
    given = []

    class Watching:
        def __init__(self, random_state, **_):
            pass

        def fit(self, X, y, **stop):
            given.append((X, y, stop))
            return self

    monkeypatch.setattr("sklearn.ensemble.RandomForestClassifier", Watching)
    numbers = networks.numbered(parts)
    baselines.fit_baseline("random forest", numbers, 0)
    ((X, y, stop),) = given
    assert X.equals(parts["train"].X)
    assert set(y) == {0, 1, 2}
    assert not stop


def test_peers_run_in_a_process_of_their_own(parts, monkeypatch, tmp_path):
    """A pytabkit that says what it was given, and predicts the first class."""
    (tmp_path / "pytabkit.py").write_text(
        "from statistics import mean\n"  # not of a module beside the script
        "import numpy as np\n"
        "class RealMLP_TD_Classifier:\n"
        "    def __init__(self, **settings): assert settings['random_state'] == 3\n"
        "    def fit(self, X, y, X_val, y_val): assert (len(X), len(X_val)) == (54, 18)\n"
        "    def predict_proba(self, X): return np.tile([0.5, 0.3, 0.2], (len(X), 1))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    numbers = networks.numbered(parts)
    evaluation = baselines.fit_and_evaluate("RealMLP", numbers, 3)
    assert evaluation["test"]["accuracy"] == pytest.approx((parts["test"].y == "low").mean())
    assert set(evaluation["predicted"]) == {0}
    with pytest.raises(pg.PermGradError, match="(?s)RealMLP_TD_Classifier failed: .*AssertionError"):
        baselines.fit_baseline("RealMLP", numbers, 4)


def test_a_missing_package_is_one_clear_error(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(pg.PermGradError, match=r"XGBoost needs the package xgboost; pip install 'permgrad\[studies\]'"):
        baselines.check_installed(("XGBoost",))


def test_evaluated_by_hand(parts):
    class Fixed:
        classes_ = np.array(["low", "middle", "top"])

        def predict_proba(self, X):
            return np.tile([0.2, 0.5, 0.3], (len(X), 1))

        def predict(self, X):
            return np.full(len(X), "middle")

    evaluation = networks.evaluate(Fixed(), parts)
    assert list(evaluation["recall"]) == [0, 1, 0]
    assert evaluation["test"]["accuracy"] == pytest.approx((parts["test"].y == "middle").mean())
    assert set(evaluation["predicted"]) == {1}


# Tables


def planted(**changes: Any) -> DatasetResults:
    """A data set of six test rows, one baseline and one network with two seeds each."""
    truth = [0, 0, 0, 1, 1, 2]

    def evaluation(*predicted: int, auc: float = 0.5) -> dict[str, Any]:
        right = np.equal(predicted, truth)
        recall = [float(right[np.equal(truth, label)].mean()) for label in range(3)]
        scores = {"accuracy": float(right.mean()), "auc": auc, "balanced_accuracy": float(np.mean(recall))}
        rankings = {name: {"a": 0.6, "b": 0.3, "c": 0.1} for name in networks.FORMULAS}
        layout = {"features": list("abc"), "rows": [0, 0, 1], "cols": [0, 0, 1], "shape": [2, 2], "method": "tinto"}
        layout |= {"merge": "last", "minimum": [0.0] * 3, "maximum": [1.0] * 3}
        probabilities = np.eye(3)[list(predicted)].tolist()
        judged = {"test": scores, "recall": recall, "predicted": predicted, "probabilities": probabilities}
        return {**judged, "rankings": rankings, "layout": layout}

    tuning = {"trials": 7, "best": 2, "best_is_a_start": True, "validation_loss": 0.5, "parameters": 9, "seconds": 36}
    tuning |= {"params": {"lr": 0.1}, "ranges": {}, "pruner": "halving", "states": {}, "settings": {"epochs": 3}}
    known: dict[str, Any] = {
        "name": "gas_drift",
        "level": 0.95,
        "settings": {"explained": "hybrid", "split_random_state": 42, "tuning": {"epochs": {"classification": 3}}},
        "facts": {"task": "classification", "truth": truth, "class_sizes": {"x": 30, "y": 20, "z": 10}}
        | {"features": 3, "train": 60, "validation": 6, "test": 6},
        "note": "part: 6 of 12 rows",
        "baselines": {"random forest": {0: evaluation(0, 0, 0, 1, 0, 0), 1: evaluation(0, 0, 0, 1, 1, 0)}},
        "tuning": {"hybrid": tuning},
        "networks": {"hybrid": {0: evaluation(0, 0, 0, 1, 1, 2, auc=0.8), 1: evaluation(0, 0, 0, 1, 1, 0, auc=0.9)}},
        "presets": {},
        "ensembles": {},
        "mistakes": {},
        "layouts": {},
        "balanced": {},
        "permgrad": None,
    }
    return DatasetResults(**{**known, **changes})


def test_scores_have_their_interval_over_seeds():
    table = score_tables.score_table([planted()]).set_index(["model", "score"])
    forest = table.loc[("random forest", "accuracy")]
    assert forest["mean"] == pytest.approx(4.5 / 6)
    assert forest["high"] - forest["mean"] == pytest.approx(
        12.706 * np.std([4 / 6, 5 / 6], ddof=1) / np.sqrt(2), rel=1e-4
    )
    assert forest["dataset"] == "gas_drift (part)"
    assert table.loc[("hybrid", "accuracy"), "trials"] == 7


def test_the_target_is_the_best_baselines_score_row_by_row():
    row = score_tables.target_table([planted()]).iloc[0]
    gains = np.array([0, 0, 0, 0, 0.5, 0.5])  # right in both seeds less right in one; right in one less in none
    assert row["difference"] == pytest.approx(gains.mean())
    assert row["high"] - row["difference"] == pytest.approx(2.5706 * gains.std(ddof=1) / np.sqrt(6), rel=1e-4)
    assert row["verdict"] == "reached, within noise"
    assert (row["AUC"], row["best baseline by AUC"], row["its AUC"]) == (pytest.approx(0.85), "random forest", 0.5)
    assert (row["AUC difference"], row["its seeds"]) == (pytest.approx(0.35), 2)
    other = planted(
        networks=planted().baselines | {}, baselines=planted().networks, tuning={"random forest": {"trials": 1}}
    )
    assert score_tables.target_table([other]).iloc[0]["verdict"] == "missed, within noise"


def test_the_average_of_seeds_by_hand():
    one = planted()
    one.networks["hybrid"][1]["probabilities"][5] = [0.6, 0, 0.4]  # less sure than the other seed, which is right
    table = score_tables.average_table([one]).set_index("model")
    assert table.loc["hybrid", "of their average"] == 1
    assert table.loc["hybrid", "mean of single ones"] == pytest.approx((1 + 5 / 6) / 2)
    facts = {"task": "regression", "truth": np.array([0.0, 2.0]), "class_sizes": {}}
    by_seed = {
        random_state: {"predicted": [shift, 2 + shift], "test": {"r2": 0.75}}
        for random_state, shift in enumerate((-0.5, 0.5))
    }
    row = score_tables.average_table([planted(facts=facts, networks={"hybrid": by_seed}, baselines={})]).iloc[0]
    assert (row["of their average"], row["mean of single ones"]) == (1, 0.75)


def test_an_ensemble_by_hand():
    """Two networks, each sure of one of three rows and wrong about it where the other is surer."""
    facts = {"task": "classification", "truth": [0, 1, 1]}
    first = {"probabilities": [[0.9, 0.1], [0.6, 0.4], [0.6, 0.4]]}
    second = {"probabilities": [[0.4, 0.6], [0.1, 0.9], [0.5, 0.5]]}
    by_seed = ensembles.average_by_seed(facts, [{0: first, 1: first}, {1: second, 2: second}])
    assert set(by_seed) == {1}
    assert list(by_seed[1]["predicted"]) == [0, 1, 0]
    np.testing.assert_allclose(by_seed[1]["probabilities"], [[0.65, 0.35], [0.35, 0.65], [0.55, 0.45]])
    assert list(by_seed[1]["recall"]) == [1, 0.5]
    assert by_seed[1]["test"]["accuracy"] == pytest.approx(2 / 3)
    assert by_seed[1]["test"]["auc"] == 1
    numbers = ensembles.average(
        {"task": "regression", "truth": [0.0, 2.0]}, [{"predicted": [0.0, 1.0]}, {"predicted": [1.0, 3.0]}]
    )
    assert list(numbers["predicted"]) == [0.5, 2]
    assert numbers["test"]["r2"] == pytest.approx(1 - 0.25 / 2)


def test_ensembles_stand_beside_networks_and_baselines():
    one = planted()
    one = replace(one, ensembles={"both": {0: one.networks["hybrid"][0]}})  # right in every row
    scores = score_tables.score_table([one]).set_index(["kind", "model", "score"])
    assert scores.loc[("ensemble", "both", "accuracy"), "mean"] == 1
    assert pd.isna(scores.loc[("ensemble", "both", "accuracy"), "trials"])
    target = score_tables.target_table([one]).set_index("network")
    assert target.loc["both", "above hybrid"] == pytest.approx(1 / 12)  # the other seed of hybrid misses one row
    assert pd.isna(target.loc["hybrid", "above hybrid"])
    assert "both" in set(score_tables.recall_table([one])["model"])


def test_a_regressions_difference_is_that_of_r2():
    from sklearn.metrics import r2_score

    rng = np.random.default_rng(0)
    truth = rng.normal(size=50)
    first, second = truth + 0.1 * rng.normal(size=50), truth + rng.normal(size=50)
    facts = {"task": "regression", "truth": truth}
    got = row_difference(facts, [{"predicted": first}], [{"predicted": second}])
    assert got["difference"] == pytest.approx(r2_score(truth, first) - r2_score(truth, second))
    assert got["low"] > 0


def test_mistakes_are_set_against_the_corrected_network():
    one = planted()
    right, wrong = one.networks["hybrid"].values()
    spoilt = {**wrong, "rankings": {name: {"a": 0.1, "b": 0.3, "c": 0.6} for name in networks.FORMULAS}}
    table = ranking_tables.mistake_table([planted(mistakes={"corrected": right, "shared pixels": spoilt})])
    row, yardstick = table.iloc[0], table.iloc[1]
    assert (row["default formula"], row["corrected"], row["mistaken"]) == (-1, 1, pytest.approx(5 / 6))
    assert row["difference"] == pytest.approx(-1 / 6)
    assert row["note"] == "3 features in 2 of 2 × 2 pixels"
    assert yardstick["mistake"].startswith("none: another seed")
    assert yardstick["published formula"] == 1
    assert np.isnan(yardstick["mistaken"])  # neither seed is


def test_misread_rankings_by_hand():
    right = {"scores": [3, 2, 1], "class_scores": [[3, 1], [2, 2], [1, 3]], "heat": [1, 2, 3], "weight": 0.6}
    wrong = {"scores": [1, 2, 3], "class_scores": [[3, 3], [2, 2], [1, 1]], "heat": [1, 2, 3]}
    readings = {"corrected": right, "one map": wrong, "end_to_end": [9, 8, 7], "features": list("abc")}
    row = ranking_tables.misread_table([planted(mistakes={"misread": readings})]).iloc[0]
    assert (row["heat"], row["published formula"], row["classes"]) == (1, -1, 0)
    assert (row["end to end, corrected"], row["end to end, mistaken"]) == (1, -1)


def test_layouts_are_set_against_the_network_of_the_same_seed():
    one = planted()
    reverse = {name: {"a": 0.1, "b": 0.3, "c": 0.6} for name in networks.FORMULAS}
    one.networks["hybrid"][1]["rankings"] = reverse
    with_igtd = {0: one.networks["hybrid"][0], 1: {**one.networks["hybrid"][0], "rankings": reverse}}
    layouts = {("IGTD", 10): with_igtd, ("IGTD", 1): {1: {"impossible": "too small"}}, ("IGTD", 20): {}}
    table = ranking_tables.layout_table([replace(one, layouts=layouts)])
    assert table["note"].tolist() == ["3 features in 2 of 2 × 2 pixels", "too small"]
    assert table.iloc[0]["mean"] == 1
    assert table.iloc[0]["default formula"] == 1  # 0 if one seed were set against the other


def test_recall_and_saliency_of_planted_classes():
    ranking = pg.FeatureRanking(
        ("a", "b"),
        np.array([1.2, 0.6]),
        class_scores=np.array([[0.2, 0.4, 0.6], [0.1, 0.2, 0.3]]),
        classes=tuple("xyz"),
    ).to_dict()
    one = planted(permgrad={"rankings": {"default": ranking}}, balanced=planted().networks["hybrid"])
    recalls = score_tables.recall_table([one]).set_index(["model", "class"])
    assert recalls.loc[("random forest", "y"), "recall"] == 0.75
    assert ("hybrid, balanced classes", "z") in recalls.index
    saliency = ranking_tables.saliency_table([one])
    assert saliency["correlation"].tolist() == [-1]  # the smallest class has most heat
    assert saliency["p"].tolist() == [pytest.approx(2 / 6)]  # two of six orders are as clear
    assert (saliency["part"].tolist(), saliency["dataset"].tolist()) == (["all of it"], ["gas_drift (part)"])


def test_puma_stands_beside_what_was_published():
    part = pg.FeatureRanking(
        ("tau1", "theta3"), np.array([0.2, 11.0]), low=np.array([0.1, 10]), high=np.array([0.3, 12])
    )
    content = replace(part, components={"permutation": part}).to_dict()
    one = planted(name="puma8nh", permgrad={"rankings": {"published": content}})
    table = ranking_tables.puma_table([planted(), one]).set_index("feature")
    assert table.loc["theta3", ["here", "low", "high", "published"]].tolist() == [11, 10, 12, 10.41]
    assert table["published"].to_dict() == {"theta3": 10.41, "tau1": 0.104}


@pytest.mark.parametrize(("second", "share"), [([5, 4, 3, 2, 1, 0], 1.0), ([0, 4, 3, 2, 1, 9], 0.8)])
def test_share_of_the_best_that_are_shared(second, share):
    assert shared_best([5, 4, 3, 2, 1, 0], second) == share


# The study


class Best(BaseEstimator):
    """A trial's network."""

    n_conv_layers = 3

    def __init__(self, random_state: int = 0) -> None:
        self.random_state = random_state


class Stand:
    """In the place of tuning and training: quick, and it says what was asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.trained: list[tuple[int, dict[str, Any]]] = []
        self.best = 0
        self.layout = pg.fit_layout(make_table().X, size=8)
        monkeypatch.setattr(study, "load_table", lambda name, settings: make_table())
        monkeypatch.setattr(pg, "tune", self.tune, raising=False)
        monkeypatch.setattr(networks, "describe_tuning", lambda _: {"trials": self.best + 1, "best": self.best})
        monkeypatch.setattr(networks, "measure", lambda *_: {})
        monkeypatch.setattr(networks, "train_and_measure", self.train)

    def tune(self, table: pg.Table, space: str, **given: Any) -> SimpleNamespace:
        assert given["settings"]["epochs"] == 1
        best = Best()
        best.layout_ = self.layout
        return SimpleNamespace(best_model=best)

    def train(self, model: Any, parts: Any, repeats: int, *, random_state: int, **changes: Any) -> dict[str, Any]:
        self.trained.append((random_state, changes))
        return {}


@pytest.fixture
def stand(monkeypatch) -> Stand:
    return Stand(monkeypatch)


def run(out: Path, *overrides: str, **given: Any) -> DatasetResults:
    """Run the study on one data set; return what is there."""
    (result,) = study.run(settings(*overrides), STUDY.workspace(out), datasets=["heloc"], **given)
    return result


def test_more_can_be_asked_for_later_and_less_is_not_forgotten(stand, tmp_path):
    run(tmp_path, parts=["networks"])
    assert stand.trained == [(1, {})]  # the tuned network has the first seed
    run(tmp_path, "seeds=3", "networks.wide={space: mlp, settings: {}}", parts=["networks"])
    assert [seed for seed, _ in stand.trained[1:]] == [1, 2, 2]  # by then one network had the second seed
    balanced = run(tmp_path, parts=["imbalance"])
    assert stand.trained[4:] == [(seed, {"class_weight": "balanced"}) for seed in (0, 1)]
    assert set(balanced.balanced) == {0, 1}
    less = run(tmp_path, "seeds=1", report_only=True)
    assert {name: list(by_seed) for name, by_seed in less.networks.items()} == {"hybrid": [0, 1, 2], "wide": [0, 1, 2]}
    assert len(stand.trained) == 6
    with pytest.raises(pg.PermGradError, match="other settings: permgrad_repeats was 1, now 2"):
        run(tmp_path, "permgrad_repeats=2")
    with pytest.raises(pg.PermGradError, match="there are no results in"):
        run(tmp_path / "empty", report_only=True)


def test_presets_are_trained_with_every_seed_and_stand_in_the_tables(stand, tmp_path, monkeypatch):
    asked = []

    def train(name: str, parts: Any, random_state: int) -> dict[str, Any]:
        asked.append((name, random_state))
        right = parts["test"].y
        return {"test": {"accuracy": 1.0, "auc": 1.0, "balanced_accuracy": 1.0}} | {
            "predicted": np.searchsorted(np.unique(right), right),
            "probabilities": [],
            "recall": [1.0, 1.0, 1.0],
        }

    monkeypatch.setattr(networks, "train_preset", train)
    result = run(tmp_path, "presets=[default, best]", parts=["baselines", "presets"])
    assert sorted(asked) == [("best", 0), ("best", 1), ("default", 0), ("default", 1)]
    assert {name: list(by_seed) for name, by_seed in result.presets.items()} == {"best": [0, 1], "default": [0, 1]}
    scores = score_tables.score_table([result]).set_index(["kind", "model", "score"])
    assert scores.loc[("preset", "best", "accuracy"), "mean"] == 1
    target = score_tables.target_table([result]).set_index("network")
    assert list(target.index) == ["best", "default"]
    forest = np.mean([each["test"]["accuracy"] for each in result.baselines["random forest"].values()])
    assert target.loc["best", "difference"] == pytest.approx(1 - forest)
    assert {"best", "default"} <= set(settings("presets=[default, best]").contenders)


def test_a_better_trial_starts_what_follows_from_it_anew(stand, tmp_path):
    run(tmp_path, parts=["networks"])
    stand.best = 4
    result = run(tmp_path, parts=["networks"])
    assert stand.trained == [(1, {}), (1, {})]
    assert result.tuning["hybrid"]["best"] == 4


def test_layouts_that_cannot_be_are_noted_and_other_failures_are_not(stand, tmp_path, monkeypatch):
    def fail(*arguments: Any, **changes: Any) -> None:
        raise pg.PermGradError("training diverged")

    with monkeypatch.context() as patched, pytest.raises(pg.PermGradError, match="diverged"):
        patched.setattr(networks, "train_and_measure", fail)
        run(tmp_path, parts=["layouts"])
    layouts = run(tmp_path, "layouts.sizes=[1, 4, 8]", parts=["layouts"]).layouts
    notes = {place: by_seed[0].get("impossible") for place, by_seed in layouts.items()}
    assert notes[("IGTD", 1)] == "4 features with a pixel each do not fit into 1 × 1"
    assert notes[("TINTO faithful", 1)] == "1 × 1 pixels cannot be halved 3 times, as the network does"  # may share it
    assert notes[("IGTD", 4)] == "4 × 4 pixels cannot be halved 3 times, as the network does"
    assert notes[("IGTD", 8)] is None
    with pytest.raises(pg.PermGradError, match="other settings: unique was True, now False"):
        run(tmp_path, "layouts.kinds.IGTD.unique=false", parts=["layouts"])


@pytest.mark.parametrize(
    ("task", "made"), [("regression", ["PNG files", "target among features"]), ("classification", ["PNG files"])]
)
def test_only_the_mistakes_that_are_asked_for_are_made(task, made, stand, tmp_path, monkeypatch):
    monkeypatch.setattr(study, "load_table", lambda *_: make_table(task))
    asked = settings("mistakes=[target among features, PNG files]")
    steps = Experiment("heloc", asked, STUDY.workspace(tmp_path)).mistakes()
    assert [name.rpartition("/")[2] for name in steps] == ["corrected", "misread", *made]


def test_the_report_has_what_is_there(tmp_path):
    """Without pictures; all of it is in the slow test."""
    drawing_nothing = replace(STUDY, pictures=lambda *_: {})
    one = planted(name="heloc", networks={}, tuning={})
    text = drawing_nothing.write_report(settings(), [one], tmp_path / "begun").text()
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "# Hybrid networks on tables: PermGrad's five data sets",
        "## Networks beside baselines",
        "### heloc (part)",
        "### Seeds together",
        "## Class imbalance",
        "### heloc (part): recall of each class (training rows)",
        "## Pictures",
    ]
    assert "XGBoost (its best tree) accuracy 0.7315, AUC 0.7922; MLP accuracy 0.7192, AUC 0.7869; CNN+MLP" in text
    assert not (tmp_path / "begun" / "target.csv").exists()
    report = drawing_nothing.write_report(settings("networks.hybrid.space=batch_ensemble"), [planted()], tmp_path)
    assert "| +0.1667 [-0.1043, +0.4376] | reached, within noise |" in report.text()
    assert len(pd.read_csv(tmp_path / "target.csv")) == 1


def test_a_part_of_the_rows_is_the_same_part_each_time():
    if not (Path(os.environ.get("PERMGRAD_DATA", "")) / "heloc.csv").is_file():
        pytest.skip("heloc.csv is not in PERMGRAD_DATA")
    some = study.load_table("heloc", settings("rows=500"))
    assert (len(study.load_table("heloc", settings())), len(some)) == (10459, 500)
    assert some.X.equals(study.load_table("heloc", settings("rows=500")).X)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("baselines=[forest]", "baselines: there is no baseline 'forest'; there are random forest, extra trees"),
        ("mistakes=[typing error]", "there is no 'typing error'; there are shared pixels, "),
        ("presets=[better]", "presets: there is no preset 'better'; there are default, fast, best, published"),
        ("networks.fast={space: mlp, settings: {}}|presets=[fast]", "networks.fast: there is a preset of that name"),
        ("explained=best", "explained must be one of networks, hybrid"),
        ("ensembles.both=[hybrid, best]", "ensembles.both: there is no network 'best'"),
        ("ensembles.hybrid=[hybrid, hybrid]", "ensembles.hybrid: there is a network or a preset of that name"),
    ],
)
def test_settings_that_do_not_fit_together(override, message):
    with pytest.raises(pg.PermGradError, match=message):
        settings(*override.split("|"))


def test_what_is_committed_is_small_and_says_what_it_rests_on():
    files = [path for path in COMMITTED.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".csv", ".md", ".png"}
    assert sum(path.stat().st_size for path in files) < 1_000_000
    scores = pd.read_csv(COMMITTED / "scores.csv")
    assert {"dataset", "model", "mean", "low", "high", "seeds", "trials"} <= set(scores)
    partial = scores["dataset"].str.contains("gas_drift|covertype")
    assert partial.any()
    assert scores.loc[partial, "dataset"].str.endswith("(part)").all()


@pytest.mark.slow
def test_a_network_with_the_leak_leans_on_it():
    template = pg.HybridRegressor(**SMALL, epochs=1, random_state=0)
    rows = make_parts("regression")
    mistaken = mistakes.retrain("target among features", template, rows, 1, every_row=None)
    assert set(mistaken["rankings"]) == {"default", "published"}
    assert list(mistaken["rankings"]["default"]) == [*"abcd", mistakes.LEAK]
    assert len(mistaken["predicted"]) == len(rows["test"])


@pytest.mark.slow
def test_a_small_network_from_end_to_end(tmp_path, monkeypatch):
    """Real tuning and training on a small table, every part; for another table only baselines are there."""
    monkeypatch.setattr(study, "load_table", lambda name, _: make_table())
    ranges = "{base_filters: [8, 8], n_dense_layers: [1, 1], n_conv_layers: [1, 1]}"
    small = f"networks={{hybrid: {{space: hybrid, settings: {{image_size: 9}}, ranges: {ranges}}}}}"
    changes = [*TINY, small, "presets=[fast]", "seeds=1", "layouts.kinds={TINTO: {layout: tinto, unique: false}}"]
    changes += ["mistakes=[shared pixels, PNG files]"]
    given = [*(part for change in changes for part in ("--set", change)), "--out", str(tmp_path)]
    study.run(STUDY.read(changes), STUDY.workspace(tmp_path), datasets=["dengue"], parts=["baselines"])
    invoked = CliRunner().invoke(study.main, [*given, "--dataset", "heloc"], catch_exceptions=False)
    assert invoked.exit_code == 0, invoked.output
    mistaken = pd.read_csv(tmp_path / "mistakes.csv").set_index(["dataset", "mistake"])["note"]
    assert list(mistaken.index) == [("heloc", "PNG files"), ("heloc", "shared pixels")]
    assert mistaken["heloc", "shared pixels"].endswith("of 9 × 9 pixels")
    (layout,) = pd.read_csv(tmp_path / "layouts.csv").to_dict("records")
    assert layout["note"].endswith("of 8 × 8 pixels")
    recalled = pd.read_csv(tmp_path / "recall.csv").groupby("dataset")["model"].agg(set)
    assert recalled["heloc"] == {"random forest", "hybrid", "fast", "hybrid, balanced classes"}
    assert recalled["dengue"] == {"random forest"}
    drawn = {path.stem for path in tmp_path.glob("*.png")}
    assert {"scores", "layouts", "recall", "network_heloc", "layout_heloc_published", "sample_heloc"} <= drawn
