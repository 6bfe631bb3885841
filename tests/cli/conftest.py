"""One real run of the command line, made once per session, and a way to run commands in this process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from permgrad import cli

FAST = ["--epochs", "2", "--image-size", "8", "--n-repeats", "2"]


def shared_directory(factory: pytest.TempPathFactory) -> Path:
    """Return a directory that the processes of a test session share."""
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def csv(tmp_path_factory) -> Path:
    """A table with gaps, a category, a constant column and two columns that are nearly one."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(120, 3)), columns=["a", "b", "c"])
    frame["twin"] = frame["a"] + 0.1 * rng.normal(size=120)
    frame = frame.assign(kind=rng.choice(["u", "v"], 120), same=1, y=lambda f: np.where(f.a > 0, "high", "low"))
    frame.loc[3:5, "b"] = np.nan
    path = tmp_path_factory.mktemp("data") / "own.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def ranked(csv, tmp_path_factory) -> SimpleNamespace:
    """`permgrad rank --evaluate` in a process of its own: directory, exit code, both outputs. Not to be changed."""
    place = shared_directory(tmp_path_factory)
    out, said = place / "ranked", place / "ranked.json"
    with FileLock(place / "ranked.lock"):
        if not said.is_file():
            options = ["--target", "y", "--out", out, *FAST, "--evaluate", "--evaluate-timeout", "0"]
            command = [sys.executable, "-m", "permgrad", "rank", *map(str, [csv, *options])]
            environment = {**os.environ, "PYTHONWARNINGS": ""}
            process = subprocess.run(command, capture_output=True, text=True, env=environment)
            record = {"code": process.returncode, "stdout": process.stdout, "stderr": process.stderr}
            said.write_text(json.dumps(record))
    return SimpleNamespace(out=out, **json.loads(said.read_text()))


@pytest.fixture
def ranked_copy(ranked, tmp_path) -> Path:
    """A copy of the results that may be changed."""
    return Path(shutil.copytree(ranked.out, tmp_path / "copy"))


@pytest.fixture
def command(monkeypatch, capsys) -> Any:
    """Run a command line in this process; return its exit code and both outputs."""

    def run(*arguments: object) -> SimpleNamespace:
        monkeypatch.setattr(sys, "argv", ["permgrad", *map(str, arguments)])
        code = 0
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            try:
                cli.main()
            except SystemExit as left:
                code = left.code or 0
        printed = capsys.readouterr()
        return SimpleNamespace(code=code, stdout=printed.out, stderr=printed.err)

    return run
