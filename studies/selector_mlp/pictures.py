"""What the gene-panel study found, as pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from permgrad.plotting.style import colours, literal, new_figure

from . import networks
from .tables import Done, panel_unit, unit

SHOWN_CURVES = ("MLP", "selector", "selector L1", "selector L2", "clamped L1", "stochastic", *networks.SVMS)
NAMES = {"loss": "loss", "balanced_accuracy": "mean per-class accuracy"}


def draw_masking(study: Any, done: Done) -> Figure:
    """Draw loss and mean per-class accuracy with ever more of the best genes kept, means over trainings."""
    shown = [name for name in SHOWN_CURVES if name in (*study.conditions, *networks.SVMS)]
    figure = new_figure((10.0, 4.0))
    for axes, measure in zip(figure.subplots(1, 2), ("loss", "balanced_accuracy"), strict=True):
        for colour, condition in zip(colours(len(shown)), shown, strict=False):
            curves = [pd.DataFrame(unit(done, condition, random_state)["masking"]) for random_state in study.seeds]
            values = np.mean([curve[measure].to_numpy(float) for curve in curves], axis=0)
            if not np.isnan(values).all():
                axes.plot(curves[0]["kept"], values, color=colour, label=condition)
        chance = [pd.DataFrame(unit(done, networks.REFEREE, random_state)["random"]) for random_state in study.seeds]
        mean, sd = (np.mean([each[name] for each in chance], axis=0) for name in (measure, f"{measure}_sd"))
        axes.plot(chance[0]["kept"], mean, "--", color="grey", label="random orders (MLP)")
        axes.fill_between(chance[0]["kept"], mean - sd, mean + sd, color="grey", alpha=0.2, linewidth=0)
        axes.set_xlabel("best genes kept, the others 0")
        axes.set_ylabel(f"test {NAMES[measure]}")
    figure.axes[0].set_yscale("log")
    figure.legend(*figure.axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8)
    return figure


def draw_cropped(study: Any, done: Done) -> Figure:
    """Draw the masking curves of networks that were trained anew on panels, means over trainings."""
    figure = new_figure((4.8 * len(study.crop.sizes), 4.0))
    grid = figure.subplots(1, len(study.crop.sizes), sharey=True, squeeze=False)[0]
    shown = [name for name in SHOWN_CURVES if name in study.crop.rankings]
    for axes, k in zip(grid, study.crop.sizes, strict=True):
        for colour, condition in zip(colours(len(shown)), shown, strict=False):
            curves = [pd.DataFrame(done[f"{condition}, {s}, best {k}"]["masking"]) for s in study.seeds]
            values = np.mean([curve["balanced_accuracy"] for curve in curves], axis=0)
            axes.plot(curves[0]["kept"], values, color=colour, label=condition)
        axes.set_title(f"trained anew on {k} genes", fontsize=10)
        axes.set_xlabel("best of them kept, the others 0")
    grid[0].set_ylabel("test mean per-class accuracy")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    return figure


def draw_sizes(anew: pd.DataFrame, once: pd.DataFrame) -> Figure:
    """Draw mean per-class accuracy by panel size: trained anew at each size, and (dashed) by one training."""
    figure = new_figure((6.8, 4.4))
    axes = figure.add_subplot()
    for colour, (scheme, rows) in zip(colours(3), anew.groupby("scheme", sort=False), strict=False):
        axes.plot(rows["genes"], rows["accuracy"], "o-", color=colour, label=f"{scheme}, trained anew", markersize=4)
        axes.fill_between(rows["genes"], rows["low"], rows["high"], color=colour, alpha=0.15, linewidth=0)
        own = once[once["scheme"] == scheme]
        axes.plot(own["genes"], own["accuracy"], "--", color=colour, label=f"{scheme}, in one training")
    axes.set_xscale("log")
    ticks = sorted({*anew["genes"], once["genes"].max()})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set(xlabel="genes in the panel", ylabel="test mean per-class accuracy")
    axes.legend(fontsize=8)
    return figure


def draw_learning(study: Any, done: Done) -> Figure:
    """Draw each network's losses and the penalty of selectors, epoch by epoch, of the first training."""
    shown = [name for name in study.conditions if name in SHOWN_CURVES]
    figure = new_figure((10.0, 3.6))
    grid = figure.subplots(1, 3)
    for colour, condition in zip(colours(len(shown)), shown, strict=False):
        history = unit(done, condition, study.trainings.first_seed)["history"]
        for axes, measure in zip(grid, ("train_loss", "validation_loss", "penalty"), strict=True):
            if max(history[measure]) > 0:
                axes.plot(range(1, len(history[measure]) + 1), history[measure], color=colour, label=condition)
    for axes, title in zip(grid, ("training loss", "validation loss", "penalty"), strict=True):
        axes.set_title(f"{title}, in evaluation mode" if title != "penalty" else title, fontsize=10)
        axes.set_xlabel("epoch")
        axes.set_yscale("log")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    return figure


def draw_frequency(study: Any, done: Done) -> Figure:
    """Draw how often each gene is chosen over the trainings, most often first, for each panel."""
    schemes = study.panels.conditions
    figure = new_figure((4.6 * len(schemes), 3.4))
    grid = figure.subplots(1, len(schemes), sharey=True, squeeze=False)[0]
    for axes, condition in zip(grid, schemes, strict=True):
        frequency = panel_unit(study, done, condition)["table"]["frequency"]
        axes.bar(range(1, len(frequency) + 1), frequency, width=1.0, color=colours(1)[0])
        axes.axvline(study.panels.size + 0.5, color="grey", linestyle="--")
        axes.set_title(literal(condition), fontsize=10)
        axes.set_xlabel("genes, most often chosen first")
    grid[0].set_ylabel("share of trainings that choose it")
    return figure
