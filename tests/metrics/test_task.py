"""What a network's output means, and losses from probabilities and from logits, against formulas written out."""

from __future__ import annotations

import numpy as np
import pytest

import permgrad as pg
from permgrad.metrics.losses import cross_entropy
from permgrad.metrics.task import Output, Task, understand

HALVES, BITS, NUMBERS = np.array([0.5, 0.25, 1.0]), np.array([0, 1, 1]), np.array([0, 2, 1])
ONE_HOT, LABELS = np.eye(3)[NUMBERS], np.array([[1, 1, 0], [0, 0, 0], [0, 1, 0]])
SHARES, VALUES = np.full((3, 3), 1 / 3), np.array([0.3, -7.0, 2.0])
SIGMOID, LOGIT, SOFTMAX = Task(1, "sigmoid"), Task(1, "sigmoid", logits=True), Task(3, "softmax")
LOGITS, YES_NO = Task(3, "softmax", logits=True), Task(3, "sigmoid")


def of_classes(task: Task, n: int) -> Task:
    return Task(task.width, task.link, task.logits, n)


@pytest.mark.parametrize(
    ("output", "y", "expected"),
    [
        # one output
        (Output(1, "sigmoid"), BITS, of_classes(SIGMOID, 2)),
        (Output(1, "sigmoid", "binary"), BITS[:, None], of_classes(SIGMOID, 2)),
        (Output(1, "sigmoid", "binary"), HALVES, SIGMOID),
        (Output(1, "sigmoid", "values"), HALVES, Task(1)),
        (Output(1, "linear", "binary", from_logits=True), BITS, of_classes(LOGIT, 2)),
        (Output(1, "linear", "binary", from_logits=True), HALVES, LOGIT),
        (Output(1, "", "binary"), BITS.astype(bool), of_classes(SIGMOID, 2)),
        (Output(1, "linear", "values"), BITS, Task(1)),
        (Output(1, "linear"), VALUES, Task(1)),
        (Output(1, "linear"), NUMBERS, Task(1)),
        # several
        (Output(3, "softmax"), NUMBERS.astype(float), of_classes(SOFTMAX, 3)),
        (Output(3, "softmax", "categorical"), ONE_HOT, of_classes(SOFTMAX, 3)),
        (Output(3, "softmax", "binary"), ONE_HOT, of_classes(SOFTMAX, 3)),
        (Output(3, "softmax", "categorical"), SHARES, SOFTMAX),
        (Output(3, "softmax", "values"), NUMBERS, of_classes(SOFTMAX, 3)),
        (Output(3, "softmax", "values"), SHARES, Task(3)),
        (Output(3, "linear", "categorical", from_logits=True), ONE_HOT, of_classes(LOGITS, 3)),
        (Output(3, "linear"), NUMBERS, of_classes(LOGITS, 3)),
        (Output(3, ""), NUMBERS, of_classes(SOFTMAX, 3)),
        (Output(3, "linear", "values"), ONE_HOT, Task(3)),
        (Output(3, "linear"), np.outer(VALUES, VALUES), Task(3)),
        (Output(3, "sigmoid", "binary"), LABELS, YES_NO),
        (Output(3, "sigmoid"), ONE_HOT, YES_NO),
        (Output(3, "sigmoid", "binary"), NUMBERS, of_classes(YES_NO, 3)),
        (Output(3, "sigmoid", "categorical"), ONE_HOT, of_classes(YES_NO, 3)),
        (Output(3, "linear", "binary", from_logits=True), LABELS, Task(3, "sigmoid", logits=True)),
        # the output alone
        (Output(1, "sigmoid"), None, of_classes(SIGMOID, 2)),
        (Output(3, "softmax"), None, of_classes(SOFTMAX, 3)),
        (Output(3, "sigmoid", "binary"), None, YES_NO),
        (Output(1, "linear", "binary", from_logits=True), None, of_classes(LOGIT, 2)),
        (Output(3, "linear"), None, Task(3)),
    ],
)
def test_what_an_output_means(output, y, expected):
    task, values, classes = understand(output, y)
    assert task == expected
    assert classes == (tuple(map(str, range(task.n_classes))) if task.n_classes else None)
    if task.n_classes and y is not None:
        assert values.dtype == int
        np.testing.assert_array_equal(values, y.argmax(axis=1) if y.shape == (3, 3) else y.reshape(-1))


@pytest.mark.parametrize(
    ("output", "task", "classes", "expected"),
    [
        (Output(1, "linear"), "classification", None, of_classes(LOGIT, 2)),
        (Output(1, "linear"), None, ["no", "yes"], of_classes(LOGIT, 2)),
        (Output(1, ""), "classification", None, of_classes(SIGMOID, 2)),
        (Output(1, "linear"), "regression", None, Task(1)),
        (Output(1, "sigmoid", "values"), "classification", None, of_classes(SIGMOID, 2)),
        (Output(1, "sigmoid", "binary"), "regression", None, Task(1)),
        (Output(1, "linear", "margins"), "regression", None, Task(1)),
    ],
)
def test_what_is_ambiguous_can_be_said(output, task, classes, expected):
    known, values, names = understand(output, BITS, classes, task)
    assert known == expected
    assert names == (("no", "yes") if classes else ("0", "1") if expected.n_classes else None)
    np.testing.assert_array_equal(values, BITS)


