"""What a picture of a network says: its branches as columns of boxes, and the head where they have met."""

from __future__ import annotations

from typing import Any

from permgrad.importance.network.branches import cut_model

Boxes = list[list[str]]
"""Boxes from top to bottom, each with its lines of text."""
STARTS = ("FeatureImage", "Concatenate", "Add", "Softmax", "Rescaling", "Flatten")
"""Layers that start a box, as those with weights do; the others, and BatchNorm, are named in the box before."""
SHAPED = ("Conv2D", "FeatureImage", "Concatenate", "Flatten")
"""Layers whose size does not say what they give out: its shape stands with them."""


def network_boxes(model: Any) -> dict[str, Boxes]:
    """Return what `permgrad.plotting.plot_network` draws of a Keras model: "tabular", "image" and "head" → boxes.

    A network with one branch has no head of its own.
    """
    cut = cut_model(model)
    boxes = {branch.name: _boxes(branch.encoder) for branch in cut.branches}
    return {**boxes, "head": _boxes(cut.head)} if len(boxes) > 1 else {next(iter(boxes)): _boxes(model)}


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
