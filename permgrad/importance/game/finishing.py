"""What is said of the sum of a game's scores, and of walks that did not finish."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ADDED_UP = 0.005
"""Share of the total that scores may miss it by, and still are said to add up to it."""


def adds_up(settings: Mapping[str, Any]) -> bool:
    """Tell whether scores add up to ``settings["total"]``; where their sum is not known, they were made to."""
    total, found = settings.get("total"), settings.get("sum")
    return total is not None and (found is None or abs(found - total) <= ADDED_UP * abs(total))


def sum_sentence(settings: Mapping[str, Any]) -> str | None:
    """Say what the scores add up to, None where they are of no game."""
    total = settings.get("total")
    if total is None:
        return None
    saved = f"the loss that the network saves over its mean prediction, {total:.4g}"
    if adds_up(settings):
        return f"scores add up to {saved}"
    return (
        f"scores add up to {settings['sum']:.4g}, not to {saved}: what so sure a model would predict on average is not"
        " to be told of so few rows"
    )


def unfinished_sentence(settings: Mapping[str, Any]) -> str | None:
    """Say how far the walks came, None where they were finished."""
    if settings.get("finished", True):
        return None
    walked, of, error = settings["n_rows"], settings["rows_to_walk"], settings.get("error")
    rows = f"all {of:,} rows" if walked == of else f"{walked:,} of {of:,} rows"
    beside = "" if walked == of else ", beside what so few rows leave open"
    off = "" if error is None else f", with a sampling error of ±{error:.1%} of the total{beside}"
    return (
        f"the time limit ended the ranking before it was finished: scores and branch weights are of {rows}{off};"
        " give more time, or go on from a checkpoint"
    )
