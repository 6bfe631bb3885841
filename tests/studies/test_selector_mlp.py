"""The gene-panel study: tables by hand from drawn results; and on planted cells, networks of a moment."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from permgrad.metrics.scores import mean_class_accuracy
from studies.selector_mlp import networks, results, steps, study, tables
from studies.selector_mlp.conditions import CONDITIONS, SVMS

pytest.importorskip("anndata")
pytest.importorskip("scanpy")
pytestmark = pytest.mark.xdist_group("selector_mlp")
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
    "conditions=[MLP, selector L1, narrowing]",
    "beyond.narrowing_epochs=10",
    "beyond.sizes=[60, 24, 12]",
    "crop={sizes: [24], step: 12, rankings: [MLP, selector L1, narrowing, SVM L1]}",
    "masking={step: 24, random_orders: 2}",
    "curve=[12]",
    "panels={size: 24, trainings: 3, conditions: [selector L1]}",
)
GENES = tuple(f"x{i}" for i in range(120))


def settings(*overrides: str) -> study.PanelSettings:
    return study.STUDY.read([*TINY, *overrides])


@pytest.fixture(scope="module")
def given():
    return settings()


@pytest.fixture(scope="module")
def drawn(given):
    """Results of no training: random rankings and predictions, of 90 cells in three classes of unequal sizes."""
    rng = np.random.default_rng(0)
    cells = pg.Cells(np.zeros((90, 120), "f4"), np.repeat(["a", "b", "c"], [50, 30, 10]), GENES, "drawn", {})
    cells.notes["relevant"] = [*GENES[:10], "not variable", "nor this"]
    parts = dict.fromkeys(("train", "validation", "test"), cells)
    by_name = {}

    def correct() -> list[int]:
        return rng.integers(2, size=90).tolist()

    def curve(name: str, counts: list[int]) -> dict[str, list[float]]:
        return {name: counts, "loss": [1.0] * len(counts), "balanced_accuracy": rng.random(len(counts)).tolist()}

    for ranking, seed in product(given.rankings, (0, 1, 2)):
        step = {"ranking": rng.permutation(120).tolist()}
        step |= {"correct": {"validation": correct(), "test": correct()}, "step_seconds": 2.0 + seed}
        step["masking"] = curve("kept", given.masking_counts(120))
        if ranking == "narrowing":
            step["path"] = curve("size", [60, 24, 12])
        if ranking == "MLP":
            step["random"] = {**curve("kept", [0, 120]), "loss_sd": [0.1, 0.1], "balanced_accuracy_sd": [0.1, 0.1]}
        step["history"] = {name: [1.0, 0.5] for name in ("train_loss", "validation_loss", "penalty")}
        by_name[results.ranking_step(ranking, seed)] = step
        crop = {"referee": correct(), "own": correct(), "masking": curve("kept", [0, 12, 24])}
        by_name[results.crop_step(ranking, seed, 24)] = crop
        by_name[results.referee_step(ranking, seed, 12)] = {"referee": correct()}
    panel = steps.panel_of_rankings(results.Results("drawn", parts, by_name).rankings("selector L1", range(3)), 24)
    by_name[results.panel_step(given, "selector L1")] = {**panel, "accuracy": 0.5, "low": 0.4, "high": 0.6}
    return results.Results("drawn", parts, {name: {"step_seconds": 6.0, **step} for name, step in by_name.items()})


def mean_recall(correct: list[list[int]], y: np.ndarray) -> float:
    by_class = [np.array(correct)[:, y == label].mean() for label in np.unique(y)]
    return float(np.mean(by_class))


def test_the_published_settings_are_the_defaults():
    given = study.STUDY.read()
    network = given.network
    assert network.hidden_units == (512, 128, 64)
    assert (network.alpha, network.noise, network.dropout, network.weight_decay) == (0.1, 0.2, 0.3, 0.3)
    assert given.split.caps == (5000, 1000, 1000)
    assert (given.genes, given.crop.sizes, given.crop.step, given.masking.random_orders) == (2000, (200, 100), 5, 5)
    assert given.panels.trainings == 20
    assert given.conditions == tuple(CONDITIONS)[:-3]  # those from ones have to be named
    models = {name: networks.network(given, name, 0) for name in given.conditions}
    plain = [model for model in models.values() if model.selector == "none"]
    assert len({(model.noise, model.dropout, model.batch_norm) for model in plain}) == 5
    assert not any(model.batch_norm for model in models.values() if model.selector != "none")
    assert {model.penalty for model in models.values() if model.selector == "free"} == {None, "l1", "l2", "l1/l2"}


def test_steps_and_starts_can_be_asked_for():
    names = "[MLP, 'selector L1, from ones', narrowing]"
    asked = ("network.steps=2400", f"conditions={names}", f"crop.rankings={names}", f"panels.conditions={names}")
    given = study.STUDY.read(asked)
    selector, path = (networks.network(given, name, 0) for name in given.conditions[1:])
    assert (selector.start, selector.penalty, selector.steps) == ("ones", "l1", 2400)
    assert (path.steps, path.epochs) == (None, 15)
    assert networks.initial_weights(given, "selector L1, from ones", 0, 120) is None
    assert study.fixed(given)["network"]["steps"] == 2400
    assert "steps" not in study.fixed(study.STUDY.read())["network"]


def test_every_condition_has_its_row(given, drawn):
    table = tables.conditions(given, drawn).set_index("condition")
    assert table.index.tolist() == ["MLP", "selector L1", "narrowing", *SVMS]
    trainings = drawn.trainings("selector L1", (0, 1))
    test = mean_recall([each["correct"]["test"] for each in trainings], drawn.parts["test"].y)
    assert table.loc["selector L1", "test"] == pytest.approx(test)
    assert table["test low"].le(table["test"]).all()
    assert table["test high"].ge(table["test"]).all()
    at = trainings[0]["masking"]["kept"].index(24)
    masked = np.mean([each["masking"]["balanced_accuracy"][at] for each in trainings])
    assert table.loc["selector L1", "masked to 24"] == pytest.approx(masked)
    assert table["masked to 24"].isna().to_dict() == {name: name == "narrowing" for name in table.index}
    assert table.loc["MLP", "seconds"] == 2.5


def test_panels_are_compared_with_the_mlps(given, drawn):
    y = drawn.parts["test"].y
    table = tables.cropped(given, drawn).set_index("ranking")
    referee = {name: mean_recall(drawn.referees(name, (0, 1), 24), y) for name in given.crop.rankings}
    assert table["referee"].to_dict() == pytest.approx(referee)
    assert table["less MLP"].to_dict() == pytest.approx({name: each - referee["MLP"] for name, each in referee.items()})
    whole = mean_recall([each["correct"]["test"] for each in drawn.trainings("MLP", (0, 1))], y)
    assert table["referee of all genes"].to_dict() == pytest.approx({k: each / whole for k, each in referee.items()})
    # On a panel, what a path leaves is a plain MLP: it is held to the MLP with all genes, not to the path's end.
    row = table.loc["narrowing"]
    assert row["own of all genes"] == pytest.approx(row["own"] / whole)
    wanted = tables.targets(given, table.reset_index(), tables.planted(given, drawn)).set_index("ranking")
    assert wanted.index.tolist() == ["selector L1", "narrowing"]
    assert wanted["of all genes"].to_dict() == table["referee of all genes"][wanted.index].to_dict()


def test_what_is_wanted_is_said(given):
    crops = pd.DataFrame({"genes": 24, "ranking": ["MLP", "SVM L1", "selector L1", "stochastic", "narrowing"]})
    crops[["less MLP", "less low", "less high"]] = [(0, 0, 0), (1, 1, 1), (0.2, 0.1, 0.3), (0, -1, 1), (-3, -4, -2)]
    crops["referee of all genes"] = [1, 1, 0.95, 0.94, 1.2]
    markers = pd.DataFrame({"ranking": crops["ranking"], "best-2k": [0, 0, 0.9, 0.89, 1]})
    table = tables.targets(given, crops, markers)
    assert table["than the MLP's"].tolist() == ["higher", "level", "lower"]
    assert table["95 % kept"].tolist() == ["yes", "no", "yes"]
    assert table["90 % of markers"].tolist() == ["yes", "no", "yes"]


def test_all_schemes_are_on_one_curve_of_sizes(given, drawn):
    curve = tables.size_curve(given, drawn)
    assert curve["genes"].tolist() == [24, 12] * 2
    accuracy = mean_recall(drawn.referees("narrowing", (0, 1), 12), drawn.parts["test"].y)
    assert curve["accuracy"].iloc[-1] == pytest.approx(accuracy)
    once = tables.one_training(given, drawn)
    assert once["genes"].tolist() == [60, 24, 12] * 2
    paths = [each["path"]["balanced_accuracy"] for each in drawn.trainings("narrowing", (0, 1))]
    np.testing.assert_allclose(once["accuracy"][3:], np.mean(paths, axis=0))
    masked = [
        dict(zip(*list(each["masking"].values())[::2], strict=True)) for each in drawn.trainings("selector L1", (0, 1))
    ]
    np.testing.assert_allclose(once["accuracy"][:3], [np.mean([each[k] for each in masked]) for k in (60, 24, 12)])


def test_genes_of_a_panel_are_counted(given, drawn):
    chosen = [set(ranking.select(24)) for ranking in drawn.rankings("selector L1", range(3))]
    row = tables.panels(given, drawn).iloc[0]
    assert (row["always chosen"], row["ever chosen"]) == (len(set.intersection(*chosen)), len(set.union(*chosen)))
    genes = tables.panel_genes(given, drawn)
    assert len(genes) == 24
    assert genes["frequency"].tolist() == [sum(gene in each for each in chosen) / 3 for gene in genes["gene"]]
    # A marker that is not among the variable genes is found by none.
    best = [set(ranking.select(24)) for ranking in drawn.rankings("MLP", (0, 1))]
    shares = [len(each & set(GENES[:10])) / 12 for each in best]
    markers = tables.planted(given, drawn).set_index("ranking").loc["MLP"]
    assert (markers["best-2k"], markers["best-2k least"]) == pytest.approx((np.mean(shares), min(shares)))


def test_a_ranking_that_is_its_start_is_told():
    """Before the first step it is the start itself; what has no start to speak of has none."""
    given = settings("conditions=[MLP, selector, selector L1, stochastic, narrowing]")
    start, other = (networks.initial_weights(given, "selector", seed, 120) for seed in (0, 1))
    assert abs(np.corrcoef(start, other)[0, 1]) < 0.25

    def like_start(ranking: str, *scores: np.ndarray) -> float:
        by_name = {results.ranking_step(ranking, seed): {"ranking": each} for seed, each in enumerate(scores)}
        parts = {"train": pg.Cells(np.zeros((1, 120)), np.array(["a"]), GENES)}
        return tables.like_start(given, results.Results("", parts, by_name), ranking)

    assert networks.initial_weights(given, "MLP", 0, 120) is None
    assert np.isnan(like_start("stochastic", start, start))
    assert np.isnan(like_start("SVM L1", start))
    assert like_start("selector", start, other**2) == pytest.approx(1.0)
    assert like_start("selector", start, -other) == pytest.approx(0.0)


def test_more_trainings_score_a_panel_anew():
    """What a step's result depends on and may change is in its name: no result of fewer trainings is taken for it."""
    names = {results.panel_step(settings(change), "selector L1") for change in ("trainings.n=2", "trainings.n=3")}
    assert len(names) == 2
    more = ("trainings.n=3", "curve=[24]", "crop.sizes=[12]", "panels.trainings=9")
    assert study.fixed(settings(*more)) == study.fixed(settings())
    for change in ("network.epochs=9", "trainings.first_seed=1", "crop.step=3"):
        assert study.fixed(settings(change)) != study.fixed(settings())


