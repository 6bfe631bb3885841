"""Tables of scores: models beside each other, tuning, small classes. Nothing is trained here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from studies.hybrid_tables.ensembles import average
from studies.hybrid_tables.networks import BySeed
from studies.hybrid_tables.results import DatasetResults, Results
from studies.hybrid_tables.statistics import mean_interval, mean_score, row_difference

SCORES = {"regression": ("r2", "rmse", "mae"), "classification": ("accuracy", "auc", "balanced_accuracy")}
"""Of each task; the first decides."""


def score_table(results: Results) -> pd.DataFrame:
    """Return one row for each data set, model and score: its mean over seeds on the test rows, with an interval."""
    rows = []
    for result in results:
        for kind, name, by_seed in result.models():
            for score in SCORES[result.facts["task"]]:
                values = np.array([evaluation["test"][score] for evaluation in by_seed.values()])
                mean, low, high = mean_interval(values, result.level)
                about = {"dataset": result.label, "kind": kind, "model": name, "score": score}
                trials = result.tuning[name]["trials"] if kind == "network" else None
                rows.append(about | {"mean": mean, "low": low, "high": high, "seeds": len(values), "trials": trials})
    return _with_trials(rows)


def _with_trials(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return the rows; the number of trials stays a whole one where some have none."""
    table = pd.DataFrame(rows)
    return table.astype({"trials": "Int64"}) if rows else table


def best_baseline(result: DatasetResults, score: str) -> str | None:
    """Name the baseline with the best mean score (the higher, the better), if there are any."""
    return max(result.baselines, key=lambda name: mean_score(result.baselines[name], score), default=None)


def target_table(results: Results) -> pd.DataFrame:
    """Return one row for each data set and network, preset or ensemble: by how much it is above the best baseline.

    And above the explained network's, the published one. ``low`` and ``high``: interval over test rows of the paired
    difference, each model's rows averaged over seeds.
    """
    return _with_trials(
        [
            _against(result, best, name, by_seed)
            for result in results
            if (best := best_baseline(result, SCORES[result.facts["task"]][0]))
            for models in result.contenders().values()
            for name, by_seed in models.items()
        ]
    )


def _against(result: DatasetResults, best: str, name: str, by_seed: BySeed) -> dict[str, Any]:
    score, baseline = SCORES[result.facts["task"]][0], result.baselines[best]
    difference = row_difference(result.facts, by_seed.values(), baseline.values(), result.level)
    return {
        "dataset": result.label,
        "network": name,
        "trials": result.tuning[name]["trials"] if name in result.tuning else None,
        "seeds": len(by_seed),
        "score": score,
        "network's": mean_score(by_seed, score),
        "best baseline": best,
        "baseline's": mean_score(baseline, score),
        "its seeds": len(baseline),
        **difference,
        "verdict": _verdict(**difference),
        **_above_explained(result, name, by_seed),
        **_by_auc(result, by_seed),
    }


def _verdict(difference: float, low: float, high: float) -> str:
    side = "reached" if difference >= 0 else "missed"
    return side if low > 0 or high < 0 else f"{side}, within noise"


def _above_explained(result: DatasetResults, name: str, by_seed: BySeed) -> dict[str, float]:
    """Return by how much a network is above the explained one, nothing for itself."""
    explained = result.networks.get(result.explained)
    if explained is None or name == result.explained:
        return {}
    above = row_difference(result.facts, by_seed.values(), explained.values(), result.level)
    column = f"above {result.explained}"
    return {column: above["difference"], f"{column}, low": above["low"], f"{column}, high": above["high"]}


def _by_auc(result: DatasetResults, by_seed: BySeed) -> dict[str, Any]:
    """Return the comparison by the area under the ROC curve, without interval; nothing for regression."""
    best = best_baseline(result, "auc") if result.facts["task"] == "classification" else None
    if best is None:
        return {}
    network, baseline = mean_score(by_seed, "auc"), mean_score(result.baselines[best], "auc")
    return {"AUC": network, "best baseline by AUC": best, "its AUC": baseline, "AUC difference": network - baseline}


def average_table(results: Results) -> pd.DataFrame:
    """Return one row for each data set and model with several seeds: what the mean of its seeds' predictions scores."""
    rows = []
    for result in results:
        score = SCORES[result.facts["task"]][0]
        for kind, name, by_seed in result.models():
            if kind != "ensemble" and len(by_seed) > 1:
                about = {"dataset": result.label, "kind": kind, "model": name, "seeds": len(by_seed), "score": score}
                together = average(result.facts, by_seed.values())["test"][score]
                rows.append({**about, "of their average": together, "mean of single ones": mean_score(by_seed, score)})
    return pd.DataFrame(rows)


def tuning_table(results: Results) -> pd.DataFrame:
    """Return one row for each data set and network: trials, and the best one."""
    return pd.DataFrame(
        {
            "dataset": result.label,
            "network": name,
            "trials": tuning["trials"],
            "pruner": tuning["pruner"],
            "pruned": tuning["states"].get("pruned", 0),
            "failed": tuning["states"].get("fail", 0),
            "most epochs": tuning["settings"]["epochs"],
            "hours": tuning["seconds"] / 3600,
            "best trial": tuning["best"],
            "a start": "yes" if tuning["best_is_a_start"] else "no",
            "validation loss": tuning["validation_loss"],
            "parameters": tuning["parameters"],
            "found": ", ".join(f"{key} {_short(value)}" for key, value in tuning["params"].items()),
            "narrowed": ", ".join(f"{key} {low} to {high}" for key, (low, high) in tuning["ranges"].items()),
        }
        for result in results
        for name, tuning in result.tuning.items()
    )


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def recall_table(results: Results) -> pd.DataFrame:
    """Return one row for each data set with several classes, model and class: its recall, mean over seeds."""
    rows: list[dict[str, Any]] = []
    for result in results:
        models = list(result.models()) if result.class_sizes else []
        if models and result.balanced:
            models.append(("balanced", f"{result.explained}, balanced classes", result.balanced))
        for kind, name, by_seed in models:
            about = {"dataset": result.label, "kind": kind, "model": name, "seeds": len(by_seed)}
            about |= {"accuracy": mean_score(by_seed, "accuracy")}
            about |= {"balanced accuracy": mean_score(by_seed, "balanced_accuracy")}
            recalls = np.mean([evaluation["recall"] for evaluation in by_seed.values()], axis=0)
            for (label, size), recall in zip(result.class_sizes.items(), recalls, strict=True):
                rows.append({**about, "class": label, "training rows": size, "recall": float(recall)})
    return pd.DataFrame(rows)
