"""When to end a study before its total: the last trials gained less than the best value is uncertain by."""

from __future__ import annotations

import optuna
from optuna.trial import FrozenTrial

from permgrad.tuning.checkpoints import best_of
from permgrad.tuning.constraints import is_feasible
from permgrad.tuning.study import ERROR, finished


def reason_to_end(study: optuna.Study, n: int) -> str | None:
    """Say why a study of one objective may end; None where it may not.

    It may where its last `n` finished trials bettered the best value before them by no more than the best value's
    standard error over the validation rows. Trials are taken in the order of their numbers, and nothing but what is
    stored counts: every process, now or later, comes to the same answer.

    Parameters
    ----------
    study : optuna.Study
    n : int
        Complete and pruned trials; those beyond a constraint tell nothing of gains, and do not count.
    """
    trials = sorted(filter(is_feasible, finished(study)), key=lambda trial: trial.number)
    before, best = best_of(study, trials[:-n], 1), best_of(study, trials, 1)
    if not before:
        return None
    gain, error = abs(_value(before[0]) - _value(best[0])), best[0].user_attrs.get(ERROR, 0.0)
    if gain > error:
        return None
    return (
        f"ended after {len(trials)} trials: the last {n} gained {gain:.3g}, no more than the standard error"
        f" {error:.3g} of the best value, {_value(best[0]):.5g} (trial {best[0].number})"
    )


def _value(trial: FrozenTrial) -> float:
    return trial.values[0]
