from __future__ import annotations

import numpy as np
import pytest

import permgrad as pg
from permgrad.backend import keras
from permgrad.importance.branches import cut_model
from permgrad.importance.first_layer import first_layer
from permgrad.models.hybrid import HybridConfig, build_hybrid
from tests.oracle import plain_permutation, via


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


def binned(layout: pg.FeatureLayout, precision: str = "float32") -> keras.Model:
    config = HybridConfig(n_bins=4, dense_units=(12,), base_filters=4, head_units=(10,), precision=precision)
    return build_hybrid(config, 6, 3, layout=layout, task="classification")


def test_only_the_tabular_branch_sees_bins(layout, rng):
    """Values outside [0, 1] are clipped by the bins, not in the image."""
    plain = build_hybrid(HybridConfig(base_filters=4), 6, 3, layout=layout, task="classification")
    assert "bins" not in {layer.name for layer in plain.layers}
    model = binned(layout)
    assert model.get_layer("tabular_0").kernel.shape == (6 * 4, 12)
    tabular, image = cut_model(model).branches
    inside = rng.random((5, 6)).astype(np.float32)
    inside[:, 0] = 1
    outside = inside.copy()
    outside[:, 0] = 3
    codes = [[b.encoder.predict(X, verbose=0) for X in (inside, outside)] for b in (tabular, image)]
    np.testing.assert_array_equal(*codes[0])
    assert not np.allclose(*codes[1])


def test_bins_stay_in_float32(layout):
    model = binned(layout, "mixed_float16")
    assert model.get_layer("bins").compute_dtype == "float32"
    assert model.get_layer("tabular_0").compute_dtype == "float16"


@pytest.mark.parametrize("groups", [None, {"a": [0], "pair": [2, 4], "b": [5]}])
@pytest.mark.parametrize("way", ["tabular", "both"])
def test_permutation_behind_bins_agrees_with_plain_loop(way, groups, layout, rng):
    """A column is several inputs of the Dense layer, whose sums must not be updated as if it were one."""
    model, X = binned(layout), rng.random((90, 6)).astype(np.float32)
    assert first_layer(cut_model(model).of_kind("tabular")[0].encoder) is None
    y = (X[:, 0] * 3).astype(int)
    found = pg.permutation_importance(
        model, X, y, via=way, features=layout.features, groups=groups, n_repeats=3, seed=7
    )
    columns = [[i] for i in range(6)] if groups is None else list(groups.values())
    plain = plain_permutation(via(model, X, way), X, y, groups=columns, n_repeats=3, seed=7).mean(axis=(1, 2))
    assert np.abs(plain).max() > 1e-3
    np.testing.assert_allclose(found.scores, plain, rtol=1e-4, atol=1e-6)
    assert found.top(2) == [list(groups or layout.features)[i] for i in np.argsort(-plain)[:2]]


def test_weights_behind_bins_are_refused(layout):
    with pytest.raises(pg.PermGradError, match="begins with a Dense layer"):
        pg.weight_importance(binned(layout))


@pytest.mark.parametrize("n_bins", [-1, 1])
def test_bad_number_of_bins(n_bins):
    with pytest.raises(pg.PermGradError, match=rf"n_bins must be 0 \(none\) or at least 2, got {n_bins}"):
        HybridConfig(n_bins=n_bins)


def test_bad_configs(layout):
    with pytest.raises(pg.PermGradError, match="4 convolution blocks .* at least 16 pixels a side, got 8 × 8"):
        build_hybrid(HybridConfig(n_conv_layers=4), 6, 1, layout=layout, task="regression")
    with pytest.raises(pg.PermGradError, match="needs a layout of the 5 features"):
        build_hybrid(HybridConfig(), 5, 1, layout=layout, task="regression")
