"""What a notebook shows of explained rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

import permgrad as pg


def test_html_of_one_row_and_of_several():
    names = ("<script>", *(f"c{i}" for i in range(12)))
    values = np.arange(26.0).reshape(2, 13)[:, ::-1]
    found = pg.RowExplanations(names, values, values * 0, np.zeros(2), values.sum(axis=1), explained=("<b>", "no"))
    shown = found._repr_html_()
    assert "&lt;script&gt;" in shown
    assert "c11" not in shown
    assert "and 3 columns that add less" in shown
    rows = pd.DataFrame([["<i>"] * 13], columns=list(names))
    one = replace(
        found, **{name: getattr(found, name)[:1] for name in ("values", "error", "base", "outputs")}, rows=rows
    )
    shown = one._repr_html_()
    assert not any(tag in shown for tag in ("<script>", "<b>", "<i>"))
    assert "log-odds of &#x27;&lt;b&gt;&#x27;: from 0" in shown
