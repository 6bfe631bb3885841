from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

import permgrad as pg
from permgrad.backend import keras
from permgrad.importance.network._splitting import split_at_convolution, split_at_image
from permgrad.importance.network.branches import cut_model
from permgrad.importance.network.first_layer import first_layer
from permgrad.models.hybrid import HybridConfig, adapt, build_hybrid
from tests.oracle import plain_grad_cam, plain_permutation, plain_subset_losses, via


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
        build_hybrid(HybridConfig(random_state=random_state), 6, 1, layout=layout, task="regression").get_weights()
        for random_state in (1, 1, 2)
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


def extended(layout: pg.FeatureLayout, task: str = "classification", **settings) -> keras.Model:
    sizes = {"dense_units": (12,), "base_filters": 4, "head_units": (10,)}
    scale = {"target_mean": 3.0, "target_std": 2.0} if task == "regression" else {}
    config = HybridConfig(**{**sizes, **settings})
    return build_hybrid(config, 6, 1 if task == "regression" else 3, layout=layout, task=task, **scale)


@pytest.mark.parametrize("embedding", ["piecewise", "periodic"])
def test_only_the_tabular_branch_is_embedded(embedding, layout, rng):
    model = extended(layout, embedding=embedding, embedding_size=5)
    assert model.get_layer("tabular_0").kernel.shape == (6 * {"piecewise": 5, "periodic": 4}[embedding], 12)
    image = cut_model(model).of_kind("image")[0]
    assert not [layer for layer in image.encoder.layers if layer.name == "embedding"]
    assert "embedding" not in {layer.name for layer in extended(layout).layers}


def test_bins_clip_what_lies_outside_and_the_image_does_not(layout, rng):
    tabular, image = cut_model(extended(layout, embedding="piecewise")).branches
    inside = rng.random((5, 6)).astype(np.float32)
    inside[:, 0] = 1
    outside = inside.copy()
    outside[:, 0] = 3
    codes = [[b.encoder.predict(X, verbose=0) for X in (inside, outside)] for b in (tabular, image)]
    np.testing.assert_array_equal(*codes[0])
    assert not np.allclose(*codes[1])


@pytest.mark.parametrize("scaling", ["min-max", "quantile"])
def test_training_rows_fit_scaling_and_bins(scaling, layout, rng):
    """Edges are quantiles of what the scaling gives, and the image is in [0, 1]."""
    model = extended(layout, scaling=scaling, embedding="piecewise", embedding_size=4)
    X = rng.exponential(size=(1500, 6)).astype(np.float32)  # more than one block
    adapt(model, X)
    scaled = keras.ops.convert_to_numpy(model.get_layer("scale")(X))
    assert (scaled.min(axis=0), scaled.max(axis=0)) == (pytest.approx([0] * 6), pytest.approx([1] * 6))
    edges = keras.ops.convert_to_numpy(model.get_layer("embedding").edges)
    np.testing.assert_allclose(edges, np.quantile(scaled, [0, 0.25, 0.5, 0.75, 1], axis=0), atol=0.01)


def test_half_precision_begins_behind_scaling_and_embedding(layout):
    model = extended(layout, scaling="quantile", embedding="piecewise", ensemble_size=3, precision="mixed_float16")
    assert {model.get_layer(name).compute_dtype for name in ("scale", "embedding", "logits")} == {"float32"}
    assert {model.get_layer(name).compute_dtype for name in ("tabular_0", "head_0", "image_code", "meet")} == {
        "float16"
    }
    assert {weight.dtype for weight in model.weights} == {"float32"}


def test_without_batch_norm(layout):
    assert "BatchNormalization" not in kinds(extended(layout, batch_norm=False))


