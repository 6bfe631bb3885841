"""What the pictures share: sizes, names, colours."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

NAME_LENGTH = 42
WIDTH = 8.0
"""Inches, of pictures with bars."""
LETTER = 0.08
"""Inches, of a letter of the size of labels, about."""
MAX_VECTORS = 2000
"""Points up to which a vector picture holds each one; beyond, it would be large and slow to show."""
TITLES = {
    "shapley": "Shapley values of the loss",
    "first_in": "First in",
    "tabular": "Tabular branch",
    "image": "Image branch",
    "permgrad": "PermGrad",
    "permutation": "Permutation importance",
    "end_to_end": "Last in (permutation)",
    "conditional": "Conditional permutation",
    "grad_cam": "Grad-CAM",
    "layer_cam": "LayerCAM",
    "gradient_input": "Gradient × input",
    "weights": "First-layer weights",
    "mlp_permutation": "MLP’s permutation",
    "mutual_information": "Mutual information",
    "random": "Random order",
    "random_forest": "Random forest",
    "score_permutation": "Permutation importance",
    "tree_shap": "TreeSHAP",
}


def method_title(method: str) -> str:
    """Return the name that people use for a method: ``"layer_cam"`` → ``"LayerCAM"``."""
    return TITLES.get(method, method.replace("_", " "))


def new_figure(size: tuple[float, float]) -> Figure:
    """Return an empty figure of (width, height) inches in which nothing overlaps or is cut off."""
    return Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))


def bars(n: int, width: float) -> tuple[Figure, Any]:
    """Return a figure for `n` horizontal bars, `width` inches wide, and its axes."""
    figure = new_figure((width, max(2.5, 1.2 + 0.32 * n)))
    return figure, figure.add_subplot()


def name_bars(axes: Any, names: Sequence[str]) -> None:
    """Write the names beside their bars."""
    axes.set_yticks(range(len(names)), [short(name) for name in names])
    axes.margins(y=0.01)
    axes.spines[["top", "right"]].set_visible(False)


def label_bars(axes: Any, label: str, names: Sequence[str], width: float) -> None:
    """Write what the bars' lengths are below them; to the left of their end where it is wider than they are."""
    room = width - LETTER * longest(names) - 0.5
    fits = LETTER * len(label) <= room
    axes.set_xlabel(textwrap.fill(label, int((width - 0.3) / LETTER)), loc="center" if fits else "right")
    if not fits:  # bars have little room: few ticks, and no power of ten at the axis's end, where the label is
        axes.locator_params(axis="x", nbins=5)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.4g}".replace("-", "\N{MINUS SIGN}"))


def legend_below(figure: Figure, classes: Sequence[str], **known: Any) -> None:
    """Write the legend of classes below, in as many columns as there is room for; the figure grows by what it takes."""
    width, height = figure.get_size_inches()
    most = max(1, int((width - 0.4) / (0.7 + LETTER * longest(classes))))
    lines = -(-len(classes) // most)
    figure.set_size_inches(width, height + 0.22 * (lines - 1))
    figure.legend(title="class", loc="outside lower center", ncols=min(most, len(classes)), **known)


def longest(names: Sequence[Any]) -> int:
    """Count the letters of the longest of some names, as far as they are drawn."""
    return max((min(len(str(name)), NAME_LENGTH) for name in names), default=0)


def short(name: Any, most: int = NAME_LENGTH) -> str:
    """Cut a name that is too long for a picture, and return it as it is drawn."""
    return literal(cut(name, most))


def cut(name: Any, most: int = NAME_LENGTH) -> str:
    """Cut a name in its middle: long names are often alike but for their ends."""
    name, front = str(name), 2 * most // 3
    return name if len(name) <= most else f"{name[:front]}…{name[front + 1 - most :]}"


def literal(text: Any) -> str:
    """Return text that is drawn as it is: between two dollars, matplotlib would read a formula."""
    return str(text).replace("$", r"\$")


def colours(n: int) -> list[Any]:
    """Return at least `n` colours that can be told apart."""
    if n > 20:
        return [colormaps["turbo"](i / (n - 1)) for i in range(n)]
    return list(colormaps["tab10" if n <= 10 else "tab20"].colors)  # type: ignore[attr-defined]


def draw_beside(axes: Any, curves: Mapping[str, Mapping[str, Any]] | None) -> bool:
    """Draw other models' curves, ``x`` and ``y`` by name, in dashes; return whether there are any."""
    for (name, curve), colour in zip((curves or {}).items(), colours(10)[1:], strict=False):
        axes.plot(curve["x"], curve["y"], "--", color=colour, linewidth=1, label=short(name))
    return bool(curves)
