"""The layers that select columns: what they multiply by, what they cost, what survives saving."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

import permgrad as pg
from permgrad.backend import keras
from permgrad.layers.selectors import (
    AbsoluteNormal,
    BranchGate,
    ClampedSelector,
    ColumnMask,
    ExpectedOpen,
    FeatureGates,
    NarrowingSelector,
    Selector,
    SelectorPenalty,
    StochasticSelector,
)
from permgrad.models.selector import SelectorConfig, build_selector_mlp

pytestmark = pytest.mark.backend

numpy = keras.ops.convert_to_numpy
LAYERS = {
    "free": lambda: Selector(keras.initializers.RandomNormal(seed=1), SelectorPenalty("l1/l2", 0.2), name="selector"),
    "clamped": lambda: ClampedSelector(AbsoluteNormal(random_state=2), SelectorPenalty("l2"), name="selector"),
    "narrowing": lambda: NarrowingSelector("ones", SelectorPenalty(), name="selector"),
    "stochastic": lambda: StochasticSelector(0.03, 0.4, random_state=5, name="selector"),
}


@pytest.mark.parametrize(("kind", "expected"), [("l1", 7.0), ("l2", 5.0), ("l1/l2", 1.4)])
def test_penalties_by_hand(kind, expected):
    weights = keras.ops.convert_to_tensor(np.array([3.0, 0.0, -4.0], np.float32))
    assert float(SelectorPenalty(kind, 0.5)(weights)) == pytest.approx(0.5 * expected, rel=1e-6)


@pytest.mark.parametrize("kind", ["l1", "l2", "l1/l2"])
def test_penalties_have_a_slope_where_all_weights_are_zero(kind):
    """A square root has none there: without care the first step would make every weight NaN."""
    layer = Selector("zeros", SelectorPenalty(kind, 1.0))
    model = keras.Sequential([keras.Input((3,)), layer, keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(np.ones((4, 3)), np.ones(4), verbose=0)
    assert np.isfinite(numpy(layer.gate)).all()


def test_open_gates_are_counted_as_they_are_drawn(rng):
    means = np.array([-1.0, 0.0, 0.3, 2.0], np.float32)
    drawn = means + 0.5 * rng.normal(size=(200_000, 4))
    found = float(ExpectedOpen(2.0, 0.5)(keras.ops.convert_to_tensor(means)))
    assert found == pytest.approx(2 * (drawn > 0).mean(axis=0).sum(), rel=5e-3)
    assert found == pytest.approx(2 * norm.cdf(means / 0.5).sum(), rel=1e-5)


def test_the_penalty_sees_the_selector_alone():
    """One step of plain descent on a loss of slope 0: the selector moves by the penalty's slope, nothing else moves."""
    model = build_selector_mlp(SelectorConfig((4,), "free", "l1", alpha=0.3, noise=0, dropout=0), 3, 2)
    model.get_layer("logits").set_weights([np.zeros((4, 2), np.float32), np.zeros(2, np.float32)])
    before = {weight.path: numpy(weight) for weight in model.trainable_variables}
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    X = np.ones((2, 3), np.float32)
    model.train_on_batch(X, np.array([0, 1]))  # equal rows of both classes, even odds: no slope
    for weight in model.trainable_variables:
        moved = numpy(weight) - before[weight.path]
        gate = weight.path.startswith("selector/")
        np.testing.assert_allclose(moved, -0.03 * np.sign(before[weight.path]) if gate else 0 * moved, atol=1e-7)


