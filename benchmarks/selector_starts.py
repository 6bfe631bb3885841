"""Where selectors' weights begin, and how many steps move them: what is chosen from random numbers, and from ones.

    python -m benchmarks.selector_starts [--file mouse_immune_named_genes.h5ad --target cell_type] [--steps 240 2400]

Without a file: planted cells. For each penalty, start and number of steps: Spearman's correlation of the ranking with
the absolute weights before training (of those that begin alike there is none); the share of the planted markers among
as many best genes, or, of a file, the mean per-class accuracy on the test cells of a logistic regression on the k best
genes; and how many weights are below a hundredth of the largest.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler

import permgrad as pg
from benchmarks.panel_peer import prepared
from permgrad.metrics.scores import mean_class_accuracy
from permgrad.models.selector import SelectorConfig, build_selector_mlp
from studies.kit.markdown import markdown

PENALTIES = {"none": None, "l1": "l1", "l2": "l2", "l1/l2": "l1/l2"}
TRAINING: dict[str, Any] = {"batch_size": 128, "learning_rate": 2e-3, "hidden_units": (128, 64)}
SMALL = 0.01


def weights_before(n_genes: int, random_state: int) -> np.ndarray:
    """Return the absolute weights that a training with this seed begins with, (n_genes,)."""
    config = SelectorConfig(TRAINING["hidden_units"], random_state=random_state)
    return build_selector_mlp(config, n_genes, 2).get_layer("selector").importance()


def chosen_well(ranking: pg.FeatureRanking, train: pg.Cells, test: pg.Cells, k: int) -> float:
    """Return the share of planted markers that is found; of cells without, a regression's accuracy on the k best."""
    if "relevant" in train.notes:
        return pg.toy.recall(ranking, train.notes["relevant"])
    genes = ranking.select(k)
    model = make_pipeline(MaxAbsScaler(), LogisticRegression(max_iter=1000))
    model.fit(train.only(genes).X, train.y)
    return mean_class_accuracy(test.y, model.predict(test.only(genes).X))


def measured(
    train: pg.Cells, test: pg.Cells, steps: int, k: int, random_states: range, penalties: Sequence[str]
) -> list[dict[str, Any]]:
    """Return a row for each penalty and start: means over the seeds."""
    rows = []
    for name in penalties:
        for start in ("random", "ones"):
            found = []
            for seed in random_states:
                given = {"penalty": PENALTIES[name], "start": start, "steps": steps, "random_state": seed}
                model = pg.SelectorClassifier(**given, **TRAINING)
                weights = np.abs(model.fit(train).selector_weights_)
                before = weights_before(len(weights), seed)
                like = spearmanr(weights, before)[0] if start == "random" else np.nan
                good = chosen_well(model.rank_by_weights(), train, test, k)
                found.append((like, good, (weights < SMALL * weights.max()).mean()))
            like, good, small = np.mean(found, axis=0)
            row = {"steps": steps, "penalty": name, "start": start}
            rows.append(row | {"like its start": like, "chosen well": good, "near 0": small})
            print(rows[-1], flush=True)
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file")
    parser.add_argument("--target", default="cell_type")
    parser.add_argument("--genes", type=int, default=2000, help="highly variable ones that are looked at")
    parser.add_argument("--steps", type=int, nargs="+", default=[240, 2400])
    parser.add_argument("--penalties", nargs="+", choices=list(PENALTIES), default=list(PENALTIES))
    parser.add_argument("--k", type=int, default=50, help="genes of a file's panel")
    parser.add_argument("--random-states", type=int, default=2)
    given = parser.parse_args(arguments)
    if given.file:
        cells = pg.read_cells(Path(os.environ.get("PERMGRAD_DATA", ".")) / given.file, given.target)
    else:
        few = min(5, (given.genes - 25) // 40)  # programs, where there are hardly any genes
        cells = pg.toy.single_cells(1000, given.genes, n_classes=5, n_markers=25, n_programs=few)
    train, _, test = prepared(cells, given.genes)
    print(f"{len(train)} train and {len(test)} test cells of {len(train.classes)} classes")
    same: Any = (given.k, range(given.random_states), given.penalties)
    rows = [row for steps in given.steps for row in measured(train, test, steps, *same)]
    print(markdown(pd.DataFrame(rows)))


if __name__ == "__main__":
    main()
