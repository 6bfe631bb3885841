"""Every explainer and every log measures what Keras's own loss measures, however a network ends."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import permgrad as pg
from permgrad.backend import keras
from permgrad.importance.network.partial_model import PartialModel
from permgrad.training.evaluation_log import evaluate_network

L = keras.layers
N, SIZE = 60, 8
BINARY_OF_LOGITS = keras.losses.BinaryCrossentropy(from_logits=True)
SPARSE_OF_LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

KINDS = {  # name → (outputs, activation, loss, target, classes)
    "sigmoid": (1, "sigmoid", "binary_crossentropy", "bits", 2),
    "logit": (1, None, BINARY_OF_LOGITS, "bits", 2),
    "softmax": (3, "softmax", "sparse_categorical_crossentropy", "numbers", 3),
    "logits": (3, None, SPARSE_OF_LOGITS, "numbers", 3),
    "one-hot logits": (3, None, keras.losses.CategoricalCrossentropy(from_logits=True), "one-hot", 3),
    "shares by a sigmoid": (1, "sigmoid", "binary_crossentropy", "shares", 0),
    "shares by a logit": (1, None, BINARY_OF_LOGITS, "shares", 0),
    "shares by a softmax": (3, "softmax", "categorical_crossentropy", "soft", 0),
    "labels by sigmoids": (3, "sigmoid", "binary_crossentropy", "labels", 0),
    "labels by logits": (3, None, BINARY_OF_LOGITS, "labels", 0),
    "value": (1, None, "mse", "values", 0),
    "values": (3, None, "mse", "several values", 0),
    "shares as values": (1, "sigmoid", "mse", "shares", 0),
}


def target(kind: str) -> np.ndarray:
    rng = np.random.default_rng(5)
    soft, several = rng.random((N, 3)), rng.normal(size=(N, 3))
    return {
        "bits": rng.integers(0, 2, N),
        "numbers": rng.integers(0, 3, N),
        "one-hot": np.eye(3)[rng.integers(0, 3, N)],
        "shares": rng.random(N),
        "soft": soft / soft.sum(axis=1, keepdims=True),
        "labels": rng.integers(0, 2, (N, 3)),
        "values": rng.normal(size=N),
        "several values": several / several.std(axis=0),  # in units of their variance, they are as Keras takes them
    }[kind]


@pytest.fixture(scope="module")
def frame():
    return pd.DataFrame(np.random.default_rng(1).normal(size=(N, 5)), columns=list("abcde"))


@pytest.fixture(scope="module")
def layout(frame):
    return pg.fit_layout(frame, size=SIZE)


def network(n_outputs, activation, loss, seed=3, image=True):
    """A row and its image, random weights."""
    keras.utils.set_random_seed(seed)
    row, picture = keras.Input((5,), name="row"), keras.Input((SIZE, SIZE, 1), name="picture")
    code = L.Dense(8, "tanh")(row)
    if image:
        code = L.Concatenate()([code, L.Flatten()(L.Conv2D(4, 3, activation="relu")(picture))])
    model = keras.Model([row, picture] if image else row, L.Dense(n_outputs, activation)(code))
    model.compile("sgd", loss)
    return model


def measured(model, loss, inputs, y):
    """Return Keras's own mean loss."""
    y = y.astype(np.float32) if y.ndim == 2 else y[:, None].astype(np.float32)
    return float(keras.ops.mean(keras.losses.get(loss)(y, model(inputs))))


