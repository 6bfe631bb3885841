"""The vision transformer on the image: by hand, saved, explained as any branch, and one planted ranking."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import erf, softmax

import permgrad as pg
from permgrad.backend import keras
from permgrad.layers.positions import PositionEmbedding
from permgrad.models.hybrid import HybridConfig, adapt, build_hybrid
from permgrad.models.vision_transformer import square_size, token_width
from tests.oracle import plain_permutation, via

numpy = keras.ops.convert_to_numpy


@pytest.fixture
def layout(rng):
    return pg.fit_layout(rng.random((40, 6)), "tinto", 6)


def network(layout, rng, **settings):
    """A hybrid of random weights, all of which count."""
    config = HybridConfig(image_network="vit", n_conv_layers=2, base_filters=2, dense_units=(8,), **settings)
    model = build_hybrid(config, 6, 3, layout=layout, task="classification")
    adapt(model, rng.random((30, 6)).astype(np.float32))
    for weight in model.trainable_weights:
        weight.assign_add(rng.normal(size=weight.shape) * 0.2)
    return model


def plainly(model, image):
    """The branch of one image, (6, 6), token by token: squares of 2 × 2, two blocks of four heads, the mean."""
    get = {layer.name: [numpy(weight) for weight in layer.weights] for layer in model.layers}
    kernel, bias = get["squares"]
    x = np.array(
        [
            (image[r : r + 2, c : c + 2, None, None] * kernel).sum(axis=(0, 1, 2)) + bias
            for r in range(0, 6, 2)
            for c in range(0, 6, 2)
        ]
    )
    x = x + get["places"][0]

    def norm(x, name):
        gamma, beta = get[name]
        return (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-3) * gamma + beta

    for i in range(2):
        h = norm(x, f"norm_{i}a")
        wq, bq, wk, bk, wv, bv, wo, bo = get[f"attention_{i}"]
        out = np.zeros_like(x)
        for head in range(4):
            q, k, v = (h @ w[:, head] + b[head] for w, b in ((wq, bq), (wk, bk), (wv, bv)))
            out += softmax(q @ k.T / np.sqrt(q.shape[1]), axis=1) @ v @ wo[head]
        x = x + out + bo
        h = norm(x, f"norm_{i}b") @ get[f"wide_{i}"][0] + get[f"wide_{i}"][1]
        h = h * (1 + erf(h / np.sqrt(2))) / 2
        x = x + h @ get[f"narrow_{i}"][0] + get[f"narrow_{i}"][1]
    return norm(x, "norm").mean(axis=0)


def test_the_branch_by_hand(layout, rng):
    model = network(layout, rng)
    X = rng.random((3, 6)).astype(np.float32)
    layer = {layer.name: layer for layer in model.layers}
    branch = keras.Model(model.inputs[0], [layer["image"].output, layer["mean"].output])
    images, codes = (numpy(each) for each in branch(X))
    np.testing.assert_allclose(codes, [plainly(model, image[..., 0]) for image in images], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("shape", "size"), [((6, 6), 2), ((24, 24), 2), ((25, 25), 3), ((64, 64), 6)])
def test_squares_grow_with_the_image(shape, size):
    assert square_size(shape) == size
    assert token_width(8) == 32


@pytest.mark.backend
def test_saved_with_its_places(layout, rng, tmp_path):
    model = network(layout, rng, ensemble_size=2, gated_image=True)
    model.save(tmp_path / "model.keras")
    X = rng.random((9, 6)).astype(np.float32)
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))
    one, two = (PositionEmbedding(random_state) for random_state in (1, 2))
    for layer in (one, two):
        layer.build((None, 3, 4))
    assert not np.allclose(numpy(one.vectors), numpy(two.vectors))


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"ensemble_size": 2, "gated_image": True, "scaling": "standard"}])
def test_explainers_agree_with_the_plain_loop(layout, rng, settings):
    """Windows cannot be followed through attention: the branch is computed whole, and the numbers are the same."""
    model = network(layout, rng, **settings)
    X, y = rng.random((40, 6)).astype(np.float32), rng.integers(0, 3, 40)
    for way in ("image", "both"):
        found = pg.permutation_importance(model, X, y, via=way, layout=layout, n_repeats=2)
        expected = plain_permutation(
            via(model, X, way), X, y, groups=[[i] for i in range(6)], n_repeats=2, random_state=0
        )
        np.testing.assert_allclose(found.scores, expected.mean(axis=(1, 2)), rtol=1e-4, atol=1e-6)
    assert [branch.name for branch in pg.cut_model(model).branches] == ["tabular", "image"]
    heat = pg.grad_cam(model, X, layout)
    assert np.isfinite(heat.scores).all()


@pytest.mark.slow
def test_a_planted_column_is_found_through_the_image_alone(rng):
    X = rng.normal(size=(500, 6)).astype(np.float32)
    y = (X[:, 3] > 0).astype(int)
    model = pg.HybridClassifier(
        branches="image", image_network="vit", preset="fast", image_size=6, epochs=30, random_state=0
    )
    model.fit(X[:300], y[:300], validation_data=(X[300:400], y[300:400]))
    assert (model.predict(X[400:]) == y[400:]).mean() > 0.9
    assert model.rank_features(X[400:], y[400:], verbose=False).select(1) == ["x3"]
