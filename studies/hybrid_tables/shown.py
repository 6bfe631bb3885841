"""What the report shows of the tables: fewer columns, numbers with their intervals, a table for each data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from studies.hybrid_tables.published import LEADERBOARD
from studies.hybrid_tables.ranking_tables import explained_rankings
from studies.hybrid_tables.results import DatasetResults, Results
from studies.hybrid_tables.score_tables import SCORES
from studies.hybrid_tables.settings import HybridSettings

FEWEST_SEEDS = 3
"""From which on an interval is shown: that of two is as wide as the scale."""
TOP = 10
PARTS = ("train", "validation", "test")


def facts(settings: HybridSettings, results: Results, tables: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Return what the report's template names beside tables and pictures."""
    averaged = {name for result in results for name in result.ensembles}
    return {
        "data": data_table(results),
        "target": shown_target(tables["target"], settings),
        "ensembles": {name: names for name, names in settings.ensembles.items() if name in averaged},
        "compared": list(shown_scores(results, tables["scores"])),
        "ranked": list(shown_rankings(results)),
        "recalls": dict(shown_recalls(tables["recall"])),
    }


def data_table(results: Results) -> pd.DataFrame:
    """Return one row for each data set: its parts, and what its networks had."""
    return pd.DataFrame(
        {
            "dataset": result.label,
            "features": result.facts["features"],
            **{part: result.facts[part] for part in PARTS},
            "most epochs": result.settings["tuning"]["epochs"][result.facts["task"]],
            "seeds of networks": max(map(len, result.networks.values()), default=0),
            "what is missing": result.note,
        }
        for result in results
    )


def shown_target(target: pd.DataFrame, settings: HybridSettings) -> pd.DataFrame:
    """Return the table of the target with each difference and its interval in one column."""
    if not len(target):
        return target
    columns = ["dataset", "network", "seeds", "score", "network's", "best baseline", "baseline's", "its seeds"]
    shown, level, above = target[columns].copy(), f"[{settings.level:.0%}]", f"above {settings.explained}"
    shown[f"difference {level}"] = _with_ends(target[["difference", "low", "high"]])
    shown["verdict"] = target["verdict"]
    if above in target:
        shown[f"{above} {level}"] = _with_ends(target[[above, f"{above}, low", f"{above}, high"]])
    return shown.join(target.filter(like="AUC").drop(columns="AUC difference", errors="ignore"))


def _with_ends(values: pd.DataFrame) -> list[str]:
    return [
        "" if pd.isna(value) else f"{value:+.4f} [{low:+.4f}, {high:+.4f}]"
        for value, low, high in values.to_numpy(float)
    ]


def shown_scores(results: Results, scores: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield label, table (best model on top, a column for each score) and published figures of each data set."""
    for result in results if len(scores) else ():
        board = LEADERBOARD[LEADERBOARD["dataset"] == result.name]
        rows = scores[scores["dataset"] == result.label]
        if len(rows):
            yield {"label": result.label, "table": _scores_of(result, rows), "leaderboard": board.to_dict("records")}


def _scores_of(result: DatasetResults, scores: pd.DataFrame) -> pd.DataFrame:
    names, about = list(SCORES[result.facts["task"]]), ["kind", "model", "seeds", "trials"]
    cells = scores.assign(cell=[_score(row) for row in scores.to_dict("records")])
    wide = cells.pivot_table(index=about, columns="score", values="cell", aggfunc="first", sort=False, dropna=False)
    wide = wide.dropna(how="all").reset_index()[[*about, *names]]
    best = scores[scores["score"] == names[0]].set_index("model")["mean"]
    return wide.iloc[wide["model"].map(best).argsort(kind="stable")[::-1]]


def _score(row: Mapping[str, Any]) -> str:
    mean, low, high = (f"{row[name]:.4f}" for name in ("mean", "low", "high"))
    return mean if row["seeds"] < FEWEST_SEEDS or low == high else f"{mean} [{low}, {high}]"


def shown_rankings(results: Results) -> Iterator[dict[str, Any]]:
    """Yield the best features of each ranking."""
    for result in results:
        for formula, ranking in explained_rankings(result).items():
            table = ranking.table[["feature", "score", "low", "high"]].head(TOP)
            yield {"label": result.label, "formula": formula, "trials": result.trials, "table": table}


def shown_recalls(recalls: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield each data set's recalls, a column for each class."""
    for dataset, rows in recalls.groupby("dataset", sort=False) if len(recalls) else ():
        names = rows["class"].astype(str) + " (" + rows["training rows"].astype(str) + ")"
        index = ["model", "seeds", "accuracy", "balanced accuracy"]
        wide = rows.assign(**{"class": names}).pivot_table(index=index, columns="class", values="recall", sort=False)
        yield str(dataset), wide.reset_index()
