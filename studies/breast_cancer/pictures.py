"""What the breast cancer study found, as pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

import permgrad as pg
from permgrad import plotting
from studies.breast_cancer.tables import Results

SHOWN = 15
"""Features."""


def pictures(settings: Any, results: Results, tables: Mapping[str, pd.DataFrame]) -> dict[str, Figure]:
    """Draw the first seed's learning curves, permutation importance and confusion, the hybrid's ranking, the folds."""
    truth = results.test_classes
    figures = {}
    for name, network in results.first.items():
        figures[f"epochs_{name}"] = plotting.plot_epoch_scores(tables[f"epochs_{name}"], title=f"{name} features")
        figures[f"confusion_{name}"] = plotting.plot_confusion(truth, network["test"]["predicted"], sorted(set(truth)))
        if "ranking" in network:
            ranking = pg.FeatureRanking.from_dict(network["ranking"])
            figures[f"permutation_{name}"] = draw_permutation(ranking, getattr(settings.selection.threshold, name))
    figures["permgrad"] = plotting.plot_ranking(results.permgrad, top=SHOWN)
    scores = {str(score): rows for score, rows in tables["comparison"].groupby("score", sort=False)}
    figures["comparison"] = plotting.plot_comparison(scores)
    return figures


def draw_permutation(ranking: pg.FeatureRanking, threshold: float) -> Figure:
    """Draw what permuting each feature costs, and what it must cost to be selected."""
    figure = plotting.plot_scores(ranking, top=SHOWN)
    figure.axes[0].axvline(threshold, color="grey", linestyle=":", label=f"threshold {threshold:g}")
    figure.axes[0].legend()
    return figure
