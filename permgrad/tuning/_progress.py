"""One line in the terminal that says how far a study is."""

from __future__ import annotations

import sys
import time
from typing import Any

import optuna
from tqdm.auto import tqdm

from permgrad.tuning.checkpoints import best_trials
from permgrad.tuning.study import finished

REFRESH_SECONDS = 1.0


class Progress:
    """One line in the terminal: finished trials of the total, the best so far, what goes on, time left."""

    def __init__(self, study: optuna.Study, n_trials: int, verbose: bool) -> None:
        self.study, self.n_trials = study, n_trials
        self.refreshed = 0.0
        self.said: set[str] = set()
        self.bar = tqdm(
            total=n_trials,
            initial=min(n_trials, len(finished(study))),
            desc=study.study_name,
            unit="trial",
            smoothing=0,  # trials differ by a factor of a hundred: the mean foretells best
            disable=not verbose,
            dynamic_ncols=True,
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: Any) -> None:
        self._count()
        self.bar.close()

    def say(self, line: str) -> None:
        """Show a line above the bar; workers may all say the same, which is shown once."""
        if not self.bar.disable and line not in self.said:
            self.said.add(line)
            self.bar.write(f"note: {line}", file=sys.stderr)

    def show(self, activity: str = "") -> None:
        """Bring the line up to date, at most once a second."""
        if self.bar.disable or time.monotonic() - self.refreshed < REFRESH_SECONDS:
            return
        self.refreshed = time.monotonic()
        self._count(activity)

    def _count(self, activity: str = "") -> None:
        best = best_trials(self.study, 1)
        value = f"best {best[0].values[0]:.5g} (trial {best[0].number})" if best else ""
        self.bar.set_postfix_str(", ".join(filter(None, (value, activity))), refresh=False)
        self.bar.n = min(self.n_trials, len(finished(self.study)))
        self.bar.refresh()
