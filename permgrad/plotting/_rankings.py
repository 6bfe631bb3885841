"""Pictures of one ranking: bars, with whiskers where the ranking knows how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from permgrad.plotting.style import (
    WIDTH,
    bars,
    colours,
    label_bars,
    legend_below,
    literal,
    longest,
    method_title,
    name_bars,
    short,
)

if TYPE_CHECKING:
    from permgrad.importance.ranking import FeatureRanking

BESIDE = 14
"""Letters of a class's name up to which a legend leaves room for bars beside it."""
LABELS = {
    "shapley": "loss saved (Shapley value)",
    "first_in": "loss saved on its own",
    "tabular": "loss saved by the tabular branch's seeing it",
    "image": "loss saved by the image branch's seeing it",
    "permutation": "loss increase when permuted",
    "end_to_end": "loss increase when permuted in both branches",
    "conditional": "loss increase when permuted among alike rows",
    "grad_cam": "mean Grad-CAM at the feature's pixel",
    "layer_cam": "mean LayerCAM at the feature's pixel",
    "gradient_input": "mean gradient × input",
    "permgrad": "PermGrad score",
    "score_permutation": "fall of the score when permuted",
}


def plot_ranking(ranking: FeatureRanking, top: int = 10, width: float = WIDTH) -> Figure:
    """Draw the `top` best features as horizontal bars, stacked by class where there are classes.

    The picture is `width` inches wide; the legend is below where there is no room beside the bars.
    Whiskers are the score's 95 % intervals, where the ranking has them; a grey band is where those of its probes are
    (`FeatureRanking.probe_level`). Bars are not stacked where a class's score is negative: its part has no width.
    """
    shown = _best(ranking, top)[::-1]
    figure, axes = bars(len(shown), width)
    if ranking.class_scores is None or ranking.classes is None or ranking.class_scores[shown].min(initial=0) < 0:
        axes.barh(range(len(shown)), ranking.scores[shown], color=colours(1)[0])
    else:
        left = np.zeros(len(shown))
        # Scores that sum over classes are stacked; means over classes are divided so that bars end at the score.
        parts = ranking.class_scores[shown]
        sums = parts.sum(axis=1)
        factor = np.divide(ranking.scores[shown], sums, out=np.zeros(len(shown)), where=sums != 0)
        for c, label in enumerate(ranking.classes):
            lengths, colour = parts[:, c] * factor, colours(len(ranking.classes))[c]
            axes.barh(range(len(shown)), lengths, left=left, label=short(label), color=colour)
            left += lengths
        if width >= WIDTH and _fits_beside(len(shown), ranking.classes):
            figure.legend(title="class", loc="outside right upper")
        else:
            legend_below(figure, ranking.classes)
    interval = _interval(ranking)
    if interval is not None:
        _whiskers(axes, *(end[shown] for end in interval))
    band = ranking.probe_level
    if band is not None:
        axes.axvspan(*band, color="0.85", zorder=0)
    names = [ranking.features[i] for i in shown]
    name_bars(axes, names)
    said = [*(["95 % interval"] if interval else []), *(["grey: probes"] if band else [])]
    label_bars(axes, _label(ranking) + (f" ({'; '.join(said)})" if said else ""), names, width)
    _write_title(figure, ranking, width)
    return figure


def plot_scores(ranking: FeatureRanking, top: int = 20, width: float = WIDTH) -> Figure:
    """Draw the `top` best features of one explainer.

    Whiskers are the score's 95 % intervals where the ranking has them, else one standard deviation over
    repeats to each side.
    """
    shown = _best(ranking, top)[::-1]
    figure, axes = bars(len(shown), width)
    axes.barh(range(len(shown)), ranking.scores[shown], color=colours(1)[0])
    interval, spread = _interval(ranking), ""
    if interval is not None:
        spread = " (95 % interval)"
    elif ranking.std is not None:
        interval, spread = (ranking.scores - ranking.std, ranking.scores + ranking.std), " (mean ± sd over repeats)"
    if interval is not None:
        _whiskers(axes, *(end[shown] for end in interval))
    axes.axvline(0, color="black", linewidth=0.8)
    names = [ranking.features[i] for i in shown]
    name_bars(axes, names)
    label_bars(axes, _label(ranking) + spread, names, width)
    _write_title(figure, ranking, width)
    return figure


def _fits_beside(n_bars: int, classes: Sequence[str]) -> bool:
    """Tell whether a legend of the classes has room beside so many bars."""
    return longest(classes) <= BESIDE and len(classes) <= max(6, n_bars)


def _label(ranking: FeatureRanking) -> str:
    label = LABELS.get(ranking.method, "score")
    return literal(label.replace("the score", str(ranking.settings.get("scoring", "the score")).replace("_", " ")))


def _best(ranking: FeatureRanking, top: int) -> np.ndarray:
    """Return the numbers of the best features that were measured."""
    return ranking.order[~np.isin(ranking.features, ranking.pending)[ranking.order]][:top]


def _interval(ranking: FeatureRanking) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the ends of the scores' intervals, in the order of the ranking's features."""
    if ranking.low is None or ranking.high is None:
        return None
    return ranking.low, ranking.high


def _whiskers(axes: Any, low: np.ndarray, high: np.ndarray) -> None:
    # From end to end, not from the score: a bootstrap interval need not have it in the middle.
    axes.errorbar(
        (low + high) / 2, range(len(low)), xerr=(high - low) / 2, fmt="none", ecolor="black", elinewidth=1, capsize=3
    )


def _write_title(figure: Figure, ranking: FeatureRanking, width: float) -> None:
    weights = ", ".join(f"{branch} {weight:z.2f}" for branch, weight in ranking.trusted_weights.items())
    title = literal(method_title(ranking.method)) + (f"\nbranch weights: {weights}" if weights else "")
    if width >= WIDTH:
        figure.axes[0].set_title(title, fontsize=11)
    else:  # beside long names, the bars alone are too narrow for it
        figure.suptitle(title, fontsize=11)
