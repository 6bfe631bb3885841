"""What the gene-panel study found: tables (CSV), pictures (PNG) and a report, of one data set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import permgrad as pg
from permgrad.files import new_file
from permgrad.markdown import markdown
from permgrad.panels import bootstrap_score
from permgrad.plotting.style import colours, literal, new_figure

if __package__:
    from studies import selector_mlp_networks as networks
else:
    import selector_mlp_networks as networks

Done = Mapping[str, Any]
"""Units by name, and the parts of the cells."""
SHOWN_CURVES = ("MLP", "selector", "selector L1", "selector L2", "clamped L1", "stochastic", *networks.SVMS)
BASELINE = networks.REFEREE
"""The ranking that others are compared with."""
SHOWN_GENES = 40
KEPT, RECOVERED = 0.95, 0.9
"""What is wanted of a panel: of the accuracy with all genes; of planted markers, among twice as many best genes."""


def unit(done: Done, condition: str, seed: int) -> dict[str, Any]:
    """Return the unit that ranked the genes: an SVM's is the same for each seed."""
    names = (condition, f"{condition}, {seed}", f"{condition}, {seed}, ranking")
    return next(done[name] for name in names if name in done)


def rankings_of(done: Done, condition: str, seeds: Iterable[int]) -> list[pg.FeatureRanking]:
    """Return a condition's ranking of each training."""
    features = done["parts"]["train"].features
    return [
        pg.FeatureRanking(features, np.array(unit(done, condition, seed)["ranking"]), method=condition)
        for seed in seeds
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
        units = [unit(done, condition, seed) for seed in study.seeds]
        row: dict[str, Any] = {"condition": condition}
        row["validation"] = score([each["right"]["validation"] for each in units], done, "validation")["accuracy"]
        row |= {f"test {what}": value for what, value in score([u["right"]["test"] for u in units], done).items()}
        row |= {f"masked to {k}": np.nan if "path" in units[0] else masked_at(units, k) for k in masked_sizes(study)}
        row["seconds"] = float(np.mean([each["seconds"] for each in units]))
        rows.append(row)
    return pd.DataFrame(rows).rename(columns={"test accuracy": "test"})


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
        base = np.array([done[f"{BASELINE}, {seed}, best {k}"]["referee"] for seed in study.seeds])
        for condition in study.crop.rankings:
            units = [done[f"{condition}, {seed}, best {k}"] for seed in study.seeds]
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
    return score([unit(done, condition, seed)["right"]["test"] for seed in study.seeds], done)["accuracy"]


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
    for seed in study.seeds:
        ranked = {condition: rankings_of(done, condition, [seed])[0] for condition in study.crop.rankings}
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
            units = [f"{condition}, {seed}, best {k}" for seed in study.seeds]
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
        units = [unit(done, condition, seed) for seed in study.seeds]
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
    return len(set().union(*(ranking.top(study.panels.size) for ranking in rankings)))


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
            found = [pg.toy.recall(ranking.top(k), markers, k=k) for ranking in rankings]
            row |= {name: float(np.mean(found)), f"{name} least": min(found)}
        rows.append(row)
    return pd.DataFrame(rows)


def write_report(study: Any, name: str, done: Done, out: Path) -> None:
    """Write every table and picture into `out`, and ``report.md``."""
    tables = {
        "targets": targets(study, done),
        "conditions": conditions(study, done),
        "cropped": cropped(study, done),
        "overlap": overlap(study, done),
        "sizes": size_curve(study, done),
        "one_training": one_training(study, done),
        "panels": panels(study, done),
        "panel_genes": panel_genes(study, done),
    }
    if "relevant" in done["parts"]["train"].notes:
        tables["planted"] = planted(study, done)
    for table_name, table in tables.items():
        _write(out / f"{table_name}.csv", table.to_csv(index=False))
    pictures = {
        "masking": draw_masking(study, done),
        "cropped": draw_cropped(study, done),
        "sizes": draw_sizes(tables["sizes"], tables["one_training"]),
        "learning": draw_learning(study, done),
        "frequency": draw_frequency(study, done),
    }
    for picture, figure in pictures.items():
        with new_file(out / f"{picture}.png") as path:
            figure.savefig(path, format="png", dpi=120)
    _write(out / "report.md", _text(study, name, done, tables))


def draw_masking(study: Any, done: Done) -> Figure:
    """Draw loss and mean per-class accuracy with ever more of the best genes kept, means over trainings."""
    shown = [name for name in SHOWN_CURVES if name in (*study.conditions, *networks.SVMS)]
    figure = new_figure((10.0, 4.0))
    for axes, measure in zip(figure.subplots(1, 2), ("loss", "balanced_accuracy"), strict=True):
        for colour, condition in zip(colours(len(shown)), shown, strict=False):
            curves = [pd.DataFrame(unit(done, condition, seed)["masking"]) for seed in study.seeds]
            values = np.mean([curve[measure].to_numpy(float) for curve in curves], axis=0)
            if not np.isnan(values).all():
                axes.plot(curves[0]["kept"], values, color=colour, label=condition)
        chance = [pd.DataFrame(unit(done, networks.REFEREE, seed)["random"]) for seed in study.seeds]
        mean, sd = (np.mean([each[name] for each in chance], axis=0) for name in (measure, f"{measure}_sd"))
        axes.plot(chance[0]["kept"], mean, "--", color="grey", label="random orders (MLP)")
        axes.fill_between(chance[0]["kept"], mean - sd, mean + sd, color="grey", alpha=0.2, linewidth=0)
        axes.set_xlabel("best genes kept, the others 0")
        axes.set_ylabel(f"test {NAMES[measure]}")
    figure.axes[0].set_yscale("log")
    figure.legend(*figure.axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8)
    return figure


NAMES = {"loss": "loss", "balanced_accuracy": "mean per-class accuracy"}


def draw_cropped(study: Any, done: Done) -> Figure:
    """Draw the masking curves of networks that were trained anew on panels, means over trainings."""
    figure = new_figure((4.8 * len(study.crop.sizes), 4.0))
    grid = figure.subplots(1, len(study.crop.sizes), sharey=True, squeeze=False)[0]
    shown = [name for name in SHOWN_CURVES if name in study.crop.rankings]
    for axes, k in zip(grid, study.crop.sizes, strict=True):
        for colour, condition in zip(colours(len(shown)), shown, strict=False):
            curves = [pd.DataFrame(done[f"{condition}, {s}, best {k}"]["masking"]) for s in study.seeds]
            values = np.mean([curve["balanced_accuracy"] for curve in curves], axis=0)
            axes.plot(curves[0]["kept"], values, color=colour, label=condition)
        axes.set_title(f"trained anew on {k} genes", fontsize=10)
        axes.set_xlabel("best of them kept, the others 0")
    grid[0].set_ylabel("test mean per-class accuracy")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    return figure


def draw_sizes(anew: pd.DataFrame, once: pd.DataFrame) -> Figure:
    """Draw mean per-class accuracy by panel size: trained anew at each size, and (dashed) by one training."""
    figure = new_figure((6.8, 4.4))
    axes = figure.add_subplot()
    for colour, (scheme, rows) in zip(colours(3), anew.groupby("scheme", sort=False), strict=False):
        axes.plot(rows["genes"], rows["accuracy"], "o-", color=colour, label=f"{scheme}, trained anew", markersize=4)
        axes.fill_between(rows["genes"], rows["low"], rows["high"], color=colour, alpha=0.15, linewidth=0)
        own = once[once["scheme"] == scheme]
        axes.plot(own["genes"], own["accuracy"], "--", color=colour, label=f"{scheme}, in one training")
    axes.set_xscale("log")
    ticks = sorted({*anew["genes"], once["genes"].max()})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set(xlabel="genes in the panel", ylabel="test mean per-class accuracy")
    axes.legend(fontsize=8)
    return figure


def draw_learning(study: Any, done: Done) -> Figure:
    """Draw each network's losses and the penalty of selectors, epoch by epoch, of the first training."""
    shown = [name for name in study.conditions if name in SHOWN_CURVES]
    figure = new_figure((10.0, 3.6))
    grid = figure.subplots(1, 3)
    for colour, condition in zip(colours(len(shown)), shown, strict=False):
        history = unit(done, condition, study.trainings.first_seed)["history"]
        for axes, measure in zip(grid, ("train_loss", "validation_loss", "penalty"), strict=True):
            if max(history[measure]) > 0:
                axes.plot(range(1, len(history[measure]) + 1), history[measure], color=colour, label=condition)
    for axes, title in zip(grid, ("training loss", "validation loss", "penalty"), strict=True):
        axes.set_title(f"{title}, in evaluation mode" if title != "penalty" else title, fontsize=10)
        axes.set_xlabel("epoch")
        axes.set_yscale("log")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    return figure


def draw_frequency(study: Any, done: Done) -> Figure:
    """Draw how often each gene is chosen over the trainings, most often first, for each panel."""
    schemes = study.panels.conditions
    figure = new_figure((4.6 * len(schemes), 3.4))
    grid = figure.subplots(1, len(schemes), sharey=True, squeeze=False)[0]
    for axes, condition in zip(grid, schemes, strict=True):
        frequency = panel_unit(study, done, condition)["table"]["frequency"]
        axes.bar(range(1, len(frequency) + 1), frequency, width=1.0, color=colours(1)[0])
        axes.axvline(study.panels.size + 0.5, color="grey", linestyle="--")
        axes.set_title(literal(condition), fontsize=10)
        axes.set_xlabel("genes, most often chosen first")
    grid[0].set_ylabel("share of trainings that choose it")
    return figure


def _write(path: Path, text: str) -> None:
    with new_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _text(study: Any, name: str, done: Done, tables: Mapping[str, pd.DataFrame]) -> str:
    sections = {
        "What is wanted of a panel": f"{_targets(study, done)}\n\n{markdown(tables['targets'], 4)}",
        "All genes": f"{_CONDITIONS}\n\n{markdown(tables['conditions'], 4)}\n\n![](learning.png)",
        "Masked, nothing trained anew": f"{_MASKING}\n\n![Masking](masking.png)",
        "Which genes the rankings share": f"{_OVERLAP}\n\n{markdown(tables['overlap'], 2)}",
        "Trained anew on a panel": f"{_CROPPED}\n\n{markdown(tables['cropped'], 4)}\n\n![](cropped.png)",
        "Every size of a panel": f"{_SIZES}\n\n{markdown(tables['sizes'], 4)}\n\n![](sizes.png)",
        "Panels over trainings": "\n\n".join(
            [_PANELS, markdown(tables["panels"], 4), _genes(study, done), "![](frequency.png)"]
        ),
    }
    if "planted" in tables:
        sections["Planted markers"] = f"{_planted(done)}\n\n{markdown(tables['planted'], 3)}"
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    return f"# A panel of genes for {name}\n\n{_facts(study, done)}\n\n{body}\n"


_CONDITIONS = (
    "Mean per-class accuracy; *low* and *high*: 95 % interval over trainings and test cells. *masked to k*: the best k"
    " genes kept, the others 0. *narrowing* is the network that a path ends with, of its smallest size; masking it"
    " would change nothing. *seconds*: of one training and all that was measured of it. The picture is of the first"
    " training, without noise and dropout; losses without the penalty."
)
_MASKING = (
    "Test cells; means over the trainings. Dashed: random orders, masked in the MLP; the band is one standard deviation"
    " over the orders."
)
_OVERLAP = (
    "*shared_k*: how many of their k best genes two rankings share; *by_chance_k*: two random orders, on average;"
    " *spearman*: the correlation of all places. Each ranking with another of the same number of training; means over"
    " the trainings."
)
_CROPPED = (
    "*own*: the ranking's own kind of network; *referee*: the MLP with noise and dropout, the same for every ranking,"
    " with its interval. *less MLP*: the referee on these genes less the referee on the MLP's, with its interval."
    " *of all genes*: the share of the accuracy that the same network has with all genes."
)
_SIZES = (
    "The referee trained anew on the best genes, with its 95 % interval. Dashed in the picture: each scheme's own"
    " network with so many genes, from one training: of the path, while they were open; of the others, the rest masked."
)
_PANELS = (
    "The panel: the genes that are chosen most often; all are in *panel_genes.csv*. *always* and *ever chosen*: genes"
    " among the best of all trainings, of any. *Nogueira*: how alike the choices are (1: equal, 0: as random ones),"
    " with an asymptotic 95 % interval, too narrow for few trainings. *accuracy*: the referee's, trained anew on the"
    " panel, with its 95 % interval. The picture: the share of trainings that choose each gene, for twice as many as"
    " the panel has (dashed)."
)


def _targets(study: Any, done: Done) -> str:
    text = (
        f"Of a selector's {min(study.crop.sizes)} best genes: the referee, trained anew on them, has at least the"
        " accuracy that it has on the MLP's best (*less MLP*, with its 95 % interval: higher, lower, or level where the"
        " interval holds 0), and 95 % of what it has with all genes (*of all genes*)."
    )
    if "relevant" in done["parts"]["train"].notes:
        text += " *markers*: planted ones among twice as many best genes; 90 % are wanted."
    return text


def _planted(done: Done) -> str:
    notes, features = done["parts"]["train"].notes, set(done["parts"]["train"].features)
    there = sum(gene in features for gene in notes["relevant"])
    return (
        f"Of all {len(notes['relevant'])} planted markers ({there} are among the highly variable genes), the share"
        " among as many best genes (*best-k*) and among twice as many (*best-2k*); means over the trainings, and the"
        " *least*."
    )


def _genes(study: Any, done: Done) -> str:
    lines = []
    for condition in study.panels.conditions:
        table = panel_unit(study, done, condition)["table"]
        shown = [
            f"{gene} ({frequency:.0%})" for gene, frequency in zip(table["feature"], table["frequency"], strict=True)
        ]
        size = study.panels.size
        more = ", ..." if size > SHOWN_GENES else ""
        lines.append(f"*{condition}*: {', '.join(shown[: min(size, SHOWN_GENES)])}{more}")
    return "\n\n".join(lines)


def _facts(study: Any, done: Done) -> str:
    parts = done["parts"]
    sizes = ", ".join(f"{len(cells):,} {name}" for name, cells in parts.items())
    minutes = sum(each["seconds"] for each in done.values() if "seconds" in each) / 60
    rarest = int(np.unique(parts["test"].y, return_counts=True)[1].min())
    return (
        f"{sizes} cells of {len(parts['train'].classes)} classes (the rarest has {rarest} test cells),"
        f" {len(parts['train'].features):,} highly variable genes. {len(study.seeds)} trainings of each network;"
        f" {minutes:.0f} minutes in all."
    )
