from __future__ import annotations

import numpy as np
import pytest

import permgrad as pg
from permgrad.backend import keras
from permgrad.layers.scaling import MinMaxScale
from permgrad.layers.selectors import Selector

KERNEL = np.array([[1.0, -2.0], [0.5, 0.0], [-3.0, 4.0]], np.float32)


def network(kernel=KERNEL, gate=None):
    rows = keras.Input((3,))
    scale = MinMaxScale()
    x = scale(rows)
    scale.adapt(np.array([[0.0, 0.0, 0.0], [10.0, 100.0, 0.1]]))
    if gate is not None:
        selector = Selector()
        x = selector(x)
        selector.set_weights([np.asarray(gate, np.float32)])
    dense = keras.layers.Dense(2, "relu")
    model = keras.Model(rows, keras.layers.Dense(1)(dense(x)))
    dense.set_weights([kernel, np.ones(2, np.float32)])
    return model


def test_sum_of_absolute_weights_by_hand():
    ranking = pg.weight_importance(network(), features=["a", "b", "c"])
    assert ranking.features == ("a", "b", "c")
    np.testing.assert_allclose(ranking.scores, [3.0, 0.5, 7.0])
    assert ranking.std is None


def test_a_selector_counts_and_scaling_does_not():
    ranking = pg.weight_importance(network(gate=[2.0, -10.0, 0.0]))
    np.testing.assert_allclose(ranking.scores, [6.0, 5.0, 0.0])


def test_several_trainings_are_averaged():
    ranking = pg.weight_importance(
        [network(), network(2 * KERNEL), network(0 * KERNEL)], groups={"x": [0], "yz": [1, 2]}
    )
    np.testing.assert_allclose(ranking.scores, [3.0, 7.5])
    np.testing.assert_allclose(ranking.std, [3.0, 7.5])
    assert ranking.settings["n_models"] == 3


def test_bad_input(random_hybrid):
    with pytest.raises(pg.PermGradError, match="at least one"):
        pg.weight_importance([])
    with pytest.raises(pg.PermGradError, match="begins with a Dense layer"):
        pg.weight_importance(random_hybrid("regression", 1, ("image",)))
    with pytest.raises(pg.PermGradError, match=r"got \[3, 6\] columns"):
        pg.weight_importance([network(), random_hybrid("regression", 1)])
