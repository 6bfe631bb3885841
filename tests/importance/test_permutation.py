from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from permgrad.backend import keras
from permgrad.importance import permutation
from tests.oracle import plain_permutation, two_input_model

CASES = {"regression": (1, lambda X: X[:, 0] * 3), "classification": (3, lambda X: (X[:, 0] * 3).astype(int))}


def linear_model(weights: list[float]) -> keras.Model:
    rows = keras.Input((len(weights),))
    layer = keras.layers.Dense(1, use_bias=False)
    model = keras.Model(rows, layer(rows))
    layer.set_weights([np.array(weights, np.float32)[:, None]])
    return model


@pytest.mark.parametrize("task", CASES)
@pytest.mark.parametrize("groups", [None, {"a": [0], "pair": [2, 4], "b": [5]}])
def test_agrees_with_plain_loop(task, groups, random_hybrid, layout, rng):
    n_outputs, target = CASES[task]
    model = random_hybrid(task, n_outputs)
    X = rng.random((90, 6)).astype(np.float32)
    y = target(X)
    found = pg.permutation_importance(model, X, y, features=layout.features, groups=groups, n_repeats=3, seed=7)

    columns = [[i] for i in range(6)] if groups is None else list(groups.values())
    plain = plain_permutation(two_input_model(model), X, X, y, groups=columns, n_repeats=3, seed=7)
    np.testing.assert_allclose(found.scores, plain.mean(axis=(1, 2)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.std, plain.mean(axis=2).std(axis=1, ddof=1), rtol=1e-4, atol=1e-6)
    if task == "classification":
        by_class = np.stack([plain[:, :, y == c].mean(axis=(1, 2)) for c in range(3)], axis=1)
        np.testing.assert_allclose(found.class_scores, by_class, rtol=1e-4, atol=1e-6)


def test_small_blocks_change_nothing(random_hybrid, rng, monkeypatch):
    model, X = random_hybrid("classification", 3), rng.random((50, 6)).astype(np.float32)
    y = rng.integers(0, 3, 50)
    whole = pg.permutation_importance(model, X, y)
    monkeypatch.setattr(permutation, "ROWS_PER_BLOCK", 16)
    monkeypatch.setattr(permutation, "PERMUTED_ROWS", 33)
    monkeypatch.setattr(permutation, "ORDER_BYTES", 8 * 50 * 7)
    pieces = pg.permutation_importance(model, X, y)
    np.testing.assert_allclose(pieces.class_scores, whole.class_scores, rtol=1e-5, atol=1e-7)


def test_linear_model_has_known_importance(rng):
    """Squared error of a perfect linear model: permuting column j adds 2 w_j² var(x_j)."""
    X = rng.normal(size=(20_000, 3)).astype(np.float32)
    weights = [3.0, 0.0, -1.0]
    found = pg.permutation_importance(linear_model(weights), X, X @ np.array(weights), n_repeats=2)
    np.testing.assert_allclose(found.scores, 2 * np.square(weights), rtol=0.05, atol=1e-6)


def test_only_the_tabular_branch_is_permuted(rng):
    """A model that uses its image alone has no permutation importance, though image and column are one feature."""
    table, image = keras.Input((2,)), keras.Input((4, 4, 1))
    code = keras.layers.Dense(2, kernel_initializer="zeros")(table)
    seen = keras.layers.Flatten()(keras.layers.Conv2D(2, 3)(image))
    model = keras.Model([table, image], keras.layers.Dense(1)(keras.layers.Concatenate()([code, seen])))
    found = pg.permutation_importance(model, [rng.random((30, 2)), rng.random((30, 4, 4, 1))], rng.random(30))
    np.testing.assert_allclose(found.scores, 0, atol=1e-12)


def test_names_come_from_the_frame_and_seeds_count(rng):
    X = pd.DataFrame(rng.normal(size=(40, 2)), columns=["a", "b"])
    y = X["a"].to_numpy()
    model = linear_model([1.0, 0.5])
    first = pg.permutation_importance(model, X, y, seed=1)
    assert first.features == ("a", "b")
    assert first == pg.permutation_importance(model, X, y, seed=1)
    assert first != pg.permutation_importance(model, X, y, seed=2)


def test_class_without_rows_scores_zero(random_hybrid, rng):
    X, y = rng.random((30, 6)), np.tile([0, 2], 15)
    found = pg.permutation_importance(random_hybrid("classification", 3), X, y, classes=["a", "b", "c"])
    assert found.classes == ("a", "b", "c")
    assert (found.class_scores[:, 1] == 0).all()
    np.testing.assert_allclose(found.class_scores[:, [0, 2]].mean(axis=1), found.scores, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_repeats": 0}, "n_repeats must be at least 1"),
        ({"y": np.zeros(3)}, "same number of rows"),
        ({"inputs": np.zeros((5, 4))}, "shape"),
        ({"groups": {"a": [9]}}, "columns from 0 to 1"),
        ({"features": ["a"]}, "2 feature names"),
    ],
)
def test_bad_input(change, message):
    arguments = {"inputs": np.zeros((5, 2)), "y": np.zeros(5), **change}
    with pytest.raises(pg.PermGradError, match=message):
        pg.permutation_importance(linear_model([1.0, 2.0]), **arguments)


def test_image_model_has_no_tabular_branch(random_hybrid):
    with pytest.raises(pg.PermGradError, match="one tabular branch, this one has 0"):
        pg.permutation_importance(random_hybrid("regression", 1, ("image",)), np.zeros((5, 6)), np.zeros(5))
