from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import permgrad as pg
from permgrad.images import layout as module

METHODS = ["tinto", "igtd", "deepinsight", "fotomics"]


@pytest.fixture
def frame(rng) -> pd.DataFrame:
    """Twelve columns in three correlated blocks, so that pixels collide."""
    base = rng.normal(size=(80, 3)).repeat(4, axis=1)
    values = base + rng.normal(scale=0.05, size=base.shape)
    return pd.DataFrame(values, columns=[f"c{i}" for i in range(12)])


def tintolib_images(model, frame: pd.DataFrame, folder) -> np.ndarray:
    """Let TINTOlib fit, draw and write every row, and read its own matrices back."""
    scaled = (frame - frame.min()) / (frame.max() - frame.min())
    data = scaled.assign(target=0.0)
    model.fit_transform(data, str(folder))
    return np.stack([np.load(path) for path in sorted(folder.glob("**/*.npy"))])


def test_tinto_draws_tintolibs_pixels(frame, tmp_path):
    from TINTOlib.tinto import TINTO

    model = TINTO(problem="regression", transformer=None, pixels=10, format="npy", random_seed=0)
    with pytest.warns(UserWarning, match="features share"):
        layout = pg.fit_layout(frame, "tinto", 10, unique=False)
    np.testing.assert_allclose(layout.render(frame)[..., 0], tintolib_images(model, frame, tmp_path), atol=1e-6)


@pytest.mark.parametrize("method", ["deepinsight", "fotomics"])
def test_parametric_methods_draw_tintolibs_pixels(method, frame, tmp_path):
    from TINTOlib.deepInsight import DeepInsight
    from TINTOlib.fotomics import Fotomics

    kind = {"deepinsight": DeepInsight, "fotomics": Fotomics}[method]
    model = kind(image_dim=6, problem="regression", transformer=None, format="npy", random_seed=0)
    with pytest.warns(UserWarning, match="their mean is drawn"):
        layout = pg.fit_layout(frame, method, 6, unique=False)
    np.testing.assert_allclose(layout.render(frame)[..., 0], tintolib_images(model, frame, tmp_path), atol=1e-6)


