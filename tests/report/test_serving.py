"""The page's server: its answers are the network's, and it answers nobody else."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.client import HTTPConnection
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from permgrad.report.background import write_rows
from permgrad.report.loopback import LOOPBACK, loopback_server
from permgrad.report.page._columns import plain_value
from permgrad.report.serving import MOST_BYTES, Application, WhatIf, as_column, results_server


class Sum:
    """Probabilities by a formula of a number, a level, a truth value and a date."""

    def predict_proba(self, X):
        z = X["x"] + 2 * (X["kind"] == "u") - X["yes"].astype(float) + X["day"].dt.month / 12
        p = 1 / (1 + np.exp(-z.to_numpy(float)))
        return np.column_stack([1 - p, p])


@pytest.fixture
def rows() -> pd.DataFrame:
    frame = pd.DataFrame({"x": [0.1, 0.2, np.nan], "n": [1, 2, 3], "kind": ["u", "v", "u"], "yes": [True, False, True]})
    return frame.assign(day=pd.date_range("2024-01-01", periods=3, freq="40D"), site=pd.Categorical(["b", "a", "b"]))


@contextmanager
def served(what_if):
    server = loopback_server(Application("<p>the page</p>", what_if, "word"), 0)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    connection = HTTPConnection(LOOPBACK, server.server_port, timeout=10)

    def ask(method="POST", path="/word/what-if", body=b"{}", **headers):
        connection.request(method, path, body, {"Content-Type": "application/json", **headers})
        reply = connection.getresponse()
        return reply.status, reply.read().decode(), dict(reply.getheaders())

    yield ask
    server.shutdown()
    server.server_close()


def test_answers_are_the_estimators_also_to_several_changes(rows, tmp_path):
    write_rows(rows, tmp_path / "rows.parquet")
    changes = {"x": -1.5, "kind": "v", "yes": "False", "day": plain_value(pd.Timestamp("2025-12-01"))}
    one = rows.iloc[[2]].assign(x=-1.5, kind="v", yes=False, day=pd.Timestamp("2025-12-01"))
    with served(WhatIf(Sum(), pd.read_parquet(tmp_path / "rows.parquet"), list(rows))) as ask:
        status, said, _ = ask(body=json.dumps({"row": 2, "changes": changes}))
        assert (status, json.loads(said)["answer"]) == (200, Sum().predict_proba(one)[0].tolist())
        status, said, _ = ask(body=json.dumps({"row": 0, "changes": {}}))
        assert json.loads(said)["answer"] == Sum().predict_proba(rows.iloc[[0]])[0].tolist()


def test_who_does_not_know_the_word_or_comes_from_elsewhere_is_refused(rows):
    question = json.dumps({"row": 0, "changes": {}})
    with served(WhatIf(Sum(), rows, list(rows))) as ask:
        status, page, headers = ask("GET", "/word/", None)
        assert (status, page) == (200, "<p>the page</p>")
        assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
        assert (headers["Cache-Control"], headers["Referrer-Policy"]) == ("no-store", "no-referrer")
        for method, path in (
            ("GET", "/"),
            ("GET", "/wore/"),
            ("GET", "/word/../etc/passwd"),
            ("POST", "/wore/what-if"),
        ):
            assert ask(method, path, question)[0] == 404, path
        assert ask(body=question, Host="evil.example")[0] == 403
        assert ask("GET", "/word/", None, Host="evil.example:80")[0] == 403
        assert ask(body=question, Origin="http://evil.example")[:2] == (
            400,
            "questions of other pages are not answered\n",
        )
        assert ask(body=question, **{"Content-Type": "text/plain"})[:2] == (400, "expected application/json\n")
        assert ask(body=b"x" * (MOST_BYTES + 1))[:2] == (400, f"expected a body of at most {MOST_BYTES} bytes\n")
        for body in (b"{", b"[" * 60_000, b"\xff"):
            assert ask(body=body)[:2] == (400, "expected JSON\n")
        assert ask(body=question)[0] == 200


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ([], "expected {"),
        ({"row": 0}, "expected {"),
        ({"row": 3, "changes": {}}, "row must be a whole number from 0 to 2"),
        ({"row": True, "changes": {}}, "row must be a whole number from 0 to 2"),
        ({"row": 0, "changes": {"z": 1}}, "changes must be values of the columns 'x', 'n'"),
        ({"row": 0, "changes": {"x": "1"}}, "'x' is a number"),
        ({"row": 0, "changes": {"x": float("inf")}}, "'x' is a number"),
        ({"row": 0, "changes": {"x": 10**400}}, "'x' is a number"),
        ({"row": 0, "changes": {"x": float("nan")}}, "'x' is a number"),
        ({"row": 0, "changes": {"n": 1.5}}, "'n' is a whole number"),
        ({"row": 0, "changes": {"n": 10**30}}, "'n' holds no 1000000000000000000000000000000"),
        ({"row": 0, "changes": {"day": 1e20}}, "'day' holds no 1e+20"),
        ({"row": 0, "changes": {"site": "c"}}, "'site' is one of 'a', 'b'"),
        ({"row": 0, "changes": {"kind": 1}}, "'kind' is text"),
    ],
)
def test_what_is_no_question_is_one_line(rows, question, said):
    with pytest.raises(pg.PermGradError) as error:
        WhatIf(Sum(), rows, list(rows)).answer(question)
    assert str(error.value).startswith(said)


def test_a_value_of_the_page_is_what_the_column_holds(rows):
    for name, column in rows.items():
        for value in column.dropna():
            assert as_column(plain_value(value), column, name).tolist() == [value]


def test_a_page_that_explains_no_rows_has_no_answers():
    with served(None) as ask:
        assert ask()[:2] == (400, "this page explains no rows\n")


def test_a_directory_without_a_page_is_one_line(tmp_path):
    with pytest.raises(pg.PermGradError, match=r"has no page\.json, which permgrad rank and tune write"):
        results_server(tmp_path, 0)


@pytest.mark.slow
def test_a_served_page_is_that_of_the_directory_and_may_ask(numbers):
    server, url = results_server(numbers.path.parent, 0)
    try:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        at = urlsplit(url)
        assert (at.hostname, len(at.path) > 20) == (LOOPBACK, True)
        connection = HTTPConnection(at.hostname, at.port, timeout=30)
        connection.request("GET", at.path)
        page = connection.getresponse().read().decode()
        assert "connect-src &#39;self&#39;" in page
        assert "connect-src" not in numbers.page
        question = json.dumps({"row": 5, "changes": {"kind": "u", "few": 2, "yes": "True"}})
        connection.request("POST", f"{at.path}what-if", question, {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())["answer"]
    finally:
        server.shutdown()
        server.server_close()
    results = numbers.results
    one = results.test.X.iloc[results.carried.at[[5]]].assign(kind="u", few=2.0, yes=True)
    assert answer == pytest.approx(results.estimator.predict(one).tolist(), rel=1e-6)
