"""What the gene-panel study found, as tables: each from the units of one data set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

import permgrad as pg
from permgrad.evaluation.panels import bootstrap_score

from . import networks

Done = Mapping[str, Any]
"""Units by name, and the parts of the cells."""
BASELINE = networks.REFEREE
"""The ranking that others are compared with."""
KEPT, RECOVERED = 0.95, 0.9
"""What is wanted of a panel: of the accuracy with all genes; of planted markers, among twice as many best genes."""


def unit(done: Done, condition: str, random_state: int) -> dict[str, Any]:
    """Return the unit that ranked the genes: an SVM's is the same for each seed."""
    names = (condition, f"{condition}, {random_state}", f"{condition}, {random_state}, ranking")
    return next(done[name] for name in names if name in done)


def rankings_of(done: Done, condition: str, seeds: Iterable[int]) -> list[pg.FeatureRanking]:
    """Return a condition's ranking of each training."""
    features = done["parts"]["train"].features
    return [
        pg.FeatureRanking(features, np.array(unit(done, condition, random_state)["ranking"]), method=condition)
        for random_state in seeds
    ]


def score(rights: Any, done: Done, part: str = "test") -> dict[str, float]:
    """Return the mean per-class accuracy over trainings, with its interval over trainings and cells."""
    found = bootstrap_score(np.array(rights), done["parts"][part].y)
    return {"accuracy": found.mean, "low": found.low, "high": found.high}


def conditions(study: Any, done: Done) -> pd.DataFrame:
    """Return one row for each network and SVM: mean per-class accuracies, and what is left with the best alone kept.

    A path's network is the one that its training ends with, of the last of its sizes: there is nothing left to mask.
    """
    rows = []
    for condition in (*study.conditions, *networks.SVMS):
        units = [unit(done, condition, random_state) for random_state in study.seeds]
        row: dict[str, Any] = {"condition": condition}
        row["validation"] = score([each["right"]["validation"] for each in units], done, "validation")["accuracy"]
        row |= {f"test {what}": value for what, value in score([u["right"]["test"] for u in units], done).items()}
        row |= {f"masked to {k}": np.nan if "path" in units[0] else masked_at(units, k) for k in masked_sizes(study)}
        row["like its start"] = like_start(study, done, condition)
        row["seconds"] = float(np.mean([each["seconds"] for each in units]))
        rows.append(row)
    return pd.DataFrame(rows).rename(columns={"test accuracy": "test"})


def like_start(study: Any, done: Done, condition: str) -> float:
    """Return Spearman's correlation of a selector's ranking with its weights before training; a mean over trainings.

    Near 1, it ranks genes by the numbers that it happened to start with. NaN for what has no selector, or one whose
    weights start equal.
    """
    if condition not in networks.CONDITIONS:
        return np.nan
    found = []
    for random_state in study.seeds:
        scores = unit(done, condition, random_state)["ranking"]
        start = networks.start_of(study, condition, random_state, len(scores))
        found.append(np.nan if start is None else spearmanr(start, scores).statistic)
    return float(np.mean(found))


def masked_sizes(study: Any) -> list[int]:
    """Return the panel sizes at which masking curves have a point."""
    return [k for k in study.crop.sizes if k % study.masking.step == 0 or k in study.beyond.sizes]


def masked_at(units: list[dict[str, Any]], k: int) -> float:
    """Return the mean per-class accuracy with the k best genes kept, nothing retrained; a mean over trainings."""
    curves = [pd.DataFrame(each["masking"]).set_index("kept")["balanced_accuracy"] for each in units]
    return float(np.mean([curve[k] for curve in curves]))


def cropped(study: Any, done: Done) -> pd.DataFrame:
    """Return one row for each ranking and panel size: networks trained anew, and how they compare with the MLP's.

    ``own`` is the condition's own network, ``referee`` one and the same MLP for all rankings. ``less MLP`` is the
    referee's mean per-class accuracy on this ranking's genes less that on the MLP's, training by training and cell by
    cell, with its 95 % interval; ``of all genes`` the share of what the same kind of network has with all genes.
    """
    rows = []
    for k in study.crop.sizes:
        base = np.array([done[f"{BASELINE}, {random_state}, best {k}"]["referee"] for random_state in study.seeds])
        for condition in study.crop.rankings:
            units = [done[f"{condition}, {random_state}, best {k}"] for random_state in study.seeds]
            own, referee = ([each[name] for each in units] for name in ("own", "referee"))
            whole = all_genes(study, done, networks.own_network(condition))
            less = score(np.array(referee) - base, done)
            judged = score(referee, done)
            rows.append(
                {
                    "genes": k,
                    "ranking": condition,
                    "own": score(own, done)["accuracy"],
                    "referee": judged["accuracy"],
                    "low": judged["low"],
                    "high": judged["high"],
                    "less MLP": less["accuracy"],
                    "less low": less["low"],
                    "less high": less["high"],
                    "own of all genes": score(own, done)["accuracy"] / whole,
                    "referee of all genes": judged["accuracy"] / all_genes(study, done, networks.REFEREE),
                }
            )
    return pd.DataFrame(rows)


def all_genes(study: Any, done: Done, condition: str) -> float:
    """Return a condition's mean per-class accuracy with all genes, the mean over trainings."""
    return score([unit(done, condition, random_state)["right"]["test"] for random_state in study.seeds], done)[
        "accuracy"
    ]


