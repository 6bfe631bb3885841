"""What the histopathology study found, as tables; nothing is trained here."""

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
from permgrad.patches.predicting import probability

Done = Mapping[str, Any]
FOREST = "colour-texture forest"
NAMES = {"small CNN": "small CNN", "best": "the grid's best"}
EIGHT = ", eight-fold"
LEAST_AUC = 0.85
MOST_MINUTES = 60
PUBLISHED = pd.DataFrame(
    [
        ("ResNet18", 1, "rate 3e-4", "0.9831"),
        ("EfficientNet-B0", 1, "rates 1e-4 to 3e-4", "0.9926 to 0.9929"),
        ("EfficientNet-B0", 1, "positive weight", "0.9911 to 0.9923"),
        ("ResNet18", 2, "rate 3e-4", "0.9886"),
        ("EfficientNet-B0", 2, "rate 3e-4, dropout 0.2", "0.9946"),
        ("EfficientNet-B0", 2, "rate 1e-4, dropout 0.3", "0.9950"),
        ("EfficientNet-B0", 3, "the best, longer", "0.9960"),
    ],
    columns=["network", "epochs", "settings", "validation AUC"],
)
"""Of 187,021 training and 33,004 validation patches, 224 × 224, pretrained, batch 64."""


def mean_probability(unit: Mapping[str, Any], symmetries: int = 1) -> np.ndarray:
    """Return a unit's probabilities, (n,): of the patches as they are, or the mean over their symmetries."""
    return probability(np.array(unit["logits"])[:, :symmetries]).mean(axis=1)


