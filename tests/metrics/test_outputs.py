"""What Keras models show of their output; one output of several."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import permgrad as pg
from permgrad.backend import keras
from permgrad.layers.batch_ensemble import EnsembleLoss
from permgrad.metrics.outputs import final_activation, one_output, output_of, task_of
from permgrad.metrics.task import Output

layers = keras.layers


def ended(ending, width=4):
    rows = keras.Input((width,))
    return keras.Model(rows, ending(rows))


@pytest.mark.parametrize(
    ("ending", "width", "activation"),
    [
        (layers.Dense(1), 1, "linear"),
        (lambda x: layers.Activation("linear", dtype="float32")(layers.Dense(2)(x)), 2, "linear"),
        (lambda x: layers.Flatten()(layers.Reshape((2, 1))(layers.Dense(2)(x))), 2, "linear"),
        (keras.Sequential([layers.Dense(1)]), 1, "linear"),
        (layers.Dense(1, "sigmoid"), 1, "sigmoid"),
        (lambda x: keras.ops.sigmoid(layers.Dense(1)(x)), 1, "sigmoid"),
        (lambda x: keras.ops.softmax(layers.Dense(3)(x)), 3, "softmax"),
        (lambda x: layers.Activation("softmax")(layers.Dense(3)(x)), 3, "softmax"),
        (lambda x: layers.Rescaling(2.0)(layers.Dense(1)(x)), 1, ""),
        (layers.Dense(1, "tanh"), 1, ""),
    ],
)
def test_the_last_step(ending, width, activation):
    if isinstance(ending, keras.Sequential):
        ending.build((None, 4))
    assert output_of(ended(ending)) == Output(width, activation)


@pytest.mark.parametrize(
    ("loss", "kind", "from_logits"),
    [
        ("mse", "values", False),
        ("binary_crossentropy", "binary", False),
        (keras.losses.BinaryCrossentropy(from_logits=True), "binary", True),
        (functools.partial(keras.losses.binary_crossentropy, from_logits=True), "binary", True),
        (keras.losses.SparseCategoricalCrossentropy(from_logits=True), "categorical", True),
        (keras.losses.categorical_crossentropy, "categorical", False),
        (keras.losses.Huber(), "values", False),
        (["mae"], "values", False),
        ("hinge", "margins", False),
        (EnsembleLoss("cross_entropy"), "categorical", False),
        (lambda y, p: keras.ops.mean((y - p) ** 2), "", False),
    ],
)
def test_the_loss(loss, kind, from_logits):
    model = ended(layers.Dense(1))
    model.compile("sgd", loss)
    assert output_of(model) == Output(1, "linear", kind, from_logits)


def test_all_of_keras_losses_are_known_or_cannot_be_meant():
    """One that Keras adds should be looked at: is it of classes, of values, from logits?"""
    from permgrad.metrics.outputs import LOSSES

    of_other_things = {"circle", "ctc", "dice", "tversky", "deserialize", "get", "serialize"}
    names = {name for name, value in vars(keras.losses).items() if name.islower() and callable(value)}
    long_names = {name for name in names if len(name) > 5 or name in {"hinge", "huber", "circle"}}
    assert {name for name in long_names if not name.startswith("_")} - of_other_things <= set(LOSSES)


def test_a_model_that_shows_no_graph_says_what_its_loss_says():
    class Opaque(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)

        def call(self, x):
            return self.dense(x)

    model = Opaque()
    model.compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True))
    assert output_of(model, 1) == Output(1, "", "binary", True)


def two_heads():
    rows = keras.Input((4,))
    model = keras.Model(rows, [layers.Dense(1, name="size")(rows), layers.Dense(1, name="kind")(rows)])
    losses = {"size": "mse", "kind": keras.losses.BinaryCrossentropy(from_logits=True)}
    model.compile("sgd", losses)
    return model


def test_one_output_of_several_has_its_own_loss(rng):
    model, X, y = two_heads(), rng.random((8, 4)).astype(np.float32), np.arange(8) % 2
    both = [keras.ops.convert_to_numpy(part) for part in model(X)]
    for at, name, n_classes in ((0, "size", 0), (1, "kind", 2)):
        part = one_output(model, name)
        assert one_output(model, at) is part
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(part(X)), both[at])
        assert task_of(part, y)[0].n_classes == n_classes
    model.compile("sgd", ["mae", "mse"])
    assert task_of(one_output(model, "kind"), y)[0].n_classes == 0  # compiled anew
    single = ended(layers.Dense(1, name="only"))
    assert one_output(single) is one_output(single, "only") is one_output(single, 0) is single


def test_outputs_that_are_not_there():
    with pytest.raises(pg.PermGradError, match="outputs 'size', 'kind': say which to explain; pass output="):
        one_output(two_heads())
    for output in ("weight", 2):
        with pytest.raises(pg.PermGradError, match=f"there is no {output!r}; pass output="):
            one_output(two_heads(), output)


def test_the_last_steps_are_seen_through_a_nested_model():
    """A sigmoid at the end of a model that is a layer itself: its logit is what is differentiated."""
    inner = keras.Input((3,))
    nested = keras.Model(inner, layers.Dense(1, activation="sigmoid")(inner))
    outer = keras.Input((3,))
    model = keras.Model(outer, nested(outer))
    logit, activation = final_activation(model)
    assert activation == "sigmoid"
    x = np.ones((2, 3), np.float32)
    logits = keras.ops.convert_to_numpy(keras.Model(outer, logit)(x))
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), keras.ops.convert_to_numpy(model(x)), atol=1e-6)


def test_the_last_steps_of_other_models(rng):
    """The second output of a nested model; a model that is none of layers, whose inside is not seen."""
    inner = keras.Input((3,))
    first, second = layers.Dense(1, "sigmoid")(inner), layers.Dense(2, "softmax")(inner)
    nested = keras.Model(inner, [first, second])
    outer = keras.Input((3,))
    model = keras.Model(outer, nested(outer)[1])
    logits, activation = final_activation(model)
    assert activation == "softmax"
    x = rng.normal(size=(4, 3)).astype(np.float32)
    probabilities = keras.ops.softmax(keras.Model(outer, logits)(x))
    np.testing.assert_allclose(*(keras.ops.convert_to_numpy(each) for each in (probabilities, model(x))), atol=1e-6)

    class Opaque(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1, "sigmoid")

        def call(self, x):
            return self.dense(x)

    output = Opaque()(outer)
    assert final_activation(keras.Model(outer, output)) == (output, "")
