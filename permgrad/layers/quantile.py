"""Quantiles of columns: where bins begin, and a scaling by rank."""

from __future__ import annotations

from typing import Any

import numpy as np

from permgrad.backend import keras
from permgrad.errors import PermGradError

ops = keras.ops

BLOCK_FLOATS = 2**24
"""Numbers that are sorted at a time; a wide table is taken in blocks of columns."""


def quantile_edges(X: np.ndarray, n_bins: int) -> np.ndarray:
    """Return the edges of at most `n_bins` bins of each column that hold equally many rows, as far as ties let them.

    Edges are values that occur. A column of no more than ``n_bins + 1`` values has each of them as an edge. Fewer bins
    than `n_bins` leave the last edge repeated.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns), float32
    n_bins : int

    Returns
    -------
    ndarray of shape (n_bins + 1, n_columns), float32
        Ascending.
    """
    edges = np.empty((n_bins + 1, X.shape[1]), np.float32)
    ranks = np.linspace(0, len(X) - 1, n_bins + 1).round().astype(int)
    step = max(1, BLOCK_FLOATS // len(X))
    for start in range(0, X.shape[1], step):
        ordered = np.sort(X[:, start : start + step], axis=0)
        for j, column in enumerate(ordered.T, start):
            occurring = column[np.r_[True, column[1:] > column[:-1]]]
            column_edges = occurring if len(occurring) <= n_bins + 1 else np.unique(column[ranks])
            edges[:, j] = np.pad(column_edges, (0, n_bins + 1 - len(column_edges)), mode="edge")
    return edges


def middle_ranks(X: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return each edge's rank among its column's values, ties in their middle, from 0 (lowest edge) to 1 (highest).

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
    edges : ndarray of shape (n_edges, n_columns)
        From `quantile_edges`.

    Returns
    -------
    ndarray of shape (n_edges, n_columns), float32
        0 for a column that is constant.
    """
    ranks = np.empty(edges.shape, np.float32)
    for j in range(X.shape[1]):
        column = np.sort(X[:, j])
        middle = np.searchsorted(column, edges[:, j], "left") + np.searchsorted(column, edges[:, j], "right")
        ranks[:, j] = (middle - middle[0]) / max(1, middle[-1] - middle[0])
    return ranks


def evenly(shape: tuple[int, int], dtype: Any = None) -> Any:
    """Initialise edges (n_edges, n_columns): equally spaced from 0 to 1 in each column."""
    return ops.cast(ops.broadcast_to(ops.linspace(0.0, 1.0, shape[0])[:, None], shape), dtype)


@keras.saving.register_keras_serializable("permgrad")
class QuantileScale(keras.layers.Layer):
    """Scale each column to [0, 1] by its rank among the training rows, linear between quantiles.

    Input and output have shape (batch, n_features), float32. What is spread unevenly (a long tail, a code far from
    all numbers) comes out evenly; a 0/1 column stays as it is; a constant column is 0. Values beyond the training
    range are clipped to it. Quantiles and their ranks are weights that are not trained, ``2 * (n_bins + 1)`` numbers
    a column; see `adapt`.

    Parameters
    ----------
    n_bins : int
        Between quantiles; a power of two.

    References
    ----------
    The uniform case of scikit-learn's ``QuantileTransformer``; its lowest and highest value are 0 and 1 here too
    where several rows share them, and ties in between have their middle rank.
    """

    def __init__(self, n_bins: int = 128, **keywords: Any) -> None:
        super().__init__(**{"dtype": "float32", **keywords})
        if n_bins < 2 or n_bins & (n_bins - 1):
            raise PermGradError(f"n_bins must be a power of two of at least 2, got {n_bins}")
        self.n_bins = int(n_bins)

    def build(self, input_shape: tuple[int | None, int]) -> None:
        """Create the quantiles and their ranks, each of shape (n_bins + 1, n_features); until `adapt`, of [0, 1]."""
        shape = (self.n_bins + 1, input_shape[-1])
        self.edges = self.add_weight(shape=shape, initializer=evenly, trainable=False, name="edges")
        self.ranks = self.add_weight(shape=shape, initializer=evenly, trainable=False, name="ranks")

    def adapt(self, X: np.ndarray) -> None:
        """Take the quantiles from training rows of shape (n_rows, n_features)."""
        edges = quantile_edges(X, self.n_bins)
        self.edges.assign(edges)
        self.ranks.assign(middle_ranks(X, edges))

    @property
    def origin(self) -> Any:
        """What is scaled to 0, shape (n_features,)."""
        return self.edges[0]

    def call(self, x: Any) -> Any:
        """Scale a batch."""
        return self._scaled(x, self.edges, self.ranks)

    def of_columns(self, x: Any, columns: np.ndarray) -> Any:
        """Scale some of the columns, shape (n_rows, n_columns), alone."""
        return self._scaled(x, ops.take(self.edges, columns, axis=1), ops.take(self.ranks, columns, axis=1))

    def _scaled(self, x: Any, edges: Any, ranks: Any) -> Any:
        place = self._bin(x, edges)
        low, high = (ops.take_along_axis(edges, place + more, axis=0) for more in (0, 1))
        low_rank, high_rank = (ops.take_along_axis(ranks, place + more, axis=0) for more in (0, 1))
        width = high - low
        share = ops.clip((x - low) / ops.where(width > 0, width, 1.0), 0, 1)
        return low_rank + share * (high_rank - low_rank)

    def _bin(self, x: Any, edges: Any) -> Any:
        """Return the last bin that begins at or below each value (the first, for values below all), by bisection.

        Holds a few numbers per cell of the batch, whatever the number of bins.
        """
        place = ops.zeros_like(x, dtype="int32")
        step = self.n_bins // 2
        while step:
            beyond = ops.take_along_axis(edges, place + step, axis=0) <= x
            place = place + step * ops.cast(beyond, "int32")
            step //= 2
        return place

    def compute_output_shape(self, input_shape: tuple[int | None, int]) -> tuple[int | None, int]:
        """Return the input's."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the settings."""
        return {**super().get_config(), "n_bins": self.n_bins}
