"""Frozen backbones under a linear head, slides named by ids, and calibration of a patch classifier."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

import permgrad as pg
from permgrad.backend import keras
from permgrad.metrics.calibration import expected_calibration_error
from permgrad.patches.predicting import predict_logits


def means_of_channels(shape=(48, 48, 3)):
    """A network whose map says each pixel's red, green and blue, in [0, 1]."""
    inputs = keras.Input(shape)
    kernel = np.eye(3, dtype=np.float32)[None, None]
    layer = keras.layers.Conv2D(3, 1, use_bias=False)
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([kernel])
    return model


def test_a_files_network_is_averaged_over_space(patches, tmp_path):
    means_of_channels().save(tmp_path / "network.keras")
    frozen = pg.frozen_backbone(tmp_path / "network.keras", patch_shape=(48, 48, 3), image_size=None, pixels="0-1")
    found = pg.embed_patches(frozen, patches, batch_size=7)
    np.testing.assert_allclose(found, patches.pixels().mean(axis=(1, 2)) / 255, rtol=1e-4)
    assert not frozen.trainable_variables
    scaled = pg.frozen_backbone(tmp_path / "network.keras", patch_shape=(48, 48, 3), image_size=None, pixels="-1-1")
    np.testing.assert_allclose(pg.embed_patches(scaled, patches), 2 * found - 1, atol=1e-4)


def test_tokens_are_averaged_and_known_backbones_scale_themselves(patches, tmp_path):
    inputs = keras.Input((48, 48, 3))
    keras.Model(inputs, keras.layers.Reshape((48 * 48, 3))(inputs)).save(tmp_path / "tokens.keras")
    frozen = pg.frozen_backbone(tmp_path / "tokens.keras", patch_shape=(48, 48, 3), image_size=None)
    few = patches.take(range(4))
    np.testing.assert_allclose(pg.embed_patches(frozen, few), few.pixels().mean(axis=(1, 2)), rtol=1e-4)
    known = pg.frozen_backbone("SmallCNN", weights="random", patch_shape=(48, 48, 3), image_size=None)
    assert pg.embed_patches(known, few).shape == (4, 96)


