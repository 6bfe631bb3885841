"""Sanity checks: a ranking must fall apart when the network forgets what it learned."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import Any

import numpy as np
import pandas as pd

from permgrad.backend import keras
from permgrad.data.table import Table
from permgrad.evaluation._tables import evaluation_table
from permgrad.evaluation.agreement import rank_correlation, top_overlap
from permgrad.evaluation.explained import ExplainedModel, with_data
from permgrad.evaluation.stability import default_k
from permgrad.evaluation.time_limit import TimeLimit
from permgrad.importance.ranking import FeatureRanking
from permgrad.layers.selectors import BranchGate

MAX_STEPS = 8
WEIGHTS, LABELS = "weights", "labels"
SEEDS = ("seed", "random_state")
"""What Keras and this package call it in the settings of a layer or an initializer."""


def sanity_checks(explained: ExplainedModel, time_limit: TimeLimit) -> pd.DataFrame:
    """Rank again with a network that is randomised layer by layer, and with one that learned shuffled labels.

    Parameters
    ----------
    explained : ExplainedModel
    time_limit : TimeLimit

    Returns
    -------
    DataFrame
        ``test`` ("weights", "labels"), ``step`` (0: nothing changed), ``layers`` that are initialised anew in this
        step (those of the steps before stay so), ``ranking`` (the estimator's, and each of its components),
        and its agreement with that of step 0: ``spearman`` over the columns that the network sees, and
        ``overlap`` of the top k (Jaccard; k: half of the columns, at most 10) beside the overlap
        of two random choices, ``by_chance``. Weights are initialised anew from the output backwards, in at
        most 8 steps.

    References
    ----------
    Adebayo et al., Sanity checks for saliency maps (2018): cascading randomisation of the model's parameters, and
    randomisation of the data.
    """
    network = explained.estimator.network_
    cascade = layer_steps(network)
    steps: list[tuple[str, int, list[str]]] = [(WEIGHTS, i, layers) for i, layers in enumerate([[], *cascade])]
    original: dict[str, FeatureRanking] = {}
    rows: list[dict[str, Any]] = []
    randomised = _Randomised(network, explained.random_state)
    for test, step, layers in time_limit.steps("sanity", [*steps, (LABELS, 1, [])], _step):
        if test == WEIGHTS:
            estimator = copy(explained.estimator)
            estimator.network_ = randomised.forget(layers)
        else:
            estimator = _shuffled_labels(explained)
        rankings = explained.named(explained.explain(estimator))
        original = original or rankings
        k = default_k(len(explained.groups))
        by_chance = _overlap_by_chance(k, len(explained.groups))
        changed = {"test": test, "step": step, "layers": " ".join(layers) or "none"}
        for name, ranking in rankings.items():
            first = original[name]
            agreed = {"spearman": rank_correlation(first, ranking), "overlap": top_overlap(first, ranking, k)}
            rows.append({**changed, "ranking": name, **agreed, "by_chance": by_chance})
    return evaluation_table("sanity", rows)


def _step(step: tuple[str, int, list[str]]) -> str:
    return f"{step[0]} {step[1]}"


def layer_steps(network: Any, most: int = MAX_STEPS) -> list[list[str]]:
    """Return the names of the layers with trained weights, from the output backwards, in at most `most` steps.

    BatchNorm goes together with a layer before it: a step begins behind a layer of any other kind.
    """
    steps: list[list[str]] = [[]]
    for layer in reversed(network.layers):
        if not layer.trainable_weights:
            continue
        steps[-1].append(layer.name)
        if not isinstance(layer, keras.layers.BatchNormalization):
            steps.append([])
    steps = [step for step in steps if step]
    parts = np.array_split(np.arange(len(steps)), min(most, len(steps)))
    return [[name for i in part for name in steps[i]] for part in parts]


class _Randomised:
    """A copy of a network that forgets layer after layer."""

    def __init__(self, network: Any, random_state: int) -> None:
        seeds = iter(_seeds(random_state))
        # Not the initial weights of the training: those are what the trained ones still resemble.
        self.fresh = keras.models.clone_model(network, clone_function=lambda layer: _reseeded(layer, seeds))
        for layer in self.fresh.layers:
            if isinstance(layer, BranchGate):
                layer.gate.assign(1.0)
        self.network = keras.models.clone_model(network)
        self.network.set_weights(network.get_weights())

    def forget(self, layers: list[str]) -> Any:
        """Give these layers fresh weights, and return the network."""
        for name in layers:
            self.network.get_layer(name).set_weights(self.fresh.get_layer(name).get_weights())
        return self.network


def _seeds(random_state: int) -> Iterator[int]:
    rng = np.random.default_rng([random_state, 8])
    while True:
        yield int(rng.integers(2**31))


def _reseeded(layer: Any, seeds: Iterator[int]) -> Any:
    """Return a new layer of the same settings, with other seeds: its initializers', or its own where it has one.

    A kernel that training began with at 0 is random here: of a network that says the same of all rows, no ranking is
    left to fall apart.
    """
    settings = layer.get_config()
    if "zero" in settings:
        settings["zero"] = False
    if isinstance(getattr(layer, "kernel_initializer", None), keras.initializers.Zeros):
        settings["kernel_initializer"] = keras.initializers.serialize(keras.initializers.HeNormal(next(seeds)))
    nested = [value.get("config") or {} for value in settings.values() if isinstance(value, dict)]
    for part in (settings if layer.trainable_weights else {}, *nested):
        part.update({name: next(seeds) for name in SEEDS if name in part})
    return type(layer).from_config(settings)


def _shuffled_labels(explained: ExplainedModel) -> Any:
    """Return the estimator fitted on training and validation rows with shuffled targets."""
    rng = np.random.default_rng([explained.random_state, 9])
    train = _shuffle(explained.train, rng)
    validation_data = explained.validation_data and _shuffle(explained.validation_data, rng)
    return explained.refit(explained.estimator, train, validation_data)


def _shuffle(table: Table, rng: np.random.Generator) -> Table:
    return with_data(table, table.X, table.y.iloc[rng.permutation(len(table))].reset_index(drop=True))


def _overlap_by_chance(k: int, d: int) -> float:
    """Return the mean Jaccard similarity of two independent choices of `k` from `d`."""
    from scipy.stats import hypergeom

    shared = np.arange(k + 1)
    return float((hypergeom(d, k, k).pmf(shared) * shared / (2 * k - shared)).sum())
