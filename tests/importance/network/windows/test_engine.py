"""An image branch by windows, against the whole branch on images in which the pixels are changed."""

from __future__ import annotations

import numpy as np
import pytest

import permgrad as pg
from permgrad.backend import keras
from permgrad.importance.network.fusion_point import fusion_point
from permgrad.importance.network.windows import spans
from permgrad.importance.network.windows.deltas import Where
from permgrad.importance.network.windows.engine import windowed_branch
from permgrad.importance.network.windows.spans import Sliding, Span
from permgrad.importance.network.windows.stages import Convolution
from permgrad.layers.batch_ensemble import EnsembleDense
from tests.oracle import predicted

L = keras.layers
ops = keras.ops
ROWS = 4


def engine_of(model, *, fuse=False):
    cut = pg.cut_model(model)
    return windowed_branch(cut, cut.branches[0], fusion_point(cut), fuse=fuse)


def randomised(model, rng):
    """Random weights, so large that maps bend; variances positive."""
    for weight in model.weights:
        if "variance" in weight.name:
            weight.assign(rng.uniform(0.5, 2, weight.shape))
        elif "seed" not in weight.name:
            weight.assign(rng.normal(size=weight.shape) * (2 / np.sqrt(max(1, np.prod(weight.shape[:-1])))))
    return model


def largest_error(model, rng, size=1, *, fuse=False, positions=None):
    """Change each square of pixels of each row; the largest error of the code, over the code's largest value."""
    engine = engine_of(model, fuse=fuse)
    height, width, channels = engine.drawing.shape
    images = rng.normal(size=(ROWS, height, width, channels)).astype(np.float32)
    kept, weights = engine.start([images]), engine.weights(size)
    every = [(top, left) for top in range(height - size + 1) for left in range(width - size + 1)]
    at = np.array(every if positions is None else positions)
    top, left = at.repeat(ROWS, axis=0).T
    local = np.tile(np.arange(ROWS), len(at))
    change = rng.normal(size=(len(local), size, size, channels)).astype(np.float32)
    where = Where(*(ops.convert_to_tensor(index.astype(np.int32)) for index in (local, *at.T)))
    moved = ops.convert_to_tensor(change.reshape(len(local), size * size, channels))
    code = ops.convert_to_numpy(engine.finish(size, moved, where, kept, weights))
    patched = images[local]
    for pair, square in enumerate(change):
        patched[pair, top[pair] : top[pair] + size, left[pair] : left[pair] + size] += square
    expected = predicted(model, patched)
    assert np.abs(expected - predicted(model, images)[local]).max() > 1e-3 * np.abs(expected).max()
    return np.abs(code - expected).max() / np.abs(expected).max()


def random_network(rng):
    """A small convolutional network of layers drawn at random."""
    image = x = keras.Input((int(rng.integers(9, 15)), int(rng.integers(9, 15)), int(rng.integers(1, 3))))
    for _ in range(int(rng.integers(1, 4))):
        x = random_convolution(x, rng)
        if rng.random() < 0.5:
            x = L.BatchNormalization()(x)
        if rng.random() < 0.3:
            x = L.Add()([x, L.Conv2D(x.shape[-1], 3, padding="same", activation="tanh")(x)])
            x = L.ReLU()(x)
        if rng.random() < 0.5 and min(x.shape[1:3]) >= 3:
            kind = L.MaxPooling2D if rng.random() < 0.6 else L.AveragePooling2D
            size, padding = int(rng.integers(2, 4)), str(rng.choice(["valid", "same"]))
            x = kind(size, strides=int(rng.integers(1, 4)), padding=padding)(x)
        if rng.random() < 0.3:
            x = L.Dropout(0.2)(x)
    ends = [
        lambda x: L.Dense(3)(L.Flatten()(x)),
        lambda x: L.Dense(3, "tanh")(L.Dropout(0.1)(L.Flatten()(x))),
        lambda x: L.Dense(3)(L.GlobalAveragePooling2D()(x)),
        lambda x: L.Dense(3)(L.GlobalMaxPooling2D()(x)),
        lambda x: EnsembleDense(3, 2, "relu", spread=True)(L.Flatten()(x)),
        L.Flatten(),
        lambda x: L.Dense(3)(L.Flatten()(L.LayerNormalization()(x))),
    ]
    return keras.Model(image, ends[rng.integers(len(ends))](x))


