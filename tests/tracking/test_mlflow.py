"""Runs are written to a database on the disk, and read back by MLflow's own client."""

from __future__ import annotations

from pathlib import Path

import pytest

import permgrad as pg
from permgrad.tracking.to_mlflow import use_experiment
from tests.tracking.conftest import HISTORY

mlflow = pytest.importorskip("mlflow", reason="pip install 'permgrad[mlflow]'")
pytestmark = [
    pytest.mark.slow,  # making MLflow's database takes two seconds
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy"),  # MLflow, of SQLAlchemy 2.1
]


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """MLflow's client of a database, to which runs go from here on."""
    place, before = tmp_path_factory.mktemp("mlflow"), mlflow.get_tracking_uri()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)  # artifacts lie beside it
        use_experiment("ours", f"sqlite:///{place / 'mlflow.db'}")
        yield mlflow.MlflowClient()
    mlflow.set_tracking_uri(before)


def test_a_run_has_settings_scores_curves_and_files(client, ranked):
    use_experiment("ours")
    run = client.get_run(pg.log_to_mlflow(ranked))
    assert client.get_experiment(run.info.experiment_id).name == "ours"
    assert (run.info.run_name, run.info.status) == ("mine", "FINISHED")
    assert run.data.params.items() >= {"dense_units": "[128, 64]", "learning_rate": "0.01", "data_rows": "120"}.items()
    assert run.data.metrics == {"test_auc": 0.75, "saved_loss": 0.125, "epoch_loss": 0.25, "epoch_val_loss": 0.5}
    assert run.data.tags["permgrad.command"] == "permgrad rank t.csv --target y"
    for name, values in HISTORY.items():
        found = client.get_metric_history(run.info.run_id, f"epoch_{name}")
        assert [(point.step, point.value) for point in found] == list(enumerate(values, 1))
    paths = {file.path for place in (None, "model") for file in client.list_artifacts(run.info.run_id, place)}
    assert paths == {"ranking.json", "ranking.csv", "ranking.png", "model", "model/estimator.json"}
    copy = Path(client.download_artifacts(run.info.run_id, "ranking.csv"))
    assert copy.read_text() == (ranked / "ranking.csv").read_text()

    with mlflow.start_run() as outer:  # a ranking alone, within a run of the user's own
        inner = client.get_run(pg.log_to_mlflow(pg.FeatureRanking.load(ranked / "ranking.json"), run_name="alone"))
    assert inner.data.tags["mlflow.parentRunId"] == outer.info.run_id
    assert inner.info.run_name == "alone"
    assert {f.path for f in client.list_artifacts(inner.info.run_id)} == {"ranking.csv", "ranking.json", "ranking.png"}


def test_a_studys_trials_are_nested_runs(client, studied, command):
    done = command("export", studied, "--mlflow", "tuned")
    assert done.code == 0, done.stderr
    experiment = client.get_experiment_by_name("tuned").experiment_id
    runs = {run.info.run_name: run for run in client.search_runs([experiment])}
    assert set(runs) == {"small", "trial 0", "trial 1"}
    assert f"run {runs['small'].info.run_id} at sqlite:///" in done.stdout
    for name in ("trial 0", "trial 1"):
        assert runs[name].data.tags["mlflow.parentRunId"] == runs["small"].info.run_id
        x = float(runs[name].data.params["x"])
        assert runs[name].data.metrics["val_loss"] == pytest.approx(abs(x - 0.3) + 1 / 4)
    refused = command("export", studied, "--mlflow", "")
    assert refused.code == 2
    assert "permgrad: MLflow at sqlite:///" in refused.stderr
    assert "refused" in refused.stderr


def test_names_are_what_mlflow_takes(client):
    use_experiment("ours")
    settings = {"estimator": {"lr:of layer/1": 0.5, "<i>": 2}}
    ranking = pg.FeatureRanking(("a",), [1.0], method="shapley", settings=settings)
    run = client.get_run(pg.log_to_mlflow(ranking))
    assert run.data.params.items() >= {"lr_of layer_1": "0.5", "_i_": "2"}.items()
