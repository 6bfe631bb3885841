"""The histopathology study: recipes, the grid, cached networks, tables by hand; one network is trained, twice."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState

import permgrad as pg
from permgrad.layers.temperature import fit_temperature
from permgrad.patches.planted import write_planted_patches
from studies.histopathology import forest, grid, results, settings, study, tables, validation
from studies.histopathology.trainings import Part, Trainer

pytestmark = pytest.mark.xdist_group("histopathology")
TINY = (
    *settings.FAST,
    "data.validation=0.3",
    "grid.changes={backbone: SmallCNN, epochs: 1, batch_size: 8}",
    "grid.learning_rate=[3e-3]",
    "longer.epochs=2",
    "small_cnn.epochs=2",
    "small_cnn.batch_size=8",
    "baseline.epochs=1",
    "variants={frozen backbone: {unfreezing: frozen}}",
    "forest_trees=20",
    "shown=2",
)
HISTORY = pd.DataFrame(
    {"epoch": [1], "loss": 0.7, "val_loss": 0.7, "val_auc": 0.5, "learning_rate": 1e-3, "images_per_second": 9.0}
)


def read(*overrides: str) -> settings.PatchSettings:
    return study.STUDY.read([*TINY, *overrides])


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """40 labelled patches and 6 others, of which one cannot be read."""
    path = tmp_path_factory.mktemp("patches")
    write_planted_patches(path, 40, 6, size=48)
    sorted((path / "test").iterdir())[2].write_bytes(b"II*\x00")
    return path


@pytest.fixture(scope="module")
def check(directory):
    return pg.check_patches(directory)


@pytest.fixture(scope="module")
def part(check):
    return Part("split", check.train.take(range(30)), check.train.take(range(30, 40)))


@pytest.fixture(scope="module")
def drawn(check):
    """Results of no training: random logits."""
    rng = np.random.default_rng(0)
    rows = [np.arange(20), np.arange(20, 40)]

    def training(n: int) -> dict[str, object]:
        logits = rng.normal(size=(n, 8))
        history = HISTORY.to_dict("records")
        content = {"logits": logits.tolist(), "history": history, "parameters": 9, "step_seconds": 30.0}
        return {**content, "auc": rng.random(), "network": str(rng.integers(10**9))}

    cells = [{"learning_rate": rate, "dropout": dropout} for rate in (1e-3, 3e-3) for dropout in (0.2, 0.3)]
    small = training(12)
    heat = results.Heat(
        np.arange(12), check.train.pixels(range(12)), rng.random((12, 48, 48)), {"surest": [0, 1]}, np.arange(12) < 9
    )
    return results.Results(
        check=check,
        validation=check.train.take(range(12)),
        comparison={"ResNet18": training(12), "small CNN": small},
        grid=[{"params": params, **training(12)} for params in cells],
        failed=0,
        longer=training(12),
        variants={"one": training(12), "other": small},
        fold_rows=rows,
        folds={name: [training(20), training(20)] for name in tables.NAMES},
        forests=[{"probabilities": rng.random(20), "step_seconds": 6.0} for _ in rows],
        submitted="best",
        predictions=[{"ids": check.test.ids, **training(5)} for _ in rows],
        heat=heat,
    )


def test_the_published_settings_are_the_defaults():
    given = study.STUDY.read()
    recipe = given.baseline
    assert (recipe.backbone, recipe.epochs, recipe.batch_size, recipe.image_size) == ("EfficientNetB0", 2, 64, 224)
    assert (recipe.learning_rate, recipe.weight_decay, recipe.dropout) == (3e-4, 1e-4, 0.2)
    assert (recipe.weights, recipe.augmentation.rotation, given.data.validation) == ("imagenet", 90, 0.15)
    assert [len(values) for values in given.grid.space.values()] == [2, 2, 2, 2]
    assert {"ResNet18", "EfficientNetB0", "EfficientNetB2"} <= set(given.comparison.backbones)
    assert given.longest(given.grid.first).epochs == 3


def test_recipes_are_the_baseline_with_changes():
    given = study.STUDY.read()
    changed = given.baseline.but({"augmentation": {"stain": 0.1}, "epochs": 5})
    assert (changed.epochs, changed.augmentation.stain, changed.augmentation.rotation) == (5, 0.1, 90)
    assert changed.but({"epochs": 2, "augmentation": {"stain": 0}}) == given.baseline
    assert changed.key() != given.baseline.key() == given.baseline.but({}).key()
    assert given.baseline.key("fold 0") != given.baseline.key("fold 1")
    training = given.baseline.but({"positive_weight": True, "schedule": "cosine"}).training(None, 3)
    wanted = ("balanced", "cosine", "last", 3)
    assert (training.positive_weight, training.schedule, training.keep, training.random_state) == wanted
    files = study.STUDY.read(["weight_files.EfficientNetB0=b0.h5", "weight_files.ResNet18=r.h5"])
    assert files.with_backbone("EfficientNetB0").weights == files.longest(files.grid.first).weights == "b0.h5"
    assert files.longest(files.grid.first, {"backbone": "ResNet18"}).weights == "r.h5"
    assert (files.with_backbone("ResNet50V2").weights, files.small.weights) == ("imagenet", "random")
    for short in (settings.FROM_SCRATCH, settings.FAST):
        scratch = study.STUDY.read(short)
        assert scratch.baseline.weights == scratch.small.weights == "random"


def test_mistakes_are_noticed_before_hours_of_training(check, tmp_path, monkeypatch):
    for change, message in {
        "variants={larger: {image_sise: 288}}": r"variants\.larger: image_sise",
        "variants={slow: {unfreezing: gradual, epochs: 1}}": r"variants\.slow: gradual unfreezing needs at least 2",
        "small_cnn.epochs=0": r"small_cnn: epochs: .*greater than or equal to 1, got 0",
        "grid.changes={schedul: cosine}": r"grid\.changes: schedul",
        "small_cnn.augmentation=null": r"small_cnn: augmentation: expected what is changed of it, .*got None",
        "baseline.schedule=step": r"baseline\.schedule",
        "data.validation=1": r"data\.validation",
    }.items():
        with pytest.raises(pg.PermGradError, match=message):
            read(change)
    with pytest.raises(pg.PermGradError, match="no backbone 'ResNet19'"):
        study.check_backbones(read("variants={other: {backbone: ResNet19}}"), check.train.shape)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PERMGRAD_DATA", raising=False)
    with pytest.raises(pg.PermGradError, match="there is no histopathology, neither here nor.*--data DIR"):
        study.check_data(read())


def test_strict_settings_stop_at_a_patch_that_cannot_be_read(directory):
    with pytest.raises(pg.PermGradError, match="strict checks were requested"):
        study.check_data(read(f"data.directory='{directory}'", "data.strict=true"))


def test_results_depend_on_the_split_and_not_on_recipes():
    assert study.fixed(read("longer.epochs=9", "forest_trees=9", "workers=1")) == study.fixed(read())
    for change in ("random_state=1", "data.random_state=1", "folds.n=3", "data.at_most=30", "precision=mixed_float16"):
        assert study.fixed(read(change)) != study.fixed(read())


@pytest.mark.slow
def test_the_grid_goes_on_where_it_died(tmp_path):
    space = {"a": [1, 2, 3], "b": [True, False]}
    seen = []

    def train(params):
        seen.append(dict(params))
        if len(seen) == 3:
            raise KeyboardInterrupt
        history = [{"epoch": 1, "val_auc": 0.5, "loss": 1.0}, {"epoch": 2, "val_auc": 0.6, "loss": 0.9}]
        return {"history": history, "auc": params["a"] / 10 + params["b"] / 100, "step_seconds": 4.0}

    with pytest.raises(KeyboardInterrupt):
        grid.search(tmp_path, "grid", space, {"patches": "x"}, train)
    combinations = [{"a": a, "b": b} for a in (1, 2, 3) for b in (True, False)]
    trainings = grid.search(tmp_path, "grid", space, {"patches": "x"}, train)
    assert [each["params"] for each in trainings] == combinations
    assert sorted(map(str, seen[:2] + seen[3:7])) == sorted(map(str, combinations))  # once, but for the one that died

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
        return {"history": [{"epoch": 1, "val_auc": 0.5, "loss": 1.0}], "auc": 0.5, "step_seconds": 1.0}

    for _ in range(2):
        trainings = grid.search(tmp_path, "grid", {"a": [1, 2, 3]}, {}, train)
        assert [each["params"] for each in trainings] == [{"a": 2}]
    assert (seen.count(1), seen.count(3)) == (1, 1)  # not again
    trials = optuna.load_study(study_name="grid", storage=f"sqlite:///{tmp_path / 'study.db'}").trials
    assert {t.user_attrs.get("failure") for t in trials} == {None, *(f"training diverged with {a}" for a in (1, 3))}
    with pytest.raises(pg.PermGradError, match="every combination of other failed; the last: training diverged"):
        grid.search(tmp_path, "other", {"a": [1, 3]}, {}, train)


def test_parts_that_cannot_be_evaluated_are_refused(check):
    patches = check.train
    few = patches.take(np.r_[np.flatnonzero(patches.y == 0), np.flatnonzero(patches.y == 1)[:5]])
    with pytest.raises(pg.PermGradError, match=r"would have .* of label 1, two of each\s+are needed"):
        study.split(read("folds.n=3"), few)
    with pytest.raises(pg.PermGradError, match="cannot be split"):
        study.split(read("folds.n=30"), patches)
    with pytest.raises(pg.PermGradError, match="square"):
        study.split(read(), pg.Patches(patches.ids, patches.files, (48, 40, 3), patches.y))
    (train, validation), folds = study.split(read(), patches)
    assert sorted([*train, *validation]) == sorted(np.concatenate([each for _, each in folds])) == list(range(40))
    assert not set(folds[0][0]) & set(folds[0][1])


def test_slides_are_on_one_side(directory, check, tmp_path):
    """As `--group FILE` asks: the split, all folds, and intervals over slides."""
    groups = [f"slide {i % 8}" for i in range(40)]
    pd.DataFrame({"id": check.train.ids, "group": groups}).to_csv(tmp_path / "slides.csv", index=False)
    given = read(f"data.directory={directory}", f"data.groups={tmp_path / 'slides.csv'}", "folds.n=2")
    patches = study.check_data(given).train
    assert patches.groups.tolist() == groups
    first, folds = study.split(given, patches)
    assert len(folds) == 2
    for train, evaluated in (first, *folds):
        assert not set(patches.groups[train]) & set(patches.groups[evaluated])
        assert len(train) + len(evaluated) == 40
    assert "groups" in study.fixed(given)["data"]
    assert "groups" not in study.fixed(read())["data"]  # results without groups stay those of the same settings
    said = np.linspace(0, 1, 40)
    assert tables._area(patches, said) == pg.auc_interval(patches.y, said, groups=groups)._asdict()


@pytest.fixture
def untrained(monkeypatch):
    """Networks stay at their random weights; what should be trained is listed."""
    asked = []
    monkeypatch.setattr(pg, "fit_patches", lambda model, *given, **named: asked.append(model.name) or HISTORY)
    return asked


@pytest.fixture
def trainer(tmp_path):
    return Trainer(study.STUDY.workspace(tmp_path), "float32", 0)


@pytest.mark.slow
def test_network_and_step_belong_together(trainer, untrained, part):
    """Either one lost, as where a process dies between them, both are made again."""
    first = trainer.train(read().small, part, keep=True)
    assert np.shape(first["logits"]) == (10, 8)
    assert trainer.train(read().small, part, keep=True) == first
    assert len(untrained) == 1
    shutil.rmtree(trainer.network_path(first["network"]))
    second = trainer.train(read().small, part, keep=True)
    (trainer.workspace.out / "steps" / "trainings" / f"{first['network']}.json").unlink()
    third = trainer.train(read().small, part, keep=True)
    assert len(untrained) == 3
    for again in (second, third):
        np.testing.assert_allclose(again["logits"], first["logits"], atol=1e-5)


def test_other_test_patches_are_predicted_anew(trainer, untrained, part, check):
    """Predictions are those of the network; of other patches, they are others: no cached step is taken for them."""
    key = trainer.train(read().small, part, keep=True)["network"]
    predicted = trainer.predict(key, check)
    expected = pg.predict_patches(trainer.load(key), check.test, symmetries=8)
    np.testing.assert_allclose(results.mean_probability(predicted, 8), expected, atol=1e-5)
    other = replace(check, test=check.test.take([3, 0]), test_sha256="other")
    again = trainer.predict(key, other)
    assert again["ids"] == [check.test.ids[3], check.test.ids[0]]
    np.testing.assert_allclose(again["logits"], np.array(predicted["logits"])[[3, 0]], atol=1e-5)


def test_the_submission(drawn, directory):
    """In the directory's order, the mean of networks and symmetries; what cannot be read has the share of positives."""
    ids, probabilities = results.submission(drawn)
    assert list(ids) == sorted(path.stem for path in (directory / "test").iterdir())
    logits = np.array([each["logits"] for each in drawn.predictions])
    np.testing.assert_allclose(np.delete(probabilities, 2), (1 / (1 + np.exp(-logits))).mean(axis=(0, 2)))
    assert probabilities[2] == 0.5


