"""Where a study is kept: a URL → an Optuna storage."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import optuna
from optuna.storages import GrpcStorageProxy, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError, SQLAlchemyError

from permgrad.directories import STUDY_FILE, is_study
from permgrad.errors import PermGradError
from permgrad.files import read_json

STUDY_KIND = "permgrad.Study"
"""Of the file that marks a study's results directory."""
FORMS = "sqlite:///FILE, postgresql://USER:PASSWORD@HOST/DATABASE, journal:///FILE or grpc://HOST:PORT"
LOCK_SECONDS = 60
"""How long one process waits for another's write to a SQLite file."""
PROXY_SECONDS = 10
ATTEMPTS, RETRY_SECONDS = 5, 0.5


def open_storage(url: str, *, create: bool = True) -> Any:
    """Open the Optuna storage at `url`.

    What was made on the way is removed again where it cannot be opened.

    Parameters
    ----------
    url : str
        ``sqlite:///FILE`` (four slashes before an absolute path's name), ``postgresql://...`` (any URL of
        SQLAlchemy's), ``journal:///FILE`` (``journal://FILE`` for a relative path), or
        ``grpc://HOST:PORT`` of a server begun by `optuna.storages.run_grpc_proxy_server`.
    create : bool
        Make files and tables where they are absent; without it that is an error.

    Returns
    -------
    optuna.storages.BaseStorage

    Raises
    ------
    PermGradError
        If there is nothing to connect to, nothing is there and `create` is false, or the database's driver is missing.
    """
    scheme = urlsplit(url).scheme
    if scheme == "grpc":
        return _open_proxy(url)
    if scheme == "journal":
        return _open_journal(url, create)
    if not scheme:
        raise PermGradError(f"storage must be a URL: {FORMS}")  # not shown: it may hold a password
    return _open_database(url, create)


def hide_password(url: str) -> str:
    """Return `url` fit to be shown and written to files."""
    if urlsplit(url).scheme in ("grpc", "journal"):
        return url
    parsed = make_url(url)
    secret = [key for key in parsed.query if "pass" in key]
    return parsed.difference_update_query(secret).render_as_string(hide_password=True)


def study_url(results: Path | None) -> str:
    """Return the URL of the study's database in a results directory.

    Raises
    ------
    PermGradError
        If there is none.
    """
    if results is None:
        raise PermGradError("which study? name the results directory of `permgrad tune`, or a --storage")
    database = results / "study.db"
    if database.is_file():
        return f"sqlite:///{database}"
    if results.is_dir() and is_study(results):
        raise PermGradError(f"the study of {results} is in another storage; give its --storage too")
    raise PermGradError(f"{results} is not a results directory of `permgrad tune`")


def load_study(results: Path, storage: str | None = None) -> optuna.Study:
    """Load the study of a results directory, from `storage` or from the directory itself.

    Raises
    ------
    PermGradError
        If it is not there.
    """
    url = study_url(results) if storage is None else storage
    name = read_json(results / STUDY_FILE, kind=STUDY_KIND)["study"]
    try:
        return optuna.load_study(study_name=name, storage=open_storage(url, create=False))
    except KeyError as error:
        raise PermGradError(f"there is no study {name!r} in {hide_password(url)}; give its --storage") from error


def _open_proxy(url: str) -> Any:
    parts = urlsplit(url)
    try:
        host, port = parts.hostname or "localhost", parts.port or 13000
    except ValueError as error:
        raise PermGradError(f"storage must be {FORMS}; {error}") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        storage = GrpcStorageProxy(host=host, port=port)
    try:
        storage.wait_server_ready(timeout=PROXY_SECONDS)
    except ConnectionError as error:
        raise PermGradError(f"no gRPC storage proxy answers at {url}; is it running?") from error
    return storage


def _open_journal(url: str, create: bool) -> Any:
    parts = urlsplit(url)
    path = Path(parts.netloc + parts.path)  # journal:///absolute/path, journal://relative/path
    if not path.name or not path.parent.is_dir():
        raise PermGradError(f"cannot keep a journal at {path}: there is no directory {path.parent}")
    with _nothing_left_of(path, create):
        try:
            return JournalStorage(JournalFileBackend(str(path)))
        except Exception as error:  # a file that is no journal can raise anything
            raise PermGradError(f"cannot keep a journal at {path}: it cannot be opened, or is no journal") from error


@contextmanager
def _nothing_left_of(path: Path, create: bool) -> Iterator[None]:
    """Remove a storage's empty file if it was not there before and the block fails; without `create`, it must be there.

    One that is not empty may be another process's, which began at the same moment: it is kept.
    """
    there = path.exists()
    if not there and not create:
        raise PermGradError(f"there is no study in {path}: no such file")
    try:
        yield
    except PermGradError:
        if not there and path.is_file() and not path.stat().st_size:
            path.unlink(missing_ok=True)
        raise


def _open_database(url: str, create: bool) -> Any:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise PermGradError(f"storage must be {FORMS}, got one of {urlsplit(url).scheme!r}") from error
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        return _connect(url, parsed, create)
    with _nothing_left_of(Path(parsed.database), create):
        return _connect(url, parsed, create)


def _connect(url: str, parsed: URL, create: bool) -> Any:
    try:
        sqlite = parsed.get_backend_name() == "sqlite"
        if sqlite and parsed.database in (None, "", ":memory:"):
            raise PermGradError("a study in memory cannot be resumed; give the storage a file, sqlite:///FILE")
        options = {"connect_args": {"timeout": LOCK_SECONDS}} if sqlite else {"pool_pre_ping": True}
        if parsed.drivername == "postgresql":
            url = parsed.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
        storage = _create(url, options) if create else RDBStorage(url, options, skip_table_creation=True)
    except (ArgumentError, NoSuchModuleError) as error:
        raise PermGradError(f"storage must be {FORMS}, got one of {urlsplit(url).scheme!r}") from error
    except ImportError as error:
        hint = "pip install 'permgrad[postgresql]'" if "psycopg" in str(error) else "install its driver"
        raise PermGradError(f"the database's driver is missing ({error}); {hint}") from error
    except (SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError, KeyError, IndexError) as error:
        reason = (str(error.__cause__ or error).strip() or type(error).__name__).splitlines()[0]
        raise PermGradError(f"cannot open the storage {hide_password(url)}: {reason}") from error
    if sqlite:
        _serialize(storage.engine)
    return storage


def _create(url: str, options: dict[str, Any]) -> RDBStorage:
    """Connect, and make Optuna's tables; where another process makes them at this moment, wait for it."""
    for _ in range(ATTEMPTS - 1):
        try:
            return RDBStorage(url, engine_kwargs=options)
        except (DBAPIError, optuna.exceptions.StorageInternalError) as error:
            failure = error if isinstance(error, DBAPIError) else error.__cause__
            if isinstance(failure, OperationalError) and "exists" not in str(failure):
                raise  # nothing to connect to
            time.sleep(RETRY_SECONDS)
    return RDBStorage(url, engine_kwargs=options)


def _serialize(engine: Any) -> None:
    """Let each transaction take SQLite's write lock at its start.

    Optuna claims a trial by SELECT ... FOR UPDATE, which SQLite ignores: two processes could claim one
    trial, or give two trials one number. The recipe is SQLAlchemy's (dialects/sqlite, "Serializable isolation").
    """

    @event.listens_for(engine, "connect")
    def _leave_transactions_to_us(connection: Any, _: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()  # connections made before this are not listened to
