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
from permgrad.plotting import pixel_overlay
from permgrad.report.row_heat import SHAPLEY, row_heat

MAX_SAMPLES = 6
DPI = 150
"""Of what is no line or text in a vector picture."""


@dataclass(frozen=True)
class Sample:
    """One row: its image, what its columns add there, and what was predicted.

    Attributes
    ----------
    image, overlay : str
        Sources of pictures.
    true, predicted : str
    wrong : bool
    caption : str
        Which columns speak for the answer and against it, by the row's own values; or why none does.
    method : str
        What the colours of the overlay are.
    """

    image: str
    overlay: str
    true: str
    predicted: str
    wrong: bool
    caption: str
    method: str


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
    heat = row_heat(estimator, part.X, test.X)
    told = f"{heat.method}, in {heat.unit}" if heat.method == SHAPLEY else heat.method
    return [
        Sample(
            image=_encoded(_grey(image)),
            overlay=_encoded(pixel_overlay(estimator.layout_, values)[:, :, ::-1]),
            true=_shown(test.y.iloc[row]),
            predicted=_shown(predicted[row]),
            wrong=test.task == "classification" and bool(test.y.iloc[row] != predicted[row]),
            caption=heat.caption(number),
            method=told,
        )
        for number, (row, image, values) in enumerate(zip(rows, estimator.images(part.X), heat.pixels, strict=True))
    ]


def _chosen(test: Table, predicted: np.ndarray) -> np.ndarray:
    y = test.y.to_numpy()
    if test.task == "regression":
        return np.argsort(y, kind="stable")[np.unique([0, len(y) // 2, len(y) - 1])]
    first = [int(np.flatnonzero(y == label)[0]) for label in np.unique(y)][:MAX_SAMPLES]
    wrong = np.flatnonzero((y != predicted) & ~np.isin(np.arange(len(y)), first))[:1]
    return np.array([*first[: MAX_SAMPLES - len(wrong)], *wrong], int)


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, (float, np.floating)) else str(value)


def _grey(image: np.ndarray) -> np.ndarray:
    low, high = float(image.min()), float(image.max())
    return (255 * (image - low) / (high - low if high > low else 1)).astype(np.uint8)


def _encoded(pixels: np.ndarray) -> str:
    _, data = cv2.imencode(".png", pixels)
    return _source("png", data.tobytes())


def _source(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
