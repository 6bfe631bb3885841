"""The histopathology study: its recipes, its grid, what it writes, and that it goes on where it was stopped."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from click.testing import CliRunner
from filelock import FileLock
from optuna.trial import TrialState

import permgrad as pg
from permgrad.patches.planted import write_planted_patches
from permgrad.tuning.dashboard import make_server
from studies.histopathology import forest, grid, tables, trainings
from studies.histopathology import study as study
from studies.kit.settings import read_settings

pytestmark = pytest.mark.xdist_group("histopathology")
YAML = Path(study.__file__).with_suffix(".yaml")
TINY = (
    *study.FAST,
    "data.validation=0.3",
    "grid.changes={backbone: SmallCNN, epochs: 1, batch_size: 8}",
    "grid.learning_rate=[3e-3]",
    "longer.epochs=2",
    "small_cnn.epochs=2",
    "small_cnn.batch_size=8",
    "comparison.backbones=[MobileNetV3Small]",
    "baseline.epochs=1",
    "variants={frozen backbone: {unfreezing: frozen}, stain: {augmentation: {stain: 0.1}}}",
    "folds.n=2",
    "forest_trees=20",
    "shown=2",
)


def settings(*overrides: str) -> study.Study:
    return read_settings(study.Study, YAML, [*TINY, *overrides])


def command(directory: Path, *overrides: str) -> list[str]:
    changes = (*TINY, f"data.directory='{directory}'", *overrides)
    return [part for setting in changes for part in ("--set", setting)]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """40 labelled patches and 6 others, of which one cannot be read."""
    path = tmp_path_factory.mktemp("patches")
    write_planted_patches(path, 40, 6, size=48)
    sorted((path / "test").iterdir())[2].write_bytes(b"II*\x00")
    return path


@pytest.fixture(scope="module")
def out(directory, tmp_path_factory):
    path = tmp_path_factory.mktemp("histopathology")
    result = CliRunner().invoke(study.main, ["--out", str(path), *command(directory)])
    assert result.exit_code == 0, result.output
    assert (
        "40 labelled patches of 48 × 48 pixels, 50.0% positive; 6 to predict; 1 × cannot be read (test)"
        in result.output
    )
    assert "submission.csv: 6 test patches" in result.output
    return path


@pytest.fixture(scope="module")
def done(directory, out):
    given = settings(f"data.directory='{directory}'")
    return study.run(given, study.check_data(given), out)


def test_the_published_settings_are_the_defaults():
    given = read_settings(study.Study, YAML)
    recipe = given.baseline
    assert (recipe.backbone, recipe.epochs, recipe.batch_size, recipe.image_size) == ("EfficientNetB0", 2, 64, 224)
    assert (recipe.learning_rate, recipe.weight_decay, recipe.dropout) == (3e-4, 1e-4, 0.2)
    assert (recipe.weights, recipe.augmentation.rotation, given.data.validation) == ("imagenet", 90, 0.15)
    assert [len(values) for values in given.grid.space.values()] == [2, 2, 2, 2]
    assert {"ResNet18", "EfficientNetB0", "EfficientNetB2"} <= set(given.comparison.backbones)
    assert given.longest(given.grid.first).epochs == 3


def test_recipes_are_the_baseline_with_changes():
    given = read_settings(study.Study, YAML)
    changed = given.baseline.but({"augmentation": {"stain": 0.1}, "epochs": 5})
    assert (changed.epochs, changed.augmentation.stain, changed.augmentation.rotation) == (5, 0.1, 90)
    assert changed.but({"epochs": 2, "augmentation": {"stain": 0}}) == given.baseline
    assert changed.key() != given.baseline.key() == given.baseline.but({}).key()
    assert given.baseline.key("fold 0") != given.baseline.key("fold 1")
    training = given.baseline.but({"positive_weight": True, "schedule": "cosine"}).training(None, 3)
    assert (training.positive_weight, training.schedule, training.keep, training.random_state) == (
        "balanced",
        "cosine",
        "last",
        3,
    )
    files = read_settings(study.Study, YAML, ["weight_files.EfficientNetB0=b0.h5", "weight_files.ResNet18=r.h5"])
    assert files.with_backbone("EfficientNetB0").weights == files.longest(files.grid.first).weights == "b0.h5"
    assert files.longest(files.grid.first, {"backbone": "ResNet18"}).weights == "r.h5"
    assert (files.with_backbone("ResNet50V2").weights, files.small.weights) == ("imagenet", "random")
    for short in (study.FROM_SCRATCH, study.FAST):
        scratch = read_settings(study.Study, YAML, short)
        assert scratch.baseline.weights == scratch.small.weights == "random"


def test_mistakes_are_found_before_hours_of_training():
    for change, message in {
        "variants={larger: {image_sise: 288}}": r"variants\.larger: image_sise",
        "variants={slow: {unfreezing: gradual, epochs: 1}}": r"variants\.slow: gradual unfreezing takes at least 2",
        "small_cnn.epochs=0": r"small_cnn: epochs: .*greater than or equal to 1, got 0",
        "grid.changes={schedul: cosine}": r"grid\.changes: schedul",
        "small_cnn.augmentation=null": r"small_cnn: augmentation: expected what is changed of it, .*got None",
        "baseline.schedule=step": r"baseline\.schedule",
        "data.validation=1": r"data\.validation",
    }.items():
        with pytest.raises(pg.PermGradError, match=message):
            settings(change)


def test_the_grid_goes_on_where_it_died(tmp_path):
    space = {"a": [1, 2, 3], "b": [True, False]}
    seen = []

    def train(params):
        seen.append(dict(params))
        if len(seen) == 3:
            raise KeyboardInterrupt
        history = [
            {"epoch": 1, "val_auc": 0.5, "loss": 1.0, "seconds": 2.0},
            {"epoch": 2, "val_auc": 0.6, "loss": 0.9, "seconds": 2.0},
        ]
        return {"history": history, "auc": params["a"] / 10 + params["b"] / 100, "seconds": 4.0}

    with pytest.raises(KeyboardInterrupt):
        grid.search(tmp_path, "grid", space, {"patches": "x"}, train)
    cells = [{"a": a, "b": b} for a in (1, 2, 3) for b in (True, False)]
    found = grid.search(tmp_path, "grid", space, {"patches": "x"}, train)
    assert [cell["params"] for cell in found] == cells
    assert sorted(map(str, seen[:2] + seen[3:7])) == sorted(map(str, cells))  # each once, but for the one that died

    def trials():
        return optuna.load_study(study_name="grid", storage=f"sqlite:///{tmp_path / 'study.db'}").trials

    states = [trial.state for trial in trials()]
    assert (states.count(TrialState.COMPLETE), states.count(TrialState.FAIL)) == (6, 1)
    assert next(t for t in trials() if t.state == TrialState.FAIL).user_attrs["failure"] == "its process died"
    best = max((t for t in trials() if t.value), key=lambda t: t.value)
    assert best.params == {"a": 3, "b": True}
    assert best.intermediate_values == {1: 0.5, 2: 0.6}
    assert best.user_attrs == {"loss": 0.9, "seconds": 4.0}
    grid.search(tmp_path, "grid", space, {"patches": "x"}, train)
    assert len(trials()) == 7  # nothing was left to try
    more = grid.search(tmp_path, "grid", {**space, "a": [1, 2, 3, 4]}, {"patches": "x"}, train)
    assert len(more) == len(trials()) == 8  # begun anew, larger


def test_a_combination_that_diverges_is_left_out(tmp_path):
    seen = []

    def train(params):
        seen.append(params["a"])
        if params["a"] != 2:
            raise pg.PermGradError(f"training diverged with {params['a']}")
        return {"history": [{"epoch": 1, "val_auc": 0.5, "loss": 1.0}], "auc": 0.5, "seconds": 1.0}

    for _ in range(2):
        found = grid.search(tmp_path, "grid", {"a": [1, 2, 3]}, {}, train)
        assert [cell["params"] for cell in found] == [{"a": 2}]
    assert (seen.count(1), seen.count(3)) == (1, 1)  # not again
    trials = optuna.load_study(study_name="grid", storage=f"sqlite:///{tmp_path / 'study.db'}").trials
    assert {t.user_attrs.get("failure") for t in trials} == {None, *(f"training diverged with {a}" for a in (1, 3))}
    with pytest.raises(pg.PermGradError, match="every combination of other failed; the last: training diverged"):
        grid.search(tmp_path, "other", {"a": [1, 3]}, {}, train)


def test_parts_that_cannot_be_judged_are_refused(directory):
    patches = pg.check_patches(directory).train
    few = patches.take(np.r_[np.flatnonzero(patches.y == 0), np.flatnonzero(patches.y == 1)[:5]])
    with pytest.raises(pg.PermGradError, match=r"would have .* of label 1, two of each\s+are needed"):
        study.split(settings("folds.n=3"), few)
    with pytest.raises(pg.PermGradError, match="cannot be split"):
        study.split(settings("folds.n=30"), patches)
    with pytest.raises(pg.PermGradError, match="square"):
        study.split(settings(), pg.Patches(patches.ids, patches.files, (48, 40, 3), patches.y))
    (train, validation), folds = study.split(settings(), patches)
    assert sorted([*train, *validation]) == sorted(np.concatenate([judged for _, judged in folds])) == list(range(40))
    assert not set(folds[0][0]) & set(folds[0][1])


@pytest.mark.slow
def test_everything_is_written(out, done, directory):
    names = {path.name for path in out.iterdir()}
    assert {"report.md", "submission.csv", "study.db", "problems.csv", "classes.png", "patches.png"} <= names
    assert {"pixels.png", "learning.png", "roc.png", "heat.png", "comparison.csv", "grid.csv", "folds.csv"} <= names
    text = (out / "report.md").read_text()
    assert "cannot be read" in text
    assert "The baseline: EfficientNetB0, random weights, patches as they are, 1 epoch in batches of 64" in text
    assert set(done["comparison"]) == {"MobileNetV3Small", "small CNN"}
    assert len(done["grid"]) == 2
    server, url = make_server(out, None, 0)
    server.server_close()
    assert url.endswith("/dashboard")  # of two studies
    names = optuna.get_all_study_names(f"sqlite:///{out / 'study.db'}")
    assert names == ["backbones", "grid"]


@pytest.mark.slow
def test_the_submission(out, done, directory):
    """In the directory's order, the mean of networks and symmetries; what cannot be read has the share of positives."""
    table = pd.read_csv(out / "submission.csv")
    assert table["id"].tolist() == sorted(path.stem for path in (directory / "test").iterdir())
    assert table["label"][2] == 0.5
    assert table["label"].between(0, 1).all()
    units = done["folds"][done["submitted"]]
    models = [trainings.Bench(out, "float32", 0, None).load(unit["network"]) for unit in units]
    expected = pg.predict_patches(models, done["check"].test, symmetries=8)
    np.testing.assert_allclose(table["label"].drop(2), expected, atol=1e-4)


