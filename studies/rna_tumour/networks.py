"""What the tumour study trains and measures: one network at a time, freed before the next one is built."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.feature_selection import f_classif

import permgrad as pg
from permgrad.backend import keras
from permgrad.importance.masking import masking_curve
from permgrad.importance.network.partial_model import PartialModel
from permgrad.models.wide import WideConfig, build_wide_mlp
from permgrad.training.config import TrainingConfig, choose_precision
from permgrad.training.fit import fit_network
from permgrad.training.weight_statistics import weight_statistics

PLAIN_GENES = 10
"""That the plain loop is timed on."""
DIGITS = 7
"""Significant, of scores in files."""


@dataclass(frozen=True, eq=False)
class Rows:
    """One part of the table: X of shape (n_rows, n_genes), float32, and class numbers."""

    X: np.ndarray
    y: np.ndarray


Parts = Mapping[str, Rows]
"""train, validation and test."""


class EpochSeconds(keras.callbacks.Callback):
    """Seconds of each epoch."""

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Begin a list."""
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Look at the clock."""
        self._begun = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Look again."""
        self.seconds.append(time.perf_counter() - self._begun)


def peak_memory() -> float:
    """Return the most memory that this process has held so far, in bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(most) * (1 if sys.platform == "darwin" else 1024)


def train(
    settings: Any, parts: Parts, *, penalty: float, random_state: int, selector: bool = False
) -> tuple[Any, dict[str, Any]]:
    """Return a trained network and how its training went; those that nobody holds any more are freed before."""
    keras.utils.clear_session()  # also collects garbage: a network refers to itself
    network = settings.network
    config = WideConfig(
        settings.selector.hidden_units if selector else network.hidden_units,
        settings.selector.gate_penalty if selector else None,
        choose_precision(network.precision),
        random_state,
    )
    rows, validation = parts["train"], parts["validation"]
    model = build_wide_mlp(config, rows.X, int(rows.y.max()) + 1)
    epochs = settings.selector.epochs if selector else network.epochs
    training = TrainingConfig(
        learning_rate=network.learning_rate,
        l1=0.0 if selector else penalty,
        l2=network.l2,
        schedule="constant",
        batch_size=network.batch_size,
        drop_last=True,
        epochs=epochs,
        patience=epochs,
        keep="last",
        random_state=random_state,
    )
    clock = EpochSeconds()
    history, _ = fit_network(
        model, (rows.X, rows.y), (validation.X, validation.y), training, task="classification", callbacks=[clock]
    )
    model.compile()  # lets go of Adam's moments, twice the weights
    return model, {"history": history, "epoch_seconds": clock.seconds}


def evaluate(model: Any, parts: Parts) -> dict[str, dict[str, float]]:
    """Return accuracy and loss on each part."""
    scores = {}
    for name, rows in parts.items():
        order = np.arange(rows.X.shape[1])
        curve = masking_curve(model, rows.X, rows.y, order, counts=[len(order)])
        scores[name] = {"accuracy": float(curve["accuracy"][0]), "loss": float(curve["loss"][0])}
    return scores


def sweep(settings: Any, parts: Parts, penalty: float) -> dict[str, Any]:
    """Train with one factor of the penalty, and describe the weights."""
    model, went = train(settings, parts, penalty=penalty, random_state=settings.importance.first_seed)
    return summary(settings, model, went, parts)


def summary(settings: Any, model: Any, went: dict[str, Any], parts: Parts) -> dict[str, Any]:
    """Describe a trained network's weights and scores."""
    weights = weight_statistics(model, n_sampled=settings.sweep.sampled, random_state=settings.importance.first_seed)
    return {"weights": weights, "scores": evaluate(model, parts), **went, "peak_memory": peak_memory()}


def measure(settings: Any, parts: Parts, random_state: int, results: Mapping[str, Any]) -> dict[str, Any]:
    """Train both networks and rank all genes by them; the first training is looked at more closely.

    `results`: of the steps ``groups`` and ``anova``.
    """
    groups = {f"group {i}": columns for i, columns in enumerate(results["groups"]["groups"])}
    closer = random_state == settings.importance.first_seed
    wide = measure_wide(settings, parts, random_state, groups, results["anova"]["anova"], closer=closer)
    return wide | measure_selector(settings, parts, random_state)


def measure_wide(
    settings: Any,
    parts: Parts,
    random_state: int,
    groups: Mapping[str, Sequence[int]],
    f_values: Sequence[float],
    *,
    closer: bool,
) -> dict[str, Any]:
    """Train the wide network and rank all genes by it: first-layer sums, each gene shuffled, each group.

    Closer: masking, and the fall of the accuracy, too.
    """
    model, went = train(settings, parts, penalty=settings.importance.penalty, random_state=random_state)
    measured = summary(settings, model, went, parts)
    measured["first_layer"] = rounded(pg.weight_importance(model).scores)
    measured |= shuffle_every_gene(settings, model, parts["test"], random_state)
    measured |= shuffle_groups(settings, model, parts["test"], random_state, groups, measured["permutation"])
    if closer:
        weights = np.array(measured["first_layer"])
        measured["heaviest"] = shuffle_heaviest(settings, model, parts["test"], weights, random_state)
        measured["plain_seconds"] = seconds_of_plain_loop(model, parts["test"])
        scores = {name: measured[name] for name in NETWORK_METHODS} | {"anova": f_values}
        orders = {name: np.argsort(-np.array(values), kind="stable") for name, values in scores.items()}
        orders["random"] = np.random.default_rng([random_state, 1]).permutation(len(f_values))
        measured["masking"] = masking(model, parts, orders)
    return measured


