"""Where TINTOlib's methods, and our own REFINED, place the features of a table: one function a method, none that draws.

Places are in pixel units, (row, column) from the top left, unrounded where the method gives more
than whole pixels. TINTOlib is imported when it is used: it takes a second.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy.spatial import QhullError

from permgrad.errors import PermGradError
from permgrad.images.refined import place_on_square

METHODS = ("tinto", "igtd", "deepinsight", "fotomics", "refined")


def place_features(X: pd.DataFrame, method: str, size: int, random_state: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Place each feature of `X` by one of `METHODS`.

    Parameters
    ----------
    X : DataFrame of shape (n_rows, n_features)
        Numbers; every column varies.
    method : str
    size : int
        Height and width of the image.
    random_state : int

    Returns
    -------
    places : ndarray of shape (n_features, 2), float64
    shape : (int, int)
        Height and width of the image.

    Raises
    ------
    PermGradError
        If the method cannot place these features, or needs what is not installed.
    """
    frame = (X - X.min()) / (X.max() - X.min())
    if X.shape[1] < 2 or np.ptp(frame.to_numpy(), axis=1).max() == 0:  # one feature, or several that are the same
        return np.full((X.shape[1], 2), (size - 1) / 2), (size, size)
    frame.columns = [str(i) for i in range(X.shape[1])]
    place = {
        "tinto": _tinto,
        "igtd": _igtd,
        "deepinsight": _parametric,
        "fotomics": _parametric,
        "refined": _refined,
    }[method]
    return place(frame, method, size, random_state)


def _tinto(frame: pd.DataFrame, method: str, size: int, random_state: int) -> tuple[np.ndarray, tuple[int, int]]:
    from TINTOlib.tinto import TINTO

    model = TINTO(problem="unsupervised", transformer=None, pixels=size, random_seed=random_state)
    model.fit(frame)
    # TINTO rounds |coordinate| / edge * (pixels - 1); the distances before rounding decide who stays.
    return np.abs(model.initial_coordinates / model.vertices[2, 0]) * (size - 1), (size, size)


def _igtd(frame: pd.DataFrame, method: str, size: int, random_state: int) -> tuple[np.ndarray, tuple[int, int]]:
    from TINTOlib.igtd import IGTD

    # IGTD fills the grid from the first pixel on, as many pixels as features: the grid is made to fit them.
    width = min(size, math.ceil(math.sqrt(frame.shape[1])))
    model = IGTD(problem="unsupervised", transformer=None, scale=[size, width], random_seed=random_state)
    model.fit(frame)
    # Pixel k shows feature index[k]; TINTOlib's features_positions table says the inverse of what it draws.
    order = model.index[model.min_id]
    points = np.empty((frame.shape[1], 2))
    points[order] = np.column_stack(model.coordinate)
    height = math.ceil(frame.shape[1] / width)
    centre = np.array([(size - height) // 2, (size - width) // 2])
    return points + centre, (size, size)


def _parametric(frame: pd.DataFrame, method: str, size: int, random_state: int) -> tuple[np.ndarray, tuple[int, int]]:
    from TINTOlib.deepInsight import DeepInsight
    from TINTOlib.fotomics import Fotomics

    if frame.shape[1] < 3:
        raise PermGradError(f"{method} needs at least 3 features that vary, got {frame.shape[1]}; use method='tinto'")
    kind = {"deepinsight": DeepInsight, "fotomics": Fotomics}[method]
    model = kind(image_dim=size, problem="unsupervised", transformer=None, random_seed=random_state)
    try:
        model.fit(frame)
    except QhullError as error:
        raise PermGradError(f"{method} finds these features on one line; use method='tinto'") from error
    return model._features_positions.astype(float), (size, size)


def _refined(frame: pd.DataFrame, method: str, size: int, random_state: int) -> tuple[np.ndarray, tuple[int, int]]:
    side = math.ceil(math.sqrt(frame.shape[1]))
    return place_on_square(frame.to_numpy(float)) + (size - side) // 2, (size, size)
