"""Tables of the histopathology study; nothing is trained here."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

import permgrad as pg
from permgrad.evaluation.comparison import WITHIN_NOISE, holm
from permgrad.metrics.roc import auc_interval, compare_auc
from permgrad.patches.heat import heat_shares
from studies.histopathology.results import Results, Training, mean_probability
from studies.histopathology.settings import PatchSettings

FOREST = "colour-texture forest"
NAMES = {"small CNN": "small CNN", "best": "the grid's best"}
EIGHT = ", eight-fold"
LEAST_AUC = 0.85
MOST_MINUTES = 60
Said = dict[str, list[np.ndarray]]
"""A model's name → its probabilities for each fold's patches, by a network that was not trained on them."""


def tables(settings: PatchSettings, results: Results) -> dict[str, pd.DataFrame]:
    """Return every table by its name."""
    summary, pairs = folds(results.check.train.y, results.fold_rows, out_of_fold(results), _pairs())
    return {
        **check_tables(results.check),
        "comparison": comparison(results),
        "grid": grid(results),
        "grid_effects": grid_effects(results),
        "variants": variants(results),
        "folds": summary,
        "fold_differences": pairs,
        "ensembles": ensembles(results),
        "heat": heat(results),
        "asked": asked(summary, results.minutes()),
    }


def check_tables(check: pg.PatchCheck) -> dict[str, pd.DataFrame]:
    """Return what is known before anything is trained."""
    return {"problems": check.problems, "shapes": check.shapes, "classes": check.classes}


def _area(patches: pg.Patches, probabilities: np.ndarray) -> dict[str, float]:
    return dict(auc_interval(patches.y, probabilities, groups=patches.groups)._asdict())


def _effort(training: Training) -> dict[str, Any]:
    history = pd.DataFrame(training["history"])
    later = history["images_per_second"].iloc[1 if len(history) > 1 else 0 :]  # the first epoch begins with compiling
    return {
        "epochs": len(history),
        "loss": float(history["loss"].iloc[-1]),
        "seconds": training["step_seconds"],
        "images_per_second": float(later.median()),
    }


def comparison(results: Results) -> pd.DataFrame:
    """Return the backbones, best first."""
    patches = results.validation
    rows = [
        {"name": name, "parameters": each["parameters"], **_area(patches, mean_probability(each)), **_effort(each)}
        for name, each in results.comparison.items()
    ]
    return pd.DataFrame(rows).sort_values("auc", ascending=False, ignore_index=True)


def grid(results: Results) -> pd.DataFrame:
    """Return the combinations, best first."""
    patches = results.validation
    rows = [{**each["params"], **_area(patches, mean_probability(each)), **_effort(each)} for each in results.grid]
    return pd.DataFrame(rows).sort_values("auc", ascending=False, kind="stable", ignore_index=True)


def grid_effects(results: Results) -> pd.DataFrame:
    """Return for each setting of the grid and each of its values the mean AUC over all else."""
    combined = pd.DataFrame([{**each["params"], "auc": each["auc"]} for each in results.grid])
    rows = []
    for name in combined.columns.drop("auc"):
        for value, group in combined.groupby(name, sort=False)["auc"]:
            rows.append({"setting": name, "value": str(value), "mean AUC": group.mean(), "combinations": len(group)})
    return pd.DataFrame(rows)


def beside(results: Results, others: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return AUCs of probabilities on the validation patches, beside the longer training's.

    Returns
    -------
    DataFrame
        ``name``, ``auc``, ``low``, ``high``, ``difference`` from the first row with its interval ``from``, ``to``,
        ``p`` by Holm over the rows, and ``verdict``.
    """
    patches, base = results.validation, mean_probability(results.longer)
    rows = []
    for name, probabilities in others.items():
        test = compare_auc(patches.y, probabilities, base, groups=patches.groups)
        difference = {"difference": test.difference, "from": test.low, "to": test.high, "p": test.p}
        rows.append({"name": name, **_area(patches, probabilities), **difference})
    for row, p in zip(rows, holm(np.array([row["p"] for row in rows])), strict=True):
        row["p"] = float(p)
        row["verdict"] = WITHIN_NOISE if p >= 0.05 else "higher" if row["difference"] > 0 else "lower"
    return pd.DataFrame([{"name": "the grid's best, longer", **_area(patches, base)}, *rows])


