"""A finished ranking → a directory: tables, settings, model and pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from permgrad import plotting
from permgrad.estimators import HybridClassifier, HybridRegressor
from permgrad.evaluation.scores import scores
from permgrad.importance.ranking import FeatureRanking
from permgrad.saving import versions, write_estimator
from permgrad.table import Table

DPI = 150


def write_results(
    directory: Path,
    estimator: HybridClassifier | HybridRegressor,
    ranking: FeatureRanking,
    table: Table,
    test: Table,
    *,
    split_seed: int,
) -> FeatureRanking:
    """Write everything about one ranking into an existing, empty directory.

    ``ranking.csv``, ``ranking.json`` (with settings, versions, the table's hash and the test scores),
    ``model/`` and the pictures as PNG.

    Parameters
    ----------
    directory : Path
    estimator : HybridClassifier or HybridRegressor
        Fitted.
    ranking : FeatureRanking
        Of `test`.
    table, test : Table
        All rows, and those that the ranking and the scores are of.
    split_seed : int
        Of the split that gave `test`.

    Returns
    -------
    FeatureRanking
        The ranking with these settings, as written.
    """
    ranking = replace(
        ranking,
        settings={
            **ranking.settings,
            "data": {"name": table.name, "sha256": table.sha256, "rows": len(table), **table.notes},
            "missing_values_in_training": estimator.encoder_.missing,
            "split_seed": split_seed,
            "test_rows": len(test),
            "test_scores": scores(estimator, test),
            "estimator": {"class": type(estimator).__name__, **estimator.get_params()},
            "versions": versions(),
        },
    )
    ranking.table.to_csv(directory / "ranking.csv", index=False)
    ranking.save(directory / "ranking.json")
    (directory / "model").mkdir()
    write_estimator(estimator, directory / "model")
    for name, figure in pictures(estimator, ranking, test):
        figure.savefig(directory / f"{name}.png", dpi=DPI)
    return ranking


def pictures(
    estimator: HybridClassifier | HybridRegressor, ranking: FeatureRanking, test: Table
) -> Iterator[tuple[str, Figure]]:
    """Draw each picture of a results directory: (name, figure)."""
    yield "ranking", plotting.plot_ranking(ranking)
    for name, part in ranking.components.items():
        yield name, plotting.plot_scores(part)
    if estimator.layout_ is not None:
        yield "layout", plotting.plot_layout(estimator.layout_)
        yield "sample", _sample_picture(estimator, test)
    yield "learning_curves", plotting.plot_history(estimator.history_, estimator.kept_epoch_)
    predicted = estimator.predict(test.X)
    if isinstance(estimator, HybridClassifier):
        yield "confusion", plotting.plot_confusion(test.y, predicted, estimator.classes_)
    else:
        yield "predicted_against_true", plotting.plot_predictions(test.y, predicted, str(test.y.name))


def _sample_picture(estimator: HybridClassifier | HybridRegressor, test: Table) -> Figure:
    row = test.take(np.array([0]))
    predicted = estimator.predict(row.X)[0]
    output = 0
    if isinstance(estimator, HybridClassifier):
        output = int(np.flatnonzero(estimator.classes_ == predicted)[0])
    shown = predicted if isinstance(estimator, HybridClassifier) else f"{predicted:.4g}"
    title = f"first test row: predicted {shown}, true {row.y.iloc[0]}"
    return plotting.plot_sample(estimator.images(row.X)[0], estimator.grad_cam_maps(row.X)[0, :, :, output], title)
