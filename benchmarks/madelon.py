"""Which rankings find twenty relevant columns among 500, none of which tells anything alone.

    python -m benchmarks.madelon --seeds 3
    python -m benchmarks.madelon --columns 80 --first-seed 10 --methods "permgrad default"

The data are made as Madelon was (Guyon, Design of experiments for the NIPS 2003 variable selection benchmark), by
scikit-learn's ``make_classification``: classes at random corners of a cube of five columns, fifteen more that are
sums of these, the rest noise. Printed, for each seed and over all: the share of the twenty among the twenty best
(recall@20), the accuracy on test rows, and seconds. 60 % of the rows train, 20 % decide when to stop, 20 % are test
rows.
"""

from __future__ import annotations

import argparse
import warnings
from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import make_classification
from sklearn.ensemble import ExtraTreesClassifier

import permgrad as pg
from benchmarks.measure import timed
from permgrad.data.toy import recall

COLUMNS, CUBE, RELEVANT, CORNERS = 500, 5, 20, 32
METHODS = ("extra trees, impurity", "permgrad default", "plain MLP, permutation")


def madelon(n_rows: int, random_state: int, n_columns: int = COLUMNS) -> pg.Table:
    """Return the table; the relevant columns are its first twenty before they are shuffled."""
    X, y = make_classification(
        n_rows,
        n_columns,
        n_informative=CUBE,
        n_redundant=RELEVANT - CUBE,
        n_clusters_per_class=CORNERS // 2,
        flip_y=0.01,
        class_sep=2.0,
        shuffle=False,
        random_state=random_state,
    )
    rng = np.random.default_rng(random_state)
    columns, rows = rng.permutation(n_columns), rng.permutation(n_rows)
    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(n_columns)]).iloc[rows, columns]
    relevant = [f"x{i}" for i in range(RELEVANT)]
    return pg.Table(frame.reset_index(drop=True), y[rows], name="madelon-like", notes={"relevant": relevant})


def ranking_of(method: str, table: pg.Table, random_state: int) -> tuple[float, list[str], float]:
    """Return a method's accuracy on test rows, its order and its seconds."""
    train, validation, test = table.split(random_state=random_state)
    if method == "extra trees, impurity":
        both = pg.Table(pd.concat([train.X, validation.X]), np.concatenate([train.y, validation.y]))
        trees = ExtraTreesClassifier(500, random_state=random_state)
        _, seconds = timed(lambda: trees.fit(both.X, both.y))
        order = np.array(table.features)[np.argsort(-trees.feature_importances_)].tolist()
        return trees.score(test.X, test.y), order, seconds
    plain: dict[str, Any] = {"preset": "published", "branches": ("tabular",)}
    model = pg.HybridClassifier(random_state=random_state, **({} if method == "permgrad default" else plain))

    def work() -> pg.FeatureRanking:
        model.fit(train.X, train.y, validation_data=(validation.X, validation.y))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return model.rank_features(test.X, test.y)

    ranking, seconds = timed(work)
    return model.score(test.X, test.y), ranking.select(RELEVANT), seconds


def main() -> None:
    """Print a line for each seed and method, then the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--columns", type=int, default=COLUMNS)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    arguments = parser.parse_args()
    found = []
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        table = madelon(arguments.rows, seed, arguments.columns)
        for method in arguments.methods:
            accuracy, order, seconds = ranking_of(method, table, seed)
            found.append((method, recall(order, table.notes["relevant"], k=RELEVANT), accuracy, seconds))
            print(f"seed {seed}, {method}: {found[-1][1]:.2f}, {accuracy:.3f}, {seconds:.0f} s", flush=True)
    figures = pd.DataFrame(found, columns=["", "recall@20", "accuracy", "seconds"]).groupby("", sort=False).mean()
    print(f"\n{figures.round(3).to_string()}")


if __name__ == "__main__":
    main()
