"""What the breast cancer study found, as tables, and the figures that its report names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

import permgrad as pg
from permgrad.evaluation.comparison import WITHIN_NOISE
from permgrad.evaluation.stability import nogueira

GOALS = {"accuracy": 0.98, "recall": 0.97}
"""Of the medians over seeds on the one split, for each pool."""
NETWORKS = ("raw", "engineered", "combined")
Parts = Mapping[str, pg.Table]
"""train, validation and test rows of one pool."""


@dataclass(frozen=True)
class Results:
    """All results of the study.

    Attributes
    ----------
    pools : mapping of str to Parts
        The one split, ``raw`` and ``engineered``.
    seeds : mapping of int to dict
        Of each random state: each network's scores, predictions, ranking and selected features on the one split.
    permgrad : FeatureRanking
        Of the raw pool, by PermGrad.
    folds : list of dict
        ``scores`` of all models and ``selected`` features of each fold.
    """

    pools: Mapping[str, Parts]
    seeds: Mapping[int, Mapping[str, Any]]
    permgrad: pg.FeatureRanking
    folds: list[Mapping[str, Any]]

    @property
    def first(self) -> dict[str, Any]:
        """The first training's networks by name."""
        return {name: next(iter(self.seeds.values()))[name] for name in NETWORKS}

    @property
    def test_classes(self) -> np.ndarray:
        """True classes of the one split's test rows."""
        return self.pools["raw"]["test"].y.to_numpy()


def tables(settings: Any, results: Results) -> dict[str, pd.DataFrame]:
    """Return every table that is written."""
    folds = fold_scores(results)
    compared = comparisons(folds, settings.cross_validation.folds, settings.level)
    written = {
        "seeds": seed_scores(results),
        "folds": folds,
        "comparison": stacked(compared, "summary"),
        "pairs": stacked(compared, "pairs"),
        "goals": goals_in_folds(folds, settings.positive),
        "selected": pd.concat([selected_features(results, pool)[0] for pool in results.pools]),
        "rankings": rankings_side_by_side(results),
        "hard_rows": hard_rows(results),
        "classes": class_scores(results),
    }
    for name, network in results.first.items():
        written[f"epochs_{name}"] = pd.DataFrame(network["epochs"])
        if "ranking" in network:
            written[f"permutation_{name}"] = pg.FeatureRanking.from_dict(network["ranking"]).table
    return written


def seed_scores(results: Results) -> pd.DataFrame:
    """Return one row for each seed and network on the one split: how many features, and its scores."""
    rows = []
    for random_state, networks in results.seeds.items():
        for name in NETWORKS:
            row = {"random_state": random_state, "network": name, "features": len(networks[name]["features"])}
            for part in ("validation", "test"):
                row |= {f"{part} {score}": value for score, value in networks[name][part]["scores"].items()}
            rows.append(row)
    return pd.DataFrame(rows)


def class_scores(results: Results) -> pd.DataFrame:
    """Return one row for each network of the first training, part and class: precision, recall, F1 and rows."""
    rows = [
        {"network": name, "part": part, "class": label, **scores}
        for name, network in results.first.items()
        for part in ("validation", "test")
        for label, scores in network[part]["classes"].items()
        if label in set(results.test_classes)
    ]
    return pd.DataFrame(rows).rename(columns={"f1-score": "f1", "support": "rows"})


def fold_scores(results: Results) -> pd.DataFrame:
    """Return one row for each fold, model and score."""
    return pd.DataFrame(
        {"fold": i, "model": model, "score": score, "value": value}
        for i, fold in enumerate(results.folds)
        for model, scores in fold["scores"].items()
        for score, value in scores.items()
    )


def comparisons(folds: pd.DataFrame, n_folds: int, level: float) -> dict[str, pg.Comparison]:
    """Compare the models by each score, over the folds."""
    compared = {}
    for score, rows in folds.groupby("score", sort=False):
        values = {model: part["value"].to_numpy() for model, part in rows.groupby("model", sort=False)}
        compared[str(score)] = pg.compare_models(values, test_share=1 / n_folds, level=level, bounds=(0, 1))
    return compared


def stacked(compared: Mapping[str, pg.Comparison], part: str) -> pd.DataFrame:
    """Return the summaries, or the pairs, of all scores as one table."""
    frames = [getattr(comparison, part).assign(score=score) for score, comparison in compared.items()]
    table = pd.concat(frames, ignore_index=True)
    return table[["score", *(name for name in table if name != "score")]]


def goals_in_folds(folds: pd.DataFrame, positive: str) -> pd.DataFrame:
    """Return in how many folds each model reaches each goal: what the choice of the one split decides."""
    goals = {"accuracy": GOALS["accuracy"], f"recall[{positive}]": GOALS["recall"]}
    values = folds.pivot_table(index="fold", columns=["score", "model"], values="value", sort=False)
    reached = {f"{score} ≥ {goal:g}": (values[score] >= goal).sum() for score, goal in goals.items()}
    both = (values["accuracy"] >= GOALS["accuracy"]) & (values[f"recall[{positive}]"] >= GOALS["recall"])
    return pd.DataFrame({**reached, "both": both.sum()}).reset_index()


