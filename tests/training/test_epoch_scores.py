from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import recall_score, roc_auc_score

import permgrad as pg
from permgrad.backend import keras

SMALL = {"hidden_units": (8,), "epochs": 4, "learning_rate": 1e-2, "batch_size": 16}


@pytest.fixture
def problem(rng):
    X = pd.DataFrame(rng.normal(size=(120, 3)), columns=list("abc"))
    y = np.where(X["a"] + 0.5 * rng.normal(size=120) > 0, "sick", "fine")
    return X[:80], y[:80], X[80:], y[80:]


class Reference(keras.callbacks.Callback):
    """Score by predicting as anybody would."""

    def __init__(self, estimator, X, y):
        super().__init__()
        self.estimator, self.X, self.y, self.found = estimator, X, y, []

    def on_epoch_end(self, epoch, logs=None):
        probabilities = np.asarray(self.model(self.estimator._encode(self.X), training=False))
        predicted = self.estimator.classes_[probabilities.argmax(axis=1)]
        recall = recall_score(self.y == "sick", predicted == "sick")
        self.found.append((recall, roc_auc_score(self.y == "sick", probabilities[:, 1])))


@pytest.mark.slow
def test_equals_predicting_after_each_epoch(problem):
    X, y, X_val, y_val = problem
    model = pg.MLPClassifier(**SMALL)
    scores = pg.EpochScores(
        ["recall[sick]", "roc_auc"], {"train": (X, y), "validation": (X_val, y_val)}, estimator=model
    )
    reference = Reference(model, X_val, y_val)
    model.fit(X, y, callbacks=[scores, reference])
    table = scores.table
    assert list(table) == ["epoch", "rows", "score", "value", "spread"]
    assert len(table) == 4 * 2 * 2
    found = table[table["rows"] == "validation"].pivot(index="epoch", columns="score", values="value")
    np.testing.assert_allclose(found[["recall[sick]", "roc_auc"]], reference.found)
    assert found.index.tolist() == [1, 2, 3, 4]
    last = table[(table["rows"] == "train") & (table["epoch"] == 4)].set_index("score")["value"]
    assert last["recall[sick]"] == pg.get_scorer("recall[sick]")(model, X, y)
    assert last["roc_auc"] == pytest.approx(pg.get_scorer("roc_auc")(model, X, y))


@pytest.mark.slow
def test_it_changes_nothing_about_the_training(problem):
    X, y, X_val, _ = problem
    watched, plain = pg.MLPClassifier(**SMALL), pg.MLPClassifier(**SMALL)
    scores = pg.EpochScores(["accuracy"], {"train": (X, y)}, estimator=watched)
    watched.fit(X, y, callbacks=[scores])
    plain.fit(X, y)
    np.testing.assert_array_equal(watched.predict_proba(X_val), plain.predict_proba(X_val))


def test_spread_is_that_of_the_last_three_epochs(problem):
    X, y, *_ = problem
    model = pg.MLPClassifier(**SMALL)
    scores = pg.EpochScores(["neg_log_loss", "accuracy"], {"train": (X, y)}, estimator=model)
    model.fit(X, y, callbacks=[scores])
    table = scores.table[scores.table["score"] == "neg_log_loss"]
    values = table["value"].to_numpy()
    expected = [0, np.std(values[:2]), np.std(values[:3]), np.std(values[1:4])]
    np.testing.assert_allclose(table["spread"], expected)


def keras_model(n_outputs: int, activation: str | None, loss: str) -> keras.Model:
    rows = keras.Input((3,))
    model = keras.Model(rows, keras.layers.Dense(n_outputs, activation)(rows))
    model.compile("sgd", loss)
    return model


@pytest.mark.slow
def test_any_keras_model(problem):
    X, y, *_ = problem
    X, number = X.to_numpy(np.float32), (y == "sick").astype(int)
    softmax = keras_model(2, "softmax", "sparse_categorical_crossentropy")
    sigmoid = keras_model(1, "sigmoid", "binary_crossentropy")
    linear = keras_model(1, None, "mse")
    by_number = pg.EpochScores(["recall[1]"], {"train": (X, number)})
    by_label = pg.EpochScores(["precision[sick]", "roc_auc"], {"train": (X, y)}, classes=["fine", "sick"])
    regression = pg.EpochScores(["r2"], {"train": (X, X[:, 0])})
    softmax.fit(X, number, epochs=2, verbose=0, callbacks=[by_number])
    sigmoid.fit(X, number, epochs=2, verbose=0, callbacks=[by_label])
    linear.fit(X, X[:, 0], epochs=2, verbose=0, callbacks=[regression])
    predicted = softmax.predict(X, verbose=0).argmax(axis=1)
    assert by_number.table["value"].iloc[-1] == pytest.approx(recall_score(number, predicted))
    auc = roc_auc_score(number, sigmoid.predict(X, verbose=0)[:, 0])
    assert by_label.table["value"].iloc[-1] == pytest.approx(auc)
    residual = X[:, 0] - linear.predict(X, verbose=0)[:, 0]
    r2 = 1 - np.mean(residual**2) / np.var(X[:, 0])
    assert regression.table["value"].iloc[-1] == pytest.approx(r2, abs=1e-5)  # float32


def test_several_inputs():
    rows = [keras.Input((2,)), keras.Input((1,))]
    model = keras.Model(rows, keras.layers.Dense(2, "softmax")(keras.layers.Concatenate()(rows)))
    model.compile("sgd", "sparse_categorical_crossentropy")
    X, y = [np.ones((1500, 2), np.float32), np.ones((1500, 1), np.float32)], np.arange(1500) % 2
    scores = pg.EpochScores(["accuracy"], {"all": (X, y)})
    model.fit(X, y, epochs=1, verbose=0, callbacks=[scores])
    assert scores.table["value"].tolist() == [0.5]


def test_errors(problem):
    X, y, *_ = problem
    with pytest.raises(pg.PermGradError, match="needs a list of at least one score"):
        pg.EpochScores("accuracy", {"train": (X, y)})
    with pytest.raises(pg.PermGradError, match="at least one set of rows"):
        pg.EpochScores(["accuracy"], {})
    with pytest.raises(pg.PermGradError, match="window must be at least 1 epoch, got 0"):
        pg.EpochScores(["accuracy"], {"train": (X, y)}, window=0)
    with pytest.raises(pg.PermGradError, match="scoring must be a name"):
        pg.EpochScores(["acuracy"], {"train": (X, y)})
    model = keras_model(2, "softmax", "sparse_categorical_crossentropy")
    rows, number = X.to_numpy(np.float32), (y == "sick").astype(int)
    scores = pg.EpochScores(["accuracy"], {"train": (rows, y)}, classes=["a", "b", "c"])
    with pytest.raises(pg.PermGradError, match="the model tells 2 classes apart, got 3 names"):
        model.fit(rows, number, verbose=0, callbacks=[scores])
