"""Tables of the gene-panel study, each from the results of one data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

import permgrad as pg
from studies.selector_mlp.conditions import CONDITIONS, REFEREE, is_selector, network_on_panel
from studies.selector_mlp.networks import initial_weights
from studies.selector_mlp.results import Results
from studies.selector_mlp.settings import PanelSettings

ENOUGH_ACCURACY, ENOUGH_MARKERS = 0.95, 0.9
"""What is wanted of a panel: of the accuracy with all genes; of planted markers, among twice as many best genes."""


def tables(settings: PanelSettings, results: Results) -> dict[str, pd.DataFrame]:
    """Return every table by its name; ``planted`` is empty where nothing is planted."""
    crops = cropped(settings, results)
    markers = planted(settings, results)
    return {
        "targets": targets(settings, crops, markers),
        "conditions": conditions(settings, results),
        "cropped": crops,
        "overlap": overlap(settings, results),
        "sizes": size_curve(settings, results),
        "one_training": one_training(settings, results),
        "panels": panels(settings, results),
        "panel_genes": panel_genes(settings, results),
        "planted": markers,
    }


def conditions(settings: PanelSettings, results: Results) -> pd.DataFrame:
    """Return one row for each network and SVM: mean per-class accuracies, and what is left with the best alone kept.

    A path's network is the one that its training ends with, of the last of its sizes: there is nothing left to mask.
    """
    rows = []
    for ranking in settings.rankings:
        trainings = results.trainings(ranking, settings.seeds)
        correct = {part: [each["correct"][part] for each in trainings] for part in ("validation", "test")}
        test = results.accuracy(correct["test"])
        row = {"condition": ranking, "validation": results.accuracy(correct["validation"], "validation")["accuracy"]}
        row |= {"test": test["accuracy"], "test low": test["low"], "test high": test["high"]}
        for k in settings.masked_sizes():
            row[f"masked to {k}"] = np.nan if "path" in trainings[0] else masked_accuracy(trainings, k)
        row["like its start"] = like_start(settings, results, ranking)
        row["seconds"] = float(np.mean([each["step_seconds"] for each in trainings]))
        rows.append(row)
    return pd.DataFrame(rows)


def like_start(settings: PanelSettings, results: Results, ranking: str) -> float:
    """Return Spearman's correlation of a selector's ranking with its weights before training; a mean over trainings.

    Near 1, it ranks genes by the numbers that it happened to start with. NaN for what has no selector, or one whose
    weights start equal.
    """
    if ranking not in CONDITIONS:
        return np.nan
    correlations = []
    for random_state in settings.seeds:
        scores = results.ranking(ranking, random_state).scores
        start = initial_weights(settings, ranking, random_state, len(scores))
        correlations.append(np.nan if start is None else spearmanr(start, scores).statistic)
    return float(np.mean(correlations))


def masked_accuracy(trainings: list[Mapping[str, Any]], k: int) -> float:
    """Return the mean per-class accuracy with the k best genes kept, nothing retrained; a mean over trainings."""
    curves = [pd.DataFrame(each["masking"]).set_index("kept")["balanced_accuracy"] for each in trainings]
    return float(np.mean([curve[k] for curve in curves]))


def cropped(settings: PanelSettings, results: Results) -> pd.DataFrame:
    """Return one row for each ranking and panel size: networks trained anew, and how they compare with the MLP's.

    ``own`` is the condition's own network, ``referee`` one and the same MLP for all rankings. ``less MLP`` is the
    referee's mean per-class accuracy on this ranking's genes less that on the MLP's, training by training and cell by
    cell, with its 95 % interval; ``of all genes`` the share of what the same kind of network has with all genes.
    """
    whole = results.accuracy_with_all_genes(settings, REFEREE)
    rows = []
    for k in settings.crop.sizes:
        base = np.array(results.referees(REFEREE, settings.seeds, k))
        for ranking in settings.crop.rankings:
            correct = np.array(results.referees(ranking, settings.seeds, k))
            own = results.accuracy([each["own"] for each in results.crops(ranking, settings.seeds, k)])["accuracy"]
            referee, less = results.accuracy(correct), results.accuracy(correct - base)
            rows.append(
                {
                    "genes": k,
                    "ranking": ranking,
                    "own": own,
                    "referee": referee["accuracy"],
                    "low": referee["low"],
                    "high": referee["high"],
                    "less MLP": less["accuracy"],
                    "less low": less["low"],
                    "less high": less["high"],
                    "own of all genes": own / results.accuracy_with_all_genes(settings, network_on_panel(ranking)),
                    "referee of all genes": referee["accuracy"] / whole,
                }
            )
    return pd.DataFrame(rows)


def targets(settings: PanelSettings, crops: pd.DataFrame, markers: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each selector that was cropped: what is wanted of its smallest panel, and whether it has it.

    ``than the MLP's``: whether the referee's accuracy on its genes is higher or lower than on those of the MLP's
    ranking, or "level": the interval of the difference holds 0. ``95 % kept``: of the referee's accuracy with all
    genes. On planted cells, ``90 % of markers``: among twice as many best genes, the mean over trainings.

    Parameters
    ----------
    settings : PanelSettings
    crops : DataFrame
        See `cropped`.
    markers : DataFrame
        See `planted`.
    """
    smallest = crops["genes"] == min(settings.crop.sizes)
    rows = crops[smallest & crops["ranking"].map(is_selector)].reset_index(drop=True)
    table = rows[["ranking", "genes", "less MLP", "less low", "less high"]].copy()
    table["than the MLP's"] = np.select([rows["less low"] > 0, rows["less high"] < 0], ["higher", "lower"], "level")
    table["of all genes"] = rows["referee of all genes"]
    table["95 % kept"] = np.where(rows["referee of all genes"] >= ENOUGH_ACCURACY, "yes", "no")
    if not markers.empty:
        table["markers"] = markers.set_index("ranking")["best-2k"].reindex(table["ranking"]).to_numpy()
        table["90 % of markers"] = np.where(table["markers"] >= ENOUGH_MARKERS, "yes", "no")
    return table


