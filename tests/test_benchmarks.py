"""The benchmarks run, at their smallest; what they say is theirs."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

import permgrad as pg
from benchmarks import __main__ as table
from benchmarks import gpu, out_of_core, panel_peer, patches, planted, referee, tuning


def test_an_unknown_row_is_named():
    with pytest.raises(SystemExit, match="no such row: absent; there are puma, "):
        table.main(["absent"])


def test_help_names_the_rows(capsys):
    with pytest.raises(SystemExit):
        table.main(["--help"])
    assert "puma" in capsys.readouterr().out
    for each in (gpu, out_of_core, panel_peer, patches, planted, referee, tuning):
        with pytest.raises(SystemExit, match="0"):
            each.main(["--help"])


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