def random_convolution(x, rng):
    kernel, stride = int(rng.integers(1, 6)), int(rng.choice([1, 1, 1, 2, 3]))
    dilation = int(rng.choice([1, 1, 2])) if stride == 1 else 1
    padding = "valid" if dilation * (kernel - 1) + 1 <= min(x.shape[1:3]) and rng.random() < 0.4 else "same"
    activation = str(rng.choice(["relu", "elu", "gelu", "linear"]))
    how = {"strides": stride, "dilation_rate": dilation, "padding": padding, "activation": activation}
    kind = rng.random()
    if kind < 0.15:
        return L.DepthwiseConv2D(kernel, **how)(x)
    if kind < 0.3:
        return L.SeparableConv2D(4, kernel, **how)(x)
    return L.Conv2D(int(rng.integers(2, 6)), kernel, **how)(x)


ON_BOTH = [pytest.param(seed, marks=pytest.mark.backend) for seed in (1, 12)]
"""Average pooling, additions, separable and strided convolutions: on both backends; the others on one, for the time."""


@pytest.mark.parametrize("seed", [0, 2, 3, 4, *range(6, 12), *range(13, 21), *ON_BOTH])
def test_any_network_at_every_pixel(seed):
    rng = np.random.default_rng(seed)
    model = randomised(random_network(rng), rng)
    assert largest_error(model, rng) < 1e-5


@pytest.mark.parametrize("size", [2, 4, 8])
@pytest.mark.parametrize("seed", [7, 29])
def test_squares_of_pixels(seed, size):
    rng = np.random.default_rng(seed)
    model = randomised(random_network(rng), rng)
    assert largest_error(model, rng, size) < 1e-5


def blocks(side=16, filters=4, kernel=3):
    image = x = keras.Input((side, side, 1))
    for i in range(2):
        x = L.BatchNormalization()(L.Conv2D(filters * 2**i, kernel, padding="same", activation="relu")(x))
        x = L.Dropout(0.2)(L.MaxPooling2D(2)(x))
    return keras.Model(image, L.Dense(3)(L.Flatten()(x)))


@pytest.mark.backend
def test_fused_is_the_same(rng):
    assert largest_error(randomised(blocks(), rng), rng, fuse=True) < 1e-5


@pytest.mark.backend
@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision(precision, rng):
    keras.config.set_dtype_policy(precision)
    try:
        model = randomised(blocks(), rng)
    finally:
        keras.config.set_dtype_policy("float32")
    corners = [(0, 0), (0, 15), (15, 0), (15, 15), (7, 8)]
    assert largest_error(model, rng, positions=corners) < {"mixed_float16": 5e-3, "mixed_bfloat16": 4e-2}[precision]


@pytest.mark.parametrize("off", ["starts", "size"])
def test_a_window_that_is_wrong_is_seen(off, rng, monkeypatch):
    """What the tests above are worth: a run of one cell less, or begun one cell late, where it has several."""
    reached = Span.reached

    def wrong(self, sliding):
        span = reached(self, sliding)
        if span.size == 1:
            return span
        return Span(span.starts + (off == "starts"), span.size - 1)

    model = randomised(blocks(), rng)
    assert largest_error(model, np.random.default_rng(1)) < 1e-5
    monkeypatch.setattr(spans.Span, "reached", wrong)
    monkeypatch.setattr(Convolution, "_by_matrix", lambda *given: None)
    monkeypatch.setattr(Convolution, "_at_points", lambda *given: None)
    assert largest_error(model, np.random.default_rng(1)) > 1e-3


