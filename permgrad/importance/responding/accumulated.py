"""Accumulated local effects: what small steps of a column change, in rows that are there, added up."""

from __future__ import annotations

import numpy as np

from permgrad.importance.bootstrap import Bootstrap
from permgrad.importance.responding.answers import Answers, Question
from permgrad.importance.responding.grid import Grid, is_ordered
from permgrad.importance.responding.replicates import Curve, ends_of, shares_of
from permgrad.importance.responding.similarity import order_by_similarity


def in_order(answers: Answers, column: int, grid: Grid) -> Grid:
    """Return a grid whose levels can be stepped through: an order of their own, else by likeness in other columns."""
    own = answers.columns.iloc[:, column]
    if not grid.is_category or grid.is_date or is_ordered(own):
        return grid
    others = answers.columns.drop(columns=answers.columns.columns[column])
    return grid.ordered(order_by_similarity(grid.place, len(grid), others))


def local_steps(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Return rows, and the step between two values that each takes, numbered by the lower one.

    A number takes the step that it lies within, a level those from the one before and to the one behind it.
    """
    rows = np.flatnonzero(~np.isnan(grid.place))
    place, last = grid.place[rows], len(grid) - 2
    if last < 0:
        return rows[:0], rows[:0]
    if not grid.is_category or grid.is_date:
        return rows, np.clip(np.ceil(place).astype(int) - 1, 0, last)
    level = place.astype(int)
    up, down = level <= last, level > 0
    return np.concatenate([rows[up], rows[down]]), np.concatenate([level[up], level[down] - 1])


def questions_of(column: int, grid: Grid) -> list[Question]:
    """Return what is to be asked: each row at both ends of its steps."""
    rows, step = local_steps(grid)
    return [Question(rows, {column: grid.donors[step + end]}) for end in (1, 0)]


def accumulated(answers: Answers, grid: Grid, said: list[np.ndarray], bootstrap: Bootstrap) -> Curve:
    """Return the accumulated local effect of a column, centred: its mean over the rows is 0.

    Parameters
    ----------
    answers : Answers
    grid : Grid
        In the order in which it is stepped through.
    said : list of ndarray of shape (m, width)
        The answers to `questions_of`.
    bootstrap : Bootstrap
        Of the rows.

    References
    ----------
    Apley & Zhu, Visualizing the effects of predictor variables in black box supervised learning models, JRSS B 82
    (2020).
    """
    rows, step = local_steps(grid)
    weights = np.ones(len(answers)) if answers.weights is None else answers.weights
    jobs, n_steps, width = step, max(0, len(grid) - 1), answers.own.shape[1]
    counts = bootstrap.sums(rows, weights[rows], jobs, n_steps) if n_steps else np.zeros((0, bootstrap.n_bundles))
    shares = shares_of(grid, weights, bootstrap)
    drawn = np.vstack([np.ones(bootstrap.n_bundles), bootstrap.weights])  # the rows as they are, then the replicates
    share = drawn @ shares.T
    effects = np.zeros((len(drawn), len(grid), width))
    for k in range(width if n_steps else 0):
        change = (said[0][:, k] - said[1][:, k]) * weights[rows]
        sums = bootstrap.sums(rows, change, jobs, n_steps)
        total = drawn @ counts.T
        means = np.divide(drawn @ sums.T, total, out=np.full(total.shape, np.nan), where=total > 0)
        means[0] = np.nan_to_num(means[0])  # a step whose rows all weigh nothing
        means = np.where(np.isnan(means), means[0], means)  # none of its rows were drawn: as in the rows as they are
        effects[:, 1:, k] = np.cumsum(means, axis=1)
    effects -= np.einsum("rg,rgk->rk", share, effects)[:, None] / share.sum(axis=1)[:, None, None]
    return Curve(effects[0], *ends_of(effects, bootstrap), share[0] / weights.sum())
