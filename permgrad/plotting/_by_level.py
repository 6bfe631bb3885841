"""A model in each level of a column: score, loss, and what columns are worth, with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from permgrad.plotting.style import colours, literal, new_figure, short

if TYPE_CHECKING:
    from permgrad.evaluation.by_level import ByLevel

NAMES = {"accuracy": "accuracy", "log_loss": "log loss", "r2": "R²", "rmse": "root mean squared error"}


def plot_by_level(found: ByLevel, top: int = 8) -> Figure:
    """Draw score and loss in each level, and scores of the `top` best columns; see `ByLevel`.

    Whiskers are 95 % intervals; paler levels have few rows.
    """
    table = found.table
    n, features = len(table), found.scores(top)["feature"].tolist()
    spread = max(0.34 * n, 0.1 * len(features) * n, 0.34 * len(features))
    figure = new_figure((11, 1.4 + min(12.0, max(1.6, spread))))
    first, second, third = figure.subplots(1, 3, width_ratios=[1, 1, 1.6])
    chosen = dict(zip(table["level"], ["0.25", *colours(max(1, n - 1))], strict=False))
    names = [f"{short(row['level'])} ({row['rows']:,})" for _, row in table.iterrows()]
    for axes, measure in zip((first, second), found.measures, strict=True):
        for place, (_, row) in enumerate(table.iterrows()):
            ends = row[f"{measure}_low"], row[f"{measure}_high"]
            _dot(axes, n - 1 - place, row[measure], ends, chosen[row["level"]], pale=row["few"])
        axes.set_yticks(range(n)[::-1], names if axes is first else [""] * n)
        axes.set_ylim(-0.6, n - 0.4)
        axes.set_xlabel(NAMES[measure])
    first.set_title(literal(f"by {found.by} (rows)"), fontsize=10)
    _importance(third, found, features, chosen)
    for axes in (first, second, third):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    return figure


def _dot(axes: Any, y: float, x: float, ends: tuple[float, float], colour: Any, *, pale: bool) -> None:
    alpha = 0.4 if pale else 1.0
    axes.plot(ends, (y, y), color=colour, linewidth=1.3, alpha=alpha)
    axes.plot([x], [y], "o", color=colour, markersize=4, alpha=alpha)


def _importance(axes: Any, found: ByLevel, features: list[str], chosen: dict[str, Any]) -> None:
    levels = [level for level in found.table["level"] if level in found.rankings]
    few = dict(zip(found.table["level"], found.table["few"], strict=True))
    at = found.importance.set_index(["feature", "level"])
    for place, feature in enumerate(features[::-1]):
        for number, level in enumerate(levels):
            row = at.loc[(feature, level)]
            y = place + (0.5 - (number + 0.5) / len(levels)) * 0.75
            ends = (row["low"], row["high"]) if np.isfinite(row["low"]) else (row["score"],) * 2
            _dot(axes, y, row["score"], ends, chosen[level], pale=few[level])
    axes.axvline(0, color="0.7", linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(features)), [short(name) for name in features[::-1]])
    axes.set_xlabel("what a column is worth there (loss saved)")
