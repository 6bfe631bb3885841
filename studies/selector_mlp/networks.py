"""What the gene-panel study trains and measures: one unit of it at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
from sklearn.svm import LinearSVC

import permgrad as pg
from permgrad.backend import keras
from permgrad.evaluation.panels import bootstrap_score
from permgrad.metrics.scores import mean_class_accuracy
from permgrad.models.selector import SelectorConfig, build_selector_mlp
from permgrad.training.evaluation_log import evaluate_network

Parts = Mapping[str, pg.Cells]
"""train, validation and test."""
DIGITS = 9
"""Significant, of scores that are kept: float32 loses nothing, so ranks stay as they were."""

PLAIN = {"selector": "none", "noise": 0.0, "dropout": 0.0}
CONDITIONS: dict[str, dict[str, Any]] = {
    "MLP, bare": PLAIN,
    "MLP, noise": {"selector": "none", "dropout": 0.0},
    "MLP, dropout": {"selector": "none", "noise": 0.0},
    "MLP": {"selector": "none"},
    "MLP, batch norm": {"selector": "none", "batch_norm": True},
    "selector": {"penalty": None},
    "selector L1": {"penalty": "l1"},
    "selector L2": {"penalty": "l2"},
    "clamped L1": {"selector": "clamped", "penalty": "l1"},
    "selector L1/L2": {"penalty": "l1/l2"},
    "stochastic": {"selector": "stochastic"},
    "narrowing": {"selector": "narrowing", "penalty": "l1"},
}
"""Noise and dropout are on unless they are named; the last three are beyond the published ones."""
REFEREE = "MLP"
"""The network by which the panels of all rankings are compared."""
SVMS = {"SVM L1": "l1", "SVM L2": "l2"}
SPARSE = ("selector L1", "stochastic", "narrowing")
"""Which are compared at every size of a panel."""


class Snapshots(keras.callbacks.Callback):
    """Keep the network's weights at the end of each size of a path: it can be judged on test cells when fitted.

    Parameters
    ----------
    start : int
        Epochs before the first size.
    epochs_per_size : int

    Attributes
    ----------
    found : list
        Weights, one entry a size.
    """

    def __init__(self, start: int, epochs_per_size: int) -> None:
        super().__init__()
        self.start, self.epochs_per_size = start, epochs_per_size
        self.found: list[list[np.ndarray]] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Keep them, where a size ends."""
        stage, since = divmod(epoch - self.start, self.epochs_per_size)
        if stage >= 0 and since == self.epochs_per_size - 1:
            self.found.append(self.model.get_weights())


def sparse(study: Any) -> list[str]:
    """Return those of `SPARSE` that are trained."""
    return [condition for condition in SPARSE if condition in study.conditions]


def estimator(study: Any, condition: str, random_state: int) -> pg.SelectorClassifier:
    """Return the unfitted network of a condition."""
    network, beyond = study.network, study.beyond
    given: dict[str, Any] = {
        "hidden_units": network.hidden_units,
        "alpha": network.alpha,
        "noise": network.noise,
        "dropout": network.dropout,
        "learning_rate": network.learning_rate,
        "weight_decay": network.weight_decay,
        "batch_size": network.batch_size,
        "epochs": network.epochs,
        "precision": network.precision,
        "random_state": random_state,
        **CONDITIONS[condition],
    }
    if condition == "stochastic":
        given["alpha"] = beyond.stochastic_alpha
    if condition == "narrowing":
        given |= {"alpha": beyond.narrowing_alpha, "epochs": beyond.narrowing_epochs}
        given |= {"sizes": beyond.sizes, "epochs_per_size": beyond.epochs_per_size}
    return pg.SelectorClassifier(**given)


def own_seed(condition: str, random_state: int) -> int:
    """Return a condition's seed of its training on all genes: begun alike, rankings would be alike for that alone."""
    return 1000 * list(CONDITIONS).index(condition) + random_state