@pytest.mark.slow
def test_all_is_done_once(out, done, directory, monkeypatch):
    monkeypatch.setattr(trainings, "fit_patches", lambda *given, **named: pytest.fail("a training was done twice"))
    given = settings(f"data.directory='{directory}'")
    before = {path: path.stat().st_mtime_ns for path in (out / "units").iterdir()}
    again = study.run(given, study.check_data(given), out)
    assert before == {path: path.stat().st_mtime_ns for path in (out / "units").iterdir()}
    assert again["longer"] == done["longer"]


@pytest.mark.slow
def test_a_network_that_was_lost_is_trained_again(out, done, directory):
    given = settings(f"data.directory='{directory}'")
    key = done["longer"]["network"]
    shutil.rmtree(out / "networks" / key)
    again = study.run(given, study.check_data(given), out)
    np.testing.assert_allclose(again["longer"]["logits"], done["longer"]["logits"], atol=0.01)


@pytest.mark.slow
def test_a_process_that_died_between_network_and_unit(out, done, directory):
    given = settings(f"data.directory='{directory}'")
    (out / "units" / f"train_{done['longer']['network']}.json").unlink()
    again = study.run(given, study.check_data(given), out)
    np.testing.assert_allclose(again["longer"]["logits"], done["longer"]["logits"], atol=0.01)


