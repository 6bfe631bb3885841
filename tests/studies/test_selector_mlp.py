"""The gene-panel study: its parts, its units and what it says of planted cells, on networks of a moment."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import permgrad as pg
from studies.kit.settings import read_settings
from studies.selector_mlp import networks, tables
from studies.selector_mlp import study as study

pytest.importorskip("anndata")
pytest.importorskip("scanpy")
pytestmark = pytest.mark.xdist_group("selector_mlp")
YAML = Path(study.__file__).with_suffix(".yaml")
TINY = (
    *study.FAST,
    "genes=120",
    "generated.n_cells=700",
    "generated.n_genes=150",
    "generated.n_classes=3",
    "generated.n_markers=12",
    "generated.fold=6",
    "network.hidden_units=[32]",
    "network.epochs=20",
    "network.alpha=0.03",
    "conditions=[MLP, selector L1, stochastic, narrowing]",
    "beyond.narrowing_epochs=10",
    "beyond.sizes=[60, 24, 12]",
    "crop={sizes: [24], step: 12, rankings: [MLP, selector L1, narrowing, SVM L1]}",
    "masking={step: 24, random_orders: 2}",
    "curve=[12]",
    "panels={size: 24, trainings: 3, conditions: [stochastic]}",
)


def settings(*overrides: str) -> study.Study:
    return read_settings(study.Study, YAML, [*TINY, *overrides])


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    directory = tmp_path_factory.mktemp("panels")
    command = [part for setting in TINY for part in ("--set", setting)]
    result = CliRunner().invoke(study.main, ["--dataset", "planted", "--out", str(directory), *command])
    assert result.exit_code == 0, result.output
    return directory / "planted"


@pytest.fixture(scope="module")
def done(out):
    return study.run(settings(), "planted", out)


def test_the_published_settings_are_the_defaults():
    given = read_settings(study.Study, YAML)
    network = given.network
    assert network.hidden_units == (512, 128, 64)
    assert (network.alpha, network.noise, network.dropout, network.weight_decay) == (0.1, 0.2, 0.3, 0.3)
    assert given.split.caps == (5000, 1000, 1000)
    assert (given.genes, given.crop.sizes, given.crop.step, given.masking.random_orders) == (2000, (200, 100), 5, 5)
    assert given.panels.trainings == 20


def test_every_published_condition_is_there():
    given = read_settings(study.Study, YAML)
    assert given.conditions == tuple(networks.CONDITIONS)
    models = {name: networks.estimator(given, name, 0) for name in given.conditions}
    plain = [model for model in models.values() if model.selector == "none"]
    assert len({(model.noise, model.dropout, model.batch_norm) for model in plain}) == 5
    assert not any(model.batch_norm for model in models.values() if model.selector != "none")
    assert {model.penalty for model in models.values() if model.selector == "free"} == {None, "l1", "l2", "l1/l2"}


@pytest.mark.slow
def test_every_condition_has_its_row(done):
    table = tables.conditions(settings(), done)
    assert table["condition"].tolist() == [*settings().conditions, *networks.SVMS]
    assert table["test low"].le(table["test"]).all()
    assert table["test high"].ge(table["test"]).all()
    # Of a path's last network there is nothing to mask.
    assert table.set_index("condition")["masked to 24"].isna().to_dict() == {
        name: name == "narrowing" for name in table["condition"]
    }


def test_a_ranking_that_is_its_start_is_told():
    """Before the first step it is the start itself; what has no start to speak of has none."""
    given = settings("conditions=[MLP, selector, selector L1, stochastic, narrowing]")
    start = networks.start_of(given, "selector", 1, 300)
    other = networks.start_of(given, "selector", 2, 300)
    done = {f"selector, {random_state}": {"ranking": start} for random_state in given.seeds}
    done |= {
        f"{name}, {random_state}": {"ranking": start} for name in ("MLP", "stochastic") for random_state in given.seeds
    }
    assert networks.start_of(given, "MLP", 1, 300) is None
    assert np.isnan(tables.like_start(given, done, "stochastic"))
    assert np.isnan(tables.like_start(given, done, "SVM L1"))
    assert abs(np.corrcoef(start, other)[0, 1]) < 0.2
    one = given.model_copy(update={"trainings": study.Trainings(n=2, first_seed=1)})
    done["selector, 2"] = {"ranking": other**2}
    assert tables.like_start(one, done, "selector") == pytest.approx(1.0)
    done["selector, 2"] = {"ranking": -other}
    assert tables.like_start(one, done, "selector") == pytest.approx(0.0)


@pytest.mark.slow
def test_the_start_is_that_of_the_training(done):
    """A network trained for no time to speak of still has the weights that `start_of` says it begins with."""
    given = settings("network.learning_rate=1e-9", "network.epochs=1")
    model = networks.estimator(given, "selector L1", networks.own_seed("selector L1", 0)).fit(done["parts"]["train"])
    start = networks.start_of(given, "selector L1", 0, len(done["parts"]["train"].features))
    np.testing.assert_allclose(np.abs(model.selector_weights_), start, rtol=1e-5)


@pytest.mark.slow
def test_planted_markers_are_found(done):
    table = tables.planted(settings(), done).set_index("ranking")
    for scheme in ("selector L1", "stochastic", "narrowing"):
        assert table.loc[scheme, "best-2k"] >= 0.9
    panel = tables.panels(settings(), done).iloc[0]
    assert panel["accuracy"] > 0.8
    assert panel["low"] < panel["accuracy"] < panel["high"]
    assert panel["trainings"] == 3


@pytest.mark.slow
def test_masking_ends_with_the_network_as_it_is(done):
    y = done["parts"]["test"].y
    for condition in ("MLP", "selector L1", "SVM L1"):
        unit = tables.unit(done, condition, 0)
        whole = pd.DataFrame(unit["masking"]).iloc[-1]
        assert whole["kept"] == 120
        assert whole["accuracy"] == pytest.approx(np.mean(unit["right"]["test"]))
        assert whole["balanced_accuracy"] == pytest.approx(networks.class_mean(unit["right"]["test"], y))


@pytest.mark.slow
def test_a_panel_is_what_its_ranking_says(done):
    for condition in settings().crop.rankings:
        ranking = tables.rankings_of(done, condition, [1])[0]
        assert done[f"{condition}, 1, best 24"]["genes"] == ranking.select(24)
    units = [done[f"selector L1, {random_state}"] for random_state in (0, 1)]
    once = tables.one_training(settings(), done).set_index("scheme")
    assert once.loc["narrowing", "genes"].tolist() == [60, 24, 12]
    assert once.loc["selector L1", "genes"].tolist() == [60, 24, 12]  # all schemes on one curve
    masked = [dict(zip(u["masking"]["kept"], u["masking"]["balanced_accuracy"], strict=True))[24] for u in units]
    assert once.loc["selector L1", "accuracy"].tolist()[1] == pytest.approx(np.mean(masked))
    assert tables.size_curve(settings(), done)["genes"].tolist() == [24, 12] * 3
    less = tables.cropped(settings(), done).set_index("ranking")
    assert less.loc["MLP", "less MLP"] == 0
    genes = tables.panel_genes(settings(), done)
    assert genes["gene"].tolist() == tables.panel_unit(settings(), done, "stochastic")["genes"]


@pytest.mark.slow
def test_a_path_is_judged_on_test_cells_that_its_training_did_not_see(done):
    y = done["parts"]["test"].y
    for random_state in (0, 1):
        unit = tables.unit(done, "narrowing", random_state)
        assert unit["path"]["size"] == [60, 24, 12]
        assert unit["path"]["balanced_accuracy"][-1] == pytest.approx(networks.class_mean(unit["right"]["test"], y))
    # On a panel, what a path leaves is a plain MLP: it is held to the MLP with all genes, not to the path's end.
    row = tables.cropped(settings(), done).set_index("ranking").loc["narrowing"]
    assert row["own of all genes"] == pytest.approx(row["own"] / tables.all_genes(settings(), done, "MLP"))


@pytest.mark.slow
def test_what_is_wanted_is_said(done):
    table = tables.targets(settings(), done).set_index("ranking")
    assert table.index.tolist() == ["selector L1", "narrowing"]
    cropped = tables.cropped(settings(), done).set_index("ranking")
    for ranking, row in table.iterrows():
        whole = tables.all_genes(settings(), done, "MLP")
        assert row["of all genes"] == pytest.approx(cropped.loc[ranking, "referee"] / whole)
        assert row["95 % kept"] == ("yes" if cropped.loc[ranking, "referee"] >= 0.95 * whole else "no")
        verdict = "higher" if row["less low"] > 0 else "lower" if row["less high"] < 0 else "level"
        assert row["than the MLP's"] == verdict
        assert row["90 % of markers"] == "yes"


@pytest.mark.slow
def test_everything_is_written_and_done_once(out, done, monkeypatch):
    names = {path.name for path in out.iterdir()}
    expected = {
        "conditions",
        "cropped",
        "one_training",
        "overlap",
        "sizes",
        "panels",
        "planted",
        "targets",
        "panel_genes",
    }
    assert {f"{name}.csv" for name in expected} | {"report.md"} <= names
    assert {f"{name}.png" for name in ("masking", "cropped", "sizes", "learning", "frequency")} <= names
    before = {path: path.stat().st_mtime_ns for path in (out / "units").iterdir()}
    for work in ("train", "train_svm", "crop", "retrain", "rank_only", "panel"):
        monkeypatch.setattr(networks, work, lambda *given, **named: pytest.fail("a unit was done twice"))
    study.run(settings(), "planted", out)
    assert before == {path: path.stat().st_mtime_ns for path in (out / "units").iterdir()}
    with pytest.raises(pg.PermGradError, match="network.epochs was 20, now 9"):
        study.run(settings("network.epochs=9"), "planted", out)
    with pytest.raises(pg.PermGradError, match="cells was"):
        study.run(settings("generated.random_state=1"), "planted", out)


@pytest.mark.slow
def test_what_was_lost_is_done_again(out, done, monkeypatch):
    path = out / "units" / "svm_l2.json"
    before = json.loads(path.read_text())
    path.unlink()
    monkeypatch.setattr(networks, "train", lambda *given, **named: pytest.fail("a training was done twice"))
    assert study.run(settings(), "planted", out)["SVM L2"]["ranking"] == before["ranking"]


def test_more_trainings_judge_a_panel_anew():
    """What a unit's result depends on and may change is in its name: no result of fewer trainings is taken for it."""
    few, more = (study.plan(settings(f"trainings.n={n}"), {}, {}) for n in (2, 3))
    panels = [{name for name in steps if name.startswith("panel")} for steps in (few, more)]
    assert panels[0]
    assert not panels[0] & panels[1]


