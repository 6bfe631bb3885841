"""What the tumour study found: every table (CSV) and picture (PNG), and ``report.md``, which explains them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from permgrad.files import new_file, write_text
from studies.kit.markdown import markdown

from .pictures import pictures
from .tables import (
    GB,
    METHODS,
    SHOWN,
    Done,
    agreed_genes,
    agreement,
    asked,
    averaged,
    counts,
    effort,
    group_table,
    penalties,
    planted_recall,
    rankings,
    stability,
    top_genes,
    trainings,
)


def write_report(study: Any, done: Done, out: Path, report: Path | None = None) -> None:
    """Write every gene's scores into `out`, every other table and picture and ``report.md`` into `report` or `out`."""
    report = report or out
    for directory in (out, report):
        directory.mkdir(parents=True, exist_ok=True)
    found = rankings(done)
    best = counts(study, done)
    notes = done["table"].notes
    tables = {
        "penalties": penalties(study, done),
        "agreement": agreement(found, best),
        "agreed_genes": agreed_genes(found, max(best)),
        "stability": stability(found, best),
        "top_genes": top_genes(found),
        "groups": group_table(done),
    }
    if "groups" in notes:
        tables["planted"] = planted_recall(found, notes)
    scores = pd.DataFrame({METHODS[method]: ranking.scores for method, ranking in averaged(found).items()})
    write_text(out / "scores.csv", scores.assign(gene=done["table"].features).to_csv(index=False))
    for name, table in tables.items():
        write_text(report / f"{name}.csv", table.to_csv(index=False))
    for name, figure in pictures(study, done, found, best).items():
        with new_file(report / f"{name}.png") as path:
            figure.savefig(path, format="png", dpi=120)
    write_text(report / "report.md", _text(study, done, tables))


def _text(study: Any, done: Done, tables: Mapping[str, pd.DataFrame]) -> str:
    sections = {
        "Weights by penalty": f"{_weights(study)}\n\n{markdown(tables['penalties'], 5)}\n\n![Weights](weights.png)",
        "Shuffled one at a time": _shuffles(study, done),
        "Shuffled by group": _groups(study, done, tables["groups"]),
        "Masked together": f"![Masking](masking.png)\n\n{_MASKED}",
        "Which methods agree": f"{_agreement(done)}\n\n{markdown(tables['agreement'], 3)}\n\n![](agreement.png)",
        "On which genes": _agreed(max(counts(study, done)), tables["agreed_genes"]),
        "Over trainings": f"{_STABLE}\n\n{markdown(tables['stability'], 3)}",
        "The ten best": f"{_BEST}\n\n{markdown(tables['top_genes'])}",
    }
    if "planted" in tables:
        sections["Planted genes"] = f"{_PLANTED}\n\n{markdown(tables['planted'], 3)}"
    sections["What was asked"] = f"{_ASKED}\n\n{markdown(asked(done, tables.get('planted')))}"
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    return f"# Tumour type from {len(done['table'].features):,} genes\n\n{facts(study, done)}\n\n{body}\n"


_MASKED = (
    "The first training's network on the test rows, its best genes by each order replaced by their means over the"
    " training rows, ever more of them. Both permutations' orders come from the same test rows; *random order* is what"
    " any genes would cost."
)
_STABLE = (
    "How alike a method's rankings are from training to training: the mean Spearman correlation of two of them, and"
    " Nogueira's index of the choice of the best (1: always the same, 0: as by chance) with its asymptotic 95 %"
    " interval, *low* to *high*, which is too narrow for few trainings and of no width for two. The F test looks"
    " at no network."
)
_BEST = (
    "By the first training, and (*averaged*) by the scores averaged over trainings, each training's scaled to a mean"
    " size of 1. All genes' averaged scores are in scores.csv of the study's directory."
)
_PLANTED = (
    "*planted*: share of the planted genes among as many best. *markers*: of planted genes and their copies. *groups*:"
    " going down the ranking, each gene standing for its group, share of marker groups among as many first groups."
    " Means over trainings; *averaged*: of the averaged ranking."
)
_ASKED = "Of the published shape (801 samples, 20,531 genes), all of it on two cores."


