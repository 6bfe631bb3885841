"""Do intervals hold what they say? How often the 95 % interval of a test sample covers the population's value.

    python -m benchmarks.coverage --simulations 150

Of a fixed network: scores of the game, last in, and branch weights. Each design is a network of two branches with
random weights and a way to draw rows: independent normal columns and a value with noise; correlated ones (Toeplitz,
0.8); two classes, columns with heavy tails; three classes, one of them rarer, of three networks. The population's
value is the mean over 48 samples of 4,096 rows.

    python -m benchmarks.coverage --design recipe

Of a recipe: a linear model, fitted five times on resampled splits of 250 rows (`rank_recipe`); the recipe's value is
the mean over 1,000 fits, each on rows of its own.

    python -m benchmarks.coverage --design groups --simulations 300

Of few groups of rows: a fixed model predicts x0, the target is x0 times the group's own slope, 1 on average, and noise.
So x0 saves 1, and 2 as the last to be seen. There are 200 rows, in groups of one size, or of very different ones.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.linear_model import LinearRegression

import permgrad as pg
from permgrad.backend import keras
from permgrad.evaluation.recipe import train_once
from permgrad.importance.game import play

layers = keras.layers
ROWS, COLUMNS, LARGE, SAMPLES = 300, 4, 4096, 48
Draw = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]


def main() -> None:
    """Print one line for each design and kind of number."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=150)
    parser.add_argument("--start", type=int, default=0, help="seed of the first sample of a fixed network's rows")
    known = [*DESIGNS, "recipe", "groups"]
    parser.add_argument("--design", nargs="+", default=known, choices=known)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    play.BLOCKS = 4  # fewer, larger batches: so small a network waits for Python
    print("| design | number | covered, of 100 |", "| --- | --- | --- |", sep="\n")
    for name in arguments.design:
        if name == "groups":
            for n_groups, even in [(n, even) for even in (True, False) for n in (2, 3, 5, 10, 20, 50)]:
                covered = 100 * groups_hits(arguments.simulations, n_groups, even=even).mean(axis=0)
                sizes = "of one size" if even else "of different sizes"
                for kind, share in zip(("score", "last in"), covered, strict=True):
                    print(f"| {n_groups} groups {sizes} | {kind} | {share:.1f} |", flush=True)
            continue
        if name == "recipe":
            hits_of_recipe = recipe_hits(arguments.simulations)
            print(f"| recipe, five linear models | score | {100 * hits_of_recipe.mean():.1f} |", flush=True)
            continue
        model, draw = DESIGNS[name]()
        large = [numbers(ranked(model, *draw(np.random.default_rng([s, 1]), LARGE), s))[0] for s in range(SAMPLES)]
        truth = {kind: np.mean([of[kind] for of in large], axis=0) for kind in large[0]}
        hits: dict[str, list[np.ndarray]] = {kind: [] for kind in truth}
        for s in range(arguments.start, arguments.start + arguments.simulations):
            _, ends = numbers(ranked(model, *draw(np.random.default_rng([s, 2]), ROWS), s))
            for kind, (low, high) in ends.items():
                hits[kind].append((low <= truth[kind]) & (truth[kind] <= high))
        for kind, each in hits.items():
            print(f"| {name} | {kind} | {100 * np.mean(each):.1f} |", flush=True)


RECIPE_ROWS, TRAININGS, GROUPED_ROWS = 250, 5, 200
BUDGET = pg.Budget(tolerance=0.05)


def recipe_hits(simulations: int, population: int = 1000) -> np.ndarray:
    """Say which intervals of `rank_recipe` cover the recipe's own mean: (simulations, columns), bool."""
    alone = []
    for s in range(population):
        training = train_once(LinearRegression(), recipe_table(s, 1), s)
        X, y = training.test.X, training.test.y
        alone.append(pg.rank_features(training.estimator, X, y, formula="game", budget=BUDGET).scores)
    truth, hits = np.mean(alone, axis=0), []
    for s in range(simulations):
        table = recipe_table(s, 2)
        ranking = pg.rank_recipe(LinearRegression(), table, trainings=TRAININGS, formula="game", budget=BUDGET)
        hits.append((ranking.low <= truth) & (truth <= ranking.high))  # type: ignore[operator]
    return np.array(hits)


