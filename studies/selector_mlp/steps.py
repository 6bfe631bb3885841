"""The cached steps of the gene-panel study: what is trained, and what is measured of it. Results are ready for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

import permgrad as pg
from studies.selector_mlp.conditions import REFEREE, SVMS, network_on_panel
from studies.selector_mlp.networks import Parts, PathSnapshots, network, network_on_all_genes, svm, svm_ranking
from studies.selector_mlp.results import panel_accuracy
from studies.selector_mlp.settings import PanelSettings

DIGITS = 9
"""Significant, of scores: float32 loses nothing, so ranks stay as they were."""


def rank_by_network(settings: PanelSettings, parts: Parts, condition: str, random_state: int) -> dict[str, Any]:
    """Train one network on all genes.

    Returns
    -------
    dict
        ``ranking`` (scores of the genes), ``correct`` predictions by part, and the ``masking`` curve on test cells; of
        the first training, its ``history``; of a path, the scores on test cells at each size (``path``); of the
        referee, masking curves of ``random`` orders.
    """
    first = random_state == settings.trainings.first_seed
    model = network_on_all_genes(settings, condition, random_state).set_params(log_evaluation=first)
    snapshots = PathSnapshots(model.epochs, model.epochs_per_size)
    watching = [snapshots] if condition == "narrowing" else []
    model.fit(parts["train"], validation_data=parts["validation"], callbacks=watching)
    measured = measure_ranking(settings, parts, model, model.rank_by_weights())
    test, y = parts["test"], class_numbers(model, parts["test"])
    if first:
        measured["history"] = {name: rounded(values) for name, values in model.history_.items()}
    if model.path_ is not None:
        measured["path"] = snapshots.evaluate(model, test.X, y).to_dict("list")
    if condition == REFEREE:
        step, n_orders = settings.masking.step, settings.masking.random_orders
        chance = pg.random_masking(model.network_, test.X, y, step, n_orders=n_orders, random_state=random_state)
        measured["random"] = chance.to_dict("list")
    return measured


def rank_by_svm(settings: PanelSettings, parts: Parts, name: str) -> dict[str, Any]:
    """Train a linear SVM on all genes: ``ranking``, ``correct`` and ``masking`` as `rank_by_network` has them."""
    train = parts["train"]
    model = svm(settings, name).fit(train.X, train.y)
    return measure_ranking(settings, parts, model, svm_ranking(model, train.features))


def measure_ranking(settings: PanelSettings, parts: Parts, model: Any, ranking: pg.FeatureRanking) -> dict[str, Any]:
    """Return what is measured of each model that ranked all genes."""
    test = parts["test"]
    curve = masking_curve(model, test, ranking, counts=settings.masking_counts(len(test.features)))
    return {
        "ranking": rounded(ranking.scores),
        "correct": {part: correct_predictions(model, parts[part]) for part in ("validation", "test")},
        "masking": curve.to_dict("list"),
    }


def rank_only(settings: PanelSettings, parts: Parts, condition: str, random_state: int) -> dict[str, Any]:
    """Train one network on all genes, for its ``ranking`` alone."""
    model = network_on_all_genes(settings, condition, random_state).fit(parts["train"])
    return {"ranking": rounded(model.rank_by_weights().scores)}


def train_on_panel(
    settings: PanelSettings, parts: Parts, condition: str, genes: list[str], random_state: int
) -> dict[str, Any]:
    """Train anew on a panel: the referee, and the ranking's own kind of network.

    Returns
    -------
    dict
        ``genes``; correct predictions on test cells of the ``referee`` and of its ``own`` network, whose ``masking``
        curve it is.
    """
    train, test = parts["train"].only(genes), parts["test"].only(genes)
    referee = network(settings, REFEREE, random_state).fit(train)
    if condition in SVMS:
        own = svm(settings, condition).fit(train.X, train.y)
        ranking = svm_ranking(own, train.features)
    else:
        kind = network_on_panel(condition)
        own = referee if kind == REFEREE else network(settings, kind, random_state).fit(train)
        ranking = own.rank_by_weights()
    return {
        "genes": genes,
        "referee": correct_predictions(referee, test),
        "own": correct_predictions(own, test),
        "masking": masking_curve(own, test, ranking, step=settings.crop.step).to_dict("list"),
    }


def train_referee(settings: PanelSettings, parts: Parts, genes: list[str], random_state: int) -> dict[str, Any]:
    """Train the referee anew on a panel: its correct predictions on test cells, ``referee``."""
    model = network(settings, REFEREE, random_state).fit(parts["train"].only(genes))
    return {"genes": genes, "referee": correct_predictions(model, parts["test"].only(genes))}


def choose_panel(settings: PanelSettings, parts: Parts, rankings: Sequence[pg.FeatureRanking]) -> dict[str, Any]:
    """Choose the genes that are chosen most often, and score the panel on test cells.

    Returns
    -------
    dict
        ``table`` of the genes, Nogueira's ``stability`` and its ``stability_interval``; ``accuracy`` of the referee,
        trained anew on the panel, with ``low`` and ``high``.
    """
    chosen = panel_of_rankings(rankings, settings.panels.size)
    correct = [train_referee(settings, parts, chosen["genes"], seed)["referee"] for seed in settings.seeds]
    return {**chosen, **panel_accuracy(correct, parts["test"].y)}


def panel_of_rankings(rankings: Sequence[pg.FeatureRanking], k: int) -> dict[str, Any]:
    """Return `permgrad.panel_of` without a score; of the table, twice as many genes as the panel has."""
    panel = pg.panel_of(rankings, k)
    return {
        "genes": panel.features,
        "table": panel.table.head(2 * k).to_dict("list"),
        "stability": panel.stability,
        "stability_interval": panel.stability_interval,
    }


def correct_predictions(model: Any, cells: pg.Cells) -> list[int]:
    """Return 1 for each cell whose class the model tells, 0 for the others."""
    predicted = model.predict(cells if isinstance(model, pg.SelectorClassifier) else cells.X)
    return (predicted == cells.y).astype(int).tolist()


def masking_curve(model: Any, cells: pg.Cells, ranking: pg.FeatureRanking, **counts: Any) -> pd.DataFrame:
    """Return `permgrad.masking_curve` of an SVM, or of an estimator's Keras model, which is quicker to call."""
    if isinstance(model, pg.SelectorClassifier):
        return pg.masking_curve(model.network_, cells.X, class_numbers(model, cells), ranking, **counts)
    return pg.masking_curve(model, cells.X, cells.y, ranking, **counts)


def class_numbers(model: pg.SelectorClassifier, cells: pg.Cells) -> np.ndarray:
    """Return each cell's class as the network's output numbers it."""
    return np.searchsorted(model.classes_, cells.y)


def rounded(values: Any) -> list[float]:
    """Return numbers that are short in a file."""
    return [float(f"{value:.{DIGITS}g}") for value in values]
