"""A table's columns as small histograms: the bars that its check-up counted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from permgrad.data.checkup import TableCheck

ACROSS = 4
NAME_LENGTH = 24


def plot_columns(check: TableCheck, top: int) -> Figure:
    """Draw the histograms of the first `top` columns: numbers in equal bins, levels from the most frequent on."""
    from matplotlib.figure import Figure

    shown = check.table[check.table["column"].isin(check.histograms)].head(top)
    across = min(ACROSS, max(1, len(shown)))
    down = max(1, math.ceil(len(shown) / across))
    figure = Figure(figsize=(2.4 * across, 0.4 + 1.7 * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    for axes, (_, row) in zip(panels, shown.iterrows(), strict=False):
        counts = check.histograms[row["column"]]
        axes.bar(range(len(counts)), counts, width=0.9, color="tab:blue")
        name = str(row["column"]).replace("$", r"\$")
        axes.set_title(name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 1]}…", fontsize=9)
        gaps = f", {row['missing']:,} missing" if row["missing"] else ""
        axes.set_xlabel(f"{row['kind']}{gaps}", fontsize=7)
        axes.set_xticks([])
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    return figure