def test_clamped_weights_stay_within_bounds_after_each_step(rng):
    layer = ClampedSelector(AbsoluteNormal(0.2, random_state=0))
    model = keras.Sequential([keras.Input((50,)), layer, keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(5.0), "mse")  # steps far beyond
    start = numpy(layer.gate)
    assert start.min() >= 0
    assert start.std() == pytest.approx(0.2 * math.sqrt(1 - 2 / math.pi), rel=0.3)
    for _ in range(3):
        model.train_on_batch(rng.normal(size=(20, 50)), rng.normal(size=20))
        now = numpy(layer.gate)
        assert 0 <= now.min() <= now.max() <= 1
    assert {0.0, 1.0} <= set(now.tolist())


def test_stochastic_gates_by_hand():
    layer = StochasticSelector(sigma=0.5, random_state=0)
    layer.build((None, 3))
    layer.set_weights([np.array([-0.4, 0.25, 1.7], np.float32), *layer.get_weights()[1:]])
    rows = np.ones((50_000, 3), np.float32)
    np.testing.assert_allclose(numpy(layer(rows[:1], training=False))[0], [0, 0.25, 1])
    drawn = numpy(layer(rows, training=True))
    assert drawn.min() == 0
    assert drawn.max() == 1
    np.testing.assert_allclose((drawn > 0).mean(axis=0), layer.importance(), atol=0.01)
    np.testing.assert_allclose(layer.importance(), norm.cdf([-0.8, 0.5, 3.4]), rtol=1e-5)
    again = numpy(layer(rows, training=True))
    assert (drawn[:, 1] != again[:, 1]).any()


ALWAYS = {
    "free": lambda: Selector("ones", SelectorPenalty("l1", 1.0), always=[2, 0]),
    "clamped": lambda: ClampedSelector("ones", SelectorPenalty("l1", 1.0), always=[0, 2]),
    "narrowing": lambda: NarrowingSelector("ones", SelectorPenalty("l1", 1.0), always=[0, 2]),
    "stochastic": lambda: StochasticSelector(1.0, random_state=0, always=[0, 2]),
}


@pytest.mark.parametrize("kind", ALWAYS)
def test_columns_that_always_pass_have_no_weight(kind):
    """Weights 0.5 of columns 1 and 3; columns 0 and 2 stay as they are, in training too, and cost nothing."""
    layer = ALWAYS[kind]()
    layer.build((None, 4))
    layer.gate.assign(np.array([0.5, 0.25], np.float32))
    rows = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32)
    np.testing.assert_allclose(
        numpy(layer(rows, **({"training": False} if kind == "stochastic" else {}))), rows * SCALE
    )
    np.testing.assert_allclose(layer.columnwise_scale(), SCALE)
    if kind == "stochastic":
        np.testing.assert_array_equal(numpy(layer(rows, training=True))[:, [0, 2]], rows[:, [0, 2]])
        np.testing.assert_allclose(layer.importance(), [1, norm.cdf(1), 1, norm.cdf(0.5)], rtol=1e-5)
        assert float(layer.losses[0]) == pytest.approx(norm.cdf(1) + norm.cdf(0.5), rel=1e-5)
    else:
        np.testing.assert_allclose(layer.importance(), SCALE)
        assert float(layer.losses[0]) == pytest.approx(0.75)
    assert keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer)).always == [0, 2]


SCALE = [1, 0.5, 1, 0.25]


def test_closing_spares_columns_that_always_pass():
    layer = ALWAYS["narrowing"]()
    layer.build((None, 6))
    layer.gate.assign(np.array([0.5, 0.25, 4, 3], np.float32))  # of columns 1, 3, 4 and 5
    assert layer.close(4).tolist() == [3, 1]
    np.testing.assert_allclose(layer.columnwise_scale(), [1, 0, 1, 0, 4, 3])
    assert layer.close(3).tolist() == [5]


@pytest.mark.parametrize("always", [[4], [-1], [0, 1, 2, 3]])
def test_what_cannot_always_pass(always):
    with pytest.raises(pg.PermGradError, match="always must be some of the columns, 0 to 3"):
        Selector(always=always).build((None, 4))


@pytest.mark.parametrize(("selector", "n_alike"), [("free", 6), ("clamped", 6)])
def test_weights_begin_alike_or_as_published(selector, n_alike):
    drawn, ones = (
        build_selector_mlp(SelectorConfig((4,), selector, start=start), 6, 2).get_layer("selector")
        for start in ("random", "ones")
    )
    assert ones.columnwise_scale().tolist() == [1.0] * n_alike
    assert len(set(drawn.columnwise_scale().tolist())) == n_alike


def feature_gates(n_bins: int = 2) -> FeatureGates:
    """Return three gates: of columns 0 and 1; of column 2, which has bins; of column 3, which has too."""
    layer = FeatureGates([0, 0, 1, 2], [2, 3], penalty=0.1, random_state=0, name="gates")
    layer.build((None, 4 + 2 * n_bins))
    return layer


