"""A record → an MLflow run, with a nested run for each trial of a study."""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from permgrad.errors import PermGradError, require
from permgrad.tracking.record import Record, record_of

if TYPE_CHECKING:
    from permgrad.importance.ranking import FeatureRanking
    from permgrad.tuning.result import TuneResult

FORBIDDEN = re.compile(r"[^\w.\- ]")
"""Not allowed in MLflow's names. MLflow accepts slashes and colons, but they have a meaning on its pages."""


def log_to_mlflow(
    results: str | Path | FeatureRanking | TuneResult, *, run_name: str | None = None, storage: str | None = None
) -> str:
    """Log results as one MLflow run: settings as parameters, scores and curves as metrics, files as artifacts.

    The run goes to the tracking URI and experiment that MLflow uses (`mlflow.set_tracking_uri`, `mlflow.set_experiment`
    or the environment variables of the same names). If a run is active, the new run is nested in it. Each trial of a
    tuning study is a run nested in the study's run. Nothing is trained or read again.

    Parameters
    ----------
    results : path, FeatureRanking or TuneResult
        A directory of `permgrad rank` or `permgrad tune`, a ranking alone, or the result of `permgrad.tune`.
    run_name : str, optional
        By default the name of the table, or of the study.
    storage : str, optional
        URL of the study's storage, if the study's directory does not hold it; see `permgrad.tune`.

    Returns
    -------
    str
        The run's id.

    Raises
    ------
    PermGradError
        If MLflow is not installed or refuses the request; if there are no results, or they are damaged.

    Notes
    -----
    Metrics are scores on the test rows, such as ``test_auc``; ``saved_loss``, the loss that the network saves in total;
    and ``epoch_loss``, ``epoch_val_loss`` and the like after each epoch, from step 1. Artifacts are all files in the
    manifest of the results: the table of the ranking, pictures, page and network. The page and ``background.parquet``
    hold test rows.

    Examples
    --------
    >>> import mlflow
    >>> mlflow.set_tracking_uri("sqlite:///mlflow.db")
    >>> run = pg.log_to_mlflow(ranking, run_name="iris")
    >>> mlflow.get_run(run).info.run_name
    'iris'
    """
    mlflow = _imported()
    record = record_of(results, storage)
    with _refusals(mlflow):
        active = mlflow.active_run() is not None
        with mlflow.start_run(run_name=run_name or record.name, nested=active) as run:
            _log(mlflow, record)
            for trial in record.trials:
                with mlflow.start_run(run_name=trial.name, nested=True):
                    _log(mlflow, trial)
    return run.info.run_id


def use_experiment(experiment: str, tracking_uri: str | None = None) -> str:
    """Send this process's runs to an experiment, create it if it is absent, and return the tracking URI.

    Raises
    ------
    PermGradError
        If MLflow is not installed or refuses the request.
    """
    mlflow = _imported()
    with _refusals(mlflow):
        if tracking_uri is not None:
            mlflow.set_tracking_uri(tracking_uri)
        mlflow.set_experiment(experiment)
        return mlflow.get_tracking_uri()


def _imported() -> Any:
    require("mlflow", "logging to MLflow", "mlflow")
    import mlflow

    return mlflow


@contextmanager
def _refusals(mlflow: Any) -> Iterator[None]:
    """Raise MLflow's refusals as our own error."""
    try:
        yield
    except mlflow.exceptions.MlflowException as error:
        raise PermGradError(f"MLflow at {mlflow.get_tracking_uri()} refused: {str(error).splitlines()[0]}") from error


def _log(mlflow: Any, record: Record) -> None:
    """Log a record to the active run."""
    mlflow.log_params({_name(name): _text(value) for name, value in record.params.items()})
    mlflow.set_tags({_name(f"permgrad.{name}"): value for name, value in record.tags.items()})
    now = int(time.time() * 1000)
    metric = mlflow.entities.Metric
    metrics = [metric(_name(name), value, now, 0) for name, value in record.scores.items()]
    for name, values in record.curves.items():
        metrics += [metric(_name(name), value, now, epoch) for epoch, value in enumerate(values, 1)]
    mlflow.MlflowClient().log_batch(mlflow.active_run().info.run_id, metrics=metrics)
    for name, path in record.files.items():
        mlflow.log_artifact(str(path), Path(name).parent.as_posix().strip("."))
    if record.ranking is not None and not record.files:
        _log_ranking(mlflow, record.ranking)


def _log_ranking(mlflow: Any, ranking: FeatureRanking) -> None:
    """Log a ranking without files, as the files that a results directory would have."""
    with tempfile.TemporaryDirectory() as scratch:
        ranking.table.to_csv(Path(scratch) / "ranking.csv", index=False)
        ranking.save(Path(scratch) / "ranking.json")
        ranking.plot().savefig(Path(scratch) / "ranking.png")
        mlflow.log_artifacts(scratch)


def _name(name: str) -> str:
    return FORBIDDEN.sub("_", str(name))


def _text(value: Any) -> str:
    """Return a parameter as MLflow shows it; values that are not plain become JSON."""
    return json.dumps(value) if isinstance(value, (list, tuple, dict)) else str(value)
