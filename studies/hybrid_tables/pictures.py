"""The study's pictures. Nothing is trained here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

import permgrad as pg
from permgrad import plotting
from permgrad.plotting.style import colours, literal, new_figure
from studies.hybrid_tables.ranking_tables import explained_rankings
from studies.hybrid_tables.results import DatasetResults, Results
from studies.hybrid_tables.score_tables import SCORES
from studies.hybrid_tables.settings import HybridSettings
from studies.kit import Picture

TOP = 10
BEST = "best baseline"
DPI, COLOURS = 65, 96


def pictures(settings: HybridSettings, results: Results, tables: Mapping[str, pd.DataFrame]) -> dict[str, Picture]:
    """Draw every picture that there are results for."""
    scores, layouts, recalls = (tables[name] for name in ("scores", "layouts", "recall"))
    figures: dict[str, Figure] = {}
    if len(scores):
        figures["scores"] = plot_models(scores)
    if "mean" in layouts:
        figures["layouts"] = plot_layouts(layouts)
    if len(recalls):
        figures["recall"] = plot_recalls(recalls, [settings.explained, *settings.contenders])
    for result in results:
        figures |= published_pictures(result)
    return {  # a palette breaks the colour bar of a heat map into bands
        name: Picture(figure, DPI, None if name.startswith("sample") else COLOURS) for name, figure in figures.items()
    }


def published_pictures(result: DatasetResults) -> dict[str, Figure]:
    """Draw what the published notebooks show of one data set: rankings, layout, a row's image and its Grad-CAM."""
    if result.permgrad is None:
        return {}
    figures = {}
    for formula, ranking in explained_rankings(result).items():
        figure = plotting.plot_ranking(ranking, top=TOP)
        weights = ", ".join(f"{branch} {weight:.2f}" for branch, weight in ranking.trusted_weights.items())
        title = f"{result.label}, {formula} formula\nbranch weights: {weights or 'alike; the loss is that of guessing'}"
        figure.axes[0].set_title(literal(title), fontsize=11)
        figures[f"ranking_{result.name}_{formula}"] = figure
    layout = pg.FeatureLayout.from_dict(result.permgrad["layout"])
    figures[f"network_{result.name}"] = plotting.plot_network(result.permgrad["boxes"])
    figures[f"layout_{result.name}"] = plotting.plot_layout(layout)
    if "shared pixels" in result.mistakes:
        shared = pg.FeatureLayout.from_dict(result.mistakes["shared pixels"]["layout"])
        figures[f"layout_{result.name}_published"] = plotting.plot_layout(shared)
    sample = result.permgrad["sample"]
    image, heat = np.array(sample["image"]), np.array(sample["heat"])
    title = f"{result.label}, {sample['title']}"
    figures[f"sample_{result.name}"] = plotting.plot_sample(image, heat, title, layout)
    return figures


def plot_models(scores: pd.DataFrame) -> Figure:
    """Draw each model's mean score with its interval over seeds: one panel for each data set, best model on top."""
    main = scores[scores["score"].isin([names[0] for names in SCORES.values()])]
    names = list(dict.fromkeys(scores["kind"]))
    kinds = dict(zip(names, colours(len(names)), strict=False))
    panels = list(main.groupby("dataset", sort=False))
    tallest = max(len(rows) for _, rows in panels)
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    figure = new_figure((4.2 * columns, lines * (1.5 + 0.26 * tallest)))
    for axes, (dataset, rows) in zip(figure.subplots(lines, columns, squeeze=False).flat, panels, strict=False):
        rows = rows.sort_values("mean")
        for place, row in enumerate(rows.to_dict("records")):
            colour = kinds[row["kind"]]
            axes.hlines(place, row["low"], row["high"], color=colour)
            axes.plot(row["mean"], place, "o", color=colour)
        axes.set_yticks(range(len(rows)), [literal(name) for name in rows["model"]])
        axes.set(title=literal(dataset), xlabel=rows["score"].iloc[0])
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.margins(y=0.08)
        axes.grid(axis="x", color="lightgrey", linewidth=0.5)
    for axes in figure.axes[len(panels) :]:
        axes.set_visible(False)
    for label, colour in kinds.items():
        figure.axes[0].plot([], [], "o-", color=colour, label=label)
    figure.legend(loc="outside lower center", ncols=len(kinds), frameon=False)
    return figure


def plot_layouts(layouts: pd.DataFrame) -> Figure:
    """Draw each layout's score, and its ranking's correlation with the tuned network's, against the image's size."""
    known = layouts.dropna(subset=["mean"])
    panels = list(known.groupby("dataset", sort=False))
    figure = new_figure((3.4 * len(panels) + 1.6, 5.4))
    grid = figure.subplots(2, len(panels), squeeze=False, sharex=True)
    kinds = list(dict.fromkeys(layouts["layout"]))
    for column, (dataset, rows) in enumerate(panels):
        for kind, colour in zip(kinds, colours(len(kinds)), strict=False):
            line = rows[rows["layout"] == kind].sort_values("size")
            grid[0, column].plot(line["size"], line["mean"], "o-", color=colour, label=literal(kind))
            grid[1, column].plot(line["size"], line["default formula"], "o-", color=colour)
        grid[0, column].set(title=literal(dataset), ylabel=rows["score"].iloc[0])
        grid[1, column].set(xlabel="image size", ylabel="rank correlation", ylim=(-0.05, 1.05))
        grid[1, column].set_xticks(sorted(known["size"].unique()))
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(kinds), frameon=False)
    return figure


def plot_recalls(recalls: pd.DataFrame, networks: Sequence[str]) -> Figure:
    """Draw each class's recall, smallest class first: one panel for each data set.

    Of these networks, of that with balanced classes, and of the best baseline (by balanced accuracy).
    """
    panels = list(recalls.groupby("dataset", sort=False))
    figure = new_figure((6.5 * len(panels), 4.6))
    drawn = [name for name in networks if name in set(recalls["model"])]
    names = [*drawn, *recalls.loc[recalls["kind"] == "balanced", "model"].unique(), BEST]
    palette = dict(zip(names, colours(len(names)), strict=False))
    for axes, (dataset, rows) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        baselines = rows[rows["kind"] == "baseline"]
        best = baselines.loc[baselines["balanced accuracy"].idxmax(), "model"] if len(baselines) else ""
        shown = rows.replace({"model": {best: BEST}}).groupby("model", sort=False)
        for place, name in enumerate(name for name in names if name in shown.groups):
            line = shown.get_group(name).sort_values("training rows")
            shift = 0.6 * (place / max(len(names) - 1, 1) - 0.5)
            axes.plot(np.arange(len(line)) + shift, line["recall"], "o", color=palette[name], markersize=5)
        classes = rows.drop_duplicates("class").sort_values("training rows")
        ticks = [f"{label}\n({size})" for label, size in zip(classes["class"], classes["training rows"], strict=True)]
        axes.set_xticks(range(len(classes)), list(map(literal, ticks)))
        axes.set(title=literal(f"{dataset} (best baseline: {best})"), ylabel="recall")
        axes.set_xlabel("class (training rows)")
        axes.grid(axis="y", color="lightgrey", linewidth=0.5)
    for name, colour in palette.items():
        figure.axes[0].plot([], [], "o", color=colour, label=literal(name))
    figure.legend(loc="outside lower center", ncols=len(names), frameon=False, fontsize=8)
    return figure