@pytest.mark.slow
def test_other_test_patches_are_predicted_anew(out, done, directory, tmp_path):
    """Renamed so that the order changes, one removed, one mended: each keeps what belongs to it."""
    other = tmp_path / "other"
    shutil.copytree(directory, other)
    before = pd.read_csv(out / "submission.csv").set_index("id")["label"]
    first, second, unreadable = sorted((other / "test").iterdir())[:3]
    first.rename(first.with_name(f"z{first.name}"))
    second.unlink()
    shutil.copy(sorted((other / "test").iterdir())[-2], unreadable)
    path = tmp_path / "out"
    shutil.copytree(out, path)
    result = CliRunner().invoke(study.main, ["--out", str(path), *command(other)])
    assert result.exit_code == 0, result.output
    now = pd.read_csv(path / "submission.csv").set_index("id")["label"]
    assert len(now) == 5
    assert now[f"z{first.stem}"] == pytest.approx(before[first.stem], abs=1e-4)
    for one in before.index[3:]:
        assert now[one] == pytest.approx(before[one], abs=1e-4)
    assert now[unreadable.stem] == pytest.approx(before.iloc[-1], abs=1e-4)


@pytest.mark.slow
def test_other_patches_and_other_settings_are_refused(out, done, directory, tmp_path):
    given = settings(f"data.directory='{directory}'")
    for change, message in {
        "random_state=1": "seed was 0, now 1",
        "data.random_state=1": "data.random_state was 42, now 1",
        "folds.n=3": "folds.n was 2, now 3",
        "data.at_most=30": "data.at_most was 300, now 30",
    }.items():
        other = settings(f"data.directory='{directory}'", change)
        with pytest.raises(pg.PermGradError, match=message):
            study.run(other, study.check_data(other), out)
    write_planted_patches(tmp_path, 40, 0, size=48, random_state=1)
    others = settings(f"data.directory='{tmp_path}'")
    classes = (out / "problems.csv").read_text()
    with pytest.raises(pg.PermGradError, match="patches was"):
        study.run(others, study.check_data(others), out)
    assert (out / "problems.csv").read_text() == classes
    with FileLock(out / ".lock"), pytest.raises(pg.PermGradError, match="another process is at work in"):
        study.run(given, done["check"], out)


