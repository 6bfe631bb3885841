from __future__ import annotations

import numpy as np
import pandas as pd

import permgrad as pg
from permgrad.data.html import html_table


def test_text_is_text_and_rows_are_counted():
    frame = pd.DataFrame({"<script>": ["<b>", "&"] * 15, "n": 0.123456})
    shown = html_table("<i>", frame, most=2, notes=["<u>"])
    assert not any(tag in shown for tag in ("<script>", "<b>", "<i>", "<u>"))
    assert shown.count("<tr") == 3
    assert "... and 28 more" in shown
    assert "0.1235" in shown


def test_a_table_shows_its_columns_and_what_its_check_up_found(rng):
    y = rng.integers(0, 2, 60)
    table = pg.Table(
        pd.DataFrame({"<script>": rng.normal(size=60), "same": 1.0, "leak": y * 2.0}), pd.Series(y, name="<y>")
    )
    shown = table._repr_html_()
    assert "&lt;script&gt;" in shown
    assert "<script>" not in shown
    assert "60 rows × 3 features, classification" in shown
    assert "target &#x27;&lt;y&gt;&#x27;" in shown
    assert "leak" in shown.split("</table>")[1]
    assert table.table["column"].tolist() == ["<script>", "same", "leak"]
    figure = table.plot()
    assert [axes.get_title() for axes in figure.axes] == ["<script>", "same", "leak"]
    wide = pg.Table(pd.DataFrame(np.ones((4, 501))), pd.Series([0, 1, 0, 1]))
    assert "... and 481 more" in wide._repr_html_()
