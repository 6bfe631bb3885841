"""Pictures of one network: its layout, what it sees, how it learned, how good it is."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import ConfusionMatrixDisplay

from permgrad.images.layout import FeatureLayout
from permgrad.plotting.style import LETTER, MAX_VECTORS, NAME_LENGTH, literal, longest, new_figure, short

MAX_KEYED = 150
"""Features up to which the layout's picture names each one; beyond, names would not be legible."""
KEY_ROWS = 30
KEY_ALPHA = 0.65
OVERLAY_ALPHA = 0.4
OVERLAY_PIXELS = 400


def plot_layout(layout: FeatureLayout, best: Mapping[str, Sequence[int]] | None = None) -> Figure:
    """Draw where each feature sits in the image: numbered, coloured pixels, and a key of their names.

    Features that share a pixel share a number. Of more than 150 features, those of `best` alone are named.

    Parameters
    ----------
    layout : FeatureLayout
    best : mapping of str to sequence of int, optional
        Columns to name where not all can be, with the features, by their number, that each is drawn as.
    """
    if len(layout.features) > MAX_KEYED:
        return _plot_wide_layout(layout, best or {})
    pixels, number = np.unique(layout.pixels, return_inverse=True)
    names = [" + ".join(np.array(layout.features)[number == i]) for i in range(len(pixels))]
    key = [
        textwrap.fill(literal(f"{i} {name}"), NAME_LENGTH, subsequent_indent="    ") for i, name in enumerate(names, 1)
    ]
    lines = [line for entry in key for line in entry.split("\n")]
    columns = -(-len(lines) // KEY_ROWS)
    figure = new_figure((6 + columns * (0.5 + 0.075 * max(map(len, lines))), 6))
    axes = figure.add_subplot()
    image = np.full(layout.shape, np.nan)
    image.flat[pixels] = np.arange(len(pixels))
    axes.imshow(image, cmap="turbo", alpha=KEY_ALPHA, interpolation="nearest")
    _draw_grid(axes, layout.shape)
    _number_pixels(axes, layout)
    _label_pixels(axes)
    axes.set_title(_layout_title(layout))
    colours = colormaps["turbo"](np.linspace(0, 1, len(key)))
    marks = [Patch(color=colour, alpha=KEY_ALPHA, label=entry) for colour, entry in zip(colours, key, strict=True)]
    figure.legend(handles=marks, loc="outside right upper", ncols=columns, fontsize=8, frameon=False)
    return figure


def _plot_wide_layout(layout: FeatureLayout, best: Mapping[str, Sequence[int]]) -> Figure:
    """Draw which pixels have a feature, with numbered discs, larger than a pixel, where the best columns sit."""
    figure = new_figure((9 if best else 6.5, 6))
    axes = figure.add_subplot()
    image = np.full(layout.shape, np.nan)
    image.flat[layout.pixels] = 1
    axes.imshow(image, cmap="Greys", vmin=0, vmax=4, interpolation="nearest")
    _draw_grid(axes, layout.shape)
    _label_pixels(axes)
    axes.set_title(_layout_title(layout))
    for i, (name, features) in enumerate(best.items(), 1):
        rows, columns = layout.rows[list(features)], layout.cols[list(features)]
        colour = colormaps["turbo"]((i - 0.5) / len(best))
        axes.scatter(columns, rows, s=130, color="white", edgecolors=[colour], linewidths=2, label=short(f"{i} {name}"))
        for row, column in zip(rows, columns, strict=True):
            axes.text(column, row, str(i), ha="center", va="center_baseline", fontsize=7)
    if best:
        figure.legend(title="the best columns", loc="outside right upper", fontsize=8, frameon=False)
    return figure


def _layout_title(layout: FeatureLayout) -> str:
    return f"{len(layout.features):,} features in {layout.shape[0]} × {layout.shape[1]} pixels ({layout.method})"


def _number_pixels(axes: Axes, layout: FeatureLayout, **style: Any) -> None:
    """Write the number of each pixel that features sit at, as in the key of `plot_layout`."""
    pixels = np.unique(layout.pixels)
    size = min(9.0, 150 / max(layout.shape)) * min(1, 2 / len(str(len(pixels))))
    for i, pixel in enumerate(pixels, 1):
        row, column = divmod(int(pixel), layout.shape[1])
        axes.text(column, row, str(i), ha="center", va="center", fontsize=size, **style)


def plot_sample(image: np.ndarray, heat: np.ndarray, title: str = "", layout: FeatureLayout | None = None) -> Figure:
    """Draw one row's image beside its Grad-CAM overlay, with a colour bar.

    Parameters
    ----------
    image : ndarray of shape (height, width) or (height, width, 1)
    heat : ndarray of shape (map_height, map_width)
        Between 0 and 1, in any resolution.
    layout : FeatureLayout, optional
        Numbers the features' pixels, as `plot_layout` does; its key says which feature each number is.
    """
    image = np.asarray(image, np.float32).reshape(*np.shape(image)[:2])
    figure = new_figure((10, 4.6))
    left, right = figure.subplots(1, 2)
    shown = left.imshow(image, cmap="gray", interpolation="nearest")
    figure.colorbar(shown, ax=left, label="scaled value", fraction=0.046)
    left.set_title("image of the row" if layout is None else "image of the row (numbers: see layout)")
    if layout is not None and len(layout.features) <= MAX_KEYED:
        _number_pixels(left, layout, color="tab:orange", fontweight="bold")
    right.imshow(overlay(image, heat), extent=(-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5))
    right.set_title("Grad-CAM overlay")
    figure.colorbar(ScalarMappable(Normalize(0, 1), "jet"), ax=right, label="Grad-CAM", fraction=0.046)
    for axes in (left, right):
        _label_pixels(axes)
    figure.suptitle(literal(title))
    return figure


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Lay a heat map over an image with OpenCV: both enlarged, jet colours at alpha 0.4.

    Parameters
    ----------
    image : ndarray of shape (height, width) or (height, width, 1), of any range; or (height, width, 3), uint8, RGB
    heat : ndarray of shape (map_height, map_width)
        Between 0 and 1.

    Returns
    -------
    ndarray of shape (height, width, 3), uint8, RGB
    """
    scale = max(1, OVERLAY_PIXELS // max(image.shape))
    size = (image.shape[1] * scale, image.shape[0] * scale)
    if image.ndim == 3 and image.shape[2] == 3:
        base = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_NEAREST), cv2.COLOR_RGB2BGR)
    else:
        low, high = float(image.min()), float(image.max())
        grey = np.uint8(255 * (image - low) / (high - low if high > low else 1))
        base = cv2.cvtColor(cv2.resize(grey, size, interpolation=cv2.INTER_NEAREST), cv2.COLOR_GRAY2BGR)
    warm = cv2.resize(np.uint8(255 * np.clip(heat, 0, 1)), size, interpolation=cv2.INTER_LINEAR)
    mixed = cv2.addWeighted(cv2.applyColorMap(warm, cv2.COLORMAP_JET), OVERLAY_ALPHA, base, 1 - OVERLAY_ALPHA, 0)
    return cv2.cvtColor(mixed, cv2.COLOR_BGR2RGB)


def plot_history(history: dict[str, list[float]], kept_epoch: int, *, stacked: bool = False) -> Figure:
    """Draw loss and metric of each epoch, training and validation, and the epoch whose weights were kept (from 1).

    The two are side by side, or one above the other if `stacked`.
    """
    metric = next(name for name in history if name not in ("loss", "learning_rate") and not name.startswith("val_"))
    figure = new_figure((5.6, 6.4) if stacked else (10, 4))
    grid = figure.subplots(2, 1, sharex=True) if stacked else figure.subplots(1, 2)
    for axes, name in zip(grid, ("loss", metric), strict=True):
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            if key in history:
                marker = "o" if len(history[key]) == 1 else None  # a line of one point is not seen
                axes.plot(range(1, len(history[key]) + 1), history[key], label=label, marker=marker)
        axes.axvline(kept_epoch, color="grey", linestyle=":", label=f"kept (epoch {kept_epoch})")
        axes.set(ylabel=name.replace("_", " "))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
        if not stacked or axes is grid[-1]:
            axes.set_xlabel("epoch")
    return figure


def plot_confusion(y: Any, predicted: Any, classes: Sequence[Any] | np.ndarray) -> Figure:
    """Draw the counts of true against predicted classes."""
    size = max(5.0, 0.6 * len(classes) + 2)
    named = LETTER * longest(list(classes))
    turned = named > (size - 2) / len(classes)
    figure = new_figure((size + 1 + max(0.0, named - 1), size + (0.7 * max(0.0, named - 1) if turned else 0)))
    axes = figure.add_subplot()
    names = [short(label) for label in classes]
    ConfusionMatrixDisplay.from_predictions(
        y, predicted, labels=list(classes), display_labels=names, ax=axes, cmap="Blues"
    )
    axes.set_title("test rows")
    if turned:
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    return figure


def plot_predictions(y: Any, predicted: Any, target: str = "target") -> Figure:
    """Draw predicted against true values, with the line on which they are equal."""
    figure = new_figure((5.5, 5.5))
    axes = figure.add_subplot()
    ends = [min(np.min(y), np.min(predicted)), max(np.max(y), np.max(predicted))]
    axes.plot(ends, ends, color="grey", linewidth=1)
    axes.scatter(
        y, predicted, s=8, rasterized=len(y) > MAX_VECTORS, alpha=max(0.1, min(1.0, 500 / len(y))), linewidths=0
    )
    target = short(target)
    axes.set(xlabel=f"true {target}", ylabel=f"predicted {target}", title="test rows", aspect="equal")
    return figure


def _label_pixels(axes: Any) -> None:
    axes.set(xlabel="column", ylabel="row")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_grid(axes: Any, shape: tuple[int, int]) -> None:
    if max(shape) > 100:
        return
    axes.set_xticks(np.arange(-0.5, shape[1]), minor=True)
    axes.set_yticks(np.arange(-0.5, shape[0]), minor=True)
    axes.grid(which="minor", color="lightgrey", linewidth=0.5)
    axes.tick_params(which="minor", length=0)
