"""Two rankings side by side: a line for each column, from its place in the one to its place in the other."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from permgrad.plotting.style import colours, new_figure, short

if TYPE_CHECKING:
    import pandas as pd

    from permgrad.importance.two_rankings import RankingComparison

BETWEEN, LEAST_SIDE = 2.5, 2.75
"""Inches: from the one ranking to the other, and the names at either side take at least."""
SIDES = ((0.0, "right", -0.08), (1.0, "left", 0.08))
"""Of each ranking: where its places stand, on which side their names end, and how far from them."""


def plot_two_rankings(comparison: RankingComparison, top: int = 15) -> Figure:
    """Draw the columns that are among the `top` best of either ranking, the best above; see `RankingComparison`.

    In brackets: the 95 % intervals of the places, where a ranking has them. Coloured lines: columns
    whose scores' difference has an interval that leaves out 0.
    """
    ranks = [f"rank_{name}" for name in comparison.names]
    shown = comparison.table[(comparison.table[ranks] <= top).any(axis=1)]
    lowest = float(shown[ranks].to_numpy().max())
    labels = [_label(row, name) for _, row in shown.iterrows() for name in comparison.names]
    beside = max(LEAST_SIDE, 0.3 + 0.072 * max(map(len, labels)))  # inches, of a column of names
    figure = new_figure((BETWEEN + 2 * beside, max(3.0, 1.4 + 0.3 * min(lowest, 2 * top))))
    axes = figure.add_subplot()
    apart = shown["apart"] if "apart" in shown else [False] * len(shown)
    for (_, row), differs in zip(shown.iterrows(), apart, strict=True):
        colour = colours(2)[1] if differs else "0.6"
        axes.plot((0, 1), [row[name] for name in ranks], color=colour, linewidth=2 if differs else 1, zorder=1)
    for (x, side, gap), name in zip(SIDES, comparison.names, strict=True):
        axes.scatter([x] * len(shown), shown[f"rank_{name}"], color="black", s=14, zorder=2)
        for _, row in shown.iterrows():
            axes.text(x + gap, row[f"rank_{name}"], _label(row, name), ha=side, va="center", fontsize=9)
    axes.set_ylim(lowest + 0.7, 0.3)
    axes.set_xlim(-beside / BETWEEN, 1 + beside / BETWEEN)
    axes.set_xticks((0, 1), [textwrap.fill(short(name), 26) for name in comparison.names])
    axes.xaxis.tick_top()
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    told = "; coloured where the scores differ (95 %)" if "apart" in shown else ""
    axes.set_xlabel(f"places, Spearman's correlation of the scores {comparison.spearman:.2f}{told}", fontsize=9)
    return figure


def _label(row: pd.Series, name: str) -> str:
    """Return a column's name, and the interval of its place where it is known and wider than the place."""
    low, high = (row.get(f"rank_{end}_{name}") for end in ("low", "high"))
    told = "" if low is None or low == high else f" ({low:.0f}–{high:.0f})"
    return f"{short(row['feature'])}{told}"