@pytest.mark.parametrize("head", [(10,), (10, 7), ()])
@pytest.mark.parametrize("branches", [("tabular", "image"), ("tabular",), ("image",)])
def test_ensembles_meet_one_code_of_the_image(head, branches, layout, rng):
    """Each network's logits in training, one by one, from the layers' own weights; the mean when it predicts."""
    config = HybridConfig(
        branches=branches,
        ensemble_size=3,
        dense_units=(12,),
        base_filters=4,
        head_units=head,
        dropout=0.0,
        batch_norm=False,
    )
    model = build_hybrid(config, 6, 2, layout=layout, task="classification")
    X = rng.random((7, 6)).astype(np.float32)
    each = keras.ops.convert_to_numpy(model(X, training=True))
    assert each.shape == (7, 3, 2)
    assert np.ptp(each, axis=1).min() > 0
    np.testing.assert_allclose(model.predict(X, verbose=0), each.mean(axis=1), rtol=1e-5)
    cut = cut_model(model)
    assert [branch.kind for branch in cut.branches] == list(branches)
    codes = {branch.kind: branch.encoder.predict(X, verbose=0) for branch in cut.branches}
    if len(branches) == 2:
        width = head[0] if head else 2
        assert (codes["tabular"].shape, codes["image"].shape) == ((7, 3, width), (7, 1, width))
        x = np.maximum(codes["tabular"] + codes["image"], 0) if head else codes["tabular"] + codes["image"]
        if head:
            x = plain_networks(x, model, [f"head_1_{i}" for i in range(len(head) - 1)])
        np.testing.assert_allclose(softmax(x, axis=2), each, rtol=1e-4)


def plain_networks(x: np.ndarray, model: keras.Model, names: list[str]) -> np.ndarray:
    """Each network through the Dense layers of those names, then to its logits: (n_rows, ensemble_size, outputs)."""
    found = []
    for i in range(x.shape[1]):
        own = x[:, i]
        for name in names:
            W, r, s, b = model.get_layer(name).get_weights()
            own = np.maximum((own * r[i]) @ W * s[i] + b[i], 0)
        W, b = model.get_layer("ensemble_logits").get_weights()
        found.append(own @ W[i] + b[i])
    return np.stack(found, axis=1)


def test_ensembles_of_a_regression_are_in_the_targets_unit(layout, rng):
    model = extended(layout, "regression", ensemble_size=4, dropout=0.0, batch_norm=False)
    X = rng.random((5, 6)).astype(np.float32)
    each = keras.ops.convert_to_numpy(model(X, training=True))
    assert each.shape == (5, 4, 1)
    np.testing.assert_allclose(model.predict(X, verbose=0), each.mean(axis=1), rtol=1e-5)


EXTENDED = {
    "bins": {"embedding": "piecewise", "embedding_size": 4},
    "waves": {"embedding": "periodic", "embedding_size": 5},
    "ranks": {"scaling": "quantile"},
    "ensemble": {"ensemble_size": 3},
    "all": {"scaling": "quantile", "embedding": "piecewise", "ensemble_size": 3, "batch_norm": False},
}


SINGLE, GROUPS = None, {"a": [0], "pair": [2, 4], "b": [5]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "way", "groups"),
    [
        *[(case, "both", SINGLE) for case in ("bins", "waves", "ranks")],
        *[("all", way, GROUPS) for way in ("tabular", "image", "both")],
        ("ensemble", "tabular", SINGLE),
    ],
)
def test_permutation_agrees_with_plain_loop(case, way, groups, layout, rng):
    """A column is several inputs of the first layer, or not linear in it; its sums are updated all the same."""
    model, X = extended(layout, **EXTENDED[case]), rng.random((90, 6)).astype(np.float32)
    assert first_layer(cut_model(model).of_kind("tabular")[0].encoder) is not None
    adapt(model, X)
    y = (X[:, 0] * 3).astype(int)
    found = pg.permutation_importance(
        model, X, y, via=way, features=layout.features, groups=groups, n_repeats=2, random_state=7
    )
    columns = [[i] for i in range(6)] if groups is None else list(groups.values())
    plain = plain_permutation(via(model, X, way), X, y, groups=columns, n_repeats=2, random_state=7).mean(axis=(1, 2))
    assert np.abs(plain).max() > 1e-4
    np.testing.assert_allclose(found.scores, plain, rtol=1e-4, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "baseline"), [("classification", "zero"), ("regression", "mean"), ("classification", "shuffled")]
)
def test_ablation_of_ensembles_agrees_with_plain_loop(task, baseline, layout, rng):
    model, X = extended(layout, task, **EXTENDED["all"]), rng.random((90, 6)).astype(np.float32)
    adapt(model, X)
    y = (X[:, 0] * 3).astype(int) if task == "classification" else X[:, 0]
    found = pg.branch_weights(model, X, y, baseline=baseline).losses
    plain = plain_subset_losses(model, X, y, baseline)
    assert max(plain.values()) - min(plain.values()) > 1e-3
    assert found == pytest.approx(plain, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["grad_cam", "layer_cam", "gradient_input"])
