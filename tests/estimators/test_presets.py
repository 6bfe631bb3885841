"""Presets: the published network is what it always was, the default one begins with what is known without columns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import permgrad as pg
from permgrad.backend import keras
from permgrad.estimators.presets import DEFAULT, PRESETS, PUBLISHED, batch_size_for, patience_for
from permgrad.models.hybrid import HybridConfig, adapt, build_hybrid
from permgrad.training.config import TrainingConfig

TINY = {"ensemble_size": 2, "dense_units": (6,), "head_units": (5,), "n_conv_layers": 1, "base_filters": 2}
PUBLISHED_NETWORK = {
    "scaling": "min-max",
    "embedding": "none",
    "embedding_size": 16,
    "ensemble_size": 1,
    "dense_units": (128, 64),
    "image_network": "cnn",
    "n_conv_layers": 2,
    "downsampling": "max_pool",
    "base_filters": 16,
    "head_units": (64,),
    "dropout": 0.2,
    "batch_norm": True,
    "gated_image": False,
    "zero_output": False,
    "calibrated": False,
}
PUBLISHED_TRAINING = {
    "learning_rate": 1e-3,
    "optimizer": "adam",
    "weight_decay": 1e-4,
    "schedule": "one_cycle",
    "batch_size": 32,
    "patience": 6,
}
"""Both as they were before there were presets."""


def anonymous(layer: keras.layers.Layer) -> dict:
    """What a layer is; names that Keras counts up go on counting."""
    return {name: value for name, value in layer.get_config().items() if name != "name"}


@pytest.mark.parametrize("kind", [pg.HybridClassifier, pg.HybridRegressor])
def test_published_is_the_network_it_always_was(kind, mixed, trainings):
    """Same layers, settings and weights as those of `HybridConfig` alone, and so the same outputs."""
    X, y = mixed
    target = (y > 0).astype(int) if kind is pg.HybridClassifier else y
    model = kind(preset="published", random_state=7).fit(X, target, validation_data=(X, target))
    ((network, train, _, training),) = trainings
    assert training == TrainingConfig(
        **PUBLISHED_TRAINING, epochs=70 if kind is pg.HybridClassifier else 200, random_state=7
    )
    config = HybridConfig(**PUBLISHED_NETWORK, random_state=7)
    assert config == HybridConfig(random_state=7)
    assert model.layout_.shape == (20, 20)
    encoded = model.encoder_.transform(X)
    output = {"task": "classification", "n_outputs": 2}
    if kind is pg.HybridRegressor:
        mean, std = float(train[1].mean()), float(train[1].std())
        output = {"task": "regression", "n_outputs": 1, "target_mean": mean, "target_std": std}
    plain = build_hybrid(config, encoded.shape[1], layout=model.layout_, **output)
    adapt(plain, encoded)
    assert [type(layer) for layer in network.layers] == [type(layer) for layer in plain.layers]
    named = ("scale", "image", "tabular_0", "tabular_1", "conv_0", "conv_1", "meet", "head_0", "logits")
    assert set(named) <= {layer.name for layer in network.layers}
    for ours, expected in zip(network.layers, plain.layers, strict=True):
        assert anonymous(ours) == anonymous(expected)
    for ours, expected in zip(network.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, expected)
    np.testing.assert_array_equal(model._predicted(encoded), plain.predict(encoded, batch_size=1024, verbose=0))


def test_settings_go_before_the_preset(mixed, trainings):
    X, y = mixed
    assert pg.HybridRegressor().settings() == DEFAULT
    assert pg.HybridRegressor(preset="published").settings() == {**PUBLISHED, "epochs": 200}
    assert pg.HybridClassifier(preset="published").settings() == {**PUBLISHED, "epochs": 70}
    given = {"ensemble_size": 3, "dropout": 0.0, "batch_norm": True, "calibrated": False, "epochs": 2}
    assert pg.HybridClassifier(**given).settings() == {**DEFAULT, **given}
    for name, settings in PRESETS.items():
        assert set(settings) == set(DEFAULT) <= set(pg.HybridClassifier().get_params())
        assert pg.HybridRegressor(preset=name).get_params()["preset"] == name
    with pytest.raises(pg.PermGradError, match="preset must be one of 'default', 'fast', 'best', 'published', got 'x'"):
        pg.HybridRegressor(preset="x").fit(X, y)
    with pytest.raises(pg.PermGradError, match="n_networks must be at least 1, got 0"):
        pg.HybridRegressor(n_networks=0).fit(X, y)
    with pytest.raises(pg.PermGradError, match="image_size must be a number, or one of 'compact', 'wide', got 'x'"):
        pg.HybridRegressor(image_size="x").fit(X, y)
    assert trainings == []


@pytest.mark.parametrize("ensemble_size", [1, 3])
@pytest.mark.parametrize("branches", [("tabular", "image"), ("image",)])
def test_the_default_classifier_begins_with_the_classes_shares(ensemble_size, branches, mixed, trainings):
    """As the training rows are weighed, half a row added to each class: exactly, whatever the row."""
    X, y = mixed
    labels, weight = np.where(y > 2, "high", np.where(y > -1, "middle", "low")), np.linspace(0.1, 1.9, len(X))
    settings = {**TINY, "ensemble_size": ensemble_size, "branches": branches, "calibrated": False}
    model = pg.HybridClassifier(**settings).fit(X, labels, weight, validation_data=(X, labels))
    weight = weight / weight.mean()
    counts = np.array([weight[labels == name].sum() for name in ("high", "low", "middle")]) + 0.5
    expected = np.tile(counts / counts.sum(), (len(X), 1))
    np.testing.assert_allclose(model.predict_proba(X), expected, rtol=1e-5)


@pytest.mark.parametrize("ensemble_size", [1, 3])
def test_the_default_regressor_begins_with_the_targets_mean(ensemble_size, mixed, trainings):
    X, y = mixed
    model = pg.HybridRegressor(**{**TINY, "ensemble_size": ensemble_size}).fit(X, y, validation_data=(X, y))
    np.testing.assert_allclose(model.predict(X), y.astype(np.float32).mean(), rtol=1e-6)


def test_the_default_network_begins_without_its_image(mixed, trainings):
    """With random last weights, so that something comes out: the convolutions change nothing until the gate opens."""
    X, y = mixed
    model = pg.HybridRegressor(**TINY, zero_output=False).fit(X, y, validation_data=(X, y))
    before, image = model.predict(X), model.network_.get_layer("conv_0")
    assert before.std() > 0
    image.set_weights([weight + 1 for weight in image.get_weights()])
    np.testing.assert_array_equal(model.predict(X), before)
    model.network_.get_layer("image_gate").gate.assign(0.5)
    assert np.abs(model.predict(X) - before).max() > 1e-3


def test_the_default_network_is_what_its_settings_say(mixed, trainings):
    X, y = mixed
    model = pg.HybridClassifier(random_state=2).fit(X, y > 0)
    ((network, train, validation, training),) = trainings
    assert (len(train[0]), len(validation[0])) == (120, 30)
    assert (training.batch_size, training.patience) == (batch_size_for(120), patience_for(120, batch_size_for(120)))
    assert (training.optimizer, training.schedule, training.epochs) == ("adamw", "constant", 150)
    layers = {layer.name: layer for layer in network.layers}
    assert model.encoder_.get_feature_names_out().tolist() == ["a", "b", "c", "flag", "kind=p", "kind=q", "kind=r"]
    assert layers["embedding"].numbers == [0, 1, 2]  # 0/1 columns have no bins
    assert layers["embedding"].n_bins == 16
    assert layers["tabular_0"].ensemble_size == 8
    assert model.layout_.shape == (6, 6)
    assert {"scale", "scale_image", "image_gate", "temperature"} <= set(layers)
    assert "mask" not in layers  # five columns are too few to look for the best
    assert not [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]


def test_bins_are_fewer_where_columns_are_many(layout):
    """512 bins in all, but at least four each."""
    config = HybridConfig(branches=("tabular",), embedding="bins", embedding_size=16, dense_units=(2,), head_units=())
    for n, expected in ((32, 16), (33, 15), (64, 8), (300, 4)):
        network = build_hybrid(config, n, 1, task="regression")
        assert network.get_layer("embedding").n_bins == expected
    no_numbers = build_hybrid(config, 3, 1, task="regression", numbers=[])
    assert "embedding" not in {layer.name for layer in no_numbers.layers}
    one = build_hybrid(replace(config, embedding_size=2), 3, 1, task="regression", numbers=[1])
    assert one.get_layer("embedding").n_bins == 4


def test_a_wide_table_has_fewer_networks_in_one(rng, trainings, monkeypatch):
    """The preset's number, that is, such that columns times networks stay within a limit, here 35."""
    monkeypatch.setattr("permgrad.estimators._hybrid.MOST_INPUTS", 35)
    X, y = rng.normal(size=(30, 9)), np.arange(30.0)
    settings = {"branches": ("tabular",), "dense_units": (2,), "head_units": (2,), "embedding": "none"}
    model = pg.HybridRegressor(**settings).fit(X, y)
    assert model.network_.get_layer("tabular_0").ensemble_size == 3
    asked = pg.HybridRegressor(**settings, ensemble_size=5).fit(X, y)
    assert asked.network_.get_layer("tabular_0").ensemble_size == 5


@pytest.mark.parametrize(
    ("n_rows", "expected"),
    [
        (1, 32),
        (724, 32),  # 45.25 rows: just below the middle of 32 and 64, as powers of two
        (725, 64),
        (2048, 128),
        (2896, 128),
        (2897, 256),
        (4096, 256),
        (4097, 256),
        (16_384, 256),
        (23_170, 256),
        (23_171, 512),
        (65_536, 1024),
        (10**7, 1024),
    ],
)
def test_rows_of_a_step(n_rows, expected):
    assert batch_size_for(n_rows) == expected


@pytest.mark.parametrize(
    ("n_rows", "batch_size", "expected"),
    [
        (10, 32, 250),  # an epoch is one step
        (63, 32, 250),
        (64, 32, 125),
        (20 * 32, 32, 13),
        (21 * 32, 32, 12),
        (100_000, 256, 12),
    ],
)
def test_epochs_of_patience(n_rows, batch_size, expected):
    assert patience_for(n_rows, batch_size) == expected
