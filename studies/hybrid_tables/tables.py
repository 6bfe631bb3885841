"""The study's tables: from what was found of each data set to data frames. Nothing is trained here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import permutation_test, spearmanr
from scipy.stats import t as student

import permgrad as pg

from .found import BySeed, Found, Unit

SCORES = {"regression": ("r2", "rmse", "mae"), "classification": ("accuracy", "auc", "balanced_accuracy")}
"""Of each task; the first decides."""
TOP = 5
KEPT = f"best {TOP} kept, published formula"
LEADERBOARD = pd.DataFrame(
    [
        ("heloc", "XGBoost (its best tree)", 0.7315, 0.7922),
        ("heloc", "MLP", 0.7192, 0.7869),
        ("heloc", "CNN+MLP (its best)", 0.7233, 0.7844),
        ("dengue", "CatBoost", 0.7738, 0.8486),
        ("dengue", "MLP", 0.7525, 0.8265),
        ("dengue", "CNN+MLP", 0.7658, 0.8346),
        ("gas_drift", "CatBoost", 0.9948, np.nan),
        ("gas_drift", "MLP", 0.9902, np.nan),
        ("gas_drift", "CNN", 0.9956, np.nan),
        ("covertype", "MLP", 0.9631, np.nan),
        ("covertype", "CNN", 0.9649, np.nan),
        ("covertype", "CNN+MLP", 0.9629, np.nan),
        ("covertype", "ViT+MLP", 0.9705, np.nan),
    ],
    columns=["dataset", "model", "accuracy", "auc"],
)
"""The public leaderboard of the image library: the whole data sets, another split."""
PUBLISHED_WEIGHTS = {  # tabular, image
    "puma8nh": (2.3e-281, 1.0),
    "heloc": (0.461, 0.539),
    "dengue": (0.376, 0.624),
    "covertype": (0.438, 0.562),
    "gas_drift": (0.112, 0.888),
}
NOTES = {"target among features": "in the row, and in the image too"}
PUBLISHED_PUMA = {
    "theta3": 10.41,
    "theta2": 9.80,
    "thetad3": 0.228,
    "thetad2": 0.225,
    "thetad1": 0.211,
    "tau2": 0.160,
    "tau1": 0.104,
    "theta1": 0.048,
}
"""Rise of the squared error when the column is permuted."""


def score_table(found: Sequence[Found]) -> pd.DataFrame:
    """Return one row for each data set, model and score: its mean over seeds on the test rows, with an interval."""
    rows = []
    for one in found:
        models = [("baseline", one.baselines), ("network", one.networks), ("ensemble", one.ensembles)]
        for kind, name, seeds in ((kind, name, seeds) for kind, units in models for name, seeds in units.items()):
            for score in SCORES[one.data["task"]]:
                values = np.array([unit["test"][score] for unit in seeds.values()])
                trials = one.tuning[name]["trials"] if kind == "network" else None
                about = {"dataset": one.label, "kind": kind, "model": name, "score": score}
                rows.append(about | _interval(values, one.level) | {"seeds": len(values), "trials": trials})
    return _with_trials(rows)


def _with_trials(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return the rows; the number of trials stays a whole one where some have none."""
    table = pd.DataFrame(rows)
    return table.astype({"trials": "Int64"}) if rows else table