@pytest.mark.slow
@pytest.mark.backend
def test_the_explainers_measure_the_loss(frame, layout):
    """All losses that rankings are made of are Keras's own, of rows as they are and permuted."""
    inputs = [layout.scale(frame), layout.render(frame)]
    for kind, (n_outputs, activation, loss, of, n_classes) in KINDS.items():
        model, y = network(n_outputs, activation, loss), target(of)
        keras_loss = measured(model, loss, inputs, y)
        assert pg.branch_weights(model, inputs, y).losses["tabular+image"] == pytest.approx(keras_loss, rel=1e-5), kind
        ranking = pg.permutation_importance(model, inputs, y, layout=layout, n_repeats=1)
        assert ranking.settings["baseline_loss"] == pytest.approx(keras_loss, rel=1e-5), kind
        assert len(ranking.classes or ()) == n_classes, kind
        permuted = inputs[0].copy()
        permuted[:, 2] = permuted[np.random.default_rng([0, 2, 0]).permutation(N), 2]
        increase = measured(model, loss, [permuted, inputs[1]], y) - keras_loss
        assert ranking.scores[2] == pytest.approx(increase, abs=1e-5), kind


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:this network's")
def test_the_whole_ranking_is_of_one_kind(frame, layout):
    """Grad-CAM has as many classes as permutation has, so that the two can be fused."""
    inputs = [layout.scale(frame), layout.render(frame)]
    for kind in ("logit", "logits", "shares by a logit", "labels by sigmoids", "values"):
        n_outputs, activation, loss, of, n_classes = KINDS[kind]
        ranking = pg.rank_features(
            network(n_outputs, activation, loss), inputs, target(of), layout=layout, n_repeats=1, formula="fused"
        )
        for part in ranking.components.values():
            assert len(part.classes or ()) == n_classes, kind
        assert all(part.scores.max() > 0 for part in ranking.components.values()), kind


@pytest.mark.backend
def test_a_logit_is_ranked_as_the_sigmoid_of_it(frame, layout):
    """The same network with a sigmoid, or softmax, on top gives the same scores, heat and weights."""
    inputs = [layout.scale(frame), layout.render(frame)]
    for of, logits, loss, activation in (
        ("bits", "logit", "binary_crossentropy", "sigmoid"),
        ("numbers", "logits", "sparse_categorical_crossentropy", "softmax"),
    ):
        model, y = network(*KINDS[logits][:3]), target(of)
        same = keras.Model(model.inputs, L.Activation(activation)(model.outputs[0]))
        same.compile("sgd", loss)
        ours, theirs = (pg.permutation_importance(m, inputs, y, layout=layout, n_repeats=2) for m in (model, same))
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-5)
        np.testing.assert_allclose(ours.class_scores, theirs.class_scores, atol=1e-5)
        ours, theirs = (pg.grad_cam(m, inputs, layout) for m in (model, same))
        assert ours.classes == theirs.classes
        np.testing.assert_allclose(ours.class_scores, theirs.class_scores, atol=1e-5)
        ours, theirs = (pg.branch_weights(m, inputs, y).weights["image"] for m in (model, same))
        assert ours == pytest.approx(theirs, abs=1e-5)


def test_what_is_ambiguous_is_said_by_every_explainer(frame, layout):
    """A network that says nothing of its output, and 0 and 1: not squared error unsaid, and not classes unsaid."""
    inputs, y = [layout.scale(frame), layout.render(frame)], target("bits")
    model = network(1, None, None)
    for explain in (pg.permutation_importance, pg.branch_weights):
        with pytest.raises(pg.PermGradError, match="task='classification'"):
            explain(model, inputs, y)
    with pytest.raises(pg.PermGradError, match="task='classification'"):
        pg.rank_features(model, inputs, y, layout=layout)
    given = {"layout": layout, "n_repeats": 1}
    logit = network(*KINDS["logit"][:3])
    said = pg.permutation_importance(model, inputs, y, task="classification", **given)
    np.testing.assert_array_equal(said.scores, pg.permutation_importance(logit, inputs, y, **given).scores)
    assert pg.permutation_importance(model, inputs, y, task="regression", **given).classes is None
    maps = pg.grad_cam_maps(model, inputs, task="classification")
    np.testing.assert_array_equal(maps, pg.grad_cam_maps(logit, inputs))
    assert pg.grad_cam_maps(model, inputs).shape[-1] == 1
    assert pg.grad_cam(model, inputs, layout, classes=["no", "yes"]).classes == ("no", "yes")


def test_outputs_are_no_classes_unless_they_are(frame, layout):
    """Two values of a regression have no class names; their heat is averaged."""
    inputs = [layout.scale(frame), layout.render(frame)]
    ranking = pg.grad_cam(network(2, None, "mse"), inputs, layout)
    assert ranking.classes is None
    maps = pg.grad_cam_maps(network(2, None, "mse"), inputs)
    assert maps.shape[-1] == 2


