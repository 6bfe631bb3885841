"""What is read from results; no tracker is needed for it."""

from __future__ import annotations

import pytest

import permgrad as pg
from permgrad.errors import require
from permgrad.tracking.record import record_of
from permgrad.tuning.result import TuneResult
from permgrad.tuning.storage import load_study
from tests.tracking.conftest import HISTORY, write_ranked
from tests.tuning.stub import EPOCHS


def test_a_results_directory_is_a_run(ranked):
    record = record_of(ranked)
    assert record.name == "mine"
    assert record.params == {
        "data_name": "mine",
        "data_target": "y",
        "data_task": "classification",
        "data_rows": 120,
        "data_sha256": "ab",
        "columns": 2,
        "method": "shapley",
        "formula": "game",
        "n_repeats": 5,
        "split_random_state": 42,
        "class": "HybridClassifier",
        "dense_units": [128, 64],
        "learning_rate": 0.01,
        "layout": None,
    }
    assert record.scores == {"test_auc": 0.75, "saved_loss": 0.125}  # what is no number is left out
    assert record.curves == {f"epoch_{name}": values for name, values in HISTORY.items()}
    assert record.tags == {"command": "permgrad rank t.csv --target y", "version_permgrad": "0.1.0"}
    assert set(record.files) == {"ranking.json", "ranking.csv", "ranking.png", "model/estimator.json"}
    assert record.ranking == pg.FeatureRanking.load(ranked / "ranking.json")
    assert record.trials == ()


def test_a_file_that_permgrad_did_not_write_is_not_taken(ranked):
    (ranked / "secret.txt").write_text("mine")
    assert "secret.txt" not in record_of(ranked).files


def test_a_study_has_its_trials(studied):
    record = record_of(studied)
    assert (record.name, record.ranking, len(record.trials)) == ("small", None, 2)
    for trial in record.trials:
        x = trial.params["x"]
        curve = [abs(x - 0.3) + 1 / (epoch + 1) for epoch in range(EPOCHS)]
        assert trial.curves == {"epoch_val_loss": pytest.approx(curve)}
        assert trial.scores["val_loss"] == pytest.approx(curve[-1])
        assert trial.scores["parameters"] == round(100 * x)
        assert trial.tags == {"state": "complete"}
    assert [trial.name for trial in record.trials] == ["trial 0", "trial 1"]
    assert record == record_of(TuneResult(load_study(studied), studied, ("loss",), None, None, None))


def test_the_best_trials_ranking_is_the_studys(studied):
    write_ranked(studied)
    record = record_of(studied)
    assert (record.name, record.scores["test_auc"], len(record.trials)) == ("small", 0.75, 2)


def test_a_study_that_is_elsewhere_is_found_by_its_storage(studied, tmp_path):
    moved = (studied / "study.db").rename(tmp_path / "other.db")
    with pytest.raises(pg.PermGradError, match="is in another storage; give its --storage too"):
        record_of(studied)
    assert len(record_of(studied, f"sqlite:///{moved}").trials) == 2


def test_a_directory_of_something_else_is_one_error(tmp_path):
    with pytest.raises(pg.FileFormatError, match=r"has no ranking\.json, which permgrad rank and tune write"):
        record_of(tmp_path)


def test_a_missing_extra_is_one_error_that_says_what_to_install():
    require("mlflow", "logging to MLflow", "json")
    expected = "logging to MLflow needs the package no_such_package: pip install 'permgrad[mlflow]'"
    with pytest.raises(pg.PermGradError) as raised:
        require("mlflow", "logging to MLflow", "json", "no_such_package")
    assert str(raised.value) == expected
