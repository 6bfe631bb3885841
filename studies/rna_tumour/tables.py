"""What the tumour study found, as tables: one function a table."""

from __future__ import annotations

from collections.abc import Mapping
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
Done = Mapping[str, Any]
Rankings = dict[str, list[pg.FeatureRanking]]
"""Of each method, one for each training."""


def trainings(done: Done) -> dict[str, Any]:
    """Return the units of the trainings that rank genes."""
    return {name: unit for name, unit in done.items() if name.startswith("seed_")}


def counts(study: Any, done: Done) -> tuple[int, ...]:
    """Return how many genes count as the best: those of the settings that are fewer than there are."""
    return tuple(k for k in study.best if k < len(done["table"].features))


def rankings(done: Done) -> Rankings:
    """Return each method's rankings; the F test looks at no network and has the same one each time."""
    genes, units = tuple(done["table"].features), trainings(done).values()
    return {
        method: [pg.FeatureRanking(genes, np.array({**done["anova"], **unit}[method]), method=method) for unit in units]
        for method in METHODS
    }


def averaged(found: Rankings) -> dict[str, pg.FeatureRanking]:
    """Return each method's scores averaged over the trainings, each scaled to a mean size of 1."""
    return {
        method: pg.FeatureRanking(
            each[0].features,
            np.mean([ranking.scores / (np.abs(ranking.scores).mean() or 1) for ranking in each], axis=0),
            method=method,
        )
        for method, each in found.items()
    }


def penalties(study: Any, done: Done) -> pd.DataFrame:
    """Return one row for each factor of the penalty: weights and accuracies."""
    rows = []
    for penalty in study.sweep.penalties:
        unit = penalty_unit(study, done, penalty)
        weights, scores = unit["weights"], unit["scores"]
        rows.append(
            {
                "λ": f"{penalty:g}",
                "below 1e-5": weights["zeros"],
                **{name: weights[name] for name in ("minimum", "maximum", "std", "mean", "mean_absolute")},
                **{f"{part} accuracy": scores[part]["accuracy"] for part in scores},
                "test loss": scores["test"]["loss"],
                "seconds per epoch": float(np.median(unit["epoch_seconds"])),
            }
        )
    return pd.DataFrame(rows)


def penalty_unit(study: Any, done: Done, penalty: float) -> dict[str, Any]:
    """Return the unit of a training with this factor of the penalty."""
    return done[penalty_unit_name(study, penalty)]


def penalty_unit_name(study: Any, penalty: float) -> str:
    """Say which unit has a training with this factor: the first of those that rank genes has one of them."""
    return f"seed_{study.importance.first_seed}" if penalty == study.importance.penalty else f"penalty_{penalty}"


def agreement(found: Rankings, best: tuple[int, ...]) -> pd.DataFrame:
    """Return one row for each pair of methods: Spearman and shared best genes, means over the trainings and ranges."""
    rows = []
    for a, b in combinations(found, 2):
        pairs = list(zip(found[a], found[b], strict=True))
        rho = [rank_correlation(*pair) for pair in pairs]
        row = {"first": METHODS[a], "second": METHODS[b], "Spearman": np.mean(rho), "low": min(rho), "high": max(rho)}
        rows.append(row | {f"top {k}": np.mean([top_overlap(*pair, k) for pair in pairs]) for k in best})
    return pd.DataFrame(rows)


def agreed_genes(found: Rankings, k: int) -> pd.DataFrame:
    """Return the genes that are among a method's `k` best in any training: in which share of the trainings, by method.

    ``all``: the mean of the methods' shares, by which genes are in order.
    """
    genes = next(iter(found.values()))[0].features
    shares = {METHODS[method]: np.zeros(len(genes)) for method in found}
    for method, each in found.items():
        for ranking in each:
            shares[METHODS[method]][ranking.order[:k]] += 1 / len(each)
    table = pd.DataFrame({"gene": genes, "all": np.mean(list(shares.values()), axis=0), **shares})
    return table[table["all"] > 0].sort_values("all", ascending=False, kind="stable", ignore_index=True)