@pytest.mark.backend
@pytest.mark.parametrize("way", ["_by_sliding", "_by_matrix", "_at_points"])
def test_each_way_of_a_convolution(way, rng, monkeypatch):
    """Whichever is the least work: all compute the same."""
    others = {"_by_sliding", "_by_matrix", "_at_points"} - {way}
    step, used = getattr(Convolution, way), []
    monkeypatch.setattr(Convolution, way, lambda *given: used.append(step(*given)) or cheapest(used[-1]))
    for other in others:
        of_other = getattr(Convolution, other)
        monkeypatch.setattr(Convolution, other, lambda *given, of=of_other: dearest(of(*given)))
    assert largest_error(randomised(blocks(kernel=(3, 2)), rng), rng) < 1e-5
    assert used[-1] is not None


def cheapest(step):
    return step and type(step)(**{**vars(step), "products": -(10**12)})


def dearest(step):
    return step and type(step)(**{**vars(step), "products": 10**12})


def test_runs_hold_all_that_is_reached():
    """By brute force: each output that reads a changed cell is in the run, and no run is longer than any needs."""
    for kernel, stride, dilation, padding, size in [
        (3, 1, 1, "same", 1),
        (3, 2, 1, "same", 2),
        (2, 2, 1, "valid", 3),
        (5, 3, 1, "same", 1),
        (3, 1, 2, "valid", 2),
        (2, 3, 1, "valid", 1),
    ]:
        sliding = Sliding.over(13, kernel, stride, dilation, padding)
        span = Span.of_box(13, size).reached(sliding)
        longest = 0
        for position in range(13 - size + 1):
            changed = set(range(position, position + size))
            cells = [
                o
                for o in range(-20, 40)
                if changed & {stride * o - sliding.before + dilation * j for j in range(kernel)}
            ]
            run = range(span.starts[position], span.starts[position] + span.size)
            assert set(cells) <= set(run)
            longest = max(longest, len(cells) and cells[-1] - cells[0] + 1)
        assert span.size == max(1, longest)


def test_a_window_is_less_work_than_the_whole():
    """Counted: two convolutions of 3 × 3 with pooling reach 3 × 3 of the last map's cells, whatever its size."""
    small, large = (engine_of(blocks(side, filters=16)) for side in (16, 64))
    assert [step.area.size for step in small.plan(1).steps] == [(3, 3), (2, 2), (4, 4), (3, 3)]
    assert small.plan(1).work == large.plan(1).work < small.whole_work / 4
    assert large.whole_work > 10 * small.whole_work
    assert small.plan(1).work < small.plan(2).work < small.plan(4).work


def test_what_windows_cannot_be_followed_through_is_computed_whole():
    """The longest part from the image on; nothing at all of a network that begins with something else."""

    def stages(body):
        image = keras.Input((8, 8, 1))
        engine = engine_of(keras.Model(image, L.Dense(2)(L.Flatten()(body(image)))))
        return None if engine is None else [type(stage).__name__ for stage in engine.stages]

    assert stages(lambda x: L.LayerNormalization()(L.Conv2D(2, 3, activation="relu")(x))) == ["Convolution", "Bend"]
    assert stages(L.LayerNormalization()) is None
    assert stages(lambda x: L.Conv2D(2, 3, activation="softmax")(x)) is None
    inner = keras.Sequential([keras.Input((6, 6, 2)), L.Conv2D(2, 3)])
    assert stages(lambda x: inner(L.Conv2D(2, 3)(x))) == ["Convolution"]

    def around(x):  # a skip connection past a layer that is not understood
        x = L.Conv2D(2, 3, activation="relu")(x)
        return L.Add()([L.Conv2D(2, 1)(x), L.LayerNormalization()(x)])

    assert stages(around) == ["Convolution", "Bend"]