@pytest.mark.slow
def test_what_is_judged_has_no_say(done, directory, tmp_path):
    """Other validation patches, other labels on them: the same network."""
    given = settings()
    train = done["check"].train.take(range(30))
    judged = done["check"].train.take(range(30, 40))
    other = pg.Patches(judged.ids, judged.files[::-1], judged.shape, 1 - judged.y)
    weights = []
    for i, held in enumerate((judged, other)):
        bench = trainings.Bench(tmp_path / str(i), "float32", 0, None)
        key = bench.train(given.small.but({"epochs": 1}), "split", train, held, keep=True)["network"]
        weights.append(bench.load(key).get_weights())
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.slow
def test_tables_by_hand(done):
    y, units = done["validation"].y, {**done["comparison"], "longer": done["longer"]}
    probabilities = [1 / (1 + np.exp(-np.array(unit["logits"])[:, 0])) for unit in units.values()]
    found = tables.ensembles(done).set_index("name")
    assert found.loc["every backbone and it", "auc"] == pytest.approx(
        pg.auc_interval(y, np.mean(probabilities, axis=0)).auc
    )
    eight = (1 / (1 + np.exp(-np.array(done["longer"]["logits"])))).mean(axis=1)
    assert found.loc["it, eight-fold", "auc"] == pytest.approx(pg.auc_interval(y, eight).auc)
    summary, pairs = tables.folds(done)
    aucs = [unit["auc"] for unit in done["folds"]["small CNN"]]
    assert summary.set_index("name").loc["small CNN", "auc"] == pytest.approx(np.mean(aucs))
    assert summary.set_index("name").loc["small CNN", "lowest"] == pytest.approx(min(aucs))
    assert len(pairs) == 5
    assert sorted(np.concatenate(done["rows"])) == list(range(40))
    assert tables.grid_effects(done)["combinations"].sum() == 2 * 4
    shares = tables.heat(done)
    assert shares["patches"].sum() == len(y)
    asked = tables.asked(done, summary.assign(auc=[0.86, *[0.5] * 4])).set_index("asked")["met"]
    assert asked.iloc[0] == "yes"
    assert tables.asked(done, summary.assign(auc=0.84))["met"][0] == "no"


def test_colour_and_texture_by_hand(directory):
    """A patch's numbers are its own; some of them, computed plainly."""
    patches = pg.check_patches(directory).train.take(range(3))
    found = forest.colour_texture(patches)
    red = patches.pixels([1])[0, :, :, 0].ravel()
    np.testing.assert_allclose(found[1, :4], [red.mean(), red.std(), *np.percentile(red, [5, 25])], rtol=1e-5)
    counts = [((red >= low) & (red < low + 16)).mean() for low in range(0, 256, 16)]
    np.testing.assert_allclose(found[1, 7:23], counts, atol=1e-6)
    np.testing.assert_array_equal(found[2], forest.colour_texture(patches.take([2]))[0])


def test_strict_and_absent_directories(directory, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PERMGRAD_DATA", raising=False)
    result = CliRunner().invoke(study.main, ["--fast", "--data", str(directory), "--strict"])
    assert result.exit_code == 1
    assert "strict checks were asked for" in result.output
    result = CliRunner().invoke(study.main, ["--fast"])
    assert "there is no directory histopathology, neither here nor" in result.output
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("mine")
    result = CliRunner().invoke(study.main, ["--fast", "--data", str(directory), "--out", "file"])
    assert "file is a file; results need a directory" in result.output
    variant = ["--set", "variants={other: {backbone: ResNet19}}"]
    result = CliRunner().invoke(study.main, ["--fast", "--data", str(directory), "--out", "new", *variant])
    assert "no backbone 'ResNet19'" in result.output
