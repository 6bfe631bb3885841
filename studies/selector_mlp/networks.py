"""The networks and SVMs of the gene-panel study, unfitted, and what can be known of them before or while they train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
from sklearn.svm import LinearSVC

import permgrad as pg
from permgrad.backend import keras
from permgrad.models.selector import SelectorConfig, build_selector_mlp
from permgrad.training.evaluation_log import evaluate_network
from studies.selector_mlp.conditions import CONDITIONS, SVMS
from studies.selector_mlp.settings import PanelSettings

Parts = Mapping[str, pg.Cells]
"""train, validation and test."""


def network(settings: PanelSettings, condition: str, random_state: int) -> pg.SelectorClassifier:
    """Return the unfitted network of a condition."""
    beyond = settings.beyond
    changes: dict[str, dict[str, Any]] = {
        "stochastic": {"alpha": beyond.stochastic_alpha},
        "narrowing": {
            "alpha": beyond.narrowing_alpha,
            "epochs": beyond.narrowing_epochs,
            "steps": None,
            "sizes": beyond.sizes,
            "epochs_per_size": beyond.epochs_per_size,
        },
    }
    arguments = {**settings.network.model_dump(), **CONDITIONS[condition], **changes.get(condition, {})}
    return pg.SelectorClassifier(**arguments, random_state=random_state)


def network_on_all_genes(settings: PanelSettings, condition: str, random_state: int) -> pg.SelectorClassifier:
    """Return the same with a seed of the condition's own: begun alike, rankings would be alike for that alone."""
    return network(settings, condition, 1000 * list(CONDITIONS).index(condition) + random_state)


def svm(settings: PanelSettings, name: str) -> LinearSVC:
    """Return an unfitted linear SVM; its solver for both penalties is the primal one, which draws nothing."""
    return LinearSVC(penalty=SVMS[name], C=settings.svm.C, dual=False, max_iter=5000)


def svm_ranking(model: LinearSVC, genes: tuple[str, ...]) -> pg.FeatureRanking:
    """Rank genes by the sum over classes of their absolute coefficients."""
    return pg.FeatureRanking(genes, np.abs(model.coef_).sum(axis=0), method="svm")


def initial_weights(settings: PanelSettings, condition: str, random_state: int, n_genes: int) -> np.ndarray | None:
    """Return the selector's absolute weights before training, (n_genes,); None without one, or where all are equal."""
    given = network_on_all_genes(settings, condition, random_state).get_params()
    config = SelectorConfig(
        **{field.name: given[field.name] for field in fields(SelectorConfig) if field.name in given}
        | {"precision": "float32"}
    )
    if config.selector == "none":
        return None
    weights = build_selector_mlp(config, n_genes, 2).get_layer("selector").importance()
    return weights if np.ptp(weights) else None


class PathSnapshots(keras.callbacks.Callback):
    """Keep the network's weights at the end of each size of a path: it can be scored on test cells when it is fitted.

    Parameters
    ----------
    epochs : int
        Before the first size.
    epochs_per_size : int
    """

    def __init__(self, epochs: int, epochs_per_size: int) -> None:
        super().__init__()
        self.epochs, self.epochs_per_size = epochs, epochs_per_size
        self._weights: list[list[np.ndarray]] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Keep them, where a size ends."""
        size, epoch_of_size = divmod(epoch - self.epochs, self.epochs_per_size)
        if size >= 0 and epoch_of_size == self.epochs_per_size - 1:
            self._weights.append(self.model.get_weights())

    def evaluate(self, model: pg.SelectorClassifier, X: Any, y: np.ndarray) -> pd.DataFrame:
        """Return loss and accuracies on rows, (n_sizes, ...), of the network as it was at the end of each ``size``.

        The network is left as it was at the end: that of the last size.
        """
        rows = []
        for size, weights in zip(model.path_["size"], self._weights, strict=True):
            model.network_.set_weights(weights)
            rows.append({"size": size, **evaluate_network(model.network_, X, y)})
        return pd.DataFrame(rows)
