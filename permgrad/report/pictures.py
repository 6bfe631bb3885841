"""The pictures of one ranking, as matplotlib figures and as files."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from sklearn.metrics import roc_auc_score

from permgrad import plotting
from permgrad.evaluation.result import RankingEvaluation
from permgrad.metrics.calibration import judged, reliability_curve
from permgrad.metrics.curves import Curve
from permgrad.report.explained_rows import ImageRows
from permgrad.report.results import Results

DPI, COLOURS = 150, 256
"""Dots per inch; colours of a palette."""
WHITE = (255, 255, 255)
PAGE_WIDTH = 5.6
"""Inches, of bars: on the page, their names can still be read on a phone."""
PAGE_FEATURES = 20
"""Bars on the page."""
PAGE_EFFECTS = 6
"""Columns whose effects are drawn: the best."""
MOST_CLASSES = 10
"""That have a curve."""
TITLE_WIDTH = 110
NAMED_IN_LAYOUT = 10


def pictures(results: Results) -> Iterator[tuple[str, Figure]]:
    """Draw each picture of a results directory: (name, figure)."""
    ranking, test = results.ranking, results.test
    estimator: Any = results.estimator
    yield "ranking", plotting.plot_ranking(ranking, top=PAGE_FEATURES, width=PAGE_WIDTH)
    for name, part in ranking.components.items():
        yield name, plotting.plot_scores(part, width=PAGE_WIDTH)
    if results.effects.columns:
        yield "effects", results.effects.plot([column.name for column in results.effects.columns[:PAGE_EFFECTS]])
    if results.images is not None:
        yield "layout", plotting.plot_layout(estimator.layout_, best_drawn(results))
        yield "sample", sample_picture(results, results.images)
    if results.carried is not None:
        for name, place in results.carried.ends.items():
            yield f"row_{name}", results.carried.found.plot(place)
    if results.foreign is None:
        yield "learning_curves", plotting.plot_history(estimator.history_, estimator.kept_epoch_, stacked=True)
    if test.task == "classification":
        yield from pictures_of_classes(results)
    else:
        yield "predicted_against_true", plotting.plot_predictions(test.y, results.predicted, str(test.y.name))
        yield "residuals", plotting.plot_residuals(test.y, results.predicted, str(test.y.name))
    if results.by is not None:
        yield "by", results.by.plot()
    if results.evaluation is not None:
        yield from _evaluation_pictures(results.evaluation)


def pictures_of_classes(results: Results) -> Iterator[tuple[str, Figure]]:
    """Draw how well classes are told apart; of two classes, beside what other models do."""
    test, outcomes, beside = results.test, class_outcomes(results), others_beside(results)
    yield "confusion", plotting.plot_confusion(test.y, results.predicted, results.estimator.classes_)
    yield "reliability", plotting.plot_reliability(*reliability(results), beside=_of("reliability", beside))
    if outcomes:
        happened = {label: of_class[0] for label, of_class in outcomes.items()}
        probability = {label: of_class[1] for label, of_class in outcomes.items()}
        areas = {label: float(roc_auc_score(*outcomes[label], sample_weight=test.weights)) for label in outcomes}
        shown = beside if len(results.estimator.classes_) == 2 else {}
        known: dict[str, Any] = {"sample_weight": test.weights}
        yield "roc", plotting.plot_roc(happened, probability, areas, beside=_of("roc", shown), **known)
        curves = _of("precision_recall", shown)
        yield "precision_recall", plotting.plot_precision_recall(happened, probability, beside=curves, **known)


def curves_beside(results: Results) -> dict[str, dict[str, Curve]]:
    """Return the curves of the network and of the models beside it, by their names, the network first."""
    return {} if results.models is None else {name: known for name, known in results.models.curves.items() if known}


def others_beside(results: Results) -> dict[str, dict[str, Curve]]:
    """Return the curves of the models beside the network."""
    return dict(list(curves_beside(results).items())[1:])


def _of(kind: str, curves: dict[str, dict[str, Curve]]) -> dict[str, Curve]:
    return {name: known[kind] for name, known in curves.items()}


def class_outcomes(results: Results) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return for each class whether a test row is of it, and the probability of that: of two classes, of the second.

    At most `MOST_CLASSES`; left out are classes that no test row that weighs is of, or all are.
    """
    classes = results.estimator.classes_
    numbers = range(1, 2) if len(classes) == 2 else range(min(len(classes), MOST_CLASSES))
    found = {str(classes[c]): (results.class_numbers == c, results.probabilities[:, c]) for c in numbers}
    weights = results.test.weights
    counted = np.ones(len(results.test), bool) if weights is None else np.asarray(weights) > 0
    return {label: outcome for label, outcome in found.items() if len(np.unique(outcome[0][counted])) == 2}


def reliability(results: Results) -> tuple[pd.DataFrame, str | None]:
    """Return the reliability curve of the second class's probability, and its name; of more, of the likeliest's."""
    classes = results.estimator.classes_
    probability, happened = judged(results.class_numbers, results.probabilities)
    curve = reliability_curve(happened, probability, sample_weight=results.test.weights)
    return curve, f"{classes[1]}" if len(classes) == 2 else None


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


def best_drawn(results: Results) -> dict[str, list[int]]:
    """Return the best columns that the image has, each with the features of the layout that it is drawn as."""
    drawn = results.estimator.encoder_.groups_
    best = [name for i in results.ranking.order if (name := results.ranking.features[i]) in drawn]
    return {name: drawn[name].tolist() for name in best[:NAMED_IN_LAYOUT]}


def sample_picture(results: Results, images: ImageRows) -> Figure:
    """Draw the first test row's image, and what its columns add there to what is predicted."""
    estimator, test, heat, at = results.estimator, results.test, images.heat, images.place(0)
    predicted = results.predicted[0]
    answer = predicted if test.task == "classification" else f"{predicted:.4g}"
    title = f"test row 0: predicted {answer}, true {test.y.iloc[0]}\n{textwrap.fill(heat.caption(at), TITLE_WIDTH)}"
    pixels, columns = heat.pixels[at], estimator.encoder_.groups_
    labels = []
    for name, _, text in heat.named(at):
        told = columns[name][~np.isnan(pixels[columns[name]])]
        labels.append((int(told[0]), text))
    image, layout = estimator.images(test.X.iloc[[0]])[0], estimator.layout_
    assert layout is not None  # noqa: S101 - the caller draws where there is one
    return plotting.plot_row_image(image, layout, pixels, labels, title=title, unit=heat.unit)


def write_picture(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG file; of few colours, unless it shows an image, whose shades would become bands."""
    figure.set_dpi(DPI)
    engine = figure.get_layout_engine()
    if engine is not None:  # once, and not by a drawing that is thrown away, as `savefig` does it
        engine.execute(figure)
        figure.set_layout_engine("none")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())[:, :, :3])
    shades = any(axes.images for axes in figure.axes)
    (image if shades else _of_few_colours(image)).save(path, "PNG")


def _of_few_colours(image: Image.Image) -> Image.Image:
    """Return a picture of lines and text with a palette, which takes a third of the room; white stays white."""
    few = image.quantize(COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    corner: Any = few.getpixel((0, 0))
    palette = few.getpalette() or []
    palette[3 * corner : 3 * corner + 3] = WHITE
    few.putpalette(palette)
    return few
