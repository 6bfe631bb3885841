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
def test_every_precision_is_measured():
    done = run("benchmarks.gpu", "--small")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Grad-CAM, hybrid") == 3