def test_equal_cells_are_known_again():
    cells = study.load_cells(settings(), "planted")
    known = study.fingerprint(cells)
    assert known == study.fingerprint(pg.Cells(cells.X.toarray(), cells.y, cells.features))
    labels, counts = cells.y.copy(), cells.X.copy()
    labels[:2] = labels[:2][::-1] if labels[0] != labels[1] else "type_9"
    counts.data[5] += 1
    for X, y in ((cells.X, labels), (counts, cells.y)):
        assert known != study.fingerprint(pg.Cells(X, y, cells.features))


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


def test_bad_settings():
    for changes, message in {
        ("trainings.n=1",): "trainings.n",
        ("conditions=[MLP, selector L3]",): "there is no 'selector L3' among",
        ("conditions=[MLP, selector]",): "must be among conditions",
        ("crop.rankings=[selector L1, narrowing]",): "must hold 'MLP'",
        ("conditions=[MLP, SVM L1]",): "there is no 'SVM L1' among",
        ("panels.conditions=[SVM L1]",): r"panels\.conditions must be among conditions",
        (
            "conditions=[MLP, selector]",
            "crop.rankings=[MLP, selector]",
            "panels.conditions=[selector]",
        ): "must hold one of selector L1, stochastic",
        ("crop.rankings=[MLP]",): r"crop\.rankings",
    }.items():
        with pytest.raises(pg.PermGradError, match=message):
            settings(*changes)
    with pytest.raises(pg.PermGradError, match=r"there is no gone\.h5ad.*--set datasets\.gone\.file=PATH"):
        study.load_cells(settings("datasets={gone: {file: gone.h5ad, target: type}}"), "gone")
    given = settings("curve=[120]")
    with pytest.raises(pg.PermGradError, match="fewer genes than the 120 that there are, got 120"):
        study.prepare(given, study.load_cells(given, "planted"))


