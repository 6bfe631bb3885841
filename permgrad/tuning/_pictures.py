"""Optuna's own plots of a study, as matplotlib figures."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import optuna
from matplotlib.figure import Figure
from optuna.study import StudyDirection
from optuna.trial import TrialState
from optuna.visualization import matplotlib as plots

SLICED = 6
"""Parameters, the most important ones, that the slice plot shows."""
NAMED = 15
"""Trials up to which the learning curves have a legend."""
SLICE_INCHES = (3.4, 3.4)


def study_pictures(study: optuna.Study, metrics: tuple[str, ...]) -> Iterator[tuple[str, Figure]]:
    """Draw a study: (name, figure) of its history, learning curves, parameter importance and slices.

    With two objectives, the first is drawn, and the Pareto front. What needs more
    trials than there are is left out: importance needs two complete trials.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    target: dict[str, Any] = {"target_name": metrics[0]}
    important = dict(target)
    if len(metrics) > 1:
        sign = -1 if study.directions[0] == StudyDirection.MAXIMIZE else 1
        target["target"] = lambda trial: trial.values[0]
        important["target"] = lambda trial: sign * trial.values[0]  # Optuna looks for what makes it low
    yield "tuning_history", _drawn(plots.plot_optimization_history, study, **target)
    if len({trial.values[0] for trial in complete}) > 1:
        yield "tuning_importance", _drawn(plots.plot_param_importances, study, **important)
        yield "tuning_slice", _slice(study, important.get("target"), target)
    if len(metrics) > 1:
        yield "tuning_pareto_front", _drawn(plots.plot_pareto_front, study, target_names=list(metrics))
    else:
        yield "tuning_curves", _curves(study)


def _drawn(plot: Callable[..., Any], study: optuna.Study, **options: Any) -> Figure:
    """Call one of Optuna's plots; its style and its figure's place in pyplot's list are undone."""
    with plt.rc_context(), _quiet():
        axes = np.ravel(plot(study, **options))[0]
        figure = axes.figure
        plt.close(figure)
    return figure


def _curves(study: optuna.Study) -> Figure:
    figure = _drawn(plots.plot_intermediate_values, study)
    legend = figure.axes[0].get_legend()
    if legend is not None and len(study.get_trials(deepcopy=False)) > NAMED:
        legend.remove()
    return figure


def _slice(study: optuna.Study, important: Any, target: dict[str, Any]) -> Figure:
    with _quiet():
        ranked = optuna.importance.get_param_importances(study, target=important)
    shown = list(ranked)[:SLICED]
    figure = _drawn(plots.plot_slice, study, params=shown, **target)
    figure.set_size_inches(SLICE_INCHES[0] * len(shown) + 1, SLICE_INCHES[1])
    return figure


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back that plots are experimental, and what there is to say where trials are few."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        for message in ("Some regimes for parameter", "PedAnovaImportanceEvaluator computes", "Attempting to set id"):
            warnings.filterwarnings("ignore", message=message, category=UserWarning)
        yield
