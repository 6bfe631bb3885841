from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from sklearn.linear_model import LinearRegression

import permgrad as pg
from permgrad.backend import keras
from studies.hybrid_tables import baselines, ensembles, found, mistakes, networks, report, tables
from studies.hybrid_tables import study as study
from studies.kit.settings import read_settings
from tests.conftest import SMALL

YAML = Path(study.__file__).with_suffix(".yaml")
TINY = (
    "seeds=2",
    "tuning.trials=1",
    "tuning.epochs.regression=1",
    "tuning.epochs.classification=1",
    "baselines=[random forest]",
    "layouts.sizes=[8]",
    "permgrad_repeats=1",
)


def settings(*overrides: str) -> study.Study:
    return read_settings(study.Study, YAML, [*TINY, *overrides])


def make_table(task: str = "classification", n: int = 90) -> pg.Table:
    """Three classes that the first column tells apart, or a number that it is nearly."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.uniform(size=(n, 4)), columns=list("abcd"))
    if task == "regression":
        return pg.Table(X, (10 * X["a"] + 0.1 * rng.normal(size=n)).rename("y"), name="puma8nh")
    y = pd.cut(X["a"], [0, 0.6, 0.85, 1.01], labels=["low", "middle", "top"]).astype(str)
    return pg.Table(X, y.rename("y"), name="heloc")


@pytest.fixture
def parts() -> dict[str, pg.Table]:
    return dict(zip(("train", "validation", "test"), make_table().split(), strict=True))


@pytest.fixture(scope="module")
def fitted() -> tuple[pg.HybridClassifier, dict[str, pg.Table]]:
    """A network of both branches that was trained for a moment."""
    rows = dict(zip(("train", "validation", "test"), make_table().split(), strict=True))
    model = pg.HybridClassifier(**SMALL, epochs=2, random_state=1)
    return model.fit(rows["train"].X, rows["train"].y), rows


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


def test_a_network_through_png_files_forgets_the_rows_level(fitted):
    """Twice all values, on a layout that maps 0 to 0: another image for the library, the same one for PNG files."""
    model, rows = fitted
    kind = mistakes.through_png_files(pg.HybridClassifier)
    spoilt = kind(**{**model.get_params(), "branches": ("image",)}).fit(rows["train"].X, rows["train"].y)
    low, span = spoilt.layout_.minimum, spoilt.layout_.maximum - spoilt.layout_.minimum
    once = pd.DataFrame(low + span * np.array([0.1, 0.2, 0.3, 0.4]), index=list("abcd")).T
    twice = pd.DataFrame(low + span * np.array([0.2, 0.4, 0.6, 0.8]), index=list("abcd")).T
    np.testing.assert_allclose(spoilt.predict_proba(once), spoilt.predict_proba(twice), atol=1e-3)
    right = pg.HybridClassifier(**{**model.get_params(), "branches": ("image",)}).fit(rows["train"].X, rows["train"].y)
    assert np.abs(right.predict_proba(once) - right.predict_proba(twice)).max() > 1e-3


def test_transposed_reads_the_mirrored_pixel(fitted):
    """One hot pixel: read where it was written, or where its mirror image is."""
    model, _ = fitted
    layout = model.layout_
    maps = np.zeros((1, 8, 8, 1), np.float32)
    maps[0, layout.cols[0], layout.rows[0], 0] = 1
    from permgrad.importance.pixels import read_pixels

    assert read_pixels(maps, mistakes.transposed(layout))[0, 0, 0] == 1
    assert read_pixels(maps, layout)[0, 0, 0] == (layout.rows[0] == layout.cols[0])


def test_one_map_for_all_as_the_published_loop(fitted):
    model, rows = fitted
    X = rows["test"].X
    heat = mistakes.one_map_for_all(model, X)
    maps, predicted = model.grad_cam_maps(X), model.predict(X)
    layout = model.layout_
    for f, (row, col) in enumerate(zip(layout.rows, layout.cols, strict=True)):
        at = row * maps.shape[1] // 8, col * maps.shape[2] // 8
        values = [maps[i, at[0], at[1], list(model.classes_).index(predicted[i])] for i in range(len(X))]
        np.testing.assert_allclose(heat.class_scores[f], np.mean(values), rtol=1e-5)
    assert heat.features == layout.features


def test_misreading_leaves_permutation_and_weights_alone(fitted):
    model, rows = fitted
    unit = mistakes.misread(model, rows, 1)
    assert set(unit) == {"corrected", "transposed", "one map", "end_to_end", "features"}
    right = model.rank_features(rows["test"].X, rows["test"].y, n_repeats=1, end_to_end=False, formula=pg.PUBLISHED)
    np.testing.assert_allclose(unit["corrected"]["scores"], right.scores, rtol=1e-6)
    np.testing.assert_allclose(unit["one map"]["heat"].shape, (4,))
    wrong = pg.grad_cam(model.network_, model.encoder_.transform(rows["test"].X), mistakes.transposed(model.layout_))
    np.testing.assert_allclose(unit["transposed"]["heat"], wrong.scores, rtol=1e-5)


def test_both_formulas_explain_one_network(fitted):
    model, rows = fitted
    unit = networks.explain(model, rows, 2)
    for name, formula in networks.FORMULAS.items():
        ranking = pg.FeatureRanking.from_dict(unit["rankings"][name])
        plain = model.rank_features(rows["test"].X, rows["test"].y, n_repeats=2, end_to_end=True, formula=formula)
        np.testing.assert_allclose(ranking.scores, plain.scores, rtol=1e-5)
        shown = ranking.components["end_to_end"].scores
        np.testing.assert_allclose(shown, plain.components["end_to_end"].scores, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(unit["sample"]["image"], model.images(rows["test"].X[:1])[0, :, :, 0], atol=1e-4)


def test_fitted_on_all_rows_sees_test_rows(fitted):
    model, rows = fitted
    every = pd.concat([rows["train"].X, rows["test"].X + 10])
    kind = mistakes.fitted_on_all_rows(pg.HybridClassifier, every)
    spoilt = kind(**{**model.get_params(), "epochs": 1}).fit(rows["train"].X, rows["train"].y)
    np.testing.assert_allclose(spoilt.layout_.maximum, every.max(), rtol=1e-6)
    scaled = keras.ops.convert_to_numpy(spoilt.network_.get_layer("scale")(every.to_numpy(np.float32)))
    assert scaled.min() == 0
    assert scaled.max() == 1


def test_the_leaked_target_gives_the_target_away():
    rows = dict(zip(("train", "validation", "test"), make_table("regression").split(), strict=True))
    leaky = mistakes.with_leak(rows)
    model = LinearRegression().fit(leaky["train"].X, leaky["train"].y)
    assert model.score(leaky["test"].X, leaky["test"].y) == pytest.approx(1)
    assert leaky["train"].X[mistakes.LEAK].min() == 0
    assert rows["train"].features == list("abcd")


# Baselines


def test_baselines_never_see_test_rows(parts, monkeypatch):
    seen = []

    class Watching:
        def __init__(self, random_state, **_):
            pass

        def fit(self, X, y, **stop):
            seen.append((X, y, stop))
            return self

    monkeypatch.setattr("sklearn.ensemble.RandomForestClassifier", Watching)
    numbers = networks.numbered(parts)
    baselines.fit_baseline("random forest", numbers, 0)
    ((X, y, stop),) = seen
    assert X.equals(parts["train"].X)
    assert set(y) == {0, 1, 2}
    assert not stop


def test_peers_run_in_a_process_of_their_own(parts, monkeypatch, tmp_path):
    """A pytabkit that says what it was given, and predicts the first class."""
    (tmp_path / "pytabkit.py").write_text(
        "import numpy as np\n"
        "class RealMLP_TD_Classifier:\n"
        "    def __init__(self, **settings): assert settings['random_state'] == 3\n"
        "    def fit(self, X, y, X_val, y_val): assert (len(X), len(X_val)) == (54, 18)\n"
        "    def predict_proba(self, X): return np.tile([0.5, 0.3, 0.2], (len(X), 1))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    numbers = networks.numbered(parts)
    judged = networks.judge(baselines.fit_baseline("RealMLP", numbers, 3), numbers)
    assert judged["test"]["accuracy"] == pytest.approx((parts["test"].y == "low").mean())
    assert set(judged["predicted"]) == {0}
    with pytest.raises(pg.PermGradError, match="(?s)RealMLP_TD_Classifier failed: .*AssertionError"):
        baselines.fit_baseline("RealMLP", numbers, 4)


def test_a_missing_package_is_one_clear_error(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(pg.PermGradError, match=r"XGBoost needs the package xgboost; pip install 'permgrad\[studies\]'"):
        baselines.check_installed(("XGBoost",))


def test_judged_by_hand(parts):
    class Fixed:
        classes_ = np.array(["low", "middle", "top"])

        def predict_proba(self, X):
            return np.tile([0.2, 0.5, 0.3], (len(X), 1))

        def predict(self, X):
            return np.full(len(X), "middle")

    unit = networks.judge(Fixed(), parts)
    assert list(unit["recall"]) == [0, 1, 0]
    assert unit["test"]["accuracy"] == pytest.approx((parts["test"].y == "middle").mean())
    assert set(unit["predicted"]) == {1}


# Tables


def planted(**changes: Any) -> found.Found:
    """A data set of six test rows, one baseline and one network with two seeds each."""
    truth = [0, 0, 0, 1, 1, 2]

    def unit(*predicted: int, auc: float = 0.5) -> dict[str, Any]:
        right = np.equal(predicted, truth)
        recall = [float(right[np.equal(truth, label)].mean()) for label in range(3)]
        scores = {"accuracy": float(right.mean()), "auc": auc, "balanced_accuracy": float(np.mean(recall))}
        rankings = {name: {"a": 0.6, "b": 0.3, "c": 0.1} for name in networks.FORMULAS}
        layout = {"features": list("abc"), "rows": [0, 0, 1], "cols": [0, 0, 1], "shape": [2, 2], "method": "tinto"}
        layout |= {"merge": "last", "minimum": [0.0] * 3, "maximum": [1.0] * 3}
        probabilities = np.eye(3)[list(predicted)].tolist()
        found = {"test": scores, "recall": recall, "predicted": predicted, "probabilities": probabilities}
        return {**found, "rankings": rankings, "layout": layout}

    known: dict[str, Any] = {
        "name": "gas_drift",
        "level": 0.95,
        "settings": {"explained": "hybrid", "split_random_state": 42},
        "data": {"task": "classification", "truth": truth, "class_sizes": {"x": 30, "y": 20, "z": 10}, "features": 3},
        "note": "part: 6 of 12 rows",
        "baselines": {"random forest": {0: unit(0, 0, 0, 1, 0, 0), 1: unit(0, 0, 0, 1, 1, 0)}},
        "tuning": {"hybrid": {"trials": 7}},
        "networks": {"hybrid": {0: unit(0, 0, 0, 1, 1, 2, auc=0.8), 1: unit(0, 0, 0, 1, 1, 0, auc=0.9)}},
        "ensembles": {},
        "mistakes": {},
        "layouts": {},
        "balanced": {},
        "permgrad": None,
    }
    return found.Found(**{**known, **changes})


def test_scores_have_their_interval_over_seeds():
    table = tables.score_table([planted()]).set_index(["model", "score"])
    forest = table.loc[("random forest", "accuracy")]
    assert forest["mean"] == pytest.approx(4.5 / 6)
    assert forest["high"] - forest["mean"] == pytest.approx(
        12.706 * np.std([4 / 6, 5 / 6], ddof=1) / np.sqrt(2), rel=1e-4
    )
    assert forest["dataset"] == "gas_drift (part)"
    assert table.loc[("hybrid", "accuracy"), "trials"] == 7


def test_the_target_is_the_best_baselines_score_row_by_row():
    row = tables.target_table([planted()]).iloc[0]
    gains = np.array([0, 0, 0, 0, 0.5, 0.5])  # right in both seeds less right in one; right in one less in none
    assert row["difference"] == pytest.approx(gains.mean())
    assert row["high"] - row["difference"] == pytest.approx(2.5706 * gains.std(ddof=1) / np.sqrt(6), rel=1e-4)
    assert row["verdict"] == "reached, within noise"
    assert (row["AUC"], row["best baseline by AUC"], row["its AUC"]) == (pytest.approx(0.85), "random forest", 0.5)
    assert (row["AUC difference"], row["its seeds"]) == (pytest.approx(0.35), 2)
    other = planted(
        networks=planted().baselines | {}, baselines=planted().networks, tuning={"random forest": {"trials": 1}}
    )
    assert tables.target_table([other]).iloc[0]["verdict"] == "missed, within noise"


def test_the_average_of_seeds_by_hand():
    one = planted()
    one.networks["hybrid"][1]["probabilities"][5] = [0.6, 0, 0.4]  # less sure than the other seed, which is right
    table = tables.average_table([one]).set_index("model")
    assert table.loc["hybrid", "of their average"] == 1
    assert table.loc["hybrid", "mean of single ones"] == pytest.approx((1 + 5 / 6) / 2)
    data = {"task": "regression", "truth": np.array([0.0, 2.0]), "class_sizes": {}}
    units = {
        random_state: {"predicted": [shift, 2 + shift], "test": {"r2": 0.75}}
        for random_state, shift in enumerate((-0.5, 0.5))
    }
    row = tables.average_table([planted(data=data, networks={"hybrid": units}, baselines={})]).iloc[0]
    assert (row["of their average"], row["mean of single ones"]) == (1, 0.75)


def test_an_ensemble_by_hand():
    """Two networks, each sure of one of three rows and wrong about it where the other is surer."""
    data = {"task": "classification", "truth": [0, 1, 1]}
    first = {"probabilities": [[0.9, 0.1], [0.6, 0.4], [0.6, 0.4]]}
    second = {"probabilities": [[0.4, 0.6], [0.1, 0.9], [0.5, 0.5]]}
    units = ensembles.average_by_seed(data, [{0: first, 1: first}, {1: second, 2: second}])
    assert set(units) == {1}
    assert list(units[1]["predicted"]) == [0, 1, 0]
    np.testing.assert_allclose(units[1]["probabilities"], [[0.65, 0.35], [0.35, 0.65], [0.55, 0.45]])
    assert list(units[1]["recall"]) == [1, 0.5]
    assert units[1]["test"]["accuracy"] == pytest.approx(2 / 3)
    assert units[1]["test"]["auc"] == 1
    numbers = ensembles.average(
        {"task": "regression", "truth": [0.0, 2.0]}, [{"predicted": [0.0, 1.0]}, {"predicted": [1.0, 3.0]}]
    )
    assert list(numbers["predicted"]) == [0.5, 2]
    assert numbers["test"]["r2"] == pytest.approx(1 - 0.25 / 2)


def test_ensembles_stand_beside_networks_and_baselines():
    one = planted()
    one = replace(one, ensembles={"both": {0: one.networks["hybrid"][0]}})  # right in every row
    scores = tables.score_table([one]).set_index(["kind", "model", "score"])
    assert scores.loc[("ensemble", "both", "accuracy"), "mean"] == 1
    assert pd.isna(scores.loc[("ensemble", "both", "accuracy"), "trials"])
    target = tables.target_table([one]).set_index("network")
    assert target.loc["both", "above hybrid"] == pytest.approx(1 / 12)  # the other seed of hybrid misses one row
    assert pd.isna(target.loc["hybrid", "above hybrid"])
    assert "both" in set(tables.recall_table([one])["model"])


def test_a_regressions_difference_is_that_of_r2():
    from sklearn.metrics import r2_score

    rng = np.random.default_rng(0)
    truth = rng.normal(size=50)
    first, second = truth + 0.1 * rng.normal(size=50), truth + rng.normal(size=50)
    data = {"task": "regression", "truth": truth}
    got = tables.row_difference(data, [{"predicted": first}], [{"predicted": second}])
    assert got["difference"] == pytest.approx(r2_score(truth, first) - r2_score(truth, second))
    assert got["low"] > 0


def test_mistakes_are_set_against_the_corrected_network():
    one = planted()
    right, wrong = one.networks["hybrid"].values()
    spoilt = {**wrong, "rankings": {name: {"a": 0.1, "b": 0.3, "c": 0.6} for name in networks.FORMULAS}}
    table = tables.mistake_table([planted(mistakes={"corrected": right, "shared pixels": spoilt})])
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
    unit = {"corrected": right, "one map": wrong, "end_to_end": [9, 8, 7], "features": list("abc")}
    row = tables.misread_table([planted(mistakes={"misread": unit})]).iloc[0]
    assert (row["heat"], row["published formula"], row["classes"]) == (1, -1, 0)
    assert (row["end to end, corrected"], row["end to end, mistaken"]) == (1, -1)


def test_layouts_are_set_against_the_network_of_the_same_seed():
    one = planted()
    reverse = {name: {"a": 0.1, "b": 0.3, "c": 0.6} for name in networks.FORMULAS}
    one.networks["hybrid"][1]["rankings"] = reverse
    with_igtd = {0: one.networks["hybrid"][0], 1: {**one.networks["hybrid"][0], "rankings": reverse}}
    layouts = {("IGTD", 10): with_igtd, ("IGTD", 1): {1: {"impossible": "too small"}}, ("IGTD", 20): {}}
    table = tables.layout_table([replace(one, layouts=layouts)])
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
    recalls = tables.recall_table([one]).set_index(["model", "class"])
    assert recalls.loc[("random forest", "y"), "recall"] == 0.75
    assert ("hybrid, balanced classes", "z") in recalls.index
    saliency = tables.saliency_table([one])
    assert saliency["correlation"].tolist() == [-1]  # the smallest class has most heat
    assert saliency["p"].tolist() == [pytest.approx(2 / 6)]  # two of six orders are as clear
    assert (saliency["part"].tolist(), saliency["dataset"].tolist()) == (["all of it"], ["gas_drift (part)"])


@pytest.mark.parametrize(("second", "share"), [([5, 4, 3, 2, 1, 0], 1.0), ([0, 4, 3, 2, 1, 9], 0.8)])
def test_share_of_the_best_that_stay(second, share):
    assert tables.kept_share([5, 4, 3, 2, 1, 0], second) == share


# The study


@functools.cache
def small_layout() -> dict[str, Any]:
    return pg.fit_layout(make_table().X, size=8).to_dict()


class Stand:
    """In the place of tuning and training: quick, and it keeps what was asked for."""

    def __init__(self, monkeypatch) -> None:
        self.trained: list[tuple[int, dict[str, Any]]] = []
        self.best = 0
        monkeypatch.setattr(study, "load_table", lambda name, settings: make_table())
        monkeypatch.setattr(pg, "tune", self.pg_tune, raising=False)
        monkeypatch.setattr(networks, "describe_tuning", self.describe)
        monkeypatch.setattr(networks, "measure", lambda model, parts, repeats: self.unit(parts, 0))
        monkeypatch.setattr(networks, "train_and_measure", self.train)
        monkeypatch.setattr(mistakes, "retrain", lambda name, model, parts, repeats, every_row: self.unit(parts, 5))
        monkeypatch.setattr(mistakes, "misread", lambda *arguments: self.misread())
        monkeypatch.setattr(networks, "explain", lambda model, parts, repeats: self.explained())

    def pg_tune(self, table, space, *, settings, **_):
        assert settings["epochs"] == 1
        layout = pg.FeatureLayout.from_dict(small_layout())
        model = SimpleNamespace(random_state=0, layout_=layout, n_conv_layers=3)
        return SimpleNamespace(best_trial=SimpleNamespace(number=self.best), best_model=model)

    def describe(self, result) -> dict[str, Any]:
        found = {"trials": self.best + 1, "states": {"complete": 1}, "seconds": 1.0, "best": self.best}
        found["best_is_a_start"] = True
        return {**found, "validation_loss": 0.5, "params": {"lr": 0.1}, "parameters": 9, "settings": {"epochs": 1}}

    def train(self, model, parts, repeats, *, random_state, **changes) -> dict[str, Any]:
        self.trained.append((random_state, changes))
        return self.unit(parts, random_state)

    def unit(self, parts, random_state: int) -> dict[str, Any]:
        rng = np.random.default_rng(random_state)
        predicted = rng.integers(0, 3, len(parts["test"]))
        scores = {name: float(rng.random()) for name in ("accuracy", "auc", "balanced_accuracy")}
        rankings = {name: dict(zip("abcd", rng.random(4).tolist(), strict=True)) for name in networks.FORMULAS}
        layout = small_layout()
        return {
            "test": scores,
            "probabilities": np.eye(3)[predicted],
            "recall": [0.1, 0.2, 0.3],
            "predicted": predicted,
            "rankings": rankings,
            "layout": layout,
        }

    def misread(self) -> dict[str, Any]:
        return {
            "corrected": {"scores": [1, 2], "class_scores": None, "heat": [1, 2], "weight": 1.0},
            "end_to_end": [1, 2],
        }

    def explained(self) -> dict[str, Any]:
        scores = np.arange(12.0).reshape(4, 3)
        part = pg.FeatureRanking(tuple("abcd"), scores.sum(axis=1), low=scores[:, 0], high=scores[:, 1])
        components = dict.fromkeys(("permutation", "gradient_input", "grad_cam", "end_to_end"), part)
        weights = {"tabular": 0.25, "image": 0.75}
        ranking = replace(
            part, class_scores=scores, classes=("x", "y", "z"), components=components, branch_weights=weights
        )
        layout = small_layout()
        sample = {"image": np.eye(8), "heat": np.eye(2), "title": "a row"}
        drawn = {"layout": layout, "sample": sample, "boxes": {"tabular": [["Dense 3"]]}}
        return {"rankings": {name: ranking.to_dict() for name in networks.FORMULAS}, **drawn}


@pytest.fixture
def stand(monkeypatch) -> Stand:
    return Stand(monkeypatch)


@pytest.fixture
def no_pictures(monkeypatch) -> None:
    monkeypatch.setattr(report, "pictures", lambda *_: iter(()))


def run(out: Path, *overrides: str, parts: tuple[str, ...] = study.PARTS) -> dict[str, bytes]:
    chosen = settings(*overrides)
    study.run(chosen, ("heloc",), parts, out)
    report.write_report(chosen, study.DATASETS, out, out)
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_stopped_and_started_again_it_gives_the_same(stand, tmp_path, monkeypatch):
    whole = run(tmp_path / "whole")
    train, calls = networks.train_and_measure, []

    def stopped(*arguments, **changes):
        calls.append(changes)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return train(*arguments, **changes)

    monkeypatch.setattr(networks, "train_and_measure", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped")
    assert run(tmp_path / "stopped") == whole
    assert len(calls) == 1 + len(stand.trained) // 2  # only what was cut short is done twice
    assert {"report.md", "scores.csv", "mistakes.csv", "layouts.png", "network_heloc.png"} <= set(whole)


def test_more_can_be_asked_for_later_and_less_is_not_forgotten(stand, no_pictures, tmp_path):
    run(tmp_path, parts=("networks",))
    before = len(stand.trained)
    files = run(tmp_path, "seeds=3", "layouts.sizes=[8, 9]", "networks.wide={space: mlp, settings: {}}")
    assert {random_state for random_state, _ in stand.trained[before:]} == {0, 1, 2}
    assert b"wide" in files["scores.csv"]
    table = pd.read_csv(tmp_path / "scores.csv")
    assert set(table["seeds"]) == {3}
    with pytest.raises(pg.PermGradError, match="other settings: permgrad_repeats was 1, now 2"):
        run(tmp_path, "permgrad_repeats=2")


def test_a_better_trial_starts_what_follows_from_it_anew(stand, no_pictures, tmp_path):
    run(tmp_path, parts=("networks",))
    before = len(stand.trained)
    run(tmp_path, parts=("networks",))
    assert len(stand.trained) == before
    stand.best = 4
    run(tmp_path, parts=("networks",))
    assert len(stand.trained) == 2 * before
    assert set(pd.read_csv(tmp_path / "tuning.csv")["best trial"]) == {4}


def test_layouts_that_cannot_be_are_noted(stand, tmp_path):
    study.run(settings("layouts.sizes=[1, 4, 8]"), ("heloc",), ("layouts",), tmp_path)
    (one,) = found.read_found(tmp_path, study.DATASETS, 0.95, {})
    notes = {place: seeds[0].get("impossible") for place, seeds in one.layouts.items()}
    assert notes[("IGTD", 1)] == "4 features with a pixel each do not fit into 1 × 1"
    assert notes[("TINTO faithful", 1)] == "1 × 1 pixels cannot be halved 3 times, as the network does"  # may share it
    assert notes[("IGTD", 4)] == "4 × 4 pixels cannot be halved 3 times, as the network does"
    assert notes[("IGTD", 8)] is None


def test_a_layout_that_fails_otherwise_is_not_taken_for_impossible(stand, tmp_path, monkeypatch):
    def fails(*arguments, **changes):
        raise pg.PermGradError("training diverged")

    with monkeypatch.context() as patched, pytest.raises(pg.PermGradError, match="diverged"):
        patched.setattr(networks, "train_and_measure", fails)
        study.run(settings(), ("heloc",), ("layouts",), tmp_path)
    study.run(settings(), ("heloc",), ("layouts",), tmp_path)
    (one,) = found.read_found(tmp_path, study.DATASETS, 0.95, {})
    assert len(one.layouts) == 4


def test_a_layout_of_the_same_name_is_the_same(stand, no_pictures, tmp_path):
    run(tmp_path, parts=("layouts",))
    with pytest.raises(pg.PermGradError, match="other settings: unique was True, now False"):
        run(tmp_path, "layouts.kinds.IGTD.unique=false", parts=("layouts",))


def test_what_is_just_begun_is_left_out_of_the_report(stand, no_pictures, tmp_path):
    """A directory is made before its first unit is there."""
    run(tmp_path, parts=("baselines", "networks"))
    whole = (tmp_path / "report.md").read_text()
    (tmp_path / "heloc" / "units" / "baselines" / "TabM").mkdir()
    report.write_report(settings(), study.DATASETS, tmp_path, tmp_path)
    assert (tmp_path / "report.md").read_text() == whole


def test_the_split_is_the_published_one_and_a_part_is_a_part():
    if not (Path(os.environ.get("PERMGRAD_DATA", "")) / "heloc.csv").is_file():
        pytest.skip("heloc.csv is not in PERMGRAD_DATA")
    whole = study.load_table("heloc", settings())
    some = study.load_table("heloc", settings("rows=500"))
    assert (len(whole), len(some)) == (10459, 500)
    assert some.X.equals(study.load_table("heloc", settings("rows=500")).X)


def leaves(content: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(content, dict):
        for name, part in content.items():
            yield from leaves(part, f"{key}.{name}".lstrip("."))
    else:
        yield key, content


def test_every_value_can_be_given_on_the_command_line():
    default = read_settings(study.Study, YAML)
    for key, value in leaves(yaml.safe_load(YAML.read_text())):
        text = yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()
        assert read_settings(study.Study, YAML, [f"{key}={text}"]) == default, key


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("baselines=[forest]", "baselines: there is no baseline 'forest'; there are random forest, extra trees"),
        ("explained=best", "explained must be one of networks, hybrid, MLP only, CNN only"),
        ("ensembles.both=[hybrid, best]", "ensembles.both: there is no network 'best'"),
        ("ensembles.hybrid=[CNN only, beyond]", "ensembles.hybrid: there is a network of that name"),
        ("tuning.trails=5", "tuning.trails: unknown key"),
        ("layouts.sizes=[ten]", "layouts.sizes.0: input should be a valid integer, got 'ten'"),
    ],
)
def test_wrong_settings_are_one_line(override, message, tmp_path):
    invoked = CliRunner().invoke(study.main, ["--set", override, "--out", str(tmp_path / "out")])
    assert invoked.exit_code == 1
    assert message in invoked.output
    assert len(invoked.output.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_what_is_there_can_be_reported_alone(stand, no_pictures, tmp_path):
    run(tmp_path / "kept", parts=("networks",))
    stand.trained.clear()
    to = tmp_path / "report"
    arguments = ["--report-only", "--out", str(tmp_path / "kept"), "--report", str(to)]
    invoked = CliRunner().invoke(study.main, arguments, catch_exceptions=False)
    assert invoked.exit_code == 0, invoked.output
    assert not stand.trained
    assert (to / "scores.csv").read_bytes() == (tmp_path / "kept" / "scores.csv").read_bytes()
    empty = CliRunner().invoke(study.main, ["--report-only", "--out", str(tmp_path / "empty")])
    assert "there are no results in" in empty.output


def test_it_can_be_started_as_a_script():
    done = subprocess.run([sys.executable, study.__file__, "--help"], capture_output=True, text=True, check=True)
    assert "--dataset" in done.stdout


def test_what_is_committed_is_small_and_says_what_it_rests_on():
    committed = Path(study.__file__).parent / "results" / "hybrid_tables"
    files = [path for path in committed.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".csv", ".md", ".png"}
    assert sum(path.stat().st_size for path in files) < 1_000_000
    scores = pd.read_csv(committed / "scores.csv")
    assert {"dataset", "model", "mean", "low", "high", "seeds", "trials"} <= set(scores)
    partial = scores["dataset"].str.contains("gas_drift|covertype")
    assert scores.loc[partial, "dataset"].str.endswith("(part)").all()


@pytest.mark.parametrize(
    ("name", "made"), [("puma8nh", ["PNG files", "target among features"]), ("heloc", ["PNG files"])]
)
def test_only_the_mistakes_that_are_asked_for_are_made(name, made, tmp_path, monkeypatch):
    monkeypatch.setattr(
        study, "load_table", lambda name, _: make_table("regression" if name == "puma8nh" else "classification")
    )
    asked = settings("mistakes=[target among features, PNG files]")
    steps = [step for step, _ in study.Dataset(name, asked, tmp_path).steps(("mistakes",))]
    assert steps == ["corrected", "misread", *made]
    with pytest.raises(pg.PermGradError, match="there is no 'typing error'; there are shared pixels, "):
        settings("mistakes=[typing error]")


@pytest.mark.slow
def test_small_networks_from_end_to_end(tmp_path, monkeypatch):
    """Real tuning and training, on small tables of both tasks, of every part."""
    monkeypatch.setattr(
        study, "load_table", lambda name, _: make_table("regression" if name == "puma8nh" else "classification")
    )
    fewer = (
        "seeds=1",
        "networks={hybrid: {space: hybrid, settings: {}, ranges: {base_filters: [8, 8]}}, "
        "beyond: {space: batch_ensemble, settings: {}, ranges: {base_filters: [8, 8]}}}",
        "ensembles={both: [hybrid, beyond]}",
        "layouts.kinds={TINTO: {layout: tinto, unique: false}, IGTD: {layout: igtd, unique: true}}",
    )
    overrides = [part for override in (*TINY, *fewer) for part in ("--set", override)]
    chosen = ["--dataset", "heloc", "--dataset", "puma8nh", "--out", str(tmp_path)]
    invoked = CliRunner().invoke(study.main, [*overrides, *chosen], catch_exceptions=False)
    assert invoked.exit_code == 0, invoked.output
    mistaken = pd.read_csv(tmp_path / "mistakes.csv")
    assert len(mistaken) == 3 + 4
    assert len(pd.read_csv(tmp_path / "layouts.csv")) == 2 * 2
    assert set(pd.read_csv(tmp_path / "recall.csv")["model"]) >= {"hybrid, balanced classes", "random forest"}
    assert len(pd.read_csv(tmp_path / "puma.csv")) == 4
