"""Stain normalisation: beside plain NumPy, and two laboratories' colours brought together."""

from __future__ import annotations

import numpy as np
import pytest

import permgrad as pg
from permgrad.backend import keras
from permgrad.layers.stain import FROM_OPPONENT, TISSUE_DENSITY, TO_CONES, TO_OPPONENT, ReinhardNormalization

pytestmark = pytest.mark.backend
numpy = keras.ops.convert_to_numpy


@pytest.fixture
def tissue(rng):
    """Four patches of 24 × 24: pink with purple nuclei, a quarter of each glass."""
    nuclei = rng.random((4, 24, 24, 1)) < 0.3
    images = np.where(nuclei, [110.0, 70, 140], [215, 150, 190]) + rng.normal(size=(4, 24, 24, 3)) * 6
    images[:, :6] = [244, 242, 245]
    return images.clip(0, 255).astype(np.float32)


def plainly(image, mean, spread):
    """One patch, pixel by pixel, by the paper's formulas."""
    pixels = image.reshape(-1, 3).astype(float)
    stained = (-np.log((pixels + 1) / 256)).mean(axis=1) >= TISSUE_DENSITY
    opponent = np.array(
        [TO_OPPONENT @ np.log(TO_CONES @ np.maximum(pixel / 255, 1 / 255)) for pixel in pixels[stained]]
    )
    moved = (opponent - opponent.mean(axis=0)) / opponent.std(axis=0) * spread + mean
    back = np.array([np.linalg.solve(TO_CONES, np.exp(FROM_OPPONENT @ each)) for each in moved])
    pixels[stained] = 255 * back.clip(0, 1)
    return pixels.reshape(image.shape)


def test_by_the_papers_formulas(tissue):
    layer = ReinhardNormalization((-0.5, 0.02, 0.03), (0.2, 0.03, 0.02))
    expected = np.stack([plainly(image, layer.mean, layer.spread) for image in tissue])
    np.testing.assert_allclose(numpy(layer(tissue)), expected, atol=0.05)
    np.testing.assert_array_equal(numpy(layer(tissue))[:, :6], tissue[:, :6])  # glass


def test_two_laboratories_become_alike(tissue):
    """The same patches, stained more strongly and redder elsewhere: like the first laboratory's after normalising."""
    density = -np.log((tissue + 1) / 256)
    elsewhere = (256 * np.exp(-density * [0.8, 1.5, 1.2]) - 1).clip(0, 255).astype(np.float32)
    layer = ReinhardNormalization.like(tissue)
    before = np.abs(elsewhere - tissue).mean()
    first, second = numpy(layer(tissue)), numpy(layer(elsewhere))
    assert before > 15
    assert np.abs(second - first).mean() < 0.25 * before
    assert np.abs(first - tissue).mean() < 0.25 * before  # its own patches hardly change
    apart = [
        np.abs(each[:, 6:].mean(axis=(0, 1, 2)) - tissue[:, 6:].mean(axis=(0, 1, 2))).max()
        for each in (elsewhere, second)
    ]
    assert apart[1] < 0.2 * apart[0]


def test_glass_alone_stays_as_it_is():
    glass = np.full((1, 8, 8, 3), 243, np.uint8)
    np.testing.assert_array_equal(numpy(ReinhardNormalization()(glass)), glass)
    with pytest.raises(pg.PermGradError, match="nearly all glass"):
        ReinhardNormalization.like(glass)
    with pytest.raises(pg.PermGradError, match="3 numbers each"):
        ReinhardNormalization(spread=(1, 0, 1))


def test_saved_in_a_model(tissue, tmp_path):
    inputs = keras.Input((24, 24, 3))
    model = keras.Model(inputs, ReinhardNormalization.like(tissue)(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(tissue, verbose=0), model.predict(tissue, verbose=0))