def _area(y: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    return dict(auc_interval(y, probabilities)._asdict())


def _effort(unit: Mapping[str, Any]) -> dict[str, Any]:
    history = pd.DataFrame(unit["history"])
    later = history["images_per_second"].iloc[1 if len(history) > 1 else 0 :]  # the first epoch begins with compiling
    return {
        "epochs": len(history),
        "loss": float(history["loss"].iloc[-1]),
        "seconds": unit["seconds"],
        "images_per_second": float(later.median()),
    }


def trainings(done: Done, units: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row a training: its name, AUC with interval, epochs, last loss, seconds, images per second."""
    y = done["validation"].y
    rows = [
        {"name": name, "parameters": unit["parameters"], **_area(y, mean_probability(unit)), **_effort(unit)}
        for name, unit in units.items()
    ]
    return pd.DataFrame(rows)


def comparison(done: Done) -> pd.DataFrame:
    """Return the backbones, best first."""
    return trainings(done, done["comparison"]).sort_values("auc", ascending=False, ignore_index=True)


def grid(done: Done) -> pd.DataFrame:
    """Return the combinations, best first."""
    y = done["validation"].y
    rows = [{**cell["params"], **_area(y, mean_probability(cell)), **_effort(cell)} for cell in done["grid"]]
    return pd.DataFrame(rows).sort_values("auc", ascending=False, kind="stable", ignore_index=True)


def grid_effects(done: Done) -> pd.DataFrame:
    """Return for each setting of the grid and each of its values the mean AUC over all else."""
    cells = pd.DataFrame([{**cell["params"], "auc": cell["auc"]} for cell in done["grid"]])
    rows = []
    for name in cells.columns.drop("auc"):
        for value, group in cells.groupby(name, sort=False)["auc"]:
            rows.append({"setting": name, "value": str(value), "mean AUC": group.mean(), "combinations": len(group)})
    return pd.DataFrame(rows)


def beside(done: Done, others: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return AUCs of probabilities on the validation patches, beside the longer training's.

    Returns
    -------
    DataFrame
        ``name``, ``auc``, ``low``, ``high``, ``difference`` from the first row with its interval ``from``, ``to``,
        ``p`` by Holm over the rows, and ``verdict``.
    """
    y, base = done["validation"].y, mean_probability(done["longer"])
    rows = []
    for name, probabilities in others.items():
        found = compare_auc(y, probabilities, base)
        rows.append({"name": name, **_area(y, probabilities), "difference": found.difference})
        rows[-1] |= {"from": found.low, "to": found.high, "p": found.p}
    for row, p in zip(rows, holm(np.array([row["p"] for row in rows])), strict=True):
        row["p"] = float(p)
        row["verdict"] = WITHIN_NOISE if p >= 0.05 else "higher" if row["difference"] > 0 else "lower"
    return pd.DataFrame([{"name": "the grid's best, longer", **_area(y, base)}, *rows])


def variants(done: Done) -> pd.DataFrame:
    """Return the variants beside the longer training."""
    return beside(done, {name: mean_probability(unit) for name, unit in done["variants"].items()})


def ensembles(done: Done) -> pd.DataFrame:
    """Return means of probabilities beside the longer training: over symmetries, over networks."""
    longer = {"longer": done["longer"]}
    groups = {
        "every backbone and it": {**done["comparison"], **longer},
        "its variants and it": {**done["variants"], **longer},
        "all of them": {**done["comparison"], **done["variants"], **longer},
    }
    found = {"it, eight-fold": mean_probability(done["longer"], 8)}
    found |= {
        name: np.mean([mean_probability(one) for one in units.values()], axis=0) for name, units in groups.items()
    }
    return beside(done, found)


def out_of_fold(done: Done) -> dict[str, list[np.ndarray]]:
    """Return what each model says of each fold's patches: name → probabilities by fold."""
    found: dict[str, list[np.ndarray]] = {}
    for name, units in done["folds"].items():
        found[NAMES[name]] = [mean_probability(unit) for unit in units]
        found[f"{NAMES[name]}{EIGHT}"] = [mean_probability(unit, 8) for unit in units]
    found[FOREST] = [np.array(unit["probabilities"]) for unit in done["forests"]]
    return found


def folds(done: Done) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the models' AUC over folds, and their differences.

    Returns
    -------
    summary : DataFrame
        ``name``; ``auc``, ``low``, ``high``: mean over folds and its interval, as `permgrad.compare_models` has it;
        ``lowest``: of a fold; ``pooled``: AUC of all patches at once.
    pairs : DataFrame
        See `permgrad.compare_models`.
    """
    y, found = done["check"].train.y, out_of_fold(done)
    rows = done["rows"]
    scores = {
        name: [auc_interval(y[at], p).auc for at, p in zip(rows, each, strict=True)] for name, each in found.items()
    }
    compared = pg.compare_models(scores, test_share=1 / len(rows), bounds=(0, 1), pairs=_pairs())
    order = np.concatenate(rows)
    summary = compared.summary.rename(columns={"model": "name", "mean": "auc"}).drop(columns="splits")
    summary["lowest"] = [min(scores[name]) for name in summary["name"]]
    summary["pooled"] = [auc_interval(y[order], np.concatenate(found[name])).auc for name in summary["name"]]
    return summary, compared.pairs


def _pairs() -> list[tuple[str, str]]:
    """Return which models are compared over the folds: each with each, and each with its own symmetries' mean."""
    models = [*NAMES.values(), FOREST]
    return [*combinations(models, 2), *((f"{name}{EIGHT}", name) for name in NAMES.values())]


def heat(done: Done) -> pd.DataFrame:
    """Return the mean shares of heat and area, on tissue and in the middle, by what the network says."""
    shown = done["shown"]
    shares = heat_shares(shown["images"], shown["heat"])[shown["sample"]]
    rows = shown["rows"][shown["sample"]]
    said = np.where(shown["probabilities"][rows] > 0.5, "tumour", "no tumour")
    table = shares.assign(said=said).groupby("said").agg(["mean"]).droplevel(1, axis=1)
    counts = pd.Series(said).value_counts()
    return table.assign(patches=counts, without_heat=shares["tissue_heat"].isna().groupby(said).mean()).reset_index()


def all_units(done: Done) -> list[Mapping[str, Any]]:
    """Return every unit once."""
    named = [*done["comparison"].values(), *done["grid"], done["longer"], *done["variants"].values()]
    trained = {unit["network"]: unit for unit in [*named, *(one for units in done["folds"].values() for one in units)]}
    return [*trained.values(), *done["forests"], *done.get("test", [])]


def minutes(done: Done) -> float:
    """Return how long all units took together."""
    return sum(unit["seconds"] for unit in all_units(done)) / 60


def asked(done: Done, summary: pd.DataFrame) -> pd.DataFrame:
    """Return what was asked of the study, what was found, and whether that is enough."""
    auc = summary.set_index("name")["auc"]
    total = minutes(done)
    rows = [
        (
            f"small CNN from scratch, AUC of at least {LEAST_AUC}",
            f"{auc['small CNN']:.4f}",
            auc["small CNN"] >= LEAST_AUC,
        ),
        ("beside it: a random forest on colour and texture", f"{auc[FOREST]:.4f}", True),
        (
            f"all trainings, forests and predictions within {MOST_MINUTES} minutes ({os.cpu_count()} cores here)",
            f"{total:.1f}",
            total <= MOST_MINUTES,
        ),
    ]
    return pd.DataFrame([(*row, "yes" if met else "no") for *row, met in rows], columns=["asked", "found", "met"])


def submission(done: Done) -> tuple[Sequence[str], np.ndarray]:
    """Return ids of all test patches and probabilities: the mean over the folds' networks and eight symmetries.

    A patch that cannot be read gets the share of positives among the labelled ones.
    """
    check = done["check"]
    said = [dict(zip(unit["ids"], mean_probability(unit, 8).tolist(), strict=True)) for unit in done["test"]]
    known = {one: float(np.mean([each[one] for each in said])) for one in check.test.ids}
    prior = float(np.mean(check.train.y))
    return check.test_ids, np.array([known.get(one, prior) for one in check.test_ids])
