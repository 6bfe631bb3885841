"""What the tumour study found: tables (CSV), pictures (PNG) and a report."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import permgrad as pg
from permgrad.evaluation.agreement import rank_correlation, top_overlap
from permgrad.files import new_file
from permgrad.markdown import markdown
from permgrad.plotting.style import colours, literal, new_figure

METHODS = {
    "first_layer": "first-layer sums",
    "permutation": "permutation",
    "group_permutation": "group permutation",
    "selector": "selector",
    "anova": "ANOVA F",
}
SHOWN = 10
GB = 1e9
Done = Mapping[str, Any]
Rankings = dict[str, list[pg.FeatureRanking]]
"""Of each method, one for each training."""


def trainings(done: Done) -> dict[str, Any]:
    """Return the units of the trainings that rank genes."""
    return {name: unit for name, unit in done.items() if name.startswith("seed_")}


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
    """Return the unit of a training with this factor: the first ranked one has one of them."""
    return done[
        f"seed_{study.importance.first_seed}" if penalty == study.importance.penalty else f"penalty_{penalty:g}"
    ]


def agreement(found: Rankings, best: tuple[int, ...]) -> pd.DataFrame:
    """Return one row for each pair of methods: Spearman and shared best genes, means over the trainings and ranges."""
    rows = []
    for a, b in combinations(found, 2):
        pairs = list(zip(found[a], found[b], strict=True))
        rho = [rank_correlation(*pair) for pair in pairs]
        row = {"first": METHODS[a], "second": METHODS[b], "Spearman": np.mean(rho), "low": min(rho), "high": max(rho)}
        rows.append(row | {f"top {k}": np.mean([top_overlap(*pair, k) for pair in pairs]) for k in best})
    return pd.DataFrame(rows)


def stability(found: Rankings, best: tuple[int, ...]) -> pd.DataFrame:
    """Return one row for each method: how alike its rankings are over trainings."""
    rows = []
    for method, each in found.items():
        if method == "anova":
            continue
        row: dict[str, Any] = {"method": METHODS[method]}
        for k in best:
            stable = pg.rank_stability(each, k)
            low, high = stable.nogueira_interval
            row |= {f"Nogueira, top {k}": stable.nogueira, f"low {k}": low, f"high {k}": high}
            row["Spearman"] = stable.spearman
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
    order = dict.fromkeys(home.get(gene, gene) for gene in ranking.top(len(ranking.features)))
    first = list(order)[: len(notes["groups"])]
    return len(set(first) & set(notes["groups"])) / len(first)


def top_genes(found: Rankings) -> pd.DataFrame:
    """Return the best genes of each method: of the first training, and averaged."""
    together = averaged(found)
    columns = {"place": range(1, SHOWN + 1)}
    for method in found:
        columns[METHODS[method]] = found[method][0].top(SHOWN)
        if method != "anova":
            columns[f"{METHODS[method]}, averaged"] = together[method].top(SHOWN)
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


def write_report(study: Any, done: Done, out: Path) -> None:
    """Write every table and picture into `out`, and ``report.md``."""
    found = rankings(done)
    best = tuple(k for k in study.best if k < len(done["table"].features))
    notes = done["table"].notes
    tables = {
        "penalties": penalties(study, done),
        "agreement": agreement(found, best),
        "stability": stability(found, best),
        "top_genes": top_genes(found),
        "groups": group_table(done),
        "scores": pd.DataFrame({METHODS[m]: ranking.scores for m, ranking in averaged(found).items()}).assign(
            gene=done["table"].features
        ),
    }
    if "groups" in notes:
        tables["planted"] = planted_recall(found, notes)
    for name, table in tables.items():
        _write(out / f"{name}.csv", table.to_csv(index=False))
    for name, figure in pictures(study, done, found, best).items():
        with new_file(out / f"{name}.png") as path:
            figure.savefig(path, format="png", dpi=120)
    _write(out / "report.md", _text(study, done, tables))


def pictures(study: Any, done: Done, found: Rankings, best: tuple[int, ...]) -> dict[str, Figure]:
    """Draw the weights' histograms, the methods' agreement, and the curves of masking."""
    return {
        "weights": draw_weights(study, done),
        "agreement": draw_agreement(found, max(best)),
        "masking": draw_masking(done),
    }


def draw_weights(study: Any, done: Done) -> Figure:
    """Draw a histogram of sampled weights for each factor of the penalty, three in a row."""
    n = len(study.sweep.penalties)
    figure = new_figure((9.0, 2.6 * -(-n // 3)))
    grid = figure.subplots(-(-n // 3), 3, squeeze=False).ravel()
    for axes, penalty in zip(grid, study.sweep.penalties, strict=False):
        unit = penalty_unit(study, done, penalty)
        axes.hist(unit["weights"]["sample"], bins=60, color=colours(1)[0], log=True)
        axes.set_title(f"λ = {penalty:g}: {unit['weights']['zeros']:,} below 1e-5", fontsize=9)
    for axes in grid[n:]:
        axes.set_axis_off()
    figure.supxlabel("weight")
    figure.supylabel("weights in the sample")
    return figure


def draw_agreement(found: Rankings, k: int) -> Figure:
    """Draw both measures of agreement, means over trainings: Spearman, and the shared part of the `k` best."""
    measures = {"Spearman": rank_correlation, f"shared of the {k} best (Jaccard)": lambda a, b: top_overlap(a, b, k)}
    names = [METHODS[method] for method in found]
    figure = new_figure((11.0, 4.6))
    for axes, (title, measure) in zip(figure.subplots(1, 2, sharey=True), measures.items(), strict=True):
        values = np.array([[_mean_agreement(found[a], found[b], measure) for b in found] for a in found])
        axes.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1)
        for (row, column), value in np.ndenumerate(values):
            colour = "white" if abs(value) > 0.6 else "black"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour)
        axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
        axes.set_yticks(range(len(names)), names)
        axes.set_title(literal(title), fontsize=10)
    figure.supxlabel("on the diagonal: one method, over trainings", fontsize=9)
    return figure


def _mean_agreement(first: list[pg.FeatureRanking], second: list[pg.FeatureRanking], measure: Any) -> float:
    pairs = combinations(first, 2) if first is second else zip(first, second, strict=True)
    return float(np.mean([measure(a, b) for a, b in pairs]))


def draw_masking(done: Done) -> Figure:
    """Draw the loss and accuracy of the first training's network as its best genes are masked."""
    curves = next(iter(trainings(done).values()))["masking"]
    figure = new_figure((9.0, 3.4))
    for axes, measure in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for colour, (method, curve) in zip(colours(len(curves)), curves.items(), strict=False):
            axes.plot(curve["masked"], curve[measure], "o-", color=colour, label=METHODS[method], markersize=3)
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xlabel("best genes masked")
        axes.set_ylabel(f"test {measure}")
    figure.axes[0].legend(fontsize=8)
    return figure


