"""The benchmarks run, at their smallest; what they say is theirs."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import permgrad as pg
from benchmarks import __main__ as table
from benchmarks import (
    conditional,
    encodings,
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
from benchmarks.predictive import models, paired, scores, tables


def test_an_unknown_row_is_named():
    with pytest.raises(SystemExit, match="no such row: absent; there are puma, "):
        table.main(["absent"])


def test_help_names_the_rows(capsys):
    with pytest.raises(SystemExit):
        table.main(["--help"])
    assert "puma" in capsys.readouterr().out
    known = (conditional, encodings, gpu, out_of_core, panel_peer, patches, planted, predictive, referee)
    for each in (*known, selector_starts, tuning):
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
    conditional.main(["--rows", "60", "--tables", "1", "--designs", "category"])
    conditional.main(["--rows", "60", "--tables", "1", "--designs", "sine", "--first"])
    assert first_cells(capsys) == ["| category", "| sine"]


@pytest.mark.slow
def test_seconds_of_conditional_p_values_at_their_smallest(capsys, one_small_network):
    conditional.main(["--rows", "20", "--seconds", "8"])
    assert first_cells(capsys) == ["| 20"]


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


def test_comparison_by_hand(capsys):
    """The game is 0.1 ahead on one table, 0.3 on another: 0.2 ± 0.1 on both."""
    table = pd.DataFrame(
        [
            (referee.GAME, "x", 0.5, 0.6),
            (referee.GAME, "y", 0.9, 0.8),
            ("other", "x", 0.4, 0.7),
            ("other", "y", 0.6, 0.5),
        ],
        columns=["ranking", "problem", "deletion", "retrain"],
    )
    referee.print_comparison(table.assign(random_state=0, spread=0.01, found=float("nan"), score=0.75))
    said = capsys.readouterr().out.splitlines()
    assert said[1:5:3] == ["| deletion | x | y | mean |", "| other | 0.40 | 0.60 | 0.50 |"]
    assert said[6] == "| retrain, ± 0.010 from training to training | x | y | mean |"
    assert said[8:10] == ["| the game (the score) | **0.60** | 0.80 | 0.70 |", "| other | 0.70 | **0.50** | **0.60** |"]
    assert "| other | +0.200 ± 0.100 | 2 of 2 |" in said
    assert said[-1] == "The networks' accuracy or R²: x 0.75, y 0.75"


@pytest.mark.slow
@pytest.mark.parametrize("what", ["choices", "compare"])
def test_evidence_is_kept_and_printed(what, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(referee, "TRAININGS", 1)
    puma = pg.load_dataset("puma8nh").take(np.arange(600))
    monkeypatch.setitem(referee.PROBLEMS, "puma8nh", lambda random_state: puma)
    options = (what, "--fast", "--problems", "puma8nh", "--random-states", "1", "--out", str(tmp_path))
    referee.main(options)
    said = capsys.readouterr().out
    assert ("puma8nh: deletion | puma8nh: found" if what == "choices" else "| found | puma8nh | mean |") in said
    referee.main(options)
    assert capsys.readouterr().out == said


@pytest.mark.slow
def test_planted_problems_are_measured_once(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(planted, "NETWORKS", {"default": {}})
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


def test_gain_of_a_setting_by_hand():
    """Splits are compared with themselves, and tables weigh alike; what the whole does not have is left out."""
    fits = [  # table, split, model, score, loss
        ("x", 0, "whole", 0.9, 1.0),
        ("x", 1, "whole", 0.8, 1.0),
        ("x", 0, "whole bare=true", 0.7, 3.0),
        ("x", 1, "whole bare=true", 0.8, 1.0),
        ("y", 0, "whole", 0.5, 3.0),
        ("y", 0, "whole bare=true", 0.4, 4.0),
        ("z", 0, "whole bare=true", 0.1, 9.0),
        ("y", 0, "other", 0.9, 0.1),
    ]
    found = paired.gains(pd.DataFrame(fits, columns=["table", "split", "model", "score", "loss"]), "whole")
    assert found.index.tolist() == ["bare=true"]
    of = found.loc["bare=true"]
    assert (of["lower"], of["tables"], of["fits"]) == (2, 2, 3)
    assert (of["score"], of["score ±"]) == (pytest.approx(0.1), pytest.approx(0, abs=1e-9))  # 0.1 on both tables
    # 1 - 1 / 2 and 1 - 3 / 4; of two values the standard error is half their distance.
    assert (of["loss"], of["loss ±"]) == (pytest.approx(0.375), pytest.approx(12.7062 * 0.125, rel=1e-5))


@pytest.fixture
def three_splits():
    """Fits of models a and b on two tables; on the first, b's score is higher by 1, 2 and 3, its loss lower by 1."""
    keys = pd.MultiIndex.from_product([["x", "y"], range(3), ["a", "b"]], names=["table", "split", "model"])
    figures = pd.DataFrame({"score": [0.0, 1, 5, 7, 2, 5, 3, 3, 4, 4, 5, 5], "loss": [2.0, 1] * 3 + [1, 1] * 3}, keys)
    return figures.reset_index()


