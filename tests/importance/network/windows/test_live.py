"""Maps of images on which few pixels are drawn: live cells for each row, all others once; against the whole branch."""

from __future__ import annotations

import numpy as np
import pytest

import permgrad as pg
from permgrad.backend import keras
from permgrad.importance.network.branches import Graph
from permgrad.importance.network.fusion_point import fusion_point
from permgrad.importance.network.windows import live
from permgrad.importance.network.windows.deltas import Where
from permgrad.importance.network.windows.engine import windowed_branch
from permgrad.layers.image import FeatureImage
from tests.importance.network.windows.test_engine import ROWS, random_network, randomised
from tests.oracle import predicted

L = keras.layers
ops = keras.ops


def drawn(body, pixels, shape):
    """A branch that draws a column into each of these pixels, and goes on with a body, (image → model)."""
    n_cells = shape[0] * shape[1]
    index, weight = np.full((n_cells, 1), len(pixels), np.int32), np.zeros((n_cells, 1), np.float32)
    index[pixels, 0], weight[pixels, 0] = np.arange(len(pixels)), 1
    rows = keras.Input((len(pixels),))
    scaled = L.Rescaling(2.0, 0.5)(rows)  # an empty pixel is 0 all the same
    return keras.Model(rows, body(FeatureImage(shape, index, weight)(scaled)))


def engine_of(model):
    cut = pg.cut_model(model)
    return windowed_branch(cut, cut.branches[0], fusion_point(cut), fuse=False)


def largest_error(model, n_pixels, rng):
    """Change each column of each row; the largest error of the code, over its largest value, and largest change."""
    engine, (height, width) = engine_of(model), model.layers[2].shape
    rows = rng.normal(scale=10, size=(ROWS, n_pixels)).astype(np.float32)
    kept, weights = engine.start([rows[:1], rows[1:]]), engine.weights(1)
    top, left = np.unravel_index(engine.drawing.pixels(np.arange(n_pixels))[1], (height, width))
    local, column = np.tile(np.arange(ROWS), n_pixels), np.arange(n_pixels).repeat(ROWS)
    where = Where(*(ops.convert_to_tensor(index.astype(np.int32)) for index in (local, top, left)))
    changed = rows[local]
    changed[np.arange(len(local)), column] += 15
    moved = ops.convert_to_tensor(
        np.full((len(local), 1, engine.drawing.shape[2]), 30.0, np.float32)
    )  # as the image shows it
    code = ops.convert_to_numpy(engine.finish(1, moved, where, kept, weights))
    expected = predicted(model, changed)
    largest = np.abs(expected).max()
    return np.abs(code - expected).max() / largest, np.abs(expected - predicted(model, rows)[local]).max() / largest


def blocks(x, pooling="same", size=2, strides=2):
    for filters in (3, 4):
        x = L.ReLU()(L.BatchNormalization()(L.Conv2D(filters, 3, padding="same")(x)))
        x = L.MaxPooling2D(size, strides=strides, padding=pooling)(x)
    return L.Dense(3)(L.Flatten()(x))


@pytest.mark.slow
@pytest.mark.parametrize(
    "pixels", [[0], [15 * 17 - 1, 3], [16, 17, 18, 100, 101, 254]], ids=["corner", "corners", "neighbours"]
)
@pytest.mark.parametrize("pooling", [pytest.param("same", marks=pytest.mark.backend), "valid"])
def test_few_pixels(pixels, pooling, rng):
    model = randomised(drawn(lambda x: blocks(x, pooling), np.array(pixels), (15, 17)), rng)
    assert len(engine_of(model).live) == 5
    error, change = largest_error(model, len(pixels), rng)
    assert error < 1e-5 < 1e-2 < change


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(24))
def test_any_network(seed):
    """Whatever a live cell cannot be followed through takes the whole map."""
    rng = np.random.default_rng(seed)
    inner = random_network(rng)
    shape = inner.input_shape[1:3]
    pixels = rng.permutation(shape[0] * shape[1])[: int(rng.integers(1, 5))]

    def body(x):
        x = L.Concatenate()([x] * inner.input_shape[3]) if inner.input_shape[3] > 1 else x
        return _again(inner, x)

    model = randomised(drawn(body, np.sort(pixels), shape), rng)
    assert largest_error(model, len(pixels), rng)[0] < 1e-5


def _again(model, x):
    """Apply a model's layers, so that they are the outer model's own."""
    made = {id(model.inputs[0]): x}
    for node in Graph(model).nodes:
        given = [made[id(tensor)] for tensor in node.input_tensors]
        made[id(node.outputs[0])] = node.operation(given if len(given) > 1 else given[0])
    return made[id(model.outputs[0])]


def test_what_no_pixel_reaches_is_not_computed(rng):
    """Two cells far apart: nine outputs each of the first convolution, whatever the image's size."""
    sizes = []
    for side in (24, 48):
        pixels = np.array([5 * side + 6, 16 * side + 16])
        engine = engine_of(drawn(blocks, pixels, (side, side)))
        sizes.append([len(engine.live[i]) for i in range(5)])
        assert engine.floats_per_row == sum(n * c for n, c in zip(sizes[-1][1:], (3, 3, 4, 4), strict=True)) + 3
    assert sizes[0] == sizes[1]
    assert sizes[0][:2] == [2, 18]


def test_where_most_is_drawn_all_is_computed():
    engine = engine_of(drawn(blocks, np.arange(200), (15, 17)))
    assert engine.live == {}


def test_a_live_cell_that_is_left_out_is_seen(rng, monkeypatch):
    """What these tests are worth."""
    model = randomised(drawn(blocks, np.array([40, 100]), (15, 17)), rng)
    places = live._places
    monkeypatch.setattr(live, "_places", lambda at, slidings: places(at[:-1], slidings))
    assert largest_error(model, 2, rng)[0] > 1e-3
