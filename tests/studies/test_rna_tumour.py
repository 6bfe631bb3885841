"""The tumour study: its table, its units and what it says of a planted table, on a network of a moment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import permgrad as pg
from studies import rna_tumour as study
from studies import rna_tumour_networks as networks
from studies import rna_tumour_report as report

YAML = Path(study.__file__).with_suffix(".yaml")
TINY = (
    "data.source=generated",
    "data.generated.n_rows=400",
    "data.generated.n_genes=150",
    "data.generated.n_markers=5",
    "data.generated.n_others=3",
    "data.generated.n_copies=5",
    "network.hidden_units=[64, 32, 16]",
    "network.epochs=25",
    "network.learning_rate=3e-3",
    "selector.hidden_units=[16]",
    "selector.epochs=4",
    "importance.trainings=2",
    "importance.heaviest=20",
    "sweep.penalties=[0.01, 1000]",
    "best=[5, 10]",
)


def settings(*overrides: str) -> study.Study:
    return pg.read_settings(study.Study, YAML, [*TINY, *overrides])


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tumour")
    command = [part for setting in TINY for part in ("--set", setting)]
    result = CliRunner().invoke(study.main, ["--out", str(directory), *command])
    assert result.exit_code == 0, result.output
    return directory


@pytest.fixture(scope="module")
def done(out):
    return study.run(settings(), out)


def test_the_published_settings_are_the_defaults():
    given = pg.read_settings(study.Study, YAML)
    assert given.network.hidden_units == (5000, 1000, 100, 10)
    assert given.sweep.penalties == (1e-5, 1e-3, 1e-2, 1, 10, 100)
    assert (given.network.epochs, given.network.l2, given.importance.penalty) == (25, 1e-5, 0.01)


def test_planted_groups_come_first(done):
    """The network relies on the marker groups, which shuffling them together shows; no other group is before them."""
    groups = report.group_table(done)
    assert groups["markers"].tolist()[:5] == [1.0] * 5
    assert len(groups) == 8
    planted = report.planted_recall(report.rankings(done), done["table"].notes).set_index("method")
    assert planted.loc["group permutation", "groups"] == 1
    assert planted.loc["ANOVA F", "markers"] == 1


def test_a_large_penalty_shrinks_the_weights(done):
    table = report.penalties(settings(), done).set_index("λ")
    assert table.loc["1000", "mean_absolute"] < 0.7 * table.loc["0.01", "mean_absolute"]


def test_masking_begins_with_the_network_as_it_is(done):
    unit = done["seed_0"]
    for curve in unit["masking"].values():
        assert curve["loss"][0] == pytest.approx(unit["scores"]["test"]["loss"], rel=1e-5)
        assert curve["masked"][-1] == 150


def test_everything_is_written_and_done_once(out, done):
    names = {path.name for path in out.iterdir()}
    assert {"report.md", "agreement.png", "weights.png", "masking.png", "agreement.csv", "planted.csv"} <= names
    before = {path: path.stat().st_mtime_ns for path in (out / "units").iterdir()}
    study.run(settings(), out)
    assert before == {path: path.stat().st_mtime_ns for path in (out / "units").iterdir()}
    with pytest.raises(pg.PermGradError, match="network.epochs was 25, now 26"):
        study.run(settings("network.epochs=26"), out)


def test_what_was_lost_is_done_again(out, done, monkeypatch):
    (out / "units" / "penalty_1000.json").unlink()
    monkeypatch.setattr(networks, "measure", lambda *given, **named: pytest.fail("a training was done twice"))
    assert study.run(settings(), out)["penalty_1000"]["weights"]["n"] == done["penalty_1000"]["weights"]["n"]


def test_group_recall_by_hand():
    notes = {"groups": {"a": ["a", "b"], "c": ["c"]}, "other_groups": {"d": ["d", "e"]}}
    ranking = lambda *order: pg.FeatureRanking(order, np.arange(len(order), 0, -1.0))  # noqa: E731
    assert report.group_recall(ranking("b", "a", "c", "d", "e", "f"), notes) == 1  # a's group, then c's
    assert report.group_recall(ranking("e", "d", "a", "c", "b", "f"), notes) == 0.5  # d's group, then a's
    assert report.group_recall(ranking("f", "e", "a", "c", "b", "d"), notes) == 0


def test_rows_of_other_parts_reach_no_fit(monkeypatch):
    """The F test and the groups are those of the training rows alone."""
    table = study.load_table(settings().data)
    parts = study.split(table, settings())
    spoiled = {**parts, "test": networks.Rows(parts["test"].X + 100, parts["test"].y)}
    assert networks.anova(parts) == networks.anova(spoiled)
    assert networks.cluster(settings(), parts)["groups"] == networks.cluster(settings(), spoiled)["groups"]
    assert sum(len(rows.y) for rows in parts.values()) == 400


def test_tables_from_files(tmp_path, rng):
    """A directory, and arrays; small classes are left out, names come from a file."""
    X, y = rng.uniform(size=(45, 6)).astype(np.float32), np.repeat(["a", "b", "rare"], [20, 21, 4])
    np.savez(tmp_path / "real.npz", X=X, y=y)
    (tmp_path / "names.csv").write_text("gene,name\ngene_2,TP53\n")
    data = settings(f"data.source={tmp_path / 'real.npz'}", f"data.names={tmp_path / 'names.csv'}").data
    table = study.load_table(data)
    assert len(table) == 41
    assert table.features[2] == "TP53"
    index = pd.Index([f"s{i}" for i in range(45)])
    pd.DataFrame(X, index, [f"g{i}" for i in range(6)]).to_csv(tmp_path / "data.csv")
    pd.DataFrame({"Class": y}, index).to_csv(tmp_path / "labels.csv")
    read = study.load_table(settings(f"data.source={tmp_path}").data)
    np.testing.assert_allclose(read.X, table.X)
    assert read.y.tolist() == table.y.tolist()


def test_bad_settings(tmp_path):
    with pytest.raises(pg.PermGradError, match="names are for genes that exist"):
        settings("data.names=a.csv")
    (tmp_path / "bad.npz").write_text("no arrays")
    with pytest.raises(pg.PermGradError, match="must be an .npz file with arrays X and y"):
        study.load_table(settings(f"data.source={tmp_path / 'bad.npz'}").data)
