"""Embeddings of numeric columns: several numbers for each, so that a Dense layer behind them can bend.

They take columns that are scaled to [0, 1] and give column after column: with `size` numbers each, column i has the
outputs ``i * size`` to ``(i + 1) * size - 1``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from permgrad.backend import keras
from permgrad.errors import PermGradError
from permgrad.layers.quantile import evenly, quantile_edges

ops = keras.ops


class _ColumnEmbedding(keras.layers.Layer):
    """What embeddings share; `size` is how many numbers a column becomes."""

    size: int

    def positions(self, columns: np.ndarray) -> np.ndarray:
        """Return which outputs these columns become, column after column."""
        return (columns[:, None] * self.size + np.arange(self.size)).reshape(-1)

    def compute_output_shape(self, input_shape: tuple[int | None, int]) -> tuple[int | None, int]:
        """Return (batch, n_features * size)."""
        return (input_shape[0], input_shape[1] * self.size)

    def _flat(self, embedded: Any) -> Any:
        """(batch, n_features, size) → (batch, n_features * size)."""
        return ops.reshape(embedded, (-1, embedded.shape[1] * self.size))


@keras.saving.register_keras_serializable("permgrad")
class PiecewiseLinear(_ColumnEmbedding):
    """Spread each column over its bins: (batch, n_features) → (batch, n_features * n_bins), float32.

    Bin j from edge a to edge b of a value x holds ``2 * clip((x - a) / (b - a), 0, 1) - 1``: -1 below the bin, 1 above
    it, linear within. A Dense layer behind it is a piecewise linear function of each column rather than a linear one;
    an MLP that sees the column alone is slow to bend. Values beyond the outermost edges are clipped to them.

    The edges are weights that are not trained, shape (n_bins + 1, n_features): equally spaced in [0, 1] until `adapt`
    puts them at quantiles. A column of few values has fewer bins; those that it lacks hold -1.

    Parameters
    ----------
    n_bins : int
        At least 2.

    References
    ----------
    Gorishniy, Rubachev & Babenko, On Embeddings for Numerical Features in Tabular Deep Learning (NeurIPS 2022), section
    3.2 with bins at quantiles; there values run from 0 to 1, and the outer bins are not clipped.
    """

    def __init__(self, n_bins: int, **keywords: Any) -> None:
        super().__init__(**{"dtype": "float32", **keywords})
        if n_bins < 2:
            raise PermGradError(f"n_bins must be at least 2, got {n_bins}")
        self.size = self.n_bins = int(n_bins)

    def build(self, input_shape: tuple[int | None, int]) -> None:
        """Create the edges."""
        shape = (self.n_bins + 1, input_shape[-1])
        self.edges = self.add_weight(shape=shape, initializer=evenly, trainable=False, name="edges")

    def adapt(self, X: np.ndarray) -> None:
        """Put the edges at quantiles of scaled training rows, shape (n_rows, n_features)."""
        self.edges.assign(quantile_edges(X, self.n_bins))

    def call(self, x: Any) -> Any:
        """Encode a batch."""
        return self._encoded(x, self.edges)

    def of_columns(self, x: Any, columns: np.ndarray) -> Any:
        """Encode some of the columns, shape (n_rows, n_columns), alone."""
        return self._encoded(x, ops.take(self.edges, columns, axis=1))

    def _encoded(self, x: Any, edges: Any) -> Any:
        edges = ops.transpose(edges)  # (n_columns, n_bins + 1)
        low, width = edges[:, :-1], edges[:, 1:] - edges[:, :-1]
        share = ops.clip((x[:, :, None] - low) / ops.where(width > 0, width, 1.0), 0, 1)
        return self._flat(2 * ops.where(width > 0, share, 0.0) - 1)

    def get_config(self) -> dict[str, Any]:
        """Return the settings."""
        return {**super().get_config(), "n_bins": self.n_bins}


@keras.saving.register_keras_serializable("permgrad")
class NumberBins(_ColumnEmbedding):
    """Columns as they come, and bins of the numeric ones beside them: (batch, n_features) → (batch, n_outputs).

    The first n_features outputs are the columns themselves. Behind them, each column of `numbers` has `n_bins` more,
    as of `PiecewiseLinear`, but that bins which a column of few values lacks hold 0. So a Dense layer starts as a
    linear function of each column, and bends where that helps; a 0/1 column costs one input. All is float32.

    Parameters
    ----------
    numbers : list of int
        Columns that are binned, ascending.
    n_bins : int
        At least 2.

    References
    ----------
    As of `PiecewiseLinear`; the value itself beside its bins after Gorishniy, Kotelnikov & Babenko, TabM (ICLR 2025).
    """

    def __init__(self, numbers: Any, n_bins: int, **keywords: Any) -> None:
        super().__init__(**{"dtype": "float32", **keywords})
        if n_bins < 2:
            raise PermGradError(f"n_bins must be at least 2, got {n_bins}")
        self.numbers, self.n_bins = [int(number) for number in numbers], int(n_bins)
        self.size = 1 + self.n_bins

    def build(self, input_shape: tuple[int | None, int]) -> None:
        """Create the edges, shape (n_bins + 1, n_numbers); until `adapt`, equally spaced in [0, 1]."""
        shape = (self.n_bins + 1, len(self.numbers))
        self.edges = self.add_weight(shape=shape, initializer=evenly, trainable=False, name="edges")
        self.n_features = input_shape[-1]

    def adapt(self, X: np.ndarray) -> None:
        """Put the edges at quantiles of scaled training rows, shape (n_rows, n_features)."""
        self.edges.assign(quantile_edges(X[:, self.numbers], self.n_bins))

    def call(self, x: Any) -> Any:
        """Encode a batch."""
        bins = _shares(ops.take(x, np.array(self.numbers, np.int32), axis=1), self.edges)
        return ops.concatenate([x, ops.reshape(bins, (-1, len(self.numbers) * self.n_bins))], axis=1)

    def of_columns(self, x: Any, columns: np.ndarray) -> Any:
        """Encode some of the columns, shape (n_rows, n_columns), alone: as `positions` orders them."""
        binned = np.flatnonzero(np.isin(columns, self.numbers))
        if not len(binned):
            return x
        edges = ops.take(self.edges, np.searchsorted(self.numbers, np.asarray(columns)[binned]), axis=1)
        bins = ops.reshape(_shares(ops.take(x, binned, axis=1), edges), (-1, len(binned) * self.n_bins))
        return ops.take(ops.concatenate([x, bins], axis=1), self._order(binned, len(columns)), axis=1)

    def positions(self, columns: np.ndarray) -> np.ndarray:
        """Return which outputs these columns become, column after column: itself, then its bins."""
        binned = np.flatnonzero(np.isin(columns, self.numbers))
        number = np.searchsorted(self.numbers, columns[binned])
        bins = self.n_features + number[:, None] * self.n_bins + np.arange(self.n_bins)
        return np.concatenate([columns, bins.reshape(-1)])[self._order(binned, len(columns))]

    def _order(self, binned: np.ndarray, n_columns: int) -> np.ndarray:
        """Return the order that puts each column's bins behind it, of columns followed by the bins of some."""
        owner = np.concatenate([np.arange(n_columns), np.repeat(binned, self.n_bins)])
        return np.argsort(owner, kind="stable")

    def compute_output_shape(self, input_shape: tuple[int | None, int]) -> tuple[int | None, int]:
        """Return (batch, n_features + n_numbers * n_bins)."""
        return (input_shape[0], input_shape[1] + len(self.numbers) * self.n_bins)

    def get_config(self) -> dict[str, Any]:
        """Return the settings."""
        return {**super().get_config(), "numbers": self.numbers, "n_bins": self.n_bins}


