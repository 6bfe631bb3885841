from __future__ import annotations

from types import SimpleNamespace


def test_the_address_is_said_and_the_server_closed_by_an_interrupt(command, monkeypatch, tmp_path):
    asked, closed = [], []

    def interrupt():
        raise KeyboardInterrupt

    server = SimpleNamespace(serve_forever=interrupt, server_close=lambda: closed.append(True))
    monkeypatch.setattr(
        "permgrad.tuning.dashboard.make_server", lambda *given: (asked.append(given), (server, "http://x"))[1]
    )
    ran = command("dashboard", tmp_path, "--port", "0")
    assert (ran.code, ran.stdout) == (0, "http://x\nCtrl-C ends it\n")
    assert asked == [(tmp_path, None, 0)]
    assert closed == [True]


def test_a_directory_of_something_else_is_refused(command, tmp_path):
    refused = command("dashboard", tmp_path)
    assert (refused.code, refused.stderr.count("\n")) == (2, 1)
    assert "not a results directory of `permgrad tune`" in refused.stderr