def _weights(study: Any) -> str:
    text = (
        "Over all weights that are no biases: how many are below 1e-5 in size, their range, standard deviation, mean"
        f" and mean size; the pictures show {study.sweep.sampled:,} of them, drawn at random. One training for each λ,"
        " all from the same initial weights."
    )
    if study.data.source != "uci":
        return text
    return (
        f"{text} Published, for λ = 1e-5, 1e-3, 1e-2, 1, 10 and 100: 4.65, 4.51, 4.45, 2.29, 7.05 and 17.28 million"
        " below 1e-5, and accuracy about 100 % throughout."
    )


def facts(study: Any, done: Done) -> str:
    """Say what was done, how well networks did, how long it took and how much memory."""
    table, ranked = done["table"], list(trainings(done).values())
    parts = ", ".join(f"{n} {name}" for name, n in done["parts"].items())
    left_out = table.notes.get("left_out", {})
    classes = f"classes of fewer than {study.data.smallest_class} samples, {', '.join(left_out)}"
    minutes, memory = effort(done)
    return (
        f"{len(table)} samples ({parts}), classes {', '.join(map(str, table.classes))}."
        + (f" Left out: {sum(left_out.values())} samples of {classes}." if left_out else "")
        + f" {len(ranked)} trainings rank genes; test accuracy of the wide network {_range(ranked, 'scores')}, of the"
        f" small one with the selector {_range(ranked, 'selector_scores')}."
        f" An epoch takes {np.median(ranked[0]['epoch_seconds']):.2g} s,"
        f" all of it took {minutes:.1f} min and at most {memory / GB:.2f} GB. {full_shuffle(study, done)}"
    )


def _range(units: list[dict[str, Any]], scores: str) -> str:
    found = [unit[scores]["test"]["accuracy"] for unit in units]
    return f"{min(found):.4f} to {max(found):.4f}"


def full_shuffle(study: Any, done: Done) -> str:
    """Say how long the shuffle of every gene takes, and what the plain loop would take."""
    units = list(trainings(done).values())
    seconds = np.median([unit["seconds"] for unit in units])
    plain = units[0]["plain_seconds"] * len(done["table"].features) * study.importance.repeats
    return (
        f"The shuffle of every gene takes {seconds:.3g} s; the loop that predicts the whole network for each gene would"
        f" take {plain:.3g} s, {plain / seconds:.3g} times as long."
    )


def _shuffles(study: Any, done: Done) -> str:
    first = next(iter(trainings(done).values()))
    heaviest, scores = first["heaviest"], np.array(first["permutation"])
    falls = np.array(heaviest["falls"])
    return (
        f"By the first training, on the test rows. The {len(falls):,} heaviest genes, one at a time: accuracy"
        f" {heaviest['accuracy']:.4f} falls for {(falls > 0).sum()} of them, by {max(0, falls.max()):.4f} at most."
        f" Every gene, by the loss: it grows for {(scores > 0).sum():,} of {len(scores):,} (by chance alone it would"
        f" for about half), by {scores.max():.3g} at most (unshuffled: {first['scores']['test']['loss']:.3g})."
        f" {full_shuffle(study, done)}"
    )


def _groups(study: Any, done: Done, groups: pd.DataFrame) -> str:
    found = done["groups"]
    sizes = [len(group) for group in found["groups"]]
    if not sizes:
        return f"No genes correlate above {study.importance.correlation:g}."
    return (
        f"{len(sizes)} groups of two genes or more, {sum(sizes):,} genes in all, found in {found['seconds']:.3g} s on"
        f" the training rows. *together*: the increase of the test loss as the group is shuffled as one, mean over"
        f" trainings, *sd* over them. *best alone*: the largest of its genes' own increases, mean over trainings."
        f"{_MARKERS if 'markers' in groups else ''}\n\n{markdown(groups.head(2 * SHOWN), 5)}"
    )


_MARKERS = " *markers*: the share of planted markers in it."


def _agreement(done: Done) -> str:
    return (
        f"Means over {len(trainings(done))} trainings; *low* and *high* are the least and greatest correlation, *top*"
        " is the share of genes among the best of both in those among the best of either (Jaccard). Group permutation"
        " gives all genes of a group one score (of equal ones the table's first count as best), and a gene that is in"
        " no group its score from permutation: over those genes, the two agree by construction."
    )


def _agreed(k: int, table: pd.DataFrame) -> str:
    return (
        f"In which share of the trainings a gene is among a method's {k} best, and the mean over methods"
        f" (*all*); all {len(table):,} genes for which any is are in agreed_genes.csv.\n\n"
        f"{markdown(table.head(2 * SHOWN), 2)}"
    )