@pytest.mark.slow
def test_steps_take_genes_from_rankings(given, drawn, monkeypatch):
    """Each step is one call, of the k best genes of the ranking and seed that its name says."""
    for work in ("rank_by_network", "rank_by_svm", "rank_only", "train_on_panel", "train_referee", "choose_panel"):
        monkeypatch.setattr(steps, work, lambda settings, parts, *given, work=work: {"work": work, "given": given})
    calls = {name: step(drawn.steps) for name, step in study.plan(given, drawn.parts).items()}
    assert calls.keys() > {results.ranking_step(name, 0) for name in given.rankings}
    best = drawn.best("selector L1", 1, 24)
    assert calls[results.crop_step("selector L1", 1, 24)]["given"] == ("selector L1", best, 1)
    assert calls[results.referee_step("narrowing", 0, 12)]["given"] == (drawn.best("narrowing", 0, 12), 0)
    assert calls[results.ranking_alone_step("selector L1", 2)]["given"] == ("selector L1", 2)
    (rankings,) = calls[results.panel_step(given, "selector L1")]["given"]
    wanted = [drawn.training("selector L1", seed)["ranking"] for seed in range(3)]
    assert [ranking.scores.tolist() for ranking in rankings] == wanted
    counts = pd.Series([call["work"] for call in calls.values()]).value_counts().to_dict()
    panels = {"train_on_panel": 4 * 2, "train_referee": 2 * 2, "rank_only": 1, "choose_panel": 1}
    assert counts == {"rank_by_svm": 2, "rank_by_network": 3 * 2, **panels}