def stability(found: Rankings, best: tuple[int, ...]) -> pd.DataFrame:
    """Return one row for each method: how alike its rankings are over trainings."""
    rows = []
    for method, each in found.items():
        if method == "anova":
            continue
        row: dict[str, Any] = {"method": METHODS[method], "Spearman": pg.rank_stability(each).spearman}
        for k in best:
            stable = pg.rank_stability(each, k)
            low, high = stable.nogueira_interval
            row |= {f"Nogueira, top {k}": stable.nogueira, f"low {k}": low, f"high {k}": high}
        rows.append(row)
    return pd.DataFrame(rows)


def planted_recall(found: Rankings, notes: Mapping[str, Any]) -> pd.DataFrame:
    """Return, of the planted table, what each method found: means over trainings, and of the averaged ranking.

    ``planted``: share of the planted genes among as many best. ``markers``: share of marker genes (planted ones and
    their copies) among as many best. ``groups``: going down the ranking, each gene standing for its group, share of
    marker groups among as many first groups.
    """
    rows = []
    together = averaged(found)
    for method, each in found.items():
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


def top_genes(found: Rankings) -> pd.DataFrame:
    """Return the best genes of each method: of the first training, and averaged."""
    together = averaged(found)
    columns = {"place": range(1, SHOWN + 1)}
    for method in found:
        columns[METHODS[method]] = found[method][0].select(SHOWN)
        if method != "anova":
            columns[f"{METHODS[method]}, averaged"] = together[method].select(SHOWN)
    return pd.DataFrame({name: pd.Series(list(values)) for name, values in columns.items()})


def group_table(done: Done) -> pd.DataFrame:
    """Return one row for each group of several genes, best first: its genes, its score averaged over trainings."""
    genes, units = np.array(done["table"].features), trainings(done).values()
    groups = done["groups"]["groups"]
    marked = {gene for group in done["table"].notes.get("groups", {}).values() for gene in group}
    rows = []
    for i, columns in enumerate(groups):
        scores = [unit["groups"][f"group {i}"] for unit in units]
        alone = [max(np.array(unit["permutation"])[columns]) for unit in units]
        row = {"genes": len(columns), "first gene": genes[columns[0]], "together": np.mean(scores)}
        row |= {"sd": np.std(scores, ddof=1), "best alone": np.mean(alone)}
        rows.append(row | ({"markers": float(np.mean([gene in marked for gene in genes[columns]]))} if marked else {}))
    table = pd.DataFrame(rows, columns=[*rows[0]] if rows else ["genes", "first gene", "together", "sd", "best alone"])
    return table.sort_values("together", ascending=False, kind="stable", ignore_index=True)


def effort(done: Done) -> tuple[float, float]:
    """Return minutes, of all units together, and the most bytes that a process held by the end of one."""
    units = [unit for unit in done.values() if isinstance(unit, dict) and "all_seconds" in unit]
    return sum(unit["all_seconds"] for unit in units) / 60, max(unit.get("peak_memory", 0) for unit in units)


def asked(done: Done, planted: pd.DataFrame | None) -> pd.DataFrame:
    """Return what was asked of the study, what was found, and whether that is enough."""
    minutes, memory = effort(done)
    rows = [
        (f"in less than {MOST_MINUTES} minutes", f"{minutes:.1f}", minutes < MOST_MINUTES),
        (f"in less than {MOST_MEMORY / GB:.0f} GB", f"{memory / GB:.2f}", memory < MOST_MEMORY),
    ]
    if planted is not None:
        share = planted.set_index("method").loc[METHODS["group_permutation"], "groups, averaged"]
        n = len(done["table"].notes["groups"])
        rows.append(("the planted groups first, by group permutation", f"{round(share * n)} of {n}", share == 1))
    return pd.DataFrame([(*row, "yes" if met else "no") for *row, met in rows], columns=["asked", "found", "met"])