@pytest.mark.parametrize(
    ("output", "y", "message"),
    [
        (Output(1, "linear"), BITS, "only 0 and 1: classes, or values.* without a softmax.*no loss.*task='classific"),
        (Output(1, ""), BITS, "ends in a step of its own"),
        (Output(1, "sigmoid", "values"), BITS, "ends in a sigmoid, and is compiled with a loss of values"),
        (Output(1, "linear", "margins"), BITS, "hinge loss, which gives no probabilities"),
        (Output(3, "linear"), ONE_HOT, "one-hot rows: classes, or values"),
        (Output(3, "softmax", "values"), ONE_HOT, "one-hot rows: classes, or values"),
        (Output(1, "sigmoid"), HALVES, "shares between 0 and 1.*binary_crossentropy.*task='regression'"),
        (Output(1, "sigmoid", "binary", from_logits=True), BITS, "ends in a sigmoid, but .* from_logits=True"),
        (Output(1, "softmax"), BITS, "is always 1; let the model end in a sigmoid"),
        (Output(3, "softmax"), np.array([0, 7, 1]), "class numbers from 0 to 2 or one-hot rows of 3"),
        (Output(3, "softmax"), HALVES, "class numbers from 0 to 2"),
        (Output(1, "sigmoid", "binary"), NUMBERS, "class numbers from 0 to 1"),
        (Output(3, "sigmoid", "binary"), LABELS * 2, "3 numbers from 0 to 1 for each row"),
        (Output(3, "linear", "values"), VALUES, "does not fit a model with 3 outputs"),
        (Output(1, "linear"), ONE_HOT[:, :2], "does not fit a model with 1 outputs"),
        (Output(3, "softmax"), np.array([0, np.nan, 1]), "finite numbers"),
        (Output(1, loss="values"), np.array(["a", "b", "c"]), "predicts values; it holds 'a', 'b', 'c'"),
        (Output(3, "softmax"), np.array(["a", "b", "c"]), "holds labels .*pass classes="),
    ],
)
def test_what_cannot_be_meant(output, y, message):
    with pytest.raises(pg.PermGradError, match=message):
        understand(output, y)


def test_words_that_do_not_fit():
    with pytest.raises(pg.PermGradError, match="tells 2 classes apart, got 3 names"):
        understand(Output(1, "sigmoid"), BITS, ["a", "b", "c"])
    with pytest.raises(pg.PermGradError, match="task must be 'classification' or 'regression', got 'ranking'"):
        understand(Output(1), BITS, None, "ranking")
    with pytest.raises(pg.PermGradError, match="leave one of the two out"):
        understand(Output(1), BITS, ["a", "b"], "regression")


def probability_of(task: Task, z: np.ndarray) -> np.ndarray:
    """What logits say, by the formulas as they stand."""
    if task.link == "softmax":
        return np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)
    return 1 / (1 + np.exp(-z))


@pytest.mark.parametrize("shape", [(3,), (4, 3)])
def test_losses_are_the_formulas(shape, rng):
    """From logits and from probabilities: the same, row by row, for several answers at once too."""
    for link, width in (("sigmoid", 1), ("sigmoid", 3), ("softmax", 3)):
        z = rng.normal(0, 2, (*shape, width))
        p = probability_of(Task(width, link), z)
        y = rng.random((3, width))
        y = y / y.sum(axis=1, keepdims=True) if link == "softmax" else y
        by_hand = (
            -(y * np.log(p)).sum(axis=-1)
            if link == "softmax"
            else (-y * np.log(p) - (1 - y) * np.log(1 - p)).mean(axis=-1)
        )
        number, n_classes = np.array([1, 0, 1]), max(width, 2)
        of_class = np.concatenate([1 - p, p], axis=-1) if width == 1 else p / p.sum(axis=-1, keepdims=True)
        true = np.stack([of_class[..., i, number[i]] for i in range(3)], axis=-1)
        for logits, outputs in ((True, z), (False, p)):
            np.testing.assert_allclose(Task(width, link, logits).losses(y, outputs), by_hand)
            task = Task(width, link, logits, n_classes)
            np.testing.assert_allclose(task.losses(number, outputs), -np.log(true))
            np.testing.assert_allclose(task.probabilities(outputs), of_class)


def test_losses_of_large_logits_are_finite_and_exact():
    z = np.array([[800.0], [-800.0], [800.0]])
    np.testing.assert_allclose(of_classes(LOGIT, 2).losses(np.array([1, 1, 0]), z), [0, 800, 800])
    np.testing.assert_allclose(LOGIT.losses(np.array([1.0, 0.5, 0.0]), z), [0, 400, 800])
    z = np.array([[900.0, 0, -900]] * 3)
    np.testing.assert_allclose(of_classes(LOGITS, 3).losses(np.array([0, 1, 2]), z), [0, 900, 1800])
    np.testing.assert_allclose(of_classes(SIGMOID, 2).losses(np.array([1]), np.zeros((1, 1))), [-np.log(1e-7)])


def test_an_answer_that_knows_no_row(rng):
    y = rng.integers(0, 2, 50)
    share = np.array([1 - y.mean(), y.mean()])
    expected = -(share * np.log(share)).sum()
    for task in (of_classes(LOGIT, 2), of_classes(SIGMOID, 2)):
        np.testing.assert_allclose(task.prior_losses(y, share).mean(), expected)
        np.testing.assert_allclose(task.prior_losses(y, share), cross_entropy(y, np.tile(share, (50, 1))))
    soft = np.array([0.5, 0.25, 0.75])
    np.testing.assert_allclose(LOGIT.prior_losses(soft, np.array([0.5])), np.full(3, np.log(2)))
    np.testing.assert_allclose(Task(1).prior_losses(soft, np.array([0.5])), [0, 1 / 16, 1 / 16])


def test_logits_are_no_probabilities():
    with pytest.raises(pg.PermGradError, match="or compile it with a loss that has from_logits=True"):
        of_classes(SIGMOID, 2).losses(np.array([1]), np.array([[3.0]]))
