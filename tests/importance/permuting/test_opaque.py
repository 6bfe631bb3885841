"""Any fitted model's columns, permuted: against plain loops, a network's own importance and closed forms."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.stats import ttest_1samp
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import permgrad as pg
from permgrad.backend import keras
from permgrad.importance.network.opaque import Opaque
from permgrad.importance.permuting import _stacking
from permgrad.importance.permuting.opaque import permute_opaque


@pytest.fixture(scope="module")
def mixed():
    """Numbers, text and a category, all with missing values; "size" and "colour" tell the class."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "size": rng.normal(size=150),
            "colour": rng.choice(["red", "blue", None], 150),
            "grade": pd.Categorical(rng.choice(["low", "high"], 150)),
            "noise": rng.integers(0, 3, 150),
        },
        index=np.arange(150) * 7,
    )
    X.loc[::49, "size"] = np.nan
    y = np.where(X["size"].fillna(0) + (X["colour"] == "red") + rng.normal(0, 0.5, 150) > 0.3, "yes", "no")
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["colour", "grade"]), remainder="passthrough", sparse_threshold=0
    )
    model = make_pipeline(encode, HistGradientBoostingClassifier(max_iter=20, random_state=0))
    return model.fit(X.iloc[:75], y[:75]), X.iloc[75:], y[75:]


@pytest.fixture(autouse=True)
def _permutation_alone(monkeypatch):
    """The game is tested elsewhere."""
    monkeypatch.setattr("permgrad.importance.rank_opaque.QUICK_CELLS", 0)


def plain_losses(model, X, y):
    p = model.predict_proba(X)
    return -np.log(np.clip(p[np.arange(len(X)), np.searchsorted(model.classes_, y)], 1e-7, 1 - 1e-7))


def plain_increases(model, X, y, columns_of, n_repeats, random_state):
    """Each row's increase: (feature, repeat, row)."""
    own = plain_losses(model, X, y)
    found = np.zeros((len(columns_of), n_repeats, len(X)))
    for f, columns in enumerate(columns_of):
        for r in range(n_repeats):
            order, permuted = np.random.default_rng([random_state, f, r]).permutation(len(X)), X.copy()
            for column in columns:
                permuted[column] = X[column].to_numpy(object)[order]
            found[f, r] = plain_losses(model, permuted.astype(X.dtypes), y) - own
    return found


@pytest.mark.parametrize("cells", [1, 700, 10**9])
@pytest.mark.parametrize("groups", [None, {"look": ["colour", "grade"], "rest": [0, 3]}])
def test_equals_the_plain_loop(mixed, cells, groups, monkeypatch):
    monkeypatch.setattr(_stacking, "CELLS_PER_CALL", cells)
    model, X, y = mixed
    columns_of = [[name] for name in X] if groups is None else [["colour", "grade"], ["size", "noise"]]
    ranking = pg.rank_features(model, X, y, groups=groups, n_repeats=3, random_state=4)
    plain = plain_increases(model, X, y, columns_of, 3, 4)
    assert ranking.features == tuple(X if groups is None else groups)
    np.testing.assert_allclose(ranking.scores, plain.mean(axis=(1, 2)), atol=1e-12)
    np.testing.assert_allclose(ranking.std, plain.mean(axis=2).std(axis=1, ddof=1), atol=1e-12)
    of_class = [plain[:, :, y == label].mean(axis=(1, 2)) for label in ("no", "yes")]
    np.testing.assert_allclose(ranking.class_scores, np.transpose(of_class), atol=1e-12)
    p = [ttest_1samp(of, 0, alternative="greater").pvalue if of.any() else 1 for of in plain.mean(axis=1)]
    np.testing.assert_allclose(ranking.p_values, p, atol=1e-9)
    assert ranking.method == "permutation"
    assert ranking.classes == ("no", "yes")
    assert ranking.settings["baseline_loss"] == pytest.approx(plain_losses(model, X, y).mean())
    if groups is None:
        assert ranking.select(1) == ["size"]


class FromOutside:
    """A network as a scikit-learn estimator."""

    def __init__(self, network, classes=None):
        self.network = network
        if classes is not None:
            self.classes_ = np.asarray(classes)

    def _predicted(self, X):
        return keras.ops.convert_to_numpy(self.network(np.asarray(X, np.float32)))


class Classifier(FromOutside):
    def predict_proba(self, X):
        return self._predicted(X)


