"""What the tumour study found, as tables: one function a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

import permgrad as pg
from permgrad.evaluation.agreement import rank_correlation, top_overlap

METHODS = {
    "first_layer": "first-layer sums",
    "permutation": "permutation",
    "group_permutation": "group permutation",
    "selector": "selector",
    "anova": "ANOVA F",
}
SHOWN = 10
GB = 1e9
MOST_MINUTES, MOST_MEMORY = 90, 6 * GB
"""What was asked of the published shape, on two cores."""
Rankings = dict[str, list[pg.FeatureRanking]]
"""Of each method, one for each training."""


@dataclass(frozen=True)
class Results:
    """All results of the settings.

    Attributes
    ----------
    table : Table
    rows : mapping of str to int
        How many each part has.
    steps : mapping of str to dict
        By the steps' names: ``groups``, ``anova``, a training for each random state and for each penalty.
    """

    table: pg.Table
    rows: Mapping[str, int]
    steps: Mapping[str, Mapping[str, Any]]

    @property
    def trainings(self) -> list[Mapping[str, Any]]:
        """Those that rank genes, in order."""
        return [step for name, step in self.steps.items() if name.startswith("seed_")]

    @property
    def groups(self) -> list[list[int]]:
        """Column numbers of each group of correlated genes."""
        return self.steps["groups"]["groups"]


def tables(settings: Any, results: Results) -> dict[str, pd.DataFrame]:
    """Return every table that is written."""
    by_method, best = rankings(results), counts(settings, results)
    written = {
        "penalties": penalties(settings, results),
        "agreement": agreement(by_method, best),
        "agreed_genes": agreed_genes(by_method, max(best)),
        "stability": stability(by_method, best),
        "top_genes": top_genes(by_method),
        "groups": group_table(results),
    }
    planted = {}
    if "groups" in results.table.notes:
        planted["planted"] = planted_recall(by_method, results.table.notes)
    return {**written, **planted, "asked": asked(results, planted.get("planted"))}


def counts(settings: Any, results: Results) -> tuple[int, ...]:
    """Return how many genes count as the best: those of the settings that are fewer than there are."""
    return tuple(k for k in settings.best if k < len(results.table.features))


def every_score(results: Results) -> pd.DataFrame:
    """Return every gene's scores, averaged over the trainings."""
    scores = {METHODS[method]: ranking.scores for method, ranking in averaged(rankings(results)).items()}
    return pd.DataFrame({**scores, "gene": results.table.features})


def rankings(results: Results) -> Rankings:
    """Return each method's rankings; the F test looks at no network and has the same one each time."""
    genes, anova = tuple(results.table.features), results.steps["anova"]
    return {
        method: [
            pg.FeatureRanking(genes, np.array({**anova, **training}[method]), method=method)
            for training in results.trainings
        ]
        for method in METHODS
    }


def averaged(by_method: Rankings) -> dict[str, pg.FeatureRanking]:
    """Return each method's scores averaged over the trainings, each scaled to a mean size of 1."""
    return {
        method: pg.FeatureRanking(
            each[0].features,
            np.mean([ranking.scores / (np.abs(ranking.scores).mean() or 1) for ranking in each], axis=0),
            method=method,
        )
        for method, each in by_method.items()
    }


def penalties(settings: Any, results: Results) -> pd.DataFrame:
    """Return one row for each factor of the penalty: weights and accuracies."""
    rows = []
    for penalty in settings.sweep.penalties:
        training = results.steps[penalty_step(settings, penalty)]
        weights, scores = training["weights"], training["scores"]
        rows.append(
            {
                "λ": f"{penalty:g}",
                "below 1e-5": weights["zeros"],
                **{name: weights[name] for name in ("minimum", "maximum", "std", "mean", "mean_absolute")},
                **{f"{part} accuracy": scores[part]["accuracy"] for part in scores},
                "test loss": scores["test"]["loss"],
                "seconds per epoch": float(np.median(training["epoch_seconds"])),
            }
        )
    return pd.DataFrame(rows)


