"""The benchmarks run, at their smallest; what they say is theirs."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.linear_model import LinearRegression

import permgrad as pg
from benchmarks import __main__ as table
from benchmarks import (
    conditional,
    explain,
    gpu,
    out_of_core,
    panel_peer,
    patches,
    planted,
    referee,
    selector_starts,
    tuning,
)
from benchmarks.nsforest_markers import rank_by_nsforest
from benchmarks.predictive import __main__ as predictive
from benchmarks.predictive import models, scores, tables


def test_an_unknown_row_is_named():
    with pytest.raises(SystemExit, match="no such row: absent; there are puma, "):
        table.main(["absent"])


def test_help_names_the_rows(capsys):
    with pytest.raises(SystemExit):
        table.main(["--help"])
    assert "puma" in capsys.readouterr().out
    known = (conditional, gpu, out_of_core, panel_peer, patches, planted, predictive, referee, selector_starts, tuning)
    for each in known:
        with pytest.raises(SystemExit, match="0"):
            each.main(["--help"])


@pytest.mark.slow
def test_nsforest_ranks_each_types_marker_first():
    pytest.importorskip("nsforest")
    y = np.repeat(["a", "b", "c"], 40)
    X = np.random.default_rng(0).uniform(0.5, 1.5, (120, 30))
    markers = {"a": 7, "b": 19, "c": 3}
    for label, gene in markers.items():
        X[:, gene] = np.where(y == label, 5.0, 0.1) * X[:, gene]
    cells = pg.Cells(sparse.csr_matrix(X.astype(np.float32)), y, tuple(f"g{i}" for i in range(30)))
    ranking = rank_by_nsforest(cells, n_trees=20)
    assert ranking.select(3) == ["g7", "g19", "g3"]  # the types' order


@pytest.fixture
def one_small_network(monkeypatch):
    monkeypatch.setattr(conditional, "N_NETWORKS", 1)
    monkeypatch.setattr(conditional, "TRAIN_ROWS", 100)


def first_cells(capsys):
    return [line.split(" | ")[0] for line in capsys.readouterr().out.splitlines()]


def test_conditional_p_values_at_their_smallest(capsys, one_small_network):
    conditional.main(["--rows", "60", "--tables", "1", "--designs", "category,sine"])
    assert first_cells(capsys) == ["| category", "| sine"]


def test_peers_of_conditional_p_values_at_their_smallest(capsys, one_small_network):
    pytest.importorskip("hidimstat")
    conditional.main(["--rows", "60", "--tables", "2", "--designs", "category,sine", "--peers"])
    conditional.main(["--rows", "60", "--tables", "1", "--designs", "binary", "--fdr", "knockoffs"])
    assert first_cells(capsys) == ["| category", "| sine", "| binary"]


@pytest.mark.slow
def test_false_discoveries_at_their_smallest(capsys, one_small_network):
    pytest.importorskip("hidimstat")
    conditional.main(["--rows", "60", "--tables", "1", "--designs", "binary", "--fdr"])
    assert first_cells(capsys) == ["| binary"]


def test_the_null_is_not_among_a_designs_relevant_columns():
    for design in (*conditional.TUNED, *conditional.JUDGED):
        X, y, null, weak, relevant = design(np.random.default_rng(0), 50)
        assert len(X) == len(y) == 50
        assert weak in relevant
        assert not relevant & set(np.atleast_1d(null).tolist())


@pytest.mark.slow
def test_selectors_starts_at_their_smallest(capsys):
    pytest.importorskip("scanpy")
    selector_starts.main(["--genes", "100", "--steps", "5", "--random-states", "1"])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| 5 |")]
    assert len(rows) == 4 * 2
    assert float(rows[0].split("|")[4]) > 0.99  # like its start, after five steps
    assert rows[1].split("|")[4].strip() == ""  # from ones there is no order to be like


@pytest.mark.slow
def test_a_row_of_the_table(capsys):
    """In a process of its own."""
    table.main(["tinto_files"])
    assert "images a second" in capsys.readouterr().out


@pytest.mark.slow
def test_an_epoch_from_disk():
    """In a process of its own: its peak of memory is that of a process and its children."""
    pytest.importorskip("anndata")
    command = [sys.executable, "-m", "benchmarks.out_of_core", "--rows", "20000", "--genes", "300"]
    assert "one epoch: " in subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_a_table_by_blocks():
    command = [sys.executable, "-m", "benchmarks.streaming", "--rows", "6000", "--epochs", "1", "--tolerance", "0.5"]
    assert "the same rows in memory: " in subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_rows_explained_beside_shap(capsys):
    explain.main(["--rows", "40", "--columns", "4", "--peer-rows", "2", "--alone"])
    assert "time of a row, theirs over ours" in capsys.readouterr().out


@pytest.mark.slow
def test_rates_of_patches(capsys):
    patches.main(["--backbones", "SmallCNN", "--images", "32", "--batch", "16"])
    said = capsys.readouterr().out
    for rate in (
        "decoded, 1 thread",
        "trained from files",
        "predicted from memory",
        "trained: the network is the limit",
    ):
        assert rate in said


@pytest.mark.slow
def test_every_precision_is_measured(capsys):
    gpu.main(["--small", "--precisions", "float32", "mixed_float16"])
    said = capsys.readouterr().out
    assert said.count("Grad-CAM, hybrid") == 2
    assert said.count("(first 8)") == 1


@pytest.mark.slow
@pytest.mark.parametrize("what", ["choices", "compare"])
def test_evidence_is_kept_and_printed(what, tmp_path, capsys, monkeypatch):
    retrain = partial(referee.remove_and_retrain, retrain_with=LinearRegression())
    monkeypatch.setattr(referee, "remove_and_retrain", retrain)  # networks take a minute
    puma = pg.load_dataset("puma8nh").take(np.arange(600))
    monkeypatch.setitem(referee.PROBLEMS, "puma8nh", lambda random_state: puma)
    options = (what, "--fast", "--problems", "puma8nh", "--random-states", "1", "--out", str(tmp_path))
    referee.main(options)
    said = capsys.readouterr().out
    assert "puma8nh: deletion | puma8nh:" in said
    referee.main(options)
    assert capsys.readouterr().out == said


@pytest.mark.slow
def test_planted_problems_are_measured_once(tmp_path, capsys):
    out = str(tmp_path / "planted.csv")
    options = ("--fast", "--problems", "ring", "--features", "8", "--only-folds", "1", "--out", out)
    planted.main(options)
    said = capsys.readouterr()
    assert "| best-2k | ring 8 |" in said.out
    assert "fold 1: " in said.err
    planted.main(options)
    assert "fold" not in capsys.readouterr().err


def test_rank_wins_and_distance_by_hand():
    """Of two tables: b is best on both, on the second together with c."""
    summary = scores.summary(pd.DataFrame({"a": [0.6, 0.7], "b": [0.9, 0.8], "c": [0.8, 0.8]}, index=["x", "y"]))
    assert summary["mean rank"].tolist() == [3, 1.25, 1.75]
    assert summary["wins"].tolist() == [0, 2, 1]
    np.testing.assert_allclose(summary["mean distance"], [0.2, 0, 0.05])


def test_calibration_error_by_hand():
    """Two rows at 0.9, one of them right; two at 0.6, both right: (2 × 0.4 + 2 × 0.4) / 4."""
    probabilities = np.array([[0.9, 0.1], [0.1, 0.9], [0.6, 0.4], [0.4, 0.6]])
    assert scores.calibration_error(np.array([0, 0, 0, 1]), probabilities) == pytest.approx(0.4)


def test_only_splits_that_all_models_have_are_compared():
    keys = [("x", 0, "a"), ("x", 0, "b"), ("x", 1, "a"), ("y", 0, "a")]
    common = scores.comparable(pd.DataFrame(keys, columns=["table", "split", "model"]))
    assert common.to_numpy().tolist() == [["x", 0, "a"], ["x", 0, "b"]]


@pytest.fixture
def small(tmp_path):
    """A file of 120 rows with gaps and categories, and what measures a linear model and a forest on it."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"number": rng.normal(size=120), "kind": rng.choice(["p", "q", "r"], 120), "noise": 1.5})
    frame["y"] = np.where((frame["number"] > 0) ^ (rng.random(120) < 0.1), "yes", "no")
    frame.loc[::9, ["number", "kind"]] = None
    frame.to_csv(tmp_path / "small.csv", index=False)
    options = ("--table", f"{tmp_path / 'small.csv'}:y", "--models", "linear", "forest", "--splits", "2")
    return (*options, "--out", str(tmp_path / "out"))