def test_heat_maps_of_ensembles_agree_with_plain_loop(method, layout, rng):
    """The heat is of the log-odds of the mean probability, whose gradient is a positive multiple of its own."""
    model, X = extended(layout, **EXTENDED["all"]), rng.random((6, 6)).astype(np.float32)
    adapt(model, X)
    cut = cut_model(model)
    tabular, image = (branch.encoder for branch in cut.branches)
    before, after = split_at_image(image) if method == "gradient_input" else split_at_convolution(image)
    activations, code = keras.Input(before.outputs[0].shape[1:]), keras.Input(tabular.outputs[0].shape[1:])
    rest = keras.Model([activations, code], cut.head([code, after(activations)]))
    plain = plain_grad_cam(before, rest, X, tabular.predict(X, verbose=0), 3, method)
    found = pg.grad_cam_maps(model, X, attribution=method)
    assert plain.max() > 0
    np.testing.assert_allclose(found, plain, atol=1e-3)


OF_THE_DEFAULT = {
    "scaling": "standard",
    "embedding": "bins",
    "embedding_size": 4,
    "ensemble_size": 3,
    "downsampling": "stride",
    "batch_norm": False,
    "gated_image": True,
    "zero_output": True,
    "calibrated": True,
}
MASK = np.array([True, True, True, False, True, True])
SWAPPED = np.array([0, -1, 2, -1, 2, -1])


def default_network(layout, task="classification", *, mask=MASK, **settings) -> tuple[keras.Model, np.ndarray]:
    """Return a network as of the default preset, small, with random weights, and 60 rows that it was adapted to.

    Column 5 is 0 or 1; columns 0, 2 and 4 have bins, and swap noise in training; column 1 has none; 3 is masked.
    """
    rng = np.random.default_rng(3)
    X = rng.normal(size=(60, 6)).astype(np.float32) * 3
    X[:, 5] = X[:, 5] > 1
    scale = {"target_mean": 3.0, "target_std": 2.0} if task == "regression" else {}
    config = HybridConfig(
        **{**OF_THE_DEFAULT, "dense_units": (7,), "base_filters": 2, "head_units": (6,), "n_conv_layers": 1, **settings}
    )
    n_outputs = 1 if task == "regression" else 3
    which = {"numbers": [0, 2, 4], "mask": mask, "swapped": SWAPPED}
    model = build_hybrid(config, 6, n_outputs, layout=layout, task=task, **which, **scale)
    for weight in model.trainable_weights:
        weight.assign(rng.uniform(0.2, 0.9, weight.shape) * rng.choice([-1, 1], weight.shape))
    adapt(model, X)
    if task == "classification":
        model.get_layer("temperature").temperature.assign(1.7)
    return model, X


