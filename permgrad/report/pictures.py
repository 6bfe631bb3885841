"""The pictures of one ranking, as matplotlib figures."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score

from permgrad import plotting
from permgrad.data.table import Table
from permgrad.estimators.hybrid import HybridClassifier, HybridRegressor
from permgrad.evaluation.result import RankingEvaluation
from permgrad.metrics.calibration import reliability_curve, top_label
from permgrad.report.results import Results

PAGE_WIDTH = 5.6
"""Inches, of bars on the page: their names can still be read on a phone."""
PAGE_FEATURES = 20
"""Bars on the page."""
PAGE_EFFECTS = 6
"""Columns whose effects are drawn: the best."""
MOST_CLASSES = 10
"""That have a curve."""
SAMPLED = 200
"""Rows among which one is sought whose Grad-CAM map is not empty."""


def pictures(results: Results) -> Iterator[tuple[str, Figure]]:
    """Draw each picture of a results directory: (name, figure)."""
    estimator, ranking, test = results.estimator, results.ranking, results.test
    yield "ranking", plotting.plot_ranking(ranking)
    for name, part in ranking.components.items():
        yield name, plotting.plot_scores(part)
    if results.effects.columns:
        yield "effects", results.effects.plot([column.name for column in results.effects.columns[:PAGE_EFFECTS]])
    if estimator.layout_ is not None:
        yield "layout", plotting.plot_layout(estimator.layout_)
        yield "sample", plotting.plot_sample(*sample_with_heat(estimator, test), estimator.layout_)
    yield "learning_curves", plotting.plot_history(estimator.history_, estimator.kept_epoch_)
    if isinstance(estimator, HybridClassifier):
        yield "confusion", plotting.plot_confusion(test.y, results.predicted, estimator.classes_)
        yield "reliability", _reliability(results)
        outcomes = class_outcomes(results)
        if outcomes:
            happened = {label: of_class[0] for label, of_class in outcomes.items()}
            probability = {label: of_class[1] for label, of_class in outcomes.items()}
            areas = {label: float(roc_auc_score(happened[label], probability[label])) for label in outcomes}
            yield "roc", plotting.plot_roc(happened, probability, areas)
            yield "precision_recall", plotting.plot_precision_recall(happened, probability)
    else:
        yield "predicted_against_true", plotting.plot_predictions(test.y, results.predicted, str(test.y.name))
        yield "residuals", plotting.plot_residuals(test.y, results.predicted, str(test.y.name))
    if results.evaluation is not None:
        yield from _evaluation_pictures(results.evaluation)


def narrow_pictures(results: Results) -> Iterator[tuple[str, Figure]]:
    """Draw again, for the page, those pictures that would not be legible on a phone."""
    estimator, ranking = results.estimator, results.ranking
    yield "ranking", plotting.plot_ranking(ranking, top=PAGE_FEATURES, width=PAGE_WIDTH)
    for name, part in ranking.components.items():
        yield name, plotting.plot_scores(part, width=PAGE_WIDTH)
    yield "learning_curves", plotting.plot_history(estimator.history_, estimator.kept_epoch_, stacked=True)


def class_outcomes(results: Results) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return for each class whether a test row is of it, and the probability of that: of two classes, of the second.

    At most `MOST_CLASSES`; left out are classes that no test row is of, or all are.
    """
    classes = results.estimator.classes_
    numbers = range(1, 2) if len(classes) == 2 else range(min(len(classes), MOST_CLASSES))
    found = {str(classes[c]): (results.class_numbers == c, results.probabilities[:, c]) for c in numbers}
    return {label: (happened, p) for label, (happened, p) in found.items() if 0 < happened.sum() < len(happened)}


def _reliability(results: Results) -> Figure:
    """Draw the reliability of the second class's probability, or with more classes of the likeliest one's."""
    p, y, classes = results.probabilities, results.class_numbers, results.estimator.classes_
    if len(classes) == 2:
        return plotting.plot_reliability(reliability_curve(y == 1, p[:, 1]), f"{classes[1]}")
    probability, right = top_label(y, p)
    return plotting.plot_reliability(reliability_curve(right, probability))


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
        Which row it is, and the share of empty maps among the first `SAMPLED` rows, if there is any.
    """
    rows = test.take(np.arange(min(SAMPLED, len(test))))
    predicted, outputs = estimator.predict(rows.X), np.zeros(len(rows), int)
    if isinstance(estimator, HybridClassifier):
        outputs = np.searchsorted(estimator.classes_, predicted)
    heats = estimator.grad_cam_maps(rows.X)[np.arange(len(rows)), :, :, outputs]
    empty = ~(heats > 0).any(axis=(1, 2))
    row = int(np.argmin(empty))
    answer = predicted[row] if isinstance(estimator, HybridClassifier) else f"{predicted[row]:.4g}"
    title = f"test row {row}: predicted {answer}, true {rows.y.iloc[row]}"
    if empty.any():
        title += f" (Grad-CAM is empty for {empty.mean():.0%} of the first {len(rows)} rows)"
    return estimator.images(rows.take(np.array([row])).X)[0], heats[row], title
