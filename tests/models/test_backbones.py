"""Backbones: scaled as their weights expect, seeded, loaded from files, and clear where they cannot be had."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest

import permgrad as pg
from permgrad.backend import keras
from permgrad.models.backbones import MEAN, STD, backbone_names, make_backbone, scale_input

SHAPE = (32, 32, 3)


def build(name="SmallCNN", **given):
    return pg.backbone_classifier(name, **{"weights": "random", "patch_shape": SHAPE, "image_size": None, **given})


@pytest.fixture
def pixels(rng):
    return rng.uniform(0, 255, (4, *SHAPE)).astype(np.float32)


@pytest.mark.parametrize(
    "name",
    [
        *("ResNet50", "ResNet50V2", "VGG16", "VGG19", "DenseNet121", "Xception", "InceptionV3", "InceptionResNetV2"),
        *("MobileNet", "MobileNetV2", "NASNetMobile"),
    ],
)
def test_scaling_is_the_librarys_own(pixels, name):
    inputs = keras.Input(SHAPE)
    ours = keras.Model(inputs, scale_input(inputs, name)).predict(pixels, verbose=0)
    module = sys.modules[getattr(keras.applications, name).__module__]
    np.testing.assert_allclose(ours, module.preprocess_input(pixels.copy()), atol=1e-3)


@pytest.mark.slow
def test_scaling_in_backbones_that_have_it_inside():
    inputs = keras.Input(SHAPE)
    assert scale_input(inputs, "EfficientNetV2B0") is inputs
    kinds = [type(layer).__name__ for layer in make_backbone("EfficientNetV2B0", "random", SHAPE).layers[:3]]
    assert kinds == ["InputLayer", "Rescaling", "Normalization"]


def test_every_name_is_listed():
    names = backbone_names()
    assert {"SmallCNN", "ResNet18", "EfficientNetB0", "EfficientNetB2", "EfficientNetV2S", "ResNet50V2"} <= set(names)
    with pytest.raises(pg.PermGradError, match="no backbone 'ResNet19'; there are 'SmallCNN', 'ResNet18'"):
        build("ResNet19")


@pytest.mark.slow
def test_imagenets_network_and_its_file_are_one(tmp_path, monkeypatch, pixels):
    """Keras's own pretrained EfficientNetB0, ours from its cache, and ours from the file alone predict the same.

    The weights are random; but what makes the pretrained network scale otherwise than the random one is in it: a
    variance that is a standard deviation, and a layer more that makes up for it.
    """
    path = tmp_path / "efficientnetb0_notop.h5"
    source = keras.applications.EfficientNetB0(weights=None, include_top=False, input_shape=SHAPE)
    normalization = next(layer for layer in source.layers if isinstance(layer, keras.layers.Normalization))
    normalization.set_weights([MEAN.astype("float32"), STD.astype("float32"), np.int32(0)])
    source.save_weights(path.with_suffix(".weights.h5"))
    path.with_suffix(".weights.h5").rename(tmp_path / "b0.weights.h5")
    module = sys.modules[keras.applications.EfficientNetB0.__module__]
    monkeypatch.setattr(module.file_utils, "get_file", lambda *given, **named: str(tmp_path / "b0.weights.h5"))
    official = keras.applications.EfficientNetB0(weights="imagenet", include_top=False, input_shape=SHAPE)
    expected = official.predict(pixels, verbose=0)
    inputs = keras.Input(SHAPE)
    for weights in ("imagenet", tmp_path / "b0.weights.h5"):
        backbone = make_backbone("EfficientNetB0", weights, SHAPE)
        ours = keras.Model(inputs, backbone(scale_input(inputs, "EfficientNetB0"))).predict(pixels, verbose=0)
        np.testing.assert_allclose(ours, expected, atol=1e-4 * np.abs(expected).max())
    assert np.abs(expected).max() > 1e-6


@pytest.mark.parametrize("name", ["SmallCNN", pytest.param("ResNet18", marks=pytest.mark.slow)])
def test_a_file_of_ones_own(tmp_path, pixels, name):
    first = build(name, random_state=1)
    path = tmp_path / "mine.weights.h5"
    first.get_layer("backbone").save_weights(path)
    second = build(name, weights=path, random_state=2)
    features = [keras.Model(m.inputs, m.get_layer("pool").output).predict(pixels, verbose=0) for m in (first, second)]
    np.testing.assert_allclose(*features, rtol=1e-4, atol=1e-6)
    assert not np.allclose(first.get_layer("logit").get_weights()[0], second.get_layer("logit").get_weights()[0])


def test_files_that_do_not_fit(tmp_path):
    with pytest.raises(pg.PermGradError, match="'imagenet', 'random' or a weight file; there is no file nowhere"):
        build(weights="nowhere.weights.h5")
    path = tmp_path / "text.weights.h5"
    path.write_text("no weights")
    with pytest.raises(pg.PermGradError, match="is not a file of weights of SmallCNN without its head"):
        build(weights=path)


@pytest.mark.slow
def test_weights_of_another_network(tmp_path):
    """Keras would load what it finds, and warn."""
    build().get_layer("backbone").save_weights(path := tmp_path / "small.weights.h5")
    with pytest.raises(pg.PermGradError, match="is not a file of weights of MobileNetV2 without its head"):
        build("MobileNetV2", weights=path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["ConvNeXtTiny", "DenseNet121", "EfficientNetV2B0", "MobileNet", "MobileNetV3Small",
     "ResNet50", "ResNet18", "VGG16", "Xception"],
)  # fmt: skip
def test_every_family_is_built(name, rng):
    """In half precision, from its layers anew: what it says is a number, and depends on the image."""
    model = build(name, patch_shape=(96, 96, 3), precision="mixed_bfloat16")
    logits = model.predict(rng.uniform(0, 255, (2, 96, 96, 3)), verbose=0)
    assert np.isfinite(logits).all()
    assert logits[0] != logits[1]
    layers = model.get_layer("backbone").layers
    assert sum(layer.dtype_policy.name == "mixed_bfloat16" for layer in layers if layer.weights) > 5
    keras.utils.clear_session(free_memory=False)


def test_weights_that_cannot_be_had(monkeypatch):
    """Neither in the cache nor to be downloaded: the message says the three ways out."""
    module = sys.modules[keras.applications.EfficientNetB0.__module__]

    def fail(*given, **named):
        raise Exception("URL fetch failure: no route")

    monkeypatch.setattr(module.file_utils, "get_file", fail)
    with pytest.raises(pg.PermGradError, match=r"EfficientNetB0 are neither.*no route.*Connect once.*path.*'random'"):
        build("EfficientNetB0", weights="imagenet")
    with pytest.raises(pg.PermGradError, match="SmallCNN has no pretrained weights"):
        build(weights="imagenet")


def test_without_kerashub(monkeypatch):
    monkeypatch.setattr("permgrad.models.backbones.find_spec", lambda name: None)
    with pytest.raises(pg.PermGradError, match=r"pip install 'permgrad\[hub\]'"):
        build("ResNet18")


@pytest.mark.parametrize("name", ["SmallCNN", pytest.param("MobileNetV2", marks=pytest.mark.slow)])
def test_seeds(name):
    first, again, other = (build(name, random_state=random_state).get_weights() for random_state in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    kernels = [i for i, weight in enumerate(first) if weight.ndim == 4]
    assert not any(np.array_equal(first[i], other[i]) for i in kernels)


@pytest.mark.slow
def test_the_global_seed_is_left_alone():
    keras.utils.set_random_seed(5)
    expected = np.random.random(3)  # noqa: NPY002 - the state that must not be touched
    keras.utils.set_random_seed(5)
    build("MobileNetV2")
    np.testing.assert_array_equal(np.random.random(3), expected)  # noqa: NPY002


@pytest.mark.slow
def test_precision_and_momentum():
    model = build("MobileNetV2", precision="mixed_bfloat16")
    assert model.output.dtype == "float32"
    layers = model.get_layer("backbone").layers
    norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert {layer.momentum for layer in norms} == {0.9}
    assert {layer.dtype_policy.name for layer in norms} == {"mixed_bfloat16"}
    assert keras.config.dtype_policy().name == "float32"


def test_shape_and_number_types(pixels, tmp_path):
    model = build(image_size=48, augmentation=pg.Augmentation(stain=0.05), dropout=0.5)
    whole = pixels.astype(np.uint8)
    logits = model.predict(whole, verbose=0)
    assert logits.shape == (4, 1)
    np.testing.assert_allclose(model.predict(whole.astype(np.float32), verbose=0), logits, atol=1e-5)
    assert model.get_layer("resize").output.shape == (None, 48, 48, 3)
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(loaded.predict(whole, verbose=0), logits, atol=1e-6)


def test_stain_is_normalised_first(pixels):
    stain = pg.ReinhardNormalization()
    normalised = np.asarray(stain(pixels))
    assert np.abs(normalised - pixels).max() > 1
    expected = build().predict(normalised, verbose=0)
    np.testing.assert_allclose(build(stain=stain).predict(pixels, verbose=0), expected, atol=1e-5)


def test_small_cnn_by_hand(pixels):
    """The first block as it is written: a convolution of every second pixel, the maximum of four, BatchNorm, ReLU."""
    model = build(random_state=3)
    backbone = model.get_layer("backbone")
    kernel = backbone.get_layer("conv_0").get_weights()[0]  # (5, 5, 3, 24)
    x = np.pad(pixels[0] / 127.5 - 1, [(1, 2), (1, 2), (0, 0)])  # "same" for a stride of 2
    conv = np.array(
        [[np.tensordot(x[2 * i : 2 * i + 5, 2 * j : 2 * j + 5], kernel, 3) for j in range(16)] for i in range(16)]
    )
    pooled = conv.reshape(8, 2, 8, 2, 24).max(axis=(1, 3))
    expected = np.maximum(pooled / np.sqrt(1 + 1e-3), 0)
    inner = keras.Model(backbone.inputs, backbone.get_layer("relu_0").output)
    np.testing.assert_allclose(inner.predict(pixels[:1] / 127.5 - 1, verbose=0)[0], expected, atol=1e-4)


def test_bad_settings():
    with pytest.raises(pg.PermGradError, match="dropout must be in"):
        build(dropout=1)
    with pytest.raises(pg.PermGradError, match="image_size must be at least 32"):
        build(image_size=16)
    with pytest.raises(pg.PermGradError, match=r"patch_shape must be \(height, width, 3\)"):
        build(patch_shape=(32, 32))
    with warnings.catch_warnings(), pytest.raises(pg.PermGradError, match="NASNetLarge cannot be built for images"):
        warnings.simplefilter("error")
        build("NASNetLarge", patch_shape=(8, 8, 3))
