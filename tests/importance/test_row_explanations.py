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
    one = replace(found.take([0]), rows=pd.DataFrame([["<i>"] * 13], columns=list(names)))
    shown = one._repr_html_()
    assert not any(tag in shown for tag in ("<script>", "<b>", "<i>"))
    assert "log-odds of &#x27;&lt;b&gt;&#x27;: from 0" in shown


def test_some_rows_are_those_rows():
    values = np.arange(6.0).reshape(3, 2)
    parts = {"a": values + 1, "b": -values}
    rows = pd.DataFrame({"x": [7, 8, 9], "z": [1, 2, 3]})
    known = {"base": np.array([1.0, 2, 3]), "outputs": np.array([4.0, 5, 6])}
    found = pg.RowExplanations(
        ("x", "z"), values, values / 10, **known, by_branch=parts, explained=("u", "v", "w"), rows=rows
    )
    some = found.take([2, 0])
    assert (len(some), some.explained) == (2, ("w", "u"))
    for i, row in enumerate((2, 0)):
        pd.testing.assert_frame_equal(some.row(i), found.row(row))
        assert (some.base[i], some.outputs[i], some.error[i, 1]) == (
            found.base[row],
            found.outputs[row],
            found.error[row, 1],
        )