def _interval(values: np.ndarray, level: float) -> dict[str, float]:
    """Return the mean, and Student's interval of it over seeds: none for a single one."""
    mean = float(values.mean())
    if len(values) < 2:
        return {"mean": mean, "low": np.nan, "high": np.nan}
    margin = student.ppf((1 + level) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return {"mean": mean, "low": mean - margin, "high": mean + margin}


def main_score(one: Found) -> str:
    """Name the score that decides."""
    return SCORES[one.data["task"]][0]


def mean_score(units: BySeed, score: str) -> float:
    """Return the mean over seeds of a score on the test rows."""
    return float(np.mean([unit["test"][score] for unit in units.values()]))


def best_baseline(one: Found, score: str) -> str | None:
    """Name the baseline with the best mean score (the higher, the better), if there are any."""
    return max(one.baselines, key=lambda name: mean_score(one.baselines[name], score), default=None)


def target_table(found: Sequence[Found]) -> pd.DataFrame:
    """Return one row for each data set and network, or ensemble: by how much it is above the best baseline.

    And above the explained network's, the published one. ``low`` and ``high``: interval over test rows of the paired
    difference, each model's rows averaged over seeds.
    """
    rows: list[dict[str, Any]] = []
    for one in found:
        score = main_score(one)
        best = best_baseline(one, score)
        for name, units in {**one.networks, **one.ensembles}.items() if best else ():
            level = one.level
            difference = row_difference(one.data, units.values(), one.baselines[best].values(), level)
            rows.append(
                {
                    "dataset": one.label,
                    "network": name,
                    "trials": one.tuning[name]["trials"] if name in one.tuning else None,
                    "seeds": len(units),
                    "score": score,
                    "network's": mean_score(units, score),
                    "best baseline": best,
                    "baseline's": mean_score(one.baselines[best], score),
                    "its seeds": len(one.baselines[best]),
                    **difference,
                    "verdict": _verdict(**difference),
                    **_above(one, name, units),
                    **_by_auc(one, units),
                }
            )
    return _with_trials(rows)


def _above(one: Found, name: str, units: BySeed) -> dict[str, float]:
    """Return by how much a network is above the explained one, nothing for itself."""
    published = one.networks.get(one.explained)
    if published is None or name == one.explained:
        return {}
    above = row_difference(one.data, units.values(), published.values(), one.level)
    name = f"above {one.explained}"
    return {name: above["difference"], f"{name}, low": above["low"], f"{name}, high": above["high"]}


def _by_auc(one: Found, units: BySeed) -> dict[str, Any]:
    """Return the same comparison by the area under the ROC curve, without interval; nothing for regression."""
    best = None if one.regression else best_baseline(one, "auc")
    if best is None:
        return {}
    ours, theirs = mean_score(units, "auc"), mean_score(one.baselines[best], "auc")
    return {"AUC": ours, "best baseline by AUC": best, "its AUC": theirs, "AUC difference": ours - theirs}


def _verdict(difference: float, low: float, high: float) -> str:
    side = "reached" if difference >= 0 else "missed"
    return side if low > 0 or high < 0 else f"{side}, within noise"


def row_difference(data: Mapping[str, Any], first: Any, second: Any, level: float = 0.95) -> dict[str, float]:
    """Return how much higher the first model's score (accuracy, or R²) is than the second's, with an interval.

    Parameters
    ----------
    data : mapping
        ``task`` and ``truth``.
    first, second : iterables of units
        Their ``predicted``; rows are averaged over units, then compared pairwise. The interval is over test rows.
    """
    gains = _row_gains(data, first) - _row_gains(data, second)
    mean, error = float(gains.mean()), float(gains.std(ddof=1) / np.sqrt(len(gains)))
    margin = float(student.ppf((1 + level) / 2, len(gains) - 1)) * error
    return {"difference": mean, "low": mean - margin, "high": mean + margin}


def _row_gains(data: Mapping[str, Any], units: Any) -> np.ndarray:
    """Return what each test row adds to the mean score: shape (n_rows,)."""
    truth = np.asarray(data["truth"])
    predicted = np.array([unit["predicted"] for unit in units])  # (n_units, n_rows)
    if data["task"] == "classification":
        return (predicted == truth).mean(axis=0)
    return 1 - ((predicted - truth) ** 2).mean(axis=0) / truth.var()


def average_table(found: Sequence[Found]) -> pd.DataFrame:
    """Return one row for each data set and model with several seeds: what the mean of its seeds' predictions scores."""
    rows = []
    for one in found:
        for kind, models in (("baseline", one.baselines), ("network", one.networks)):
            for name, units in models.items():
                if len(units) > 1:
                    about = {"dataset": one.label, "kind": kind, "model": name, "seeds": len(units)}
                    alone = mean_score(units, main_score(one))
                    rows.append(about | _averaged(one.data, units) | {"mean of single ones": alone})
    return pd.DataFrame(rows)


def _averaged(data: Mapping[str, Any], units: BySeed) -> dict[str, Any]:
    truth, score = np.asarray(data["truth"]), SCORES[data["task"]][0]
    if data["task"] == "regression":
        mean = np.mean([unit["predicted"] for unit in units.values()], axis=0)
        return {"score": score, "of their average": float(1 - np.mean((mean - truth) ** 2) / truth.var())}
    mean = np.mean([unit["probabilities"] for unit in units.values()], axis=0)
    return {"score": score, "of their average": float((mean.argmax(axis=1) == truth).mean())}


def tuning_table(found: Sequence[Found]) -> pd.DataFrame:
    """Return one row for each data set and network: trials, and the best one."""
    return pd.DataFrame(
        {
            "dataset": one.label,
            "network": name,
            "trials": unit["trials"],
            "pruner": unit["pruner"],
            "pruned": unit["states"].get("pruned", 0),
            "failed": unit["states"].get("fail", 0),
            "most epochs": unit["settings"]["epochs"],
            "hours": unit["seconds"] / 3600,
            "best trial": unit["best"],
            "a start": "yes" if unit["best_is_a_start"] else "no",
            "validation loss": unit["validation_loss"],
            "parameters": unit["parameters"],
            "found": ", ".join(f"{key} {_short(value)}" for key, value in unit["params"].items()),
            "narrowed": ", ".join(f"{key} {low} to {high}" for key, (low, high) in unit["ranges"].items()),
        }
        for one in found
        for name, unit in one.tuning.items()
    )


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def formula_table(found: Sequence[Found]) -> pd.DataFrame:
    """Return one row for each data set and formula, of one and the same network."""
    rows = []
    for one in found:
        rankings = explained_rankings(one)
        for name, ranking in rankings.items():
            weights = ranking.branch_weights or {}
            published = PUBLISHED_WEIGHTS.get(one.name, (np.nan, np.nan)) if name == "published" else (np.nan, np.nan)
            rows.append(
                {
                    "dataset": one.label,
                    "trials": one.trials,
                    "formula": name,
                    "weight of the row": weights["tabular"],
                    "of the image": weights["image"],
                    "published: row": published[0],
                    "published: image": published[1],
                    "agreement with end to end": ranking.agreement(ranking.components["end_to_end"]),
                    "with the other formula": rankings["default"].agreement(rankings["published"]),
                    f"best {TOP}": ", ".join(ranking.select(TOP)),
                }
            )
    return pd.DataFrame(rows)


def explained_rankings(one: Found) -> dict[str, pg.FeatureRanking]:
    """Return the explained network's ranking by each formula, none if it is not done."""
    rankings = one.permgrad["rankings"] if one.permgrad else {}
    return {name: pg.FeatureRanking.from_dict(content) for name, content in rankings.items()}


def ranking_table(one: Found) -> pd.DataFrame:
    """Return one row for each feature: its score by each formula, with interval and rank, and what both are made of."""
    rankings = explained_rankings(one)
    default, published = rankings["default"], rankings["published"]
    parts = {**default.components, "grad_cam": published.components["grad_cam"]}
    columns: dict[str, Any] = {"dataset": one.label, "feature": default.features}
    for name, ranking in rankings.items():
        columns |= {name: ranking.scores, f"{name} low": ranking.low, f"{name} high": ranking.high}
        columns[f"{name} rank"] = np.argsort(ranking.order) + 1
    columns |= {name: part.scores for name, part in parts.items()}
    return pd.DataFrame(columns).iloc[default.order].reset_index(drop=True)


def puma_table(found: Sequence[Found]) -> pd.DataFrame:
    """Return the rise of the squared error by permuting each Puma column, beside the published one."""
    for one in found:
        if one.name == "puma8nh" and one.permgrad:
            ours = explained_rankings(one)["published"].components["permutation"]
            table = ours.table[["feature", "score", "low", "high"]].rename(columns={"score": "here"})
            return table.assign(published=table["feature"].map(PUBLISHED_PUMA), dataset=one.label, trials=one.trials)
    return pd.DataFrame()


def misread_table(found: Sequence[Found]) -> pd.DataFrame:
    """Return one row for each data set and mistake of reading: how the network's ranking differs from the corrected."""
    return pd.DataFrame(
        {**_about(one), **row} for one in found if "misread" in one.mistakes for row in _misread_rows(one)
    )


def mistake_table(found: Sequence[Found]) -> pd.DataFrame:
    """Return one row for each data set and mistake of training: what it changes in ranking and score."""
    rows = []
    for one in found:
        corrected = one.mistakes.get("corrected")
        for name, unit in one.mistakes.items() if corrected else ():
            if name not in ("misread", "corrected"):
                note = _pixels(unit) if name == "shared pixels" else NOTES.get(name, "")
                rows.append({**_about(one), "mistake": name, **_changes(one, unit, corrected), "note": note})
        rows += [{**_about(one), **row} for row in _yardstick(one)] if corrected else []
    return pd.DataFrame(rows)


def _pixels(unit: Unit) -> str:
    layout = pg.FeatureLayout.from_dict(unit["layout"])
    n_features, n_pixels = len(layout.features), len(set(layout.pixels.tolist()))
    height, width = layout.shape
    return f"{n_features} features in {n_pixels} of {height} × {width} pixels"


def _about(one: Found) -> dict[str, Any]:
    return {"dataset": one.label, "trials": one.trials}


def _misread_rows(one: Found) -> list[dict[str, Any]]:
    unit = one.mistakes["misread"]
    right, rows = unit["corrected"], []
    names = {"transposed": "heat read at the transposed pixel", "one map": "one class's map for all classes"}
    for key, name in names.items():
        if key in unit:
            wrong = unit[key]
            row = {
                "mistake": name,
                "weight of the image": right["weight"],
                "heat": rank_correlation(right["heat"], wrong["heat"]),
                "published formula": rank_correlation(right["scores"], wrong["scores"]),
            }
            if right["class_scores"] is not None:
                pairs = zip(np.transpose(right["class_scores"]), np.transpose(wrong["class_scores"]), strict=True)
                row["classes"] = float(np.mean([rank_correlation(a, b) for a, b in pairs]))
            rows.append(
                {
                    **row,
                    KEPT: kept_share(right["scores"], wrong["scores"]),
                    "end to end, corrected": rank_correlation(right["scores"], unit["end_to_end"]),
                    "end to end, mistaken": rank_correlation(wrong["scores"], unit["end_to_end"]),
                }
            )
    return rows


def _changes(one: Found, unit: Unit, corrected: Unit) -> dict[str, Any]:
    known = corrected["rankings"]
    shared = list(known["default"])
    rankings = {
        name: ([scores[feature] for feature in shared], [unit["rankings"][name][feature] for feature in shared])
        for name, scores in known.items()
    }
    score = SCORES[one.data["task"]][0]
    found = {f"{name} formula": rank_correlation(*pair) for name, pair in rankings.items()}
    found[KEPT] = kept_share(*rankings["published"])
    return {
        **found,
        "score": score,
        "corrected": corrected["test"][score],
        "mistaken": unit["test"][score],
        **row_difference(one.data, [unit], [corrected], one.level),
    }


def _yardstick(one: Found) -> list[dict[str, Any]]:
    """Return what another seed alone changes: the mean over pairs of seeds."""
    units = list(one.networks.get(one.explained, {}).values())
    pairs = [_changes(one, second, first) for first, second in combinations(units, 2)]
    if not pairs:
        return []
    of_one = ("score", "corrected", "mistaken", "low", "high")  # neither of two seeds is the mistaken one
    score, names = pairs[0]["score"], [name for name in pairs[0] if name not in of_one]
    means = {name: float(np.mean([pair[name] for pair in pairs])) for name in names}
    means["difference"] = float(np.mean([abs(pair["difference"]) for pair in pairs]))
    return [{"mistake": "none: another seed (mean of pairs, size of the difference)", "score": score, **means}]


def rank_correlation(first: Any, second: Any) -> float:
    """Return Spearman's correlation, nan where one side is all the same."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(spearmanr(first, second).statistic)


def kept_share(first: Any, second: Any, top: int = TOP) -> float:
    """Return the share of the best `top` of the first scores that are among those of the second."""
    best = [set(np.argsort(-np.asarray(scores), kind="stable")[:top].tolist()) for scores in (first, second)]
    return len(best[0] & best[1]) / len(best[0])


def layout_table(found: Sequence[Found]) -> pd.DataFrame:
    """Return one row for each data set, layout and size: score, and how the ranking changes from the tuned network's.

    Compared with the network of the same seed that has the layout it was tuned with.
    """
    rows: list[dict[str, Any]] = []
    for one in found:
        reference = one.networks.get(one.explained, {})
        for (kind, size), seeds in one.layouts.items():
            about = {**_about(one), "layout": kind, "size": size, "seeds": len(seeds)}
            failed = [unit["impossible"] for unit in seeds.values() if "impossible" in unit]
            pairs = [
                (unit, reference[random_state]) for random_state, unit in seeds.items() if random_state in reference
            ]
            if failed:
                rows.append({**about, "note": failed[0]})
            elif pairs:
                changes = [_changes(one, unit, known) for unit, known in pairs]
                values = {"score": changes[0]["score"], "mean": float(np.mean([c["mistaken"] for c in changes]))}
                names = ("default formula", "published formula", KEPT)
                values |= {name: float(np.mean([c[name] for c in changes])) for name in names}
                values["note"] = _pixels(pairs[0][0])
                rows.append({**about, **values})
    return pd.DataFrame(rows)


def recall_table(found: Sequence[Found]) -> pd.DataFrame:
    """Return one row for each data set with several classes, model and class: its recall, mean over seeds."""
    rows = []
    for one in found:
        if len(one.data.get("class_sizes", ())) <= 2:
            continue
        kinds = {"baseline": one.baselines, "network": one.networks, "ensemble": one.ensembles}
        kinds["balanced"] = {f"{one.explained}, balanced classes": one.balanced} if one.balanced else {}
        for kind, name, units in (
            (kind, name, units) for kind, models in kinds.items() for name, units in models.items()
        ):
            recalls = np.mean([unit["recall"] for unit in units.values()], axis=0)
            balanced = float(np.mean([unit["test"]["balanced_accuracy"] for unit in units.values()]))
            accuracy = float(np.mean([unit["test"]["accuracy"] for unit in units.values()]))
            about = {"dataset": one.label, "kind": kind, "model": name, "seeds": len(units)}
            about |= {"accuracy": accuracy, "balanced accuracy": balanced}
            for (label, size), recall in zip(one.data["class_sizes"].items(), recalls, strict=True):
                rows.append({**about, "class": label, "training rows": size, "recall": float(recall)})
    return pd.DataFrame(rows)


def saliency_table(found: Sequence[Found]) -> pd.DataFrame:
    """Return Spearman's correlation of a class's size with its saliency, the sum of its scores over all features.

    ``p``: two-sided, over all orders of the classes (Spearman's usual t approximation is off for so few).
    """
    rows = []
    for one in found:
        sizes = list(one.data.get("class_sizes", {}).values())
        if len(sizes) <= 2:
            continue
        for formula, ranking in explained_rankings(one).items():
            for name, part in {formula: ranking, **ranking.components}.items():
                if part.class_scores is None or name == "end_to_end":
                    continue
                correlation, p = exact_correlation(sizes, part.class_scores.sum(axis=0))
                about = {**_about(one), "formula": formula, "part": "all of it" if part is ranking else name}
                rows.append(about | {"correlation": correlation, "p": p})
    return pd.DataFrame(rows)


def exact_correlation(first: Any, second: Any) -> tuple[float, float]:
    """Return Spearman's correlation and its two-sided p-value, over all orders (above seven values, some of them)."""
    test = permutation_test(
        (first,), lambda order: spearmanr(order, second).statistic, permutation_type="pairings", rng=0
    )
    return float(test.statistic), float(test.pvalue)