def variants(results: Results) -> pd.DataFrame:
    """Return the variants beside the longer training."""
    return beside(results, {name: mean_probability(each) for name, each in results.variants.items()})


def ensembles(results: Results) -> pd.DataFrame:
    """Return means of probabilities beside the longer training: over symmetries, over networks."""
    backbones, variants = [*results.comparison.values()], [*results.variants.values()]
    groups = {
        "every backbone and it": [*backbones, results.longer],
        "its variants and it": [*variants, results.longer],
        "all of them": [*backbones, *variants, results.longer],
    }
    means = {name: np.mean([mean_probability(each) for each in group], axis=0) for name, group in groups.items()}
    return beside(results, {"it, eight-fold": mean_probability(results.longer, 8), **means})


def out_of_fold(results: Results) -> Said:
    """Return what each model says of each fold's patches."""
    said: Said = {}
    for name, trainings in results.folds.items():
        said[NAMES[name]] = [mean_probability(each) for each in trainings]
        said[f"{NAMES[name]}{EIGHT}"] = [mean_probability(each, 8) for each in trainings]
    return {**said, FOREST: [np.array(each["probabilities"]) for each in results.forests]}


def folds(
    y: np.ndarray, rows: Sequence[np.ndarray], said: Said, pairs: Sequence[tuple[str, str]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the models' AUC over folds, and their differences.

    Parameters
    ----------
    y : ndarray of shape (n_patches,)
        0 or 1.
    rows : sequence of ndarray
        Which patches each fold evaluates on.
    said : dict of str to list of ndarray
        What each model says of them.
    pairs : sequence of (str, str)
        Models that are compared.

    Returns
    -------
    summary : DataFrame
        ``name``; ``auc``, ``low``, ``high``: mean over folds and its interval, as `permgrad.compare_models` has it;
        ``lowest``: of a fold; ``pooled``: AUC of all patches at once.
    pairs : DataFrame
        See `permgrad.compare_models`.
    """
    scores = {
        name: [auc_interval(y[at], p).auc for at, p in zip(rows, each, strict=True)] for name, each in said.items()
    }
    compared = pg.compare_models(scores, test_share=1 / len(rows), bounds=(0, 1), pairs=pairs)
    order = np.concatenate(rows)
    summary = compared.summary.rename(columns={"model": "name", "mean": "auc"}).drop(columns="splits")
    summary["lowest"] = [min(scores[name]) for name in summary["name"]]
    summary["pooled"] = [auc_interval(y[order], np.concatenate(said[name])).auc for name in summary["name"]]
    return summary, compared.pairs


def _pairs() -> list[tuple[str, str]]:
    """Return which models are compared over the folds: each with each, and each with its own symmetries' mean."""
    models = [*NAMES.values(), FOREST]
    return [*combinations(models, 2), *((f"{name}{EIGHT}", name) for name in NAMES.values())]


def heat(results: Results) -> pd.DataFrame:
    """Return the mean shares of heat and area, on tissue and in the middle, by what the network says."""
    shown = results.heat
    shares = heat_shares(shown.images, shown.maps)[shown.sampled]
    positive = mean_probability(results.longer)[shown.rows[shown.sampled]] > 0.5
    said = np.where(positive, "tumour", "no tumour")
    table = shares.assign(said=said).groupby("said").mean()
    table["patches"] = pd.Series(said).value_counts()
    table["without_heat"] = shares["tissue_heat"].isna().groupby(said).mean()
    return table.reset_index()


def asked(summary: pd.DataFrame, minutes: float) -> pd.DataFrame:
    """Return what was asked of the study, its figure, and whether that is enough.

    Parameters
    ----------
    summary : DataFrame
        See `folds`.
    minutes : float
        That all steps took.
    """
    auc = summary.set_index("name")["auc"]
    small, forest = auc[NAMES["small CNN"]], auc[FOREST]
    limit = f"all trainings, forests and predictions within {MOST_MINUTES} minutes ({os.cpu_count()} cores here)"
    rows = [
        (f"small CNN from scratch, AUC of at least {LEAST_AUC}", f"{small:.4f}", small >= LEAST_AUC),
        ("beside it: a random forest on colour and texture", f"{forest:.4f}", True),
        (limit, f"{minutes:.1f}", minutes <= MOST_MINUTES),
    ]
    return pd.DataFrame([(*row, "yes" if met else "no") for *row, met in rows], columns=["asked", "figure", "met"])