@pytest.mark.slow
def test_the_report_says_what_is_in_it(given, drawn, tmp_path):
    text = " ".join(study.STUDY.write_report(given, drawn, tmp_path).text().split())
    assert "90 train, 90 validation, 90 test cells of 3 classes (the rarest has 10 test cells)" in text
    assert "There are 12 planted markers; 10 of them are among the highly variable genes." in text
    first = tables.panel_genes(given, drawn).iloc[0]
    assert f"*selector L1*: {first['gene']} ({first['frequency']:.0%}), " in text
    nothing_planted = {name: replace(cells, notes={}) for name, cells in drawn.parts.items()}
    text = study.STUDY.write_report(given, replace(drawn, parts=nothing_planted), tmp_path / "other").text()
    assert "marker" not in text


@pytest.fixture(scope="module")
def parts(given):
    return study.prepare(given, study.load_cells(given, "planted"))


@pytest.fixture(scope="module")
def trained(given, parts):
    trainings = [("MLP", 1), ("selector L1", 0), ("narrowing", 1)]
    ranked = {results.ranking_step(*one): steps.rank_by_network(given, parts, *one) for one in trainings}
    ranked[results.ranking_step("SVM L1", 0)] = steps.rank_by_svm(given, parts, "SVM L1")
    return results.Results("planted", parts, ranked)


