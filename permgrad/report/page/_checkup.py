"""The table's check-up on the page: findings, and a row for each column with its histogram as an SVG's bars."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from permgrad.data.checkup import TableCheck
from permgrad.report.page._tables import number

BAR, HEIGHT = 5, 20
"""Width of a histogram's bar and height of the highest, in the SVG's units."""
MOST_LETTERS = 24
"""Of a value."""
MAX_COLUMNS = 200
"""That the page shows."""


@dataclass(frozen=True)
class Row:
    """A column's row: its cells as text, and its histogram's bars as (x, y, width, height)."""

    name: str
    cells: tuple[tuple[str, bool], ...]
    bars: tuple[tuple[int, float, int, float], ...]


def checkup_values(check: TableCheck, notes: list[str]) -> dict[str, Any]:
    """Return the template's values of the check-up.

    Parameters
    ----------
    check : TableCheck
    notes : list of str
        What was said while the table was read and trained on.
    """
    columns: list[dict[str, Any]] = check.table.head(MAX_COLUMNS).to_dict("records")  # type: ignore[assignment]
    return {
        "findings": check.findings,
        "notes": notes,
        "rows": [_row(column, check) for column in columns],
        "score": check.score,
        "left_out": max(0, len(check.table) - MAX_COLUMNS),
        "height": HEIGHT,
    }


def _row(column: dict[str, Any], check: TableCheck) -> Row:
    """Return a column's row, given its row of the check-up's table."""
    cells = (
        (column["kind"], False),
        (number(column["missing"]), True),
        (number(column["distinct"]), True),
        (f"{_cut(column['low'])} to {_cut(column['high'])}" if column["low"] else "–", False),
        ("–" if math.isnan(column["alone"]) else f"{column['alone']:.2f}".replace("-", "−"), True),
    )
    return Row(column["column"], cells, bars(check.histograms.get(column["column"], ())))


def _cut(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 1]}…"


def bars(counts: tuple[int, ...]) -> tuple[tuple[int, float, int, float], ...]:
    """Return each bin's bar as (x, y, width, height); an empty bin has none."""
    most = max(counts, default=0)
    return tuple(
        (i * BAR, round(HEIGHT - height, 2), BAR - 1, round(height, 2))
        for i, count in enumerate(counts)
        if count
        for height in [max(1.0, HEIGHT * count / most)]
    )
