"""Pictures of image patches: what there is of them, how well they are told apart, and where a network looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import roc_curve

from permgrad.plotting._network import overlay
from permgrad.plotting.style import colours, draw_beside, literal, new_figure

CHANCE = 0.5
CHANNELS = {"red": "tab:red", "green": "tab:green", "blue": "tab:blue"}


def plot_classes(classes: pd.DataFrame, names: Sequence[str] = ("negative", "positive")) -> Figure:
    """Draw how many patches each class has.

    Parameters
    ----------
    classes : DataFrame
        ``label``, ``patches`` and ``share``, as `PatchCheck.classes` has them.
    names : sequence of str
        Of labels 0 and 1.
    """
    figure = new_figure((4.6, 3.4))
    axes = figure.add_subplot()
    bars = axes.bar([names[label] for label in classes["label"]], classes["patches"], color=colours(2)[:2], width=0.6)
    axes.bar_label(
        bars, [f"{n:,} ({share:.1%})" for n, share in zip(classes["patches"], classes["share"], strict=True)]
    )
    axes.set(ylabel="patches")
    axes.margins(y=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def plot_pixels(pixels: np.ndarray, names: Sequence[str] = ("negative", "positive")) -> Figure:
    """Draw how often each value occurs in each channel, a line for each class.

    Parameters
    ----------
    pixels : ndarray of shape (2, 3, 256)
        Counts by label, channel and value, as `PatchCheck.pixels` has them.
    """
    figure = new_figure((10.0, 3.2))
    share = pixels / pixels.sum(axis=2, keepdims=True)
    for c, (axes, (channel, colour)) in enumerate(
        zip(figure.subplots(1, 3, sharey=True), CHANNELS.items(), strict=True)
    ):
        for label, style in ((0, ":"), (1, "-")):
            axes.plot(share[label, c], color=colour, linestyle=style, label=names[label], linewidth=1.2)
        axes.set(xlabel="value", title=channel, yscale="log")
        axes.legend()
    figure.axes[0].set_ylabel("share of pixels")
    return figure


def plot_patches(images: np.ndarray, titles: Sequence[str], columns: int = 8) -> Figure:
    """Draw patches in a grid, each under its title.

    Parameters
    ----------
    images : ndarray of shape (n, height, width, 3), uint8
    titles : sequence of str
    """
    rows = -(-len(images) // columns)
    figure = new_figure((1.3 * columns, 1.55 * rows))
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    for axes, image, title in zip(grid, images, titles, strict=False):
        axes.imshow(image)
        axes.set_title(literal(title), fontsize=8)
    return figure


def plot_heat(images: np.ndarray, heat: np.ndarray, titles: Sequence[str], rows: Mapping[str, Sequence[int]]) -> Figure:
    """Draw patches beside their heat, a line for each kind of patch.

    Parameters
    ----------
    images : ndarray of shape (n, height, width, 3), uint8
    heat : ndarray of shape (n, height, width)
        Between 0 and 1; a patch without heat says so.
    titles : sequence of str
        One for each patch.
    rows : mapping of str to sequence of int
        Name of the line → its patches; a line without any says so.
    """
    widest = max(1, *(len(line) for line in rows.values()))
    figure = new_figure((2.3 * widest + 0.9, 1.4 * len(rows)))
    grid = figure.subplots(len(rows), 2 * widest, squeeze=False)
    for line, (name, places) in zip(grid, rows.items(), strict=True):
        for axes in line:
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        line[0].set_ylabel(literal(name), fontsize=9)
        if not len(places):
            line[0].text(0.5, 0.5, "none", ha="center", va="center", transform=line[0].transAxes, fontsize=9)
        for left, right, place in zip(line[::2], line[1::2], places, strict=False):
            left.imshow(images[place])
            left.set_title(literal(titles[place]), fontsize=8, loc="left")
            right.imshow(overlay(images[place], heat[place]))
            if not heat[place].any():
                right.set_title("no heat", fontsize=8)
    figure.colorbar(ScalarMappable(Normalize(0, 1), "jet"), ax=grid, label="Grad-CAM", fraction=0.02)
    return figure


def plot_roc(
    y: Mapping[str, Any],
    scores: Mapping[str, Any],
    areas: Mapping[str, float],
    *,
    sample_weight: Any = None,
    beside: Mapping[str, Mapping[str, Any]] | None = None,
) -> Figure:
    """Draw ROC curves.

    Parameters
    ----------
    y, scores : mappings of str to arrays of shape (n_rows,)
        Name of the curve → labels 0 and 1, and scores, higher for 1.
    areas : mapping of str to float
        Written beside the names.
    sample_weight : array of shape (n_rows,), optional
        How many rows each stands for.
    beside : mapping of str to mapping, optional
        Curves of other models by name, each the ``x`` and ``y`` of its points: dashed.
    """
    figure = new_figure((5.6, 5.4))
    axes = figure.add_subplot()
    for name, colour in zip(scores, colours(len(scores)), strict=False):
        false, true, _ = roc_curve(y[name], scores[name], sample_weight=sample_weight)
        axes.plot(false, true, color=colour, label=literal(f"{name}: {areas[name]:.3f}"))
    draw_beside(axes, beside)
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="chance: 0.500")
    axes.set(xlabel="false positive rate", ylabel="true positive rate", aspect="equal")
    axes.legend(loc="lower right", fontsize=8, title="area under the curve")
    return figure


def plot_learning(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw training loss, validation AUC and rate of each epoch, a line for each training.

    Parameters
    ----------
    histories : mapping of str to DataFrame
        What `permgrad.fit_patches` returns, by name.
    """
    figure = new_figure((12.0, 3.8))
    panels = {"loss": "training loss", "val_auc": "validation AUC", "learning_rate": "learning rate, last step"}
    for axes, (column, label) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        for (name, history), colour in zip(histories.items(), colours(len(histories)), strict=False):
            axes.plot(history["epoch"], history[column], "o-", markersize=3, color=colour, label=literal(name))
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    return figure


def plot_areas(table: pd.DataFrame) -> Figure:
    """Draw areas under the curve with their intervals: a bar a row, from chance on.

    Parameters
    ----------
    table : DataFrame
        ``name``, ``auc``, ``low``, ``high``.
    """
    figure = new_figure((7.0, 1.4 + 0.3 * len(table)))
    axes = figure.add_subplot()
    places = np.arange(len(table))
    errors = np.array([table["auc"] - table["low"], table["high"] - table["auc"]])
    above = table["auc"] - CHANCE
    axes.barh(places, above, left=CHANCE, xerr=errors, color=colours(1)[0], alpha=0.75, ecolor="black", capsize=2)
    axes.set_yticks(places, [literal(name) for name in table["name"]], fontsize=8)
    axes.set(xlabel="AUC with its 95 % interval; 0.5 is chance", xlim=(min(CHANCE, float(table["low"].min())), 1.0))
    axes.invert_yaxis()
    return figure