def penalty_step(settings: Any, penalty: float) -> str:
    """Say which step trains with this factor: the first of those that rank genes has one of them."""
    first = f"seed_{settings.importance.first_seed}"
    return first if penalty == settings.importance.penalty else f"penalty_{penalty}"


def agreement(by_method: Rankings, best: tuple[int, ...]) -> pd.DataFrame:
    """Return one row for each pair of methods: Spearman and shared best genes, means over the trainings and ranges."""
    rows = []
    for a, b in combinations(by_method, 2):
        pairs = list(zip(by_method[a], by_method[b], strict=True))
        rho = [rank_correlation(*pair) for pair in pairs]
        row = {"first": METHODS[a], "second": METHODS[b], "Spearman": np.mean(rho), "low": min(rho), "high": max(rho)}
        rows.append(row | {f"top {k}": np.mean([top_overlap(*pair, k) for pair in pairs]) for k in best})
    return pd.DataFrame(rows)


def agreed_genes(by_method: Rankings, k: int) -> pd.DataFrame:
    """Return the genes that are among a method's `k` best in any training: in which share of the trainings, by method.

    ``all``: the mean of the methods' shares, by which genes are in order.
    """
    genes = next(iter(by_method.values()))[0].features
    shares = {METHODS[method]: np.zeros(len(genes)) for method in by_method}
    for method, each in by_method.items():
        for ranking in each:
            shares[METHODS[method]][ranking.order[:k]] += 1 / len(each)
    table = pd.DataFrame({"gene": genes, "all": np.mean(list(shares.values()), axis=0), **shares})
    return table[table["all"] > 0].sort_values("all", ascending=False, kind="stable", ignore_index=True)


def stability(by_method: Rankings, best: tuple[int, ...]) -> pd.DataFrame:
    """Return one row for each method: how alike its rankings are over trainings."""
    rows = []
    for method, each in by_method.items():
        if method == "anova":
            continue
        row: dict[str, Any] = {"method": METHODS[method], "Spearman": pg.rank_stability(each).spearman}
        for k in best:
            stable = pg.rank_stability(each, k)
            low, high = stable.nogueira_interval
            row |= {f"Nogueira, top {k}": stable.nogueira, f"low {k}": low, f"high {k}": high}
        rows.append(row)
    return pd.DataFrame(rows)


def planted_recall(by_method: Rankings, notes: Mapping[str, Any]) -> pd.DataFrame:
    """Return, of the planted table, what each method found: means over trainings, and of the averaged ranking.

    ``planted``: share of the planted genes among as many best. ``markers``: share of marker genes (planted ones and
    their copies) among as many best. ``groups``: going down the ranking, each gene standing for its group, share of
    marker groups among as many first groups.
    """
    rows = []
    together = averaged(by_method)
    for method, each in by_method.items():
        alone = pd.DataFrame(_recalls(ranking, notes) for ranking in each).mean()
        joined = _recalls(together[method], notes)
        rows.append(
            {"method": METHODS[method], **alone} | {f"{name}, averaged": value for name, value in joined.items()}
        )
    return pd.DataFrame(rows)


def _recalls(ranking: pg.FeatureRanking, notes: Mapping[str, Any]) -> dict[str, float]:
    markers = [gene for group in notes["groups"].values() for gene in group]
    return {
        "planted": pg.toy.recall(ranking, notes["relevant"]),
        "markers": pg.toy.recall(ranking, markers),
        "groups": group_recall(ranking, notes),
    }


def group_recall(ranking: pg.FeatureRanking, notes: Mapping[str, Any]) -> float:
    """Return the share of marker groups among the first groups that a ranking comes to; see `planted_recall`."""
    home = {gene: name for kind in ("groups", "other_groups") for name, group in notes[kind].items() for gene in group}
    order = dict.fromkeys(home.get(gene, gene) for gene in np.array(ranking.features)[ranking.order])
    first = list(order)[: len(notes["groups"])]
    return len(set(first) & set(notes["groups"])) / len(first)