def test_gates_of_features_are_those_of_their_columns_and_bins(rng):
    """Without training: each input times its feature's clipped mean."""
    layer = feature_gates()
    layer.gate.assign(np.array([0.25, 1.7, -0.4], np.float32))
    X = rng.normal(size=(20, 8)).astype(np.float32)
    owner, clipped = [0, 0, 1, 2, 1, 1, 2, 2], [0.25, 1.0, 0.0]
    expected = np.stack([X[:, i] * clipped[owner[i]] for i in range(8)], axis=1)
    np.testing.assert_allclose(numpy(layer(X, training=False)), expected, rtol=1e-6)


def test_in_training_a_features_inputs_open_and_close_together():
    """One draw for each row and feature; a gate far below 0 stays closed, one far above stays open."""
    layer = feature_gates()
    layer.gate.assign(np.array([0.5, 0.5, -10.0], np.float32))
    drawn = numpy(layer(np.ones((2000, 8), np.float32), training=True))
    np.testing.assert_array_equal(drawn[:, 0], drawn[:, 1])
    for bin_ in (4, 5):
        np.testing.assert_array_equal(drawn[:, bin_], drawn[:, 2])
    assert (drawn[:, [3, 6, 7]] == 0).all()
    assert np.abs(np.corrcoef(drawn[:, 0], drawn[:, 2])[0, 1]) < 0.1
    np.testing.assert_allclose((drawn[:, [0, 2]] > 0).mean(axis=0), norm.cdf(1), atol=0.03)
    assert float(sum(layer.losses)) == pytest.approx(0.1 * 2 * norm.cdf(1), rel=1e-4)


def test_a_gate_far_below_zero_is_trained_no_more(rng):
    """Nothing comes through it, and its chance of opening is as flat: a round of screening closes it for good."""
    layer = feature_gates()
    rows = keras.Input((8,))
    model = keras.Model(rows, keras.layers.Dense(1)(layer(rows)))
    layer.gate.assign(np.array([0.5, 0.5, -10.0], np.float32))
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    X = rng.normal(size=(64, 8)).astype(np.float32)
    model.fit(X, X[:, 3] * 9, epochs=3, verbose=0)
    gates = numpy(layer.gate)
    assert gates[2] == -10
    assert (gates[:2] != 0.5).all()


def test_gates_without_bins(rng):
    layer = FeatureGates([1, 0, 1], name="gates")
    layer.build((None, 3))
    layer.gate.assign(np.array([0.5, 0.0], np.float32))
    X = rng.normal(size=(5, 3)).astype(np.float32)
    np.testing.assert_allclose(numpy(layer(X)), X * [0, 0.5, 0], rtol=1e-6)


def test_a_mask_lets_some_columns_pass(rng):
    layer = ColumnMask([True, False, True, False])
    X = rng.normal(size=(6, 4)).astype(np.float32)
    masked = numpy(layer(X))
    np.testing.assert_array_equal(masked, X * [1, 0, 1, 0])
    columns = np.array([3, 0])
    np.testing.assert_array_equal(numpy(layer.of_columns(X[:, columns], columns)), masked[:, columns])
    np.testing.assert_array_equal(layer.columnwise_scale(), [1, 0, 1, 0])
    assert layer.weights == []


def test_a_branch_is_added_from_nothing_on(rng):
    layer = BranchGate()
    X = rng.normal(size=(6, 4)).astype(np.float32)
    np.testing.assert_array_equal(numpy(layer(X)), 0)
    layer.gate.assign(-1.5)
    np.testing.assert_allclose(numpy(layer(X)), -1.5 * X)
    assert len(layer.trainable_weights) == 1


@pytest.mark.parametrize(
    ("layer", "width"),
    [
        (FeatureGates([0, 0, 1, 2], [2, 3], penalty=0.1, sigma=0.4, random_state=0, name="x"), 8),
        (ColumnMask([True, False, True, False], name="x"), 4),
        (BranchGate(name="x"), 4),
    ],
    ids=["gates", "mask", "branch"],
)
def test_gates_and_masks_survive_saving(layer, width, rng, tmp_path):
    rows = keras.Input((width,))
    model = keras.Model(rows, keras.layers.Dense(2)(layer(rows)))
    for weight in layer.trainable_weights:
        weight.assign(rng.uniform(0.2, 0.8, weight.shape))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    X = rng.normal(size=(9, width)).astype(np.float32)
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))
    assert loaded.get_layer("x").get_config() == layer.get_config()


