"""Explaining rows of a table: this project's walks beside SHAP's PermutationExplainer, on the same network.

    python -m benchmarks.explain [--rows 1000] [--columns 30] [--peer-rows 10]

Both explain the same rows' log-odds with the same 64 background rows; the network sees the table alone, so that its
columns are the players on both sides. SHAP is asked about --peer-rows rows, and its time reckoned for all. Standard
errors are those of two runs of other orders; beside ours is the one that it tells of itself, which is larger, as each
order has some of the background only and the values of all orders together have all of it. "for the same error": times
as if both had it, which falls with the square root of the orders. "apart": the root of the mean squared difference of
the two, in standard errors of that difference: 1 is expected.

Seconds are of the clock, and of the processor in brackets, which others that use the machine leave as they are. The
default network, with its image, is timed after that: there a column is walked in each branch. Effects of all columns
are timed last.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logit

import permgrad as pg

BACKGROUND = 64
LEAST = 1e-7
"""Of a probability, as `permgrad.explain_rows` has it."""


@dataclass(frozen=True)
class Timed:
    """What a call returned, and its seconds, of the clock and of the processor."""

    result: Any
    wall: float
    processor: float

    def __str__(self) -> str:
        return f"{self.wall:.1f} s ({self.processor:.1f})"


def timed(call: Callable[[], Any]) -> Timed:
    wall, processor = time.perf_counter(), time.process_time()
    result = call()
    return Timed(result, time.perf_counter() - wall, time.process_time() - processor)


def main(given: Sequence[str] | None = None) -> None:
    """Print what each side takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--columns", type=int, default=30)
    parser.add_argument("--peer-rows", type=int, default=10)
    parser.add_argument("--alone", action="store_true", help="leave out the network with an image, and effects")
    options = parser.parse_args(given)
    warnings.simplefilter("ignore")
    X, y = table(options.rows, options.columns)
    network = pg.HybridClassifier(branches="tabular", epochs=5).fit(X, y)
    beside_shap(network, X, options.peer_rows)
    if options.alone:
        return
    hybrid = pg.HybridClassifier(epochs=5).fit(X, y)
    explained(hybrid, X, "with an image")
    for kind in ("ale", "pdp"):
        network.effects(X, [X.columns[0]], kind)
        found = timed(lambda kind=kind: network.effects(X, kind=kind))
        print(f"effects of all columns, {kind}: {found}", flush=True)


def table(n_rows: int, n_columns: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Return rows of normal numbers; classes that a product and a sum of some of them part."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, n_columns)).astype(np.float32)
    y = X[:, 0] * X[:, 1] + X[:, 2] - X[:, 3] + 0.5 * rng.normal(size=n_rows) > 0
    return pd.DataFrame(X, columns=[f"x{i}" for i in range(n_columns)]), y.astype(int)


def explained(network: Any, X: pd.DataFrame, what: str) -> Timed:
    """Explain all rows; before that a part, so that everything is compiled."""
    background = X.iloc[:BACKGROUND]
    network.explain_rows(X, background)
    found = timed(lambda: network.explain_rows(X, background))
    told = found.result.error.mean() / np.abs(found.result.values).mean()
    size = f"{len(X):,} rows × {X.shape[1]} columns"
    print(f"explain_rows, network {what}, {size}: {found}; it tells an error of {told:.1%} of a mean value", flush=True)
    return found


def beside_shap(network: Any, X: pd.DataFrame, n_rows: int) -> None:
    import shap

    ours = explained(network, X, "of the table alone")
    asked = X.iloc[:n_rows].to_numpy()

    def answer(rows: np.ndarray) -> np.ndarray:
        p = network._predicted(np.asarray(rows, np.float32))[:, 1].astype(float)
        return logit(np.clip(p, LEAST, 1 - LEAST))

    def theirs(seed: int) -> Timed:
        masker = shap.maskers.Independent(X.iloc[:BACKGROUND].to_numpy(), max_samples=BACKGROUND)
        explainer = shap.PermutationExplainer(answer, masker, seed=seed)
        return timed(lambda: explainer(asked, silent=True).values)

    answer(asked)
    peers = [theirs(1), theirs(2)]
    again = network.explain_rows(X, X.iloc[:BACKGROUND], random_state=1)
    runs = [np.array([found.values[:n_rows] for found in (ours.result, again)]), np.array([p.result for p in peers])]
    error, peer_error = (float(np.sqrt(np.mean((run[0] - run[1]) ** 2) / 2)) for run in runs)
    told = float(np.sqrt(np.mean(ours.result.error[:n_rows] ** 2)))
    off = np.sqrt(np.mean((runs[0].mean(axis=0) - runs[1].mean(axis=0)) ** 2) / ((error**2 + peer_error**2) / 2))
    wall = peers[0].wall / n_rows * len(X)
    print(f"PermutationExplainer, {n_rows} rows: {peers[0]}; {wall:.0f} s for all rows, reckoned")
    print(f"standard error: ours {error:.4f} (it tells {told:.4f}), theirs {peer_error:.4f}; apart {off:.2f}")
    ratio = peers[0].processor / n_rows / (ours.processor / len(X))
    same = ratio * (peer_error / error) ** 2
    print(f"time of a row, theirs over ours: {ratio:.0f}; for the same error {same:.1f}", flush=True)


if __name__ == "__main__":
    main()
