"""One row's answer, column by column."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from permgrad.plotting.style import WIDTH, bars, literal, name_bars

if TYPE_CHECKING:
    import pandas as pd

    from permgrad.importance.row_explanations import RowExplanations

UP, DOWN = "#c44e52", "#4c72b0"
"""Of what raises the answer, and what lowers it."""
MOST_DIGITS = 4


def plot_row(explanations: RowExplanations, row: int = 0, top: int = 10) -> Figure:
    """Draw a row's values as a waterfall: the `top` largest, the others together; see `RowExplanations`.

    It begins above, at the background's mean answer, and ends below, at the row's own. Whiskers are 95 % intervals over
    the orders of the columns.
    """
    table = explanations.row(row)
    shown, rest = table.head(top), table.iloc[top:]
    names = [_name(line) for _, line in shown.iterrows()]
    adds, half = shown["adds"].to_numpy(), (shown["high"] - shown["adds"]).to_numpy()
    if len(rest):
        names, adds, half = [*names, f"{len(rest)} others"], np.append(adds, rest["adds"].sum()), np.append(half, 0)
    base = float(explanations.base[row])
    begins = base + np.concatenate([[0], np.cumsum(adds)[:-1]])
    figure, axes = bars(len(names), WIDTH)
    places = np.arange(len(names))[::-1]
    axes.barh(places, adds, left=begins, color=[UP if value > 0 else DOWN for value in adds])
    axes.errorbar(begins + adds, places, xerr=half, fmt="none", ecolor="black", elinewidth=0.8, capsize=2)
    axes.axvline(base, color="0.5", linewidth=0.8, linestyle=":")
    axes.axvline(float(explanations.outputs[row]), color="black", linewidth=0.8)
    name_bars(axes, names[::-1])
    axes.margins(x=0.03)
    axes.set_xlabel(literal(explanations.unit(row)))
    axes.set_title(literal(f"from {base:.3g} (mean of the background) to {explanations.outputs[row]:.3g}"), fontsize=11)
    return figure


def _name(line: pd.Series) -> str:
    if "is" not in line:
        return str(line["feature"])
    value = line["is"]
    told = f"{value:.{MOST_DIGITS}g}" if isinstance(value, (float, np.floating)) else str(value)
    return f"{line['feature']} = {told}"
