from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import yeojohnson
from sklearn.preprocessing import PowerTransformer

import permgrad as pg
from permgrad.backend import keras
from permgrad.layers.image import FeatureImage
from permgrad.layers.scaling import MinMaxScale, YeoJohnson
from permgrad.layers.selectors import Selector

pytestmark = pytest.mark.backend


@pytest.mark.parametrize("merge", ["last", "mean"])
def test_image_layer_draws_as_the_layout_does(merge, rng):
    """Six features on four pixels: three share one."""
    rows, cols = np.array([0, 0, 0, 2, 4, 1], np.int32), np.array([3, 3, 3, 1, 0, 2], np.int32)
    names = tuple("abcdef")
    layout = pg.FeatureLayout(names, rows, cols, (5, 4), np.zeros(6), np.ones(6), "by hand", merge)
    X = rng.random((7, 6)).astype(np.float32)
    drawn = keras.ops.convert_to_numpy(FeatureImage.from_layout(layout)(X))
    np.testing.assert_allclose(drawn, layout.render(X), atol=1e-6)
    shared = X[:, 2] if merge == "last" else X[:, :3].mean(axis=1)
    np.testing.assert_allclose(drawn[:, 0, 3, 0], shared, rtol=1e-6)
    np.testing.assert_array_equal(drawn[:, 4, 0, 0], X[:, 4])
    assert np.count_nonzero(drawn[0]) == 4


def test_scaling_by_hand():
    layer = MinMaxScale()
    layer.build((None, 3))
    layer.adapt(np.array([[0.0, 5.0, 2.0], [4.0, 5.0, 1.0]]))
    scaled = keras.ops.convert_to_numpy(layer(np.array([[1.0, 7.0, 3.0]])))
    np.testing.assert_allclose(scaled, [[0.25, 2.0, 2.0]])


def test_selector_weighs_each_column():
    selector = Selector(regularizer=keras.regularizers.L1(0.1))
    assert (keras.ops.convert_to_numpy(selector(np.ones((2, 3)))) == 1).all()
    selector.set_weights([np.array([2.0, 0.0, -1.0])])
    weighed = keras.ops.convert_to_numpy(selector(np.array([[1.0, 7.0, 3.0]])))
    np.testing.assert_allclose(weighed, [[2.0, 0.0, -3.0]])
    np.testing.assert_allclose(sum(selector.losses), 0.3, rtol=1e-6)


def test_layers_survive_saving(layout, rng, tmp_path):
    rows = keras.Input((6,))
    scale = MinMaxScale(name="scale")
    selected = Selector(keras.initializers.RandomNormal(seed=1), regularizer="l1", name="select")(scale(rows))
    model = keras.Model(rows, FeatureImage.from_layout(layout)(selected))
    X = rng.normal(size=(9, 6)).astype(np.float32)
    scale.adapt(X)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))
    assert loaded.get_layer("select").get_config() == model.get_layer("select").get_config()


def test_powers_are_those_of_yeo_and_johnson(rng):
    """Column by column as SciPy has it, the limits at powers 0 and 2 too; fitted as scikit-learn does."""
    x = rng.normal(size=(200, 5)).astype(np.float32) * 2
    powers = [0.0, 2.0, 0.5, -1.5, 3.0]
    found = keras.ops.convert_to_numpy(YeoJohnson(powers)(x))
    expected = np.column_stack([yeojohnson(x[:, i].astype(float), power) for i, power in enumerate(powers)])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    skewed = rng.lognormal(size=(300, 2))
    np.testing.assert_allclose(YeoJohnson.fit_powers(skewed), PowerTransformer().fit(skewed).lambdas_)


def test_powers_are_saved(rng, tmp_path):
    rows = keras.Input((3,))
    model = keras.Model(rows, YeoJohnson([0.0, 1.3, -2.0], name="power")(rows))
    model.save(tmp_path / "model.keras")
    x = rng.normal(size=(20, 3)).astype(np.float32)
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
