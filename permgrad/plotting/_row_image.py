"""A row's image, and what each of its columns adds there: colour at columns' pixels, and nowhere else."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke

from permgrad.plotting.style import literal, new_figure

if TYPE_CHECKING:
    from permgrad.images.layout import FeatureLayout

SIDE = 400
"""Pixels of the picture's longer side, about."""
UP_AND_DOWN, ONE_WAY = "RdBu_r", "YlOrRd"
"""Colours of values with a sign, and of sizes alone."""
KEY_WIDTH = 78
"""Letters of a line of the key."""
PAPER = 0.75
"""Of columns' pixels that add nothing: so light is what is no column's, of 1."""


def pixel_overlay(layout: FeatureLayout, values: np.ndarray, most: float | None = None) -> np.ndarray:
    """Colour the pixels at which columns sit by what they add, and leave all else grey.

    Parameters
    ----------
    layout : FeatureLayout
    values : ndarray of shape (n_layout_features,)
        Red is positive, blue negative; NaN for a pixel that is not told of, as one of a level that the row has not.
    most : float, optional
        The value of the deepest colour, by default the largest.

    Returns
    -------
    ndarray of shape (height, width, 3), uint8, RGB
        Enlarged, each pixel a square.
    """
    shown = np.full((layout.shape[0] * layout.shape[1], 3), 0.88)
    shown[layout.pixels] = PAPER
    told = np.flatnonzero(~np.isnan(values))
    sums = np.zeros(len(shown))
    np.add.at(sums, layout.pixels[told], values[told])  # features may share a pixel
    norm, name = _scale(values, most)
    at = layout.pixels[told]
    shown[at] = colormaps[name](norm(sums[at]))[:, :3]
    scale = max(1, SIDE // max(layout.shape))
    image = np.uint8(255 * shown.reshape(*layout.shape, 3))
    return cv2.resize(image, (layout.shape[1] * scale, layout.shape[0] * scale), interpolation=cv2.INTER_NEAREST)


def _scale(values: np.ndarray, most: float | None) -> tuple[Normalize, str]:
    known = values[~np.isnan(values)]
    most = most or float(np.abs(known).max(initial=0)) or 1.0
    return (Normalize(0, most), ONE_WAY) if (known >= 0).all() else (Normalize(-most, most), UP_AND_DOWN)


def plot_row_image(
    image: np.ndarray,
    layout: FeatureLayout,
    values: np.ndarray,
    labels: Sequence[tuple[int, str]] = (),
    *,
    title: str = "",
    unit: str = "",
) -> Figure:
    """Draw one row's image beside what its columns add there, with a colour bar.

    Parameters
    ----------
    image : ndarray of shape (height, width) or (height, width, 1)
    layout : FeatureLayout
    values : ndarray of shape (n_layout_features,)
        See `pixel_overlay`.
    labels : sequence of (int, str)
        Features that are told of, by their number in the layout, with what is written of them. Their pixels are
        numbered, and the key is below.
    title, unit : str
        `unit` is the colour bar's.
    """
    image = np.asarray(image, np.float32).reshape(*np.shape(image)[:2])
    key = [line for i, (_, text) in enumerate(labels, 1) for line in _entry(i, text)]
    figure = new_figure((10, 4.6 + 0.16 * len(key) + 0.18 * title.count("\n")))
    left, right = figure.subplots(1, 2)
    shown = left.imshow(image, cmap="gray", interpolation="nearest")
    figure.colorbar(shown, ax=left, label="scaled value", fraction=0.046)
    left.set_title("image of the row")
    extent = (-0.5, layout.shape[1] - 0.5, layout.shape[0] - 0.5, -0.5)
    right.imshow(pixel_overlay(layout, values), extent=extent, interpolation="nearest")
    norm, name = _scale(values, None)
    figure.colorbar(ScalarMappable(norm, name), ax=right, label=literal(unit), fraction=0.046)
    right.set_title("what its columns add there")
    _number(right, layout, [feature for feature, _ in labels])
    for axes in (left, right):
        axes.set_xticks([])
        axes.set_yticks([])
    right.set_xlabel("\n".join(key), fontsize=8, loc="left")
    figure.suptitle(literal(title), fontsize=11)
    return figure


def _entry(number: int, text: str) -> list[str]:
    """Return the lines of the key's entry."""
    return textwrap.wrap(literal(f"{number}  {text}"), KEY_WIDTH, subsequent_indent="    ")


def _number(axes: Any, layout: FeatureLayout, features: Sequence[int]) -> None:
    """Write into the pixels of features their place in the key; features that share a pixel have their numbers there.

    Black on white, since a pixel may be of any colour.
    """
    numbers: dict[tuple[int, int], list[str]] = {}
    for i, feature in enumerate(features, 1):
        numbers.setdefault((int(layout.rows[feature]), int(layout.cols[feature])), []).append(str(i))
    size = min(10.0, max(5.0, 150 / max(layout.shape)))
    for (row, column), known in numbers.items():
        outline = [Stroke(linewidth=2, foreground="white"), Normal()]
        text = ",".join(known)
        axes.text(column, row, text, ha="center", va="center", fontsize=size, path_effects=outline)