def test_a_look_goes_elsewhere(monkeypatch):
    made = []
    monkeypatch.setattr(study, "run", lambda given, name, out, verbose: {})
    monkeypatch.setattr(study, "write_report", lambda given, name, done, out: made.append(out))
    for options in ([], ["--fast"], ["--fast", "--out", "here"], ["--report", "shown"]):
        assert CliRunner().invoke(study.main, ["--dataset", "planted", *options]).exit_code == 0
    assert made == [
        Path("results/selector_mlp/planted"),
        Path("results/selector_mlp_fast/planted"),
        Path("here/planted"),
        Path("shown/planted"),
    ]


def test_equal_cells_are_known_again():
    cells = study.load_cells(settings(), "planted")
    found = study.fingerprint(cells)
    assert found == study.fingerprint(pg.Cells(cells.X.toarray(), cells.y, cells.features))
    labels, counts = cells.y.copy(), cells.X.copy()
    labels[:2] = labels[:2][::-1] if labels[0] != labels[1] else "type_9"
    counts.data[5] += 1
    for X, y in ((cells.X, labels), (counts, cells.y)):
        assert found != study.fingerprint(pg.Cells(X, y, cells.features))


def test_cells_of_other_parts_reach_no_fit():
    """Which genes vary is asked of training cells alone; no cell is in two parts."""
    given = settings()
    cells = study.load_cells(given, "planted")
    parts = study.prepare(given, cells)
    rows = pg.capped_split(cells.y, given.split.caps, random_state=given.split.random_state)
    spoiled = cells.X.toarray()
    spoiled[np.concatenate(rows[1:]), :40] *= 50
    other = study.prepare(given, pg.Cells(spoiled, cells.y, cells.features))
    assert other["train"].features == parts["train"].features
    assert sum(map(len, parts.values())) == len(set(np.concatenate(rows)))


