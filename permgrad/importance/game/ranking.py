"""The game's values as a ranking: scores that add up to what the network saves, with intervals."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from permgrad.backend import compiled, keras
from permgrad.images.layout import FeatureLayout
from permgrad.importance.bootstrap import interval, percentiles
from permgrad.importance.budget import Budget
from permgrad.importance.game._by_cells import work_by_cells
from permgrad.importance.game._tally import Tally
from permgrad.importance.game._views import ModelView, NetworkView, View, pairs_of
from permgrad.importance.game._windowed import work_of_steps
from permgrad.importance.game.finishing import unfinished_sentence
from permgrad.importance.game.play import DONORS, LEAST_ROUNDS, MOST_ROWS, Game
from permgrad.importance.network._inputs import Inputs
from permgrad.importance.network._target import Target
from permgrad.importance.network.branches import Branch, largest_tensor
from permgrad.importance.network.fusion_point import fusion_point
from permgrad.importance.network.opaque import Opaque
from permgrad.importance.permuting._checkpoint import Checkpoint, fingerprint
from permgrad.importance.permuting.opaque import identity
from permgrad.importance.permuting.permutation import positions_in
from permgrad.importance.ranking import FeatureRanking

QUICK = 2e10
"""Numbers in the branches' largest tensors, over all steps of all walks, up to which the game is played without being
asked for: a few minutes on two cores."""
LEAST_TOTAL = 0.05
"""Of the loss of the mean prediction: a network that saves less is not measured to a share of what it saves."""
CREDIBLE = 0.1
"""Up to which share the values may miss the total, donors' bias taken off, and still be brought to it."""
FORMAT = 3
"""Of what a checkpoint keeps of walks."""


def numbers_walked(data: Inputs, positions: Mapping[Branch, Sequence[np.ndarray]]) -> float:
    """Count the numbers that the fewest walks compute, as far as the branches' largest tensors tell.

    Of an image branch the share of it that windows or cells take; `positions` are each feature's in its flat rows.
    """
    walks = 2 * LEAST_ROUNDS * min(len(data), MOST_ROWS) * DONORS
    n_pairs = pairs_of(len(data) * DONORS)
    shares = {}
    for branch, of in positions.items():
        windows = work_of_steps(data.cut, branch, of, n_pairs)
        shares[branch] = min(windows, work_by_cells(data.cut, branch, of)) if windows < 1 else 1.0
    return walks * sum(len(of) * largest_tensor(branch.encoder) * shares[branch] for branch, of in positions.items())


def play(
    data: Inputs,
    target: Target,
    *,
    layout: FeatureLayout | None,
    columns_of: Mapping[str, np.ndarray],
    random_state: int,
    budget: Budget,
    verbose: bool,
) -> FeatureRanking:
    """Rank features, each of some columns, by their Shapley values in the game of (feature, branch).

    Returns
    -------
    FeatureRanking
        ``method="shapley"``. ``scores``: the sum of a feature's values over branches, in the loss's unit; they add up
        to ``settings["total"]``, the loss of the model's mean prediction less that of its predictions, on the rows
        that walked (``n_rows`` of ``rows_to_walk``: all, unless ``finished`` is false because time was over).
        ``class_scores``: the same over the rows of a class. ``components``: "first_in", what a feature
        saves on its own; and where there are several branches, each branch's values under the branch's name.
        ``branch_weights``: the sum of a branch's values as a share of the total; negative where the network would do
        better without it. Intervals are over rows, orders and donors. ``settings`` also has ``branch_intervals``,
        ``error`` (95 %, a share of the total: what more walks would take away), ``sum`` (of the scores),
        ``completeness`` (what the values added up to, as a share of the total, before the bias of few donors was taken
        off by it, see `Tally.missing`) and ``rounds`` (which all of the rows have had).

    Warns
    -----
    UserWarning
        If time was over before the walks were finished.

    References
    ----------
    Covert, Lundberg & Lee, Understanding Global Feature Contributions with Additive Importance Measures (NeurIPS
    2020): SAGE, by marginal replacement. Mitchell, Cooper, Frank & Holmes, JMLR 23 (2022): antithetic orders.
    """
    branches = list(data.cut.branches)
    positions = {b: [positions_in(data, b, columns, layout) for columns in columns_of.values()] for b in branches}
    view = NetworkView(data, target, positions, n_steps=len(target.y) * DONORS)
    work: dict[str, Any] = {}
    if budget.checkpoint is not None:
        work["columns"] = [[columns.tolist() for columns in of_branch] for of_branch in positions.values()]
        work |= {**fingerprint(data, target.y), **target.marks()}
    return _played(view, tuple(columns_of), model_outputs(data), random_state, budget, work, verbose)


def play_opaque(
    opaque: Opaque,
    columns_of: Mapping[str, np.ndarray],
    *,
    random_state: int,
    budget: Budget,
    verbose: bool,
) -> FeatureRanking:
    """Rank features of a model that cannot be cut by the same game, of one branch."""
    work = {} if budget.checkpoint is None else identity(opaque, columns_of)
    view = ModelView(opaque, list(columns_of.values()))
    ranking = _played(view, tuple(columns_of), opaque.outputs, random_state, budget, work, verbose)
    return replace(ranking, branch_weights=None)