def test_igtd_draws_tintolibs_pixels(frame, tmp_path):
    """TINTOlib writes 255 for an empty pixel and for the smallest value, 0 for the largest."""
    from TINTOlib.igtd import IGTD

    model = IGTD(problem="regression", transformer=None, scale=[4, 4], format="npy", random_seed=0)
    layout = pg.fit_layout(frame, "igtd", 4)
    theirs = (255 - tintolib_images(model, frame, tmp_path)) / 255
    rows = int(layout.rows.min())  # ours is centred: 12 features take 3 of 4 rows
    np.testing.assert_allclose(layout.render(frame)[..., 0], np.roll(theirs, rows, axis=1), atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_unique_layout_has_no_collision(method, frame):
    layout = pg.fit_layout(frame, method, 6)
    assert len(set(layout.pixels)) == 12
    assert layout.collisions == []
    assert layout.rows.min() >= 0
    assert layout.rows.max() < 6
    assert layout.cols.max() < 6


def test_unique_layout_moves_as_little_as_can_be(frame):
    """Against every assignment of four points to four of nine pixels."""
    from itertools import permutations

    points = np.array([[0.2, 0.1], [0.1, 0.3], [1.9, 1.2], [1.6, 1.4]])
    placed = module._own_pixels(points, (3, 3))
    pixels = np.indices((3, 3)).reshape(2, -1).T
    best = min(((pixels[list(choice)] - points) ** 2).sum() for choice in permutations(range(9), 4))
    assert ((placed - points) ** 2).sum() == pytest.approx(best)


@pytest.mark.parametrize("n", [5, 40, 81])
def test_sorted_grid_keeps_order_and_gives_own_pixels(n, rng):
    points = rng.random((n, 2)) * 8
    placed = module._sorted_grid(points, (9, 9))
    assert len({tuple(p) for p in placed}) == n
    assert placed.min() >= 0
    assert placed.max() <= 8
    by_row = np.argsort(points[:, 0])
    assert (np.diff(placed[by_row, 0]) >= 0).all()


def test_wide_table_is_laid_out_in_seconds(rng):
    layout = pg.fit_layout(rng.normal(size=(20, 6000)).astype(np.float32))
    assert layout.shape == (78, 78)
    assert len(set(layout.pixels.tolist())) == 6000


@given(
    n_features=st.integers(1, 20),
    n_rows=st.integers(3, 12),
    size=st.integers(5, 9),
    constant=st.integers(0, 3),
    random_state=st.integers(0, 99),
)
@settings(max_examples=30, deadline=None)
@pytest.mark.slow
def test_every_value_is_drawn_once(n_features, n_rows, size, constant, random_state):
    """Unique layouts: a row's image holds its scaled values, each at its feature's pixel, and zeros."""
    X = np.random.default_rng(random_state).normal(size=(n_rows, n_features))
    X[:, :constant] = 7.0
    layout = pg.fit_layout(X, "tinto", size)
    images = layout.render(X)
    assert images.shape == (n_rows, size, size, 1)
    assert images.dtype == np.float32
    scaled = layout.scale(X)
    np.testing.assert_allclose(images[:, layout.rows, layout.cols, 0], scaled, atol=1e-6)
    np.testing.assert_allclose(images.sum(axis=(1, 2, 3)), scaled.sum(axis=1), atol=1e-4)


def test_test_rows_do_not_move_the_layout(frame):
    layout = pg.fit_layout(frame[:40], size=6)
    assert layout.render(frame[40:] * 10).max() > 1  # scaled by the training range, not clipped
    np.testing.assert_array_equal(layout.maximum, frame[:40].max())


def test_json_round_trip(frame):
    layout = pg.fit_layout(frame, size=6)
    restored = pg.FeatureLayout.from_dict(layout.to_dict())
    np.testing.assert_array_equal(restored.render(frame), layout.render(frame))
    assert restored.features == layout.features


def test_image_size_grows_with_the_table():
    assert [module.image_size(n) for n in (4, 100, 128, 1024, 20_531)] == [20, 20, 23, 64, 144]


BAD = {
    "method": ({"method": "umap"}, "one of 'tinto'"),
    "no size": ({"size": 0}, "whole number of pixels from 1 to 1,024, got 0"),
    "half a pixel": ({"size": 8.5}, "whole number of pixels from 1 to 1,024, got 8.5"),
    "pixels": ({"size": 3}, "12 features need at least 12 pixels, an image of 3 × 3 has 9; choose size=4"),
    "igtd pixels": ({"size": 3, "method": "igtd", "unique": False}, "12 features need at least 12 pixels"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_options(case, frame):
    options, message = BAD[case]
    with pytest.raises(pg.PermGradError, match=message):
        pg.fit_layout(frame, **options)


def test_bad_columns(frame):
    with pytest.raises(pg.PermGradError, match="encode or impute 'c0', 'c1' first"):
        pg.fit_layout(frame.assign(c0="x", c1=np.nan))
    with pytest.raises(pg.PermGradError, match="at least 3 features that vary, got 2"):
        pg.fit_layout(frame[["c0", "c4"]], "deepinsight")
    line = pd.DataFrame({"a": [0, 1, 0, 1], "b": [0, 1, 1, 0], "middle": [0, 1, 0.5, 0.5]})
    with pytest.raises(pg.PermGradError, match="on one line"):
        pg.fit_layout(line, "deepinsight")
    layout = pg.fit_layout(frame)
    with pytest.raises(pg.PermGradError, match="absent: 'c0'; not expected: 'z'"):
        layout.render(frame.rename(columns={"c0": "z"}))
    with pytest.raises(pg.PermGradError, match="expected columns in another order"):
        layout.render(frame.iloc[:, ::-1])
    with pytest.raises(pg.PermGradError, match="12 features, the table has 3 columns"):
        layout.render(np.zeros((2, 3)))


@pytest.mark.parametrize("method", METHODS)
def test_columns_all_alike_still_get_pixels_of_their_own(method, frame):
    alike = pd.DataFrame({f"l{i}": frame.c0 for i in range(4)})
    assert len(set(pg.fit_layout(alike, method).pixels)) == 4


@pytest.mark.parametrize("n_features", [1, 2])
def test_narrow_tables(n_features, frame):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(set(pg.fit_layout(frame.iloc[:, [0, 4][:n_features]]).pixels)) == n_features


def test_refined_is_in_the_middle(frame):
    layout = pg.fit_layout(frame, "refined", 8)
    assert len(set(layout.pixels)) == 12
    assert (layout.rows.min(), layout.rows.max(), layout.cols.min(), layout.cols.max()) == (2, 5, 2, 5)


@pytest.mark.parametrize(
    ("n_features", "expected"), [(1, 6), (24, 6), (25, 7), (32, 7), (33, 8), (100, 13), (784, 35), (20_531, 176)]
)
def test_a_compact_image_has_half_as_many_pixels_again_as_features(n_features, expected):
    """The least square that has them; six pixels at least, so that two strides leave something."""
    side = module.compact_size(n_features)
    assert side == expected
    assert side == 6 or (side - 1) ** 2 < 1.5 * n_features <= side**2
