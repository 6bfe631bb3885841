"""Optuna's dashboard on a study, for this machine alone."""

from __future__ import annotations

from pathlib import Path
from wsgiref.simple_server import WSGIServer

import optuna
from optuna.artifacts import FileSystemArtifactStore
from optuna_dashboard import wsgi

from permgrad.directories import is_study
from permgrad.errors import PermGradError
from permgrad.report.loopback import LOOPBACK, loopback_server
from permgrad.tuning.storage import hide_password, open_storage


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
    server = loopback_server(wsgi(opened, artifacts), port)
    page = "dashboard"
    if len(studies) == 1:
        page = f"dashboard/studies/{opened.get_study_id_from_name(studies[0])}"
    return server, f"http://{LOOPBACK}:{server.server_port}/{page}"


def _database(results: Path | None) -> str:
    if results is None:
        raise PermGradError("which study? name the results directory of `permgrad tune`, or a --storage")
    database = results / "study.db"
    if database.is_file():
        return f"sqlite:///{database}"
    if results.is_dir() and is_study(results):
        raise PermGradError(f"the study of {results} is in another storage; give its --storage too")
    raise PermGradError(f"{results} is no results directory of `permgrad tune`")