def test_a_linear_head_finds_what_is_planted(rng):
    """One direction of eight tells the classes apart."""
    X = rng.normal(size=(200, 8)).astype(np.float32)
    y = (X[:, 2] + 0.3 * rng.normal(size=200) > 0).astype(int)
    head = pg.linear_head(X[:150], y[:150], groups=np.arange(150) // 3)
    assert (head.predict(X[150:]) == y[150:]).mean() > 0.85
    weights = np.abs(head.best_estimator_[-1].coef_[0])
    assert weights.argmax() == 2


def test_folds_keep_slides_together(rng):
    """A slide's mark tells its patches' label within the slide, and nothing elsewhere: folds by slide say so."""
    slides, y = np.repeat(np.arange(12), 10), np.repeat(np.arange(12) % 2, 10)
    X = np.eye(12)[slides] * 5 + 0.1 * rng.normal(size=(120, 12))
    losses = {
        way: -pg.linear_head(X, y, groups=groups).best_score_
        for way, groups in {"slides": slides, "none": None}.items()
    }
    assert losses["none"] < 0.05
    assert losses["slides"] > 0.5


@pytest.mark.parametrize(
    ("name", "slide", "patient"),
    [
        ("patch_patient_004_node_4_x_3328_y_21792", "patient_004_node_4", "patient_004"),
        ("patient_104_node_12_x_1_y_2", "patient_104_node_12", "patient_104"),
        ("tumor_001_3328_21792", "tumor_001", None),
        ("normal_160-12-13", "normal_160", None),
        ("TCGA-AB-12C4-01Z-00-DX1_100_200", "TCGA-AB-12C4-01Z-00-DX1", "TCGA-AB-12C4"),
        ("f38a6374c348f90b587e046aac6079959adf3835", None, None),
        ("abnormal_001", None, None),
    ],
)
def test_ids_that_name_slides(name, slide, patient):
    assert (pg.group_of_id(name), pg.group_of_id(name, "patient")) == (slide, patient)


def test_groups_are_read_from_ids(directory, tmp_path):
    labels = pd.read_csv(directory / "train_labels.csv")
    (tmp_path / "train").mkdir()
    names = {name: f"patient_{i % 5:03d}_node_{i % 2}_x_{i}_y_7" for i, name in enumerate(labels["id"])}
    for name, new in names.items():
        source = next((directory / "train").glob(f"{name}.*"))
        (tmp_path / "train" / f"{new}{source.suffix}").write_bytes(source.read_bytes())
    labels.assign(id=[names[name] for name in labels["id"]]).to_csv(tmp_path / "train_labels.csv", index=False)
    by_patient = pg.check_patches(tmp_path, groups="patient").train
    assert set(by_patient.groups) == {f"patient_{i:03d}" for i in range(5)}
    assert len(set(pg.check_patches(tmp_path, groups="slide").train.groups)) == 10
    with pytest.raises(pg.PermGradError, match="name no slide; give a CSV file"):
        pg.check_patches(directory, groups="slide")


def test_a_bold_classifier_is_calibrated(patches, monkeypatch):
    """Logits four times as large as they should be: the temperature is about 4, and the order stays."""
    inputs = keras.Input((48, 48, 3))
    x = keras.layers.GlobalAveragePooling2D()(inputs)
    dense = keras.layers.Dense(1)
    model = keras.Model(inputs, dense(x), name="bold")
    rng = np.random.default_rng(0)
    many = pg.Patches(patches.ids * 10, patches.files * 10, patches.shape, np.tile(patches.y, 10))
    red = many.pixels().mean(axis=(1, 2))[:, 0]
    true = (red - red.mean()) / red.std() * 1.5
    dense.set_weights([np.array([[6 / red.std()], [0], [0]], np.float32), np.array([-6 * red.mean() / red.std()])])
    labelled = pg.Patches(many.ids, many.files, many.shape, (rng.random(len(many)) < expit(true)).astype(np.int8))
    calm = pg.calibrate_patches(model, labelled)
    bold, said = predict_logits(model, labelled)[:, 0], predict_logits(calm, labelled)[:, 0]
    np.testing.assert_allclose(bold / said, (bold / said)[0], rtol=1e-3)
    assert (bold / said)[0] == pytest.approx(4, rel=0.25)
    errors = [
        expected_calibration_error(labelled.y, np.column_stack([1 - expit(each), expit(each)])) for each in (bold, said)
    ]
    assert errors[1] < 0.5 * errors[0]
    assert model.layers[-1] is dense


def test_what_cannot_be(patches, tmp_path):
    with pytest.raises(pg.PermGradError, match="no backbone and no file"):
        pg.frozen_backbone(tmp_path / "absent.keras")
    (tmp_path / "broken.keras").write_bytes(b"nothing")
    with pytest.raises(pg.PermGradError, match=r"a \.keras file of a network for images"):
        pg.frozen_backbone(tmp_path / "broken.keras")
    inputs = keras.Input((5,))
    keras.Model(inputs, keras.layers.Dense(1)(inputs)).save(tmp_path / "table.keras")
    with pytest.raises(pg.PermGradError, match="one image of"):
        pg.frozen_backbone(tmp_path / "table.keras")
    with pytest.raises(pg.PermGradError, match="pixels must be one of"):
        pg.frozen_backbone(tmp_path / "table.keras", pixels="0-2")
    with pytest.raises(pg.PermGradError, match="two classes, each in at least two groups"):
        pg.linear_head(np.ones((4, 2)), [0, 0, 1, 1], groups=[0, 0, 1, 1])
    inputs = keras.Input((48, 48, 3))
    sure = keras.Model(inputs, keras.layers.Dense(1, "sigmoid")(keras.layers.Flatten()(inputs)))
    with pytest.raises(pg.PermGradError, match="ends in a sigmoid"):
        pg.calibrate_patches(sure, patches)
