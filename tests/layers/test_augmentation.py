"""Random changes: each by itself does what it says, and nothing outside of training."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

import permgrad as pg
from permgrad.backend import keras
from permgrad.layers.augmentation import STAINS

pytestmark = pytest.mark.backend


@pytest.fixture
def images(rng):
    return rng.uniform(0, 255, (64, 12, 12, 3)).astype(np.float32)


def applied(augmentation, images, training=True):
    x = images
    for layer in augmentation.layers(0):
        x = layer(x, training=training)
    return keras.ops.convert_to_numpy(x)


def only(**given):
    return pg.Augmentation(**{"flips": False, "rotation": 0, **given})


ALL = pg.Augmentation(rotation=90, brightness=0.1, contrast=0.1, saturation=0.2, hue=0.05, stain=0.05)


def test_nothing_changes_outside_of_training(images):
    np.testing.assert_allclose(applied(ALL, images, training=False), images)
    assert only().layers() == []


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue", "stain"])
def test_each_change_is_made_and_stays_in_range(images, name):
    changed = applied(only(**{name: 0.2}), images)
    assert changed.shape == images.shape
    assert changed.min() >= 0
    assert changed.max() <= 255 + 1e-3
    each = np.abs(changed - images).mean(axis=(1, 2, 3))
    assert (each > 1e-3).mean() > 0.9  # nearly every patch
    assert np.unique(each.round(5)).size > 50  # each by itself


def in_hsv(images):
    return np.stack([cv2.cvtColor(image / 255, cv2.COLOR_RGB2HSV) for image in images])


def test_how_large_changes_are():
    """Of a plain colour, measured: hue in shares of the circle, saturation as a factor, brightness of 255."""
    image = np.broadcast_to(np.float32([180, 90, 120]), (400, 4, 4, 3)).copy()
    before = in_hsv(image)[0, 0, 0]
    hue = in_hsv(applied(only(hue=0.05), image))[:, 0, 0, 0]
    shift = (hue - before[0] + 180) % 360 - 180
    assert np.abs(shift).max() == pytest.approx(0.05 * 360, rel=0.05)
    assert shift.min() < -10 < 10 < shift.max()
    factor = in_hsv(applied(only(saturation=0.2), image))[:, 0, 0, 1] / before[1]
    assert (factor.min(), factor.max()) == pytest.approx((0.8, 1.2), abs=0.02)
    added = (applied(only(brightness=0.1), image) - image)[:, 0, 0, 0]
    assert (added.min(), added.max()) == pytest.approx((-25.5, 25.5), abs=1)
    striped = image.copy()
    striped[:, ::2] += 20
    contrast = np.ptp(applied(only(contrast=0.3), striped)[:, :, 0, 0], axis=1) / 20
    assert (contrast.min(), contrast.max()) == pytest.approx((0.7, 1.3), abs=0.03)


def test_flips_toss_two_coins(images):
    """Both ways, one, or none; Keras's own layer for both would toss one."""
    changed = applied(only(flips=True), images)
    ways = {"none": images, "across": images[:, :, ::-1], "down": images[:, ::-1], "both": images[:, ::-1, ::-1]}
    counts = {name: sum(np.array_equal(a, b) for a, b in zip(changed, way, strict=True)) for name, way in ways.items()}
    assert sum(counts.values()) == 64
    assert min(counts.values()) >= 6


def test_rotations_are_of_any_angle_up_to_the_largest():
    image = np.zeros((64, 33, 33, 3), np.float32)
    image[:, 16, 17:] = 255  # a hand of a clock at three
    turned = applied(only(rotation=90), image)[..., 0]
    rows, columns = np.mgrid[-16:17, -16:17]
    angles = np.degrees(np.arctan2((turned * -rows).sum(axis=(1, 2)), (turned * columns).sum(axis=(1, 2))))
    assert np.abs(angles).max() <= 91
    assert np.abs(angles).max() > 70
    assert np.std(angles) > 35  # uniform in ±90 has 52


def test_stain_jitter_is_what_the_paper_says(images, rng):
    """Pixel by pixel, with a matrix that is inverted here."""
    layer = pg.StainJitter(0.1, random_state=0)
    a, b = rng.uniform(0.9, 1.1, (64, 1, 1, 3)), rng.uniform(-0.1, 0.1, (64, 1, 1, 3))
    found = keras.ops.convert_to_numpy(layer.restain(images[:2], a[:2].astype("float32"), b[:2].astype("float32")))
    stains = np.array([np.array(s) / np.sqrt(np.sum(np.square(s))) for s in STAINS])
    for i in range(2):
        for row in range(12):
            density = -np.log((images[i, row, 5] + 1) / 256)
            amounts = np.linalg.solve(stains.T, density)  # density = sum of amount times stain
            changed = amounts * a[i, 0, 0] + b[i, 0, 0]
            expected = np.clip(256 * np.exp(-(stains.T @ changed)) - 1, 0, 255)
            np.testing.assert_allclose(found[i, row, 5], expected, atol=0.02)


def test_more_haematoxylin_moves_along_its_own_colour():
    layer = pg.StainJitter(0.1)
    density = 0.8 * layer.stains[0]
    image = (256 * np.exp(-density) - 1).reshape(1, 1, 1, 3).astype(np.float32)
    twice = keras.ops.convert_to_numpy(layer.restain(image, np.float32([2, 1, 1]), np.float32(0)))
    np.testing.assert_allclose(-np.log((twice.ravel() + 1) / 256), 2 * density, atol=1e-4)


def test_it_is_seeded_and_saved(images, tmp_path):
    first, again = applied(ALL, images), applied(ALL, images)
    np.testing.assert_array_equal(first, again)
    inputs = x = keras.Input((12, 12, 3))
    for layer in ALL.layers(3):
        x = layer(x)
    keras.Model(inputs, x).save(tmp_path / "a.keras")
    loaded = keras.saving.load_model(tmp_path / "a.keras")
    assert [type(layer).__name__ for layer in loaded.layers[1:]] == [type(layer).__name__ for layer in ALL.layers()]
    assert next(layer for layer in loaded.layers if isinstance(layer, pg.StainJitter)).strength == 0.05


def test_bad_settings():
    with pytest.raises(pg.PermGradError, match="rotation must be between 0 and 180 degrees, got 200"):
        pg.Augmentation(rotation=200)
    with pytest.raises(pg.PermGradError, match=r"hue must be at least 0 and below 1, got 1\.5"):
        pg.Augmentation(hue=1.5)
    with pytest.raises(pg.PermGradError, match=r"hue must be at most 0\.5"):
        pg.Augmentation(hue=0.6)
    with pytest.raises(pg.PermGradError, match="strength"):
        pg.StainJitter(0)
