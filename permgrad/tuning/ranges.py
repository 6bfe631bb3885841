"""A search space within ranges narrower than its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import optuna

from permgrad.errors import PermGradError, listing
from permgrad.tuning.spaces import Space

N_PROBES = 64
"""Random trials in which a space shows what it suggests: a name may depend on what is drawn for others."""


@dataclass(frozen=True)
class Narrowed:
    """A space that draws some of its parameters from narrower ranges; itself a space.

    Attributes
    ----------
    space : callable
    ranges : mapping
        Name of a parameter → lowest and highest value of a number, or those choices of a category that stay.
    categories : frozenset of str
        Which of these are categories; their choices may be numbers too.
    """

    space: Space
    ranges: Mapping[str, Sequence[Any]]
    categories: frozenset[str] = frozenset()

    def __call__(self, trial: Any) -> dict[str, Any]:
        """Suggest settings; the trial sees the narrower ranges alone."""
        return self.space(_Trial(trial, self.ranges) if self.ranges else trial)

    def within(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of the parameters that lie in their range, where they have one."""
        return {name: value for name, value in params.items() if self._holds(name, value)}

    def _holds(self, name: str, value: Any) -> bool:
        if name not in self.ranges:
            return True
        limits = self.ranges[name]
        return value in limits if name in self.categories else limits[0] <= value <= limits[-1]


class _Trial:
    """A trial whose suggestions are within ranges; all else is the trial's own."""

    def __init__(self, trial: Any, ranges: Mapping[str, Sequence[Any]]) -> None:
        self._trial, self._ranges = trial, ranges

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trial, name)

    def suggest_int(self, name: str, low: int, high: int, **options: Any) -> int:
        """Suggest a whole number."""
        low, high = self._narrower(name, low, high)
        return self._trial.suggest_int(name, low, high, **options)

    def suggest_float(self, name: str, low: float, high: float, **options: Any) -> float:
        """Suggest a number."""
        low, high = self._narrower(name, low, high)
        return self._trial.suggest_float(name, low, high, **options)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Suggest one of some choices."""
        kept = self._ranges.get(name, choices)
        if not kept or not set(kept) <= set(choices):
            raise PermGradError(f"ranges: {name} must be some of {listing(choices)}, got {listing(kept)}")
        return self._trial.suggest_categorical(name, list(kept))

    def _narrower(self, name: str, low: Any, high: Any) -> tuple[Any, Any]:
        given = self._ranges.get(name, (low, high))
        numbers = all(isinstance(value, (int, float)) for value in given)
        if len(given) != 2 or not numbers or not low <= given[0] <= given[1] <= high:
            raise PermGradError(
                f"ranges: {name} must have its lowest and highest value, within {low} and {high}, got {listing(given)}"
            )
        return given[0], given[1]


def narrowed(space: Space, ranges: Mapping[str, Sequence[Any]]) -> Narrowed:
    """Return the space within these ranges.

    Raises
    ------
    PermGradError
        If a range is not within the space's own, or none of some dozen random trials draws a parameter of that name.
    """
    within = Narrowed(space, ranges)
    if not ranges:
        return within
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(storage=optuna.storages.InMemoryStorage(), sampler=sampler)
    distributions: dict[str, Any] = {}
    for _ in range(N_PROBES):
        trial = study.ask()
        with suppress(optuna.TrialPruned):
            within(trial)
        distributions |= trial.distributions
    unknown = sorted(set(ranges) - set(distributions))
    if unknown:
        raise PermGradError(
            f"ranges: the space has no parameter {listing(unknown)}; it has {listing(sorted(distributions), 30)}"
        )
    categories = {
        name for name in ranges if isinstance(distributions[name], optuna.distributions.CategoricalDistribution)
    }
    return Narrowed(space, ranges, frozenset(categories))
