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
"""In MLflow's names; slashes and colons, which it takes, mean something to its pages."""


def log_to_mlflow(
    results: str | Path | FeatureRanking | TuneResult, *, run_name: str | None = None, storage: str | None = None
) -> str:
    """Log results as one MLflow run: settings as parameters, scores and curves as metrics, files as artifacts.

    The run goes where MLflow has been told to put runs (`mlflow.set_tracking_uri`, `mlflow.set_experiment` or the
    environment variables of the same names), and is nested where a run is active. Each trial of a tuning study is a
    run nested in it. Nothing is trained or read again.

    Parameters
    ----------
    results : path, FeatureRanking or TuneResult
        A directory of `permgrad rank` or `tune`, a ranking alone, or what `permgrad.tune` returned.
    run_name : str, optional
        By default the table's name, or the study's.
    storage : str, optional
        URL of the study's storage, where a study's directory has none; see `permgrad.tune`.

    Returns
    -------
    str
        The run's id.

    Raises
    ------
    PermGradError
        If MLflow is not installed, or refuses; if there are no results, or they are damaged.

    Notes
    -----
    Metrics are ``test_auc`` and the like, of the test rows; ``saved_loss``, what the network saves of the loss in all;
    and after each epoch, from step 1, ``epoch_loss``, ``epoch_val_loss`` and the like. Artifacts are all files that
    the results' manifest lists: the ranking's table, pictures, page and network. The page and ``background.parquet``
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
    """Have this process's runs go to an experiment, made where it is absent; return where MLflow keeps it.

    Raises
    ------
    PermGradError
        If MLflow is not installed, or refuses.
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
    """Raise what MLflow refuses as an error of ours."""
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
    """Log a ranking that comes without files: as the files that a results directory has of it."""
    with tempfile.TemporaryDirectory() as scratch:
        ranking.table.to_csv(Path(scratch) / "ranking.csv", index=False)
        ranking.save(Path(scratch) / "ranking.json")
        ranking.plot().savefig(Path(scratch) / "ranking.png")
        mlflow.log_artifacts(scratch)


def _name(name: str) -> str:
    return FORBIDDEN.sub("_", str(name))


def _text(value: Any) -> str:
    """Return a parameter as MLflow shows it: JSON of what is not plain."""
    return json.dumps(value) if isinstance(value, (list, tuple, dict)) else str(value)
