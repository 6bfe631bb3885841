"""The benchmarks run, at their smallest; what they say is theirs."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_row_of_the_table():
    done = run("benchmarks", "tinto_files")
    assert done.returncode == 0, done.stderr
    assert "images a second" in done.stdout


def test_an_unknown_row_is_named():
    done = run("benchmarks", "absent")
    assert done.returncode == 1
    assert "no such row: absent; there are puma, " in done.stderr


@pytest.mark.slow
def test_an_epoch_from_disk():
    pytest.importorskip("anndata")
    done = run("benchmarks.out_of_core", "--rows", "50000", "--genes", "300")
    assert done.returncode == 0, done.stderr
    assert "one epoch: " in done.stdout


@pytest.mark.slow
def test_rates_of_patches():
    done = run("benchmarks.patches", "--backbones", "SmallCNN", "--images", "64", "--batch", "16")
    assert done.returncode == 0, done.stderr
    for said in (
        "decoded, 1 thread",
        "trained from files",
        "predicted from memory",
        "trained: the network is the limit",
    ):
        assert said in done.stdout


@pytest.mark.slow
def test_every_precision_is_measured():
    done = run("benchmarks.gpu", "--small")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Grad-CAM, hybrid") == 3


@pytest.mark.slow
@pytest.mark.parametrize("what", ["choices", "compare"])
def test_evidence_is_kept_and_printed(what, tmp_path):
    options = (what, "--fast", "--problems", "puma8nh", "--random-states", "1", "--out", tmp_path)
    done = run("benchmarks.referee", *options)
    assert done.returncode == 0, done.stderr
    assert "puma8nh: deletion | puma8nh:" in done.stdout
    assert run("benchmarks.referee", *options).stdout == done.stdout


@pytest.mark.slow
def test_planted_problems_are_measured_once(tmp_path):
    options = ("--fast", "--problems", "ring", "--features", "8", "--out", tmp_path / "planted.csv")
    done = run("benchmarks.planted", *options)
    assert done.returncode == 0, done.stderr
    assert "| best-2k | ring 8 |" in done.stdout
    assert "fold" not in run("benchmarks.planted", *options).stderr
