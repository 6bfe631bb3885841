"""What colour and texture alone can tell: a random forest on statistics of each patch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
from sklearn.ensemble import RandomForestClassifier

from permgrad.patches.files import Patches

BINS = 16
SCALES = (1, 2, 4)
"""Pixels that are averaged into one, for texture."""
QUANTILES = (5, 25, 50, 75, 95)


def colour_texture(patches: Patches, workers: int | None = None) -> np.ndarray:
    """Return statistics of each patch, (n_patches, n_statistics), float32; several are read at a time.

    Of each channel in RGB, HSV and Lab: mean, standard deviation, quantiles and a histogram; of the grey image in three
    scales: mean, standard deviation and quantiles of the gradient's size and of the Laplacian's.
    """
    with ThreadPoolExecutor(workers) as pool:
        return np.stack(list(pool.map(lambda row: _statistics(patches.pixels([row])[0]), range(len(patches)))))


def _statistics(image: np.ndarray) -> np.ndarray:
    statistics: list[np.ndarray] = []
    for space in (None, cv2.COLOR_RGB2HSV, cv2.COLOR_RGB2Lab):
        channels = image if space is None else cv2.cvtColor(image, space)
        for c in range(3):
            values = channels[:, :, c].ravel()
            counts = np.bincount(values // (256 // BINS), minlength=BINS) / values.size
            statistics += [_summary(values.astype(np.float32)), counts]
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    for scale in SCALES:
        size = (image.shape[1] // scale, image.shape[0] // scale)
        smaller = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        gradient = np.hypot(cv2.Sobel(smaller, cv2.CV_32F, 1, 0), cv2.Sobel(smaller, cv2.CV_32F, 0, 1))
        statistics += [_summary(gradient.ravel()), _summary(np.abs(cv2.Laplacian(smaller, cv2.CV_32F)).ravel())]
    return np.concatenate(statistics).astype(np.float32)


def _summary(values: np.ndarray) -> np.ndarray:
    return np.array([values.mean(), values.std(), *np.percentile(values, QUANTILES)])


def forest_probability(
    train: tuple[np.ndarray, np.ndarray], statistics: np.ndarray, n_trees: int, random_state: int
) -> np.ndarray:
    """Fit a forest on (statistics, labels) and return the probability of the positive class of others, (n,)."""
    forest = RandomForestClassifier(n_trees, min_samples_leaf=2, n_jobs=-1, random_state=random_state).fit(*train)
    return forest.predict_proba(statistics)[:, 1]
