"""Evidence for the fusion's defaults: how often each formula puts the features that matter first.

Networks are trained on tables whose relevant features are known, and each network is ranked by every combination
of branch weights (and what replaces a branch that is off) and scaling. The figure is the share of the k relevant
features among the k best, averaged over seeds: 1 is perfect. Puma's k = 2 (theta2 and theta3,
whose published permutation scores are forty times the next); the planted tables are generated here.

    python -m benchmarks.fusion [--seeds 5]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np

import permgrad as pg

FORMULAS = {
    "published (softmax, zero, min-max)": ("softmax", "zero", "min-max"),
    "shapley, zero, min-max": ("shapley", "zero", "min-max"),
    "shapley, mean, min-max": ("shapley", "mean", "min-max"),
    "shapley, zero, share": ("shapley", "zero", "share"),
    "default (shapley, mean, share)": ("shapley", "mean", "share"),
}


def additive(seed: int) -> tuple[pg.Table, set[str]]:
    """Four of 20 uniform features add up; two classes."""
    rng = np.random.default_rng(seed)
    X = rng.random((1500, 20))
    z = 3 * X[:, 2] + 3 * X[:, 7] - 3 * X[:, 11] - 3 * X[:, 16]
    return pg.Table(X, np.where(z + rng.normal(scale=0.3, size=1500) > 0, "yes", "no")), {"x2", "x7", "x11", "x16"}


def product(seed: int) -> tuple[pg.Table, set[str]]:
    """Two of 12 uniform features interact, a third adds; regression."""
    rng = np.random.default_rng(seed)
    X = rng.random((1500, 12))
    y = 6 * (X[:, 1] - 0.5) * (X[:, 5] - 0.5) + X[:, 9]
    return pg.Table(X, y + rng.normal(scale=0.05, size=1500)), {"x1", "x5", "x9"}


def puma(seed: int) -> tuple[pg.Table, set[str]]:
    return pg.load_dataset("puma8nh"), {"theta2", "theta3"}


def recalls(problem: str, seed: int) -> Iterator[tuple[str, float]]:
    table, relevant = {"additive": additive, "product": product, "puma8nh": puma}[problem](seed)
    train, val, test = table.split()
    kind = pg.HybridClassifier if table.task == "classification" else pg.HybridRegressor
    model = kind(seed=seed).fit(train.X, train.y, validation_data=(val.X, val.y))
    for name, (weights, baseline, scaling) in FORMULAS.items():
        ranking = model.rank_features(test.X, test.y, weights=weights, baseline=baseline, scaling=scaling)
        yield name, len(relevant & set(ranking.top(len(relevant)))) / len(relevant)
    for name, part in ranking.components.items():
        yield f"{name} alone", len(relevant & set(part.top(len(relevant)))) / len(relevant)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    seeds = parser.parse_args().seeds
    problems = ("puma8nh", "additive", "product")
    found: dict[str, dict[str, list[float]]] = {}
    for problem in problems:
        for seed in range(seeds):
            for name, recall in recalls(problem, seed):
                found.setdefault(name, {}).setdefault(problem, []).append(recall)
    print(f"| formula | {' | '.join(problems)} |")
    print(f"| --- |{' --- |' * len(problems)}")
    for name, by_problem in found.items():
        print(f"| {name} | {' | '.join(f'{np.mean(by_problem[problem]):.2f}' for problem in problems)} |")


if __name__ == "__main__":
    main()
