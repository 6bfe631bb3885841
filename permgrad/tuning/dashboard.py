"""Optuna's dashboard on a study, for this machine alone."""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIServer

import optuna
from optuna.artifacts import FileSystemArtifactStore
from optuna_dashboard import wsgi

from permgrad.errors import PermGradError
from permgrad.report.loopback import LOOPBACK, loopback_server
from permgrad.tuning.checkpoints import best_trials
from permgrad.tuning.storage import hide_password, open_storage, study_url


def make_server(results: Path | None, storage: str | None, port: int) -> tuple[WSGIServer, str]:
    """Make a server of the dashboard, bound to the loopback address; ``serve_forever()`` starts it.

    Parameters
    ----------
    results : Path, optional
        Directory that tuning made: its study's database, unless `storage` is given, and its artifacts.
    storage : str, optional
        See `permgrad.tuning.storage.open_storage`.
    port : int
        0 takes any free port.

    Returns
    -------
    server : WSGIServer
    url : str
        Of the study, or of the list of studies where there are several.

    Raises
    ------
    PermGradError
        If there is no study, or the port is taken.
    """
    url = study_url(results) if storage is None else storage
    opened = open_storage(url, create=False)
    studies = optuna.get_all_study_names(opened)
    if not studies:
        raise PermGradError(f"there is no study in {hide_password(url)}")
    artifacts = FileSystemArtifactStore((results or Path()) / "artifacts")
    server = loopback_server(wsgi(heeding_constraints(opened), artifacts), port)
    page = "dashboard"
    if len(studies) == 1:
        page = f"dashboard/studies/{opened.get_study_id_from_name(studies[0])}"
    return server, f"http://{LOOPBACK}:{server.server_port}/{page}"


def heeding_constraints(storage: Any) -> Any:
    """Have a storage tell the dashboard (0.21) of constraints: it knows nothing of Optuna 5's.

    Each trial has the list by which pictures tell it from others, and the best trial is the best within them, where
    there is one.
    """
    storage = optuna.storages.get_storage(storage)
    all_trials, best_of_all = storage.get_all_trials, storage.get_best_trial

    def get_best_trial(study_id: int) -> Any:
        study = optuna.load_study(study_name=storage.get_study_name_from_id(study_id), storage=storage)
        best = best_trials(study, 1)
        return best[0] if best else best_of_all(study_id)

    storage.get_all_trials = lambda *given, **more: [_with_list(trial) for trial in all_trials(*given, **more)]
    storage.get_best_trial = get_best_trial
    return storage


def _with_list(trial: Any) -> Any:
    if not trial.constraints:
        return trial
    shown = copy(trial)
    shown._system_attrs = {**trial._system_attrs, "constraints": list(trial.constraints.values())}
    return shown
