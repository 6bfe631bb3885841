from __future__ import annotations

import numpy as np
import pytest

import permgrad as pg
from permgrad.backend import keras
from permgrad.layers.embeddings import NumberBins, Periodic, PiecewiseLinear

pytestmark = pytest.mark.backend


def embed(layer: keras.layers.Layer, x: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(layer(x))


def test_bins_by_hand():
    """Column after column; below 0 and above 1 as at 0 and 1."""
    encoded = embed(PiecewiseLinear(4), np.array([[0.3125, 1.0], [0.0, 0.625], [-9.0, 1.5]]))
    by_hand = [
        [1, -0.5, -1, -1, 1, 1, 1, 1],
        [-1, -1, -1, -1, 1, 1, 0, -1],
        [-1, -1, -1, -1, 1, 1, 1, 1],
    ]
    np.testing.assert_array_equal(encoded, by_hand)
    assert encoded.dtype == np.float32


def test_bins_at_quantiles_by_hand():
    """Column 0: edges 0, 1, 10; a 0/1 column has one bin, a constant none; what lacks holds -1."""
    layer = PiecewiseLinear(2)
    layer.build((None, 3))
    layer.adapt(np.array([[0, 0, 5], [0.5, 1, 5], [1, 1, 5], [2, 1, 5], [10, 1, 5]], np.float32))
    encoded = embed(layer, np.array([[0.5, 0, 5], [5.5, 1, 5], [99, 1, 7]], np.float32))
    np.testing.assert_array_equal(encoded, [[0, -1, -1, -1, -1, -1], [1, 0, 1, -1, -1, -1], [1, 1, 1, -1, -1, -1]])


def test_bins_agree_with_a_plain_loop(rng):
    X = np.stack([rng.lognormal(size=300), rng.integers(0, 5, 300)], axis=1).astype(np.float32)
    layer = PiecewiseLinear(8)
    layer.build((None, 2))
    layer.adapt(X)
    encoded = embed(layer, X).reshape(300, 2, 8)
    edges = keras.ops.convert_to_numpy(layer.edges)
    for j in range(2):
        for i, value in enumerate(X[:, j]):
            for b, (low, high) in enumerate(zip(edges[:-1, j], edges[1:, j], strict=True)):
                share = min(max((value - low) / (high - low), 0), 1) if high > low else 0
                assert encoded[i, j, b] == pytest.approx(2 * share - 1, abs=1e-5)


def test_bins_lose_nothing_and_are_at_least_two(rng):
    x = rng.random((50, 3)).astype(np.float32)
    encoded = embed(PiecewiseLinear(8), x).reshape(50, 3, 8)
    np.testing.assert_allclose((encoded + 1).sum(axis=2) / 2 / 8, x, atol=1e-6)
    with pytest.raises(pg.PermGradError, match="n_bins must be at least 2, got 1"):
        PiecewiseLinear(1)


def number_bins(rng) -> tuple[NumberBins, np.ndarray]:
    """Return bins beside columns 1, 3 and 4 of six, and 200 rows: long-tailed, of five values, and of one."""
    X = (rng.random((200, 6)) < 0.4).astype(np.float32)
    X[:, 1], X[:, 3], X[:, 4] = rng.lognormal(size=200), rng.integers(0, 5, 200), 2.0
    layer = NumberBins([1, 3, 4], 4)
    layer.build((None, 6))
    layer.adapt(X)
    return layer, X


def test_columns_and_bins_beside_them_agree_with_a_plain_loop(rng):
    """Columns as they come, then four bins of each number; bins that are no wider than nothing hold 0."""
    layer, X = number_bins(rng)
    X[:2, 1] = -9, 99  # beyond all edges
    encoded = embed(layer, X)
    assert encoded.shape == (200, 6 + 3 * 4)
    assert encoded.dtype == np.float32
    np.testing.assert_array_equal(encoded[:, :6], X)
    edges = keras.ops.convert_to_numpy(layer.edges)
    for number, column in enumerate([1, 3, 4]):
        for i, value in enumerate(X[:, column]):
            for b, (low, high) in enumerate(zip(edges[:-1, number], edges[1:, number], strict=True)):
                expected = 2 * min(max((value - low) / (high - low), 0), 1) - 1 if high > low else 0
                assert encoded[i, 6 + number * 4 + b] == pytest.approx(expected, abs=1e-5)
    assert set(np.unique(encoded[:2, 6:10])) == {-1.0, 1.0}
    np.testing.assert_array_equal(encoded[:, 14:], 0)


def test_edges_of_number_bins_are_their_columns_quantiles(rng):
    layer, X = number_bins(rng)
    edges = keras.ops.convert_to_numpy(layer.edges)
    np.testing.assert_allclose(edges[:, 0], np.quantile(X[:, 1], [0, 0.25, 0.5, 0.75, 1]), rtol=0.05)


def test_a_column_of_few_values_has_few_bins():
    """Three values, two gaps: two bins, and two that hold 0 whatever comes."""
    layer = NumberBins([0], 4)
    layer.build((None, 1))
    layer.adapt(np.array([[1], [1], [2], [2], [2], [5]], np.float32))
    encoded = embed(layer, np.array([[1], [1.5], [2], [3.5], [5]], np.float32))
    assert sorted(map(tuple, encoded[:, 1:].T.tolist())) == sorted(
        [(-1.0, 0.0, 1.0, 1.0, 1.0), (-1.0, -1.0, -1.0, 0.0, 1.0), (0.0,) * 5, (0.0,) * 5]
    )


@pytest.mark.parametrize("columns", [[1], [0], [5, 3, 0], [0, 2], [0, 1, 2, 3, 4, 5], [4, 1]])
def test_some_columns_alone_are_as_in_the_whole(columns, rng):
    layer, X = number_bins(rng)
    columns = np.array(columns)
    at = layer.positions(columns)
    alone = keras.ops.convert_to_numpy(layer.of_columns(X[:, columns], columns))
    np.testing.assert_array_equal(alone, embed(layer, X)[:, at])
    expected = []  # each column, then its bins
    for column in columns.tolist():
        expected.append(column)
        if column in (1, 3, 4):
            expected += [6 + [1, 3, 4].index(column) * 4 + b for b in range(4)]
    assert at.tolist() == expected


def test_number_bins_are_at_least_two():
    with pytest.raises(pg.PermGradError, match="n_bins must be at least 2, got 1"):
        NumberBins([0], 1)


def test_waves_agree_with_a_plain_loop(rng):
    x = rng.random((6, 3)).astype(np.float32)
    layer = Periodic(n_frequencies=5, size=4, random_state=3)
    found = embed(layer, x).reshape(6, 3, 4)
    frequencies, phases, kernel, _ = layer.get_weights()
    bias = rng.normal(size=(3, 3))
    layer.set_weights([frequencies, phases, kernel, bias])
    found = embed(layer, x).reshape(6, 3, 4)
    for i in range(6):
        for j in range(3):
            waves = np.cos(2 * np.pi * (frequencies[j] * x[i, j] + phases[j]))
            np.testing.assert_allclose(found[i, j], [2 * x[i, j] - 1, *(waves @ kernel[j] + bias[j])], atol=1e-5)


def test_waves_are_trained_and_follow_the_seed(rng):
    x = rng.random((4, 3)).astype(np.float32)
    layers = [Periodic(random_state=random_state) for random_state in (1, 1, 2)]
    first, again, other = (embed(layer, x) for layer in layers)
    assert len(layers[0].trainable_variables) == 4
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


@pytest.mark.parametrize("settings", [{"n_frequencies": 0}, {"size": 1}, {"sigma": 0.0}])
def test_bad_waves(settings):
    with pytest.raises(pg.PermGradError, match="a periodic embedding needs"):
        Periodic(**settings)


LAYERS = [
    PiecewiseLinear(5, name="embedding"),
    Periodic(5, 6, name="embedding"),
    NumberBins([0, 2], 5, name="embedding"),
]


@pytest.mark.parametrize("layer", LAYERS, ids=["bins", "waves", "bins beside numbers"])
def test_embeddings_survive_saving(layer, rng, tmp_path):
    rows = keras.Input((3,))
    embedded = layer(rows)
    assert embedded.shape == (None, 3 + 2 * 5 if isinstance(layer, NumberBins) else 3 * layer.size)
    model = keras.Model(rows, keras.layers.Dense(2)(embedded))
    X = rng.lognormal(size=(40, 3)).astype(np.float32)
    if hasattr(layer, "adapt"):
        layer.adapt(X)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))
    assert loaded.get_layer("embedding").get_config() == layer.get_config()
