"""Heat is where the network's evidence is; shares of it and patches to show, by hand."""

from __future__ import annotations

import numpy as np
import pytest

import permgrad as pg
from permgrad.backend import keras
from permgrad.patches.heat import heat_shares, notable_patches, tissue
from permgrad.patches.planted import draw_patch

pytestmark = pytest.mark.backend


@pytest.fixture
def spot_finder():
    """A network whose logit is the mean of what its one convolution sees of red, less a threshold."""
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    inner = keras.Input((32, 32, 3))
    conv = keras.layers.Conv2D(2, 4, strides=4, use_bias=False, name="conv")
    backbone = keras.Model(inner, keras.layers.ReLU()(conv(inner)), name="backbone")
    kernel = np.zeros((4, 4, 3, 2), np.float32)
    kernel[:, :, 0, 0] = 1 / 16  # red
    kernel[:, :, 2, 1] = 1 / 16  # blue
    conv.set_weights([kernel])
    pooled = keras.layers.GlobalAveragePooling2D()(backbone(x))
    dense = keras.layers.Dense(1, name="logit")
    model = keras.Model(inputs, dense(pooled))
    dense.set_weights([np.array([[50.0], [-50.0]], np.float32), np.zeros(1, np.float32)])
    return model


def test_heat_is_at_the_evidence(spot_finder):
    images = np.zeros((2, 32, 32, 3), np.uint8)
    images[0, 4:8, 20:24, 0] = 255  # red: speaks for positive, at row 1, column 5 of the convolution
    images[0, 20:24, 4:8, 2] = 128  # less blue, elsewhere
    images[1, 20:24, 4:8, 2] = 255  # blue: negative
    heat = pg.patch_heat(spot_finder, images)
    assert heat.shape == (2, 32, 32)
    assert np.unravel_index(heat[0].argmax(), (32, 32)) in [(r, c) for r in range(4, 8) for c in range(20, 24)]
    assert heat[0, 20:24, 4:8].max() < 0.01  # it speaks for the other class
    assert np.unravel_index(heat[1].argmax(), (32, 32)) in [(r, c) for r in range(20, 24) for c in range(4, 8)]


def test_no_evidence_no_heat(spot_finder):
    assert not pg.patch_heat(spot_finder, np.zeros((1, 32, 32, 3), np.uint8)).any()


def test_shares_by_hand():
    images = np.full((3, 64, 64, 3), 250, np.uint8)
    images[:, :, :32] = 120  # tissue: the left half
    heat = np.zeros((3, 64, 64), np.float32)
    heat[0, 16:48, 16:48] = 0.5  # the middle alone, half of it tissue
    heat[1] = 1
    table = heat_shares(images, heat)
    assert table.loc[0].tolist() == [0.5, 0.5, 1, 0.25]
    assert table.loc[1].tolist() == [0.5, 0.5, 0.25, 0.25]
    assert table.loc[2, ["tissue_heat", "centre_heat"]].isna().all()
    assert tissue(images)[0, 0].tolist() == [True] * 32 + [False] * 32


def test_notable_by_hand():
    y = np.array([1, 1, 0, 0, 1, 0])
    p = np.array([0.9, 0.95, 0.02, 0.7, 0.1, 0.45])
    notable = notable_patches(y, p, 3)
    assert notable["surest"].tolist() == [1, 2, 0]  # right ones: positive, negative, positive
    assert notable["most mistaken"].tolist() == [4, 3]
    assert notable["most doubtful"].tolist() == [5, 3, 4] or notable["most doubtful"].tolist() == [5, 3, 0]
    with pytest.raises(pg.PermGradError, match="k must be at least 1"):
        notable_patches(y, p, 0)


def test_planted_patches_differ_in_the_middle_alone():
    for random_state in range(5):
        without, within = (draw_patch(np.random.default_rng(random_state), positive, 96) for positive in (False, True))
        changed = np.abs(within.astype(int) - without).max(axis=-1) > 60  # more than the noise
        rows, columns = np.nonzero(changed)
        assert len(rows) > 100
        assert min(rows.min(), columns.min()) > 20
        assert max(rows.max(), columns.max()) < 76
