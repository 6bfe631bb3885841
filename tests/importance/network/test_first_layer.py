from __future__ import annotations

import numpy as np
import pytest

from permgrad.backend import keras
from permgrad.importance.network.first_layer import columnwise_scale, first_layer, open_columns
from permgrad.layers.scaling import MinMaxScale
from permgrad.layers.selectors import ColumnMask, Selector

pytestmark = pytest.mark.backend

L = keras.layers


def numeric_scale(layer, x):
    """What one unit more in each column adds to the layer's output in this column, one column at a time."""
    before = keras.ops.convert_to_numpy(layer(x))
    scales = np.empty(x.shape[1])
    for j in range(x.shape[1]):
        more = x.copy()
        more[:, j] += 1
        change = (keras.ops.convert_to_numpy(layer(more)) - before)[0]
        assert (np.delete(change, j) == 0).all()
        scales[j] = change[j]
    return scales


@pytest.mark.parametrize(
    "layer",
    [
        MinMaxScale(),
        Selector(),
        L.BatchNormalization(),
        L.BatchNormalization(center=False, scale=False),
        L.Rescaling(0.5, 3.0),
        L.Normalization(mean=[1.0, 2.0, 3.0], variance=[1.0, 4.0, 0.25]),
        L.Identity(),
        L.Dropout(0.5),
        L.GaussianNoise(0.5),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_scale_of_a_layer(layer, rng):
    x = rng.normal(size=(1, 3)).astype(np.float32)
    layer(x)
    if not isinstance(layer, L.Normalization):  # adapts, and would lose its variance
        layer.set_weights([rng.uniform(0.5, 2, weight.shape) for weight in layer.get_weights()])
    scale = np.broadcast_to(columnwise_scale(layer), 3)
    np.testing.assert_allclose(scale, numeric_scale(layer, x), rtol=1e-4)


@pytest.mark.parametrize(
    "layer",
    [
        L.LayerNormalization(),
        L.Activation("relu"),
        L.Normalization(mean=0.0, variance=1.0, invert=True),
        L.BatchNormalization(axis=0),
        L.Dense(3),
        L.Reshape((3, 1)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_other_layers_have_none(layer):
    assert columnwise_scale(layer) is None


def test_parts_put_together_are_the_branch(rng):
    rows = keras.Input((5,))
    x = L.BatchNormalization()(Selector()(MinMaxScale()(rows)))
    x = L.Dropout(0.2)(L.BatchNormalization()(L.Dense(4, "tanh", use_bias=False)(x)))
    model = keras.Model(rows, L.Dense(3)(L.LeakyReLU()(L.Dense(6)(x))))
    model.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in model.get_weights()])
    first = first_layer(model)
    assert first.layer.units == 4
    assert [type(layer).__name__ for layer in first.elementwise.layers[1:]] == ["BatchNormalization", "Dropout"]
    X = rng.normal(size=(7, 5)).astype(np.float32)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(first.finish(first.activate(first.sums(X)))), model.predict(X, verbose=0), rtol=1e-5
    )


@pytest.mark.parametrize("change", ["quantized", "lora"])
def test_a_layer_with_other_weights_than_its_kernel_is_left_alone(change):
    rows = keras.Input((4,))
    layer = L.Dense(3)
    model = keras.Model(rows, L.Dense(1)(layer(rows)))
    assert first_layer(model) is not None
    layer.quantize("int8") if change == "quantized" else layer.enable_lora(2)
    assert first_layer(model) is None


def test_which_columns_a_mask_in_front_lets_pass():
    rows = keras.Input((3,))
    masked = keras.Model(rows, keras.layers.Dense(2)(ColumnMask([True, False, True])(rows)))
    assert open_columns(masked).tolist() == [True, False, True]
    assert open_columns(keras.Model(rows, keras.layers.Dense(2)(rows))) is None
    beside = keras.layers.Concatenate()([ColumnMask([True, False, True])(rows), rows])
    assert open_columns(keras.Model(rows, beside)) is None
