from __future__ import annotations

import numpy as np
import pytest

import permgrad as pg
from permgrad.backend import keras
from permgrad.models.hybrid import HybridConfig, build_hybrid


def kinds(model: keras.Model) -> list[str]:
    return [type(layer).__name__ for layer in model.layers]


def test_published_architecture(layout):
    config = HybridConfig(dense_units=(7, 5), n_conv_layers=2, base_filters=3, head_units=(6,), dropout=0.25)
    model = build_hybrid(config, 6, 4, layout=layout, task="classification")
    assert [model.get_layer(f"tabular_{i}").units for i in range(2)] == [7, 5]
    assert [model.get_layer(f"conv_{i}").filters for i in range(2)] == [3, 6]
    assert kinds(model).count("BatchNormalization") == 5
    assert kinds(model).count("Dropout") == 5
    assert {layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)} == {0.25}
    # 8 × 8 pixels, halved twice, 6 filters; and the last tabular layer
    assert model.get_layer("meet").output.shape == (None, 5 + 2 * 2 * 6)
    assert model.output_shape == (None, 4)
    initializers = {
        type(layer.kernel_initializer).__name__ for layer in model.layers if hasattr(layer, "kernel_initializer")
    }
    assert initializers == {"HeNormal"}


def test_weights_follow_the_seed(layout):
    first, again, other = (
        build_hybrid(HybridConfig(seed=seed), 6, 1, layout=layout, task="regression").get_weights()
        for seed in (1, 1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    kernels = [w for w in first if w.ndim > 1]
    assert len({w.flat[0] for w in kernels}) == len(kernels)  # each layer has a seed of its own


def test_output_is_in_the_targets_unit(layout, rng):
    config = HybridConfig(head_units=(4,))
    plain = build_hybrid(config, 6, 1, layout=layout, task="regression")
    scaled = build_hybrid(config, 6, 1, layout=layout, task="regression", target_mean=100.0, target_std=5.0)
    X = rng.random((3, 6))
    np.testing.assert_allclose(scaled.predict(X, verbose=0), 100 + 5 * plain.predict(X, verbose=0), rtol=1e-5)


def test_bad_configs(layout):
    with pytest.raises(pg.PermGradError, match="4 convolution blocks .* at least 16 pixels a side, got 8 × 8"):
        build_hybrid(HybridConfig(n_conv_layers=4), 6, 1, layout=layout, task="regression")
    with pytest.raises(pg.PermGradError, match="needs a layout of the 5 features"):
        build_hybrid(HybridConfig(), 5, 1, layout=layout, task="regression")
