"""The tumour study: its table, its networks and what it says of a planted table, on a network of a moment."""

from __future__ import annotations

import weakref
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from permgrad.data.expression import rename_columns
from permgrad.models.wide import build_wide_mlp
from studies.rna_tumour import networks, study, tables
from studies.rna_tumour.study import STUDY, RnaTumour
from studies.rna_tumour.tables import Results

pytestmark = pytest.mark.xdist_group("rna_tumour")
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


def settings(*overrides: str) -> RnaTumour:
    return STUDY.read([*TINY, *overrides])


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("tumour")


@pytest.fixture(scope="module")
def results(out) -> Results:
    return STUDY.run(settings(), STUDY.workspace(out))


def test_the_published_settings_are_the_defaults():
    given = STUDY.read()
    assert given.network.hidden_units == (5000, 1000, 100, 10)
    assert given.sweep.penalties == (1e-5, 1e-3, 1e-2, 1, 10, 100)
    assert (given.network.epochs, given.network.l2, given.importance.penalty) == (25, 1e-5, 0.01)


@pytest.mark.slow
def test_planted_groups_come_first(results):
    """The network relies on the marker groups, which shuffling them together shows; no other group is before them."""
    groups = tables.group_table(results)
    assert groups["markers"].tolist()[:5] == [1.0] * 5
    assert len(groups) == 8
    planted = tables.planted_recall(tables.rankings(results), results.table.notes).set_index("method")
    assert planted.loc["group permutation", "groups"] == 1
    assert planted.loc["ANOVA F", "markers"] == 1


@pytest.mark.slow
def test_a_large_penalty_shrinks_the_weights(results):
    table = tables.penalties(settings(), results).set_index("λ")
    assert table.loc["1000", "mean_absolute"] < 0.7 * table.loc["0.01", "mean_absolute"]


@pytest.mark.slow
def test_masking_begins_with_the_network_as_it_is(results):
    first = results.trainings[0]
    assert set(first["masking"]) == {"first_layer", "permutation", "group_permutation", "anova", "random"}
    for curve in first["masking"].values():
        assert curve["loss"][0] == pytest.approx(first["scores"]["test"]["loss"], rel=1e-5)
        assert curve["masked"][-1] == 150


@pytest.mark.slow
def test_every_score_is_in_the_results_and_names_may_come_later(results, out, tmp_path, monkeypatch):
    """Trainings know genes by their numbers: nothing is trained again for other names."""
    assert len(pd.read_csv(out / "scores.csv")) == 150
    path = tmp_path / "data.csv"
    first = results.table.features[0]
    path.write_text(f"gene,name\n{first},TP53\n")
    given = settings()
    named = given.model_copy(update={"data": given.data.model_copy(update={"names": str(path)})})
    monkeypatch.setattr(networks, "train", lambda *given, **named: pytest.fail("a training was repeated"))
    assert STUDY.run(named, STUDY.workspace(out)).table.features[:2] == ["TP53", results.table.features[1]]
    assert pd.read_csv(out / "scores.csv")["gene"][0] == "TP53"


@pytest.mark.slow
def test_the_report_explains_its_columns_and_says_what_was_asked(results, tmp_path):
    report = STUDY.write_report(settings(), results, tmp_path)
    text = " ".join(report.text().split())
    for explanation in ("*best alone*", "*low* and *high*", "(Jaccard)", "no width for two", "agree by construction"):
        assert explanation in text
    assert "2 trainings rank the genes. The test accuracy" in report.summary()
    assert "left out" not in report.summary()
    table = results.table
    fewer = pg.Table(table.X, table.y, name="t", notes={**table.notes, "left_out": {"rare": 4, "rarer": 2}})
    report = STUDY.write_report(settings(), replace(results, table=fewer), tmp_path)
    assert "6 samples are left out: their classes (rare, rarer) have fewer than 10 samples each." in report.summary()