def start_of(study: Any, condition: str, random_state: int, n_genes: int) -> np.ndarray | None:
    """Return the selector's absolute weights before training, (n_genes,); None without one, or where all are equal."""
    given = estimator(study, condition, own_seed(condition, random_state)).get_params()
    config = SelectorConfig(
        **{field.name: given[field.name] for field in fields(SelectorConfig)} | {"precision": "float32"}
    )
    if config.selector == "none":
        return None
    start = build_selector_mlp(config, n_genes, 2).get_layer("selector").importance()
    return start if np.ptp(start) else None


def timed(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Add to what `work` found how long it took."""
    keras.utils.clear_session()
    begun = time.perf_counter()
    found = work()
    return {**found, "seconds": time.perf_counter() - begun}


def train(study: Any, parts: Parts, condition: str, random_state: int) -> dict[str, Any]:
    """Train one network on all genes: scores, ranking, masking curve; random orders of the referee; sizes of a path."""
    test, first = parts["test"], random_state == study.trainings.first_seed
    model = estimator(study, condition, own_seed(condition, random_state)).set_params(log_evaluation=first)
    snapshots = Snapshots(model.epochs, model.epochs_per_size)
    watching = [snapshots] if condition == "narrowing" else []
    model.fit(parts["train"], validation_data=parts["validation"], callbacks=watching)
    ranking, numbers = model.rank_by_weights(), np.searchsorted(model.classes_, test.y)
    found: dict[str, Any] = {
        "ranking": rounded(ranking.scores),
        "right": {name: told_right(model, parts[name]) for name in ("validation", "test")},
        "masking": pg.masking_curve(
            model.network_, test.X, numbers, ranking, counts=kept_counts(study, len(test.features))
        ).to_dict("list"),
    }
    if first:
        found["history"] = {name: rounded(values) for name, values in model.history_.items()}
    if model.path_ is not None:
        found["path"] = path_on(test.X, numbers, model, snapshots).to_dict("list")
    if condition == REFEREE:
        chance = pg.random_masking(
            model.network_,
            test.X,
            numbers,
            study.masking.step,
            n_orders=study.masking.random_orders,
            random_state=random_state,
        )
        found["random"] = chance.to_dict("list")
    return found


def kept_counts(study: Any, n_genes: int) -> list[int]:
    """Return how many genes are kept on masking curves over all: every step, and each size of a path."""
    sizes = (size for size in study.beyond.sizes if size < n_genes)
    return sorted({*range(0, n_genes, study.masking.step), *sizes, n_genes})


def path_on(X: Any, y: np.ndarray, model: pg.SelectorClassifier, snapshots: Snapshots) -> pd.DataFrame:
    """Judge a path's network on rows that its training did not see, as it was at the end of each size.

    The network is left as it was at the end: that of the last size.
    """
    rows = []
    for size, weights in zip(model.path_["size"], snapshots.found, strict=True):
        model.network_.set_weights(weights)
        rows.append({"size": size, **evaluate_network(model.network_, X, y)})
    return pd.DataFrame(rows)


def svm(study: Any, penalty: str) -> LinearSVC:
    """Return an unfitted linear SVM; its solver for both penalties is the primal one, which draws nothing."""
    return LinearSVC(penalty=penalty, C=study.svm.C, dual=False, max_iter=5000)


def train_svm(study: Any, parts: Parts, name: str) -> dict[str, Any]:
    """Train a linear SVM on all genes; genes are ranked by Σ|coefficient| over the classes."""
    rows, test = parts["train"], parts["test"]
    model = svm(study, SVMS[name]).fit(rows.X, rows.y)
    ranking = svm_ranking(model, rows.features)
    return {
        "ranking": rounded(ranking.scores),
        "right": {part: told_right(model, parts[part]) for part in ("validation", "test")},
        "masking": pg.masking_curve(
            model, test.X, test.y, ranking, counts=kept_counts(study, len(test.features))
        ).to_dict("list"),
    }


def svm_ranking(model: LinearSVC, features: tuple[str, ...]) -> pg.FeatureRanking:
    """Rank genes by the sum over classes of their absolute coefficients."""
    return pg.FeatureRanking(features, np.abs(model.coef_).sum(axis=0), method="svm")


def crop(study: Any, parts: Parts, condition: str, genes: list[str], random_state: int) -> dict[str, Any]:
    """Train anew on a panel: the condition's own network, with its masking curve; and the referee."""
    rows, test = parts["train"].only(genes), parts["test"].only(genes)
    referee = estimator(study, REFEREE, random_state).fit(rows)
    found: dict[str, Any] = {"genes": genes, "referee": told_right(referee, test)}
    if condition in SVMS:
        own = svm(study, SVMS[condition]).fit(rows.X, rows.y)
        ranking, model, labels = svm_ranking(own, rows.features), own, test.y
    else:
        own = referee if condition == REFEREE else estimator(study, own_network(condition), random_state).fit(rows)
        ranking, model = own.rank_by_weights(), own.network_
        labels = np.searchsorted(own.classes_, test.y)
    curve = pg.masking_curve(model, test.X, labels, ranking, study.crop.step)
    return {**found, "own": told_right(own, test), "masking": curve.to_dict("list")}


def own_network(condition: str) -> str:
    """Return the condition of a network on a panel: a path ends at its panel, what is left is a plain MLP."""
    return REFEREE if condition == "narrowing" else condition


def retrain(study: Any, parts: Parts, genes: list[str], random_state: int) -> dict[str, Any]:
    """Train the referee anew on a panel."""
    fitted = estimator(study, REFEREE, random_state).fit(parts["train"].only(genes))
    return {"genes": genes, "referee": told_right(fitted, parts["test"].only(genes))}


def rank_only(study: Any, parts: Parts, condition: str, random_state: int) -> dict[str, Any]:
    """Train one network on all genes, for its ranking alone."""
    model = estimator(study, condition, own_seed(condition, random_state)).fit(parts["train"])
    return {"ranking": rounded(model.rank_by_weights().scores)}


def panel_name(study: Any, condition: str) -> str:
    """Return the name of a panel's unit, which says all that may change from run to run."""
    panels = study.panels
    return f"panel of {panels.size} by {condition}, {panels.trainings} trainings, judged by {study.trainings.n}"


def panel(study: Any, parts: Parts, rankings: list[pg.FeatureRanking]) -> dict[str, Any]:
    """Choose the genes that are chosen most often, and score the panel on the test cells."""
    chosen = pg.panel_of(rankings, study.panels.size)
    right = []
    for random_state in study.seeds:
        right.append(retrain(study, parts, chosen.features, random_state)["referee"])
    score = bootstrap_score(np.array(right), parts["test"].y)
    return {
        "trainings": chosen.n_trainings,
        "table": chosen.table.head(2 * study.panels.size).to_dict("list"),
        "stability": chosen.stability,
        "stability_interval": chosen.stability_interval,
        "genes": chosen.features,
        "score": {"mean": score.mean, "low": score.low, "high": score.high},
        "right": right,
    }


def told_right(model: Any, cells: pg.Cells) -> list[int]:
    """Return 1 for each cell whose class the model tells, 0 for the others."""
    predicted = model.predict(cells if isinstance(model, pg.SelectorClassifier) else cells.X)
    return (predicted == cells.y).astype(int).tolist()


def class_mean(right: Any, y: np.ndarray) -> float:
    """Return the mean over classes of the share of their cells that are told right."""
    return mean_class_accuracy(np.asarray(y), np.where(np.asarray(right, bool), y, ""))


def rounded(values: Any) -> list[float]:
    """Return numbers that are short in a file."""
    return [float(f"{value:.{DIGITS}g}") for value in values]
