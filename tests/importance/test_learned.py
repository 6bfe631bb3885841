"""Networks at chance are told, weak ones that are real are not."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

import permgrad as pg
from permgrad.importance.learned import average, doubts, what_is_learned
from permgrad.importance.network._target import Target
from permgrad.metrics.losses import cross_entropy, squared_error
from permgrad.metrics.task import Task
from tests.oracle import predicted


def of_classes(y, classes=("a", "b")):
    return Target(np.asarray(y), Task(len(classes), "softmax", n_classes=len(classes)), tuple(classes))


def told(y, p, **known):
    """What is said of probabilities of class 1."""
    target = of_classes(y)
    return what_is_learned(target, target.task.losses(y, np.column_stack([1 - p, p])), **known)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


@pytest.mark.parametrize(("spread", "share"), [(0.05, 0.5), (0.5, 0.5), (0.05, 0.9), (0.5, 0.9)])
def test_a_network_at_chance_is_caught_in_95_of_100_cases(spread, share, rng):
    """200 rows, predicted by the prior and noise, as large as a little and as much as hardly trained networks have."""
    n_better, prior = 0, np.array([1 - share, share])
    for _ in range(400):
        y = (rng.random(200) < share).astype(int)
        p = sigmoid(np.log(share / (1 - share)) + rng.normal(0, spread, 200))
        n_better += told(y, p, prior=prior)["better"]
    assert n_better <= 0.05 * 400 + 2 * np.sqrt(400 * 0.05 * 0.95)


def test_a_weak_network_that_is_real_is_not(rng):
    n_better = 0
    for _ in range(100):
        p = sigmoid(rng.normal(0, 0.4, 2000))  # an AUC of about 0.6
        n_better += told((rng.random(2000) < p).astype(int), p)["better"]
    assert n_better >= 98


def test_numbers_by_hand():
    y = np.array([0, 1, 1, 1])
    said = told(y, np.array([0.1, 0.9, 0.9, 0.9]))
    assert (said["loss"], said["prior"], said["rows"]) == (pytest.approx(-np.log(0.9)), "these rows", 4)
    assert said["prior_loss"] == pytest.approx(-(0.25 * np.log(0.25) + 0.75 * np.log(0.75)))
    said = told(y, np.full(4, 0.5), prior=[0.5, 0.5])
    assert (said["difference"], said["p"], said["better"], said["prior"]) == (0, 1, False, "training")


def test_regression_is_held_against_the_mean(rng):
    y = rng.normal(50, 3, 300)
    target = Target(y, Task(1), None)
    for prediction, better in ((y + rng.normal(0, 2, 300), True), (50 + rng.normal(0, 0.5, 300), False)):
        said = what_is_learned(target, squared_error(y, prediction[:, None]), prior=[50.0])
        assert said["better"] == better
        assert said["prior_loss"] == pytest.approx(np.mean((y - 50) ** 2))


def test_a_network_trained_on_a_weighted_loss_is_told_by_it(rng):
    """One row in 20 is of class 1, and the network, trained to see both alike, says so too often: it has learned."""
    y = (np.arange(1000) % 20 == 0).astype(int)
    p = sigmoid(np.where(y == 1, 1.5, -1.5) + rng.normal(0, 1, 1000))
    assert not told(y, p)["better"]
    said = told(y, p, prior=[0.95, 0.05], class_weights=[1 / 1.9, 10])
    assert said["better"]
    losses = cross_entropy(y, np.column_stack([1 - p, p]))
    assert said["loss"] == pytest.approx(np.average(losses, weights=np.where(y == 1, 10, 1 / 1.9)))
    assert said["prior_loss"] == pytest.approx(np.log(2))  # with the weights, the prior is one half each
    nothing = told(y, sigmoid(rng.normal(0, 0.2, 1000)), prior=[0.95, 0.05], class_weights=[1 / 1.9, 10])
    assert not nothing["better"]


@pytest.mark.parametrize("prior", [[0.5], [0.5, np.nan], [0.9, 0.9], [1.5, -0.5]])
def test_a_prior_that_does_not_fit(prior):
    with pytest.raises(pg.PermGradError, match="prior must be"):
        told(np.array([0, 1]), np.array([0.5, 0.5]), prior=prior)


def test_class_weights_that_do_not_fit():
    with pytest.raises(pg.PermGradError, match="a weight for each of 2 classes"):
        told(np.array([0, 1]), np.array([0.5, 0.5]), class_weights=[1.0])


@pytest.mark.backend
def test_random_weights_have_learned_nothing_and_their_branches_count_alike(random_hybrid, layout, rng):
    model, X, y = random_hybrid("classification", 3), rng.random((80, 6)), rng.integers(0, 3, 80)
    with pytest.warns(UserWarning, match="not shown to beat each class's share: on these 80 rows"):
        ranking = pg.rank_features(model, X, y, layout=layout, end_to_end=False, n_repeats=2, formula="fused")
    assert not ranking.learned
    assert ranking.branch_weights == {"tabular": 0.5, "image": 0.5}
    assert ranking.trusted_weights == {}
    assert set(ranking.settings["distrusted_branch_weights"]) == {"tabular", "image"}
    parts = [ranking.components[name] for name in ("permutation", "gradient_input")]
    np.testing.assert_allclose(ranking.scores, pg.fuse(*parts, {"tabular": 0.5, "image": 0.5}).scores)
    assert "branch weights" not in ranking.plot().axes[0].get_title()
    again = pg.FeatureRanking.from_dict(json.loads(json.dumps(ranking.to_dict())))
    (said,) = doubts(again)
    assert said.startswith("This network's probabilities are not shown to beat each class's share: on these 80 rows")


@pytest.mark.backend
def test_a_network_that_knows_its_target_is_believed(random_hybrid, layout, rng):
    model, X = random_hybrid("regression", 1), rng.random((80, 6))
    y = predicted(model, X)[:, 0] + rng.normal(size=80) / 100
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        ranking = pg.rank_features(model, X, y, layout=layout, end_to_end=False, n_repeats=2, formula="fused")
    assert ranking.learned
    assert ranking.trusted_weights == ranking.branch_weights != {"tabular": 0.5, "image": 0.5}
    assert "distrusted_branch_weights" not in ranking.settings
    assert doubts(ranking) == []
    assert ranking.settings["learned"]["loss"] == pytest.approx(
        ranking.components["permutation"].settings["baseline_loss"], rel=1e-4
    )


def test_an_average_has_learned_if_half_of_its_networks_surely_have():
    bad = {"better": False, "loss": 1, "prior_loss": 0.7, "difference": 0.3, "low": 0.1, "high": 0.5, "p": 1.0}
    good = {"better": True, "loss": 0.4, "prior_loss": 0.7, "difference": -0.3, "low": -0.5, "high": -0.1, "p": 1e-4}
    assert average([good])["p"] == 1e-4
    assert average([good, good, bad])["better"]
    assert not average([good, bad, bad])["better"]
    assert average([good, bad])["difference"] == pytest.approx(0)
