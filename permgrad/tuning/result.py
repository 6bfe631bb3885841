"""What tuning gives: the study, its best trial and network, and the ranking."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pandas as pd
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from permgrad.data.html import html_table
from permgrad.data.table import Table
from permgrad.errors import PermGradError
from permgrad.estimators.hybrid import HybridClassifier, HybridRegressor
from permgrad.importance.ranking import FeatureRanking
from permgrad.tuning import checkpoints
from permgrad.tuning.constraints import is_feasible, told
from permgrad.tuning.study import FAILURE, SETTINGS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRIALS_SHOWN = 10


@dataclass(frozen=True, eq=False)
class TuneResult:
    """The result of a tuning study: the best network and its ranking.

    Attributes
    ----------
    study : optuna.Study
    directory : Path
        Where its files are.
    metrics : tuple of str
        What the trials' values are.
    val : Table
        Rows that trials were compared on.
    test : Table
        Rows that no trial saw.
    ranking : FeatureRanking or None
        Of the best network, on `test`, its settings and test scores with it; None where the network is
        on another machine.

    Examples
    --------
    >>> result = pg.tune(table, "mlp", n_trials=1, out="tuned", settings={"epochs": 1}, ranges={"optimizer": ["adam"]})
    >>> result.metrics, len(result.trials)
    (('loss',), 1)
    """

    study: optuna.Study
    directory: Path
    metrics: tuple[str, ...]
    val: Table
    test: Table
    ranking: FeatureRanking | None

    @property
    def best_trial(self) -> FrozenTrial:
        """The best complete trial within the constraints; of two objectives, the best of `best_trials` in the first."""
        return best_trial(self.study)

    @property
    def best_trials(self) -> list[FrozenTrial]:
        """With two objectives the Pareto front, by the first objective; else the best trial alone."""
        return checkpoints.best_trials(self.study, 1)

    @property
    def best_params(self) -> dict[str, Any]:
        """What was suggested to the best trial."""
        return self.best_trial.params

    @property
    def best_value(self) -> float:
        """Value of the best trial (of the first objective)."""
        return self.best_trial.values[0]

    @cached_property
    def best_model(self) -> HybridClassifier | HybridRegressor:
        """The best trial's estimator, loaded, and checked to give its stored validation loss again."""
        return checkpoints.read(self.directory / "trials", self.best_trial, self.val)

    @property
    def trials(self) -> pd.DataFrame:
        """One row for each trial, see `trials_table`."""
        return trials_table(self.study, self.metrics)

    @property
    def table(self) -> pd.DataFrame:
        """The same as `trials`."""
        return self.trials

    def plot(self) -> Figure:
        """Draw the value of each trial, and the best value so far.

        Examples
        --------
        >>> result = pg.tune(table, "mlp", n_trials=1, out="tuned", settings={"epochs": 1})
        >>> figure = result.plot()
        """
        from permgrad.tuning._pictures import study_pictures

        return next(study_pictures(self.study, self.metrics))[1]

    def _repr_html_(self) -> str:
        trials = self.trials
        known = [name for name in ("number", "state", *self.metrics, *self.best_params) if name in trials]
        best = trials.loc[[self.best_trial.number], known]
        rising = self.study.directions[0] != StudyDirection.MAXIMIZE
        others = trials[known].drop(index=self.best_trial.number).sort_values(self.metrics[0], ascending=rising)
        told = f"{len(trials)} trials, the best {self.metrics[0]} {self.best_value:.4g}"
        return html_table(told, pd.concat([best, others]), most=TRIALS_SHOWN)

    @property
    def epochs_saved(self) -> int:
        """Epochs that pruning saved, see `epochs_saved`."""
        return epochs_saved(self.study)


def best_trial(study: optuna.Study) -> FrozenTrial:
    """Return the best complete trial that keeps within the constraints.

    Raises
    ------
    PermGradError
        If no trial is complete, or none keeps within them.
    """
    best = checkpoints.best_trials(study, 1)
    if best:
        return best[0]
    trials = study.get_trials(deepcopy=False)
    beyond = [trial for trial in trials if trial.constraints and not is_feasible(trial)]
    if beyond:
        raise PermGradError(_none_feasible(study, beyond))
    states = Counter(trial.state.name.lower() for trial in trials)
    counts = ", ".join(f"{n} {state}" for state, n in states.items()) or "none was begun"
    reasons = [trial.user_attrs[FAILURE] for trial in trials if FAILURE in trial.user_attrs]
    last = f"; the last failure: {reasons[-1]}" if reasons else ""
    raise PermGradError(f"no trial is complete ({counts}){last}")


def _none_feasible(study: optuna.Study, beyond: list[FrozenTrial]) -> str:
    limits = study.user_attrs[SETTINGS]["constraints"]
    broken = Counter(name for trial in beyond for name, by in trial.constraints.items() if by > 0)
    counts = ", ".join(f"{name} in {n}" for name, n in broken.most_common())
    return (
        f"no complete trial keeps within the constraints ({told(limits)}); of {len(beyond)} trials beyond them:"
        f" {counts}. Go on with more trials, or begin a study of another name with wider ones"
    )


def epochs_saved(study: optuna.Study) -> int:
    """Estimate the epochs that pruning saved: a pruned trial is taken to have run as long as the mean complete one."""
    epochs = {
        state: [trial.user_attrs["epochs"] for trial in study.get_trials(deepcopy=False, states=(state,))]
        for state in (TrialState.COMPLETE, TrialState.PRUNED)
    }
    complete, pruned = epochs[TrialState.COMPLETE], [n for n in epochs[TrialState.PRUNED] if n]
    usual = sum(complete) / len(complete) if complete else 0.0
    return round(sum(max(0.0, usual - n) for n in pruned))


def trials_table(study: optuna.Study, metrics: tuple[str, ...]) -> pd.DataFrame:
    """Return one row for each trial: number, state, objectives, what was suggested, scores, size, time, failure.

    Where there are constraints, ``feasible`` says whether the trial keeps within them.
    """
    rows = [
        {
            "number": trial.number,
            "state": trial.state.name.lower(),
            **dict(zip(metrics, trial.values or (), strict=False)),
            **trial.params,
            **trial.user_attrs,
            **({"feasible": is_feasible(trial)} if trial.constraints else {}),
        }
        for trial in study.get_trials(deepcopy=False)
    ]
    return pd.DataFrame(rows)
