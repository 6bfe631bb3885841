"""A finished ranking → a directory: tables, settings, model, pictures and the page that shows them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from permgrad import plotting
from permgrad.data.table import Table
from permgrad.estimators.hybrid import HybridClassifier, HybridRegressor
from permgrad.estimators.saving import versions, write_estimator
from permgrad.evaluation.result import RankingEvaluation, write_evaluation
from permgrad.importance.ranking import FeatureRanking
from permgrad.metrics.scores import scores
from permgrad.report.page import TOP, render_page

DPI = 150
PAGE_WIDTH = 5.6
SAMPLED = 200
"""Rows among which one is sought whose Grad-CAM map is not empty."""
"""Inches, of bars on the page: their names can still be read on a phone."""


def write_results(
    directory: Path,
    estimator: HybridClassifier | HybridRegressor,
    ranking: FeatureRanking,
    table: Table,
    test: Table,
    *,
    split_random_state: int,
    groups: FeatureRanking | None = None,
    evaluation: RankingEvaluation | None = None,
    command: str | None = None,
) -> FeatureRanking:
    """Write everything about one ranking into an existing, empty directory.

    ``ranking.csv``, ``ranking.json`` (with settings, versions, the table's hash and the test scores),
    ``model/``, the pictures as PNG, and ``report.html``, which shows all of it on one page.

    Parameters
    ----------
    directory : Path
    estimator : HybridClassifier or HybridRegressor
        Fitted.
    ranking : FeatureRanking
        Of `test`.
    table, test : Table
        All rows, and those that the ranking and the scores are of.
    split_random_state : int
        Of the split that gave `test`.
    groups : FeatureRanking, optional
        Of groups of columns: ``groups.csv`` and ``groups.json``, and a part of the page.
    evaluation : RankingEvaluation, optional
        What the referee found about the ranking: drawn, shown on the page, and written to ``evaluation/``.
    command : str, optional
        Command line that repeats the run, for the page; by default the page shows Python calls.

    Returns
    -------
    FeatureRanking
        The ranking with these settings, as written.
    """
    ranking = replace(
        ranking,
        settings={
            **ranking.settings,
            "data": {
                "name": table.name,
                "target": str(table.y.name),
                "sha256": table.sha256,
                "rows": len(table),
                **table.notes,
            },
            "missing_values_in_training": estimator.encoder_.missing_,
            "split_random_state": split_random_state,
            "test_rows": len(test),
            "test_scores": scores(estimator, test),
            "estimator": {"class": type(estimator).__name__, **estimator.get_params()},
            "versions": versions(),
            "command": command,
        },
    )
    ranking.table.to_csv(directory / "ranking.csv", index=False)
    ranking.save(directory / "ranking.json")
    (directory / "model").mkdir()
    write_estimator(estimator, directory / "model")
    if groups is not None:
        groups.table.to_csv(directory / "groups.csv", index=False)
        groups.save(directory / "groups.json")
    if evaluation is not None:
        (directory / "evaluation").mkdir()
        write_evaluation(evaluation, directory / "evaluation")
    predicted = estimator.predict(test.X)
    figures = dict(pictures(estimator, ranking, test, predicted, evaluation))
    for name, figure in figures.items():
        figure.savefig(directory / f"{name}.png", dpi=DPI)
    shown = {**figures, **dict(_narrow_pictures(estimator, ranking))}
    page = render_page(
        ranking,
        estimator,
        table,
        test,
        shown,
        predicted=predicted,
        groups=groups,
        evaluation=evaluation,
        command=command,
    )
    (directory / "report.html").write_text(page, encoding="utf-8")
    return ranking


def pictures(
    estimator: HybridClassifier | HybridRegressor,
    ranking: FeatureRanking,
    test: Table,
    predicted: np.ndarray,
    evaluation: RankingEvaluation | None = None,
) -> Iterator[tuple[str, Figure]]:
    """Draw each picture of a results directory: (name, figure)."""
    yield "ranking", plotting.plot_ranking(ranking)
    for name, part in ranking.components.items():
        yield name, plotting.plot_scores(part)
    if estimator.layout_ is not None:
        yield "layout", plotting.plot_layout(estimator.layout_)
        yield "sample", _sample_picture(estimator, test)
    yield "learning_curves", plotting.plot_history(estimator.history_, estimator.kept_epoch_)
    if isinstance(estimator, HybridClassifier):
        yield "confusion", plotting.plot_confusion(test.y, predicted, estimator.classes_)
    else:
        yield "predicted_against_true", plotting.plot_predictions(test.y, predicted, str(test.y.name))
    if evaluation is not None:
        yield from _evaluation_pictures(evaluation)


def _narrow_pictures(
    estimator: HybridClassifier | HybridRegressor, ranking: FeatureRanking
) -> Iterator[tuple[str, Figure]]:
    """Draw again, for the page, what would not be legible on a phone."""
    yield "ranking", plotting.plot_ranking(ranking, top=TOP, width=PAGE_WIDTH)
    for name, part in ranking.components.items():
        yield name, plotting.plot_scores(part, width=PAGE_WIDTH)
    yield "learning_curves", plotting.plot_history(estimator.history_, estimator.kept_epoch_, stacked=True)


def _evaluation_pictures(evaluation: RankingEvaluation) -> Iterator[tuple[str, Figure]]:
    """Draw the parts that the evaluation has."""
    if len(evaluation.curves):
        yield "curves", plotting.plot_curves(evaluation)
    if len(evaluation.retrain):
        yield "retraining", plotting.plot_retraining(evaluation)
    if len(evaluation.sanity):
        yield "sanity", plotting.plot_sanity(evaluation)
    if len(evaluation.agreement) > 1:
        yield "agreement", plotting.plot_agreement(evaluation.agreement)
    if evaluation.stability:
        yield "stability", plotting.plot_stability(evaluation.stability)


def sample_with_heat(estimator: HybridClassifier | HybridRegressor, test: Table) -> tuple[np.ndarray, np.ndarray, str]:
    """Return the first test row's image and Grad-CAM of what is predicted; of one whose map is not zero everywhere.

    Grad-CAM keeps what speaks for the prediction, in the mean over the map; where nothing does, the map is empty.

    Returns
    -------
    image : ndarray of shape (height, width, 1)
    heat : ndarray of shape (map_height, map_width)
    title : str
        Which row it is, of how many that were looked at, and how many of these have an empty map.
    """
    rows = test.take(np.arange(min(SAMPLED, len(test))))
    predicted, outputs = estimator.predict(rows.X), np.zeros(len(rows), int)
    if isinstance(estimator, HybridClassifier):
        outputs = np.searchsorted(estimator.classes_, predicted)
    heats = estimator.grad_cam_maps(rows.X)[np.arange(len(rows)), :, :, outputs]
    empty = ~(heats > 0).any(axis=(1, 2))
    row = int(np.argmin(empty))
    shown = predicted[row] if isinstance(estimator, HybridClassifier) else f"{predicted[row]:.4g}"
    title = f"test row {row}: predicted {shown}, true {rows.y.iloc[row]}"
    if empty.any():
        title += f" (Grad-CAM is empty for {empty.mean():.0%} of the first {len(rows)} rows)"
    return estimator.images(rows.take(np.array([row])).X)[0], heats[row], title


def _sample_picture(estimator: HybridClassifier | HybridRegressor, test: Table) -> Figure:
    image, heat, title = sample_with_heat(estimator, test)
    return plotting.plot_sample(image, heat, title, estimator.layout_)
