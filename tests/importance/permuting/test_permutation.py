from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats

import permgrad as pg
from permgrad.backend import keras
from permgrad.data.on_disk import RowsOnDisk
from permgrad.importance.bootstrap import Bootstrap
from permgrad.importance.donors import shuffled_within
from permgrad.importance.network import _inputs as inputs
from permgrad.importance.network.first_layer import first_layer
from permgrad.importance.permuting import _measurement as measurement
from permgrad.importance.permuting import _network as permuted
from permgrad.importance.permuting import conditional
from permgrad.importance.permuting.conditional import AlikeRows
from permgrad.layers.batch_ensemble import EnsembleDense, EnsembleHeads, EnsembleMean
from permgrad.layers.embeddings import NumberBins, Periodic, PiecewiseLinear
from permgrad.layers.quantile import QuantileScale
from permgrad.layers.scaling import MinMaxScale, Standardise
from permgrad.layers.selectors import ColumnMask, Selector
from permgrad.layers.swap_noise import SwapNoise
from tests.oracle import columns_of, plain_permutation, predicted, via

pytestmark = pytest.mark.backend

CASES = {"regression": (1, lambda X: X[:, 0] * 3), "classification": (3, lambda X: (X[:, 0] * 3).astype(int))}


def linear_model(weights: list[float]) -> keras.Model:
    rows = keras.Input((len(weights),))
    layer = keras.layers.Dense(1, use_bias=False)
    model = keras.Model(rows, layer(rows))
    layer.set_weights([np.array(weights, np.float32)[:, None]])
    return model


PAIRED = {"a": [0], "pair": [2, 4], "b": [5]}
"""A feature of one column goes another way than one of several."""


