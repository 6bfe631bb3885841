"""A picture of a hybrid network: its branches as columns of boxes, and the head where they have met."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from permgrad.plotting.style import literal, new_figure

if TYPE_CHECKING:
    from permgrad.importance.network.branches import CutModel

Boxes = list[list[str]]
"""Boxes from top to bottom, each with its lines of text."""
BOX = {"boxstyle": "round,pad=0.45", "edgecolor": "grey"}
COLOURS = {"tabular": "#dbe9f6", "image": "#fde3cd", "head": "#e3f1e0"}
COLUMN, LINE, GAP = 3.4, 0.2, 0.5
"""Inches: width of a branch, height of a line of text, between boxes."""
STARTS = ("FeatureImage", "Concatenate", "Add", "Softmax", "Rescaling", "Flatten")
"""Layers that start a box, as those with weights do; the others, and BatchNorm, are named in the box before."""
SHAPED = ("Conv2D", "FeatureImage", "Concatenate", "Flatten")
"""Layers whose size does not say what they give out: its shape stands with them."""


def network_boxes(network: CutModel) -> dict[str, Boxes]:
    """Return what `plot_network` draws of a network: name of the branch, or "head" → boxes.

    Parameters
    ----------
    network : CutModel
        See `permgrad.cut_model`. A network with one branch has no head of its own.
    """
    boxes = {branch.name: _boxes(branch.encoder) for branch in network.branches}
    return {**boxes, "head": _boxes(network.head)} if len(boxes) > 1 else {next(iter(boxes)): _boxes(network.model)}


def _boxes(model: Any) -> Boxes:
    boxes: Boxes = []
    for layer in model.layers:
        kind = type(layer).__name__
        if kind == "InputLayer":
            continue
        if not boxes or kind in STARTS or (layer.weights and kind != "BatchNormalization"):
            boxes.append([])
        boxes[-1].append(_line(layer, kind))
    return [box for box in boxes if box]


def _line(layer: Any, kind: str) -> str:
    size = next((layer.__dict__[name] for name in ("units", "filters", "rate") if name in layer.__dict__), None)
    shape = f"  ({' × '.join(map(str, layer.output.shape[1:]))})" if kind in SHAPED else ""
    return f"{kind}{'' if size is None else f' {size:.3g}'}{shape}"


def plot_network(network: CutModel | dict[str, Boxes]) -> Figure:
    """Draw a hybrid network's layers, with the shape that convolutions and what joins them give out.

    Parameters
    ----------
    network : CutModel or dict
        See `permgrad.cut_model`; or what `network_boxes` returned for one.
    """
    boxes = network if isinstance(network, dict) else network_boxes(network)
    branches = {name: column for name, column in boxes.items() if name != "head"}
    tallest = max(map(_height, branches.values()))
    head = boxes.get("head", [])
    width, height = COLUMN * len(branches), tallest + _height(head) + 0.6
    figure = new_figure((width, height))
    axes = figure.add_subplot()
    axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    axes.axis("off")
    fusion = (width / 2, tallest + 0.4)
    for i, (name, column) in enumerate(branches.items()):
        end = _draw(axes, column, (COLUMN * (i + 0.5), 0.4), COLOURS.get(name, "white"), f"{name} branch")
        if head:
            axes.annotate("", fusion, end, arrowprops={"arrowstyle": "->", "color": "grey"})
    if head:
        _draw(axes, head, fusion, COLOURS["head"])
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
