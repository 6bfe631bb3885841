"""Pictures of scores over the epochs of a training."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from permgrad.plotting.style import colours, literal, new_figure

BAND_ALPHA = 0.2


def plot_epoch_scores(table: pd.DataFrame, title: str = "") -> Figure:
    """Draw each score against the epoch, one panel for each score, with a band of its recent spread to both sides.

    Parameters
    ----------
    table : DataFrame
        `EpochScores.table`: ``epoch``, ``rows``, ``score``, ``value``, ``spread``.
    """
    scores, sets = list(dict.fromkeys(table["score"])), list(dict.fromkeys(table["rows"]))
    figure = new_figure((max(6.0, 5.0 * len(scores)), 4))
    for axes, score in zip(figure.subplots(1, len(scores), squeeze=False)[0], scores, strict=True):
        for name, colour in zip(sets, colours(len(sets)), strict=False):
            shown = table[(table["score"] == score) & (table["rows"] == name)]
            low, high = shown["value"] - shown["spread"], shown["value"] + shown["spread"]
            axes.plot(shown["epoch"], shown["value"], color=colour, label=literal(name))
            axes.fill_between(shown["epoch"], low, high, color=colour, alpha=BAND_ALPHA, linewidth=0)
        axes.set(xlabel="epoch", ylabel=literal(score.replace("neg_", "negative ").replace("_", " ")))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(title="± sd of recent epochs")
    figure.suptitle(literal(title))
    return figure


def plot_comparison(summaries: dict[str, pd.DataFrame]) -> Figure:
    """Draw each model's mean score with its interval, one panel for each score.

    Parameters
    ----------
    summaries : dict of DataFrame
        Name of the score → ``summary`` of a `Comparison`.
    """
    models = next(iter(summaries.values()))["model"].tolist()
    figure = new_figure((max(6.4, 3.4 * len(summaries)), 1.6 + 0.4 * len(models)))
    grid = figure.subplots(1, len(summaries), sharey=True, squeeze=False)[0]
    for axes, (score, summary) in zip(grid, summaries.items(), strict=True):
        places = range(len(models))
        axes.hlines(places, summary["low"], summary["high"], color=colours(1)[0])
        axes.plot(summary["mean"], places, "o", color=colours(1)[0])
        axes.set(xlabel=literal(score))
        axes.xaxis.set_major_locator(MaxNLocator(4))
    grid[0].set_yticks(range(len(models)), [literal(model) for model in models])
    grid[0].invert_yaxis()
    return figure
