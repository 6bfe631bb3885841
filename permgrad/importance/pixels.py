"""Each feature's heat, read off maps that may be coarser than the image."""

from __future__ import annotations

from typing import Any

import numpy as np

from permgrad.images.layout import FeatureLayout


def read_pixels(maps: np.ndarray, layout: FeatureLayout, readout: str = "cell") -> np.ndarray:
    """Read each feature's heat off the maps.

    Parameters
    ----------
    maps : ndarray of shape (n_rows, map_height, map_width, n_outputs)
    layout : FeatureLayout
    readout : {"cell", "bilinear"}
        Pixel (row, col) lies in cell (row * map_height // height, ...); or the maps are enlarged to the image by
        linear interpolation between the centres of cells, as OpenCV does it, and read at the pixel.

    Returns
    -------
    ndarray of shape (n_rows, n_layout_features, n_outputs)
    """
    at = [layout.rows, layout.cols]
    if readout == "cell":
        rows, cols = (at[axis] * maps.shape[1 + axis] // layout.shape[axis] for axis in (0, 1))
        return maps[:, rows, cols]
    heat: Any = 0.0
    corners = [_nearest_two(at[axis], layout.shape[axis], maps.shape[1 + axis]) for axis in (0, 1)]
    for rows, row_weight in corners[0]:
        for cols, col_weight in corners[1]:
            heat = heat + maps[:, rows, cols] * (row_weight * col_weight)[:, None]
    return heat


def _nearest_two(pixels: np.ndarray, n_pixels: int, n_cells: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the two cells whose centres lie around each pixel's, along one axis, with the weight of each."""
    place = np.clip((pixels + 0.5) * n_cells / n_pixels - 0.5, 0, n_cells - 1)
    low = np.floor(place).astype(int)
    share = (place - low).astype(np.float32)
    return [(low, 1 - share), (np.minimum(low + 1, n_cells - 1), share)]