@pytest.mark.parametrize(
    ("task", "way", "groups"),
    [
        ("classification", "tabular", PAIRED),
        ("classification", "image", PAIRED),
        ("classification", "both", None),
        ("regression", "tabular", None),
        ("regression", "image", None),
        ("regression", "both", PAIRED),
    ],
)
def test_agrees_with_plain_loop(task, groups, way, random_hybrid, layout, rng):
    n_outputs, target = CASES[task]
    model = random_hybrid(task, n_outputs)
    X = rng.random((90, 6)).astype(np.float32)
    X[:, 5] = X[:, 5] > 0.7  # few rows change
    y = target(X)
    names = layout.features
    ranking = pg.permutation_importance(
        model, X, y, via=way, features=names, groups=groups, n_repeats=3, random_state=7
    )

    columns = columns_of(groups, 6)
    plain = plain_permutation(via(model, X, way), X, y, groups=columns, n_repeats=3, random_state=7)
    assert np.abs(plain.mean(axis=(1, 2))).max() > 1e-3
    np.testing.assert_allclose(ranking.scores, plain.mean(axis=(1, 2)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(ranking.std, plain.mean(axis=2).std(axis=1, ddof=1), rtol=1e-4, atol=1e-6)
    if task == "classification":
        by_class = np.stack([plain[:, :, y == c].mean(axis=(1, 2)) for c in range(3)], axis=1)
        np.testing.assert_allclose(ranking.class_scores, by_class, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("groups", [None, PAIRED])
def test_large_work_is_fused_and_the_same(groups, random_hybrid, rng, monkeypatch):
    model, X = random_hybrid("classification", 3), rng.random((90, 6)).astype(np.float32)
    given = {"y": CASES["classification"][1](X), "groups": groups, "n_repeats": 2}
    plain = pg.permutation_importance(model, X, **given)
    monkeypatch.setattr("permgrad.importance.permuting._measurement.FUSED_FROM", 1)
    np.testing.assert_allclose(pg.permutation_importance(model, X, **given).scores, plain.scores, rtol=1e-4, atol=1e-6)


def test_p_values_and_intervals_are_of_the_plain_loops_differences(random_hybrid, rng):
    """p: a one-sided t-test of the rows' differences, averaged over repeats; intervals: rows anew."""
    model, X = random_hybrid("classification", 3), rng.random((60, 6)).astype(np.float32)
    y = (X[:, 0] * 3).astype(int)
    ranking = pg.permutation_importance(model, X, y, n_repeats=3, random_state=7)
    plain = plain_permutation(via(model, X), X, y, groups=[[i] for i in range(6)], n_repeats=3, random_state=7)
    of_rows = stats.ttest_1samp(plain.mean(axis=1), 0, axis=1, alternative="greater").pvalue
    np.testing.assert_allclose(ranking.p_values, of_rows, rtol=1e-3, atol=1e-6)
    assert 0 < ranking.p_values.min() < 0.5
    drawn = Bootstrap.of(60, 7, y)
    orders = [[np.random.default_rng([7, g, r]).permutation(60) for r in range(3)] for g in range(6)]
    replicates, of_class = np.zeros((200, 6)), np.zeros((200, 6, 3))
    means = np.stack([plain[:, :, y == c].mean(axis=(1, 2)) for c in range(3)], axis=1)
    for b, weights in enumerate(drawn.weights):
        extra = weights[drawn.bundle] - 1  # how much more often than once a row is drawn
        for g in range(6):
            # To first order: a row drawn once more adds its own deviation as a taker and as a giver.
            takers = plain[g].mean(axis=0)
            givers = np.zeros((60, 3))
            for r in range(3):
                for row in range(60):
                    givers[orders[g][r][row], y[row]] += plain[g, r, row] / 3
            replicates[b, g] = takers.mean() + (extra @ takers + extra @ givers.sum(axis=1)) / 60
            for c in range(3):
                n, mean = sum(y == c), takers[y == c].mean()  # a class has more rows in some replicates: off the mean
                own = np.where(y == c, takers - mean, 0)
                of_class[b, g, c] = mean + (extra @ own + extra @ (givers[:, c] - mean * n / 60)) / n
    replicates, of_class = (
        drawn.widened(mean, each) for mean, each in ((plain.mean(axis=(1, 2)), replicates), (means, of_class))
    )
    low, high = np.quantile(replicates, [0.025, 0.975], axis=0, method="weibull")
    np.testing.assert_allclose(ranking.low, low, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(ranking.high, high, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(ranking.replicates, replicates, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(ranking.class_replicates, of_class, rtol=1e-3, atol=1e-4)


def test_a_column_without_weight_has_p_one_and_no_width():
    X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    ranking = pg.permutation_importance(linear_model([2.0, 0.0, 0.5]), X, X @ [2, 0, 0.5])
    assert ranking.p_values[1] == 1
    assert (ranking.low[1], ranking.high[1]) == (0, 0)
    assert ranking.p_values[0] < 1e-4
    first, _, last = ranking.p_values
    assert ranking.q_values[2] == pytest.approx(min(1.5 * max(first, last), 3 * last))
    assert (ranking.rank_low[0], ranking.rank_high[0]) == (1, 1)


@pytest.mark.slow
def test_intervals_hold_the_true_importance():
    """y = 2a + noise, a model that knows: permuting a adds 2 * 2² * var(a) = 8 to the loss of infinitely many rows."""
    inside = 0
    for random_state in range(100):
        rng = np.random.default_rng(random_state)
        X = rng.normal(size=(150, 2)).astype(np.float32)
        ranking = pg.permutation_importance(
            linear_model([2.0, 0.0]), X, 2 * X[:, 0] + rng.normal(size=150), random_state=random_state
        )
        inside += ranking.low[0] <= 8 <= ranking.high[0]
    assert 90 <= inside <= 99


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:what the other columns tell")  # there is no noise in the target
def test_conditional_agrees_with_plain_loop(random_hybrid, rng, monkeypatch):
    monkeypatch.setattr(conditional, "TREES", 30)
    model, X = random_hybrid("regression", 1), rng.random((80, 6)).astype(np.float32)
    X[:, 2] = X[:, 1] + 0.1 * X[:, 2]
    alike = AlikeRows(X, random_state=4)
    bins = [alike.bins(np.array([i])) for i in range(6)]

    def order(feature, repeat):
        return shuffled_within(bins[feature], np.random.default_rng([4, feature, repeat]))

    for feature in range(6):
        assert (bins[feature][order(feature, 1)] == bins[feature]).all()
        assert sorted(order(feature, 1)) == list(range(80))
    columns = [[i] for i in range(6)]
    for way in ("tabular", "both"):
        ranking = pg.permutation_importance(model, X, X[:, 0], via=way, conditional=True, n_repeats=2, random_state=4)
        predict = via(model, X, way)
        plain = plain_permutation(predict, X, X[:, 0], groups=columns, n_repeats=2, random_state=4, order=order)
        np.testing.assert_allclose(ranking.scores, plain.mean(axis=(1, 2)), rtol=1e-4, atol=1e-6)
        assert ranking.method == "conditional"


GROUPS = {"one": [1], "four": [0, 2, 3, 5], "other": [4]}


@pytest.mark.slow
@pytest.mark.parametrize("way", ["tabular", "both"])
def test_small_blocks_change_nothing(way, random_hybrid, rng, monkeypatch):
    model, X = random_hybrid("classification", 3), rng.random((24, 6)).astype(np.float32)
    y = rng.integers(0, 3, 24)
    whole = pg.permutation_importance(model, X, y, via=way, groups=GROUPS, n_repeats=2)
    monkeypatch.setattr(measurement, "CALLS_PER_CHUNK", 1)
    monkeypatch.setattr(inputs, "MEMORY", 500)
    blocks, calls = [], []
    prepare, predict = permuted.PermutedNetwork.prepare, permuted.PermutedNetwork.predict
    monkeypatch.setattr(
        permuted.PermutedNetwork, "prepare", lambda self, data, rows: blocks.append(rows) or prepare(self, data, rows)
    )
    monkeypatch.setattr(permuted.PermutedNetwork, "predict", lambda *a: calls.append(len(a[2])) or predict(*a))
    pieces = pg.permutation_importance(
        model, X, y, via=way, groups=GROUPS, n_repeats=2, budget=pg.Budget(max_memory=1500)
    )
    assert len({rows.start for rows in blocks}) > 1 or way == "both"
    assert max(calls) < 10
    np.testing.assert_allclose(pieces.class_scores, whole.class_scores, rtol=1e-5, atol=1e-6)


def first_layer_model(before, activation="relu", n_columns=8, members=1):
    rows = keras.Input((n_columns,))
    x = rows
    for layer in before:
        x = layer(x)
    x = keras.layers.Dense(7, activation)(x) if members == 1 else EnsembleDense(7, members, activation, spread=True)(x)
    x = keras.layers.BatchNormalization()(x)
    if members > 1:
        logits = EnsembleHeads(3, members)(EnsembleDense(5, members, "tanh")(x))
        return keras.Model(rows, keras.layers.Softmax()(EnsembleMean("probabilities")(logits)))
    return keras.Model(rows, keras.layers.Dense(3, "softmax")(keras.layers.Dense(5, "tanh")(x)))


def randomised(model, rng):
    """Random weights; scales positive, edges of bins and their ranks ascending."""
    model.set_weights([rng.uniform(0.5, 1.5, w.shape) * rng.choice([-1, 1], w.shape) for w in model.get_weights()])
    for layer in model.layers:
        for weight in layer.weights:
            if weight.name in ("moving_variance", "span", "spread", "variance"):
                weight.assign(np.abs(keras.ops.convert_to_numpy(weight)))
            if weight.name in ("edges", "ranks"):
                weight.assign(np.sort(keras.ops.convert_to_numpy(weight), axis=0))
    return model


L = keras.layers
SCALING = (
    lambda: L.Normalization(mean=np.arange(8.0), variance=np.arange(1.0, 9.0)),
    lambda: L.Rescaling(0.5, 1.0),
    MinMaxScale,
    Selector,
    lambda: L.BatchNormalization(scale=False),
    lambda: L.Dropout(0.3),
    lambda: L.GaussianNoise(0.1),
)
BEFORE = {
    "nothing": lambda: [],
    "all that scales": lambda: [make() for make in SCALING],  # each alone: see test_first_layer.py
    "ranks": lambda: [QuantileScale(4)],
    "bins": lambda: [MinMaxScale(), PiecewiseLinear(3)],
    "waves": lambda: [MinMaxScale(), Periodic(3, 4)],
    "bins beside numbers": lambda: [
        ColumnMask(np.arange(8) != 6),
        SwapNoise(np.arange(8), 0.5),
        Standardise(),
        NumberBins([1, 2, 6], 3),
    ],
    "ranks, bins and BatchNorm": lambda: [QuantileScale(4), PiecewiseLinear(3), L.BatchNormalization(), Selector()],
}


@pytest.mark.parametrize(
    ("before", "members"),
    [*[(before, 1) for before in BEFORE if before != "bins"], ("all that scales", 3), ("bins", 3)],
)
def test_first_layer_is_updated_behind(before, members, rng, monkeypatch):
    """The sums of the first Dense layer are updated, the numbers are the plain loop's; nothing is recomputed."""
    groups = GROUPS  # with features of one column and of several, which go different ways
    model = randomised(first_layer_model(BEFORE[before](), members=members), rng)
    X, y = rng.normal(size=(60, 8)).astype(np.float32), rng.integers(0, 3, 60)
    monkeypatch.delattr(permuted.Recomputed, "code")
    ranking = pg.permutation_importance(model, X, y, groups=groups, n_repeats=2)
    columns = columns_of(groups, 8)
    plain = plain_permutation(lambda P: predicted(model, P), X, y, groups=columns, n_repeats=2, random_state=0)
    expected = plain.mean(axis=(1, 2))
    np.testing.assert_allclose(ranking.scores, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def one_sigmoid(x):
    return L.Dense(1, "sigmoid")(x)


def two_values(x):
    return L.Dense(2)(x)


@pytest.mark.parametrize("output", [one_sigmoid, two_values])
def test_other_outputs(output, rng):
    """One probability for two classes; a regression of two values, whose squared errors over variances are averaged."""
    rows = keras.Input((4,))
    model = randomised(keras.Model(rows, output(L.Dense(5, "tanh")(rows))), rng)
    X = rng.normal(size=(50, 4)).astype(np.float32)
    y = rng.integers(0, 2, 50) if output is one_sigmoid else rng.normal(size=(50, 2))
    ranking = pg.permutation_importance(model, X, y, n_repeats=2)

    def loss(rows):
        p = predicted(model, rows).astype(float)
        if output is one_sigmoid:
            return -np.log(np.where(y == 1, p[:, 0], 1 - p[:, 0]))
        return ((p - y) ** 2 / y.var(axis=0)).mean(axis=1)

    increase = np.zeros((4, 2, 50))
    for f in range(4):
        for repeat in range(2):
            changed = X.copy()
            changed[:, f] = X[np.random.default_rng([0, f, repeat]).permutation(50), f]
            increase[f, repeat] = loss(changed) - loss(X)
    np.testing.assert_allclose(ranking.scores, increase.mean(axis=(1, 2)), rtol=1e-4, atol=1e-6)
    if output is one_sigmoid:
        by_class = np.stack([increase[:, :, y == c].mean(axis=(1, 2)) for c in (0, 1)], axis=1)
        np.testing.assert_allclose(ranking.class_scores, by_class, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_groups_of_many_columns_are_taken_in_narrow_calls(rng, monkeypatch):
    """What changes is never a matrix larger than the network's widest tensor; the numbers are the plain loop's."""
    X, y = rng.normal(size=(40, 300)).astype(np.float32), rng.normal(size=40)
    rows = keras.Input((300,))
    model = keras.Model(rows, L.Dense(1)(L.Dense(8, "relu")(rows)))
    groups = {"wide": range(200), "one": [200], **{f"g{i}": range(201 + 3 * i, 204 + 3 * i) for i in range(33)}}
    groups = {name: list(columns) for name, columns in groups.items()}
    shapes = []
    arguments = permuted.Updated.arguments

    def seen(*given):
        tensors = arguments(*given)
        shapes.append(tuple(tensors[0].shape))
        return tensors

    monkeypatch.setattr(permuted.Updated, "arguments", seen)
    monkeypatch.setattr(permuted, "CALL_FLOATS", 4000)
    monkeypatch.setattr(permuted, "WIDE_CALL", (1, 1))
    ranking = pg.permutation_importance(model, X, y, groups=groups, n_repeats=2)
    assert max(np.prod(shape) for shape in shapes if len(shape) == 2) <= 4000 * 8
    widths = {shape[1] for shape in shapes if len(shape) == 2}
    assert 256 in widths
    assert max(widths - {256}) <= 64
    plain = plain_permutation(
        lambda P: predicted(model, P), X, y, groups=list(groups.values()), n_repeats=2, random_state=0
    )
    np.testing.assert_allclose(ranking.scores, plain.mean(axis=(1, 2)), rtol=1e-4, atol=1e-5)


def column_mixing():
    rows = keras.Input((8,))
    return keras.Model(rows, L.Dense(3, "softmax")(L.LayerNormalization()(rows)))


def shifting_what_is_bent():
    """The fast way knows a scaling by its factor alone, and bins need its shift."""
    rows = keras.Input((8,))
    return keras.Model(rows, L.Dense(3, "softmax")(PiecewiseLinear(3)(L.Rescaling(0.5, 0.2)(rows))))


def skipping():
    rows = keras.Input((8,))
    return keras.Model(rows, L.Dense(3, "softmax")(L.Concatenate()([rows, L.Dense(4, "relu")(rows)])))


def convolving():
    rows = keras.Input((8,))
    x = L.Flatten()(L.Conv1D(3, 2)(L.Reshape((8, 1))(rows)))
    return keras.Model(rows, L.Dense(3, "softmax")(x))


@pytest.mark.parametrize("build", [column_mixing, shifting_what_is_bent, skipping, convolving])
def test_any_other_network_is_recomputed(build, rng):
    model, groups = randomised(build(), rng), GROUPS
    X, y = rng.normal(size=(40, 8)).astype(np.float32), rng.integers(0, 3, 40)
    assert first_layer(model) is None
    ranking = pg.permutation_importance(model, X, y, groups=groups, n_repeats=2)
    columns = columns_of(groups, 8)
    plain = plain_permutation(lambda P: predicted(model, P), X, y, groups=columns, n_repeats=2, random_state=0)
    np.testing.assert_allclose(ranking.scores, plain.mean(axis=(1, 2)), rtol=1e-4, atol=1e-5)


def test_rows_that_keep_their_value_are_not_computed(rng, monkeypatch):
    X = rng.normal(size=(200, 3)).astype(np.float32)
    X[:, 1] = 4.0
    X[:, 2] = np.arange(200) < 10
    computed = []
    predict = permuted.PermutedNetwork.predict

    def counted(self, data, pairs, *rest):
        computed.append(pairs)
        return predict(self, data, pairs, *rest)

    monkeypatch.setattr(permuted.PermutedNetwork, "predict", counted)
    monkeypatch.setattr(permuted, "CALL_FLOATS", 1)  # one pair a call, so none is padding
    monkeypatch.setattr(permuted, "WIDE_CALL", (1, 1))
    monkeypatch.setattr(measurement, "CALLS_PER_CHUNK", 10_000)
    pg.permutation_importance(linear_model([1.0, 2.0, 3.0]), X, X[:, 0], n_repeats=1)
    feature = np.concatenate([pairs.feature for pairs in computed[200:]])  # before, nothing is permuted
    assert 195 <= (feature == 0).sum() <= 200
    assert (feature == 1).sum() == 0
    assert 2 <= (feature == 2).sum() <= 20


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_ranks_as_float32_does(precision, layout, rng):
    """The same weights: scores differ by less than repeats do, and losses are float32's to half precision."""
    from permgrad.models.hybrid import HybridConfig, build_hybrid

    def build(precision):
        config = HybridConfig(dense_units=(32,), n_conv_layers=1, base_filters=4, head_units=(16,), precision=precision)
        return build_hybrid(config, 6, 3, layout=layout, task="classification")

    full, half = build("float32"), build(precision)
    full.set_weights([w * 2 for w in full.get_weights()])
    half.set_weights(full.get_weights())
    X, y = rng.random((300, 6)).astype(np.float32), rng.integers(0, 3, 300)
    expected, ranking = (pg.permutation_importance(m, X, y, via="both", n_repeats=5) for m in (full, half))
    assert ranking.settings["baseline_loss"] == pytest.approx(expected.settings["baseline_loss"], rel=0.01)
    assert (np.abs(ranking.scores - expected.scores) < expected.std).all()
    assert (ranking.scores != expected.scores).any()


def beside(body):
    """A table and an image; the table's rows are permuted."""
    table, image = keras.Input((5,)), keras.Input((6, 6, 1))
    return keras.Model([table, image], body(L.Dense(4, "relu")(table), L.Flatten()(L.Conv2D(2, 3)(image))))


def past_the_meeting(code, seen):
    met = L.Dense(8, "relu")(L.Concatenate()([code, seen]))
    return L.Dense(1)(L.Concatenate()([met, seen]))


def into_a_dense_layer(code, seen):
    return L.Dense(1)(L.Concatenate()([code, seen]))


@pytest.mark.parametrize(("body", "quantized"), [(past_the_meeting, False), (into_a_dense_layer, True)])
def test_meetings_that_cannot_be_split(body, quantized, rng):
    """A code that goes past the meeting too; a kernel that is not what the layer multiplies by."""
    model = randomised(beside(body), rng)
    if quantized:
        model.layers[-1].quantize("int8")
    T, P = rng.normal(size=(40, 5)).astype(np.float32), rng.random((40, 6, 6, 1)).astype(np.float32)
    y = rng.normal(size=40)
    ranking = pg.permutation_importance(model, [T, P], y, n_repeats=2)
    plain = plain_permutation(
        lambda rows: predicted(model, [rows, P]),
        T,
        y,
        groups=[[i] for i in range(5)],
        n_repeats=2,
        random_state=0,
    )
    expected = plain.mean(axis=(1, 2))
    np.testing.assert_allclose(ranking.scores, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.slow
def test_image_given_as_an_input_of_its_own(layout, rng):
    """Only the feature's own pixel changes, in all channels; in both branches, by the same row order."""
    table, image = keras.Input((6,)), keras.Input((8, 8, 2))
    seen = L.Flatten()(L.Conv2D(3, 3, activation="relu")(image))
    met = L.Concatenate()([L.Dense(4, "relu")(table), seen])
    model = randomised(keras.Model([table, image], L.Dense(1)(met)), rng)
    T, P = rng.random((40, 6)).astype(np.float32), rng.random((40, 8, 8, 2)).astype(np.float32)
    y = rng.random(40)
    for way in ("image", "both"):
        ranking = pg.permutation_importance(model, [T, P], y, via=way, layout=layout, n_repeats=2)
        assert ranking.features == layout.features
        for f in range(6):
            increases = []
            for repeat in range(2):
                order = np.random.default_rng([0, f, repeat]).permutation(40)
                changed, table_rows = P.copy(), T.copy()
                changed[:, layout.rows[f], layout.cols[f]] = P[order, layout.rows[f], layout.cols[f]]
                if way == "both":
                    table_rows[:, f] = T[order, f]
                before, after = (predicted(model, rows)[:, 0] for rows in ([T, P], [table_rows, changed]))
                increases.append(np.mean((after - y) ** 2) - np.mean((before - y) ** 2))
            np.testing.assert_allclose(ranking.scores[f], np.mean(increases), rtol=1e-4, atol=1e-4)


def test_other_arrays(rng, tmp_path):
    """Rows in a file or sparse give the very numbers of an array; a feature of several columns too."""
    X = (rng.normal(size=(50, 8)) * (rng.random((50, 8)) < 0.4)).astype(np.float32)
    y = rng.integers(0, 3, 50)
    model = randomised(first_layer_model([MinMaxScale()]), rng)
    arrays = {"csr": sparse.csr_array(X), "csc": sparse.csc_matrix(X)}
    arrays |= {"on disk": RowsOnDisk(X), "sparse on disk": RowsOnDisk(sparse.csr_matrix(X))}
    for dtype in (np.float32, np.float64):
        arrays[dtype.__name__] = np.memmap(tmp_path / dtype.__name__, dtype, "w+", shape=X.shape)
        arrays[dtype.__name__][:] = X
    expected = pg.permutation_importance(model, X, y, groups=GROUPS)
    for kind, given in arrays.items():
        assert pg.permutation_importance(model, given, y, groups=GROUPS) == expected, kind


def test_time_limit_and_checkpoint(rng, tmp_path, monkeypatch):
    X, y = rng.normal(size=(30, 8)).astype(np.float32), rng.integers(0, 3, 30)
    model = randomised(first_layer_model([]), rng)
    names = list("abcdefgh")
    whole = pg.permutation_importance(model, X, y, features=names)
    monkeypatch.setattr(measurement, "CALLS_PER_CHUNK", 0)  # one feature between two looks at the clock
    file = tmp_path / "kept.npz"
    first = pg.permutation_importance(model, X, y, features=names, budget=pg.Budget(timeout=1e-9, checkpoint=file))
    assert first.pending == tuple(names[1:])
    assert first.select(1) == ["a"]
    assert first.table["measured"].tolist() == [True] + [False] * 7
    assert pg.FeatureRanking.from_dict(first.to_dict()) == first
    measured = []
    change = measurement.Measurement._measure
    monkeypatch.setattr(
        measurement.Measurement, "_measure", lambda self, chunk: measured.extend(chunk) or change(self, chunk)
    )
    second = pg.permutation_importance(model, X, y, features=names, budget=pg.Budget(timeout=1e-9, checkpoint=file))
    assert (measured, second.pending) == ([1], tuple(names[2:]))
    last = pg.permutation_importance(model, X, y, features=names, budget=pg.Budget(checkpoint=file))
    assert measured == [1, 2, 3, 4, 5, 6, 7]
    np.testing.assert_allclose(last.class_scores, whole.class_scores, rtol=1e-5, atol=1e-7)
    again = pg.permutation_importance(model, X, y, features=names, budget=pg.Budget(checkpoint=file))
    assert again.scores.tolist() == last.scores.tolist()
    assert last.pending == ()


def test_what_is_done_survives_an_interrupt(rng, tmp_path, monkeypatch):
    X, y = rng.normal(size=(30, 8)).astype(np.float32), rng.integers(0, 3, 30)
    model = randomised(first_layer_model([]), rng)
    monkeypatch.setattr(measurement, "CALLS_PER_CHUNK", 0)
    change = measurement.Measurement._measure

    def interrupted(self, chunk):
        if chunk == [3]:
            raise KeyboardInterrupt
        return change(self, chunk)

    with monkeypatch.context() as patch:
        patch.setattr(measurement.Measurement, "_measure", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pg.permutation_importance(model, X, y, budget=pg.Budget(checkpoint=tmp_path / "kept"))
    measured = []
    monkeypatch.setattr(
        measurement.Measurement, "_measure", lambda self, chunk: measured.extend(chunk) or change(self, chunk)
    )
    ranking = pg.permutation_importance(model, X, y, budget=pg.Budget(checkpoint=tmp_path / "kept"))
    assert measured == [3, 4, 5, 6, 7]
    np.testing.assert_allclose(ranking.scores, pg.permutation_importance(model, X, y).scores, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"random_state": 1}, "another random_state;"),
        ({"n_repeats": 2}, "another n_repeats;"),
        ({"y": np.arange(5) / 2}, "another data;"),
        ({"model": [1.0, 3.0]}, "another model;"),
        ({"groups": {"x0": [1], "x1": [0]}}, "another columns;"),
        ({"features": ["a", "b"]}, "another features;"),
    ],
)
def test_checkpoint_of_other_work_is_refused(change, message, tmp_path):
    arguments = {"model": [1.0, 2.0], "inputs": np.eye(5)[:, :2], "y": np.arange(5)}
    arguments["budget"] = pg.Budget(checkpoint=tmp_path / "kept")
    given = [arguments, {**arguments, **change}]
    first, second = ({**a, "model": linear_model(a["model"])} for a in given)
    pg.permutation_importance(**first)
    with pytest.raises(pg.PermGradError, match=message):
        pg.permutation_importance(**second)


def test_checkpoint_of_a_network_that_was_saved_and_loaded(rng, tmp_path):
    """Training advances the states of dropout, which a file does not hold; and layers are named anew."""

    def build():
        rows = keras.Input((4,))
        inner = keras.Sequential([keras.Input((4,)), L.Dropout(0.2), L.Dense(3, "relu")])
        return keras.Model(rows, L.Dense(1)(L.Dropout(0.5)(inner(rows))))

    model, X, y = build(), rng.normal(size=(20, 4)).astype(np.float32), rng.random(20)
    model.compile("sgd", "mse")
    model.fit(X, y, verbose=0)
    model.save(tmp_path / "m.keras")
    first = pg.permutation_importance(model, X, y, budget=pg.Budget(checkpoint=tmp_path / "kept"))
    loaded = keras.models.load_model(tmp_path / "m.keras")
    again = build()
    again.set_weights(model.get_weights())
    for other in (loaded, again):
        assert (
            pg.permutation_importance(other, X, y, budget=pg.Budget(checkpoint=tmp_path / "kept")).scores.tolist()
            == first.scores.tolist()
        )


@pytest.mark.parametrize("content", [b"", b"no zip", "empty.npz", "array.npy"])
def test_damaged_checkpoint(content, tmp_path):
    file = tmp_path / "kept"
    if content == "array.npy":
        with file.open("wb") as stream:
            np.save(stream, np.ones(3))
    elif isinstance(content, bytes):
        file.write_bytes(content)
    else:
        with file.open("wb") as stream:
            np.savez(stream, a=np.ones(3))
    with pytest.raises(pg.FileFormatError, match="is not a checkpoint"):
        pg.permutation_importance(
            linear_model([1.0, 2.0]), np.ones((5, 2)), np.arange(5), budget=pg.Budget(checkpoint=file)
        )
    assert file.exists()


def test_linear_model_has_known_importance(rng):
    """Squared error of a perfect linear model: permuting column j adds 2 w_j² var(x_j)."""
    X = rng.normal(size=(20_000, 3)).astype(np.float32)
    weights = [3.0, 0.0, -1.0]
    ranking = pg.permutation_importance(linear_model(weights), X, X @ np.array(weights), n_repeats=2)
    np.testing.assert_allclose(ranking.scores, 2 * np.square(weights), rtol=0.05, atol=1e-6)


def test_only_the_tabular_branch_is_permuted(rng):
    """A model that uses its image alone has no permutation importance, though image and column are one feature."""
    table, image = keras.Input((2,)), keras.Input((4, 4, 1))
    code = keras.layers.Dense(2, kernel_initializer="zeros")(table)
    seen = keras.layers.Flatten()(keras.layers.Conv2D(2, 3)(image))
    model = keras.Model([table, image], keras.layers.Dense(1)(keras.layers.Concatenate()([code, seen])))
    ranking = pg.permutation_importance(model, [rng.random((30, 2)), rng.random((30, 4, 4, 1))], rng.random(30))
    np.testing.assert_allclose(ranking.scores, 0, atol=1e-12)


def test_names_come_from_the_frame_and_seeds_count(rng):
    X = pd.DataFrame(rng.normal(size=(40, 2)), columns=["a", "b"])
    y = X["a"].to_numpy()
    model = linear_model([1.0, 0.5])
    first = pg.permutation_importance(model, X, y, random_state=1)
    assert first.features == ("a", "b")
    assert first == pg.permutation_importance(model, X, y, random_state=1)
    assert first != pg.permutation_importance(model, X, y, random_state=2)


def test_class_without_rows_scores_zero(random_hybrid, rng):
    X, y = rng.random((30, 6)), np.tile([0, 2], 15)
    ranking = pg.permutation_importance(random_hybrid("classification", 3), X, y, classes=["a", "b", "c"])
    assert ranking.classes == ("a", "b", "c")
    assert (ranking.class_scores[:, 1] == 0).all()
    np.testing.assert_allclose(ranking.class_scores[:, [0, 2]].mean(axis=1), ranking.scores, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_repeats": 0}, "n_repeats must be between 1 and 100,000"),
        ({"y": np.zeros(3)}, "same number of rows"),
        ({"inputs": np.zeros((5, 4))}, "shape"),
        ({"groups": {"a": [9]}}, "not so: 9; give names, or positions from 0 to 1"),
        ({"groups": {"a": [True, False]}}, "name columns of the table, not so: True"),
        ({"groups": {}}, "at least one feature"),
        ({"features": ["a", "a"]}, "must differ"),
        ({"features": ["a"]}, "2 feature names"),
        ({"via": "head"}, "'tabular', 'image' or 'both'"),
        ({"via": "both"}, "one image branch, this one has 0"),
        ({"budget": pg.Budget(checkpoint="/absent/kept.npz")}, "no such directory"),
        ({"inputs": np.full((5, 2), np.nan)}, "finite"),
        ({"inputs": sparse.csr_array(np.full((5, 2), np.inf))}, "finite"),
    ],
)
def test_bad_input(change, message):
    arguments = {"inputs": np.zeros((5, 2)), "y": np.arange(5), **change}
    with pytest.raises(pg.PermGradError, match=message):
        pg.permutation_importance(linear_model([1.0, 2.0]), **arguments)


def test_image_model_has_no_tabular_branch(random_hybrid):
    with pytest.raises(pg.PermGradError, match="one tabular branch, this one has 0"):
        pg.permutation_importance(random_hybrid("regression", 1, ("image",)), np.zeros((5, 6)), np.arange(5))


@pytest.mark.slow
@pytest.mark.parametrize("via", ["tabular", "both"])
def test_a_column_that_is_one_value_in_these_rows_scores_zero(random_hybrid, layout, rng, via):
    """No row changes when it is permuted: not one of a call, nor of a chunk, nor of all."""
    model = random_hybrid("classification", 2)
    y = rng.integers(0, 2, 40)
    for groups in ({str(i): [i] for i in range(6)}, {"pair": [0, 3], "triple": [1, 2, 4], "one": [5]}):
        for alike in ([next(iter(groups))], list(groups)):
            X = rng.random((40, 6)).astype(np.float32)
            X[:, [column for name in alike for column in groups[name]]] = 0.5
            ranking = pg.permutation_importance(model, X, y, via=via, layout=layout, n_repeats=2, groups=groups)
            same = np.isin(ranking.features, alike)
            np.testing.assert_array_equal(ranking.scores[same], 0)
            np.testing.assert_array_equal(ranking.p_values[same], 1)
            assert (ranking.scores[~same] != 0).all()


def test_whole_numbers_that_float32_merges_are_refused(rng):
    X = (2**24 + 1 + rng.integers(0, 2000, (30, 1))).astype(np.int64)
    row = keras.Input((1,))
    model = keras.Model(row, keras.layers.Dense(1, "sigmoid")(row))
    with pytest.raises(pg.PermGradError, match="whole numbers that float32 cannot tell apart"):
        pg.permutation_importance(model, X, X[:, 0] % 2)
    pg.permutation_importance(model, X // 2 * 2, X[:, 0] % 2)  # even ones are exact up to 2**25
    row = keras.Input((1,), dtype="int8")
    model = keras.Model(row, keras.layers.Dense(1, "sigmoid")(keras.layers.Rescaling(1.0)(row)))
    with pytest.raises(pg.PermGradError, match="whole numbers that int8 cannot tell apart"):
        pg.permutation_importance(model, X, X[:, 0] % 2)


@keras.saving.register_keras_serializable("test")
class Parity(keras.layers.Layer):
    """Whether a whole number is odd: what float32 does not tell above 2**24."""

    def call(self, x):
        return x % 2

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, x.dtype)


def test_whole_numbers_reach_a_model_that_takes_them(rng):
    """Ids above 2**24, told apart by their parity alone, and an image of bytes whose differences are negative."""
    ids = 2**24 + 1 + rng.integers(0, 2000, (60, 2))
    rows = keras.Input((2,), dtype="int32")
    parity = L.Embedding(2, 1, embeddings_initializer=keras.initializers.Constant([[-1.0], [1.0]]))(Parity()(rows))
    model = keras.Model(rows, L.Dense(1)(L.Flatten()(parity)))
    y = rng.normal(size=60)
    columns = [[0], [1]]
    plain = plain_permutation(lambda P: predicted(model, P), ids, y, groups=columns, n_repeats=2, random_state=0)
    for given in (ids, ids.astype(np.int32)):
        ranking = pg.permutation_importance(model, given, y, n_repeats=2)
        np.testing.assert_allclose(ranking.scores, plain.mean(axis=(1, 2)), rtol=1e-5, atol=1e-6)
    assert np.abs(ranking.scores).min() > 0
    image = keras.Input((6, 6, 1), dtype="uint8")
    seen = L.Conv2D(2, 3, activation="relu")(L.Rescaling(1 / 255)(image))
    model = randomised(keras.Model(image, L.Dense(1)(L.Flatten()(seen))), rng)
    pictures = rng.integers(0, 256, (60, 6, 6, 1)).astype(np.uint8)
    one = pg.FeatureLayout(("a", "b"), *np.array([[2, 5], [3, 5]], np.int32), (6, 6), *np.eye(2), "by hand")
    ranking = pg.permutation_importance(model, pictures, y, via="image", layout=one, n_repeats=1)
    order, changed = np.random.default_rng([0, 0, 0]).permutation(60), pictures.copy()
    changed[:, 2, 3] = pictures[order, 2, 3]
    before, after = (predicted(model, rows)[:, 0].astype(float) for rows in (pictures, changed))
    np.testing.assert_allclose(ranking.scores[0], np.mean((after - y) ** 2 - (before - y) ** 2), rtol=1e-4)
