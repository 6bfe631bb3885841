"""A picture of a hybrid network: its branches as columns of boxes, and the head where they have met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from permgrad.plotting.style import literal, new_figure

Boxes = list[list[str]]
"""Boxes from top to bottom, each with its lines of text."""
BOX = {"boxstyle": "round,pad=0.45", "edgecolor": "grey"}
COLOURS = {"tabular": "#dbe9f6", "image": "#fde3cd", "head": "#e3f1e0"}
COLUMN, LINE, GAP = 3.4, 0.2, 0.5
"""Inches: width of a branch, height of a line of text, between boxes."""


def plot_network(boxes: Mapping[str, Boxes]) -> Figure:
    """Draw a hybrid network's layers, with the shape that convolutions and what joins them give out.

    Parameters
    ----------
    boxes : mapping
        What `permgrad.network_boxes` says of a model.
    """
    branches = {name: column for name, column in boxes.items() if name != "head"}
    tallest = max(map(_height, branches.values()))
    head = boxes.get("head", [])
    width, height = COLUMN * len(branches), tallest + _height(head) + 0.6
    figure = new_figure((width, height))
    axes = figure.add_subplot()
    axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    axes.axis("off")
    meeting = (width / 2, tallest + 0.4)
    for i, (name, column) in enumerate(branches.items()):
        end = _draw(axes, column, (COLUMN * (i + 0.5), 0.4), COLOURS.get(name, "white"), f"{name} branch")
        if head:
            axes.annotate("", meeting, end, arrowprops={"arrowstyle": "->", "color": "grey"})
    if head:
        _draw(axes, head, meeting, COLOURS["head"])
    return figure


def _height(boxes: Boxes) -> float:
    return sum(LINE * len(box) + GAP for box in boxes)


def _draw(
    axes: Any, boxes: Sequence[Sequence[str]], top: tuple[float, float], colour: str, title: str = ""
) -> tuple[float, float]:
    """Draw boxes from `top` downwards, joined by arrows; return where the last one ends."""
    x, y = top
    axes.text(x, y - 0.25, title, ha="center", va="center", fontweight="bold")
    for i, lines in enumerate(boxes):
        if i:
            axes.annotate("", (x, y + 0.02), (x, y - GAP + 0.22), arrowprops={"arrowstyle": "->", "color": "grey"})
        size = LINE * len(lines)
        text = literal("\n".join(lines))
        axes.text(x, y + 0.1 + size / 2, text, ha="center", va="center", fontsize=8, bbox={**BOX, "facecolor": colour})
        y += size + GAP
    return x, y - GAP + 0.22
