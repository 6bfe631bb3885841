"""Pictures of how far predictions hold what they say: probabilities beside shares, precision, and residuals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import norm
from sklearn.metrics import average_precision_score, precision_recall_curve

from permgrad.plotting.style import MAX_VECTORS, colours, draw_beside, new_figure, short

MOST_BARS = 40


def plot_reliability(
    curve: pd.DataFrame, label: str | None = None, *, beside: Mapping[str, Mapping[str, Any]] | None = None
) -> Figure:
    """Draw the share of rows in which it happened against the probability that was given for it.

    Parameters
    ----------
    curve : DataFrame
        Of `permgrad.reliability_curve`.
    label : str, optional
        The class whose probability it is; by default each row's likeliest one.
    beside : mapping of str to mapping, optional
        Curves of other models by name, each the ``x`` and ``y`` of its points: dashed.
    """
    figure = new_figure((5.5, 5.5))
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
    ends = [curve["share"] - curve["low"], curve["high"] - curve["share"]]
    axes.errorbar(
        curve["predicted"],
        curve["share"],
        yerr=np.maximum(ends, 0),
        fmt="o-",
        color=colours(1)[0],
        ecolor="black",
        label="network",
    )
    if draw_beside(axes, beside):
        axes.legend(loc="lower right", fontsize=8)
    said = "the likeliest class" if label is None else short(label)
    rows = f"{curve['rows'].min()} to {curve['rows'].max()}" if curve["rows"].nunique() > 1 else f"{curve['rows'][0]}"
    axes.set(
        xlabel=f"probability of {said}",
        ylabel="share of rows in which it is right" if label is None else "share of rows that are of it",
        title=f"test rows, {rows} a point",
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
        aspect="equal",
    )
    return figure


def plot_precision_recall(
    y: Mapping[str, Any],
    scores: Mapping[str, Any],
    *,
    sample_weight: Any = None,
    beside: Mapping[str, Mapping[str, Any]] | None = None,
) -> Figure:
    """Draw precision against recall, a curve for each class, with its average precision beside its name.

    Parameters
    ----------
    y, scores : mappings of str to arrays of shape (n_rows,)
        Class → whether a row is of it, and scores, higher for those that are.
    sample_weight : array of shape (n_rows,), optional
        How many rows each stands for.
    beside : mapping of str to mapping, optional
        See `plot_reliability`.
    """
    figure = new_figure((5.6, 5.4))
    axes = figure.add_subplot()
    for name, colour in zip(scores, colours(len(scores)), strict=False):
        precision, recall, _ = precision_recall_curve(y[name], scores[name], sample_weight=sample_weight)
        area = average_precision_score(y[name], scores[name], sample_weight=sample_weight)
        axes.plot(recall, precision, color=colour, label=f"{short(name)}: {area:.3f}")
    draw_beside(axes, beside)
    axes.set(xlabel="recall", ylabel="precision", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.legend(loc="lower left", fontsize=8, title="average precision")
    return figure


def plot_residuals(y: Any, predicted: Any, target: str = "target") -> Figure:
    """Draw true less predicted values against the predicted ones, and their histogram with a normal curve."""
    predicted = np.asarray(predicted, float)
    residuals = np.asarray(y, float) - predicted
    figure = new_figure((5.6, 6.4))
    scatter, histogram = figure.subplots(2, 1)
    dense = {"rasterized": len(residuals) > MAX_VECTORS, "alpha": max(0.1, min(1.0, 500 / len(residuals)))}
    scatter.scatter(predicted, residuals, s=8, linewidths=0, **dense)
    scatter.axhline(0, color="grey", linewidth=1)
    target = short(target)
    scatter.set(xlabel=f"predicted {target}", ylabel="true − predicted", title="test rows")
    bars = int(np.clip(np.sqrt(len(residuals)), 5, MOST_BARS))
    _, edges, _ = histogram.hist(residuals, bins=bars, density=True, color=colours(1)[0], alpha=0.6)
    spread = residuals.std()
    if spread > 0:
        places = np.linspace(edges[0], edges[-1], 200)
        density = norm.pdf(places, residuals.mean(), spread)
        histogram.plot(places, density, color="black", linewidth=1, label="normal, same mean and sd")
        histogram.legend(fontsize=8, frameon=False)
    histogram.set(xlabel="true − predicted", ylabel="density")
    return figure
