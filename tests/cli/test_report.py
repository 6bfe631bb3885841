from __future__ import annotations

import json
from types import SimpleNamespace


def test_the_page_is_drawn_again_without_the_table(command, ranked_copy, tmp_path):
    page = ranked_copy / "report.html"
    first = page.read_bytes()
    page.unlink()
    done = command("report", ranked_copy)
    assert (done.code, done.stdout) == (0, f"{page}\n"), done.stderr
    assert page.read_bytes() == first
    assert command("report", ranked_copy, "--out", tmp_path / "other.html").code == 0
    assert (tmp_path / "other.html").read_bytes() == first


def test_a_directory_without_a_page_is_one_line(command, ranked_copy, tmp_path):
    assert "has no page.json, which permgrad rank and tune write" in command("report", tmp_path).stderr
    (ranked_copy / "page.json").write_text(json.dumps({"kind": "other"}))
    wrong = command("report", ranked_copy)
    assert wrong.code == 2
    assert "permgrad.Page" in wrong.stderr


def test_a_served_pages_address_is_said_and_the_server_closed_by_an_interrupt(command, monkeypatch, tmp_path):
    asked, closed = [], []

    def interrupt():
        raise KeyboardInterrupt

    server = SimpleNamespace(serve_forever=interrupt, server_close=lambda: closed.append(True))
    monkeypatch.setattr(
        "permgrad.report.serving.results_server", lambda *given: (asked.append(given), (server, "http://x"))[1]
    )
    ran = command("serve", tmp_path, "--port", "0")
    assert (ran.code, ran.stdout, asked, closed) == (0, "http://x\nCtrl-C ends it\n", [(tmp_path, 0)], [True])
