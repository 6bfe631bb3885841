"""The tumour study: its table, its units and what it says of a planted table, on a network of a moment."""

from __future__ import annotations

import weakref
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import permgrad as pg
from permgrad.data.expression import rename_columns
from permgrad.models.wide import build_wide_mlp
from studies.kit.settings import read_settings
from studies.rna_tumour import networks, report, tables
from studies.rna_tumour import study as study

pytestmark = pytest.mark.xdist_group("rna_tumour")
YAML = Path(study.__file__).with_suffix(".yaml")
TINY = (
    "data.source=generated",
    "data.generated.n_rows=800",
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
    return read_settings(study.Study, YAML, [*TINY, *overrides])


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tumour")
    result = CliRunner().invoke(study.main, ["--out", str(directory), *command()])
    assert result.exit_code == 0, result.output
    assert "all of it took" in result.output
    assert "times as long" in result.output
    return directory


def command(*overrides: str) -> list[str]:
    return [part for setting in (*TINY, *overrides) for part in ("--set", setting)]


@pytest.fixture(scope="module")
def done(out):
    return study.run(settings(), out)


def test_the_published_settings_are_the_defaults():
    given = read_settings(study.Study, YAML)
    assert given.network.hidden_units == (5000, 1000, 100, 10)
    assert given.sweep.penalties == (1e-5, 1e-3, 1e-2, 1, 10, 100)
    assert (given.network.epochs, given.network.l2, given.importance.penalty) == (25, 1e-5, 0.01)


@pytest.mark.slow
def test_planted_groups_come_first(done):
    """The network relies on the marker groups, which shuffling them together shows; no other group is before them."""
    groups = tables.group_table(done)
    assert groups["markers"].tolist()[:5] == [1.0] * 5
    assert len(groups) == 8
    planted = tables.planted_recall(tables.rankings(done), done["table"].notes).set_index("method")
    assert planted.loc["group permutation", "groups"] == 1
    assert planted.loc["ANOVA F", "markers"] == 1


@pytest.mark.slow
def test_a_large_penalty_shrinks_the_weights(done):
    table = tables.penalties(settings(), done).set_index("λ")
    assert table.loc["1000", "mean_absolute"] < 0.7 * table.loc["0.01", "mean_absolute"]


@pytest.mark.slow
def test_masking_begins_with_the_network_as_it_is(done):
    unit = done["seed_0"]
    assert set(unit["masking"]) == {"first_layer", "permutation", "group_permutation", "anova", "random"}
    for curve in unit["masking"].values():
        assert curve["loss"][0] == pytest.approx(unit["scores"]["test"]["loss"], rel=1e-5)
        assert curve["masked"][-1] == 150


@pytest.mark.slow
def test_everything_is_written_and_done_once(out, done):
    names = {path.name for path in out.iterdir()}
    assert {"report.md", "agreement.png", "weights.png", "masking.png", "agreement.csv", "planted.csv"} <= names
    before = {path: path.stat().st_mtime_ns for path in (out / "units").iterdir()}
    study.run(settings(), out)
    assert before == {path: path.stat().st_mtime_ns for path in (out / "units").iterdir()}
    for change, message in {
        "network.epochs=26": "network.epochs was 25, now 26",
        "network.precision=mixed_bfloat16": "network.precision was 'float32', now 'mixed_bfloat16'",
        "data.generated.random_state=1": "sha256 was",
        "selector.gate_penalty=0": "selector.gate_penalty was 0.0001, now 0.0",
    }.items():
        with pytest.raises(pg.PermGradError, match=message):
            study.run(settings(change), out)


@pytest.mark.slow
def test_the_report_may_go_elsewhere(done, tmp_path):
    """But for every gene's scores, which are large."""
    study.write_report(settings(), done, tmp_path / "out", tmp_path / "report")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["scores.csv"]
    assert {"report.md", "weights.png", "groups.csv"} <= {path.name for path in (tmp_path / "report").iterdir()}
    assert "scores.csv" not in {path.name for path in (tmp_path / "report").iterdir()}


@pytest.mark.slow
def test_what_was_lost_is_done_again(out, done, monkeypatch):
    """As it was; a file that a killed process left half-written is none of the study's."""
    units = out / "units"
    (units / "penalty_1000.0.json").rename(units / ".penalty_1000.0.json.1.part")
    (units / ".penalty_1000.0.json.1.part").write_text('{"kind": "permgrad.st')
    monkeypatch.setattr(networks, "measure_wide", lambda *given, **named: pytest.fail("a training was done twice"))
    again, before = study.run(settings(), out)["penalty_1000.0"], done["penalty_1000.0"]
    assert again["weights"]["n"] == before["weights"]["n"]
    assert again["scores"]["test"]["loss"] == pytest.approx(before["scores"]["test"]["loss"], rel=0.05)


@pytest.mark.slow
def test_a_damaged_unit_is_named(out, done):
    path = out / "units" / "anova.json"
    whole = path.read_text()
    path.write_text(whole[:100])
    result = CliRunner().invoke(study.main, ["--out", str(out), *command()])
    path.write_text(whole)
    assert result.exit_code == 1
    assert "anova.json is damaged" in result.output


def test_a_look_has_a_directory_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = []
    monkeypatch.setattr(study, "run", lambda settings, out, *, verbose: made.append(str(out)))
    for name in ("facts", "write_report"):
        monkeypatch.setattr(study, name, lambda *given: "")
    for fast in ([], ["--fast"]):
        assert CliRunner().invoke(study.main, fast).exit_code == 0
    assert made == ["results/rna_tumour", "results/rna_tumour_fast"]


@pytest.mark.slow
def test_names_may_come_later(out, done, tmp_path):
    """Trainings know genes by their numbers."""
    path = tmp_path / "data.csv"
    first = done["table"].features[0]
    path.write_text(f"gene,name\n{first},TP53\n")
    given = settings()
    named = given.model_copy(update={"data": given.data.model_copy(update={"names": str(path)})})
    assert study.run(named, out)["table"].features[:2] == ["TP53", done["table"].features[1]]


@pytest.mark.slow
def test_the_report_explains_its_columns_and_says_what_was_asked(out, done):
    text = (out / "report.md").read_text()
    for said in ("*best alone*", "*low* and *high*", "(Jaccard)", "no width for two", "agree by construction"):
        assert said in text
    asked = tables.asked(done, tables.planted_recall(tables.rankings(done), done["table"].notes)).set_index("asked")
    assert asked.loc["the planted groups first, by group permutation"].tolist() == ["5 of 5", "yes"]
    slow = {**done, "anova": {**done["anova"], "all_seconds": 91 * 60}}
    assert tables.asked(slow, None)["met"].tolist() == ["no", "yes"]
    big = {**done, "groups": {**done["groups"], "peak_memory": 6.5e9}}
    assert tables.asked(big, None)["found"].tolist()[1] == "6.50"
    assert "2 trainings rank genes; test accuracy" in report.facts(settings(), done)


@pytest.mark.slow
def test_classes_left_out_are_reported(done):
    table = done["table"]
    fewer = pg.Table(table.X, table.y, name="t", notes={**table.notes, "left_out": {"rare": 4, "rarer": 2}})
    assert "Left out: 6 samples of classes of fewer than 10 samples, rare, rarer." in report.facts(
        settings(), {**done, "table": fewer}
    )
    assert "Left out" not in report.facts(settings(), done)


def test_agreed_genes_by_hand():
    def ranking(*order):
        genes = ("a", "b", "c", "d")
        return pg.FeatureRanking(genes, np.array([-float(order.index(gene)) for gene in genes]))

    found = {"anova": [ranking("a", "b", "c", "d")] * 2, "selector": [ranking(*"acbd"), ranking(*"cbad")]}
    table = tables.agreed_genes(found, 2).set_index("gene")
    assert table.index.tolist() == ["a", "b", "c"]  # d is never among the two best
    assert table["ANOVA F"].tolist() == [1, 1, 0]
    assert table["selector"].tolist() == [0.5, 0.5, 1]
    assert table["all"].tolist() == [0.75, 0.75, 0.5]


def test_one_network_is_in_memory_at_a_time(monkeypatch):
    built = []

    def build(*given):
        assert not any(reference() for reference in built)
        model = build_wide_mlp(*given)
        built.append(weakref.ref(model))
        return model

    few = settings("network.epochs=1", "selector.epochs=1")
    parts = study.split(study.load_table(few.data), few)
    monkeypatch.setattr(networks, "build_wide_mlp", build)
    networks.measure_wide(few, parts, 0, {"group 0": [0, 1]}, np.arange(150.0), closer=True)
    networks.measure_selector(few, parts, 0)
    assert len(built) == 2


def test_group_recall_by_hand():
    notes = {"groups": {"a": ["a", "b"], "c": ["c"]}, "other_groups": {"d": ["d", "e"]}}
    ranking = lambda *order: pg.FeatureRanking(order, np.arange(len(order), 0, -1.0))  # noqa: E731
    assert tables.group_recall(ranking("b", "a", "c", "d", "e", "f"), notes) == 1  # a's group, then c's
    assert tables.group_recall(ranking("e", "d", "a", "c", "b", "f"), notes) == 0.5  # d's group, then a's
    assert tables.group_recall(ranking("f", "e", "a", "c", "b", "d"), notes) == 0


def test_rows_of_other_parts_reach_no_fit():
    """The F test, the groups and the network with its scaling are those of the training rows alone."""
    once = settings("network.epochs=1")
    table = study.load_table(once.data)
    parts = study.split(table, once)
    others = {name: networks.Rows(parts[name].X + 100, parts[name].y[::-1]) for name in ("validation", "test")}
    spoiled = {**parts, **others}
    first, second = (
        networks.train(once, given, penalty=0.01, random_state=0)[0].get_weights() for given in (parts, spoiled)
    )
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert networks.anova(parts) == networks.anova(spoiled)
    assert networks.cluster(settings(), parts)["groups"] == networks.cluster(settings(), spoiled)["groups"]
    assert sum(len(rows.y) for rows in parts.values()) == 800


def test_tables_from_files(tmp_path, rng):
    """A directory, and arrays; small classes are left out, names come from a file."""
    X, y = rng.uniform(size=(45, 6)).astype(np.float32), np.repeat(["a", "b", "rare"], [20, 21, 4])
    np.savez(tmp_path / "real.npz", X=X, y=y)
    (tmp_path / "names.csv").write_text("gene,name\ngene_2,TP53\n")
    data = settings(f"data.source={tmp_path / 'real.npz'}", f"data.names={tmp_path / 'names.csv'}").data
    table = study.load_table(data)
    assert len(table) == 41
    assert table.notes["left_out"] == {"rare": 4}
    assert rename_columns(table, data.names).features[2] == "TP53"
    index = pd.Index([f"s{i}" for i in range(45)])
    pd.DataFrame(X, index, [f"g{i}" for i in range(6)]).to_csv(tmp_path / "data.csv")
    pd.DataFrame({"Class": y}, index).to_csv(tmp_path / "labels.csv")
    read = study.load_table(settings(f"data.source={tmp_path}").data)
    np.testing.assert_allclose(read.X, table.X)
    assert read.y.tolist() == table.y.tolist()


def test_bad_settings(tmp_path):
    with pytest.raises(pg.PermGradError, match="names are for genes that exist"):
        settings("data.names=a.csv")
    with pytest.raises(pg.PermGradError, match="network.precision"):
        settings("network.precision=half")
    with pytest.raises(pg.PermGradError, match="below that of the genes, 150"):
        study.run(settings("best=[150]"), tmp_path)
    path = tmp_path / "bad.npz"
    data = settings(f"data.source={path}").data
    for content in (b"no arrays", b"PK\x03\x04 cut off"):
        path.write_bytes(content)
        with pytest.raises(pg.PermGradError, match="must be an .npz file with arrays X and y"):
            study.load_table(data)
    for X in (np.zeros(3), np.zeros((2, 3)), np.full((3, 2), np.nan)):
        np.savez(path, X=X, y=np.array(["a", "b", "a"]))
        with pytest.raises(pg.PermGradError, match="X must be finite numbers"):
            study.load_table(data)