def test_tables_by_hand(drawn):
    y = drawn.validation.y
    trainings = {**drawn.comparison, "longer": drawn.longer}
    probabilities = [1 / (1 + np.exp(-np.array(each["logits"])[:, 0])) for each in trainings.values()]
    ensembles = tables.ensembles(drawn).set_index("name")
    mean = pg.auc_interval(y, np.mean(probabilities, axis=0)).auc
    assert ensembles.loc["every backbone and it", "auc"] == pytest.approx(mean)
    eight = (1 / (1 + np.exp(-np.array(drawn.longer["logits"])))).mean(axis=1)
    assert ensembles.loc["it, eight-fold", "auc"] == pytest.approx(pg.auc_interval(y, eight).auc)
    summary, pairs = (tables.tables(read(), drawn)[name] for name in ("folds", "fold_differences"))
    logits = [np.array(each["logits"])[:, 0] for each in drawn.folds["small CNN"]]
    aucs = [pg.auc_interval(drawn.check.train.y[at], x).auc for at, x in zip(drawn.fold_rows, logits, strict=True)]
    small = summary.set_index("name").loc["small CNN"]
    assert (small["auc"], small["lowest"]) == pytest.approx((np.mean(aucs), min(aucs)))
    assert len(pairs) == 5
    effects = tables.grid_effects(drawn).set_index(["setting", "value"])
    assert effects["combinations"].tolist() == [2] * 4
    assert effects.loc[("dropout", "0.3"), "mean AUC"] == pytest.approx(np.mean([drawn.grid[i]["auc"] for i in (1, 3)]))
    shares = tables.heat(drawn)
    assert shares["patches"].sum() == 9
    assert shares["centre_area"].tolist() == pytest.approx([32**2 / 48**2] * len(shares))
    assert tables.variants(drawn)["name"].tolist() == ["the grid's best, longer", "one", "other"]


