"""Probes: shuffled copies of a table's columns, for a ranking to show what a column gets for nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from permgrad.errors import PermGradError, listing

FIRST, FURTHER = "probe of {}", "probe {} of {}"
"""Names of a column's first probe, and of the next ones."""
NOTE = "probes"
"""Where a table's notes say how its probes were drawn, and how they are called."""


def shuffled_copies(X: pd.DataFrame, n_probes: int, random_state: int) -> dict[str, tuple[str, pd.Series]]:
    """Draw columns at random, each once before one is drawn again, and shuffle each over all rows.

    Returns
    -------
    dict of str to (str, Series)
        Probe → the column that it is a copy of, and its values: those of the column, of its dtype, missing ones too.

    Raises
    ------
    PermGradError
        If `n_probes` is less than 1, or a column is called like a probe.
    """
    if n_probes < 1:
        raise PermGradError(f"expected at least one probe, got n_probes={n_probes}")
    rng = np.random.default_rng([random_state, n_probes, len(X)])
    copies: dict[str, tuple[str, pd.Series]] = {}
    while len(copies) < n_probes:
        drawn = rng.permutation(X.shape[1])[: n_probes - len(copies)]
        turn = len(copies) // X.shape[1] + 1
        for column in map(str, X.columns[drawn]):
            name = FIRST.format(column) if turn == 1 else FURTHER.format(turn, column)
            copies[name] = (column, X[column].iloc[rng.permutation(len(X))].reset_index(drop=True))
    taken = [name for name in copies if name in X.columns]
    if taken:
        raise PermGradError(f"the table already has probes, or columns named like them: {listing(taken)}; rename them")
    return copies


def probes_among(features: Iterable[str]) -> list[str]:
    """List the features that are probes by their names: "probe of age" beside "age"."""
    names = list(features)
    known = set(names)
    return [name for name in names if _column(name) in known]


def _column(name: str) -> str | None:
    """Return the column that a probe of this name is a copy of; None where it is no probe's name."""
    head, _, column = name.partition(" of ")
    number = head.removeprefix("probe").strip()
    return column if head.startswith("probe") and (not number or number.isdigit()) and column else None


def probe_note(n_probes: int, random_state: int, names: Iterable[str]) -> dict[str, Any]:
    """Return what a table notes down of its probes: enough to draw them again."""
    return {"n_probes": n_probes, "random_state": random_state, "names": list(names)}
