from __future__ import annotations

import numpy as np
import pytest

import permgrad as pg
from permgrad.backend import keras
from permgrad.importance.network._inputs import Inputs
from permgrad.metrics.losses import cross_entropy, squared_error

layers = keras.layers


def test_losses_by_hand():
    np.testing.assert_allclose(squared_error(np.array([1.0, 2.0]), np.array([[3.0], [2.0]])), [4, 0])
    p = np.array([[0.2, 0.8], [0.5, 0.5]])
    np.testing.assert_allclose(cross_entropy(np.array([1, 0]), p), [-np.log(0.8), -np.log(0.5)])
    np.testing.assert_allclose(cross_entropy(np.array([1, 0]), p[:, 1:]), [-np.log(0.8), -np.log(0.5)])
    stacked = cross_entropy(np.array([1, 0]), np.stack([p, p]))
    assert stacked.shape == (2, 2)
    assert np.isfinite(cross_entropy(np.array([0]), np.array([[0.0, 1.0]]))).all()


def test_logits_are_no_probabilities():
    with pytest.raises(pg.PermGradError, match="ranges from -2 to 5; let it end in a softmax or sigmoid, or compile"):
        cross_entropy(np.array([0]), np.array([[-2.0, 5.0]]))


def test_inputs_are_checked():
    rows = keras.Input((2,))
    model = keras.Model(rows, layers.Dense(1)(rows))
    for inputs, message in [
        (np.array([[1.0, np.nan]]), "finite, without missing values"),
        (np.array([["a", "b"]]), "numeric arrays"),
        ({"rows": np.ones((1, 2))}, "numeric arrays"),
        (np.ones((0, 2)), "at least 1"),
    ]:
        with pytest.raises(pg.PermGradError, match=message):
            Inputs.of(model, inputs)
