"""Pictures as text: what an ``<img>`` shows without another file."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from permgrad.data.table import Table
from permgrad.importance.pixels import read_pixels
from permgrad.plotting import overlay

MAX_SAMPLES = 6
JPEG_QUALITY = 90
DPI = 150
"""Of what is no line or text in a vector picture."""


@dataclass(frozen=True)
class Sample:
    """One row: its image, the Grad-CAM overlay, and what was predicted."""

    image: str
    overlay: str
    true: str
    predicted: str
    wrong: bool
    hottest: list[str]


def figure_source(figure: Figure) -> str:
    """Return a figure as the ``src`` of an ``<img>``: SVG, sharp at any size and on paper."""
    written = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "permgrad", "svg.fonttype": "path"}):  # equal figures, equal bytes
        figure.savefig(written, format="svg", dpi=DPI, metadata={"Date": None})
    return _source("svg+xml", written.getvalue())


def samples(estimator: Any, test: Table, predicted: np.ndarray) -> list[Sample]:
    """Draw a few test rows as the image branch sees them, chosen by rule and not by look.

    Classification: the first row of each class, and the first that is predicted wrongly. Regression: the rows
    with the lowest, the median and the highest target. At most `MAX_SAMPLES`.
    """
    rows = _chosen(test, predicted)
    part = test.take(rows)
    images, maps = estimator.images(part.X), estimator.grad_cam_maps(part.X)
    classification = test.task == "classification"
    outputs = [int(np.flatnonzero(estimator.classes_ == predicted[row])[0]) if classification else 0 for row in rows]
    heats = [heat[:, :, output] for heat, output in zip(maps, outputs, strict=True)]
    at_feature = read_pixels(maps, estimator.layout_)  # (n_rows, n_layout_features, n_outputs)
    names = np.array(estimator.layout_.features)
    return [
        Sample(
            image=_encoded(".png", _grey(image)),
            overlay=_encoded(".jpg", overlay(image[:, :, 0], heat)[:, :, ::-1]),
            true=_shown(test.y.iloc[row]),
            predicted=_shown(predicted[row]),
            wrong=classification and bool(test.y.iloc[row] != predicted[row]),
            hottest=_hottest(scores[:, output], names),
        )
        for row, image, heat, scores, output in zip(rows, images, heats, at_feature, outputs, strict=True)
    ]


def _chosen(test: Table, predicted: np.ndarray) -> np.ndarray:
    y = test.y.to_numpy()
    if test.task == "regression":
        return np.argsort(y, kind="stable")[np.unique([0, len(y) // 2, len(y) - 1])]
    first = [int(np.flatnonzero(y == label)[0]) for label in np.unique(y)][:MAX_SAMPLES]
    wrong = np.flatnonzero((y != predicted) & ~np.isin(np.arange(len(y)), first))[:1]
    return np.array([*first[: MAX_SAMPLES - len(wrong)], *wrong], int)


def _hottest(heat: np.ndarray, names: np.ndarray) -> list[str]:
    """Return the three hottest features; fewer where no others have any heat."""
    best = np.argsort(-heat, kind="stable")[:3]
    return names[best[heat[best] > 0]].tolist()


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, (float, np.floating)) else str(value)


def _grey(image: np.ndarray) -> np.ndarray:
    low, high = float(image.min()), float(image.max())
    return (255 * (image - low) / (high - low if high > low else 1)).astype(np.uint8)


def _encoded(kind: str, pixels: np.ndarray) -> str:
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if kind == ".jpg" else []
    _, data = cv2.imencode(kind, pixels, options)
    return _source({".jpg": "jpeg", ".png": "png"}[kind], data.tobytes())


def _source(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
