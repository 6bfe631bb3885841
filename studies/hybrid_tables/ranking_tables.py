"""Tables of rankings: both formulas, and what mistakes, layouts and class sizes change. Nothing is trained here."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

import permgrad as pg
from studies.hybrid_tables.networks import BySeed, Evaluation
from studies.hybrid_tables.published import BRANCH_WEIGHTS, PUMA_INCREASES
from studies.hybrid_tables.results import DatasetResults, Results
from studies.hybrid_tables.score_tables import SCORES
from studies.hybrid_tables.statistics import TOP, exact_correlation, rank_correlation, row_difference, shared_best

SHARED_BEST = f"best {TOP} kept, published formula"
MISREADINGS = {"transposed": "heat read at the transposed pixel", "one map": "one class's map for all classes"}
NOTES = {"target among features": "in the row, and in the image too"}


def _about(result: DatasetResults) -> dict[str, Any]:
    return {"dataset": result.label, "trials": result.trials}


def explained_rankings(result: DatasetResults) -> dict[str, pg.FeatureRanking]:
    """Return the explained network's ranking by each formula, none if it is not ranked yet."""
    rankings = result.permgrad["rankings"] if result.permgrad else {}
    return {name: pg.FeatureRanking.from_dict(content) for name, content in rankings.items()}


def formula_table(results: Results) -> pd.DataFrame:
    """Return one row for each data set and formula, of one and the same network."""
    rows = []
    for result in results:
        rankings = explained_rankings(result)
        for name, ranking in rankings.items():
            weights = ranking.branch_weights or {}
            published = BRANCH_WEIGHTS.get(result.name) if name == "published" else None
            row, image = published or (np.nan, np.nan)
            rows.append(
                {
                    **_about(result),
                    "formula": name,
                    "weight of the row": weights["tabular"],
                    "of the image": weights["image"],
                    "published: row": row,
                    "published: image": image,
                    "agreement with end to end": ranking.agreement(ranking.components["end_to_end"]),
                    "with the other formula": rankings["default"].agreement(rankings["published"]),
                    f"best {TOP}": ", ".join(ranking.select(TOP)),
                }
            )
    return pd.DataFrame(rows)


def ranking_table(result: DatasetResults) -> pd.DataFrame:
    """Return one row for each feature: its score by each formula, with interval and rank, and what both are made of."""
    rankings = explained_rankings(result)
    default, published = rankings["default"], rankings["published"]
    parts = {**default.components, "grad_cam": published.components["grad_cam"]}
    columns: dict[str, Any] = {"dataset": result.label, "feature": default.features}
    for name, ranking in rankings.items():
        columns |= {name: ranking.scores, f"{name} low": ranking.low, f"{name} high": ranking.high}
        columns[f"{name} rank"] = np.argsort(ranking.order) + 1
    columns |= {name: part.scores for name, part in parts.items()}
    return pd.DataFrame(columns).iloc[default.order].reset_index(drop=True)


def puma_table(results: Results) -> pd.DataFrame:
    """Return the rise of the squared error by permuting each Puma column, beside the published one."""
    for result in results:
        if result.name == "puma8nh" and result.permgrad:
            permutation = explained_rankings(result)["published"].components["permutation"]
            table = permutation.table[["feature", "score", "low", "high"]].rename(columns={"score": "here"})
            return table.assign(published=table["feature"].map(PUMA_INCREASES), **_about(result))
    return pd.DataFrame()


def misread_table(results: Results) -> pd.DataFrame:
    """Return one row for each data set and mistake of reading: how the network's ranking differs from the corrected."""
    return pd.DataFrame(
        {**_about(result), "mistake": name, **_misreading(result.mistakes["misread"], key)}
        for result in results
        for key, name in MISREADINGS.items()
        if key in result.mistakes.get("misread", ())
    )


def _misreading(readings: dict[str, Any], key: str) -> dict[str, Any]:
    right, wrong = readings["corrected"], readings[key]
    row = {
        "weight of the image": right["weight"],
        "heat": rank_correlation(right["heat"], wrong["heat"]),
        "published formula": rank_correlation(right["scores"], wrong["scores"]),
    }
    if right["class_scores"] is not None:
        pairs = zip(np.transpose(right["class_scores"]), np.transpose(wrong["class_scores"]), strict=True)
        row["classes"] = float(np.mean([rank_correlation(a, b) for a, b in pairs]))
    return {
        **row,
        SHARED_BEST: shared_best(right["scores"], wrong["scores"]),
        "end to end, corrected": rank_correlation(right["scores"], readings["end_to_end"]),
        "end to end, mistaken": rank_correlation(wrong["scores"], readings["end_to_end"]),
    }


