"""Conditional p-values on tables whose truth is known: how often a null is flagged, and how often a weak column.

    python -m benchmarks.conditional [--rows 1000] [--tables 150] [--designs sine,product] [--first] [--peers | --fdr]

Each design has a null column: given the others, it tells nothing about the target, though it is tied to columns that
matter, and a network trained on 1,000 rows leans on it. Its share with p <= 0.05 should be 0.05 at most. A weak column
tells a little: its share is the power. Both are printed with exact 95 % intervals, and how many columns the page warns
of, since their ties were learned badly: of those flagged, and of the others. Five networks a design
(scikit-learn's MLP of 32 and 16 units), which take turns on fresh test tables; a weak column is asked in every third.
``--peers`` asks hidimstat's conditional importance and leave-one-covariate-out instead, of the same networks and tables
(see `conditional_peers`). ``--first`` asks the first of the two tests alone, to show what the second one is for.

``--fdr`` tests all columns instead, and prints the share of false ones among those that are kept at 0.1, and the share
of the relevant ones kept: by Benjamini & Hochberg's and Benjamini & Yekutieli's procedures, and by hidimstat's model-X
knockoffs, which ask no network; ``--fdr knockoffs`` does these alone.

``--seconds 16,30`` prints what the p-values of so many columns cost: processor seconds of a ranking without and with
them.
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import Any
from unittest.mock import patch

import numpy as np
from scipy.stats import binomtest, false_discovery_control
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks import conditional_peers as peers
from benchmarks.conditional_designs import JUDGED, TUNED, Design
from permgrad.importance.permuting import _independence
from permgrad.importance.permuting._independence import UNTOLD, anchor_rows, independence_p_value
from permgrad.importance.permuting.conditional import AlikeRows

TRAIN_ROWS, N_NETWORKS = 1000, 5
LEVEL, FDR = 0.05, 0.1


def training_rows(design: Design, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows that a network learns from."""
    return design(np.random.default_rng([number, 77]), TRAIN_ROWS)[:2]


