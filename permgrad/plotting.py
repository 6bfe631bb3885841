"""Pictures of results. Nothing is computed here but positions and colours.

Every function returns a `matplotlib.figure.Figure`: shown by a notebook, written by its ``savefig``.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import cv2
import matplotlib.pyplot  # noqa: F401 - makes notebooks show figures
import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import ConfusionMatrixDisplay

from permgrad.importance.ranking import FeatureRanking
from permgrad.layout import FeatureLayout

NAME_LENGTH = 42
MAX_KEYED = 150
"""Features up to which the layout's picture names each one; beyond, names would not be legible."""
KEY_ROWS = 30
KEY_ALPHA = 0.65
OVERLAY_ALPHA = 0.4
OVERLAY_PIXELS = 400


def plot_ranking(ranking: FeatureRanking, top: int = 10) -> Figure:
    """Draw the `top` best features as horizontal bars, stacked by class where there are classes.

    Bars are not stacked where a class's score is negative: its part has no width.
    """
    shown = _best(ranking, top)[::-1]
    figure, axes = _bars(len(shown))
    if ranking.class_scores is None or ranking.classes is None or ranking.class_scores[shown].min() < 0:
        axes.barh(range(len(shown)), ranking.scores[shown], color=_colours(1)[0])
    else:
        left = np.zeros(len(shown))
        # Scores that sum over classes are stacked; means over classes are divided so that bars end at the score.
        parts = ranking.class_scores[shown]
        sums = parts.sum(axis=1)
        factor = np.divide(ranking.scores[shown], sums, out=np.zeros(len(shown)), where=sums != 0)
        for c, label in enumerate(ranking.classes):
            width = parts[:, c] * factor
            axes.barh(range(len(shown)), width, left=left, label=label, color=_colours(len(ranking.classes))[c])
            left += width
        figure.legend(title="class", loc="outside right upper")
    _name_bars(axes, [ranking.features[i] for i in shown])
    axes.set_xlabel(_score_label(ranking))
    axes.set_title(_title(ranking), fontsize=11)
    return figure


def plot_scores(ranking: FeatureRanking, top: int = 20) -> Figure:
    """Draw the `top` best features of one explainer, with error bars of one standard deviation over repeats."""
    shown = _best(ranking, top)[::-1]
    figure, axes = _bars(len(shown))
    error = None if ranking.std is None else ranking.std[shown]
    axes.barh(range(len(shown)), ranking.scores[shown], xerr=error, color=_colours(1)[0], ecolor="black", capsize=3)
    axes.axvline(0, color="black", linewidth=0.8)
    _name_bars(axes, [ranking.features[i] for i in shown])
    axes.set_xlabel(_score_label(ranking))
    axes.set_title(_title(ranking), fontsize=11)
    return figure


def _best(ranking: FeatureRanking, top: int) -> np.ndarray:
    """Return the numbers of the best features that were measured."""
    return ranking.order[~np.isin(ranking.features, ranking.pending)[ranking.order]][:top]


