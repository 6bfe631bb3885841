from __future__ import annotations

import numpy as np
import pytest

import permgrad as pg
from permgrad.backend import keras
from permgrad.importance.network._inputs import Inputs
from permgrad.importance.network._target import Target
from permgrad.metrics.losses import choose_target, cross_entropy, squared_error

layers = keras.layers


def test_losses_by_hand():
    np.testing.assert_allclose(squared_error(np.array([1.0, 2.0]), np.array([[3.0], [2.0]])), [4, 0])
    p = np.array([[0.2, 0.8], [0.5, 0.5]])
    np.testing.assert_allclose(cross_entropy(np.array([1, 0]), p), [-np.log(0.8), -np.log(0.5)])
    np.testing.assert_allclose(cross_entropy(np.array([1, 0]), p[:, 1:]), [-np.log(0.8), -np.log(0.5)])
    stacked = cross_entropy(np.array([1, 0]), np.stack([p, p]))
    assert stacked.shape == (2, 2)
    assert np.isfinite(cross_entropy(np.array([0]), np.array([[0.0, 1.0]]))).all()


@pytest.mark.parametrize(
    ("y", "n_outputs", "n_classes"),
    [
        (np.array([0, 2, 1]), 3, 3),
        (np.array([0.0, 2.0, 1.0], np.float32), 3, 3),
        (np.array([True, False, True]), 1, 2),
        (np.array([[0], [1]]), 2, 2),
        (np.eye(3)[[0, 2]], 3, 3),
        (np.array([0, 1, 5]), 1, 0),
        (np.array([[0.1, 0.9], [2, 3]]), 2, 0),
    ],
)
def test_target_is_brought_into_form(y, n_outputs, n_classes):
    values, loss, n = choose_target(y, n_outputs, classification=n_classes > 0)
    assert n == n_classes
    assert loss is (cross_entropy if n_classes else squared_error)
    if n_classes:
        assert values.ndim == 1
        assert values.dtype == int


@pytest.mark.parametrize(
    ("y", "classification", "message"),
    [
        ([0, 7], True, "class numbers from 0 to 2"),
        ([0.5, 1.0], True, "class numbers from 0 to 2"),
        ([0.5, 7], False, "does not fit a model with 3 outputs"),
        ([0, np.nan], True, "finite numbers"),
        (["a", "b"], True, "finite numbers"),
    ],
)
def test_target_that_does_not_fit(y, classification, message):
    with pytest.raises(pg.PermGradError, match=message):
        choose_target(np.array(y), 3, classification)


def test_logits_are_no_probabilities():
    with pytest.raises(pg.PermGradError, match="ranges from -2 to 5; let it end in a softmax or sigmoid"):
        cross_entropy(np.array([0]), np.array([[-2.0, 5.0]]))


@pytest.mark.parametrize(
    ("ending", "n_classes"),
    [
        (lambda x: layers.Dense(1)(x), 0),
        (lambda x: layers.Dense(1, "sigmoid")(x), 2),
        (lambda x: keras.ops.sigmoid(layers.Dense(1)(x)), 2),
        (lambda x: keras.ops.softmax(layers.Dense(3)(x)), 3),
        (lambda x: layers.Activation("softmax")(layers.Dense(3)(x)), 3),
        (lambda x: layers.Rescaling(2.0)(layers.Dense(1)(x)), 0),
    ],
)
def test_the_models_output_decides_the_loss(ending, n_classes, rng):
    """Class numbers 0 and 1 are values to a linear output and classes to a sigmoid, as integers or as floats."""
    rows = keras.Input((4,))
    model = keras.Model(rows, ending(rows))
    for kind in (int, np.float32):
        inputs = Inputs.of(model, rng.random((6, 4)))
        target = Target.of(np.array([0, 1, 0, 1, 1, 0], kind), inputs)
        assert (target.classes and len(target.classes)) == (n_classes or None)


def test_inputs_are_checked():
    rows = keras.Input((2,))
    model = keras.Model(rows, layers.Dense(1)(rows))
    for inputs, message in [
        (np.array([[1.0, np.nan]]), "finite and none missing"),
        (np.array([["a", "b"]]), "numeric arrays"),
        ({"rows": np.ones((1, 2))}, "numeric arrays"),
        (np.ones((0, 2)), "at least 1"),
    ]:
        with pytest.raises(pg.PermGradError, match=message):
            Inputs.of(model, inputs)
