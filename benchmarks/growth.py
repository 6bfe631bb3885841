"""How time grows when rows, features, repeats or classes double: ratio = time of the double over time of the single."""

from __future__ import annotations

from collections.abc import Callable

import permgrad as pg
from benchmarks.measure import Peak, Row, first_and_later, mlp, table

SINGLE = {"rows": 2000, "features": 500, "repeats": 2, "classes": 10}


def _doubled(what: str) -> Callable[[], Row]:
    def row() -> Row:
        single, double = _seconds(**SINGLE)[0], _seconds(**{**SINGLE, what: 2 * SINGLE[what]})
        size = f"{SINGLE[what]:,} → {2 * SINGLE[what]:,} {what}"
        note = "'other' is the double" + ("; a plain loop takes 4 times as long" if what == "features" else "")
        return Row(size, single, other=double[0], memory=double[1], note=note)

    row.__name__ = f"double_{what}"
    return row


def _seconds(rows: int, features: int, repeats: int, classes: int) -> tuple[float, float]:
    model, (X, y) = mlp(features, 512, 128, classes), table(rows, features, classes)
    with Peak() as peak:
        _, _, later = first_and_later(lambda: pg.permutation_importance(model, X, y, n_repeats=repeats), 3)
    return later, peak.megabytes


ROWS = [_doubled(what) for what in SINGLE]
