from __future__ import annotations

import numpy as np
import pytest

import permgrad as pg
from permgrad.importance.losses import choose_target, cross_entropy, squared_error


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
        (np.array([True, False, True]), 1, 2),
        (np.array([0, 1, 5]), 1, 0),
        (np.array([0.0, 1.0, 0.5]), 1, 0),
        (np.eye(3)[[0, 2]], 3, 3),
        (np.array([[0], [1]]), 2, 2),
        (np.array([[0.1, 0.9], [2, 3]]), 2, 0),
    ],
)
def test_target_is_recognised(y, n_outputs, n_classes):
    _, loss, found = choose_target(y, n_outputs, None)
    assert found == n_classes
    assert loss is (cross_entropy if n_classes else squared_error)


def test_target_that_does_not_fit():
    with pytest.raises(pg.PermGradError, match="class numbers from 0 to 2"):
        choose_target(np.array([0, 7]), 3, True)
    with pytest.raises(pg.PermGradError, match="does not fit a model with 3 outputs"):
        choose_target(np.array([0.5, 7]), 3, None)
