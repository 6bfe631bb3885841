"""Pictures as text: what an ``<img>`` shows without another file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from permgrad.plotting import pixel_overlay
from permgrad.report.explained_rows import ImageRows
from permgrad.report.page._render import source
from permgrad.report.results import Results
from permgrad.report.row_heat import SHAPLEY


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


def samples(results: Results, images: ImageRows) -> list[Sample]:
    """Draw a few test rows as the image branch sees them."""
    estimator: Any = results.estimator
    test, heat = results.test, images.heat
    told = f"{heat.method}, in {heat.unit}" if heat.method == SHAPLEY else heat.method
    seen = estimator.images(test.X.iloc[images.samples])
    found = []
    for row, image in zip(images.samples, seen, strict=True):
        true, predicted, place = test.y.iloc[row], results.predicted[row], images.place(row)
        found.append(
            Sample(
                image=encoded(grey(image)),
                overlay=encoded(pixel_overlay(estimator.layout_, heat.pixels[place])[:, :, ::-1]),
                true=_shown(true),
                predicted=_shown(predicted),
                wrong=test.task == "classification" and bool(true != predicted),
                caption=heat.caption(place),
                method=told,
            )
        )
    return found


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, (float, np.floating)) else str(value)


def grey(image: np.ndarray) -> np.ndarray:
    """Return a row's image as bytes, from its lowest to its highest value."""
    low, high = float(image.min()), float(image.max())
    return (255 * (image - low) / (high - low if high > low else 1)).astype(np.uint8)


def encoded(pixels: np.ndarray) -> str:
    """Return pixels, grey or blue-green-red, as the ``src`` of an ``<img>``."""
    return source(cv2.imencode(".png", pixels)[1].tobytes())
