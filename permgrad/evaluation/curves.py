"""Deletion and insertion curves: the network's loss as features are taken from it, in a ranking's order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from permgrad.errors import PermGradError, listing
from permgrad.evaluation._replacing import NEIGHBOURS, Replace, replacers
from permgrad.evaluation._tables import evaluation_table
from permgrad.evaluation.baselines import sample
from permgrad.evaluation.explained import ExplainedModel
from permgrad.evaluation.time_limit import TimeLimit
from permgrad.importance.ranking import FeatureRanking
from permgrad.metrics.paired import compare_losses, mean_and_error

REPLACEMENTS = ("mean", "marginal", "conditional")
MEMORY = 64 * 2**20
"""Bytes of rows in one call of the network."""
N_POINTS = 21
CURVE_ROWS = 1000
N_DRAWS = 3
RANDOM_ORDERS = 20
"""Orders that make the band of chance, each measured at few points with one draw."""
RANDOM_POINTS = 6
BAND = (0.05, 0.95)

State = frozenset[int]
"""Features, by number, that are replaced."""


def deletion_curves(
    explained: ExplainedModel,
    rankings: Mapping[str, FeatureRanking],
    time_limit: TimeLimit,
    *,
    replacements: Sequence[str] = REPLACEMENTS,
    n_draws: int = N_DRAWS,
    n_points: int = N_POINTS,
    max_rows: int = CURVE_ROWS,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Replace features in each ranking's order, on test rows, and measure the trained network's loss.

    Parameters
    ----------
    explained : ExplainedModel
    rankings : mapping of str to FeatureRanking
        Over the table's columns, the one under test first; not made on these rows. Columns that the network does not
        see are passed over.
    time_limit : TimeLimit
    replacements : sequence of {"mean", "marginal", "conditional"}
        What stands in a feature's place, see `replacers`.
    n_draws : int
        Of random replacements, from 1 to 5; losses and scores are averaged over them. All rankings get the same draws.
    n_points : int
        Numbers of replaced features at most, evenly from 0 to all.
    max_rows : int
        Test rows used at most.

    Returns
    -------
    curves : DataFrame
        ``ranking``, ``replacement``, ``curve`` ("deletion", "insertion"), ``order`` ("most", "least" relevant
        first), ``k`` features deleted or inserted, their ``share``, ``loss`` (mean over rows: cross-entropy, or
        squared error over the variance of the training target) and ``score`` (accuracy or R²). Inserting the
        most relevant first is deleting the least relevant first, read backwards: nothing is computed twice.
    areas : DataFrame
        For each ranking and replacement, areas under the loss over shares from 0 to 1: ``deletion_most``,
        ``deletion_least``; their ``difference``, the first less the second, larger for a better ranking
        and 0 for a random one; its ``std_error`` over rows; ``normalised``: divided by the loss with all less
        that with no feature replaced, so that 1 is the most for losses that only grow (NaN if it did not grow).

    References
    ----------
    Samek et al., Evaluating the visualization of what a deep neural network has learned (2017); Petsiuk, Das &
    Saenko, RISE (2018). Conditional replacement: Hooker & Mentch (2021), on why impossible rows mislead.
    """
    unknown = set(replacements) - set(REPLACEMENTS)
    if unknown or not 1 <= n_draws <= NEIGHBOURS or n_points < 2:
        raise PermGradError(
            f"expected replacements among {listing(REPLACEMENTS)}, 1 to {NEIGHBOURS} draws and at least 2 points,"
            f" got {listing(replacements)}, {n_draws} and {n_points}"
        )
    chosen = sample(len(explained.test), max_rows, [explained.random_state, 7])
    rows, target = explained.test_rows[chosen], explained.test_target[chosen]
    ways = replacers(explained, rows, n_draws)
    n_features = len(explained.groups)
    counts = np.unique(np.round(np.linspace(0, n_features, n_points)).astype(int))
    known = explained.test.facts.take(chosen)
    weights = None if known.weights is None else known.weights.to_numpy()
    measured = {name: _Measured(explained, target, ways[name], weights) for name in replacements}
    curves: list[dict[str, Any]] = []
    areas: list[dict[str, Any]] = []
    tested: dict[str, np.ndarray] = {}
    steps = [(replacement, name) for replacement in replacements for name in rankings]
    for replacement, name in time_limit.steps("curves", steps, ", ".join):
        key = {"ranking": name, "replacement": replacement}
        order = _order_of_used(explained, rankings[name])
        states = {
            "most": [frozenset(order[:k]) for k in counts],
            "least": [frozenset(order[n_features - k :]) for k in counts],
        }
        measured[replacement].measure([*states["most"], *states["least"]])
        deletions = {which: measured[replacement].of(of_order) for which, of_order in states.items()}
        curves += [{**key, **row} for row in _curve_rows(counts, deletions, weights)]
        most, least = deletions["most"][0], deletions["least"][0]
        of_rows = _differences(counts / n_features, most, least)
        # Of the ranking under test, which comes first.
        own = tested.setdefault(replacement, of_rows) if name == next(iter(rankings)) else tested.get(replacement)
        better_p = np.nan if own is None else 1.0
        if own is not None and own is not of_rows:
            better_p = compare_losses(own, of_rows, weights, known.codes()).p
        counting = (weights, known.codes())
        areas.append({**key, **_areas(counts / n_features, most, least, *counting), "better_p": better_p})
    chance = [
        {"ranking": "random", "replacement": replacement, **_by_chance(explained, rows, target, replacement, weights)}
        for replacement in time_limit.steps("curves", replacements, "random orders, {}".format)
    ]
    return evaluation_table("curves", curves), evaluation_table("areas", areas), evaluation_table("chance", chance)


