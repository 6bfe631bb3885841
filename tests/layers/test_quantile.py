from __future__ import annotations

import numpy as np
import pytest

import permgrad as pg
from permgrad.backend import keras
from permgrad.layers.quantile import QuantileScale, middle_ranks, quantile_edges

pytestmark = pytest.mark.backend


def kinds_of_columns(rng: np.random.Generator, n: int = 500) -> np.ndarray:
    """Smooth, long-tailed, constant, 0/1, mostly zero, few values, codes far from all numbers."""
    columns = [
        rng.normal(size=n),
        rng.lognormal(sigma=3, size=n),
        np.full(n, 3.0),
        rng.integers(0, 2, n),
        np.where(rng.random(n) < 0.6, 0, rng.exponential(size=n)),
        rng.integers(-2, 4, n),
        np.where(rng.random(n) < 0.1, -9e6, rng.random(n)),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def plain_scale(train: np.ndarray, x: np.ndarray, n_bins: int) -> np.ndarray:
    """One column at a time: the rank of each edge counted, and numpy's interpolation between different edges."""
    scaled = np.empty(x.shape)
    for j, column in enumerate(train.T):
        ordered = sorted(column.tolist())
        occurring = sorted(set(ordered))
        if len(occurring) > n_bins + 1:
            places = np.linspace(0, len(ordered) - 1, n_bins + 1).round().astype(int)
            occurring = sorted({ordered[place] for place in places})
        ranks = [sum(v < edge for v in ordered) + sum(v <= edge for v in ordered) for edge in occurring]
        span = (ranks[-1] - ranks[0]) or 1
        scaled[:, j] = np.interp(x[:, j], occurring, [(rank - ranks[0]) / span for rank in ranks])
    return scaled


def fitted(X: np.ndarray, n_bins: int) -> QuantileScale:
    layer = QuantileScale(n_bins)
    layer.build((None, X.shape[1]))
    layer.adapt(X)
    return layer


@pytest.mark.parametrize("n_bins", [2, 8, 128])
def test_ranks_agree_with_a_count(n_bins, rng):
    train = kinds_of_columns(rng)
    new = np.concatenate([train, train + rng.normal(size=train.shape).astype(np.float32), [[9e9] * 7], [[-9e9] * 7]])
    new = new.astype(np.float32)
    found = keras.ops.convert_to_numpy(fitted(train, n_bins)(new))
    np.testing.assert_allclose(found, plain_scale(train, new, n_bins), atol=2e-6)
    assert found.dtype == np.float32


def test_ranks_by_hand():
    """Ties have their middle rank, the ends are 0 and 1, a 0/1 column stays as it is, a constant one is 0."""
    train = np.array([[1, 0, 5], [1, 1, 5], [2, 1, 5], [2, 1, 5], [2, 1, 5], [10, 1, 5]], np.float32)
    new = np.array([[1, 0, 5], [2, 1, 5], [6, 0.5, 7], [10, 2, 5], [0, -1, 4]], np.float32)
    # middle ranks of column 0: 1, 3.5 and 5.5, so (3.5 - 1) / 4.5 = 5 / 9
    by_hand = [[0, 0, 0], [5 / 9, 1, 0], [7 / 9, 0.5, 0], [1, 1, 0], [0, 0, 0]]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(fitted(train, 4)(new)), by_hand, atol=1e-6)


def test_training_rows_come_out_evenly(rng):
    scaled = keras.ops.convert_to_numpy(fitted(kinds_of_columns(rng, 2000), 128)(kinds_of_columns(rng, 2000)))
    for j in (0, 1):
        np.testing.assert_allclose(np.quantile(scaled[:, j], [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.05)


def test_edges_hold_equally_many_rows(rng):
    X = rng.lognormal(size=(4000, 3)).astype(np.float32)
    edges = quantile_edges(X, 8)
    for j in range(3):
        counts = np.histogram(X[:, j], edges[:, j])[0]
        assert counts.min() >= 499
    few = quantile_edges(np.array([[1.0], [7.0], [1.0]], np.float32), 4)
    assert few[:, 0].tolist() == [1, 7, 7, 7, 7]
    assert middle_ranks(np.array([[1.0], [7.0], [1.0]]), few)[:, 0].tolist() == [0, 1, 1, 1, 1]


def test_blocks_of_columns_change_nothing(rng, monkeypatch):
    X = rng.random((50, 7)).astype(np.float32)
    whole = quantile_edges(X, 4)
    monkeypatch.setattr("permgrad.layers.quantile.BLOCK_FLOATS", 100)
    np.testing.assert_array_equal(quantile_edges(X, 4), whole)


def test_a_wide_table_takes_no_tensor_of_bins(rng):
    """Weights take 2 * 129 numbers a column; a batch of 32 wide rows is never spread over the bins."""
    layer = QuantileScale()
    wide = keras.Input((20_000,))
    graph = keras.Model(wide, layer(wide))
    assert graph.count_params() == 2 * 129 * 20_000
    assert graph.output_shape == (None, 20_000)
    X = rng.random((32, 20_000)).astype(np.float32)
    layer.adapt(X)
    scaled = keras.ops.convert_to_numpy(layer(X))
    assert (scaled.min(axis=0) == 0).all()
    assert (scaled.max(axis=0) == 1).all()


def test_what_is_scaled_to_zero(rng):
    X = kinds_of_columns(rng)
    layer = fitted(X, 16)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer.origin), X.min(axis=0))


def test_ranks_survive_saving(rng, tmp_path):
    X = kinds_of_columns(rng)
    rows = keras.Input((7,))
    layer = QuantileScale(16, name="scale")
    model = keras.Model(rows, layer(rows))
    layer.adapt(X)
    assert not model.trainable_variables
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))
    assert loaded.get_layer("scale").n_bins == 16


@pytest.mark.parametrize("n_bins", [0, 1, 100])
def test_bad_number_of_bins(n_bins):
    with pytest.raises(pg.PermGradError, match=f"n_bins must be a power of two of at least 2, got {n_bins}"):
        QuantileScale(n_bins)