def top_genes(by_method: Rankings) -> pd.DataFrame:
    """Return the best genes of each method: of the first training, and averaged."""
    together = averaged(by_method)
    columns = {"place": range(1, SHOWN + 1)}
    for method in by_method:
        columns[METHODS[method]] = by_method[method][0].select(SHOWN)
        if method != "anova":
            columns[f"{METHODS[method]}, averaged"] = together[method].select(SHOWN)
    return pd.DataFrame({name: pd.Series(list(values)) for name, values in columns.items()})


def group_table(results: Results) -> pd.DataFrame:
    """Return one row for each group of several genes, best first: its genes, its score averaged over trainings."""
    genes, trainings = np.array(results.table.features), results.trainings
    marked = {gene for group in results.table.notes.get("groups", {}).values() for gene in group}
    rows = []
    for i, columns in enumerate(results.groups):
        scores = [training["groups"][f"group {i}"] for training in trainings]
        alone = [max(np.array(training["permutation"])[columns]) for training in trainings]
        row = {"genes": len(columns), "first gene": genes[columns[0]], "together": np.mean(scores)}
        row |= {"sd": np.std(scores, ddof=1), "best alone": np.mean(alone)}
        rows.append(row | ({"markers": float(np.mean([gene in marked for gene in genes[columns]]))} if marked else {}))
    table = pd.DataFrame(rows, columns=[*rows[0]] if rows else ["genes", "first gene", "together", "sd", "best alone"])
    return table.sort_values("together", ascending=False, kind="stable", ignore_index=True)


def effort(results: Results) -> tuple[float, float]:
    """Return minutes, of all steps together, and the most bytes that a process held by the end of one."""
    steps = results.steps.values()
    return sum(step["step_seconds"] for step in steps) / 60, max(step.get("peak_memory", 0) for step in steps)


def asked(results: Results, planted: pd.DataFrame | None) -> pd.DataFrame:
    """Return what was asked of the study, what was found, and whether that is enough."""
    minutes, memory = effort(results)
    rows = [
        (f"in less than {MOST_MINUTES} minutes", f"{minutes:.1f}", minutes < MOST_MINUTES),
        (f"in less than {MOST_MEMORY / GB:.0f} GB", f"{memory / GB:.2f}", memory < MOST_MEMORY),
    ]
    if planted is not None:
        share = planted.set_index("method").loc[METHODS["group_permutation"], "groups, averaged"]
        n = len(results.table.notes["groups"])
        rows.append(("the planted groups first, by group permutation", f"{round(share * n)} of {n}", share == 1))
    return pd.DataFrame([(*row, "yes" if met else "no") for *row, met in rows], columns=["asked", "measured", "met"])


def facts(settings: Any, results: Results, written: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Return what the report names beside the tables."""
    trainings, minutes_and_memory = results.trainings, effort(results)
    first = trainings[0]
    seconds = float(np.median([training["seconds"] for training in trainings]))
    return {
        "k": max(counts(settings, results)),
        "left_out": results.table.notes.get("left_out", {}),
        "wide": _range(trainings, "scores"),
        "small": _range(trainings, "selector_scores"),
        "epoch_seconds": float(np.median(first["epoch_seconds"])),
        "minutes": minutes_and_memory[0],
        "gigabytes": minutes_and_memory[1] / GB,
        "shuffle_seconds": seconds,
        "plain_seconds": first["plain_seconds"] * len(results.table.features) * settings.importance.repeats,
        "heaviest": np.array(first["heaviest"]["falls"]),
        "increases": np.array(first["permutation"]),
        "first": first,
    }


def _range(trainings: list[Mapping[str, Any]], scores: str) -> str:
    accuracies = [training[scores]["test"]["accuracy"] for training in trainings]
    return f"{min(accuracies):.4f} to {max(accuracies):.4f}"