def test_paired_differences_by_hand(three_splits):
    """Mean 2, variance 1, Student's t with two degrees of freedom; 20 test rows on 60 training rows."""
    found = paired.differences(three_splits, "a")
    margin = 4.302653 * np.sqrt(1 / 3 + 20 / 60)
    expected = {"table": ["x", "y"], "difference": [2, 0], "low": [2 - margin, 0], "high": [2 + margin, 0]}
    pd.testing.assert_frame_equal(found[list(expected)], pd.DataFrame(expected), check_dtype=False)
    total = paired.over_tables(found).iloc[0]  # of 2 and 0: mean 1, standard error 1
    np.testing.assert_allclose(total[["difference", "low", "high"]].astype(float), [1, 1 - 12.7062, 1 + 12.7062], 1e-5)
    assert total[["better", "worse", "clearly better", "clearly worse"]].tolist() == [1, 0, 0, 0]


def test_a_lower_loss_is_better(three_splits):
    total = paired.over_tables(paired.differences(three_splits, "a", "loss"), -1).iloc[0]
    assert total[["better", "worse", "clearly better", "clearly worse"]].tolist() == [1, 0, 1, 0]


def test_differences_need_two_common_splits(three_splits):
    once = three_splits[(three_splits["split"] == 0) | (three_splits["model"] == "a")]
    assert paired.differences(once, "a").empty
    assert paired.paired_report(once, "a").count("no table has two splits") == 2


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
    predictive.main([*small, "--first-split", "1", "--splits", "1"])
    later = capsys.readouterr()
    assert later.err == ""
    assert "| AUC | small | 1 | 0." in later.out
    predictive.main([*small, "--against", "linear"])
    again = capsys.readouterr()
    assert again.err == ""
    assert again.out.splitlines()[2] == said.out.splitlines()[2]
    assert "| score, and differences from it | splits | linear | forest |" in again.out


@pytest.mark.parametrize("wrong", [("--against", "hist"), ("--models", "linear", "--against", "forest")])
def test_a_comparison_that_cannot_be_is_refused(small, wrong, capsys):
    with pytest.raises(SystemExit, match="2"):
        predictive.main([*small, *wrong])
    assert "--against takes one of --models" in capsys.readouterr().err


def test_a_model_that_is_not_there_or_fails_is_said(small, capsys, monkeypatch):
    def broken(job):
        raise ValueError("no such luck")

    monkeypatch.setitem(models.MODELS, "forest", models.Model(broken))
    monkeypatch.setitem(models.MODELS, "xgboost", models.Model(broken, "an_absent_package"))
    predictive.main([*small[:3], "linear", "forest", "xgboost", "--splits", "1"])
    said = capsys.readouterr()
    assert "small, forest, split 0 failed: ValueError: no such luck" in said.err
    assert said.out.splitlines()[2].endswith("| not installed |")


@pytest.fixture
def copies():
    """Twelve columns: three, four times each."""
    rng = np.random.default_rng(0)
    return pg.Table(np.repeat(rng.random((60, 3)), 4, axis=1), rng.random(60), name="copies")


@pytest.mark.filterwarnings("ignore:.*features share")
@pytest.mark.parametrize(("method", "shown"), [("tinto", 3), ("deepinsight", 3), ("igtd", 12), ("refined", 12)])
def test_copies_of_a_column_share_its_pixel_where_a_layout_lets_them(copies, method, shown):
    assert encodings.pixels(copies, method, "wide", range(2)) == (12, shown, 20)


@pytest.mark.filterwarnings("ignore:.*features share")
def test_layouts_are_told_with_their_distance_from_tinto(copies):
    """REFINED is 0.1 and 0.3 better on two splits: mean 0.2, variance 0.02."""
    scores = {encodings.OWN["tinto"]: (0.5, 0.5), encodings.OWN["refined"]: (0.6, 0.8)}
    rows = [("copies", model, i, each[i], 0.0) for model, each in scores.items() for i in range(2)]
    figures = pd.DataFrame(rows, columns=["table", "model", "split", "score", "loss"])
    said = encodings.report(figures, [copies], range(1)).splitlines()
    assert "| copies | tinto | 0.5000 |  |" in said[2]
    margin = 12.7062 * np.sqrt((1 / 2 + 20 / 60) * 0.02)
    assert f"| copies | refined | 0.7000 | +0.2000 [{0.2 - margin:+.4f}, {0.2 + margin:+.4f}] | the same |" in said[6]
    assert said[6].endswith("| 12 for 12 columns, 6 × 6 | 12 for 12 columns, 20 × 20 |")


@pytest.mark.parametrize("name", ["wine", "friedman1", "census-like", "sparse linear"])
def test_generated_tables_can_be_learnt(name):
    """A linear model predicts each well above chance, and none perfectly but wine's cultivars."""
    table = tables.at_most(tables.SUITES["other"][name](), 800)
    score = predictive.measure(table, "linear", 0, 1)["score"]
    assert 0.6 < score <= 1
