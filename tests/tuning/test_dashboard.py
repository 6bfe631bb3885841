"""The dashboard as a user sees it: in a real browser, without a screen."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import permgrad as pg
from permgrad.tuning._directory import begin
from permgrad.tuning.dashboard import make_server
from tests.tuning.conftest import small_space
from tests.tuning.stub import stub_job


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    server, url = make_server(directory, None, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield url
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def page(browser):
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    yield page
    page.close()


@pytest.fixture(scope="module")
def served(page, table, tmp_path_factory) -> Iterator[tuple[pg.TuneResult, str]]:
    out = tmp_path_factory.mktemp("dashboard") / "results"
    result = pg.tune(table, small_space, n_trials=2, out=out, settings={"epochs": 5}, pruner="none")
    with serving(out) as url:
        yield result, url


def loaded_pictures(page) -> list[str]:
    page.wait_for_selector("img")
    page.wait_for_function("[...document.images].every(image => image.complete)")
    return [
        image.get_attribute("src") for image in page.query_selector_all("img") if image.evaluate("e => e.naturalWidth")
    ]


@pytest.mark.slow
def test_the_study_opens_with_its_best_value_and_the_ranking(page, served):
    result, url = served
    page.goto(url)
    page.wait_for_selector(f"text={result.best_value}")
    body = page.inner_text("body")
    assert "small" in body
    assert f"Best Trial (number={result.best_trial.number})" in body
    assert "validation loss" in body
    page.goto(f"{url}/note")
    page.wait_for_selector("text=PermGrad ranking of trial")
    assert len(loaded_pictures(page)) == 1
    assert result.ranking.select(1)[0] in page.inner_text("table")


@pytest.mark.slow
def test_each_trial_shows_its_learning_curve_and_scores_and_the_best_one_the_ranking(page, served):
    result, url = served
    for trial in result.study.trials:
        page.goto(f"{url}/trials?numbers={trial.number}")
        page.wait_for_selector(f"text=Trial {trial.number} (trial_id")
        page.wait_for_selector("text=val_accuracy")
        page.wait_for_selector("text=learning_curve.png")
        best = trial.number == result.best_trial.number
        assert len(loaded_pictures(page)) == (2 if best else 1)
        assert ("PermGrad ranking" in page.inner_text("body")) == best


def test_it_listens_on_the_loopback_address_alone_and_refuses_what_is_no_study(table, tmp_path):
    job = stub_job(table, tmp_path / "r", n_trials=1)
    begin(job)
    with serving(job.directory) as url:
        assert url.startswith("http://127.0.0.1:")
        assert urllib.request.urlopen(url).status == 200  # noqa: S310
        foreign = urllib.request.Request(url, headers={"Host": "attacker.example:8080"})  # noqa: S310
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(foreign)  # noqa: S310
        with pytest.raises(pg.PermGradError, match="cannot listen on port"):
            make_server(job.directory, None, int(url.split(":")[2].split("/")[0]))
    with pytest.raises(pg.PermGradError, match="not a results directory of `permgrad tune`"):
        make_server(tmp_path, None, 0)
    with pytest.raises(pg.PermGradError, match="which study"):
        make_server(None, None, 0)
    with pytest.raises(pg.PermGradError, match="there is no study in .*empty.db: no such file"):
        make_server(None, f"sqlite:///{tmp_path}/empty.db", 0)
    assert not (tmp_path / "empty.db").exists()
