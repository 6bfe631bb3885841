"""Ranking on a table larger than memory: as many rows are drawn as the intervals that are asked for take."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from permgrad.data.streamed import StreamedTable
from permgrad.errors import check_fitted
from permgrad.importance.budget import Budget
from permgrad.importance.game.play import MOST_ROWS as PLAYED

if TYPE_CHECKING:
    from permgrad.importance.ranking import FeatureRanking

FIRST_ROWS, MOST_ROWS = 1024, 2**16


def rank_enough_rows(estimator: Any, table: StreamedTable, budget: Budget, given: dict[str, Any]) -> FeatureRanking:
    """Rank on rows drawn at random, more and more of them.

    Rows are doubled, as often as the intervals' widths promise to need, until half the widest interval of a score is at
    most ``budget.tolerance`` of what the scores add up to; until there are `MOST_ROWS`, or in the game as many as it
    is played on; or until the time is over.

    Parameters
    ----------
    estimator : fitted, with ``rank_features``
    table : StreamedTable
    budget : Budget
        Begun.
    given : dict
        Further arguments of ``rank_features``.

    Returns
    -------
    FeatureRanking
        ``settings["drawn"]``: the ``rows`` it is of, ``of`` how many, the ``asked`` share, and the share ``reached``,
        None where a ranking has no intervals.
    """
    check_fitted(estimator)
    seed = estimator.random_state_ if given["random_state"] is None else given["random_state"]
    X, y = table.draw(MOST_ROWS, seed)
    rows = min(FIRST_ROWS, len(X))
    while True:
        step = budget.step(f"rows{rows}")
        ranking = estimator.rank_features(X[:rows], y[:rows], budget=step, **given)
        reached = widest_share(ranking)
        drawn = {"rows": rows, "of": len(table), "asked": budget.tolerance, "reached": reached}
        most = min(len(X), PLAYED) if ranking.settings.get("formula") == "game" else len(X)
        if rows >= most or reached is None or reached <= budget.tolerance or budget.is_spent:
            return replace(ranking, settings={**ranking.settings, "drawn": drawn})
        doublings = max(1, math.ceil(math.log2(min(64.0, (reached / budget.tolerance) ** 2))))
        rows = min(rows * 2**doublings, most)


def widest_share(ranking: FeatureRanking) -> float | None:
    """Return half the widest interval of a score as a share of what the scores add up to; None without intervals."""
    if ranking.low is None or ranking.high is None:
        return None
    total = abs(ranking.settings.get("total") or float(np.abs(ranking.scores).sum()))
    return float(np.max(ranking.high - ranking.low) / 2 / max(total, np.finfo(float).tiny))
