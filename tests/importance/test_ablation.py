from __future__ import annotations

import numpy as np
import pytest

import permgrad as pg
from permgrad.backend import keras
from permgrad.importance.ablation import shapley_values
from permgrad.importance.bootstrap import Bootstrap
from tests.oracle import plain_subset_losses

pytestmark = pytest.mark.backend


@pytest.mark.parametrize("baseline", ["mean", "zero", "shuffled"])
@pytest.mark.parametrize(("task", "n_outputs"), [("regression", 1), ("classification", 3)])
def test_losses_agree_with_plain_loop(task, n_outputs, baseline, random_hybrid, rng):
    model, X = random_hybrid(task, n_outputs), rng.random((70, 6)).astype(np.float32)
    y = rng.integers(0, 3, 70) if task == "classification" else rng.normal(size=70)
    ablation = pg.branch_weights(model, X, y, baseline=baseline)
    expected = plain_subset_losses(model, X, y, baseline)
    assert set(ablation.losses) == set(expected)
    for on, loss in expected.items():
        assert ablation.losses[on] == pytest.approx(loss, rel=1e-4)
    assert sum(ablation.weights.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("none", "tabular", "image", "both"), [(10.0, 4.0, 7.0, 2.0), (1.0, 0.2, 0.9, 0.3), (1.0, 1.0, 1.0, 1.0)]
)
def test_shapley_of_two_branches_written_out(none, tabular, image, both):
    worth = {frozenset(): -none, frozenset([0]): -tabular, frozenset([1]): -image, frozenset([0, 1]): -both}
    expected = [
        ((none - tabular) + (image - both)) / 2,
        ((none - image) + (tabular - both)) / 2,
    ]
    np.testing.assert_allclose(shapley_values(worth, 2), expected, atol=1e-12)
    assert shapley_values(worth, 2).sum() == pytest.approx(none - both)


def test_shapley_of_three_players():
    """Worth 12 only if 0 takes part with 1 or 2: the textbook's 8, 2, 2."""
    coalitions = [frozenset(s) for s in ([], [0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2])]
    worth = {s: 12.0 if 0 in s and len(s) > 1 else 0.0 for s in coalitions}
    np.testing.assert_allclose(shapley_values(worth, 3), [8, 2, 2])


def additive_model() -> keras.Model:
    """Output = 2 a + b, from two inputs of one column; the second passes a convolution."""
    table, image = keras.Input((1,), name="a"), keras.Input((1, 1, 1), name="b")
    seen = keras.layers.Flatten()(keras.layers.Conv2D(1, 1, kernel_initializer="ones")(image))
    both = keras.layers.Concatenate()([keras.layers.Rescaling(1.0)(table), seen])
    layer = keras.layers.Dense(1, use_bias=False)
    model = keras.Model([table, image], layer(both))
    layer.set_weights([np.array([[2.0], [1.0]])])
    return model


def test_weights_of_an_additive_model():
    """Losses by hand: with a, b = ±1 in all combinations, y = 2 a + b has errors 0, 1, 4, 5."""
    a, b = np.array([1.0, 1, -1, -1]), np.array([1.0, -1, 1, -1])
    inputs, y = [a[:, None], b.reshape(-1, 1, 1, 1)], 2 * a + b
    shapley = pg.branch_weights(additive_model(), inputs, y, baseline="mean")
    assert shapley.losses == pytest.approx({"": 5, "tabular": 1, "image": 4, "tabular+image": 0})
    assert shapley.weights == pytest.approx({"tabular": 4 / 5, "image": 1 / 5})
    softmax = pg.branch_weights(additive_model(), inputs, y, weights="softmax", baseline="mean")
    assert softmax.weights["tabular"] == pytest.approx(np.exp(4) / (np.exp(4) + np.exp(1)))


def test_shapley_is_free_of_the_unit_and_softmax_is_not():
    a, b = np.array([1.0, 1, -1, -1]), np.array([1.0, -1, 1, -1])

    def weight(unit: float, method: str) -> float:
        inputs = [unit * a[:, None], unit * b.reshape(-1, 1, 1, 1)]
        y = unit * (2 * a + b)
        return pg.branch_weights(additive_model(), inputs, y, weights=method, baseline="mean").weights["tabular"]

    assert weight(1, "shapley") == pytest.approx(weight(30, "shapley"))
    assert weight(1, "softmax") < 0.96 < weight(30, "softmax")


def test_a_branch_that_harms_gets_nothing():
    a, b = np.array([1.0, 1, -1, -1]), np.array([1.0, -1, 1, -1])
    ablation = pg.branch_weights(additive_model(), [a[:, None], b.reshape(-1, 1, 1, 1)], 2 * a - b, baseline="mean")
    assert ablation.weights == pytest.approx({"tabular": 1.0, "image": 0.0})


def test_a_branch_trusted_too_much_is_told_by_other_rows_alone(rng):
    """Output = 2 a + b of y = 0.8 a: without a, by its mean, the loss is smaller; misled by another row's, larger."""
    a, b = rng.normal(size=(2, 500))
    inputs, y = [a[:, None], 0.1 * b.reshape(-1, 1, 1, 1)], 0.8 * a
    assert pg.branch_weights(additive_model(), inputs, y, baseline="mean").losses["image"] < 0.7 * 1.44
    assert pg.branch_weights(additive_model(), inputs, y).weights["tabular"] > 0.95


def test_replicates_of_weights_are_of_rows_drawn_anew(random_hybrid, rng):
    model, X = random_hybrid("regression", 1), rng.random((40, 6)).astype(np.float32)
    y = model.predict(X, verbose=0)[:, 0] + 0.01 * rng.normal(size=40)  # so that both branches are of use
    ablation = pg.branch_weights(model, X, y, baseline="mean", random_state=3)
    drawn = Bootstrap.of(40, 3)
    rows = np.repeat(np.arange(40), drawn.weights[5][drawn.bundle].astype(int))
    # The mean code is that of all rows, so it is put in the place of each row's.
    whole, anew = (plain_subset_losses(model, X, y, "mean", rows=some) for some in (None, rows))
    losses = {on: drawn.widened(whole[on], anew[on]) for on in whole}
    worth = {
        frozenset(i for i, name in enumerate(ablation.weights) if name in on.split("+")): -loss
        for on, loss in losses.items()
    }
    values = np.maximum(shapley_values(worth, 2), 0)
    expected = dict(zip(ablation.weights, values / values.sum(), strict=True))
    assert {name: of[5] for name, of in ablation.replicates.items()} == pytest.approx(expected, rel=1e-3)


def test_unknown_options():
    inputs = [np.ones((2, 1)), np.ones((2, 1, 1, 1))]
    with pytest.raises(pg.PermGradError, match="'shapley', 'softmax'"):
        pg.branch_weights(additive_model(), inputs, np.ones(2), weights="max")
    with pytest.raises(pg.PermGradError, match="'shuffled', 'mean', 'zero'"):
        pg.branch_weights(additive_model(), inputs, np.ones(2), baseline="one")
