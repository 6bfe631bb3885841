"""Pictures of what a ranking is worth: removal curves, retraining, sanity check, agreement, stability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from permgrad.plotting.style import LETTER, colours, literal, longest, method_title, new_figure, short

ORDERS: dict[str, tuple[str, Any]] = {"most": ("most relevant first", "-"), "least": ("least relevant first", "--")}
PANELS = 2
"""Panels side by side."""
MAX_VALUES = 12
"""Rankings up to which each cell of the agreement's picture holds its number."""


def plot_curves(evaluation: Any) -> Figure:
    """Draw the loss against the share of columns replaced, one panel for each way of replacing them.

    Solid: most relevant columns first; dashed: least relevant first. The ranking under test comes first and
    is drawn thicker than its peers.

    Parameters
    ----------
    evaluation : RankingEvaluation
        Of its ``curves``, those of deletion are drawn; insertion is the same read backwards.
    """
    curves = evaluation.curves[evaluation.curves["curve"] == "deletion"]
    panels, names = _unique(curves["replacement"]), _unique(curves["ranking"])
    n_rows, n_columns = -(-len(panels) // PANELS), min(len(panels), PANELS)
    figure = new_figure((max(6.0, 4.2 * n_columns), 1.2 + 3.4 * n_rows))
    grid = figure.subplots(n_rows, n_columns, squeeze=False)  # rows far from the table's make losses of another size
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, panel in zip(grid.flat, panels, strict=False):
        shown = curves[curves["replacement"] == panel]
        for (name, order), curve in shown.groupby(["ranking", "order"], sort=False):
            axes.plot(*_line(curve, "loss"), linestyle=ORDERS[order][1], **_style(names, name))
        axes.set_title(literal(f"replaced by: {panel}"), fontsize=10)
        axes.set_xlabel("share of columns replaced")
    for axes in grid[:, 0]:
        axes.set_ylabel("loss on test rows")
    lines = [Line2D([], [], **_style(names, name), label=_title(name)) for name in names]
    lines += [Line2D([], [], color="black", linestyle=style, label=label) for label, style in ORDERS.values()]
    _legend(figure, lines)
    return figure


def plot_retraining(evaluation: Any) -> Figure:
    """Draw the score of networks trained anew without each ranking's best columns, against the share removed.

    Lines: the mean over seeds; bands: from the least to the greatest.
    """
    of_seeds = evaluation.retrain.groupby(["ranking", "share"], sort=False)["score"]
    retrain = of_seeds.agg(score="mean", low="min", high="max").reset_index()
    names = _unique(retrain["ranking"])
    figure = new_figure((6.4, 4.4))
    axes = figure.add_subplot()
    for name, curve in retrain.groupby("ranking", sort=False):
        axes.plot(*_line(curve, "score"), marker="o", markersize=4, **_style(names, name))
        low, high = _line(curve, "low"), _line(curve, "high")
        axes.fill_between(low[0], low[1], high[1], color=_style(names, name)["color"], alpha=0.15, linewidth=0)
    axes.set(xlabel="share of columns removed before training", ylabel="test score after training anew")
    _legend(figure, [Line2D([], [], **_style(names, name), label=_title(name)) for name in names])
    return figure


def plot_sanity(evaluation: Any) -> Figure:
    """Draw how alike rankings stay while the network forgets: its weights made random, step by step, from the output.

    A cross at the right end is the ranking of a network that learned shuffled labels. A ranking that explains
    what the network learned falls towards 0.
    """
    sanity = evaluation.sanity
    names = _unique(sanity["ranking"])
    steps = sanity[sanity["test"] == "weights"]
    figure = new_figure((6.4, 4.4))
    axes = figure.add_subplot()
    for name, curve in steps.groupby("ranking", sort=False):
        axes.plot(curve["step"], curve["spearman"], marker="o", markersize=4, **_style(names, name))
    ticks = {int(step): "trained" if step == 0 else f"{step:g}" for step in steps["step"]}
    shuffled = sanity[sanity["test"] == "labels"]
    end = max(ticks, default=-1) + 1
    for name, value in zip(shuffled["ranking"], shuffled["spearman"], strict=True):
        axes.plot([end], [value], marker="X", markersize=8, **_style(names, name))
    if len(shuffled):
        ticks[end] = "shuffled\nlabels"
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.set(xlabel="steps of randomised layers", ylabel="Spearman with the ranking\nof the trained network")
    _legend(figure, [Line2D([], [], **_style(names, name), label=_title(name)) for name in names])
    return figure


def plot_agreement(matrix: pd.DataFrame) -> Figure:
    """Draw the rank correlations of several rankings with each other.

    Parameters
    ----------
    matrix : DataFrame of shape (n_rankings, n_rankings)
        Spearman correlations; index and columns name the rankings.
    """
    n = len(matrix)
    named = max(0.0, LETTER * longest([_title(name) for name in matrix.index]) - 1.6)
    figure = new_figure((3.4 + 0.45 * n + named, 2.6 + 0.45 * n + 0.7 * named))
    axes = figure.add_subplot()
    values = matrix.to_numpy(float)
    shown = axes.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1)
    names = [_title(name) for name in matrix.index]
    axes.set_xticks(range(n), names, rotation=40, ha="right")
    axes.set_yticks(range(n), names)
    for row, column in np.ndindex(values.shape) if n <= MAX_VALUES else ():
        value = values[row, column]
        text = "–" if np.isnan(value) else f"{value:z.2f}"
        axes.text(column, row, text, ha="center", va="center", color="white" if abs(value) > 0.6 else "black")
    figure.colorbar(shown, ax=axes, label="Spearman correlation", fraction=0.046)
    return figure