class First:
    """A fixed model: it predicts the first column."""

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the column, (n_rows,)."""
        return X[:, 0]


def groups_hits(simulations: int, n_groups: int, *, even: bool) -> np.ndarray:
    """Say which intervals of few groups of rows cover the truth, of the game and of last in: (simulations, 2), bool."""
    hits = []
    for s in range(simulations):
        rng = np.random.default_rng([s, n_groups])
        sizes = np.full(n_groups, GROUPED_ROWS // n_groups)
        if not even:
            sizes = np.maximum(3, rng.multinomial(GROUPED_ROWS, rng.dirichlet(np.full(n_groups, 2.0))))
        groups = np.repeat(np.arange(n_groups), sizes)
        slopes = rng.normal(1, 1, n_groups)
        X = rng.normal(size=(len(groups), 2))
        y = slopes[groups] * X[:, 0] + rng.normal(size=len(groups))
        known: Any = {"row_groups": groups, "n_repeats": 1, "random_state": s, "budget": pg.Budget(tolerance=0.1)}
        ranking = pg.rank_features(First(), X, y, **known)
        ends = [(part.low[0], part.high[0]) for part in (ranking, ranking.components["permutation"])]  # type: ignore[index]
        hits.append([low <= truth <= high for (low, high), truth in zip(ends, (1, 2), strict=True)])
    return np.array(hits)


def recipe_table(seed: int, part: int) -> pg.Table:
    """Draw a table: two columns that go together, one alone, one of noise; half of the target is noise."""
    rng = np.random.default_rng([seed, part, 3])
    X = rng.normal(size=(RECIPE_ROWS, 4))
    X[:, 1] += X[:, 0]
    return pg.Table(X, X[:, 0] + 0.5 * X[:, 2] + 1.1 * rng.normal(size=RECIPE_ROWS), task="regression")


def ranked(model: keras.Model, X: np.ndarray, y: np.ndarray, random_state: int) -> pg.FeatureRanking:
    """Play the game, with last in beside it."""
    layout = pg.FeatureLayout(
        tuple(f"x{i}" for i in range(COLUMNS)),
        np.zeros(COLUMNS, int),
        np.arange(COLUMNS),
        (1, COLUMNS),
        np.zeros(COLUMNS),
        np.ones(COLUMNS),
        "hand",
    )
    budget = pg.Budget(tolerance=0.02)
    return pg.rank_features(
        model, X, y, layout=layout, formula="game", end_to_end=True, random_state=random_state, budget=budget
    )


def numbers(ranking: pg.FeatureRanking) -> tuple[dict[str, np.ndarray], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Return values and intervals of what is judged: columns that the network ignores have no interval to judge."""
    last, used = ranking.components["end_to_end"], ranking.scores != 0
    weights = np.array(list((ranking.branch_weights or {}).values()))
    ends = np.array(list(ranking.settings["branch_intervals"].values()))
    values = {"score": ranking.scores[used], "last in": last.scores[used], "branch weight": weights}
    intervals = {
        "score": (ranking.low[used], ranking.high[used]),  # type: ignore[index]
        "last in": (last.low[used], last.high[used]),  # type: ignore[index]
        "branch weight": (ends[:, 0], ends[:, 1]),
    }
    return values, intervals


def network(outputs: int, seed: int) -> keras.Model:
    """Build a small network of two branches with random weights, large enough to tell rows apart."""
    x = keras.Input((COLUMNS,))
    table = layers.Dense(8, "tanh")(x)
    image = layers.Dense(8, "tanh")(layers.Flatten()(layers.Reshape((1, COLUMNS, 1))(x)))
    end = layers.Dense(outputs, "softmax" if outputs > 1 else None)
    model = keras.Model(x, end(layers.Concatenate()([table, image])))
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(size=weight.shape) * 0.7 for weight in model.get_weights()])
    return model


def _of_network(model: keras.Model, draw_rows: Callable[[np.random.Generator, int], np.ndarray]) -> Draw:
    """Draw targets from what the network says: its classes by their probabilities, or its value and noise."""

    def draw(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        X = draw_rows(rng, n).astype(np.float32)
        said = keras.ops.convert_to_numpy(model(X, training=False)).astype(float)
        if said.shape[1] == 1:
            return X, said[:, 0] + rng.normal(size=n)
        return X, (rng.random((n, 1)) > np.cumsum(said, axis=1)[:, :-1]).sum(axis=1)

    return draw


def _normal(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.normal(size=(n, COLUMNS))


def _toeplitz(rng: np.random.Generator, n: int) -> np.ndarray:
    distance = np.abs(np.subtract.outer(np.arange(COLUMNS), np.arange(COLUMNS)))
    return rng.multivariate_normal(np.zeros(COLUMNS), 0.8**distance, n)


def _heavy(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.standard_t(4, (n, COLUMNS))


def _design(outputs: int, seed: int, rows: Callable[[np.random.Generator, int], np.ndarray], shift: float = 0.0) -> Any:
    def build() -> tuple[keras.Model, Draw]:
        model = network(outputs, seed)
        if shift:
            bias = model.layers[-1].bias
            bias.assign(bias - shift * np.eye(outputs)[-1])
        return model, _of_network(model, rows)

    return build


DESIGNS = {
    "values, independent": _design(1, 0, _normal),
    "values, Toeplitz 0.8": _design(1, 1, _toeplitz),
    "two classes, heavy tails": _design(2, 2, _heavy),
    "three classes, one rare": _design(3, 3, _normal, 2.0),
    "the same, another network": _design(3, 5, _normal, 2.0),
    "the same, a third network": _design(3, 8, _normal, 2.0),
}

if __name__ == "__main__":
    main()