def _played(
    view: View,
    features: tuple[str, ...],
    outputs: np.ndarray,
    random_state: int,
    budget: Budget,
    work: dict[str, Any],
    verbose: bool,
) -> FeatureRanking:
    """Play, and rank; `outputs` are the model's of all rows."""
    game = Game(view, random_state)
    least, saved = _saved(game.target, game.rows, outputs[game.rows])
    whole = [game.target.mean(values, game.rows) for values in (least, saved)]
    work = {"features": list(features), "random_state": random_state, "game": FORMAT, **work}
    measured_to = max(abs(whole[1]), LEAST_TOTAL * whole[0], np.finfo(float).tiny)
    game.run(Checkpoint(budget.checkpoint, work), budget, measured_to, verbose)
    game.first_in(budget)
    ranking = _ranking(game, features, saved)
    if not game.finished:
        warnings.warn(unfinished_sentence(ranking.settings) or "", stacklevel=7)
    return ranking


def model_outputs(data: Inputs) -> np.ndarray:
    """Return the model's outputs for all rows, (n_rows, ...)."""
    point = fusion_point(data.cut)
    finish = data.cut.once("finish", lambda: compiled(lambda *parts: point.finish(list(parts)), data.cut.model))
    blocks = []
    for block in data.blocks(2 * data.floats_per_row()):
        parts = [point.contribute(i, data.encode(branch, block)) for i, branch in enumerate(data.cut.branches)]
        blocks.append(np.asarray(keras.ops.convert_to_numpy(finish(*parts)), float))
    return np.concatenate(blocks)


def _saved(target: Target, rows: np.ndarray, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each row's loss of the model's mean prediction over these rows, and by how much its prediction's is less.

    Both have the shape (n_rows,).
    """
    weights = None if target.weights is None else target.weights[rows]
    mean = np.average(target.task.probabilities(outputs.reshape(len(rows), -1)), axis=0, weights=weights)
    least = target.task.prior_losses(target.y[rows], mean)
    return least, least - target.losses(rows, outputs)


def _ranking(game: Game, features: tuple[str, ...], saved: np.ndarray) -> FeatureRanking:
    """Make scores, intervals and branch weights of the walks; `saved` is what each row saves over the mean prediction.

    The total is that of the rows that walked, each as often as it did.
    """
    rounds = game.rounds_of_rows()
    total = float(np.average(saved, weights=rounds if game.weights is None else rounds * game.weights))
    plain = game.tally.means(game.bootstrap)
    completeness = plain.sum() / total if total else 1.0
    further = game.tally.missing(total)
    game.tally, game.first = game.tally.unbent(further), game.first.unbent(further)
    values, replicates = game.tally.means(game.bootstrap), game.tally.replicates(game.bootstrap)
    error, n = game.tally.error(game.sizes), len(features)
    left = values.sum() / total if total else 1.0
    factor = 1 / left if abs(left - 1) <= CREDIBLE else 1.0
    rng = np.random.default_rng([game.random_state, n, len(game.sizes)])
    noise = rng.standard_normal((len(replicates), error.size)) * np.where(np.isfinite(error), error, 0)
    names = game.view.branches
    shares = factor * values.sum(axis=0) / (total or 1.0)
    drawn = _shares_drawn(
        shares, factor * (replicates.sum(axis=1) + noise[:, n:] - values.sum(axis=0)) / (total or 1.0)
    )
    ends = percentiles(drawn)
    ranking = _part(game, game.tally, features, "shapley", factor, slice(None), noise[:, :n])
    parts = {"first_in": _part(game, game.first, features, "first_in", 1.0, slice(None))}
    if len(names) > 1:
        parts |= {name: _part(game, game.tally, features, name, factor, [b]) for b, name in enumerate(names)}
    return replace(
        ranking,
        components=parts,
        branch_weights=dict(zip(names, shares.tolist(), strict=True)),
        settings={
            **ranking.settings,
            "total": total,
            "branch_intervals": dict(zip(names, ends.T.tolist(), strict=True)),
            "error": float(1.96 * error[:n].max() / abs(total)) if total and np.isfinite(error).all() else None,
            "sum": float(ranking.scores.sum()),
            "completeness": float(completeness),
            "finished": game.finished,
            "rounds": int(game.tally.rounds.min()),
            "donors": DONORS,
            "n_rows": int((rounds > 0).sum()),
            "rows_to_walk": len(game.rows),
        },
    )


def _shares_drawn(shares: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """Return replicates of the branches' shares, given how far each branch's values, over the total, are off in them.

    A sample in which a branch saves more has a larger total too: a share moves by less than its branch does (to first
    order; divided by each replicate's own total, shares would have no variance where that comes near 0).
    """
    return shares + deviations - shares * deviations.sum(axis=1, keepdims=True)


def _part(
    game: Game,
    tally: Tally,
    features: tuple[str, ...],
    method: str,
    factor: float,
    branches: Any,
    noise: np.ndarray | float = 0.0,
) -> FeatureRanking:
    """Return the ranking by the sum of some branches' values."""
    classes = game.target.classes

    def of(values: np.ndarray) -> np.ndarray:
        return factor * values[..., branches].sum(axis=-1)

    scores = of(tally.means(game.bootstrap))
    replicates = of(tally.replicates(game.bootstrap)) + noise
    by_class = range(len(classes or ()))
    drawn = [of(tally.replicates(game.bootstrap, c)) for c in by_class]
    return FeatureRanking(
        features,
        scores,
        class_scores=np.stack([of(tally.means(game.bootstrap, c)) for c in by_class], axis=-1) if classes else None,
        classes=classes,
        method=method,
        **interval(scores, replicates),
        replicates=replicates.astype(np.float32),
        class_replicates=np.stack(drawn, axis=-1).astype(np.float32) if classes else None,
        settings={"loss": game.target.task.loss},
    )
