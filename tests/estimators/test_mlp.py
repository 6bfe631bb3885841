from __future__ import annotations

import math
import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.stats import skew
from sklearn.base import clone

import permgrad as pg
from permgrad.backend import keras
from permgrad.training.config import TrainingConfig
from permgrad.training.optimizers import AdamL2
from permgrad.training.schedules import cosine_rate

SMALL = {"hidden_units": (8, 6), "epochs": 5, "learning_rate": 1e-2, "batch_size": 16}


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.normal(1e3, 5, 200), "b": rng.normal(0, 1e-3, 200), "text": rng.choice(["x", "y"], 200)})
    y = np.where((X["a"] - 1e3) / 5 + (X["text"] == "x") > 0.5, "pos", "neg")
    return X[:150], y[:150], X[150:], y[150:]


@pytest.fixture(scope="module")
def fitted(problem):
    return pg.MLPClassifier(**{**SMALL, "epochs": 15}).fit(*problem[:2])


def test_cosine_by_hand():
    config = TrainingConfig(schedule="cosine", epochs=20, learning_rate=1e-3)
    rates = [cosine_rate(epoch, config) for epoch in range(21)]
    assert rates[0] == pytest.approx(1e-3)
    assert rates[10] == pytest.approx((1e-3 + 1e-5) / 2)
    assert rates[5] == pytest.approx(1e-5 + 0.99e-3 * (1 + math.cos(math.pi / 4)) / 2)
    assert rates[20] == pytest.approx(1e-5)
    assert config.warmup_epochs == 0


def test_decay_goes_through_adams_moments():
    """Adam with L2 of w's gradient g is Adam of the gradient g + l2 * w: equal to plain Adam on the penalised loss."""
    ends = []
    for l2, penalty in ((0.3, 0.0), (0.0, 0.3)):
        w = keras.Variable([2.0, -1.0])
        optimizer = AdamL2(0.1, l2=l2)
        for _ in range(5):
            value = keras.ops.convert_to_numpy(w)
            optimizer.apply([keras.ops.convert_to_tensor(np.array([0.5, 0.1], np.float32) + penalty * value)], [w])
        ends.append(keras.ops.convert_to_numpy(w))
    np.testing.assert_allclose(*ends, rtol=1e-6)


def test_a_gradient_is_clipped_before_the_decay_is_added():
    w = keras.Variable([3.0, 4.0])
    optimizer, plain = AdamL2(0.1, l2=0.5, global_clipnorm=1.0), keras.Variable([3.0, 4.0])
    reference = keras.optimizers.Adam(0.1)
    for gradient in ([30.0, -40.0], [0.3, 0.4]):
        g = np.array(gradient, np.float32)
        clipped = g * min(1, 1 / np.linalg.norm(g))
        at = keras.ops.convert_to_numpy(plain)
        optimizer.apply([keras.ops.convert_to_tensor(g)], [w])
        reference.apply([keras.ops.convert_to_tensor(clipped + 0.5 * at)], [plain])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(w), keras.ops.convert_to_numpy(plain), rtol=1e-5)


def test_the_network_is_the_published_one(problem):
    layers = [type(layer).__name__ for layer in pg.MLPClassifier(epochs=1).fit(*problem[:2]).network_.layers]
    block = ["Dense", "BatchNormalization", "ReLU"]
    assert layers == ["InputLayer", "Normalization", *block, *block, "Dropout", "Dense", "Softmax"]


@pytest.mark.slow
def test_columns_are_standardised_by_training_rows(fitted, problem):
    encoded = fitted.encoder_.transform(problem[0])
    scaled = keras.ops.convert_to_numpy(fitted.network_.get_layer("scale")(encoded))
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(scaled.std(axis=0), 1, rtol=1e-3)


@pytest.mark.slow
def test_skewed_columns_are_made_symmetric(tmp_path):
    """What reaches the first hidden layer is standardised and without skew, for rows of any size; saved with it."""
    rng = np.random.default_rng(1)
    X = pd.DataFrame({"tiny": 1e-4 * rng.lognormal(0, 1, 400), "huge": 1e6 - 1e5 * rng.lognormal(0, 1, 400)})
    y = np.where(np.log(X["tiny"] * 1e4) > 0, "pos", "neg")
    model = pg.MLPClassifier(**{**SMALL, "epochs": 15}, scaling="power").fit(X, y)
    network = model.network_
    scaled = keras.Model(network.inputs[0], network.get_layer("power_scale").output)(model.encoder_.transform(X))
    scaled = keras.ops.convert_to_numpy(scaled)
    assert np.abs(skew(X)).min() > 2
    assert np.abs(skew(scaled)).max() < 0.3
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(scaled.std(axis=0), 1, rtol=1e-3)
    assert model.score(X, y) > 0.95
    assert model.rank_features(X, y).select(1) == ["tiny"]
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(pg.load(tmp_path / "model").predict_proba(X), model.predict_proba(X))


def test_learns_for_all_epochs_and_ranks(fitted, problem):
    *_, X, y = problem
    assert fitted.score(X, y) > 0.9
    assert fitted.kept_epoch_ == len(fitted.history_["loss"]) == 15
    assert fitted.history_["learning_rate"][0] == pytest.approx(1e-2)
    ranking = fitted.rank_features(X, y)
    assert set(ranking.select(2)) == {"a", "text"}
    assert ranking.branch_weights == {"tabular": pytest.approx(1)}


def test_saved_and_loaded(fitted, problem, tmp_path):
    fitted.save(tmp_path / "model")
    loaded = pg.load(tmp_path / "model")
    assert isinstance(loaded, pg.MLPClassifier)
    assert loaded.get_params() == fitted.get_params()
    np.testing.assert_array_equal(loaded.predict_proba(problem[2]), fitted.predict_proba(problem[2]))


def test_a_copy_is_decayed_as_the_original(fitted):
    """Pickling, as joblib's workers do it, takes the optimizer along."""
    copied = pickle.loads(pickle.dumps(fitted))  # noqa: S301
    assert copied.network_.optimizer.l2 == fitted.l2 == 1e-4


@pytest.mark.slow
def test_the_same_seed_gives_the_same_network(problem):
    X, y, X_test, _ = problem
    first, again, other = (
        pg.MLPClassifier(**SMALL, random_state=random_state).fit(X, y).predict_proba(X_test)
        for random_state in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_best_epoch_by_validation_rows(problem):
    X, y, X_val, y_val = problem
    model = clone(pg.MLPClassifier(**SMALL, keep="best")).fit(X, y, validation_data=(X_val, y_val))
    assert model.kept_epoch_ == 1 + int(np.argmin(model.history_["val_loss"]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden_units": ()}, "hidden_units must be one or more sizes"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"scaling": "log"}, "scaling must be 'standard' or 'power', got 'log'"),
        ({"l2": -1}, "l2 must be at least 0"),
        ({"clip_norm": 0}, "clip_norm must be positive, or None"),
        ({"keep": "first"}, "keep must be one of 'best', 'last', got 'first'"),
        ({"random_state": -1}, "random_state must be at least 0"),
        ({"epochs": 0}, "epochs must be positive"),
    ],
)
def test_settings_out_of_range(settings, message, problem):
    with pytest.raises(pg.PermGradError, match=message):
        pg.MLPClassifier(**{**SMALL, **settings}).fit(*problem[:2])