def plot_layout(layout: FeatureLayout) -> Figure:
    """Draw where each feature sits in the image: numbered, coloured pixels, and a key of their names.

    Features that share a pixel share a number.
    """
    pixels, number = np.unique(layout.pixels, return_inverse=True)
    keyed = len(layout.features) <= MAX_KEYED
    names = [" + ".join(np.array(layout.features)[number == i]) for i in range(len(pixels))] if keyed else []
    key = [textwrap.fill(f"{i} {name}", NAME_LENGTH, subsequent_indent="    ") for i, name in enumerate(names, 1)]
    lines = [line for entry in key for line in entry.split("\n")]
    columns = -(-len(lines) // KEY_ROWS)
    figure = _figure((6 + columns * (0.5 + 0.075 * max(map(len, lines), default=0)), 6))
    axes = figure.add_subplot()
    image = np.full(layout.shape, np.nan)
    image.flat[pixels] = np.arange(len(pixels))
    axes.imshow(image, cmap="turbo", alpha=KEY_ALPHA, interpolation="nearest")
    _draw_grid(axes, layout.shape)
    size = min(9.0, 150 / max(layout.shape))
    for i, pixel in enumerate(pixels if keyed else ()):
        axes.text(
            pixel % layout.shape[1], pixel // layout.shape[1], str(i + 1), ha="center", va="center", fontsize=size
        )
    _label_pixels(axes)
    axes.set_title(f"{len(layout.features)} features in {layout.shape[0]} × {layout.shape[1]} pixels ({layout.method})")
    colours = colormaps["turbo"](np.linspace(0, 1, len(key)))
    marks = [Patch(color=colour, alpha=KEY_ALPHA, label=entry) for colour, entry in zip(colours, key, strict=True)]
    if marks:
        figure.legend(handles=marks, loc="outside right upper", ncols=columns, fontsize=8, frameon=False)
    return figure


def plot_sample(image: np.ndarray, heat: np.ndarray, title: str = "") -> Figure:
    """Draw one row's image beside its Grad-CAM overlay, with a colour bar.

    Parameters
    ----------
    image : ndarray of shape (height, width) or (height, width, 1)
    heat : ndarray of shape (map_height, map_width)
        Between 0 and 1, in any resolution.
    """
    image = np.asarray(image, np.float32).reshape(*np.shape(image)[:2])
    figure = _figure((10, 4.6))
    left, right = figure.subplots(1, 2)
    shown = left.imshow(image, cmap="gray", interpolation="nearest")
    figure.colorbar(shown, ax=left, label="scaled value", fraction=0.046)
    left.set_title("image of the row")
    right.imshow(overlay(image, heat), extent=(-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5))
    right.set_title("Grad-CAM overlay")
    figure.colorbar(ScalarMappable(Normalize(0, 1), "jet"), ax=right, label="Grad-CAM", fraction=0.046)
    for axes in (left, right):
        _label_pixels(axes)
    figure.suptitle(title)
    return figure


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Lay a heat map over an image with OpenCV: both enlarged, jet colours at alpha 0.4.

    Returns
    -------
    ndarray of shape (height, width, 3), uint8, RGB
    """
    scale = max(1, OVERLAY_PIXELS // max(image.shape))
    size = (image.shape[1] * scale, image.shape[0] * scale)
    low, high = float(image.min()), float(image.max())
    grey = np.uint8(255 * (image - low) / (high - low if high > low else 1))
    base = cv2.cvtColor(cv2.resize(grey, size, interpolation=cv2.INTER_NEAREST), cv2.COLOR_GRAY2BGR)
    warm = cv2.resize(np.uint8(255 * np.clip(heat, 0, 1)), size, interpolation=cv2.INTER_LINEAR)
    mixed = cv2.addWeighted(cv2.applyColorMap(warm, cv2.COLORMAP_JET), OVERLAY_ALPHA, base, 1 - OVERLAY_ALPHA, 0)
    return cv2.cvtColor(mixed, cv2.COLOR_BGR2RGB)


def plot_history(history: dict[str, list[float]], kept_epoch: int) -> Figure:
    """Draw loss and metric of each epoch, training and validation, and the epoch whose weights were kept (from 1)."""
    metric = next(name for name in history if name not in ("loss", "learning_rate") and not name.startswith("val_"))
    figure = _figure((10, 4))
    for axes, name in zip(figure.subplots(1, 2), ("loss", metric), strict=True):
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            if key in history:
                axes.plot(range(1, len(history[key]) + 1), history[key], label=label)
        axes.axvline(kept_epoch, color="grey", linestyle=":", label=f"kept (epoch {kept_epoch})")
        axes.set(xlabel="epoch", ylabel=name.replace("_", " "))
        axes.legend()
    return figure


def plot_confusion(y: Any, predicted: Any, classes: Sequence[Any] | np.ndarray) -> Figure:
    """Draw the counts of true against predicted classes."""
    size = max(5.0, 0.6 * len(classes) + 2)
    figure = _figure((size + 1, size))
    axes = figure.add_subplot()
    ConfusionMatrixDisplay.from_predictions(y, predicted, labels=list(classes), ax=axes, cmap="Blues")
    axes.set_title("test rows")
    if max(len(str(label)) for label in classes) > 6 and len(classes) > 2:
        axes.tick_params(axis="x", rotation=45)
    return figure


def plot_predictions(y: Any, predicted: Any, target: str = "target") -> Figure:
    """Draw predicted against true values, with the line on which they are equal."""
    figure = _figure((5.5, 5.5))
    axes = figure.add_subplot()
    ends = [min(np.min(y), np.min(predicted)), max(np.max(y), np.max(predicted))]
    axes.plot(ends, ends, color="grey", linewidth=1)
    axes.scatter(y, predicted, s=8, alpha=max(0.1, min(1.0, 500 / len(y))), linewidths=0)
    axes.set(xlabel=f"true {target}", ylabel=f"predicted {target}", title="test rows", aspect="equal")
    return figure


def _figure(size: tuple[float, float]) -> Figure:
    return Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))


def _bars(n: int) -> tuple[Figure, Any]:
    figure = _figure((8, max(2.5, 1.2 + 0.32 * n)))
    return figure, figure.add_subplot()


def _name_bars(axes: Any, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [_short(name) for name in names])
    axes.margins(y=0.01)
    axes.spines[["top", "right"]].set_visible(False)


def _short(name: str) -> str:
    return name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 1]}…"


def _score_label(ranking: FeatureRanking) -> str:
    return {
        "permutation": "loss increase when permuted (mean ± sd over repeats)",
        "grad_cam": "mean Grad-CAM at the feature's pixel",
        "permgrad": "PermGrad score",
    }.get(ranking.method, "score")


def _title(ranking: FeatureRanking) -> str:
    name = {"permutation": "Permutation importance", "grad_cam": "Grad-CAM", "permgrad": "PermGrad"}
    weights = ", ".join(f"{branch} {weight:.2f}" for branch, weight in (ranking.branch_weights or {}).items())
    return name.get(ranking.method, ranking.method) + (f"\nbranch weights: {weights}" if weights else "")


def _colours(n: int) -> list[Any]:
    if n > 20:
        return [colormaps["turbo"](i / (n - 1)) for i in range(n)]
    return list(colormaps["tab10" if n <= 10 else "tab20"].colors)  # type: ignore[attr-defined]


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