def network(design: Design, number: int) -> Any:
    """Train one: a pipeline of scikit-learn's."""
    X, y = training_rows(design, number)
    kind = MLPClassifier if y.dtype.kind == "i" else MLPRegressor
    untrained = kind(
        hidden_layer_sizes=(32, 16),
        learning_rate_init=0.01,
        batch_size=64,
        max_iter=30,
        early_stopping=True,
        random_state=number,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make_pipeline(StandardScaler(), untrained).fit(X, y)


def answer(fitted: Any, rows: np.ndarray) -> np.ndarray:
    """Return what a network answers to rows: (n_rows, n_outputs)."""
    return fitted.predict_proba(rows) if hasattr(fitted, "predict_proba") else fitted.predict(rows)[:, None]


def p_value(fitted: Any, X: np.ndarray, y: np.ndarray, columns: Any, seed: int) -> tuple[float, float]:
    """Return the conditional p-value of a feature, and what is untold, as `permgrad.permutation_importance` does."""
    columns = np.atleast_1d(columns)
    alike = AlikeRows(X, seed)
    own = alike.own(columns)
    output, anchored = answer(fitted, X), []
    for row in anchor_rows(own):
        rows = X.copy()
        rows[:, columns] = X[row, columns]
        anchored.append(answer(fitted, rows))
    asked = np.stack(anchored)
    classes = y.dtype.kind == "i"
    truth = np.eye(output.shape[1])[y] if classes else y[:, None]
    if output.shape[1] == 2:
        output, asked, truth = output[:, 1:], asked[:, :, 1:], truth[:, 1:]
    others, expected = alike.others(columns), alike.expected(columns)
    return independence_p_value(others, own, expected, output, asked, truth, classes, seed)


def levels(design: Design, n_rows: int, n_tables: int, with_peers: bool = False) -> None:
    """Print how often the null and the weak column are flagged: by us, or by each of the peers."""
    networks = [network(design, number) for number in range(N_NETWORKS)]
    others = [peers.Peers(fitted, *training_rows(design, number)) for number, fitted in enumerate(networks)]
    null: list[Any] = []
    weak: list[Any] = []
    for table in range(n_tables):
        X, y, null_at, weak_at, _ = design(np.random.default_rng([table, n_rows, 5]), n_rows)
        turn = table % N_NETWORKS
        for found, columns in ((null, null_at), (weak, weak_at)):
            if with_peers:
                found.append(others[turn].p_values(X, y, columns, table))
            elif found is null or table % 3 == 0:
                found.append(p_value(networks[turn], X, y, columns, table))
    shown = [each if with_peers else [[p] for p, _ in each] for each in (null, weak)]
    pairs = [*zip(*(_flagged(each) for each in shown), strict=True)]
    if not with_peers:
        pairs.append((_warned(null), _warned(weak)))
    cells = " | ".join(cell for pair in pairs for cell in pair)
    print(f"| {design.__name__} | {n_rows} | {cells} | {len(null)}, {len(weak)} |", flush=True)


def _flagged(p_values: list[list[float]]) -> list[str]:
    """Return each method's share of tables, and its exact 95 % interval."""
    flagged, n = (np.array(p_values) <= LEVEL).sum(axis=0), len(p_values)
    ends = [binomtest(int(times), n).proportion_ci() for times in flagged]
    return [f"{times / n:.2f} ({end.low:.2f} to {end.high:.2f})" for times, end in zip(flagged, ends, strict=True)]


def _warned(tested: list[tuple[float, float]]) -> str:
    """Count the columns that the page warns of: among those flagged, and among the others."""
    p, untold = np.array(tested).T
    flagged, warned = p <= LEVEL, untold > UNTOLD
    return f"{(warned & flagged).sum()} of {flagged.sum()}, {(warned & ~flagged).sum()} of {(~flagged).sum()}"


def discoveries(design: Design, n_rows: int, n_tables: int, methods: str) -> None:
    """Print the share of false columns among those kept, and the share of relevant ones that are."""
    networks = [network(design, number) for number in range(N_NETWORKS)] if methods == "all" else []
    shares: dict[str, list[tuple[float, float]]] = {}
    for table in range(n_tables):
        X, y, null_at, _, relevant = design(np.random.default_rng([table, n_rows, 6]), n_rows)
        together = np.atleast_1d(null_at)
        features = [*(np.array([j]) for j in range(X.shape[1]) if j not in together), together]
        true = np.array([int(columns[0]) in relevant for columns in features])
        kept = {"knockoffs": peers.kept_by_knockoffs(X, y, features, FDR, table)}
        if networks:
            p = [p_value(networks[table % N_NETWORKS], X, y, columns, table)[0] for columns in features]
            kept = {method: false_discovery_control(p, method=method) <= FDR for method in ("bh", "by")} | kept
        for method, which in kept.items():
            false = (which & ~true).sum() / max(1, which.sum())
            shares.setdefault(method, []).append((false, (which & true).sum() / true.sum()))
    cells = " | ".join("{:.2f} | {:.2f}".format(*np.mean(each, axis=0)) for each in shares.values())
    print(f"| {design.__name__} | {n_rows} | {cells} | {n_tables} |", flush=True)


def seconds(n_rows: int, n_columns: int) -> None:
    """Print the processor seconds of a ranking, last in, without and with conditional p-values.

    Of the columns four decide, and four tell of one of these each.
    """
    import permgrad as pg  # Keras takes seconds to import

    rng = np.random.default_rng([n_rows, n_columns])
    X = rng.normal(size=(TRAIN_ROWS + n_rows, n_columns))
    X[:, 4:8] = 0.85 * X[:, :4] + 0.53 * X[:, 4:8]
    y = (X[:, 0] + X[:, 1] ** 2 + np.sin(2 * X[:, 2]) + X[:, 2] * X[:, 3] + rng.logistic(size=len(X)) > 1).astype(int)
    fitted = MLPClassifier((32, 16), max_iter=30, early_stopping=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted.fit(X[:TRAIN_ROWS], y[:TRAIN_ROWS])
        taken = []
        for conditional in (False, True):
            begun = time.process_time()
            pg.rank_features(fitted, X[TRAIN_ROWS:], y[TRAIN_ROWS:], formula="last in", conditional=conditional)
            taken.append(time.process_time() - begun)
    print(f"| {n_rows} | {n_columns} | {taken[0]:.1f} | {taken[1]:.1f} |", flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Print a row of a table for each design."""
    by_name = {design.__name__: design for design in (*TUNED, *JUDGED)}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--tables", type=int, default=150)
    parser.add_argument("--designs", default=",".join(by_name))
    parser.add_argument("--first", action="store_true")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--fdr", nargs="?", const="all", choices=("all", "knockoffs"))
    parser.add_argument("--seconds", metavar="COLUMNS")
    given = parser.parse_args(arguments)
    if given.seconds:
        for n_columns in given.seconds.split(","):
            seconds(given.rows, int(n_columns))
        return
    with patch.object(_independence, "DOUBTFUL", 0.0 if given.first else _independence.DOUBTFUL):
        for name in given.designs.split(","):
            if given.fdr:
                discoveries(by_name[name], given.rows, given.tables, given.fdr)
            else:
                levels(by_name[name], given.rows, given.tables, given.peers)


if __name__ == "__main__":
    main()