def plot_stability(stability: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw how alike rankings stay when the network is trained again, one panel for each kind of training.

    Parameters
    ----------
    stability : mapping of kind to mapping of ranking's name to RankStability
        ``nogueira`` with its 95 % ``nogueira_interval``, and ``spearman``.
    """
    names = list(dict.fromkeys(name for parts in stability.values() for name in parts))
    figure = new_figure((max(6.4, 3.6 * len(stability)), 1.8 + 0.4 * len(names)))
    grid = figure.subplots(1, len(stability), sharey=True, sharex=True, squeeze=False)[0]
    index, spearman = colours(2)[:2]
    for axes, (kind, parts) in zip(grid, stability.items(), strict=True):
        for name, part in parts.items():
            place = names.index(name)
            axes.plot(part.nogueira_interval, [place, place], color=index)
            axes.plot([part.nogueira], [place], "o", color=index)
            axes.plot([part.spearman], [place], "^", color=spearman)
        axes.set_title(literal(kind), fontsize=10)
        axes.set_xlabel("1: always the same")
        axes.axvline(1, color="grey", linewidth=0.8)
    grid[0].set_yticks(range(len(names)), [_title(name) for name in names])
    grid[0].set_ylim(len(names) - 0.5, -0.5)
    marks = [Line2D([], [], color=index, marker="o", label="Nogueira's index of the best columns, 95 % interval")]
    marks += [Line2D([], [], color=spearman, marker="^", linestyle="", label="Spearman")]
    _legend(figure, marks, columns=2)
    return figure


def _legend(figure: Figure, lines: list[Line2D], columns: int = 3) -> None:
    figure.legend(handles=lines, loc="outside lower center", ncols=columns, fontsize=9, frameon=False)


def _unique(values: pd.Series) -> list[Any]:
    return list(dict.fromkeys(values))


def _line(curve: pd.DataFrame, column: str) -> tuple[pd.Series, pd.Series]:
    curve = curve.sort_values("share")
    return curve["share"], curve[column]


def _style(names: Sequence[Any], name: Any) -> dict[str, Any]:
    place = list(names).index(name)
    return {"color": colours(len(names))[place], "linewidth": 2.4 if place == 0 else 1.2}


def _title(name: Any) -> str:
    return short(method_title(str(name)))