def _by_chance(
    explained: ExplainedModel, rows: np.ndarray, target: np.ndarray, replacement: str, weights: np.ndarray | None
) -> dict[str, float]:
    """Measure random orders: the band in which a ranking is no better than chance."""
    n = len(explained.groups)
    counts = np.unique(np.round(np.linspace(0, n, RANDOM_POINTS)).astype(int))
    measured = _Measured(explained, target, replacers(explained, rows, 1)[replacement], weights)
    rng = np.random.default_rng([explained.random_state, 10])
    differences = []
    for _ in range(RANDOM_ORDERS):
        order = rng.permutation(n).tolist()
        most, least = [frozenset(order[:k]) for k in counts], [frozenset(order[n - k :]) for k in counts]
        measured.measure([*most, *least])
        losses = [measured.of(states)[0] for states in (most, least)]
        differences.append(float(np.average(_differences(counts / n, *losses), weights=weights)))
    low, high = np.quantile(differences, BAND)
    return {"mean": float(np.mean(differences)), "low": float(low), "high": float(high)}


def _order_of_used(explained: ExplainedModel, ranking: FeatureRanking) -> list[int]:
    """Return the numbers, within `ExplainedModel.groups`, of the features that the network sees, best first."""
    number = {name: i for i, name in enumerate(explained.groups)}
    names = [ranking.features[i] for i in ranking.order]
    return [number[name] for name in names if name in number]


class _Measured:
    """Losses and scores by state, each computed once, for one kind of replacement."""

    def __init__(
        self, explained: ExplainedModel, target: np.ndarray, replace: Replace, weights: np.ndarray | None
    ) -> None:
        self.explained, self.target, self.replace, self.weights = explained, target, replace, weights
        self.columns = list(explained.groups.values())
        self._known: dict[State, tuple[np.ndarray, float]] = {}

    def of(self, states: list[State]) -> tuple[np.ndarray, np.ndarray]:
        """Return losses of shape (n_states, n_rows) and scores of shape (n_states,)."""
        losses, scores = zip(*(self._known[state] for state in states), strict=True)
        return np.stack(losses), np.array(scores)

    def measure(self, states: list[State]) -> None:
        """Compute what is not known yet, many states in each call of the network."""
        waiting: list[tuple[State, np.ndarray]] = []
        for state in dict.fromkeys(states):
            if state in self._known:
                continue
            at = np.concatenate([self.columns[i] for i in sorted(state)]) if state else np.array([], int)
            waiting.append((state, self.replace(at)))
            if sum(rows.nbytes for _, rows in waiting) >= MEMORY:
                self._predict(waiting)
                waiting = []
        self._predict(waiting)

    def _predict(self, waiting: list[tuple[State, np.ndarray]]) -> None:
        if not waiting:
            return
        width = waiting[0][1].shape[-1]
        output = self.explained.predict(np.concatenate([rows.reshape(-1, width) for _, rows in waiting]))
        start = 0
        for state, rows in waiting:
            n_draws, n_rows, _ = rows.shape
            part = output[start : start + n_draws * n_rows].reshape(n_draws, n_rows, -1)
            losses = np.stack([self.explained.losses(self.target, draw) for draw in part]).mean(axis=0)
            self._known[state] = losses, self._score(part, losses)
            start += n_draws * n_rows

    def _score(self, output: np.ndarray, losses: np.ndarray) -> float:
        if self.explained.classification:
            return float(np.average((output.argmax(axis=-1) == self.target).mean(axis=0), weights=self.weights))
        mean = np.average(self.target, weights=self.weights)
        spread = float(np.average((self.target - mean) ** 2, weights=self.weights))
        ratio = np.var(self.explained.train_target, dtype=float) / max(spread, 1e-30)
        return float(1 - np.average(losses, weights=self.weights) * ratio)


def _curve_rows(
    counts: np.ndarray, deletions: dict[str, tuple[np.ndarray, np.ndarray]], weights: np.ndarray | None
) -> list[dict[str, Any]]:
    """Return the rows of the four curves from losses and scores by order; insertion is deletion read backwards."""
    n = int(counts[-1])
    rows = []
    for which, other in (("most", "least"), ("least", "most")):
        for curve, order, step in (("deletion", which, 1), ("insertion", other, -1)):
            losses, scores = (values[::step] for values in deletions[which])
            for k, loss, score in zip(counts[::step], np.average(losses, axis=1, weights=weights), scores, strict=True):
                changed = int(k) if curve == "deletion" else n - int(k)
                point = {"k": changed, "share": changed / n, "loss": float(loss), "score": float(score)}
                rows.append({"curve": curve, "order": order, **point})
    return rows


def _areas(
    shares: np.ndarray, most: np.ndarray, least: np.ndarray, weights: np.ndarray | None, groups: np.ndarray | None
) -> dict[str, float]:
    """Return the areas under curves of shape (n_points, n_rows), averaged over rows as they weigh."""
    of_rows = [np.trapezoid(losses, shares, axis=0) for losses in (most, least)]
    difference, error, n = mean_and_error(_differences(shares, most, least), weights, groups)
    growth = float(np.average(most[-1] - most[0], weights=weights))
    return {
        "deletion_most": float(np.average(of_rows[0], weights=weights)),
        "deletion_least": float(np.average(of_rows[1], weights=weights)),
        "difference": difference,
        "std_error": error if n > 1 else 0.0,
        "normalised": difference / growth if growth > 0 else np.nan,
    }


def _differences(shares: np.ndarray, most: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Return each row's difference of the areas under two curves, (n_rows,)."""
    return np.trapezoid(most - least, shares, axis=0)