def overlap(settings: PanelSettings, results: Results) -> pd.DataFrame:
    """Return `compare_rankings` of each pair of rankings, averaged over the trainings."""
    compared = [
        pg.compare_rankings(
            {ranking: results.ranking(ranking, random_state) for ranking in settings.crop.rankings}, settings.crop.sizes
        )
        for random_state in settings.seeds
    ]
    mean, numbers = compared[0].copy(), compared[0].select_dtypes("number").columns
    mean[numbers] = np.mean([table[numbers].to_numpy(float) for table in compared], axis=0)
    return mean


def size_curve(settings: PanelSettings, results: Results) -> pd.DataFrame:
    """Return one row for each sparse scheme and panel size: the referee, trained anew on the best genes."""
    return pd.DataFrame(
        [
            {"scheme": scheme, "genes": k, **results.accuracy(results.referees(scheme, settings.seeds, k))}
            for scheme in settings.sparse
            for k in reversed(settings.panel_sizes)
        ]
    )


def one_training(settings: PanelSettings, results: Results) -> pd.DataFrame:
    """Return what each sparse scheme's own network has with so many genes, nothing trained anew; means over trainings.

    Of a path, the network as it was when so many genes were open; of the others, with all but the best genes masked.
    """
    schemes = []
    for scheme in settings.sparse:
        trainings = results.trainings(scheme, settings.seeds)
        curve, sizes = ("path", "size") if "path" in trainings[0] else ("masking", "kept")
        curves = [pd.DataFrame(each[curve]).set_index(sizes)["balanced_accuracy"] for each in trainings]
        mean = pd.concat(curves, axis=1).mean(axis=1).sort_index(ascending=False)
        table = pd.DataFrame({"scheme": scheme, "genes": mean.index, "accuracy": mean.to_numpy()})
        schemes.append(table[table["genes"].isin(settings.beyond.sizes)])
    return pd.concat(schemes, ignore_index=True)


def panels(settings: PanelSettings, results: Results) -> pd.DataFrame:
    """Return one row for each panel over reseeded trainings."""
    size, rows = settings.panels.size, []
    for scheme in settings.panels.conditions:
        panel = results.panel(settings, scheme)
        chosen = [ranking.select(size) for ranking in results.rankings(scheme, settings.panel_seeds)]
        low, high = panel["stability_interval"]
        rows.append(
            {
                "scheme": scheme,
                "trainings": settings.panels.trainings,
                "genes": size,
                "always chosen": len(set(chosen[0]).intersection(*chosen)),
                "ever chosen": len(set().union(*chosen)),
                "Nogueira": panel["stability"],
                "Nogueira low": low,
                "Nogueira high": high,
                **{name: panel[name] for name in ("accuracy", "low", "high")},
            }
        )
    return pd.DataFrame(rows)


def panel_genes(settings: PanelSettings, results: Results) -> pd.DataFrame:
    """Return the genes of each panel, the most often chosen first: in how many of the trainings, and the mean place."""
    schemes = [
        pd.DataFrame(results.panel(settings, scheme)["table"]).head(settings.panels.size).assign(scheme=scheme)
        for scheme in settings.panels.conditions
    ]
    named = pd.concat(schemes, ignore_index=True).rename(columns={"feature": "gene", "mean_rank": "mean place"})
    return named[["scheme", "gene", "frequency", "mean place"]]


def planted(settings: PanelSettings, results: Results) -> pd.DataFrame:
    """Return each ranking's share of all planted markers among as many best genes, and among twice as many.

    A marker that is not among the highly variable genes is one that no ranking has.
    """
    markers, rows = results.markers, []
    for ranking in settings.rankings if markers else ():
        row: dict[str, Any] = {"ranking": ranking}
        for name, k in (("best-k", len(markers)), ("best-2k", 2 * len(markers))):
            recalls = [
                pg.toy.recall(results.best(ranking, random_state, k), markers, k=k) for random_state in settings.seeds
            ]
            row |= {name: float(np.mean(recalls)), f"{name} least": min(recalls)}
        rows.append(row)
    return pd.DataFrame(rows)