@pytest.mark.slow
def test_planted_markers_are_found(given, parts, trained):
    markers = trained.markers
    for ranking, seed in (("selector L1", 0), ("narrowing", 1), ("SVM L1", 0)):
        assert pg.toy.recall(trained.best(ranking, seed, 24), markers, k=24) >= 0.9
    rankings = [trained.ranking("selector L1", 0), trained.ranking("narrowing", 1)]
    panel = steps.choose_panel(given, parts, rankings)
    assert panel["genes"] == pg.panel_of(rankings, 24).features
    assert panel["accuracy"] > 0.8
    assert panel["low"] < panel["accuracy"] < panel["high"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ranking", "seed", "curve"),
    [("MLP", 1, "masking"), ("SVM L1", 0, "masking"), ("narrowing", 1, "path")],
)
def test_curves_end_with_the_network_as_it_is(trained, ranking, seed, curve):
    """Of masking, with all genes; of a path, on test cells that its training did not see."""
    y, training = trained.parts["test"].y, trained.training(ranking, seed)
    last = pd.DataFrame(training[curve]).iloc[-1]
    assert (last["size"] == 12) if curve == "path" else (last["kept"] == 120)
    predicted = np.where(np.array(training["correct"]["test"], bool), y, "")
    assert last["accuracy"] == pytest.approx(np.mean(predicted == y))
    assert last["balanced_accuracy"] == pytest.approx(mean_class_accuracy(y, predicted))


@pytest.mark.slow
@pytest.mark.parametrize("ranking", ["selector L1", "SVM L1"])
def test_a_panel_has_a_network_of_its_own_kind_and_the_referee(given, parts, trained, ranking):
    """The own network's curve ends with the network as it is; the referee is the same for all rankings."""
    genes = trained.best(ranking, 0, 24)
    crop = steps.train_on_panel(given, parts, ranking, genes, 0)
    assert crop["genes"] == genes
    assert crop["masking"]["accuracy"][-1] == pytest.approx(np.mean(crop["own"]))
    assert crop["own"] != crop["referee"]
    if ranking == "SVM L1":
        assert crop["referee"] == steps.train_referee(given, parts, genes, 0)["referee"]


@pytest.mark.slow
def test_the_start_is_that_of_the_training(parts):
    """A network trained for no time to speak of still has the weights that `initial_weights` says it begins with."""
    given = settings("network.learning_rate=1e-9", "network.epochs=1")
    model = networks.network_on_all_genes(given, "selector L1", 0).fit(parts["train"])
    start = networks.initial_weights(given, "selector L1", 0, 120)
    np.testing.assert_allclose(np.abs(model.selector_weights_), start, rtol=1e-5)
