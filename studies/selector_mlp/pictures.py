"""Pictures of the gene-panel study."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from permgrad.plotting.style import colours, literal, new_figure
from studies.selector_mlp.conditions import REFEREE, SVMS
from studies.selector_mlp.results import Results
from studies.selector_mlp.settings import PanelSettings

SHOWN_CURVES = ("MLP", "selector", "selector L1", "selector L2", "clamped L1", "stochastic", *SVMS)
NAMES = {"loss": "loss", "balanced_accuracy": "mean per-class accuracy"}


def pictures(settings: PanelSettings, results: Results, tables: Mapping[str, pd.DataFrame]) -> dict[str, Figure]:
    """Return every picture by its name."""
    return {
        "masking": draw_masking(settings, results),
        "cropped": draw_cropped(settings, results),
        "sizes": draw_sizes(tables["sizes"], tables["one_training"]),
        "learning": draw_learning(settings, results),
        "frequency": draw_frequency(settings, results),
    }


def draw_masking(settings: PanelSettings, results: Results) -> Figure:
    """Draw loss and mean per-class accuracy with ever more of the best genes kept, means over trainings."""
    shown = [name for name in SHOWN_CURVES if name in settings.rankings]
    trainings = {name: results.trainings(name, settings.seeds) for name in shown}
    chance = [pd.DataFrame(each["random"]) for each in results.trainings(REFEREE, settings.seeds)]
    figure = new_figure((10.0, 4.0))
    for axes, measure in zip(figure.subplots(1, 2), NAMES, strict=True):
        for colour, name in zip(colours(len(shown)), shown, strict=False):
            curves = [each["masking"] for each in trainings[name]]
            values = np.mean([np.array(curve[measure], float) for curve in curves], axis=0)
            if not np.isnan(values).all():
                axes.plot(curves[0]["kept"], values, color=colour, label=name)
        mean, sd = (np.mean([each[column] for each in chance], axis=0) for column in (measure, f"{measure}_sd"))
        axes.plot(chance[0]["kept"], mean, "--", color="grey", label="random orders (MLP)")
        axes.fill_between(chance[0]["kept"], mean - sd, mean + sd, color="grey", alpha=0.2, linewidth=0)
        axes.set_xlabel("best genes kept, the others 0")
        axes.set_ylabel(f"test {NAMES[measure]}")
    figure.axes[0].set_yscale("log")
    figure.legend(*figure.axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8)
    return figure


def draw_cropped(settings: PanelSettings, results: Results) -> Figure:
    """Draw the masking curves of networks that were trained anew on panels, means over trainings."""
    sizes = settings.crop.sizes
    figure = new_figure((4.8 * len(sizes), 4.0))
    grid = figure.subplots(1, len(sizes), sharey=True, squeeze=False)[0]
    shown = [name for name in SHOWN_CURVES if name in settings.crop.rankings]
    for axes, k in zip(grid, sizes, strict=True):
        for colour, ranking in zip(colours(len(shown)), shown, strict=False):
            curves = [crop["masking"] for crop in results.crops(ranking, settings.seeds, k)]
            values = np.mean([curve["balanced_accuracy"] for curve in curves], axis=0)
            axes.plot(curves[0]["kept"], values, color=colour, label=ranking)
        axes.set_title(f"trained anew on {k} genes", fontsize=10)
        axes.set_xlabel("best of them kept, the others 0")
    grid[0].set_ylabel("test mean per-class accuracy")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    return figure


def draw_sizes(retrained: pd.DataFrame, once: pd.DataFrame) -> Figure:
    """Draw mean per-class accuracy by panel size: trained anew at each size, and (dashed) by one training."""
    figure = new_figure((6.8, 4.4))
    axes = figure.add_subplot()
    for colour, (scheme, rows) in zip(colours(3), retrained.groupby("scheme", sort=False), strict=False):
        axes.plot(rows["genes"], rows["accuracy"], "o-", color=colour, label=f"{scheme}, trained anew", markersize=4)
        axes.fill_between(rows["genes"], rows["low"], rows["high"], color=colour, alpha=0.15, linewidth=0)
        own = once[once["scheme"] == scheme]
        axes.plot(own["genes"], own["accuracy"], "--", color=colour, label=f"{scheme}, in one training")
    axes.set_xscale("log")
    ticks = sorted({*retrained["genes"], once["genes"].max()})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set(xlabel="genes in the panel", ylabel="test mean per-class accuracy")
    axes.legend(fontsize=8)
    return figure


def draw_learning(settings: PanelSettings, results: Results) -> Figure:
    """Draw each network's losses and the penalty of selectors, epoch by epoch, of the first training."""
    titles = {
        "train_loss": "training loss, in evaluation mode",
        "validation_loss": "validation loss, in evaluation mode",
        "penalty": "penalty",
    }
    shown = [name for name in settings.conditions if name in SHOWN_CURVES]
    figure = new_figure((10.0, 3.6))
    grid = figure.subplots(1, 3)
    for axes, (measure, title) in zip(grid, titles.items(), strict=True):
        for colour, condition in zip(colours(len(shown)), shown, strict=False):
            values = results.training(condition, settings.trainings.first_seed)["history"][measure]
            if max(values) > 0:
                axes.plot(range(1, len(values) + 1), values, color=colour, label=condition)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("epoch")
        axes.set_yscale("log")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    return figure


def draw_frequency(settings: PanelSettings, results: Results) -> Figure:
    """Draw how often each gene is chosen over the trainings, most often first, for each panel."""
    schemes = settings.panels.conditions
    figure = new_figure((4.6 * len(schemes), 3.4))
    grid = figure.subplots(1, len(schemes), sharey=True, squeeze=False)[0]
    for axes, scheme in zip(grid, schemes, strict=True):
        frequency = results.panel(settings, scheme)["table"]["frequency"]
        axes.bar(range(1, len(frequency) + 1), frequency, width=1.0, color=colours(1)[0])
        axes.axvline(settings.panels.size + 0.5, color="grey", linestyle="--")
        axes.set_title(literal(scheme), fontsize=10)
        axes.set_xlabel("genes, most often chosen first")
    grid[0].set_ylabel("share of trainings that choose it")
    return figure