def test_mean_per_class_accuracy_is_recall():
    """The truth is the truth: 2 of 3 and 0 of 1 told right make 1/3, whatever was predicted how often."""
    assert networks.class_mean([1, 1, 0, 0], np.array(["a", "a", "a", "b"])) == pytest.approx(1 / 3)


def test_bad_settings():
    with pytest.raises(pg.PermGradError, match="no data set 'cells' among those of the settings: worm, mouse, planted"):
        study.load_cells(settings(), "cells")
    with pytest.raises(pg.PermGradError, match=r"no such file .*--set datasets\.gone\.file=PATH"):
        study.load_cells(settings("datasets={gone: {file: gone.h5ad, target: type}}"), "gone")
    with pytest.raises(pg.PermGradError, match="trainings.n"):
        settings("trainings.n=1")
    with pytest.raises(pg.PermGradError, match="there is no 'selector L3' among"):
        settings("conditions=[MLP, selector L3]")
    with pytest.raises(pg.PermGradError, match="must be among conditions"):
        settings("conditions=[MLP, selector]")
    with pytest.raises(pg.PermGradError, match="must hold 'MLP'"):
        settings("crop.rankings=[selector L1, narrowing]")
    with pytest.raises(pg.PermGradError, match="there is no 'SVM L1' among"):
        settings("conditions=[MLP, SVM L1]")
    with pytest.raises(pg.PermGradError, match=r"panels\.conditions must be among conditions"):
        settings("panels.conditions=[SVM L1]")
    with pytest.raises(pg.PermGradError, match="must hold one of selector L1, stochastic"):
        settings("conditions=[MLP, selector]", "crop.rankings=[MLP, selector]", "panels.conditions=[selector]")
    with pytest.raises(pg.PermGradError, match=r"crop\.rankings"):
        settings("crop.rankings=[MLP]")
    given = settings("curve=[120]")
    with pytest.raises(pg.PermGradError, match="fewer genes than the 120 that there are, got 120"):
        study.prepare(given, study.load_cells(given, "planted"))
