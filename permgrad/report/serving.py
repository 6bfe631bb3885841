"""The page of a results directory, served to this machine alone, with its network to answer what-if questions."""

from __future__ import annotations

import hmac
import json
import secrets
import sys
import warnings
from http import HTTPStatus
from pathlib import Path
from threading import Lock
from typing import Any
from wsgiref.simple_server import WSGIServer

import numpy as np
import pandas as pd

from permgrad.errors import PermGradError, listing
from permgrad.estimators.loading import load
from permgrad.report.background import read_rows
from permgrad.report.explained_rows import FILE as ROWS
from permgrad.report.loopback import LOOPBACK, LOOPBACK_NAMES, loopback_server
from permgrad.report.page._render import read_page, render

MOST_BYTES = 65_536
"""Of a question."""
LARGEST = sys.float_info.max
HEADERS = [
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
]


class WhatIf:
    """A network that answers for a page's rows with columns changed.

    Parameters
    ----------
    estimator : HybridClassifier or HybridRegressor
    rows : DataFrame
        Those that the page carries, in its order.
    columns : sequence of str
        That may be changed.
    """

    def __init__(self, estimator: Any, rows: pd.DataFrame, columns: Any) -> None:
        self.estimator, self.rows, self.columns = estimator, rows, list(columns)
        self._of_classes, self._turn = hasattr(estimator, "predict_proba"), Lock()

    def answer(self, question: Any) -> list[float]:
        """Return the probabilities of the classes, in their order, or the predicted value as the only one.

        Parameters
        ----------
        question : dict
            ``row``, the place of a row on the page, from 0; ``changes``, values by the names of columns: numbers, text
            of levels, and milliseconds since 1970 of dates.

        Raises
        ------
        PermGradError
            If it is no such question.
        """
        row, changes = self._checked(question)
        X = self.rows.iloc[[row]].reset_index(drop=True)
        for name, value in changes.items():
            X[name] = as_column(value, self.rows[name], name)
        with self._turn, warnings.catch_warnings():  # one question at a time
            warnings.simplefilter("ignore")  # of levels that were not seen in training
            said = self.estimator.predict_proba(X) if self._of_classes else self.estimator.predict(X)
        return np.asarray(said, float).ravel().tolist()

    def _checked(self, question: Any) -> tuple[int, dict[str, Any]]:
        if not isinstance(question, dict) or set(question) != {"row", "changes"}:
            raise PermGradError('expected {"row": number, "changes": {column: value}}')
        row, changes = question["row"], question["changes"]
        if not isinstance(row, int) or isinstance(row, bool) or not 0 <= row < len(self.rows):
            raise PermGradError(f"row must be a whole number from 0 to {len(self.rows) - 1}")
        if not isinstance(changes, dict) or not set(changes) <= set(self.columns):
            raise PermGradError(f"changes must be values of the columns {listing(self.columns, 12)}")
        return row, changes


def as_column(value: Any, column: pd.Series, name: str) -> pd.Series:
    """Return a value of the page as a column of one row, of the same kind as the column that it stands in for.

    Raises
    ------
    PermGradError
        If the column has no such values.
    """
    try:
        return pd.Series([as_cell(value, column, name)], dtype=column.dtype)
    except PermGradError:
        raise
    except (ValueError, OverflowError) as error:  # a whole number or a date that is too large
        raise PermGradError(f"{name!r} holds no {value}") from error


def as_cell(value: Any, column: pd.Series, name: str) -> Any:
    """Return a value of the page as its column has it.

    Raises
    ------
    PermGradError
        If the column has no such values.
    """
    if pd.api.types.is_bool_dtype(column) or isinstance(column.dtype, pd.CategoricalDtype):
        known = column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else [False, True]
        by_text = {str(level): level for level in known}
        if isinstance(value, str) and value in by_text:
            return by_text[value]
        raise PermGradError(f"{name!r} is one of {listing(by_text, 12)}")
    if not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column)):
        if isinstance(value, str):
            return value
        raise PermGradError(f"{name!r} is text")
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) <= LARGEST:
        raise PermGradError(f"{name!r} is a number")
    if pd.api.types.is_datetime64_any_dtype(column):
        return pd.Timestamp(value, unit="ms", tz=column.dt.tz)
    if pd.api.types.is_integer_dtype(column) and value != int(value):
        raise PermGradError(f"{name!r} is a whole number")
    return value


class Application:
    """The page at ``/TOKEN/``, and ``POST /TOKEN/what-if``: a WSGI application."""

    def __init__(self, page: str, what_if: WhatIf | None, token: str) -> None:
        self.page, self.what_if, self.token = page.encode(), what_if, token

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        """Answer a request."""
        try:
            status, kind, body = self._answered(environ)
        except PermGradError as error:
            status, kind, body = HTTPStatus.BAD_REQUEST, "text/plain; charset=utf-8", f"{error}\n".encode()
        headers = [("Content-Type", kind), ("Content-Length", str(len(body))), *HEADERS]
        start_response(f"{status.value} {status.phrase}", headers)
        return [body]

    def _answered(self, environ: dict[str, Any]) -> tuple[HTTPStatus, str, bytes]:
        path = environ.get("PATH_INFO", "").encode("latin-1")
        asks = environ["REQUEST_METHOD"] == "POST"
        if not hmac.compare_digest(path, f"/{self.token}/{'what-if' if asks else ''}".encode()):
            return HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"open the address that permgrad serve printed\n"
        if not asks:
            return HTTPStatus.OK, "text/html; charset=utf-8", self.page
        if self.what_if is None:
            raise PermGradError("this page explains no rows")
        answer = {"answer": self.what_if.answer(_question(environ))}
        return HTTPStatus.OK, "application/json", json.dumps(answer, allow_nan=False).encode()


def _question(environ: dict[str, Any]) -> Any:
    """Return the JSON of a request that comes from the page itself."""
    origin = environ.get("HTTP_ORIGIN")
    if origin is not None and origin not in {f"http://{name}:{environ['SERVER_PORT']}" for name in LOOPBACK_NAMES}:
        raise PermGradError("questions of other pages are not answered")
    if environ.get("CONTENT_TYPE", "").split(";")[0].strip() != "application/json":
        raise PermGradError("expected application/json")
    length = environ.get("CONTENT_LENGTH") or ""
    if not length.isdecimal() or not 0 < int(length) <= MOST_BYTES:
        raise PermGradError(f"expected a body of at most {MOST_BYTES} bytes")
    try:
        return json.loads(environ["wsgi.input"].read(int(length)))
    except (ValueError, RecursionError) as error:
        raise PermGradError("expected JSON") from error


def results_server(results: Path, port: int) -> tuple[WSGIServer, str]:
    """Make a server of a results directory's page, bound to the loopback address; ``serve_forever()`` starts it.

    Parameters
    ----------
    results : Path
    port : int
        0 takes any free port.

    Returns
    -------
    server : WSGIServer
    url : str
        With a random token, without which nothing is answered: other users of this machine do not know it.

    Raises
    ------
    FileFormatError, PermGradError
        If the directory has no page, a file is damaged, or the port is taken.
    """
    values = read_page(results)
    asked, what_if = values["asked"]["rows"], None
    if asked is not None:
        names = [column["name"] for column in asked["what_if"]["columns"]]
        what_if = WhatIf(load(results / "model"), read_rows(results, ROWS), names)
    token = secrets.token_urlsafe(16)
    page = render(values, results, live=what_if is not None)
    server = loopback_server(Application(page, what_if, token), port)
    return server, f"http://{LOOPBACK}:{server.server_port}/{token}/"