class Regressor(FromOutside):
    def predict(self, X):
        return self._predicted(X)


def random_network(n_outputs, activation):
    keras.utils.set_random_seed(7)
    row = keras.Input((4,))
    model = keras.Model(
        row, keras.layers.Dense(n_outputs, activation)(keras.layers.Dense(6, "tanh")(keras.layers.Rescaling(1.0)(row)))
    )
    model.compile("sgd", "mse" if activation is None else None)
    return model


@pytest.mark.filterwarnings("ignore:this")
@pytest.mark.parametrize(("n_outputs", "activation"), [(3, "softmax"), (1, "sigmoid"), (1, None), (2, None)])
def test_equals_the_networks_own_importance(n_outputs, activation, rng):
    """Scores, intervals, ranks and p-values: of the same permutations, rows and bootstrap."""
    X = np.round(rng.normal(size=(90, 4)), 1).astype(np.float32)  # rounded: some rows keep their value
    network = random_network(n_outputs, activation)
    n_classes = 0 if activation is None else max(2, n_outputs)
    y = rng.integers(0, n_classes, 90) if n_classes else rng.normal(size=(90, n_outputs))
    outside = Classifier(network, [*"abc"[:n_classes]]) if n_classes else Regressor(network)
    labels = np.array([*"abc"])[y] if n_classes else y
    theirs = pg.permutation_importance(network, X, y, n_repeats=3, random_state=2, conditional=False)
    for ours in (
        pg.rank_features(outside, X, labels, n_repeats=3, random_state=2),
        permute_opaque(Opaque.of(network, X, y), n_repeats=3, random_state=2),
    ):
        for name in ("scores", "std", "low", "high", "p_values", "replicates", "class_scores"):
            if getattr(theirs, name) is not None:
                np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=2e-5, err_msg=name)
        np.testing.assert_array_equal(ours.rank_low, theirs.rank_low)
        assert ours.settings["baseline_loss"] == pytest.approx(theirs.settings["baseline_loss"], rel=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:this")
def test_conditional_equals_the_networks_own(rng):
    X, network, y = rng.normal(size=(90, 4)).astype(np.float32), random_network(3, "softmax"), rng.integers(0, 3, 90)
    theirs = pg.permutation_importance(network, X, y, n_repeats=2, conditional=True)
    ranking = pg.rank_features(Classifier(network, [0, 1, 2]), X, y, n_repeats=2, conditional=True)
    np.testing.assert_allclose(ranking.components["conditional"].scores, theirs.scores, atol=2e-5)
    assert ranking.components["conditional"].method == "conditional"
    assert set(ranking.settings["agreement"]) == {"permutation", "conditional"}


def test_closed_form(rng):
    """Of ``2 a - b``, told without error, permuting adds the mean of (2 (a' - a))²; a column without effect adds 0."""
    X = rng.normal(size=(500, 3))
    y = 2 * X[:, 0] - X[:, 1]
    ranking = pg.rank_features(LinearRegression().fit(X, y), X, y, n_repeats=4, random_state=1)
    for column, slope in ((0, 2), (1, 1)):
        orders = [np.random.default_rng([1, column, r]).permutation(500) for r in range(4)]
        by_hand = np.mean([(slope * (X[order, column] - X[:, column])) ** 2 for order in orders])
        assert ranking.scores[column] == pytest.approx(by_hand)
        assert ranking.scores[column] == pytest.approx(2 * slope**2, rel=0.2)  # twice the variance
    assert ranking.scores[2] == pytest.approx(0, abs=1e-12)
    assert ranking.features == ("x0", "x1", "x2")
    assert ranking.classes is None


@pytest.mark.filterwarnings("ignore:this model")
def test_frame_and_array_and_table_are_one(rng):
    X, y = rng.normal(size=(60, 3)), rng.integers(0, 2, 60)
    frame = pd.DataFrame(X, columns=list("abc"))
    model = LogisticRegression().fit(X, y)
    of_array = pg.rank_features(model, X, y, n_repeats=2)
    of_frame = pg.rank_features(LogisticRegression().fit(frame, y), frame, pd.Series(y, name="y"), n_repeats=2)
    table = pg.Table.from_frame(frame.assign(y=y), "y")
    of_table = pg.rank_features(LogisticRegression().fit(table.X, table.y), table, table.y, n_repeats=2)
    for other in (of_frame, of_table):
        np.testing.assert_allclose(of_array.scores, other.scores)
    assert of_frame.features == ("a", "b", "c")


@pytest.mark.filterwarnings("ignore:this model")
def test_only_changed_rows_are_predicted_again(rng):
    """A column of 0 and 1 keeps its value in about half of the rows, a constant one in all."""
    X = np.column_stack([rng.integers(0, 2, 200), np.zeros(200)])

    class Counting:
        n_rows = 0

        def predict(self, rows):
            Counting.n_rows += len(rows)
            return rows[:, 0]

    ranking = pg.rank_features(Counting(), X, X[:, 0] * 2.0 + 1, n_repeats=5, task="regression")
    assert 200 + 5 * 60 < Counting.n_rows < 200 + 5 * 140
    assert ranking.scores[1] == 0
    assert ranking.p_values[1] == 1


@pytest.mark.filterwarnings("ignore:this model")
def test_time_limit_and_checkpoint(mixed, tmp_path):
    model, X, y = mixed
    whole = pg.rank_features(model, X, y, n_repeats=2)
    kept = tmp_path / "kept.npz"
    part = pg.rank_features(model, X, y, n_repeats=2, budget=pg.Budget(timeout=1e-9, checkpoint=kept))
    assert part.pending == ("colour", "grade", "noise")
    assert part.scores[0] == whole.scores[0]
    again = pg.rank_features(model, X, y, n_repeats=2, budget=pg.Budget(checkpoint=kept))
    np.testing.assert_allclose(again.scores, whole.scores)
    np.testing.assert_allclose(again.replicates, whole.replicates, atol=1e-6)
    with pytest.raises(pg.PermGradError, match="another data"):
        pg.rank_features(model, X, y[::-1], n_repeats=2, budget=pg.Budget(checkpoint=kept))


def test_the_ranking_goes_wherever_rankings_go(mixed, tmp_path):
    model, X, y = mixed
    ranking = pg.rank_features(model, X, y, n_repeats=2)
    ranking.save(tmp_path / "ranking.json")
    assert pg.FeatureRanking.load(tmp_path / "ranking.json") == ranking
    json.dumps(ranking.to_dict())
    assert ranking.components["permutation"].agreement(ranking) == pytest.approx(1)
    assert pg.compare_rankings({"one": ranking, "two": ranking}, best=[2]).shape[0] > 0
    assert ranking.plot() is not None
    assert ranking.settings["learned"]["better"]


def test_a_model_at_chance_is_told(rng):
    X, y = rng.normal(size=(100, 2)), rng.integers(0, 2, 100)

    class Coin:
        classes_ = (0, 1)

        def predict_proba(self, rows):
            p = 0.5 + 0.01 * np.sin(np.asarray(rows)[:, 0] * 100)
            return np.column_stack([1 - p, p])

    with pytest.warns(UserWarning, match=r"this model's probabilities are not shown to beat .* not what matters$"):
        ranking = pg.rank_features(Coin(), X, y)
    assert not ranking.learned


class Says:
    """Predicts what it is told to."""

    def __init__(self, answer, **attributes):
        self.answer = answer
        vars(self).update(attributes)

    def predict(self, X):
        return self.answer


class SaysProbabilities(Says):
    def predict_proba(self, X):
        return self.answer


ROWS, HALF = np.arange(6.0).reshape(3, 2), np.full((3, 2), 0.5)


@pytest.mark.parametrize(
    ("model", "given", "message"),
    [
        (object(), {}, "expected a Keras model, or a fitted estimator with predict_proba or predict, got object"),
        (Says(HALF[:, 0], classes_=["a", "b"]), {}, "no predict_proba, but log loss needs probabilities.*score_import"),
        (Says(HALF[:, 0]), {"task": "classification"}, "has no predict_proba"),
        (SaysProbabilities(HALF, classes_=["a", "b"]), {}, "labels that the model does not know: '0', '1'"),
        (SaysProbabilities(HALF, classes_=[0, 1, 2]), {}, "tells 2 classes apart, got 3 names"),
        (SaysProbabilities(HALF, classes_=[0, 1]), {"classes": ["a", "b"]}, "leave classes= out"),
        (SaysProbabilities(HALF * 9, classes_=[0, 1]), {}, "expected probabilities"),
        (SaysProbabilities([HALF, HALF]), {}, "several targets at once"),
        (Says(np.array(["a", "b", "c"])), {}, "the model's predictions are not numbers"),
        (Says(np.array([1.0, np.nan, 2.0])), {}, "finite prediction for each of 3 rows"),
        (Says(np.ones(5)), {}, r"for each of 3 rows, got shape \(5,\)"),
        (Says(np.ones(3)), {"y": [0.5, 1]}, "same number of rows, got 3 and 2"),
        (Says(np.ones(3)), {"y": ["a", "b", "a"]}, "finite numbers"),
        (Says(HALF), {}, "does not fit a model with 2 outputs"),
        (Says(np.ones(3)), {"inputs": np.ones(3)}, "must have rows and columns"),
        (Says(np.ones(3)), {"inputs": sparse.csr_matrix(ROWS)}, "make it dense"),
        (Says(np.ones(3)), {"formula": pg.PUBLISHED}, "must be 'game' or 'last in' for an estimator"),
        (Says(np.ones(3)), {"end_to_end": True}, "leave out 'end_to_end', for Keras models"),
        (Says(np.ones(3)), {"groups": {"g": ["a"]}}, "not so: 'a'"),
        (Says(np.ones(3)), {"groups": {"g": [5]}}, "positions from 0 to 1"),
        (Says(np.ones(3)), {"n_repeats": 0}, "n_repeats must be between 1"),
        (Says(np.ones(3)), {"conditional": True}, "needs at least 20 rows"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_ranked(model, given, message):
    with pytest.raises(pg.PermGradError, match=message):
        pg.rank_features(model, **{"inputs": ROWS, "y": [0, 1, 1], **given})


@pytest.mark.filterwarnings("ignore:this model")
def test_answers_of_many_shapes(rng):
    """One column of probabilities, or a flat array of them; labels of any type; a classifier asked for values."""
    X, y = rng.normal(size=(40, 2)), rng.integers(0, 2, 40)
    sure = 1 / (1 + np.exp(-2 * X[:, 0]))

    class Flat:
        def __init__(self, shape, classes):
            self.shape, self.classes_ = shape, classes

        def predict_proba(self, rows):
            p = 1 / (1 + np.exp(-2 * np.asarray(rows, float)[:, 0]))
            return np.column_stack([1 - p, p]) if self.shape == 2 else p.reshape((-1, 1) if self.shape else -1)

        def predict(self, rows):
            return np.asarray(rows)[:, 0]

    loss = -np.mean(np.log(np.where(y == 1, sure, 1 - sure)))
    for shape in (0, 1, 2):
        for labels in (np.array([0, 1]), np.array([False, True]), np.array(["n", "y"]), np.array([-1.0, 1.0])):
            ranking = pg.rank_features(Flat(shape, labels), X, labels[y], n_repeats=1)
            assert ranking.settings["baseline_loss"] == pytest.approx(loss)
            assert ranking.classes == tuple(map(str, labels.tolist()))
    as_values = pg.rank_features(Flat(2, [0, 1]), X, y, task="regression", n_repeats=1)
    assert as_values.settings["baseline_loss"] == pytest.approx(np.mean((X[:, 0] - y) ** 2))


def test_a_network_of_an_input_for_each_column(rng):
    """Its columns are found by name, in any order."""
    inputs = [keras.Input((1,), name=name) for name in "bca"]
    network = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Concatenate()(inputs)))
    network.set_weights([np.array([[2.0], [0.0], [1.0]]), np.zeros(1)])
    network.compile("sgd", "mse")
    X = pd.DataFrame(rng.normal(size=(50, 3)), columns=list("abc"))
    opaque = Opaque.of(network, X, X["a"] + 2 * X["b"])
    np.testing.assert_allclose(opaque.baseline, 0, atol=1e-10)
    ranking = permute_opaque(opaque, n_repeats=2)
    assert ranking.select(2) == ["b", "a"]
    assert ranking.scores[2] == pytest.approx(0, abs=1e-9)
    for columns, message in (
        ("abd", "inputs are 'b', 'c', 'a', the table's columns 'a', 'b', 'd'"),
        ("ab", "2 columns"),
    ):
        with pytest.raises(pg.PermGradError, match=message):
            Opaque.of(network, pd.DataFrame(rng.normal(size=(50, len(columns))), columns=list(columns)), X["a"])
