"""Take the README's pictures of what is seen in a browser, without a screen.

python docs/screenshot.py dashboard RESULTS_DIRECTORY PICTURE.png  # the best trial of a study
python docs/screenshot.py page RESULTS_DIRECTORY PICTURE.png  # a ranking's page: a row, and what each column adds
"""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from playwright.sync_api import Page, ViewportSize, sync_playwright

from permgrad.tuning.checkpoints import best_trials
from permgrad.tuning.dashboard import make_server

SIZE: ViewportSize = {"width": 1300, "height": 1500}
PAGE_SIZE: ViewportSize = {"width": 1300, "height": 1150}
SETTLED = 1000
"""Milliseconds in which charts are drawn."""


def dashboard(results: Path, picture: Path) -> None:
    server, url = make_server(results, None, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{results / 'study.db'}")
    with opened(f"{url}/trials?numbers={best_trials(study, 1)[0].number}", SIZE) as shown:
        shown.wait_for_selector("text=learning_curve.png")
        shown.wait_for_function("[...document.images].every(image => image.complete)")
        shown.screenshot(path=picture, full_page=True)
    server.shutdown()


def page(results: Path, picture: Path) -> None:
    with opened((results / "report.html").resolve().as_uri(), PAGE_SIZE) as shown:
        shown.get_by_role("tab", name="Rows").click()
        shown.wait_for_function("[...document.images].every(image => image.complete)")
        shown.wait_for_timeout(SETTLED)
        shown.screenshot(path=picture)


@contextmanager
def opened(url: str, size: ViewportSize) -> Iterator[Page]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        shown = browser.new_page(viewport=size)
        shown.goto(url)
        yield shown
        browser.close()


if __name__ == "__main__":
    {"dashboard": dashboard, "page": page}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
