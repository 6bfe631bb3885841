"""The game beside the general algorithm for it: SAGE's own package, which knows nothing of what is inside the network.

    pip install sage-importance
    python -m benchmarks.general_sage

The same game on both sides: the same network, rows, players, and donors (all of the rows: eight at a time here, all
together there), until the worst standard error is the same, as far as orders and donors leave it open: of a column
here, of a player there (less is asked of it, where a column is a sum of players). The hybrid is called as a function of
two rows, one that its table sees and one that its image is drawn of, so that players are (column, branch). Networks are
trained for a few epochs: what they know does not matter here, but that they know something. Seconds are of the
processor, so that others may use the machine.

"agree": the largest difference of two values in standard errors of that difference; 3 is reached by chance by one of
400 values. "of total": the same difference as a share of what the network saves. Where the general algorithm would take
more than --limit seconds, its time is that of a part, times how much more the standard error needs: ≈.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import permgrad as pg
from permgrad.backend import compiled, keras
from tests.oracle import two_input_model

ROWS = 256
"""That play, and are donors."""
BATCH = 64
"""Permutations at a time, of the general algorithm."""


@dataclass(frozen=True, eq=False)
class Case:
    """A network, its rows and true values; the same network as a function of all players' numbers, (n, n_players)."""

    name: str
    network: keras.Model
    layout: pg.FeatureLayout | None
    X: np.ndarray
    y: np.ndarray
    seen: np.ndarray
    answer: Callable[[np.ndarray], np.ndarray]


def main() -> None:
    """Print one line for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=float, default=240, help="seconds for the general algorithm on one network")
    arguments = parser.parse_args()
    print("| network | players | error, of total | ours, first | later | general | ratio | agree | of total |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for case in cases():
        print(line(case, arguments.limit), flush=True)


def cases() -> Iterator[Case]:
    """Train an MLP on columns alone, and a hybrid."""
    for name, branches in (
        ("breast_cancer", ("tabular",)),
        ("puma8nh", ("tabular",)),
        ("puma8nh", ("tabular", "image")),
    ):
        train, val, test = pg.load_dataset(name).split()
        kind = pg.HybridClassifier if train.task == "classification" else pg.HybridRegressor
        estimator = kind(preset="published", branches=branches, epochs=8).fit(train, validation_data=val)
        test = test.take(np.arange(min(ROWS, len(test))))
        X, network = estimator.encoder_.transform(test.X), estimator.network_
        both = network if len(branches) == 1 else two_input_model(network)
        y = estimator._encode_target(test.y)
        title = f"{name}, {'MLP' if len(branches) == 1 else 'hybrid'}"
        yield Case(title, network, estimator.layout_, X, y, np.hstack([X] * len(branches)), _answer(both, X.shape[1]))


def _answer(network: keras.Model, width: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return the network as a compiled function of its inputs side by side."""
    call = compiled(lambda *parts: network(list(parts) if len(parts) > 1 else parts[0], training=False), network)

    def answer(rows: np.ndarray) -> np.ndarray:
        parts = np.split(rows.astype(np.float32), rows.shape[1] // width, axis=1)
        return np.asarray(keras.ops.convert_to_numpy(call(*map(keras.ops.convert_to_tensor, parts))))

    return answer


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """Return a function's result and its seconds of the processor."""
    start = time.process_time()
    result = function()
    return result, time.process_time() - start


def line(case: Case, limit: float) -> str:
    """Measure one network both ways."""
    ours, first = timed(lambda: play(case))
    later = statistics.median(timed(lambda: play(case))[1] for _ in range(2))
    values = np.concatenate([part.scores for part in players(ours)])
    total, error = ours.settings["total"], ours.settings["error"] / 1.96
    theirs, std, seconds, whole = general(case, error * total, limit)
    spread = np.hypot(std, error * total)
    apart = np.abs(values - theirs)
    return (
        f"| {case.name} | {len(values)} | {error:.2%} | {first:.1f} s | {later:.2f} s | {'' if whole else '≈ '}"
        f"{seconds:.0f} s | {seconds / later:.0f} | {(apart / spread).max():.1f} | {apart.max() / total:.1%} |"
    )


def play(case: Case) -> pg.FeatureRanking:
    """Play the game as a ranking does by default."""
    return pg.rank_features(case.network, case.X, case.y, layout=case.layout, formula="game", end_to_end=False)


def players(ranking: pg.FeatureRanking) -> list[pg.FeatureRanking]:
    """Return the rankings that hold the players' values, branch after branch; of one branch the ranking itself."""
    return [ranking.components[name] for name in ("tabular", "image") if name in ranking.components] or [ranking]


def general(case: Case, error: float, limit: float) -> tuple[np.ndarray, np.ndarray, float, bool]:
    """Return values and standard errors of the general algorithm, its seconds, and whether they were all spent."""
    import sage

    loss = "cross entropy" if case.y.dtype.kind == "i" else "mse"
    imputer = sage.MarginalImputer(case.answer, case.seen)

    def explain(permutations: int) -> sage.Explanation:
        estimator = sage.PermutationEstimator(imputer, loss, random_state=0)
        y = case.y if loss == "cross entropy" else case.y.reshape(-1, 1)
        return estimator(
            case.seen, y, batch_size=BATCH, detect_convergence=False, n_permutations=permutations, bar=False
        )

    explain(BATCH)  # compiles
    few, seconds = timed(lambda: explain(2 * BATCH))
    batches = max(2, int(np.ceil(2 * (few.std.max() / error) ** 2)))
    affordable = max(2, int(limit / (seconds / 2)))
    found, spent = timed(lambda: explain(min(batches, affordable) * BATCH))
    needed = (found.std.max() / error) ** 2
    whole = batches <= affordable
    return found.values, found.std, spent * needed, whole


if __name__ == "__main__":
    main()
