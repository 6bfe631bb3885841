"""What the pictures share: sizes, names, colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

NAME_LENGTH = 42
WIDTH = 8.0
"""Inches, of pictures with bars."""
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


def short(name: Any) -> str:
    """Cut a name that is too long for a picture."""
    name = str(name)
    return literal(name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 1]}…")


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
