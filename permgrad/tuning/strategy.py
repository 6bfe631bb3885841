"""Samplers and pruners by name, seeded so that a resumed study goes on where it was."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from permgrad.errors import PermGradError, listing
from permgrad.training.config import TrainingConfig

SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda random_state: optuna.samplers.TPESampler(seed=random_state),
    "random": lambda random_state: optuna.samplers.RandomSampler(seed=random_state),
    "nsgaii": lambda random_state: optuna.samplers.NSGAIISampler(seed=random_state),
    "gp": lambda random_state: optuna.samplers.GPSampler(seed=random_state),
    "cmaes": lambda random_state: optuna.samplers.CmaEsSampler(seed=random_state),
}

PACKAGES = {"gp": "torch", "cmaes": "cmaes"}
"""What samplers need beside Optuna."""

FIRST_SHARE = 16
FIRST_STEPS = 500
"""See `first_comparison`."""

PRUNERS: dict[str, Callable[[int, int], BasePruner]] = {
    "halving": lambda epochs, first: optuna.pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=3),
    "hyperband": lambda epochs, first: optuna.pruners.HyperbandPruner(
        min_resource=first, max_resource=max(epochs, first + 1), reduction_factor=3
    ),
    "median": lambda epochs, first: optuna.pruners.MedianPruner(n_warmup_steps=first),
    "none": lambda epochs, first: optuna.pruners.NopPruner(),
}


class SeededPerTrial(BaseSampler):
    """A sampler drawn anew for each trial, seeded by the study's seed and the trial's number.

    What a trial is suggested depends on the seed, its number and the trials before it, not on which process
    asks or how often the study was stopped: no suggestion is repeated, and none depends on a restart.
    """

    def __init__(self, name: str, random_state: int) -> None:
        self.name, self.random_state = name, random_state
        self._inner = self._make(0)

    def _make(self, number: int) -> BaseSampler:
        drawn = int(np.random.SeedSequence([self.random_state, number]).generate_state(1)[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return SAMPLERS[self.name](drawn)

    def before_trial(self, study: Any, trial: Any) -> None:
        """Begin the trial's own sequence of random numbers."""
        self._inner = self._make(trial.number)
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: Any, trial: Any) -> Any:
        """As the sampler that was named."""
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> Any:
        """As the sampler that was named."""
        return self._inner.sample_relative(study, trial, search_space)

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        """As the sampler that was named."""
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
        """As the sampler that was named."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Constraints have been set, but")  # said once, where the study begins
            self._inner.after_trial(study, trial, state, values)


def first_comparison(epochs: int, steps_per_epoch: int) -> int:
    """Return the epoch, from 0, after which trials are first compared.

    A sixteenth of all epochs, put off to the 500th step where the table is small, but not beyond the epoch at
    which the learning rate is at its peak: the losses of a few dozen steps at a low rate tell little.
    """
    peak = TrainingConfig(epochs=epochs).warmup_epochs
    return min(peak, max(1, epochs // FIRST_SHARE, math.ceil(FIRST_STEPS / steps_per_epoch)))


def make_sampler(name: str, random_state: int) -> BaseSampler:
    """Return the sampler called `name`: "tpe", "random", "nsgaii", "gp" or "cmaes".

    Raises
    ------
    PermGradError
        If there is none of that name, or its package is missing.
    """
    if name not in SAMPLERS:
        raise PermGradError(f"sampler must be one of {listing(SAMPLERS)}, got {name!r}")
    package = PACKAGES.get(name)
    if package and find_spec(package) is None:
        raise PermGradError(f"sampler {name!r} needs the package {package}; pip install {package}, or choose another")
    return SeededPerTrial(name, random_state)


def make_pruner(name: str, epochs: int, steps_per_epoch: int) -> BasePruner:
    """Return the pruner called `name`: "halving" (a third goes on, thrice as far), "hyperband", "median" or "none".

    Raises
    ------
    PermGradError
        If there is none of that name.
    """
    if name not in PRUNERS:
        raise PermGradError(f"pruner must be one of {listing(PRUNERS)}, got {name!r}")
    return PRUNERS[name](epochs, first_comparison(epochs, steps_per_epoch))
