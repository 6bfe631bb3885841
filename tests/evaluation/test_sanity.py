from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

import permgrad as pg
from permgrad.evaluation.explained import ExplainedModel
from permgrad.evaluation.sanity import _overlap_by_chance, _Randomised, layer_steps, sanity_checks
from permgrad.evaluation.time_limit import TimeLimit
from permgrad.models.hybrid import HybridConfig, build_hybrid
from tests.conftest import SMALL
from tests.evaluation.conftest import teach, untrained


@pytest.fixture(scope="module")
def graded() -> ExplainedModel:
    """Twelve columns of falling weight, and a network that knows it: a ranking with an order to lose."""
    rng = np.random.default_rng(0)
    weights = np.linspace(2, 0, 12) * np.tile([1, -1], 6)
    X = pd.DataFrame(rng.uniform(-1, 1, size=(900, 12)), columns=[f"f{i}" for i in range(12)])
    table = pg.Table(X, np.where(X.to_numpy() @ weights > 0, "yes", "no"))
    train, test = table.take(np.arange(600)), table.take(np.arange(600, 900))
    estimator = untrained(pg.HybridClassifier(**SMALL, branches=("tabular",)), train)
    teach(estimator.network_, 10 * weights, -5 * weights.sum())  # of columns from -1 to 1
    return ExplainedModel(estimator, estimator.rank_features(test.X, test.y, formula="fused"), train, test)


@pytest.mark.slow
def test_the_ranking_falls_apart(graded, monkeypatch):
    """The network of shuffled labels is a random one: what it would be trained on is asserted, and not trained."""
    shuffled = []

    def refit(explained, estimator, train, validation_data=None):
        shuffled.append(train)
        return untrained(clone(estimator), train)

    monkeypatch.setattr(ExplainedModel, "refit", refit)
    assert graded.estimator.score(graded.test.X, graded.test.y) > 0.9
    before = [weights.copy() for weights in graded.estimator.network_.get_weights()]
    checks = sanity_checks(graded, TimeLimit())
    permutation = checks[checks["ranking"] == "permutation"].set_index(["test", "step"])
    assert permutation.loc[("weights", 0), ["spearman", "overlap"]].tolist() == [1, 1]
    last = permutation.loc["weights"].index.max()
    assert permutation.loc[("weights", last), "spearman"] < 0.5
    assert permutation.loc[("labels", 1), "spearman"] < 0.5
    assert permutation["by_chance"].iloc[0] == pytest.approx(_overlap_by_chance(6, 12))
    for old, new in zip(before, graded.estimator.network_.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    (train,) = shuffled
    pd.testing.assert_frame_equal(train.X, graded.train.X)
    assert sorted(train.y) == sorted(graded.train.y)
    assert 0.4 < (train.y == graded.train.y).mean() < 0.6


def test_the_ranking_is_right_before(graded):
    assert pd.Series(graded.ranking.scores).corr(pd.Series(-np.arange(12)), method="spearman") > 0.9


def test_layers_are_forgotten_from_the_output_backwards(random_hybrid):
    network = random_hybrid("classification", 2, fresh=True)
    steps = layer_steps(network)
    assert steps[0] == ["logits"]
    assert steps[1][-1] == "head_0"
    randomised = _Randomised(network, random_state=0)
    trained = {layer.name: layer.get_weights() for layer in network.layers}
    forgotten: set[str] = set()
    for step in steps:
        now = randomised.forget(step)
        forgotten |= set(step)
        for layer in now.layers:
            same = all(np.array_equal(a, b) for a, b in zip(layer.get_weights(), trained[layer.name], strict=True))
            assert same == (layer.name not in forgotten or not layer.trainable_weights)
    assert forgotten == {layer.name for layer in network.layers if layer.trainable_weights}


@pytest.mark.parametrize("ensemble_size", [1, 3])
def test_what_began_at_zero_is_forgotten_too(ensemble_size, layout, rng):
    """Of the default network, a last layer of zeros and a closed gate would leave nothing to rank."""
    config = HybridConfig(
        ensemble_size=ensemble_size, zero_output=True, gated_image=True, dense_units=(5,), head_units=(4,)
    )
    network = build_hybrid(config, 6, 2, layout=layout, task="classification")
    X = rng.normal(size=(20, 6)).astype(np.float32)
    assert np.ptp(network.predict(X, verbose=0), axis=0).max() < 1e-6
    randomised = _Randomised(network, random_state=0)
    for step in layer_steps(network):
        now = randomised.forget(step)
    assert np.ptp(now.predict(X, verbose=0), axis=0).min() > 1e-3
    assert float(now.get_layer("image_gate").gate) == 1
    again = _Randomised(network, random_state=0)
    for step in layer_steps(network):
        same = again.forget(step)
    np.testing.assert_array_equal(same.predict(X, verbose=0), now.predict(X, verbose=0))


def test_forgotten_weights_are_not_those_that_training_began_with():
    network = build_hybrid(HybridConfig(branches=("tabular",), random_state=0), 5, 2, task="classification")
    randomised = _Randomised(network, random_state=0).forget(["tabular_0"])
    first, anew = (model.get_layer("tabular_0").kernel for model in (network, randomised))
    assert abs(np.corrcoef(np.ravel(first), np.ravel(anew))[0, 1]) < 0.2
    assert np.std(anew) == pytest.approx(np.std(first), rel=0.15)  # drawn by the same initializer
    other = _Randomised(network, random_state=1).forget(["tabular_0"]).get_layer("tabular_0").kernel
    assert not np.array_equal(anew, other)


def test_layers_with_a_seed_of_their_own_forget_too():
    """Batch ensemble and waves: a fresh network must not have the weights that training began with."""
    config = HybridConfig(
        branches=("tabular",), embedding="periodic", ensemble_size=3, dense_units=(8,), head_units=(8,)
    )
    network = build_hybrid(config, 6, 2, task="classification")
    names = ["embedding", "tabular_0", "head_0", "ensemble_logits"]
    assert {name for step in layer_steps(network) for name in step} >= set(names)
    randomised = _Randomised(network, random_state=0).forget(names)
    X = np.random.default_rng(0).random((20, 6)).astype(np.float32)
    assert not np.allclose(randomised.predict(X, verbose=0), network.predict(X, verbose=0))
    for name in names:
        begun, fresh = (net.get_layer(name).get_weights() for net in (network, randomised))
        kernels = [(a, b) for a, b in zip(begun, fresh, strict=True) if a.std() > 0]
        assert kernels
        assert not any(np.allclose(a, b) for a, b in kernels)


def test_deep_networks_take_few_steps():
    config = HybridConfig(branches=("tabular",), dense_units=(4,) * 15)
    network = build_hybrid(config, 5, 2, task="classification")
    steps = layer_steps(network)
    assert len(steps) == 8
    assert {name for step in steps for name in step} == {
        layer.name for layer in network.layers if layer.trainable_weights
    }


def test_overlap_by_chance_counts_all_choices():
    sets = [set(one) for one in combinations(range(6), 2)]
    every = [len(a & b) / len(a | b) for a in sets for b in sets]
    assert _overlap_by_chance(2, 6) == pytest.approx(np.mean(every))