def selected_features(results: Results, pool: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Return how often each feature of a pool was selected over the folds, and the choices (n_folds, n_features)."""
    features = results.pools[pool]["train"].features
    choices = np.array([np.isin(features, fold["selected"][pool]) for fold in results.folds])
    table = pd.DataFrame(
        {"pool": pool, "feature": features, "folds": choices.sum(axis=0), "share": choices.mean(axis=0)}
    )
    return table.sort_values("share", ascending=False, kind="stable", ignore_index=True), choices


def hard_rows(results: Results) -> pd.DataFrame:
    """Return the test rows of the one split that any network got wrong, with how many seeds of each network did."""
    truth = results.test_classes
    wrong = {
        name: np.sum([np.array(each[name]["test"]["predicted"]) != truth for each in results.seeds.values()], axis=0)
        for name in NETWORKS
    }
    table = pd.DataFrame({"test row": range(len(truth)), "class": truth, **wrong})
    order = table[list(wrong)].sum(axis=1).sort_values(ascending=False, kind="stable").index
    return table.loc[order][lambda rows: rows[list(wrong)].any(axis=1)].reset_index(drop=True)


def mlp_ranking(results: Results) -> pg.FeatureRanking:
    """Return how the first training's MLP ranks the raw pool: by permutation."""
    return pg.FeatureRanking.from_dict(results.first["raw"]["ranking"])


def rankings_side_by_side(results: Results) -> pd.DataFrame:
    """Return the raw pool's features as hybrid (PermGrad) and MLP (permutation) rank them."""
    mlp = mlp_ranking(results)
    place = {name: i for i, name in enumerate(mlp.table["feature"], 1)}
    falls = dict(zip(mlp.features, mlp.scores, strict=True))
    names = {"feature": "feature", "score": "PermGrad", "low": "PermGrad low", "high": "PermGrad high"}
    known = results.permgrad.table
    table = known[[name for name in names if name in known]].rename(columns=names)
    table.insert(1, "PermGrad rank", range(1, len(table) + 1))
    table["MLP rank"] = table["feature"].map(place)
    table["MLP permutation"] = table["feature"].map(falls)
    return table


def facts(settings: Any, results: Results, written: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Return what the report names beside the tables."""
    test, seeds = results.pools["raw"]["test"], written["seeds"]
    return {
        "rows": {part: len(rows) for part, rows in results.pools["raw"].items()},
        "n_positive": int((test.y == settings.positive).sum()),
        "medians": medians(seeds),
        "ranges": ranges(seeds, settings.positive),
        "goals_met": goals_met(seeds, settings.positive),
        "intervals": intervals(written["comparison"]),
        "differences": written["pairs"][written["pairs"]["verdict"] != WITHIN_NOISE],
        "selection": {pool: stability(results, pool) for pool in results.pools},
        "agreement": results.permgrad.agreement(mlp_ranking(results)),
    }


def medians(seeds: pd.DataFrame) -> pd.DataFrame:
    """Return each network's median scores over the seeds."""
    table = seeds.drop(columns=["validation roc_auc", "random_state"])
    table = table.groupby("network", sort=False).median().reset_index()
    return table.assign(features=[f"{n:g}" for n in table["features"]])


def ranges(seeds: pd.DataFrame, positive: str) -> pd.DataFrame:
    """Return each network's lowest and highest test accuracy and recall over the seeds."""
    table = seeds.groupby("network", sort=False)[["test accuracy", f"test recall[{positive}]"]].agg(["min", "max"])
    table.columns = [f"{name}, {end}" for name, end in table.columns]
    return table.reset_index()


def goals_met(seeds: pd.DataFrame, positive: str) -> pd.DataFrame:
    """Return, for each pool and goal, the median over seeds and whether it is high enough."""
    table = medians(seeds).set_index("network")
    rows = []
    for pool in ("raw", "engineered"):
        for score, goal in zip(("test accuracy", f"test recall[{positive}]"), GOALS.values(), strict=True):
            median = float(table.loc[pool, score])
            rows.append({"network": pool, "score": score, "median": median, "goal": goal, "met": median >= goal})
    return pd.DataFrame(rows)


def intervals(summary: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each model: each score's mean over folds with its interval."""
    cells = [
        f"{mean:.4f} [{low:.4f}, {high:.4f}]"
        for mean, low, high in zip(summary["mean"], summary["low"], summary["high"], strict=True)
    ]
    wide = summary.assign(cell=cells).pivot_table("cell", "model", "score", aggfunc="first", sort=False)
    return wide.reset_index()


def stability(results: Results, pool: str) -> dict[str, Any]:
    """Say which and how many features of a pool the folds select, and how alike their choices are."""
    table, choices = selected_features(results, pool)
    sizes = choices.sum(axis=1)
    index, variance = nogueira(choices) if 0 < choices.mean() < 1 and len(choices) > 1 else (float("nan"), 0.0)
    margin = 1.96 * float(np.sqrt(variance))
    return {
        "table": table[table["folds"] > 0].drop(columns="pool"),
        "least": sizes.min(),
        "most": sizes.max(),
        "median": np.median(sizes),
        "index": index,
        "low": index - margin,
        "high": index + margin,
    }
