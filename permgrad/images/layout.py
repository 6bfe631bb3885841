"""Feature → pixel: where each feature sits in the image, and how a row is drawn.

The one convention for the whole project: ``image[row, col]``, origin at the top left. The image
layer writes by it and Grad-CAM reads by it. The positions come from TINTOlib's methods, fitted on
training rows.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from permgrad.data.checks import check_columns
from permgrad.data.encoding import is_number
from permgrad.data.table import as_frame
from permgrad.errors import PermGradError, listing
from permgrad.images.placement import METHODS, place_features

MAX_ASSIGNMENT = 20_000_000
"""Features × pixels up to which pixels are shared out by linear assignment (8 bytes each)."""


@dataclass(frozen=True, eq=False)
class FeatureLayout:
    """A pixel for each feature, and the range by which it is scaled.

    Attributes
    ----------
    features : tuple of str
    rows, cols : ndarray of shape (n_features,), int32
        Pixel of each feature, counted from the top left.
    shape : (int, int)
        Height and width of the image.
    minimum, maximum : ndarray of shape (n_features,), float64
        Range in the rows that the layout was fitted on; drawn values are ``(x - minimum) / (maximum - minimum)``.
    method : str
    merge : {"last", "mean"}
        What a pixel with several features shows (only layouts with ``unique=False`` have such pixels).

    Examples
    --------
    >>> layout = clf.layout_
    >>> layout.shape, layout.pixels.shape, layout.features[0]
    ((6, 6), (4,), 'sepal length (cm)')
    """

    features: tuple[str, ...]
    rows: np.ndarray
    cols: np.ndarray
    shape: tuple[int, int]
    minimum: np.ndarray
    maximum: np.ndarray
    method: str
    merge: Literal["last", "mean"] = "last"

    @property
    def pixels(self) -> np.ndarray:
        """Flat position ``row * width + col`` of each feature, shape (n_features,)."""
        return self.rows * self.shape[1] + self.cols

    @property
    def collisions(self) -> list[tuple[str, ...]]:
        """Features that share a pixel, one tuple per shared pixel; empty for a unique layout."""
        by_pixel = pd.Series(self.features).groupby(self.pixels).agg(tuple)
        return [names for names in by_pixel if len(names) > 1]

    def sources(self) -> tuple[np.ndarray, np.ndarray]:
        """Return what each pixel shows: a weighted sum of at most `depth` features.

        Returns
        -------
        index : ndarray of shape (height * width, depth), int32
            Feature numbers; ``n_features`` where there is none.
        weight : ndarray of shape (height * width, depth), float32

        Examples
        --------
        >>> index, weight = clf.layout_.sources()
        >>> index.shape == weight.shape
        True
        """
        n_pixels = self.shape[0] * self.shape[1]
        by_pixel: dict[int, list[int]] = {}
        for feature, pixel in enumerate(self.pixels.tolist()):
            by_pixel.setdefault(pixel, []).append(feature)
        if self.merge == "last":
            by_pixel = {pixel: shown[-1:] for pixel, shown in by_pixel.items()}
        depth = max(map(len, by_pixel.values()))
        index = np.full((n_pixels, depth), len(self.features), np.int32)
        weight = np.zeros((n_pixels, depth), np.float32)
        for pixel, shown in by_pixel.items():
            index[pixel, : len(shown)] = shown
            weight[pixel, : len(shown)] = 1 / len(shown)
        return index, weight

    def render(self, X: Any) -> np.ndarray:
        """Draw rows as images.

        Parameters
        ----------
        X : DataFrame or array of shape (n_rows, n_features)
            Unscaled rows with the layout's features, in its order.

        Returns
        -------
        ndarray of shape (n_rows, height, width, 1), float32
            Zero at pixels without a feature. Values outside the fitted range are not clipped.

        Raises
        ------
        PermGradError
            If the columns differ from the layout's features.

        Examples
        --------
        >>> clf.layout_.render(test.X.head(3)).shape
        (3, 6, 6, 1)
        """
        scaled = self.scale(X)
        padded = np.hstack([scaled, np.zeros((len(scaled), 1))])
        index, weight = self.sources()
        images = np.zeros((len(scaled), len(index)), np.float32)
        for depth in range(index.shape[1]):
            images += padded[:, index[:, depth]] * weight[:, depth]
        return images.reshape(-1, *self.shape, 1)

    def scale(self, X: Any) -> np.ndarray:
        """Return rows scaled by the fitted range (a constant feature becomes 0), float64.

        Examples
        --------
        >>> clf.layout_.scale(train.X).max(axis=0).round(6).tolist()
        [1.0, 1.0, 1.0, 1.0]
        """
        span = self.maximum - self.minimum
        return (_numeric_frame(X, self.features).to_numpy(float) - self.minimum) * np.divide(
            1, span, out=np.zeros_like(span), where=span > 0
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers, ready for JSON.

        Examples
        --------
        >>> clf.layout_.to_dict()["method"]
        'tinto'
        """
        arrays = {name: getattr(self, name).tolist() for name in ("rows", "cols", "minimum", "maximum")}
        return {
            "features": list(self.features),
            "shape": list(self.shape),
            "method": self.method,
            "merge": self.merge,
            **arrays,
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> FeatureLayout:
        """Build the layout that `to_dict` described.

        Examples
        --------
        >>> pg.FeatureLayout.from_dict(clf.layout_.to_dict()).shape == clf.layout_.shape
        True
        """
        return cls(
            features=tuple(content["features"]),
            rows=np.array(content["rows"], np.int32),
            cols=np.array(content["cols"], np.int32),
            shape=(content["shape"][0], content["shape"][1]),
            minimum=np.array(content["minimum"], float),
            maximum=np.array(content["maximum"], float),
            method=content["method"],
            merge=content["merge"],
        )


MAX_SIZE = 1024
"""Pixels of a side: a million in all, each of them many numbers in the network."""


def compact_size(n_features: int) -> int:
    """Return the side of a square image with half as many pixels again as features: neighbours meet.

    A convolution of 3 × 3 pixels sees few features at once where most pixels are empty, and takes its time for them.
    """
    return max(6, math.ceil(math.sqrt(1.5 * n_features)))


def image_size(n_features: int) -> int:
    """Return the default side of a square image.

    20 pixels, the published size, up to 100 features; then about a quarter of the pixels carry a
    feature; beyond 1,024 features the image grows only as needed, so that the cost of the
    convolutions stays in proportion to the table's width.
    """
    roomy, tight = math.ceil(2 * math.sqrt(n_features)), math.ceil(math.sqrt(n_features))
    return max(20, min(roomy, 64), tight)


def fit_layout(
    X: Any, method: str = "tinto", size: int | None = None, *, unique: bool = True, random_state: int = 0
) -> FeatureLayout:
    """Give each column of `X` a pixel, such that similar columns are close to each other.

    Parameters
    ----------
    X : DataFrame or array of shape (n_rows, n_features)
        Training rows only: numeric, without missing values.
    method : {"tinto", "igtd", "deepinsight", "fotomics", "refined"}
        TINTOlib's method, or our own optimisation of REFINED's objective. Its time and memory grow with the number of
        features; "igtd" and "refined" compare all pairs of features and suit hundreds of them, "tinto" suits tens of
        thousands. "refined" puts its square into the middle of the image.
    size : int, optional
        Height and width of the image; by default chosen from the number of features.
    unique : bool
        True: every feature gets a pixel of its own, the nearest free ones by linear assignment (above
        20 million feature-pixel pairs, by sorting into rows and columns). False: the published
        layout, in which features may share a pixel; a warning says which.
    random_state : int

    Returns
    -------
    FeatureLayout

    Raises
    ------
    PermGradError
        For an unknown method, missing or non-numeric values, fewer pixels than features, and for
        "deepinsight" and "fotomics" with fewer than three features that vary.

    References
    ----------
    TINTO: Castillo-Cara et al., SoftwareX 22 (2023). IGTD: Zhu et al., Sci. Rep. 11 (2021).
    DeepInsight: Sharma et al., Sci. Rep. 9 (2019). Fotomics: Zandavi et al., Artif. Intell. Rev. 56
    (2023). REFINED: Bazgir et al., Nat. Commun. 11 (2020). All but the last through TINTOlib.

    Examples
    --------
    >>> layout = pg.fit_layout(train.X, "tinto", size=6)
    >>> layout.shape, len(set(zip(layout.rows.tolist(), layout.cols.tolist())))
    ((6, 6), 4)
    """
    if method not in METHODS:
        raise PermGradError(f"layout method must be one of {listing(METHODS)}, got {method!r}")
    X = _numeric_frame(X)
    size = image_size(X.shape[1]) if size is None else size
    if not isinstance(size, (int, np.integer)) or not 1 <= size <= MAX_SIZE:
        raise PermGradError(f"size must be a whole number of pixels from 1 to {MAX_SIZE:,}, got {size!r}")
    if (unique or method in ("igtd", "refined")) and X.shape[1] > size**2:
        raise PermGradError(
            f"{X.shape[1]} features need at least {X.shape[1]} pixels, an image of {size} × {size} has {size**2}; "
            f"choose size={math.ceil(math.sqrt(X.shape[1]))} or more"
        )
    minimum, maximum = X.to_numpy(float).min(axis=0), X.to_numpy(float).max(axis=0)
    varies = maximum > minimum
    points, shape = place_features(X.loc[:, varies], method, size, random_state)
    placed = np.full((X.shape[1], 2), (np.array(shape) - 1) / 2)  # constant features: as central as others let them
    placed[varies] = points
    if unique:
        placed = _own_pixels(placed, shape)
    pixels = np.rint(placed).astype(np.int32)
    merge: Literal["last", "mean"] = "mean" if method in ("deepinsight", "fotomics") else "last"
    layout = FeatureLayout(
        tuple(X.columns), pixels[:, 0], pixels[:, 1], shape, minimum, maximum, method, "last" if unique else merge
    )
    _warn_of_collisions(layout)
    return layout


def _numeric_frame(X: Any, features: tuple[str, ...] | None = None) -> pd.DataFrame:
    named = isinstance(X, pd.DataFrame)
    X = as_frame(X)
    if features is not None and len(X.columns) != len(features):
        raise PermGradError(f"the layout has {len(features)} features, the table has {X.shape[1]} columns")
    if features is not None and named:
        check_columns(X.columns, features, "the layout's table")
    unfit = [name for name, column in X.items() if not is_number(column) or column.isna().any()]
    if unfit:
        raise PermGradError(
            f"a layout needs numbers without missing values; encode or impute {listing(unfit)} first"
            " (pg.HybridClassifier and pg.HybridRegressor do this themselves)"
        )
    return X


def _own_pixels(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Move each point (n, 2) to a pixel of its own, the total squared distance as small as possible."""
    n_pixels = shape[0] * shape[1]
    if len(points) * n_pixels > MAX_ASSIGNMENT:
        return _sorted_grid(points, shape)
    pixels = np.indices(shape).reshape(2, -1).T
    feature, pixel = linear_sum_assignment(cdist(points, pixels, "sqeuclidean"))
    placed = np.empty_like(points)
    placed[feature] = pixels[pixel]
    return placed


def _sorted_grid(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Fill image rows with points in order of their row, each row in order of its points' columns."""
    per_row = math.ceil(len(points) / shape[0])
    by_row = np.lexsort((points[:, 1], points[:, 0]))
    placed = np.empty_like(points)
    for row, start in enumerate(range(0, len(points), per_row)):
        in_row = by_row[start : start + per_row]
        columns = np.linspace(0, shape[1] - 1, len(in_row)) if len(in_row) < shape[1] else np.arange(shape[1])
        placed[in_row[np.argsort(points[in_row, 1], kind="stable")]] = np.column_stack(
            [np.full(len(in_row), row), np.rint(columns)]
        )
    return placed


def _warn_of_collisions(layout: FeatureLayout) -> None:
    if layout.collisions:
        n_pixels = len(np.unique(layout.pixels))
        effect = "only the last one of each is drawn" if layout.merge == "last" else "their mean is drawn"
        shared = "; ".join(" + ".join(names) for names in layout.collisions)
        warnings.warn(
            f"{len(layout.features)} features share {n_pixels} pixels, {effect}: {shared}. unique=True avoids this.",
            stacklevel=3,
        )
