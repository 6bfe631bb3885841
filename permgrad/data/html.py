"""What a notebook shows of a result: a line and a small table, all text escaped, no script."""

from __future__ import annotations

import html
from collections.abc import Sequence

import pandas as pd

MOST_ROWS = 20


def html_table(heading: str, frame: pd.DataFrame, *, most: int = MOST_ROWS, notes: Sequence[str] = ()) -> str:
    """Return a heading, the first rows of a table, and lines below it, as HTML."""
    shown = frame.head(most).to_html(index=False, escape=True, border=0, na_rep="", float_format="{:.4g}".format)
    left = len(frame) - most
    more = [f"... and {left:,} more"] if left > 0 else []
    below = "".join(f"<p>{html.escape(line)}</p>" for line in [*more, *notes])
    return f"<div><p>{html.escape(heading)}</p>{shown}{below}</div>"
