"""What the tumour study found, as pictures."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import permgrad as pg
from permgrad.evaluation.agreement import rank_correlation, top_overlap
from permgrad.plotting.style import colours, literal, new_figure
from studies.rna_tumour.tables import METHODS, Rankings, Results, counts, penalty_step, rankings

ORDERS = {**METHODS, "random": "random order"}
"""In which genes are masked."""


def pictures(settings: Any, results: Results, tables: Any) -> dict[str, Figure]:
    """Draw the weights' histograms, the methods' agreement, and the curves of masking."""
    return {
        "weights": draw_weights(settings, results),
        "agreement": draw_agreement(rankings(results), max(counts(settings, results))),
        "masking": draw_masking(results),
    }


def draw_weights(settings: Any, results: Results) -> Figure:
    """Draw a histogram of sampled weights for each factor of the penalty, up to three in a row."""
    n = len(settings.sweep.penalties)
    columns = min(n, 3)
    rows = -(-n // columns)
    figure = new_figure((3.0 * columns, 2.6 * rows))
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, penalty in zip(grid, settings.sweep.penalties, strict=False):
        weights = results.steps[penalty_step(settings, penalty)]["weights"]
        axes.hist(weights["sample"], bins=60, color=colours(1)[0], log=True)
        axes.locator_params(axis="x", nbins=4)  # its labels are long
        axes.set_title(f"λ = {penalty:g}: {weights['zeros']:,} below 1e-5", fontsize=9)
    for axes in grid[n:]:
        axes.set_axis_off()
    figure.supxlabel("weight")
    figure.supylabel("weights in the sample")
    return figure


def draw_agreement(by_method: Rankings, k: int) -> Figure:
    """Draw both measures of agreement, means over trainings: Spearman, and the shared part of the `k` best."""
    measures = {"Spearman": rank_correlation, f"shared of the {k} best (Jaccard)": lambda a, b: top_overlap(a, b, k)}
    names = [METHODS[method] for method in by_method]
    figure = new_figure((11.0, 4.6))
    for axes, (title, measure) in zip(figure.subplots(1, 2, sharey=True), measures.items(), strict=True):
        values = np.array(
            [[_mean_agreement(by_method[a], by_method[b], measure) for b in by_method] for a in by_method]
        )
        axes.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1)
        for (row, column), value in np.ndenumerate(values):
            colour = "white" if abs(value) > 0.6 else "black"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour)
        axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
        axes.set_yticks(range(len(names)), names)
        axes.set_title(literal(title), fontsize=10)
    figure.supxlabel("on the diagonal: one method, over trainings; the F test has none and is the same", fontsize=9)
    return figure


def _mean_agreement(first: list[pg.FeatureRanking], second: list[pg.FeatureRanking], measure: Any) -> float:
    pairs = combinations(first, 2) if first is second else zip(first, second, strict=True)
    return float(np.mean([measure(a, b) for a, b in pairs]))


def draw_masking(results: Results) -> Figure:
    """Draw the loss and accuracy of the first training's network as its best genes are masked."""
    curves = results.trainings[0]["masking"]
    figure = new_figure((9.0, 3.4))
    for axes, measure in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for colour, (method, curve) in zip(colours(len(curves)), curves.items(), strict=False):
            axes.plot(curve["masked"], curve[measure], "o-", color=colour, label=ORDERS[method], markersize=3)
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xlabel("best genes masked")
        axes.set_ylabel(f"test {measure}")
    figure.axes[0].legend(fontsize=8)
    return figure
