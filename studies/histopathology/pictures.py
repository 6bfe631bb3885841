"""What the histopathology study found, as pictures."""

from __future__ import annotations

from typing import Any

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

from .tables import Done, mean_probability, out_of_fold

LABELS = ("no tumour", "tumour")
IN_GRID = 16
"""Patches of the overview."""


def check_pictures(check: pg.PatchCheck) -> dict[str, Figure]:
    """Draw what there is before anything is trained: classes, patches with their labels, values of pixels."""
    y = check.train.y
    rng = np.random.default_rng(0)
    rows = np.sort(rng.permutation(len(check.train))[:IN_GRID])
    return {
        "classes": plot_classes(check.classes, LABELS),
        "patches": plot_patches(check.train.pixels(rows), [LABELS[label] for label in y[rows]]),  # type: ignore[index]
        "pixels": plot_pixels(check.pixels, LABELS),
    }


def pictures(done: Done, tables: dict[str, pd.DataFrame]) -> dict[str, Figure]:
    """Draw learning curves, ROC curves, areas with intervals, and the heat of notable patches."""
    return {
        "learning": _learning(done["comparison"]),
        "learning_variants": _learning({"the grid's best, longer": done["longer"], **done["variants"]}),
        "comparison": plot_areas(tables["comparison"]),
        "grid": plot_areas(_named(tables["grid"])),
        "variants": plot_areas(tables["variants"]),
        "ensembles": plot_areas(tables["ensembles"]),
        "roc": draw_roc(done),
        "heat": draw_heat(done),
    }


def _learning(units: dict[str, Any]) -> Figure:
    return plot_learning({name: pd.DataFrame(unit["history"]) for name, unit in units.items()})


def _named(grid: pd.DataFrame) -> pd.DataFrame:
    """Give each combination a name."""
    weighed = {True: ", positives weighed", False: ""}
    names = [
        f"rate {row.learning_rate:g}, dropout {row.dropout:g}, {row.schedule}{weighed[row.positive_weight]}"
        for row in grid.itertuples()
    ]
    return grid.assign(name=names)


def draw_roc(done: Done) -> Figure:
    """Draw ROC curves: of the longer training on the validation patches, of the folds' models on all patches."""
    y, order = done["check"].train.y, np.concatenate(done["rows"])
    scores: dict[str, Any] = {name: np.concatenate(parts) for name, parts in out_of_fold(done).items()}
    truths: dict[str, Any] = dict.fromkeys(scores, y[order])
    scores = {f"{name} (folds)": values for name, values in scores.items()}
    truths = {f"{name} (folds)": values for name, values in truths.items()}
    scores["the grid's best, longer (validation)"] = mean_probability(done["longer"])
    truths["the grid's best, longer (validation)"] = done["validation"].y
    return plot_roc(truths, scores, {name: auc_interval(truths[name], scores[name]).auc for name in scores})


def draw_heat(done: Done) -> Figure:
    """Draw the surest, the most mistaken and the most doubtful validation patches beside their heat."""
    shown = done["shown"]
    y, said = done["validation"].y[shown["rows"]], shown["probabilities"][shown["rows"]]
    titles = [f"{p:.2f}, {LABELS[label]}" for p, label in zip(said, y, strict=True)]
    lines = {name: np.searchsorted(shown["rows"], rows) for name, rows in shown["kinds"].items()}
    return plot_heat(shown["images"], shown["heat"], titles, lines)
