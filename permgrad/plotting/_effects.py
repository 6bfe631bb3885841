"""Effects of columns: a curve or bars for each, with the rows below; of a pair a heat map."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, datestr2num
from matplotlib.figure import Figure

from permgrad.plotting.style import (
    NAME_LENGTH,
    WIDTH,
    bars,
    colours,
    cut,
    label_bars,
    legend_below,
    literal,
    name_bars,
    new_figure,
    short,
)

if TYPE_CHECKING:
    from permgrad.importance.effects import ColumnEffect, Effects, PairEffect
    from permgrad.importance.responding.interactions import Interactions

ACROSS = 3
MOST_NAMES = 12
"""Levels that have their names on an axis; of more, some have."""
LEVEL_LENGTH = 14
TITLE_LENGTH = 26
"""Letters of a line above a panel."""


def plot_effects(effects: Effects, columns: Sequence[ColumnEffect]) -> Figure:
    """Draw the effects of columns, three in a row, on one scale; see `Effects`.

    A band or whiskers are 95 % intervals over rows. Grey bars below show where the rows are; thin grey lines are
    single rows' (ICE); a cross is what missing values do.
    """
    across = min(ACROSS, max(1, len(columns)))
    down = max(1, math.ceil(len(columns) / across))
    figure = new_figure((max(4.0, WIDTH / ACROSS * across * 1.15), 0.6 + 2.5 * down))
    panels = figure.subplots(down, across, sharey=True, squeeze=False).ravel()
    told = effects.told_classes if len(effects.told_classes) > 1 else ("",)
    for axes, column in zip(panels, columns, strict=False):
        _one(axes, column, told)
    for axes in panels[len(columns) :]:
        axes.set_visible(False)
    of = f" of {effects.told_classes[0]}" if len(effects.told_classes) == 1 else ""
    what = "change of " if effects.kind == "ale" else "mean "
    figure.supylabel(literal(f"{what}{effects.unit}{of}"), fontsize=10)
    if len(told) > 1:
        handles, labels = panels[0].get_legend_handles_labels()
        legend_below(figure, told, handles=handles, labels=labels)
    return figure


def _one(axes: Any, column: ColumnEffect, told: Sequence[str]) -> None:
    levels = column.is_category and not column.is_date
    x, missing = _places(column)
    known = np.arange(len(x)) != (len(x) - 1 if missing else -1)
    shape = (len(x), len(told))
    effect, lower, upper = (values.reshape(shape) for values in (column.effect, column.lower, column.upper))
    if column.ice is not None and len(told) == 1:
        axes.plot(x[known], column.ice[:, known].T, color="0.75", linewidth=0.5, zorder=1)
    for c, label in enumerate(told):
        colour = colours(len(told))[c]
        if levels:
            shift = (c - (len(told) - 1) / 2) * 0.8 / len(told)
            whiskers = np.abs([effect[:, c] - lower[:, c], upper[:, c] - effect[:, c]])
            axes.errorbar(x + shift, effect[:, c], yerr=whiskers, fmt="o", color=colour, markersize=4, capsize=2)
            axes.plot([], [], "o", color=colour, label=literal(label))
        else:
            axes.plot(x[known], effect[known, c], color=colour, linewidth=1.6, label=literal(label))
            axes.fill_between(x[known], lower[known, c], upper[known, c], color=colour, alpha=0.2, linewidth=0)
            if missing:
                whiskers = np.abs([effect[-1:, c] - lower[-1:, c], upper[-1:, c] - effect[-1:, c]])
                axes.errorbar(x[-1:], effect[-1:, c], yerr=whiskers, fmt="x", color=colour, capsize=2)
    _rows_below(axes, x, column.weights, levels)
    _name_values(axes, column, x, missing, levels)
    axes.set_title(textwrap.fill(short(column.name), TITLE_LENGTH), fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, labelleft=True)


def _places(column: ColumnEffect) -> tuple[np.ndarray, bool]:
    """Return where values stand on the axis, and whether the last is what is missing: beside the others."""
    if column.is_category and not column.is_date:
        return np.arange(len(column.values), dtype=float), False
    if column.is_date:
        missing = column.values[-1] == "(missing)"
        known = column.values[:-1] if missing else column.values
        x = np.array([float(datestr2num(value)) for value in known])
    else:
        x = np.asarray(column.values, float)
        missing = bool(np.isnan(x[-1]))
        x = x[:-1] if missing else x
    return (np.append(x, x[-1] + 0.12 * max(np.ptp(x), 1e-9)) if missing else x), missing


def _rows_below(axes: Any, x: np.ndarray, shares: np.ndarray, levels: bool) -> None:
    """Draw the share of the rows at each value as bars along the axis, the largest an eighth of the height."""
    edges = axes.twinx()
    gaps = np.diff(np.unique(x))
    if levels or not len(gaps):
        width: Any = 0.6
    else:  # as wide as what is nearer to it than to its neighbours
        middle = np.concatenate([[x[0]], (x[1:] + x[:-1]) / 2, [x[-1]]])
        width = np.maximum(np.diff(middle), 0.004 * np.ptp(x))
    heights = np.asarray(shares) / (width if np.ndim(width) else 1.0)
    edges.bar(x, heights, width=width, color="0.85", zorder=0)
    edges.set_ylim(0, 8 * max(heights.max(initial=0), 1e-300))
    edges.set_axis_off()
    axes.set_zorder(edges.get_zorder() + 1)
    axes.patch.set_visible(False)


def _name_values(axes: Any, column: ColumnEffect, x: np.ndarray, missing: bool, levels: bool) -> None:
    if levels:
        step = math.ceil(len(x) / MOST_NAMES)
        names = [_level(value) for value in column.values[::step]]
        turned = sum(map(len, names)) > 24
        axes.set_xticks(x[::step], names, rotation=45 if turned else 0, ha="right" if turned else "center")
        return
    if column.is_date:
        axes.xaxis.set_major_locator(AutoDateLocator(minticks=2, maxticks=6))
        axes.xaxis.set_major_formatter(ConciseDateFormatter(axes.xaxis.get_major_locator()))
    if missing:
        axes.annotate(
            "missing",
            (x[-1], 0),
            xycoords=("data", "axes fraction"),
            ha="center",
            va="top",
            fontsize=7,
            xytext=(0, -14),
            textcoords="offset points",
        )


def _level(value: str) -> str:
    return literal(value if len(value) <= LEVEL_LENGTH else f"{value[: LEVEL_LENGTH - 1]}…")


def plot_pair(pair: PairEffect, of: int = -1, *, unit: str = "") -> Figure:
    """Draw what two columns do together beyond what each does as a heat map; see `PairEffect`.

    Crosses: the 95 % interval holds 0. Pale: no row is near.
    """
    figure = new_figure((6.0, 4.8))
    axes = figure.add_subplot()
    effect, lower, upper = (
        values[:, :, of] if values.ndim == 3 else values for values in (pair.effect, pair.lower, pair.upper)
    )
    most = max(float(np.abs(effect).max()), 1e-12)
    alpha = np.where(pair.weights > 0, 1.0, 0.35)
    drawn = axes.imshow(effect.T, origin="lower", cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto", alpha=alpha.T)
    unsure = np.argwhere((lower <= 0) & (upper >= 0))
    axes.plot(unsure[:, 0], unsure[:, 1], "x", color="0.3", markersize=4, linewidth=0)
    for set_ticks, values in ((axes.set_xticks, pair.values[0]), (axes.set_yticks, pair.values[1])):
        names = [_level(value) if isinstance(value, str) else _number(value) for value in values]
        set_ticks(range(len(names)), names, fontsize=8)
    axes.tick_params(axis="x", labelrotation=45)
    axes.set_xlabel(short(pair.names[0]))
    axes.set_ylabel(short(pair.names[1]))
    figure.colorbar(drawn, label=literal(unit))
    axes.set_title("beyond what each does alone (×: may be 0)", fontsize=10)
    return figure


def _number(value: float) -> str:
    return "missing" if math.isnan(value) else f"{value:.3g}"


def plot_interactions(interactions: Interactions, top: int = 10) -> Figure:
    """Draw the strongest pairs of columns as bars, whiskers being 95 % intervals over rows; see `Interactions`."""
    shown = interactions.table.head(top)[::-1]
    figure, axes = bars(len(shown), WIDTH)
    places, strength = range(len(shown)), shown["strength"].to_numpy()
    axes.barh(places, strength, color=colours(1)[0])
    whiskers = [strength - shown["strength_low"].to_numpy(), shown["strength_high"].to_numpy() - strength]
    axes.errorbar(strength, places, xerr=whiskers, fmt="none", ecolor="black", elinewidth=0.8, capsize=2)
    half = (NAME_LENGTH - 3) // 2
    names = [f"{cut(row['first'], half)} × {cut(row['second'], half)}" for _, row in shown.iterrows()]
    name_bars(axes, names)
    axes.set_xlim(left=0)
    label = f"beyond what each does alone (standard deviation, {interactions.unit}; 95 % interval)"
    label_bars(axes, literal(label), names, WIDTH)
    return figure