def measure_selector(settings: Any, parts: Parts, random_state: int) -> dict[str, Any]:
    """Train the small network and rank all genes by its gates."""
    model, _ = train(settings, parts, penalty=0.0, random_state=random_state, selector=True)
    gates = model.get_layer("selector").columnwise_scale()
    return {"selector": rounded(np.abs(gates)), "selector_scores": evaluate(model, parts), "peak_memory": peak_memory()}


NETWORK_METHODS = ("first_layer", "permutation", "group_permutation")


def shuffle_every_gene(settings: Any, model: Any, test: Rows, random_state: int) -> dict[str, Any]:
    """Permute each gene: the increase of the loss, and how long it took."""
    begun = time.perf_counter()
    ranking = pg.permutation_importance(
        model,
        test.X,
        test.y,
        classes=range(model.outputs[0].shape[1]),
        n_repeats=settings.importance.repeats,
        random_state=random_state,
    )
    seconds = time.perf_counter() - begun
    return {"permutation": rounded(ranking.scores), "seconds": seconds}


def shuffle_groups(
    settings: Any,
    model: Any,
    test: Rows,
    random_state: int,
    groups: Mapping[str, Sequence[int]],
    alone: Sequence[float],
) -> dict[str, Any]:
    """Permute groups as one; a gene's score is its group's, or its own where it is alone."""
    scores = np.array(alone)
    if not groups:
        return {"groups": {}, "group_permutation": rounded(scores)}
    ranking = pg.permutation_importance(
        model,
        test.X,
        test.y,
        groups=groups,
        classes=range(model.outputs[0].shape[1]),
        n_repeats=settings.importance.group_repeats,
        random_state=random_state,
    )
    for name, score in zip(ranking.features, ranking.scores, strict=True):
        scores[list(groups[name])] = score
    return {
        "groups": dict(zip(ranking.features, rounded(ranking.scores), strict=True)),
        "group_permutation": rounded(scores),
    }


def shuffle_heaviest(settings: Any, model: Any, test: Rows, weights: np.ndarray, random_state: int) -> dict[str, Any]:
    """Permute each of the genes with the largest first-layer sums, as published: the fall of the accuracy."""
    columns = np.argsort(-weights, kind="stable")[: settings.importance.heaviest]
    partial_model = PartialModel(model, test.X, columns)
    ranking = pg.score_importance(
        partial_model, test.X[:, columns], test.y, n_repeats=settings.importance.repeats, random_state=random_state
    )
    return {
        "columns": columns,
        "falls": rounded(ranking.scores),
        "accuracy": ranking.settings["baseline_score"],
    }


def seconds_of_plain_loop(model: Any, test: Rows) -> float:
    """Return what permuting and predicting takes for one gene, by the loop that was published."""
    predict = lambda rows: model.predict(rows, batch_size=len(rows), verbose=0)  # noqa: E731
    predict(test.X)
    begun = time.perf_counter()
    for column in range(min(PLAIN_GENES, test.X.shape[1])):
        rows = test.X.copy()
        rows[:, column] = rows[::-1, column]
        predict(rows)
    return (time.perf_counter() - begun) / min(PLAIN_GENES, test.X.shape[1])


def masking(model: Any, parts: Parts, orders: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Mask ever more of the best genes by each order, by the training rows' means."""
    means, test = parts["train"].X.mean(axis=0, dtype=float).astype(np.float32), parts["test"]
    curves = {
        name: masking_curve(model, test.X, test.y, order, values=means, first="masked")
        for name, order in orders.items()
    }
    return {name: curve.to_dict("list") for name, curve in curves.items()}


def anova(parts: Parts) -> dict[str, Any]:
    """Return the F statistic of each gene over the training rows; 0 for one that never varies."""
    train = parts["train"]
    varies = np.ptp(train.X, axis=0) > 0
    scores = np.zeros(train.X.shape[1])
    scores[varies] = f_classif(train.X[:, varies].astype(float), train.y)[0]
    return {"anova": rounded(np.nan_to_num(scores, posinf=np.finfo(np.float32).max))}


def cluster(settings: Any, parts: Parts) -> dict[str, Any]:
    """Group genes whose ranks correlate over the training rows; groups of several, by column numbers."""
    begun = time.perf_counter()
    every = pg.correlated_groups(parts["train"].X, settings.importance.correlation)[0]
    groups = [[int(name[1:]) for name in group] for group in every.values() if len(group) > 1]
    return {"groups": groups, "seconds": time.perf_counter() - begun, "peak_memory": peak_memory()}


def rounded(values: Any) -> list[float]:
    """Return numbers that are short in a file."""
    return [float(f"{value:.{DIGITS}g}") for value in values]