def test_what_was_asked(drawn):
    """A recipe that comes twice, as the small CNN does here, was trained once."""
    minutes = drawn.minutes()
    assert minutes == pytest.approx((1 + 1 + 4 + 1 + 1 + 4 + 2) * 0.5 + 2 * 0.1)
    for auc, limit, met in ((0.86, 59, ["yes"] * 3), (0.84, 61, ["no", "yes", "no"])):
        summary = pd.DataFrame({"name": ["small CNN", tables.FOREST], "auc": [auc, 0.5]})
        assert tables.asked(summary, limit)["met"].tolist() == met


def test_colour_and_texture_by_hand(check):
    """A patch's numbers are its own; some of them, computed plainly."""
    patches = check.train.take(range(3))
    statistics = forest.colour_texture(patches)
    red = patches.pixels([1])[0, :, :, 0].ravel()
    np.testing.assert_allclose(statistics[1, :4], [red.mean(), red.std(), *np.percentile(red, [5, 25])], rtol=1e-5)
    counts = [((red >= low) & (red < low + 16)).mean() for low in range(0, 256, 16)]
    np.testing.assert_allclose(statistics[1, 7:23], counts, atol=1e-6)
    np.testing.assert_array_equal(statistics[2], forest.colour_texture(patches.take([2]))[0])


