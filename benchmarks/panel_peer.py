"""Panels by selectors, LassoNet and NS-Forest: the same cells, the same sizes of panels; accuracy and time.

    python -m benchmarks.panel_peer [--file worm_neurons.h5ad --target cell_type] [--coarse] [--methods LassoNet ...]

Without a file: planted cells. Each method ranks the genes of the training cells in one fit. Every panel is scored by
the same network trained anew on it (the MLP with noise and dropout), by mean per-class accuracy on test cells. Seconds
are the processor's, of all threads and processes of a fit.

LassoNet (package lassonet, PyTorch) goes from dense to sparse along its own path of penalties; a gene's place is the
penalty at which it leaves. Its training stops early by the validation cells, which the others do not look at. NS-Forest
(package nsforest) names markers of each type: see `nsforest_markers`.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import permgrad as pg
from benchmarks.nsforest_markers import rank_by_nsforest
from permgrad.backend import keras
from permgrad.data.preprocessing import log_normalise, variable_genes
from permgrad.metrics.scores import mean_class_accuracy
from studies.kit.markdown import markdown

SIZES = (200, 100, 50, 20, 10)
TRAINING: dict[str, Any] = {"batch_size": 128, "learning_rate": 2e-3, "epochs": 40}
NSFOREST_TREES = {"coarse": 200, "fine": 1000}
SELECTORS: dict[str, dict[str, Any]] = {
    "plain MLP": {"selector": "none"},
    "selector L1": {"alpha": 0.1},
    "stochastic gates": {"selector": "stochastic", "alpha": 3e-3},
    "path (narrowing)": {"selector": "narrowing", "alpha": 1e-3, "epochs": 15, "epochs_per_size": 2},
}
Parts = tuple[pg.Cells, pg.Cells, pg.Cells]


def prepared(cells: pg.Cells, n_genes: int) -> Parts:
    """Return train, validation and test cells, log-normalised, of the highly variable genes."""
    rows = pg.capped_split(cells.y)
    logarithms = log_normalise(cells)
    variable = logarithms.only(variable_genes(logarithms.take(rows[0]), n_genes))
    train, val, test = (variable.take(part) for part in rows)
    return train, val, test


def by_selector(given: dict[str, Any], parts: Parts, random_state: int) -> pg.FeatureRanking:
    """Rank by one of this project's networks."""
    model = pg.SelectorClassifier(**{**TRAINING, **given}, random_state=random_state)
    return model.fit(parts[0]).rank_by_weights()


def by_lassonet(parts: Parts, random_state: int, coarse: bool) -> pg.FeatureRanking:
    """Rank by LassoNet, by the penalty at which a gene leaves the path; those that never leave come first.

    Genes that leave at one penalty keep the table's order.
    """
    (train, val, _), classes = parts, parts[0].classes
    with tempfile.TemporaryDirectory() as directory:
        given, scores = (str(Path(directory) / name) for name in ("cells.npz", "scores.npy"))
        np.savez(
            given,
            X=train.X.toarray(),
            y=np.searchsorted(classes, train.y),
            X_val=val.X.toarray(),
            y_val=np.searchsorted(classes, val.y),
            random_state=random_state,
            coarse=coarse,
        )
        subprocess.run([sys.executable, "-m", "benchmarks.lassonet_path", given, scores], check=True)  # noqa: S603
        leaves = np.load(scores, allow_pickle=False).astype(float)
    stays = np.isinf(leaves)
    last = np.where(stays, 0, leaves).max() if (~stays).any() else 1.0
    return pg.FeatureRanking(train.features, np.where(stays, 2 * last, leaves), method="lassonet")


def evaluate_network(ranking: pg.FeatureRanking, k: int, parts: Parts, random_state: int) -> float:
    """Train the referee anew on the k best genes; return its mean per-class accuracy on the test cells."""
    train, _, test = parts
    genes = ranking.select(k)
    keras.utils.clear_session()
    model = pg.SelectorClassifier(**TRAINING, selector="none", random_state=random_state).fit(train.only(genes))
    return mean_class_accuracy(test.y, model.predict(test.only(genes)))


def processor_seconds() -> float:
    """Return the processor time that this process and those that it waited for have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def methods(parts: Parts, coarse: bool) -> dict[str, Callable[[int], pg.FeatureRanking]]:
    """Return what ranks genes, given a random state, by its name in tables."""
    by_name: dict[str, Callable[[int], pg.FeatureRanking]] = {
        name: lambda random_state, given=given: by_selector(given, parts, random_state)
        for name, given in SELECTORS.items()
    }
    trees = NSFOREST_TREES["coarse" if coarse else "fine"]
    by_name["LassoNet"] = lambda random_state: by_lassonet(parts, random_state, coarse)
    by_name["NS-Forest"] = lambda random_state: rank_by_nsforest(parts[0], trees)
    return by_name


def parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--file", type=Path, help="an .h5ad file of counts, looked for in PERMGRAD_DATA too")
    options.add_argument("--target", default="cell_type")
    options.add_argument("--genes", type=int, default=2000)
    options.add_argument("--random-states", type=int, default=3)
    known = [*SELECTORS, "LassoNet", "NS-Forest"]
    options.add_argument("--methods", nargs="+", choices=known, default=known, metavar="METHOD", help=", ".join(known))
    options.add_argument(
        "--coarse",
        action="store_true",
        help="LassoNet in steps of 10 %%, not 2 %%, NS-Forest with 200 trees: minutes, not hours",
    )
    options.add_argument("--small", action="store_true", help="few cells and genes: whether it runs")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    cells = pg.toy.single_cells(*((900, 250) if options.small else (4000, 3000)))
    if options.file:
        at = options.file if options.file.is_file() else Path(os.environ.get("PERMGRAD_DATA", ".")) / options.file
        cells = pg.read_cells(at, options.target)
    parts = prepared(cells, 250 if options.small else options.genes)
    rank = methods(parts, options.small or options.coarse)
    sizes = (20, 10) if options.small else SIZES
    rows = []
    for random_state in range(1 if options.small else options.random_states):
        for name in options.methods:
            begun = processor_seconds()
            ranking = rank[name](random_state)
            row: dict[str, Any] = {"method": name, "random_state": random_state, "seconds": processor_seconds() - begun}
            rows.append(row | {f"{k} genes": evaluate_network(ranking, k, parts, random_state) for k in sizes})
            print(markdown(pd.DataFrame(rows[-1:])).splitlines()[-1], flush=True)
    table = pd.DataFrame(rows).drop(columns="random_state").groupby("method", sort=False).mean().reset_index()
    print(f"\n{cells}: mean per-class accuracy on test cells, means over seeds\n\n{markdown(table)}")


if __name__ == "__main__":
    main()