@pytest.mark.backend
@pytest.mark.parametrize("ensemble_size", [3, 1])
def test_the_default_network_agrees_with_plain_numpy(ensemble_size, layout):
    """Mask, scaling, bins, each network's layers, the gated image, the mean, the temperature: step by step."""
    model, X = default_network(layout, ensemble_size=ensemble_size)
    seen, layers = np.where(MASK, X, 0), {layer.name: layer for layer in model.layers}
    two_values = ((seen == seen.min(axis=0)) | (seen == seen.max(axis=0))).all(axis=0)
    low, span = seen.min(axis=0), np.where(np.ptp(seen, axis=0) > 0, np.ptp(seen, axis=0), 1)
    scaled = np.where(two_values, (seen - low) / span, (seen - seen.mean(axis=0)) / np.maximum(seen.std(axis=0), 1e-9))
    edges = keras.ops.convert_to_numpy(layers["embedding"].edges)
    bins = [
        np.clip((scaled[:, column] - edges[b, i]) / (edges[b + 1, i] - edges[b, i]), 0, 1) * 2 - 1
        for i, column in enumerate([0, 2, 4])
        for b in range(4)
    ]
    x = np.column_stack([scaled, *bins])
    image = layout.render(pd.DataFrame((seen - low) / span, columns=list(layout.features)))  # its range is [0, 1]
    W, b = layers["conv_0"].get_weights()
    padded = np.pad(image[..., 0], ((0, 0), (0, 1), (0, 1)))  # "same" at stride 2 of an even side: below and right
    strided = np.zeros((60, 4, 4, 2))
    for i in range(4):
        for j in range(4):
            strided[:, i, j] = np.einsum("nkl,klf->nf", padded[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3], W[:, :, 0]) + b
    shared = np.maximum(strided, 0).reshape(60, -1) @ layers["image_code"].get_weights()[0]
    shared = shared * layers["image_gate"].get_weights()[0]
    logits = []
    for member in range(ensemble_size):
        code = x
        for name in ("tabular_0", "head_0"):
            if ensemble_size > 1:
                W, r, s, b = layers[name].get_weights()
                code = (code * r[member]) @ W * s[member] + b[member]
            else:
                W, b = layers[name].get_weights()
                code = code @ W + b
            code = np.maximum(code + shared if name == "head_0" else code, 0)
        W, b = layers["ensemble_logits" if ensemble_size > 1 else "logits"].get_weights()
        logits.append(code @ W[member] + b[member] if ensemble_size > 1 else code @ W + b)
    mean = np.log(softmax(logits, axis=2).mean(axis=0)) if ensemble_size > 1 else logits[0]
    np.testing.assert_allclose(model.predict(X, verbose=0), softmax(mean / 1.7, axis=1), rtol=1e-3, atol=1e-6)


@pytest.mark.slow
@pytest.mark.backend
@pytest.mark.parametrize(
    ("task", "way", "groups", "ensemble_size"),
    [
        ("classification", "tabular", GROUPS, 3),
        ("classification", "image", GROUPS, 3),
        ("classification", "both", GROUPS, 3),
        ("classification", "tabular", SINGLE, 1),
        ("regression", "both", SINGLE, 3),
    ],
)
def test_permutation_of_the_default_network_agrees_with_plain_loop(
    task, way, groups, ensemble_size, layout, monkeypatch
):
    """A column is itself beside its bins, or itself alone; what the mask closes scores exactly 0."""
    model, X = default_network(layout, task, ensemble_size=ensemble_size)
    y = np.random.default_rng(0).integers(0, 3, 60) if task == "classification" else X[:, 0] * 2
    if way == "tabular":
        monkeypatch.delattr("permgrad.importance.permuting._network.Recomputed.code")  # the first layer's sums change
    found = pg.permutation_importance(
        model, X, y, via=way, features=layout.features, groups=groups, n_repeats=2, random_state=7
    )
    columns = [[i] for i in range(6)] if groups is None else list(groups.values())
    plain = plain_permutation(via(model, X, way), X, y, groups=columns, n_repeats=2, random_state=7).mean(axis=(1, 2))
    assert np.abs(plain).max() > 1e-3
    np.testing.assert_allclose(found.scores, plain, rtol=1e-3, atol=1e-5 * np.abs(plain).max())
    if groups is None:
        assert found.scores[3] == 0
        assert (found.scores[[0, 1, 2, 4]] != 0).all()


