"""A table as Markdown."""

from __future__ import annotations

from typing import Any

import pandas as pd


def markdown(table: pd.DataFrame, digits: int = 4) -> str:
    """Return `table` in Markdown, floats with so many digits, what is missing as an empty cell."""
    rows = [[_cell(value, digits) for value in row] for row in table.itertuples(index=False)]
    lines = [list(map(str, table.columns)), ["---"] * table.shape[1], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any, digits: int) -> str:
    if pd.isna(value):
        return ""
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value).replace("|", r"\|")