@pytest.mark.slow
def test_one_run_from_patches_to_the_submission(directory, untrained, tmp_path):
    """Of networks at their random weights."""
    given = read(f"data.directory='{directory}'")
    workspace = study.STUDY.workspace(tmp_path)
    done = study.run(given, workspace)
    text = " ".join(study.STUDY.write_report(given, done, tmp_path).text().split())
    assert "cannot be read" in text
    assert "The baseline: EfficientNetB0, random weights, patches as they are, 1 epoch in batches of 64" in text
    assert "augmentation flips, rotation 90" in text
    assert set(done.comparison) == {"SmallCNN", "small CNN"}
    assert optuna.get_all_study_names(f"sqlite:///{tmp_path / 'study.db'}") == ["backbones", "grid"]
    trainer = Trainer(workspace, "float32", 0)
    models = [trainer.load(each["network"]) for each in done.folds[done.submitted]]
    expected = pg.predict_patches(models, done.check.test, symmetries=8)
    table = pd.read_csv(tmp_path / "submission.csv")
    np.testing.assert_allclose(table["label"].drop(2), expected, atol=1e-4)
    assert len(untrained) == 1 + 1 + 1 + 1 + 1 + 2 * 2
    study.run(given, workspace)
    assert len(untrained) == 9


@pytest.mark.slow
def test_patches_for_evaluation_have_no_say(part, tmp_path):
    """Other validation patches, other labels on them: the same network."""
    shown = part.evaluated
    other = pg.Patches(shown.ids, shown.files[::-1], shown.shape, 1 - shown.y)
    weights = []
    for i, evaluated in enumerate((shown, other)):
        trainer = Trainer(study.STUDY.workspace(tmp_path / str(i)), "float32", 0)
        recipe = read().small.but({"epochs": 1})
        key = trainer.train(recipe, replace(part, evaluated=evaluated), keep=True)["network"]
        weights.append(trainer.load(key).get_weights())
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_calibration_by_hand(rng):
    """Each fold's temperature is that of the others: too bold by half, the last fold too shy."""
    y = rng.integers(2, size=600)
    rows = [np.arange(0, 200), np.arange(200, 400), np.arange(400, 600)]
    logits = (2 * y - 1 + rng.normal(size=600)) * np.repeat([4.0, 4.0, 1.0], 200)
    said = [1 / (1 + np.exp(-logits[at])) for at in rows]
    found = validation.calibration(y, rows, {"bold": said}).iloc[0]
    others = [np.r_[200:600], np.r_[0:200, 400:600], np.r_[0:400]]
    positive = 1 / (1 + np.exp(-logits))
    fitted = [fit_temperature(np.column_stack([1 - positive[at], positive[at]]), y[at]) for at in others]
    assert found["temperature"] == pytest.approx(np.mean(fitted))
    after = 1 / (1 + np.exp(-logits / np.repeat(fitted, 200)))
    losses = [-np.mean(np.log(np.where(y == 1, p, 1 - p))) for p in (positive, after)]
    assert (found["log_loss"], found["log_loss_after"]) == pytest.approx(losses)
    errors = [pg.expected_calibration_error(y, np.column_stack([1 - p, p])) for p in (positive, after)]
    assert (found["error"], found["error_after"]) == pytest.approx(errors)