@pytest.mark.parametrize("baseline", ["zero", "mean"])
def test_ablation_of_the_default_network_agrees_with_plain_loop(baseline, layout):
    model, X = default_network(layout)
    y = np.random.default_rng(0).integers(0, 3, 60)
    plain = plain_subset_losses(model, X, y, baseline)
    assert max(plain.values()) - min(plain.values()) > 1e-3
    assert pg.branch_weights(model, X, y, baseline=baseline).losses == pytest.approx(plain, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["grad_cam", "gradient_input"])
def test_heat_maps_of_the_default_network_agree_with_plain_loop(method, layout):
    """The heat is of the log-odds of the mean probability: a temperature divides all of a row's alike."""
    model, X = default_network(layout)
    X = X[:8]
    tabular, image = (branch.encoder for branch in cut_model(model).branches)
    before, after = split_at_image(image) if method == "gradient_input" else split_at_convolution(image)
    activations, code = keras.Input(before.outputs[0].shape[1:]), keras.Input(tabular.outputs[0].shape[1:])
    rest = keras.Model([activations, code], cut_model(model).head([code, after(activations)]))
    plain = plain_grad_cam(before, rest, X, tabular.predict(X, verbose=0), 3, method)
    found = pg.grad_cam_maps(model, X, attribution=method)
    assert plain.max() > 0
    np.testing.assert_allclose(found, plain, atol=1e-3)


def test_masked_columns_are_nothing_to_the_network(layout):
    """Whatever they hold, in training rows too: where they are scaled, no range of theirs is left."""
    model, X = default_network(layout)
    other = X.copy()
    other[:, 3] = 1e6
    np.testing.assert_array_equal(model.predict(other, verbose=0), model.predict(X, verbose=0))
    weights = [layer.get_weights() for layer in model.layers if layer.name in ("scale", "scale_image", "embedding")]
    adapt(model, other)
    again = [layer.get_weights() for layer in model.layers if layer.name in ("scale", "scale_image", "embedding")]
    for before, after in zip(weights, again, strict=True):
        for ours, theirs in zip(before, after, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_the_default_network_survives_saving(layout, tmp_path):
    model, X = default_network(layout)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(loaded.predict(X, verbose=0), model.predict(X, verbose=0), rtol=1e-5)
    for ours, theirs in zip(model.layers, loaded.layers, strict=True):
        assert ours.get_config() == theirs.get_config()


@pytest.mark.parametrize("settings", [{"embedding": "piecewise"}, {"ensemble_size": 3}])
def test_weights_that_are_no_columns_own_are_refused(settings, layout):
    with pytest.raises(pg.PermGradError, match="begins with a Dense layer"):
        pg.weight_importance(extended(layout, **settings))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scaling": "rank"}, "scaling must be one of 'min-max', 'quantile', 'standard', got 'rank'"),
        ({"embedding": "bin"}, "embedding must be one of 'none', 'piecewise', 'periodic', 'bins', got 'bin'"),
        ({"downsampling": "mean"}, "downsampling must be one of 'max_pool', 'stride', got 'mean'"),
        ({"embedding_size": 1}, "embedding_size must be at least 2, got 1"),
        ({"ensemble_size": 0}, "at least 1"),
    ],
)
def test_bad_extensions(settings, message):
    with pytest.raises(pg.PermGradError, match=message):
        HybridConfig(**settings)


def test_bad_configs(layout):
    with pytest.raises(pg.PermGradError, match="4 convolution blocks .* at least 16 pixels a side, got 8 × 8"):
        build_hybrid(HybridConfig(n_conv_layers=4), 6, 1, layout=layout, task="regression")
    with pytest.raises(pg.PermGradError, match="needs a layout of the 5 features"):
        build_hybrid(HybridConfig(), 5, 1, layout=layout, task="regression")
