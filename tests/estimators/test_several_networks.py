"""Several networks in one estimator: each leaves other rows out, and their predictions and rankings are averaged."""

from __future__ import annotations

from copy import copy

import numpy as np
import pytest

import permgrad as pg
from permgrad.backend import keras
from tests.conftest import SMALL

THREE = {**SMALL, "n_networks": 3}


def labels(y):
    return np.where(y > 0, "yes", "no")


def alone(model, number: int):
    """Return the estimator with only one of its networks."""
    single = copy(model)
    single.network_ = model.networks_[number]
    return single


@pytest.mark.slow
@pytest.mark.parametrize("kind", [pg.HybridClassifier, pg.HybridRegressor])
def test_every_row_is_in_training_for_two_of_three(kind, mixed, trainings):
    X, y = mixed
    X = X.assign(number=np.arange(150.0))
    model = kind(**THREE).fit(X, labels(y) if kind is pg.HybridClassifier else y, np.linspace(1, 2, 150))
    at = model.encoder_.get_feature_names_out().tolist().index("number")
    trained = [set(train[0][:, at].astype(int)) for _, train, _, _ in trainings]
    apart = [set(validation[0][:, at].astype(int)) for _, _, validation, _ in trainings]
    everything = set(range(150))
    assert [len(rows) for rows in apart] == [50, 50, 50]
    assert set.union(*apart) == everything
    assert all(one | other == everything and not one & other for one, other in zip(trained, apart, strict=True))
    for _, train, validation, _ in trainings:  # each row's weight and target come along
        rows = np.concatenate([train[0][:, at], validation[0][:, at]]).astype(int)
        weights = np.concatenate([train[2], validation[2]])
        np.testing.assert_allclose(weights, (np.linspace(1, 2, 150) / 1.5)[rows], rtol=1e-6)
        target = np.concatenate([train[1], validation[1]])
        np.testing.assert_allclose(target, y[rows] > 0 if kind is pg.HybridClassifier else y[rows], rtol=1e-6)
    assert [config.random_state for *_, config in trainings] == [0, 1, 2]


def test_given_validation_rows_decide_for_all(mixed, trainings):
    X, y = mixed
    pg.HybridRegressor(**THREE).fit(X[:100], y[:100], validation_data=(X[100:], y[100:]))
    assert [(len(train[0]), len(validation[0])) for _, train, validation, _ in trainings] == [(100, 50)] * 3


def test_few_rows_are_not_set_apart(mixed, trainings):
    X, y = mixed
    model = pg.HybridRegressor(**THREE).fit(X[:20], y[:20])
    assert [(len(train[0]), validation) for _, train, validation, _ in trainings] == [(20, None)] * 3
    with pytest.raises(pg.PermGradError, match="validation rows, this network had 0"):
        model.predict_interval(X)


@pytest.mark.slow
def test_predictions_and_rankings_are_averaged_and_saved(mixed, trainings, tmp_path):
    """Of networks of random weights: the mean of what each alone says."""
    X, y = mixed
    model = pg.HybridClassifier(**THREE, branches="tabular", random_state=4).fit(X, labels(y))
    encoded = model.encoder_.transform(X)
    each = [network.predict(encoded, verbose=0) for network in model.networks_]
    assert len(each) == 3
    assert np.abs(each[0] - each[1]).max() > 1e-3
    np.testing.assert_allclose(model.predict_proba(X), sum(each) / 3, rtol=1e-5)
    assert model.network_ is model.networks_[0]

    ranking = model.rank_features(X, labels(y), n_repeats=2, formula="fused")
    alone_ones = [alone(model, i).rank_features(X, labels(y), n_repeats=2, formula="fused") for i in range(3)]
    assert ranking == pg.average_rankings(alone_ones, model.random_state_)
    np.testing.assert_allclose(ranking.scores, np.mean([one.scores for one in alone_ones], axis=0))

    model.save(tmp_path / "m")
    files = {path.name for path in (tmp_path / "m").glob("*.keras")}
    assert files == {"network.keras", "network_2.keras", "network_3.keras"}
    loaded = pg.load(tmp_path / "m")
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    (tmp_path / "m" / "network_2.keras").unlink()
    with pytest.raises(pg.FileFormatError):
        pg.load(tmp_path / "m")


def test_more_networks_than_rows_of_any_class_are_refused(mixed, trainings):
    X = mixed[0]
    with pytest.raises(pg.PermGradError, match="n_splits=20 cannot be greater"):
        pg.HybridClassifier(**{**SMALL, "n_networks": 20}).fit(X[:30], np.tile(["yes", "no"], 15))


@pytest.mark.slow
def test_callbacks_see_the_networks_so_far(mixed, trainings):
    """A callback may predict while a network is trained, by the mean of those that there are."""
    X, y = mixed
    model, seen = pg.HybridRegressor(**THREE, branches="tabular"), []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append((len(model.networks_), model.predict(X)))
    )
    for _ in range(2):  # fitted again, it begins anew
        model.fit(X, y, callbacks=[watch])
        assert [number for number, _ in seen] == [1, 2, 3]
        each = [predicted[:, 0] for predicted in map(predicted_alone(model, X), model.networks_)]
        for number, predicted in seen:
            np.testing.assert_allclose(predicted, np.mean(each[:number], axis=0), rtol=1e-4, atol=1e-4)
        seen.clear()


def predicted_alone(model, X):
    encoded = model.encoder_.transform(X)
    return lambda network: network.predict(encoded, verbose=0)