def test_areas_have_intervals_over_slides(check):
    """Where slides are known: the bootstrap's, over all folds' patches at once; DeLong's otherwise."""
    patches, rows = check.train, [np.arange(20), np.arange(20, 40)]
    said = {"drawn": [np.linspace(0, 1, 20), np.linspace(1, 0, 20)]}
    groups = np.array([f"slide {i % 8}" for i in range(40)])
    for known in (None, groups):
        found = validation.pooled_areas(replace(patches, groups=known), rows, said).iloc[0]
        expected = pg.auc_interval(patches.y, np.concatenate(said["drawn"]), groups=known)
        assert (found["auc"], found["low"], found["high"]) == pytest.approx(tuple(expected))


@pytest.mark.slow
def test_one_validation(directory, untrained, tmp_path):
    """Of networks at their random weights; one of each fold's has the stain normalised. A second run trains nothing."""
    given = read(f"data.directory='{directory}'", "baseline.backbone=SmallCNN")
    workspace = validation.STUDY.workspace(tmp_path)
    for _ in range(2):
        done = validation.run(given, workspace)
        assert len(untrained) == 4
    small, stain = (done.said[name][0] for name in (validation.SMALL, validation.STAIN))
    assert abs(small - stain).max() > 1e-4
    text = " ".join(validation.STUDY.write_report(given, done, tmp_path).text().split())
    assert "slides of the patches are not known" in text
    assert "what random features are worth" in text
    assert set(pd.read_csv(tmp_path / "calibration.csv")["name"]) == set(done.said)
