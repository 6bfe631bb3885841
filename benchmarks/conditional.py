"""Conditional p-values on tables whose truth is known: how often a null is flagged, and how often a weak column.

    python -m benchmarks.conditional [--rows 1000] [--tables 100] [--designs sine,product] [--fdr]

Each design has a null column: given the others, it tells nothing about the target, though it is tied to columns that
matter, and a network trained on 1,000 rows leans on it. Its share with p <= 0.05 should be 0.05 at most. A weak column
tells a little: its share is the power. Five networks a design (scikit-learn's MLP of 32 and 16 units), which take turns
on fresh test tables. ``--fdr`` tests all columns instead, and prints the share of false ones among those that Benjamini
& Hochberg's and Benjamini & Yekutieli's procedures keep at 0.1, and the share of the relevant ones kept.

The method was tuned on the designs of `TUNED`, and judged once on those of `JUDGED`.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import ndtr
from scipy.stats import false_discovery_control
from sklearn.neural_network import MLPClassifier, MLPRegressor

from permgrad.importance.permuting._independence import anchor_rows, independence_p_value
from permgrad.importance.permuting.conditional import AlikeRows

TRAIN_ROWS, N_NETWORKS = 1000, 5
LEVEL, FDR = 0.05, 0.1
Design = Callable[[Any, int], tuple[np.ndarray, np.ndarray, Any, int, set[int]]]
"""Generator, rows → columns, target, null column(s), weak column, all relevant columns."""


def independent(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    return X, _base(X) + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def toeplitz(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    for j in range(1, 12):
        X[:, j] = 0.8 * X[:, j - 1] + 0.6 * X[:, j]
    y = X[:, [1, 4, 7, 10]] @ [1.5, 1.2, 1.0, 0.15] + rng.normal(size=n)
    return X, y, 5, 10, {1, 4, 7, 10}


def product(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    X[:, 11] = X[:, 0] * X[:, 1] + 0.3 * rng.normal(size=n)
    y = X[:, 0] * X[:, 1] + X[:, 1] * X[:, 2] + X[:, 0] * X[:, 2] + 0.15 * X[:, 3] + rng.normal(size=n)
    return X, y, 11, 3, {0, 1, 2, 3}


def sine(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    X[:, 11] = np.sin(2 * X[:, 0]) + 0.4 * rng.normal(size=n)
    return X, 1.5 * np.sin(2 * X[:, 0]) + X[:, 1] + X[:, 2] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def heavy_tails(rng: Any, n: int) -> Any:
    X = rng.standard_t(2.5, size=(n, 12))
    X[:, 11] = 0.8 * X[:, 0] + 0.6 * rng.standard_t(2.5, size=n)
    return X, _base(X) + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def binary(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    mixed = X[:, 0] + 0.7 * X[:, 1]
    X[:, 11] = mixed + 0.5 * rng.normal(size=n) > 0
    return X, _base(X) + 1.5 * (mixed > 0) + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def weak_ties(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 40))
    X[:, 39] = 0.16 * X[:, :39].sum(axis=1) + 0.3 * rng.normal(size=n)
    return X, 0.25 * X[:, :39].sum(axis=1) - 0.1 * X[:, 3] + rng.normal(size=n), 39, 3, set(range(39))


def category(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 11))
    level = (ndtr(0.9 * X[:, 0] + 0.436 * rng.normal(size=n)) * 12).astype(int).clip(0, 11)
    said = 2 * np.sin(2 * X[:, 0]) + X[:, 1] + 0.15 * X[:, 3] + rng.logistic(size=n)
    return np.hstack([X, np.eye(12)[level]]), (said > 0).astype(int), np.arange(11, 23), 3, {0, 1, 3}


def absolute(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = np.abs(X[:, 0] - X[:, 1])
    X[:, 11] = known + 0.3 * rng.normal(size=n)
    return X, 2 * known + X[:, 2] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def triple(rng: Any, n: int) -> Any:
    X = rng.uniform(-1.7, 1.7, size=(n, 12))
    known = X[:, 0] * X[:, 1] * X[:, 2]
    X[:, 11] = known + 0.3 * rng.normal(size=n)
    return X, 1.5 * known + X[:, 0] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def ratio(rng: Any, n: int) -> Any:
    X = rng.lognormal(sigma=0.7, size=(n, 12))
    known = X[:, 0] / X[:, 1]
    X[:, 11] = known * rng.lognormal(sigma=0.3, size=n)
    return X, 2 * np.log(known) + np.log(X[:, 2]) + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def switch(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    X[:, 2] = X[:, 2] > 0
    known = np.where(X[:, 2] > 0, X[:, 0], -X[:, 0])
    X[:, 11] = known + 0.4 * rng.normal(size=n)
    return X, 1.5 * known + X[:, 1] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def spread(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    X[:, 11] = np.abs(X[:, 0]) * rng.standard_t(4, size=n)
    return X, 1.5 * X[:, 0] ** 2 + X[:, 1] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 3}


def counts(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    X[:, 11] = rng.poisson(np.exp(0.6 * X[:, 0] + 0.6 * X[:, 1]))
    y = 1.5 * np.exp(0.5 * X[:, 0] + 0.5 * X[:, 1]) + X[:, 2] + 0.15 * X[:, 3] + rng.normal(size=n)
    return X, y, 11, 3, {0, 1, 2, 3}


def maximum(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = X[:, :3].max(axis=1)
    X[:, 11] = known + 0.3 * rng.normal(size=n)
    return X, 2 * known + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def heavier_tails(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    X[:, 0] = rng.standard_t(1.5, size=n)
    X[:, 11] = X[:, 0] + 0.5 * rng.standard_t(1.5, size=n)
    return X, 2 * np.tanh(X[:, 0]) + X[:, 1] + 0.15 * X[:, 3] + rng.standard_t(3, size=n), 11, 3, {0, 1, 3}


def three_classes(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    X[:, 11] = X[:, 0] * X[:, 1] + 0.4 * rng.normal(size=n)
    said = np.stack([2 * X[:, 0] * X[:, 1], X[:, 2] + 0.3 * X[:, 3], np.zeros(n)], axis=1)
    return X, (said + rng.gumbel(size=(n, 3))).argmax(axis=1), 11, 3, {0, 1, 2, 3}


def rare_class(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    X[:, 11] = X[:, 0] ** 2 + 0.5 * rng.normal(size=n)
    said = -3.5 + 1.2 * X[:, 0] ** 2 + 0.3 * X[:, 3] + X[:, 1] + rng.logistic(size=n)
    return X, (said > 0).astype(int), 11, 3, {0, 1, 3}


def uneven_noise(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    X[:, 11] = 0.9 * X[:, 0] + 0.436 * rng.normal(size=n)
    y = 1.5 * X[:, 0] + X[:, 1] ** 2 + 0.2 * X[:, 3] + np.exp(0.5 * X[:, 0]) * rng.normal(size=n)
    return X, y, 11, 3, {0, 1, 3}


def one_factor(rng: Any, n: int) -> Any:
    X = np.sqrt(0.8) * rng.normal(size=(n, 1)) + np.sqrt(0.2) * rng.normal(size=(n, 12))
    y = X[:, :6] @ [1.5, 1.5, 1.2, 1.2, 1.0, 0.35] + rng.normal(size=n)
    return X, y, 11, 5, set(range(6))


def fast_sine(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = np.sin(3 * X[:, 0])
    X[:, 11] = known + 0.3 * rng.normal(size=n)
    return X, 2 * known + X[:, 1] + X[:, 2] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def switched_classes(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = np.where(X[:, 2] > 0, X[:, 0], X[:, 1])
    X[:, 11] = known + 0.4 * rng.normal(size=n)
    said = np.stack([2 * known, X[:, 4] + 0.3 * X[:, 3], np.zeros(n)], axis=1)
    return X, (said + rng.gumbel(size=(n, 3))).argmax(axis=1), 11, 3, {0, 1, 2, 3, 4}


def ordered_levels(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = X[:, 0] + X[:, 1]
    X[:, 11] = np.digitize(known + 0.6 * rng.normal(size=n), [-1.5, -0.5, 0.5, 1.5])
    return X, 2 * np.tanh(known) + X[:, 2] + 0.15 * X[:, 3] + rng.normal(size=n), 11, 3, {0, 1, 2, 3}


def waiting_times(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = 0.5 * X[:, 0] + 0.5 * X[:, 1]
    X[:, 11] = np.exp(known) * rng.gamma(2.0, 0.5, size=n)
    said = -0.5 + 2 * known + X[:, 2] + 0.2 * X[:, 3] + rng.logistic(size=n)
    return X, (said > 0).astype(int), 11, 3, {0, 1, 2, 3}


def bent_product(rng: Any, n: int) -> Any:
    X = rng.normal(size=(n, 12))
    known = X[:, 0] * X[:, 1]
    X[:, 11] = np.tanh(known) + 0.3 * rng.normal(size=n)
    said = 2 * np.tanh(known) + X[:, 2] * X[:, 4] + 0.3 * X[:, 3] + rng.logistic(size=n)
    return X, (said > 0).astype(int), 11, 3, {0, 1, 2, 3, 4}


TUNED: list[Design] = [
    *(independent, toeplitz, product, sine, fast_sine, heavy_tails, binary, weak_ties, category),
    *(counts, maximum, three_classes),
]
JUDGED: list[Design] = [
    *(absolute, triple, ratio, switch, spread, heavier_tails, rare_class, uneven_noise, one_factor),
    *(switched_classes, ordered_levels, waiting_times, bent_product),
]


def _base(X: np.ndarray) -> np.ndarray:
    return X[:, :3] @ [1.5, 1.2, 1.0]


def network(design: Design, number: int) -> Callable[[np.ndarray], np.ndarray]:
    """Train one, and return what it answers to rows: (n_rows, n_outputs)."""
    X, y, *_ = design(np.random.default_rng([number, 77]), TRAIN_ROWS)
    centre, scale = X.mean(axis=0), X.std(axis=0)
    kind = MLPClassifier if y.dtype.kind == "i" else MLPRegressor
    fitted = kind(
        hidden_layer_sizes=(32, 16),
        learning_rate_init=0.01,
        batch_size=64,
        max_iter=30,
        early_stopping=True,
        random_state=number,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted.fit((X - centre) / scale, y)
    if kind is MLPClassifier:
        return lambda rows: fitted.predict_proba((rows - centre) / scale)
    return lambda rows: fitted.predict((rows - centre) / scale)[:, None]


def p_value(answer: Callable[[np.ndarray], np.ndarray], X: np.ndarray, y: np.ndarray, columns: Any, seed: int) -> float:
    """Return the conditional p-value of a feature, as `permgrad.permutation_importance` does."""
    columns = np.atleast_1d(columns)
    alike = AlikeRows(X, seed)
    output, anchored = answer(X), []
    for row in anchor_rows(alike.own(columns)):
        rows = X.copy()
        rows[:, columns] = X[row, columns]
        anchored.append(answer(rows))
    asked = np.stack(anchored)
    classes = y.dtype.kind == "i"
    truth = np.eye(output.shape[1])[y] if classes else y[:, None]
    if output.shape[1] == 2:
        output, asked, truth = output[:, 1:], asked[:, :, 1:], truth[:, 1:]
    return independence_p_value(alike.others(columns), alike.expected(columns), output, asked, truth, classes, seed)[0]


def levels(design: Design, n_rows: int, n_tables: int) -> None:
    """Print how often the null and the weak column are flagged."""
    networks = [network(design, number) for number in range(N_NETWORKS)]
    null, weak = [], []
    for table in range(n_tables):
        X, y, null_at, weak_at, _ = design(np.random.default_rng([table, n_rows, 5]), n_rows)
        answer = networks[table % N_NETWORKS]
        null.append(p_value(answer, X, y, null_at, table) <= LEVEL)
        if table % 3 == 0:
            weak.append(p_value(answer, X, y, weak_at, table) <= LEVEL)
    print(
        f"| {design.__name__} | {n_rows} | {np.mean(null):.2f} of {len(null)} | {np.mean(weak):.2f} of {len(weak)} |",
        flush=True,
    )


def discoveries(design: Design, n_rows: int, n_tables: int) -> None:
    """Print the share of false columns among those kept, and the share of relevant ones that are."""
    networks = [network(design, number) for number in range(N_NETWORKS)]
    false: dict[str, list[float]] = {"bh": [], "by": []}
    power: dict[str, list[float]] = {"bh": [], "by": []}
    for table in range(n_tables):
        X, y, null_at, _, relevant = design(np.random.default_rng([table, n_rows, 6]), n_rows)
        together = np.atleast_1d(null_at)
        features = [*(np.array([j]) for j in range(X.shape[1]) if j not in together), together]
        p = [p_value(networks[table % N_NETWORKS], X, y, columns, table) for columns in features]
        for method in false:
            kept = false_discovery_control(p, method=method) <= FDR
            true = np.array([int(columns[0]) in relevant for columns in features])
            false[method].append((kept & ~true).sum() / max(1, kept.sum()))
            power[method].append((kept & true).sum() / true.sum())
    cells = " | ".join(f"{np.mean(false[method]):.2f} | {np.mean(power[method]):.2f}" for method in false)
    print(f"| {design.__name__} | {n_rows} | {cells} | {n_tables} |", flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Print a row of a table for each design."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--tables", type=int, default=150)
    parser.add_argument("--designs", default="")
    parser.add_argument("--fdr", action="store_true")
    given = parser.parse_args(arguments)
    wanted = given.designs.split(",") if given.designs else [design.__name__ for design in (*TUNED, *JUDGED)]
    by_name = {design.__name__: design for design in (*TUNED, *JUDGED)}
    for name in wanted:
        (discoveries if given.fdr else levels)(by_name[name], given.rows, given.tables)


if __name__ == "__main__":
    main()
