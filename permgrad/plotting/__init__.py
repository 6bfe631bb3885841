"""Pictures of results. Nothing is computed here but positions and colours.

Every function returns a `matplotlib.figure.Figure`: shown by a notebook, written by its ``savefig``.
"""

import matplotlib.pyplot  # noqa: F401 - makes notebooks show figures

from permgrad.plotting.architecture import plot_network
from permgrad.plotting.evaluation import plot_agreement, plot_curves, plot_retraining, plot_sanity, plot_stability
from permgrad.plotting.learning import plot_comparison, plot_epoch_scores
from permgrad.plotting.network import overlay, plot_confusion, plot_history, plot_layout, plot_predictions, plot_sample
from permgrad.plotting.patches import (
    plot_areas,
    plot_classes,
    plot_heat,
    plot_learning,
    plot_patches,
    plot_pixels,
    plot_roc,
)
from permgrad.plotting.rankings import plot_ranking, plot_scores
from permgrad.plotting.style import method_title

__all__ = [
    "method_title",
    "overlay",
    "plot_agreement",
    "plot_areas",
    "plot_classes",
    "plot_comparison",
    "plot_confusion",
    "plot_curves",
    "plot_epoch_scores",
    "plot_heat",
    "plot_history",
    "plot_layout",
    "plot_learning",
    "plot_network",
    "plot_patches",
    "plot_pixels",
    "plot_predictions",
    "plot_ranking",
    "plot_retraining",
    "plot_roc",
    "plot_sample",
    "plot_sanity",
    "plot_scores",
    "plot_stability",
]