def _write(path: Path, text: str) -> None:
    with new_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _text(study: Any, done: Done, tables: Mapping[str, pd.DataFrame]) -> str:
    sections = {
        "Weights by penalty": f"{markdown(tables['penalties'], 5)}\n\n![Weights](weights.png)",
        "Shuffled one at a time": _shuffles(study, done),
        "Shuffled by group": _groups(done, tables["groups"]),
        "Masked together": "![Masking](masking.png)\n\nThe training rows' means stand in the masked genes' places.",
        "Which methods agree": f"{_trainings(done)}\n\n{markdown(tables['agreement'], 3)}\n\n![](agreement.png)",
        "Over trainings": markdown(tables["stability"], 3),
        "The ten best": markdown(tables["top_genes"]),
    }
    if "planted" in tables:
        sections["Planted genes"] = f"{_PLANTED}\n\n{markdown(tables['planted'], 3)}"
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    return f"# Tumour type from {len(done['table'].features):,} genes\n\n{_facts(done)}\n\n{body}\n"


_PLANTED = (
    "*planted*: share of the planted genes among as many best. *markers*: of planted genes and their copies. *groups*:"
    " going down the ranking, each gene standing for its group, share of marker groups among as many first groups."
)


def _facts(done: Done) -> str:
    table, units = done["table"], [unit for unit in done.values() if isinstance(unit, dict) and "all_seconds" in unit]
    first = next(iter(trainings(done).values()))
    parts = ", ".join(f"{n} {name}" for name, n in done["parts"].items())
    return (
        f"{len(table)} samples ({parts}), classes {', '.join(map(str, table.classes))}."
        f" {len(trainings(done))} trainings rank genes. An epoch takes {np.median(first['epoch_seconds']):.2g} s,"
        f" all of it took {sum(unit['all_seconds'] for unit in units) / 60:.1f} min and at most"
        f" {max(unit.get('peak_memory', 0) for unit in units) / GB:.2f} GB."
    )


def _shuffles(study: Any, done: Done) -> str:
    first = next(iter(trainings(done).values()))
    heaviest, scores = first["heaviest"], np.array(first["permutation"])
    seconds = np.median([unit["seconds"] for unit in trainings(done).values()])
    plain = first["plain_seconds"] * len(scores) * study.importance.repeats
    falls = np.array(heaviest["falls"])
    return (
        f"The {len(falls):,} heaviest genes, one at a time: accuracy {heaviest['accuracy']:.4f} falls for"
        f" {(falls > 0).sum()} of them, by {falls.max():.4f} at most. Every gene, by the loss: it grows for"
        f" {(scores > 0).sum():,} of {len(scores):,}, by {scores.max():.3g} at most"
        f" (unshuffled: {first['scores']['test']['loss']:.3g}). That took {seconds:.3g} s; the loop that predicts the"
        f" whole network for each gene would take {plain:.3g} s, {plain / seconds:.3g} times as long."
    )


def _groups(done: Done, groups: pd.DataFrame) -> str:
    found = done["groups"]
    sizes = [len(group) for group in found["groups"]]
    text = f"{len(sizes)} groups of two genes or more, {sum(sizes):,} genes in all, found in {found['seconds']:.3g} s."
    return f"{text}\n\n{markdown(groups.head(2 * SHOWN), 5)}" if sizes else "No genes correlate so far."


def _trainings(done: Done) -> str:
    return f"Means over {len(trainings(done))} trainings; *low* and *high* are the least and greatest correlation."