@pytest.mark.slow
def test_what_was_asked_is_held_against_what_was_measured(results):
    planted = tables.planted_recall(tables.rankings(results), results.table.notes)
    asked = tables.asked(results, planted).set_index("asked")
    assert asked.loc["the planted groups first, by group permutation"].tolist() == ["5 of 5", "yes"]
    slow = {**results.steps, "anova": {**results.steps["anova"], "step_seconds": 91 * 60}}
    assert tables.asked(replace(results, steps=slow), None)["met"].tolist() == ["no", "yes"]
    big = {**results.steps, "groups": {**results.steps["groups"], "peak_memory": 6.5e9}}
    assert tables.asked(replace(results, steps=big), None)["measured"].tolist()[1] == "6.50"


def test_other_settings_need_another_directory(tmp_path):
    """But for trainings and penalties, which may become more, and what only the report shows."""
    table, place = study.load_table(settings().data), STUDY.workspace(tmp_path)
    study.check_same(settings(), table, place)
    study.check_same(settings("importance.trainings=5", "sweep.penalties=[1]", "best=[3]"), table, place)
    for change, message in {
        "network.epochs=26": "network.epochs was 25, now 26",
        "network.precision=mixed_bfloat16": "network.precision was 'float32', now 'mixed_bfloat16'",
        "selector.gate_penalty=0": "selector.gate_penalty was 0.0001, now 0.0",
    }.items():
        with pytest.raises(pg.PermGradError, match=message):
            study.check_same(settings(change), table, place)
    with pytest.raises(pg.PermGradError, match="sha256 was"):
        study.check_same(settings(), table.take(range(700)), place)


def test_agreed_genes_by_hand():
    def ranking(*order):
        genes = ("a", "b", "c", "d")
        return pg.FeatureRanking(genes, np.array([-float(order.index(gene)) for gene in genes]))

    by_method = {"anova": [ranking("a", "b", "c", "d")] * 2, "selector": [ranking(*"acbd"), ranking(*"cbad")]}
    table = tables.agreed_genes(by_method, 2).set_index("gene")
    assert table.index.tolist() == ["a", "b", "c"]  # d is never among the two best
    assert table["ANOVA F"].tolist() == [1, 1, 0]
    assert table["selector"].tolist() == [0.5, 0.5, 1]
    assert table["all"].tolist() == [0.75, 0.75, 0.5]


@pytest.mark.slow
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
    networks.measure_wide(few, parts, 0, {"group 0": [0, 1]}, np.arange(150.0), closer=False)
    networks.measure_selector(few, parts, 0)
    assert len(built) == 2


def test_group_recall_by_hand():
    notes = {"groups": {"a": ["a", "b"], "c": ["c"]}, "other_groups": {"d": ["d", "e"]}}
    ranking = lambda *order: pg.FeatureRanking(order, np.arange(len(order), 0, -1.0))  # noqa: E731
    assert tables.group_recall(ranking("b", "a", "c", "d", "e", "f"), notes) == 1  # a's group, then c's
    assert tables.group_recall(ranking("e", "d", "a", "c", "b", "f"), notes) == 0.5  # d's group, then a's
    assert tables.group_recall(ranking("f", "e", "a", "c", "b", "d"), notes) == 0


@pytest.mark.slow
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
        STUDY.run(settings("best=[150]"), STUDY.workspace(tmp_path))
    path = tmp_path / "bad.npz"
    data = settings(f"data.source={path}").data
    for content in (b"no arrays", b"PK\x03\x04 cut off"):
        path.write_bytes(content)
        with pytest.raises(pg.PermGradError, match="is not an .npz file with arrays X and y"):
            study.load_table(data)
    for X in (np.zeros(3), np.zeros((2, 3)), np.full((3, 2), np.nan)):
        np.savez(path, X=X, y=np.array(["a", "b", "a"]))
        with pytest.raises(pg.PermGradError, match="X must be finite numbers"):
            study.load_table(data)