def targets(study: Any, done: Done) -> pd.DataFrame:
    """Return one row for each selector that was cropped: what is wanted of its smallest panel, and what was found.

    ``than the MLP's``: whether the referee's accuracy on its genes is higher or lower than on those of the MLP's
    ranking, or "level": the interval of the difference holds 0. ``95 % kept``: of the referee's accuracy with all
    genes. On planted cells, ``90 % of markers``: found among twice as many best genes, the mean over trainings.
    """
    table = cropped(study, done)
    selectors = [name for name in study.crop.rankings if name in networks.CONDITIONS and "MLP" not in name]
    rows = table[(table["genes"] == min(study.crop.sizes)) & table["ranking"].isin(selectors)]
    found = rows[["ranking", "genes", "less MLP", "less low", "less high"]].reset_index(drop=True)
    found["than the MLP's"] = np.select([found["less low"] > 0, found["less high"] < 0], ["higher", "lower"], "level")
    found["of all genes"] = rows["referee of all genes"].to_numpy()
    found["95 % kept"] = np.where(found["of all genes"] >= KEPT, "yes", "no")
    if "relevant" in done["parts"]["train"].notes:
        found["markers"] = planted(study, done).set_index("ranking")["best-2k"].reindex(found["ranking"]).to_numpy()
        found["90 % of markers"] = np.where(found["markers"] >= RECOVERED, "yes", "no")
    return found


def overlap(study: Any, done: Done) -> pd.DataFrame:
    """Return `compare_rankings` of each pair of rankings, averaged over the trainings."""
    tables = []
    for random_state in study.seeds:
        ranked = {condition: rankings_of(done, condition, [random_state])[0] for condition in study.crop.rankings}
        tables.append(pg.compare_rankings(ranked, study.crop.sizes))
    numbers = tables[0].select_dtypes("number").columns
    mean = tables[0].copy()
    mean[numbers] = np.mean([table[numbers].to_numpy(float) for table in tables], axis=0)
    return mean


def size_curve(study: Any, done: Done) -> pd.DataFrame:
    """Return one row for each sparse scheme and panel size: the referee, trained anew on the best genes."""
    rows = []
    for condition in networks.sparse(study):
        for k in sorted({*study.curve, *study.crop.sizes}, reverse=True):
            units = [f"{condition}, {random_state}, best {k}" for random_state in study.seeds]
            units = [name if name in done else name.replace("best", "size") for name in units]
            rights = [done[name]["referee"] for name in units]
            rows.append({"scheme": condition, "genes": k, **score(rights, done)})
    return pd.DataFrame(rows)


def one_training(study: Any, done: Done) -> pd.DataFrame:
    """Return what each sparse scheme's own network has with so many genes, nothing trained anew; means over trainings.

    Of a path, the network as it was when so many genes were open; of the others, with all but the best genes masked.
    """
    tables = []
    for condition in networks.sparse(study):
        units = [unit(done, condition, random_state) for random_state in study.seeds]
        path = "path" in units[0]
        curves = [pd.DataFrame(each["path" if path else "masking"]) for each in units]
        sizes = curves[0]["size" if path else "kept"]
        table = pd.DataFrame({"scheme": condition, "genes": sizes})
        table["accuracy"] = np.mean([curve["balanced_accuracy"] for curve in curves], axis=0)
        tables.append(table[sizes.isin(study.beyond.sizes)].sort_values("genes", ascending=False))
    return pd.concat(tables, ignore_index=True)


def panels(study: Any, done: Done) -> pd.DataFrame:
    """Return one row for each panel over reseeded trainings."""
    rows = []
    for condition in study.panels.conditions:
        found = panel_unit(study, done, condition)
        frequency = np.array(found["table"]["frequency"])
        low, high = found["stability_interval"]
        row = {"scheme": condition, "trainings": found["trainings"], "genes": study.panels.size}
        row |= {"always chosen": int((frequency == 1).sum()), "ever chosen": ever_chosen(study, done, condition)}
        row |= {"Nogueira": found["stability"], "Nogueira low": low, "Nogueira high": high}
        rows.append(
            row | {"accuracy": found["score"]["mean"], "low": found["score"]["low"], "high": found["score"]["high"]}
        )
    return pd.DataFrame(rows)


def panel_unit(study: Any, done: Done, condition: str) -> dict[str, Any]:
    """Return the unit of a panel."""
    return done[networks.panel_name(study, condition)]


def panel_genes(study: Any, done: Done) -> pd.DataFrame:
    """Return the genes of each panel, the most often chosen first: in how many of the trainings, and the mean place."""
    tables = []
    for condition in study.panels.conditions:
        table = pd.DataFrame(panel_unit(study, done, condition)["table"]).head(study.panels.size)
        tables.append(table.rename(columns={"feature": "gene", "mean_rank": "mean place"}).assign(scheme=condition))
    return pd.concat(tables, ignore_index=True)[["scheme", "gene", "frequency", "mean place"]]


def ever_chosen(study: Any, done: Done, condition: str) -> int:
    """Count the genes that are among the best of any training."""
    rankings = rankings_of(done, condition, study.panel_seeds)
    return len(set().union(*(ranking.select(study.panels.size) for ranking in rankings)))


def planted(study: Any, done: Done) -> pd.DataFrame:
    """Return each ranking's share of all planted markers among as many best genes, and among twice as many.

    A marker that is not among the highly variable genes is one that no ranking finds.
    """
    markers = done["parts"]["train"].notes["relevant"]
    rows = []
    for condition in (*study.conditions, *networks.SVMS):
        rankings = rankings_of(done, condition, study.seeds)
        row: dict[str, Any] = {"ranking": condition}
        for name, k in (("best-k", len(markers)), ("best-2k", 2 * len(markers))):
            found = [pg.toy.recall(ranking.select(k), markers, k=k) for ranking in rankings]
            row |= {name: float(np.mean(found)), f"{name} least": min(found)}
        rows.append(row)
    return pd.DataFrame(rows)
