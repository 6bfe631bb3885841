"""Optuna's dashboard on a study, for this machine alone."""

from __future__ import annotations

from copy import copy
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.simple_server import make_server as make_wsgi_server

import optuna
from optuna.artifacts import FileSystemArtifactStore
from optuna_dashboard import wsgi

from permgrad.errors import PermGradError
from permgrad.tuning.checkpoints import best_trials
from permgrad.tuning.storage import hide_password, open_storage, study_url

LOOPBACK = "127.0.0.1"
LOOPBACK_NAMES = (LOOPBACK, "localhost")


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal is for the address."""


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
    application = _loopback_only(wsgi(heeding_constraints(opened), artifacts))
    try:
        server = make_wsgi_server(LOOPBACK, port, application, _Server, _QuietHandler)
    except OSError as error:
        raise PermGradError(f"cannot listen on port {port}: {error.strerror}; choose another --port") from error
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


def _loopback_only(application: Any) -> Any:
    """Refuse requests that name another host: a page elsewhere could have its own name lead to this machine."""

    def checked(environ: dict[str, Any], start_response: Any) -> Any:
        host = environ.get("HTTP_HOST", "").rsplit(":", 1)[0]
        if host in LOOPBACK_NAMES:
            return application(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
        return [f"open http://{LOOPBACK} instead\n".encode()]

    return checked