def test_predictions_are_measured_once(small, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(models, "TREES", 5)
    predictive.main(small)
    said = capsys.readouterr()
    assert "| AUC | small | 2 | 0." in said.out
    assert said.err.count("forest, split") == 2
    path = tmp_path / "out" / "results.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]) + lines[-1][:40])  # a process died while it wrote
    predictive.main(small)
    assert capsys.readouterr().err.count("split") == 1
    predictive.main(small)
    again = capsys.readouterr()
    assert again.err == ""
    assert again.out.splitlines()[2] == said.out.splitlines()[2]


def test_a_model_that_is_not_there_or_fails_is_said(small, capsys, monkeypatch):
    def broken(job):
        raise ValueError("no such luck")

    monkeypatch.setitem(models.MODELS, "forest", models.Model(broken))
    monkeypatch.setitem(models.MODELS, "xgboost", models.Model(broken, "an_absent_package"))
    predictive.main([*small[:3], "linear", "forest", "xgboost", "--splits", "1"])
    said = capsys.readouterr()
    assert "small, forest, split 0 failed: ValueError: no such luck" in said.err
    assert said.out.splitlines()[2].endswith("| not installed |")


@pytest.mark.parametrize("name", ["wine", "friedman1", "census-like", "sparse linear"])
def test_generated_tables_can_be_learnt(name):
    """A linear model predicts each well above chance, and none perfectly but wine's cultivars."""
    table = tables.at_most(tables.SUITES["other"][name](), 800)
    score = predictive.measure(table, "linear", 0, 1)["score"]
    assert 0.6 < score <= 1