def _shares(x: Any, edges: Any) -> Any:
    """Return where values (batch, n) stand in their columns' bins, (batch, n, n_bins): -1 below, 1 above, 0 if none."""
    edges = ops.transpose(edges)  # (n, n_bins + 1)
    low, width = edges[:, :-1], edges[:, 1:] - edges[:, :-1]
    share = 2 * ops.clip((x[:, :, None] - low) / ops.where(width > 0, width, 1.0), 0, 1) - 1
    return ops.where(width > 0, share, 0.0)


@keras.saving.register_keras_serializable("permgrad")
class Periodic(_ColumnEmbedding):
    """Waves of each column: (batch, n_features) → (batch, n_features * size), float32.

    A value x becomes 2x - 1 beside ``size - 1`` linear combinations of ``cos(2π (f_j x + b_j))``, with frequencies
    f_j, phases b_j and combinations of each column's own, all of them trained.

    Parameters
    ----------
    n_frequencies : int
        Waves of each column.
    size : int
        Numbers that a column becomes, at least 2.
    sigma : float
        Spread of the initial frequencies, normal about 0: how fast a wave changes over a column scaled to [0, 1].
    random_state : int
        Of the initial weights.

    References
    ----------
    Gorishniy, Rubachev & Babenko, On Embeddings for Numerical Features in Tabular Deep Learning (NeurIPS 2022),
    equation 2. With phases and the value itself, and without a nonlinearity, it is the PBLD embedding of Holzmüller,
    Grinsztajn & Steinwart, Better by Default (NeurIPS 2024).
    """

    def __init__(
        self, n_frequencies: int = 16, size: int = 4, sigma: float = 0.3, random_state: int = 0, **keywords: Any
    ) -> None:
        super().__init__(**{"dtype": "float32", **keywords})
        if n_frequencies < 1 or size < 2 or sigma <= 0:
            raise PermGradError(
                "a periodic embedding needs n_frequencies of at least 1, size of at least 2 and sigma above 0, got"
                f" {n_frequencies}, {size} and {sigma}"
            )
        self.n_frequencies, self.size, self.sigma, self.random_state = (
            int(n_frequencies),
            int(size),
            float(sigma),
            int(random_state),
        )

    def build(self, input_shape: tuple[int | None, int]) -> None:
        """Create the weights: frequencies and phases (n_features, n_frequencies), and the combinations."""
        n, waves = input_shape[-1], self.n_frequencies
        seeds = np.random.default_rng(self.random_state).integers(2**31, size=3).tolist()
        bound = 1 / math.sqrt(waves)
        self.frequencies = self.add_weight(
            shape=(n, waves), initializer=keras.initializers.RandomNormal(0, self.sigma, seeds[0]), name="frequencies"
        )
        self.phases = self.add_weight(
            shape=(n, waves), initializer=keras.initializers.RandomUniform(-0.5, 0.5, seeds[1]), name="phases"
        )
        self.kernel = self.add_weight(
            shape=(n, waves, self.size - 1),
            initializer=keras.initializers.RandomUniform(-bound, bound, seeds[2]),
            name="kernel",
        )
        self.bias = self.add_weight(shape=(n, self.size - 1), initializer="zeros", name="bias")

    def call(self, x: Any) -> Any:
        """Embed a batch."""
        return self._embedded(x, self.frequencies, self.phases, self.kernel, self.bias)

    def of_columns(self, x: Any, columns: np.ndarray) -> Any:
        """Embed some of the columns, shape (n_rows, n_columns), alone."""
        weights = (self.frequencies, self.phases, self.kernel, self.bias)
        return self._embedded(x, *(ops.take(weight, columns, axis=0) for weight in weights))

    def _embedded(self, x: Any, frequencies: Any, phases: Any, kernel: Any, bias: Any) -> Any:
        waves = ops.cos(2 * math.pi * (x[:, :, None] * frequencies + phases))  # (batch, n_columns, n_frequencies)
        combined = ops.einsum("bnw,nws->bns", waves, kernel) + bias
        return self._flat(ops.concatenate([2 * x[:, :, None] - 1, combined], axis=-1))

    def get_config(self) -> dict[str, Any]:
        """Return the settings."""
        names = ("n_frequencies", "size", "sigma", "random_state")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
