"""Predictions stand beside their patches, symmetries are averaged, and the submission is whole and in order."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from permgrad.backend import keras
from permgrad.patches.predicting import ends_in_logit, predict_logits, probability
from permgrad.patches.reading import symmetric

pytestmark = pytest.mark.backend


@pytest.fixture(scope="module")
def model():
    model = pg.backbone_classifier("SmallCNN", weights="random", patch_shape=(48, 48, 3), image_size=None)
    model.get_layer("logit").bias.assign([0.3])
    return model


@pytest.mark.slow
def test_logits_in_order(model, patches):
    logits = predict_logits(model, patches, symmetries=8, batch_size=100, workers=2)  # four batches, the last a part
    images = patches.pixels()
    for i in range(8):
        expected = model.predict(symmetric(images, i), verbose=0)[:, 0]
        np.testing.assert_allclose(logits[:, i], expected, atol=1e-4)
    assert np.ptp(logits, axis=1).min() > 1e-4  # the network itself is not symmetric
    np.testing.assert_allclose(predict_logits(model, patches)[:, 0], logits[:, 0], atol=1e-5)


def test_the_mean_over_symmetries_knows_none(model, patches, monkeypatch):
    before = pg.predict_patches(model, patches, symmetries=8)
    pixels = pg.Patches.pixels
    monkeypatch.setattr(pg.Patches, "pixels", lambda self, rows=None: symmetric(pixels(self, rows), 6))
    np.testing.assert_allclose(pg.predict_patches(model, patches, symmetries=8), before, atol=1e-5)


def test_an_ensemble_is_the_mean_of_probabilities(model, patches):
    other = pg.backbone_classifier(
        "SmallCNN", weights="random", patch_shape=(48, 48, 3), image_size=None, random_state=5
    )
    each = [probability(predict_logits(one, patches)[:, 0]) for one in (model, other)]
    np.testing.assert_allclose(pg.predict_patches([model, other], patches), np.mean(each, axis=0), atol=1e-6)
    assert probability(np.array([0.0, 2.0])).tolist() == pytest.approx([0.5, 1 / (1 + np.exp(-2))])
    with pytest.raises(pg.PermGradError, match="at least one network"):
        pg.predict_patches([], patches)
    with pytest.raises(pg.PermGradError, match="there are no patches to predict"):
        predict_logits(model, patches.take([]))
    with pytest.raises(pg.PermGradError, match="symmetries must be 1 or 8, got 4"):
        predict_logits(model, patches, symmetries=4)


def test_a_network_that_ends_in_a_sigmoid_says_the_same(model, patches):
    same = keras.Model(model.inputs[0], keras.layers.Activation("sigmoid", dtype="float32")(model.outputs[0]))
    assert (ends_in_logit(model), ends_in_logit(same)) == (True, False)
    np.testing.assert_allclose(predict_logits(same, patches), predict_logits(model, patches), atol=1e-4)
    np.testing.assert_allclose(pg.predict_patches(same, patches), pg.predict_patches(model, patches), atol=1e-6)
    images = patches.pixels()
    np.testing.assert_allclose(pg.patch_heat(same, images), pg.patch_heat(model, images), atol=1e-5)


@pytest.mark.parametrize(("units", "activation"), [(2, "softmax"), (2, None)])
def test_a_network_that_says_more_than_one_number(units, activation, patches):
    pixels = keras.Input((48, 48, 3))
    end = keras.layers.Dense(units, activation)(keras.layers.GlobalAveragePooling2D()(pixels))
    with pytest.raises(pg.PermGradError, match="with one logit, got one with 2 outputs"):
        pg.predict_patches(keras.Model(pixels, end), patches)


def test_submission(tmp_path, monkeypatch):
    path = tmp_path / "submission.csv"
    pg.write_submission(path, ["b", "a"], [0.25, 1.0])
    assert path.read_text() == "id,label\nb,0.25\na,1.0\n"
    pg.write_submission(path, ["b", "a"], [0.5, 0.75], column="probability")
    assert pd.read_csv(path)["probability"].tolist() == [0.5, 0.75]
    for bad in ([2.5, -1.0], [np.nan, 0.5]):
        with pytest.raises(pg.PermGradError, match="probabilities from 0 to 1"):
            pg.write_submission(path, ["b", "a"], bad)
    with pytest.raises(pg.PermGradError, match="must come once"):
        pg.write_submission(path, ["a", "a"], [0.5, 0.5])
    with pytest.raises(pg.PermGradError, match="must come once"):
        pg.write_submission(path, ["a"], [0.5, 0.5])
    monkeypatch.setattr("os.fsync", lambda file: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(pg.PermGradError, match="No space left"):
        pg.write_submission(path, ["b", "a"], [0.1, 0.1])
    assert pd.read_csv(path)["probability"].tolist() == [0.5, 0.75]  # what was there stays
    assert [each.name for each in tmp_path.iterdir()] == ["submission.csv"]