def mistake_table(results: Results) -> pd.DataFrame:
    """Return one row for each data set and mistake of training: what it changes in ranking and score."""
    return pd.DataFrame(
        {**_about(result), **row} for result in results if "corrected" in result.mistakes for row in _mistakes(result)
    )


def _mistakes(result: DatasetResults) -> Iterator[dict[str, Any]]:
    corrected = result.mistakes["corrected"]
    for name, mistaken in result.mistakes.items():
        if name not in ("misread", "corrected"):
            note = _pixels(mistaken) if name == "shared pixels" else NOTES.get(name, "")
            yield {"mistake": name, **_changes(result, mistaken, corrected), "note": note}
    by_seed = result.networks.get(result.explained, {})
    if len(by_seed) > 1:
        yield _yardstick(result, by_seed)


def _changes(result: DatasetResults, mistaken: Evaluation, corrected: Evaluation) -> dict[str, Any]:
    """Compare rankings, over the features of the corrected network, and scores of two networks."""
    rankings = {
        name: (list(scores.values()), [mistaken["rankings"][name][feature] for feature in scores])
        for name, scores in corrected["rankings"].items()
    }
    score = SCORES[result.facts["task"]][0]
    return {
        **{f"{name} formula": rank_correlation(*pair) for name, pair in rankings.items()},
        SHARED_BEST: shared_best(*rankings["published"]),
        "score": score,
        "corrected": corrected["test"][score],
        "mistaken": mistaken["test"][score],
        **row_difference(result.facts, [mistaken], [corrected], result.level),
    }


def _yardstick(result: DatasetResults, by_seed: BySeed) -> dict[str, Any]:
    """Return what another seed alone changes: the mean over pairs of seeds."""
    pairs = pd.DataFrame(_changes(result, second, first) for first, second in combinations(by_seed.values(), 2))
    pairs["difference"] = pairs["difference"].abs()
    of_one = ["corrected", "mistaken", "low", "high"]  # neither of two seeds is the mistaken one
    means = pairs.drop(columns=[*of_one, "score"]).mean(skipna=False).to_dict()
    name = "none: another seed (mean of pairs, size of the difference)"
    return {"mistake": name, "score": pairs["score"].iloc[0], **means}


def _pixels(evaluation: Evaluation) -> str:
    layout = pg.FeatureLayout.from_dict(evaluation["layout"])
    n_features, n_pixels = len(layout.features), len(set(layout.pixels.tolist()))
    height, width = layout.shape
    return f"{n_features} features in {n_pixels} of {height} × {width} pixels"


def layout_table(results: Results) -> pd.DataFrame:
    """Return one row for each data set, layout and size: score, and how the ranking changes from the tuned network's.

    Compared with the network of the same seed that has the layout it was tuned with.
    """
    return pd.DataFrame(
        {**_about(result), "layout": kind, "size": size, "seeds": len(by_seed), **row}
        for result in results
        for (kind, size), by_seed in result.layouts.items()
        if (row := _layout(result, by_seed))
    )


def _layout(result: DatasetResults, by_seed: BySeed) -> dict[str, Any]:
    """Return what a layout changes; why there is none where it cannot be; nothing if it is not trained yet."""
    tuned = result.networks.get(result.explained, {})
    reasons = [evaluation["impossible"] for evaluation in by_seed.values() if "impossible" in evaluation]
    if reasons:
        return {"note": reasons[0]}
    pairs = [(evaluation, tuned[seed]) for seed, evaluation in by_seed.items() if seed in tuned]
    if not pairs:
        return {}
    changes = pd.DataFrame(_changes(result, evaluation, known) for evaluation, known in pairs)
    columns = {"mistaken": "mean", **{name: name for name in ("default formula", "published formula", SHARED_BEST)}}
    means = {name: float(changes[column].mean(skipna=False)) for column, name in columns.items()}
    return {"score": changes["score"].iloc[0], **means, "note": _pixels(pairs[0][0])}


def saliency_table(results: Results) -> pd.DataFrame:
    """Return Spearman's correlation of a class's size with its saliency, the sum of its scores over all features.

    ``p``: two-sided, over all orders of the classes (Spearman's usual t approximation is off for so few).
    """
    rows = []
    for result in results:
        sizes = list(result.class_sizes.values())
        for formula, ranking in explained_rankings(result).items() if sizes else ():
            for name, part in {"all of it": ranking, **ranking.components}.items():
                if part.class_scores is not None and name != "end_to_end":
                    correlation, p = exact_correlation(sizes, part.class_scores.sum(axis=0))
                    about = {**_about(result), "formula": formula, "part": name}
                    rows.append(about | {"correlation": correlation, "p": p})
    return pd.DataFrame(rows)
