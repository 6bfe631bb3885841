from __future__ import annotations

import numpy as np
import pytest

import permgrad as pg
from permgrad.backend import keras

pytestmark = pytest.mark.backend

layers = keras.layers


def assert_recomposes(model, inputs, expected_names):
    """The head on the encoders' codes must be the model, and branches be named as expected."""
    cut = pg.cut_model(model)
    assert [branch.name for branch in cut.branches] == expected_names
    arrays = inputs if isinstance(inputs, list) else [inputs]
    codes = [branch.encoder(arrays[branch.input_index]) for branch in cut.branches]
    recomposed = cut.head(codes if len(codes) > 1 else codes[0])
    np.testing.assert_allclose(recomposed, model(inputs), rtol=1e-6)


@pytest.mark.parametrize("branches", [("tabular", "image"), ("tabular",), ("image",)])
def test_hybrid(branches, random_hybrid, rng):
    assert_recomposes(random_hybrid("classification", 3, branches), rng.random((4, 6)), list(branches))


def user_model(body):
    table, image = keras.Input((3,), name="table"), keras.Input((8, 8, 2), name="scan")
    seen = layers.Flatten()(layers.Conv2D(2, 3)(image))
    return keras.Model([table, image], body(table, seen))


@pytest.mark.parametrize(
    "body",
    [
        lambda t, s: layers.Dense(1)(layers.Concatenate()([layers.Dense(2)(t), s])),
        lambda t, s: layers.Dense(1)(layers.Concatenate()([t, s])),
        lambda t, s: layers.Dense(1)(layers.Add()([layers.Dense(4)(t), layers.Dense(4)(s)])),
        lambda t, s: layers.Dense(1)(layers.Multiply()([layers.Dense(4, "sigmoid")(t), layers.Dense(4)(s)])),
        lambda t, s: keras.ops.sum(layers.Dense(4)(t) * layers.Dense(4)(s), axis=-1, keepdims=True),
    ],
    ids=["concatenate", "bare input", "add", "gate", "keras.ops"],
)
def test_two_inputs(body, rng):
    data = [rng.random((4, 3)).astype("float32"), rng.random((4, 8, 8, 2)).astype("float32")]
    assert_recomposes(user_model(body), data, ["tabular", "image"])


def test_image_given_first_comes_second(rng):
    image, table = keras.Input((8, 8, 1)), keras.Input((3,))
    seen = layers.Flatten()(layers.Conv2D(2, 3)(image))
    model = keras.Model([image, table], layers.Dense(1)(layers.Concatenate()([seen, table])))
    data = [rng.random((4, 8, 8, 1)).astype("float32"), rng.random((4, 3)).astype("float32")]
    assert_recomposes(model, data, ["tabular", "image"])


def test_three_inputs_that_meet_one_after_another(rng):
    a, b, c = (keras.Input((n,), name=name) for n, name in [(2, "a"), (3, "b"), (4, "c")])
    ab = layers.Dense(5)(layers.Concatenate()([layers.Dense(2)(a), b]))
    model = keras.Model([a, b, c], layers.Dense(1)(layers.Concatenate()([ab, layers.Dense(2)(c)])))
    data = [rng.random((4, n)).astype("float32") for n in (2, 3, 4)]
    assert_recomposes(model, data, ["tabular:a", "tabular:b", "tabular:c"])


def test_skip_connections_of_one_branch_are_no_branches(rng):
    rows = keras.Input((5,))
    x = layers.Dense(5)(rows)
    x = layers.Add()([x, layers.Dense(5)(x)])
    assert_recomposes(keras.Model(rows, layers.Dense(1)(x)), rng.random((4, 5)).astype("float32"), ["tabular"])
    image = keras.Input((4, 4, 1))
    x = layers.Add()([image, layers.Conv2D(1, 3, padding="same")(image)])
    model = keras.Model(image, layers.Dense(1)(layers.Flatten()(x)))
    assert_recomposes(model, rng.random((4, 4, 4, 1)).astype("float32"), ["image"])


def test_branches_that_never_meet():
    table, image = keras.Input((3,)), keras.Input((8, 8, 1))
    with pytest.raises(pg.PermGradError, match="branches never meet"):
        pg.cut_model(keras.Model([table, image], [layers.Dense(1)(table), layers.Flatten()(image)]))


def test_branch_that_meets_in_two_places():
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    first = layers.Dense(3)(a)
    x = layers.Add()([first, b])
    model = keras.Model([a, b], layers.Add()([x, layers.Dense(3)(first)]))
    with pytest.raises(pg.PermGradError, match="the branch from 'a' meets the others with more than one tensor"):
        pg.cut_model(model)


def test_not_a_functional_model():
    with pytest.raises(pg.PermGradError, match="expected a Keras functional model, got int"):
        pg.cut_model(3)
