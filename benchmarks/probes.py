"""Does a score call noise important? Tables with columns of pure noise beside their own, the default network on both.

    python -m benchmarks.probes --table heloc puma8nh --seeds 3

Each table gets shuffled copies of its own columns (probes), before it is split. What is printed, for each table and
seed: the probes' ranks by the game's score, by the fused score and by last in (permutation through all branches);
how many of their 95 % intervals lie above 0, and how many exclude 0 at all.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np

import permgrad as pg
from permgrad.data.probes import probes_among

PROBES = 4
MOST_ROWS = 6000


def main() -> None:
    """Print one line for each table, seed and score, and the shares over all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", nargs="+", default=["heloc", "breast_cancer", "dengue", "puma8nh"])
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    counts: dict[str, list[np.ndarray]] = {}
    print("| table | seed | score | probes' ranks | above 0 | exclude 0 | in the first quarter |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in arguments.table:
        for seed in range(arguments.seeds):
            for score, ranking in rankings(name, seed).items():
                line, of_probes = judge(ranking)
                counts.setdefault(score, []).append(of_probes)
                print(f"| {name} | {seed} | {score} | {line} |", flush=True)
    for score, each in counts.items():
        n, above, apart, early = np.sum(each, axis=0)
        print(f"{score}: of {n} probes {above} above 0, {apart} exclude 0, {early} in the first quarter")


def rankings(name: str, seed: int) -> dict[str, pg.FeatureRanking]:
    """Train the default network on a table with probes, and rank by each score."""
    train, validation, test = _with_probes(pg.load_dataset(name), seed).split(random_state=seed)
    kind = pg.HybridClassifier if train.task == "classification" else pg.HybridRegressor
    model = kind(random_state=seed).fit(train.X, train.y, validation_data=(validation.X, validation.y))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        game = model.rank_features(test.X, test.y, formula="game", end_to_end=True)
        fused = model.rank_features(test.X, test.y, formula="fused", end_to_end=False)
    return {"game": game, "last in": game.components["end_to_end"], "fused": fused}


def _with_probes(table: pg.Table, seed: int) -> pg.Table:
    """Return a part of the table with probes."""
    rows = np.random.default_rng([seed, 1]).permutation(len(table))[:MOST_ROWS]
    return table.take(rows).with_probes(PROBES, random_state=seed)


def judge(ranking: pg.FeatureRanking) -> tuple[str, np.ndarray]:
    """Return what becomes of the probes as text, and as counts: probes, above 0, exclude 0, in the first quarter."""
    probe = np.isin(ranking.features, probes_among(ranking.features))
    ranks = 1 + np.flatnonzero(probe[ranking.order])
    low, high = ranking.low[probe], ranking.high[probe]  # type: ignore[index]
    counts = np.array(
        [PROBES, (low > 0).sum(), ((low > 0) | (high < 0)).sum(), (ranks <= len(probe) / 4).sum()], dtype=int
    )
    listed = f"{', '.join(map(str, ranks))} of {len(probe)}"
    return f"{listed} | {counts[1]} | {counts[2]} | {counts[3]}", counts


if __name__ == "__main__":
    main()
