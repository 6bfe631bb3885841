"""Take the README's picture of the dashboard: the best trial of a study, in a browser without a screen.

python docs/screenshot.py RESULTS_DIRECTORY PICTURE.png
"""

from __future__ import annotations

import shutil
import sys
import threading
from pathlib import Path

import optuna
from playwright.sync_api import sync_playwright

from permgrad.tuning.checkpoints import best_trials
from permgrad.tuning.dashboard import make_server

SIZE = {"width": 1300, "height": 1500}


def main(results: Path, picture: Path) -> None:
    server, url = make_server(results, None, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{results / 'study.db'}")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE)
        page.goto(f"{url}/trials?numbers={best_trials(study, 1)[0].number}")
        page.wait_for_selector("text=learning_curve.png")
        page.wait_for_function("[...document.images].every(image => image.complete)")
        page.screenshot(path=picture, full_page=True)
        browser.close()
    server.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