def test_closed_columns_stay_closed():
    layer = NarrowingSelector("ones")
    layer.build((None, 5))
    layer.set_weights([np.array([3.0, -1.0, 2.0, 0.5, -4.0], np.float32), np.ones(5, np.float32)])
    assert layer.close(3).tolist() == [3, 1]
    np.testing.assert_allclose(numpy(layer(np.ones((1, 5)))), [[3, 0, 2, 0, -4]])
    layer.set_weights([np.array([3.0, -9.0, 2.0, 9.0, -4.0], np.float32), layer.get_weights()[1]])
    assert layer.close(3).tolist() == []
    assert layer.close(1).tolist() == [2, 0]
    np.testing.assert_allclose(layer.columnwise_scale(), [0, 0, 0, 0, -4])


@pytest.mark.parametrize("kind", LAYERS)
def test_they_survive_saving_in_any_model(kind, rng, tmp_path):
    rows = keras.Input((6,))
    model = keras.Model(rows, keras.layers.Dense(2)(LAYERS[kind]()(keras.layers.BatchNormalization()(rows))))
    if kind == "narrowing":
        model.get_layer("selector").close(2)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    X = rng.normal(size=(9, 6)).astype(np.float32)
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))
    ours, theirs = model.get_layer("selector"), loaded.get_layer("selector")
    assert theirs.get_config() == ours.get_config()
    assert float(theirs.losses[0]) == pytest.approx(float(ours.losses[0]))
    np.testing.assert_array_equal(theirs.importance(), ours.importance())


@pytest.mark.parametrize("kind", LAYERS)
def test_permutation_takes_its_fast_way_through_them(kind, rng):
    """What a column is multiplied by is what the network multiplies by."""
    layer = LAYERS[kind]()
    layer.build((None, 6))
    X = rng.normal(size=(4, 6)).astype(np.float32)
    np.testing.assert_allclose(numpy(layer(X, training=False)), X * layer.columnwise_scale(), rtol=1e-6)


def test_the_network_is_as_published():
    config = SelectorConfig(batch_norm=True)
    model = build_selector_mlp(config, 30, 4)
    kinds = [type(layer).__name__ for layer in model.layers]
    hidden = ["Dense", "BatchNormalization", "LeakyReLU", "Dropout"]
    assert kinds == ["InputLayer", "GaussianNoise", "Selector", *hidden * 3, "Dense", "Softmax"]
    assert [layer.units for layer in model.layers if type(layer).__name__ == "Dense"] == [512, 128, 64, 4]
    assert {layer.negative_slope for layer in model.layers if type(layer).__name__ == "LeakyReLU"} == {0.2}
    assert {layer.rate for layer in model.layers if type(layer).__name__ == "Dropout"} == {0.3}
    assert model.get_layer("noise").stddev == 0.2
    plain = build_selector_mlp(SelectorConfig(selector="none"), 30, 4)
    assert [type(layer).__name__ for layer in plain.layers][:3] == ["InputLayer", "GaussianNoise", "Dense"]


def test_noise_is_in_training_alone(rng):
    model = build_selector_mlp(SelectorConfig((8,), "none", noise=0.5, dropout=0), 5, 2)
    X = rng.normal(size=(10, 5)).astype(np.float32)
    np.testing.assert_array_equal(model(X, training=False), model(X, training=False))
    assert (numpy(model(X, training=True)) != numpy(model(X, training=True))).any()


@pytest.mark.parametrize(
    "wrong",
    [
        {"hidden_units": ()},
        {"selector": "other"},
        {"penalty": "l3"},
        {"alpha": -1.0},
        {"noise": -0.1},
        {"dropout": 1.0},
        {"random_state": -1},
    ],
)
def test_settings_that_cannot_be(wrong):
    with pytest.raises(pg.PermGradError, match="must be"):
        SelectorConfig(**wrong)


def test_penalties_that_cannot_be():
    for make in (
        lambda: SelectorPenalty("l3"),
        lambda: SelectorPenalty("l1", -1),
        lambda: ExpectedOpen(-1),
        lambda: StochasticSelector(sigma=0),
    ):
        with pytest.raises(pg.PermGradError, match="must be"):
            make()