def test_one_head_of_several(frame, layout):
    """A head is explained as the model that has no other."""
    inputs = [layout.scale(frame), layout.render(frame)]
    first, second = network(1, None, "mse"), network(3, "softmax", "sparse_categorical_crossentropy", seed=4)
    both = keras.Model(first.inputs, [first.outputs[0], second(first.inputs)])
    both.compile("sgd", ["mse", "sparse_categorical_crossentropy"])
    given = {"layout": layout, "n_repeats": 1}
    scores = [
        pg.permutation_importance(both, inputs, target("values"), output=0, **given).scores,
        pg.grad_cam(both, inputs, layout, output=0).scores,
    ]
    alone = [
        pg.permutation_importance(first, inputs, target("values"), **given).scores,
        pg.grad_cam(first, inputs, layout).scores,
    ]
    np.testing.assert_allclose(scores, alone, rtol=1e-5)
    # The other head is a model within a layer: from outside it is the meeting of its branches.
    losses = [pg.branch_weights(m, inputs, target("numbers"), output=at).losses for m, at in ((both, 1), (second, 0))]
    assert list(losses[0].values())[-1] == pytest.approx(list(losses[1].values())[-1], rel=1e-5)
    with pytest.raises(pg.PermGradError, match="say which to explain; pass output="):
        pg.rank_features(both, inputs, target("values"), layout=layout)


@pytest.mark.parametrize("kind", ["sigmoid", "logit", "logits"])
def test_logs_and_curves_measure_it_too(kind, rng):
    """Accuracy, loss and ranks of a network that ends in one sigmoid, one logit or logits, against plain numpy."""
    n_outputs, activation, loss, of, n_classes = KINDS[kind]
    X, y = rng.normal(size=(N, 5)).astype(np.float32), target(of)
    model = network(n_outputs, activation, loss, image=False)
    model.optimizer.learning_rate = 0.0
    raw = model.predict(X, verbose=0)
    guess = (raw[:, 0] > (0.5 if activation else 0)).astype(int) if n_outputs == 1 else raw.argmax(axis=1)
    accuracy, mean_loss = np.mean(guess == y), model.evaluate(X, y, verbose=0)
    curve = pg.masking_curve(model, X, y, np.arange(5), counts=[0, 5])
    assert curve["accuracy"][1] == pytest.approx(accuracy)
    assert curve["loss"][1] == pytest.approx(mean_loss, rel=1e-5)
    said = evaluate_network(model, X, y)
    assert (said["accuracy"], said["loss"]) == (pytest.approx(accuracy), pytest.approx(mean_loss, rel=1e-5))
    names = ["accuracy", "neg_log_loss", *(["roc_auc"] if n_classes == 2 else [])]
    log = pg.EpochScores(names, {"all": (X, y)})
    model.fit(X, y, epochs=1, verbose=0, callbacks=[log])
    values = log.table.set_index("score")["value"]
    assert values["accuracy"] == pytest.approx(accuracy)
    assert values["neg_log_loss"] == pytest.approx(-mean_loss, rel=1e-5)
    if n_classes == 2:
        assert values["roc_auc"] == pytest.approx(roc_auc_score(y, raw[:, 0]))
    part = PartialModel(model, X, np.array([0, 2]))
    assert part.predict_proba(X[:, [0, 2]]).shape == (N, n_classes)
    assert np.mean(part.predict(X[:, [0, 2]]) == y) == pytest.approx(accuracy)


def test_curves_and_logs_of_accuracy_refuse_values(rng):
    X = rng.normal(size=(N, 5)).astype(np.float32)
    value, shares = network(1, None, "mse", image=False), network(1, None, BINARY_OF_LOGITS, image=False)
    for model, y in ((value, target("bits")), (shares, target("shares"))):
        with pytest.raises(pg.PermGradError, match="a masking curve is of classes"):
            pg.masking_curve(model, X, y, np.arange(5))
        with pytest.raises(pg.PermGradError, match="accuracy needs classes"):
            evaluate_network(model, X, y)
    log = pg.EpochScores(["r2"], {"all": (X, target("several values"))})
    network(3, None, "mse", image=False).fit(X, target("several values"), verbose=0, callbacks=[log])
    assert np.isfinite(log.table["value"]).all()
