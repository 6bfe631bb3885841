"""Where a classifier of patches looks: Grad-CAM maps, how much of them is on tissue, and which patches to show."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pandas as pd

from permgrad.errors import PermGradError
from permgrad.importance.grad_cam import grad_cam_maps
from permgrad.layers.stain import TISSUE_DENSITY
from permgrad.patches.predicting import logits_of

CENTRE = 32
"""Side of the square in the middle whose tumour cells make a patch positive, in the competition's data."""
KINDS = ("surest", "most mistaken", "most doubtful")


def patch_heat(model: Any, images: np.ndarray, *, method: str = "grad_cam", layer: str = "last") -> np.ndarray:
    """Return Grad-CAM maps of a classifier's prediction for each patch.

    Parameters
    ----------
    model : keras.Model
        See `permgrad.backbone_classifier`.
    images : ndarray of shape (n, height, width, 3)
        Pixels from 0 to 255.
    method, layer : str
        See `permgrad.grad_cam_maps`.

    Returns
    -------
    ndarray of shape (n, height, width), float32
        Evidence for the predicted class (positive if the logit is above 0), between 0 and 1, relative to the patch's
        own peak, enlarged to the patch by linear interpolation; all 0 if there is no evidence.

    Examples
    --------
    >>> pg.patch_heat(patch_network, patches.pixels([0, 1])).shape
    (2, 32, 32)
    """
    positive = logits_of(model, model.predict(np.asarray(images), verbose=0)) > 0
    maps = grad_cam_maps(model, images, attribution=method, layer=layer, task="classification")  # (n, h, w, 2)
    own = maps[np.arange(len(maps)), :, :, positive.astype(int)]
    size = images.shape[2], images.shape[1]
    return np.stack([cv2.resize(one, size, interpolation=cv2.INTER_LINEAR) for one in own])


def tissue(images: np.ndarray) -> np.ndarray:
    """Return which pixels are stained tissue, not glass: bool, (n, height, width).

    Those of a mean optical density of at least 0.15 (beta of Macenko et al., A Method for Normalizing Histology Slides,
    ISBI 2009), with 255 for glass.
    """
    density = -np.log((np.asarray(images, np.float32) + 1) / 256)
    return density.mean(axis=-1) >= TISSUE_DENSITY


def heat_shares(images: np.ndarray, heat: np.ndarray) -> pd.DataFrame:
    """Return how much of each patch's heat is on tissue and in its middle, beside how much of its area is.

    Parameters
    ----------
    images : ndarray of shape (n, height, width, 3)
    heat : ndarray of shape (n, height, width)

    Returns
    -------
    DataFrame
        ``tissue_heat``, ``tissue_area``, ``centre_heat``, ``centre_area``: shares. A network that looks anywhere has as
        much heat as area. NaN where there is no heat.
    """
    height, width = heat.shape[1:]
    centre = np.zeros((height, width), bool)
    top, left = (max(0, (size - CENTRE) // 2) for size in (height, width))
    centre[top : top + CENTRE, left : left + CENTRE] = True
    total = heat.sum(axis=(1, 2), dtype=float)
    total[total == 0] = np.nan
    on_tissue = tissue(images)
    return pd.DataFrame(
        {
            "tissue_heat": (heat * on_tissue).sum(axis=(1, 2), dtype=float) / total,
            "tissue_area": on_tissue.mean(axis=(1, 2)),
            "centre_heat": (heat * centre).sum(axis=(1, 2), dtype=float) / total,
            "centre_area": np.full(len(heat), centre.mean()),
        }
    )


def notable_patches(y: np.ndarray, probabilities: np.ndarray, k: int) -> dict[str, np.ndarray]:
    """Return which patches are worth a look: rows, at most `k` of each kind, the most telling first.

    Parameters
    ----------
    y, probabilities : ndarray of shape (n_patches,)
    k : int

    Returns
    -------
    dict
        "surest": right, and furthest from 0.5, of both classes in turn. "most mistaken": wrong, and furthest from 0.5.
        "most doubtful": closest to 0.5.
    """
    if k < 1:
        raise PermGradError(f"k must be at least 1, got {k}")
    y, probabilities = np.asarray(y), np.asarray(probabilities, float)
    doubt = np.abs(probabilities - 0.5)
    right = (probabilities > 0.5) == (y == 1)
    by_doubt = np.argsort(doubt, kind="stable")
    surest = by_doubt[::-1]
    surest = surest[right[surest]]
    of_class = [surest[y[surest] == c] for c in (1, 0)]
    in_turn = [rows[i] for i in range(k) for rows in of_class if i < len(rows)]
    mistaken = by_doubt[::-1][~right[by_doubt[::-1]]]
    return dict(zip(KINDS, (np.array(in_turn[:k], int), mistaken[:k], by_doubt[:k]), strict=True))
