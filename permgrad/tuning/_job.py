"""All that a process needs to take part in a study."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from permgrad.tuning.objective import Objective, direction
from permgrad.tuning.spaces import BATCH_SIZE
from permgrad.tuning.storage import open_storage
from permgrad.tuning.strategy import make_pruner, make_sampler
from permgrad.tuning.study import open_study


@dataclass(frozen=True)
class Job:
    """All that a process needs to take part in a study.

    Attributes
    ----------
    url : str
        Of the storage, see `open_storage`.
    name : str
        Of the study.
    objective : Objective
    identity : dict
        What every resumption must share, see `open_study`.
    directory : Path
        Results directory: ``trials/`` and ``artifacts/`` are made in it.
    n_trials : int
        Complete and pruned trials that the study is to have in all.
    deadline : float or None
        Seconds since the epoch after which no trial is begun.
    sampler, pruner : str
    random_state : int
    keep : int
        Number of best trials whose networks are kept.
    terminate : int or None
        Trials in a row after which the study may end, see `reason_to_end`.
    rank : bool
        Rank the columns by the best network in the end.
    """

    url: str
    name: str
    objective: Objective
    identity: dict[str, Any]
    directory: Path
    n_trials: int
    deadline: float | None
    sampler: str
    pruner: str
    random_state: int
    keep: int
    terminate: int | None = None
    rank: bool = True

    def open(self) -> tuple[optuna.Study, Any]:
        """Open (or create) the study, and its storage."""
        storage = open_storage(self.url)
        directions = [direction(metric) for metric in self.objective.metrics]
        study = open_study(storage, self.name, self.identity, directions)
        study.sampler = make_sampler(self.sampler, self.random_state)
        study.pruner = make_pruner(self.pruner, self.epochs, self.steps_per_epoch)
        return study, storage

    @property
    def epochs(self) -> int:
        """Epochs of a trial that is not pruned, where the space does not decide."""
        return self.objective.settings["epochs"]

    @property
    def steps_per_epoch(self) -> int:
        """Batches of the training rows, in the published size."""
        return math.ceil(len(self.objective.train) / BATCH_SIZE)

    @property
    def networks(self) -> Path:
        """Directory of the best trials' networks."""
        return self.directory / "trials"

    @property
    def artifacts(self) -> Path:
        """Directory of what the dashboard shows beside numbers."""
        return self.directory / "artifacts"

    @property
    def is_late(self) -> bool:
        """Tell whether the time to begin trials is over."""
        return self.deadline is not None and time.time() > self.deadline
