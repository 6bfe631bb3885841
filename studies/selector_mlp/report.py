"""What the gene-panel study found, of one data set: every table (CSV) and picture (PNG), and ``report.md``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from permgrad.files import new_file, write_text
from studies.kit.markdown import markdown

from .pictures import draw_cropped, draw_frequency, draw_learning, draw_masking, draw_sizes
from .tables import (
    Done,
    conditions,
    cropped,
    one_training,
    overlap,
    panel_genes,
    panel_unit,
    panels,
    planted,
    size_curve,
    targets,
)

SHOWN_GENES = 40


def write_report(study: Any, name: str, done: Done, out: Path) -> None:
    """Write every table and picture into `out`, and ``report.md``."""
    out.mkdir(parents=True, exist_ok=True)
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
        write_text(out / f"{table_name}.csv", table.to_csv(index=False))
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
    write_text(out / "report.md", _text(study, name, done, tables))


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
    " would change nothing. *like its start*: Spearman's correlation of a selector's ranking with its weights before"
    " training; near 1, it ranks genes by the numbers it happened to start with. *seconds*: of one training and all"
    " that was measured of it. The picture is of the first training, without noise and dropout; losses without the"
    " penalty."
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
