"""Results directories without a training: of a ranking, and of a study of stub trials."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from permgrad.directories import new_directory
from permgrad.files import write_json
from permgrad.plotting.style import new_figure
from permgrad.tuning import checkpoints
from tests.cli.conftest import command as command  # a fixture
from tests.tuning.stub import run, stub_job

HISTORY = {"loss": [0.9, 0.5, 0.25], "val_loss": [1.0, 0.75, 0.5]}
SETTINGS = {
    "formula": "game",
    "n_repeats": 5,
    "split_random_state": 42,
    "total": 0.125,
    "test_scores": {"auc": 0.75, "log_loss": float("nan")},
    "calibration": None,
    "data": {"name": "mine", "target": "y", "task": "classification", "rows": 120, "sha256": "ab", "path": "/t.csv"},
    "estimator": {"class": "HybridClassifier", "dense_units": [128, 64], "learning_rate": 0.01, "layout": None},
    "command": "permgrad rank t.csv --target y",
    "versions": {"permgrad": "0.1.0"},
}


def write_ranked(directory: Path) -> None:
    """Write what of a results directory is looked at."""
    pg.FeatureRanking(("a|b", "c"), np.array([0.1, 0.025]), method="shapley", settings=SETTINGS).save(
        directory / "ranking.json"
    )
    (directory / "ranking.csv").write_text("feature,score\na|b,0.1\nc,0.025\n")
    new_figure((1, 1)).savefig(directory / "ranking.png", dpi=20)
    (directory / "model").mkdir()
    write_json(directory / "model" / "estimator.json", {"kind": "permgrad.Estimator", "history": HISTORY})


@pytest.fixture
def ranked(tmp_path) -> Path:
    with new_directory(tmp_path / "ranked") as staging:
        write_ranked(staging)
    return tmp_path / "ranked"


@pytest.fixture(scope="session")
def stub_study(tmp_path_factory) -> Path:
    """Two complete stub trials; no ranking. Not to be changed."""
    X = pd.DataFrame({"a": np.arange(60.0)})
    table = pg.Table(X, np.where(X.a % 2, "high", "low"), name="small")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "write_estimator", lambda estimator, directory: None)
        patch.setattr("permgrad.tuning._worker.note_trial", lambda *_: None)
        job = stub_job(table, tmp_path_factory.mktemp("tracking") / "studied", n_trials=2)
        run(job)
    return job.directory


@pytest.fixture
def studied(stub_study, tmp_path) -> Path:
    """A copy of the study that may be changed."""
    return Path(shutil.copytree(stub_study, tmp_path / "studied"))
