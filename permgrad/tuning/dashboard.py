"""Optuna's dashboard on a study, for this machine alone."""

from __future__ import annotations

from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.simple_server import make_server as make_wsgi_server

import optuna
from optuna.artifacts import FileSystemArtifactStore
from optuna_dashboard import wsgi

from permgrad.directories import is_study
from permgrad.errors import PermGradError
from permgrad.tuning.storage import hide_password, open_storage

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
    url = _database(results) if storage is None else storage
    opened = open_storage(url, create=False)
    studies = optuna.get_all_study_names(opened)
    if not studies:
        raise PermGradError(f"there is no study in {hide_password(url)}")
    artifacts = FileSystemArtifactStore((results or Path()) / "artifacts")
    try:
        server = make_wsgi_server(LOOPBACK, port, _loopback_only(wsgi(opened, artifacts)), _Server, _QuietHandler)
    except OSError as error:
        raise PermGradError(f"cannot listen on port {port}: {error.strerror}; choose another --port") from error
    page = "dashboard"
    if len(studies) == 1:
        page = f"dashboard/studies/{opened.get_study_id_from_name(studies[0])}"
    return server, f"http://{LOOPBACK}:{server.server_port}/{page}"


def _loopback_only(application: Any) -> Any:
    """Refuse requests that name another host: a page elsewhere could have its own name lead to this machine."""

    def checked(environ: dict[str, Any], start_response: Any) -> Any:
        host = environ.get("HTTP_HOST", "").rsplit(":", 1)[0]
        if host in LOOPBACK_NAMES:
            return application(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
        return [f"open http://{LOOPBACK} instead\n".encode()]

    return checked


def _database(results: Path | None) -> str:
    if results is None:
        raise PermGradError("which study? name the results directory of `permgrad tune`, or a --storage")
    database = results / "study.db"
    if database.is_file():
        return f"sqlite:///{database}"
    if results.is_dir() and is_study(results):
        raise PermGradError(f"the study of {results} is in another storage; give its --storage too")
    raise PermGradError(f"{results} is not a results directory of `permgrad tune`")
