"""Pictures of the histopathology study."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import permgrad as pg
from permgrad.metrics.roc import auc_interval
from permgrad.plotting.patches import (
    plot_areas,
    plot_classes,
    plot_heat,
    plot_learning,
    plot_patches,
    plot_pixels,
    plot_roc,
)
from studies.histopathology.results import Results, Training, mean_probability
from studies.histopathology.settings import PatchSettings
from studies.histopathology.tables import out_of_fold
from studies.kit import Picture

LABELS = ("no tumour", "tumour")
N_OVERVIEW = 16
"""Patches of the overview."""
DPI, PHOTO_DPI = 100, 80
"""Tissue in PNG is large."""


def check_pictures(check: pg.PatchCheck) -> dict[str, Picture]:
    """Draw what there is before anything is trained: classes, patches with their labels, values of pixels."""
    y = check.train.y
    rng = np.random.default_rng(0)
    rows = np.sort(rng.permutation(len(check.train))[:N_OVERVIEW])
    labels = [LABELS[label] for label in y[rows]]
    return {
        "classes": Picture(plot_classes(check.classes, LABELS), DPI),
        "patches": Picture(plot_patches(check.train.pixels(rows), labels), PHOTO_DPI),
        "pixels": Picture(plot_pixels(check.pixels, LABELS), DPI),
    }


def pictures(settings: PatchSettings, results: Results, tables: Mapping[str, pd.DataFrame]) -> dict[str, Picture]:
    """Draw learning curves, ROC curves, areas with intervals, and the heat of notable patches."""
    figures = {
        "learning": _learning(results.comparison),
        "learning_variants": _learning({"the grid's best, longer": results.longer, **results.variants}),
        "comparison": plot_areas(tables["comparison"]),
        "grid": plot_areas(_named(tables["grid"])),
        "variants": plot_areas(tables["variants"]),
        "ensembles": plot_areas(tables["ensembles"]),
        "roc": draw_roc(results),
    }
    drawn = {name: Picture(figure, DPI) for name, figure in figures.items()}
    return {**check_pictures(results.check), **drawn, "heat": Picture(draw_heat(results), PHOTO_DPI)}


def _learning(trainings: Mapping[str, Training]) -> Figure:
    return plot_learning({name: pd.DataFrame(each["history"]) for name, each in trainings.items()})


def _named(grid: pd.DataFrame) -> pd.DataFrame:
    """Give each combination a name."""
    weighed = {True: ", positives weighed", False: ""}
    names = [
        f"rate {row.learning_rate:g}, dropout {row.dropout:g}, {row.schedule}{weighed[row.positive_weight]}"
        for row in grid.itertuples()
    ]
    return grid.assign(name=names)


def draw_roc(results: Results) -> Figure:
    """Draw ROC curves: of the longer training on the validation patches, of the folds' models on all patches."""
    labels = results.check.train.y[np.concatenate(results.fold_rows)]
    scores = {f"{name} (folds)": np.concatenate(parts) for name, parts in out_of_fold(results).items()}
    truths = dict.fromkeys(scores, labels)
    scores["the grid's best, longer (validation)"] = mean_probability(results.longer)
    truths["the grid's best, longer (validation)"] = results.validation.y
    return plot_roc(truths, scores, {name: auc_interval(truths[name], scores[name]).auc for name in scores})


def draw_heat(results: Results) -> Figure:
    """Draw the surest, the most mistaken and the most doubtful validation patches beside their heat."""
    heat = results.heat
    y = results.validation.y[heat.rows]
    said = mean_probability(results.longer)[heat.rows]
    titles = [f"{p:.2f}, {LABELS[label]}" for p, label in zip(said, y, strict=True)]
    lines = {name: np.searchsorted(heat.rows, rows) for name, rows in heat.kinds.items()}
    return plot_heat(heat.images, heat.maps, titles, lines)
