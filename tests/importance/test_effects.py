"""The record of effects: its tables, its pictures, what JSON gives back."""

from __future__ import annotations

import json

import numpy as np
import pytest

import permgrad as pg


@pytest.fixture
def effects():
    dose = pg.ColumnEffect(
        "<dose>",
        np.array([0.0, 1, np.nan]),
        *(np.array([[0.0, 1], [2, -3], [1, 1]]) + i for i in (0, -1, 1)),
        np.array([0.5, 0.25, 0.25]),
        is_category=False,
        ice=np.ones((2, 3, 2)),
    )
    day = pg.ColumnEffect(
        "day",
        ("2020-01-01", "2021-01-01"),
        *(np.zeros((2, 2)) + i for i in (0, -1, 1)),
        np.array([0.5, 0.5]),
        is_category=True,
        is_date=True,
    )
    kind = pg.ColumnEffect(
        "kind", ("a$", "b"), *(np.full((2, 2), 0.1) + i for i in (0, -1, 1)), np.array([0.5, 0.4]), is_category=True
    )
    both = pg.PairEffect(
        ("<dose>", "kind"),
        (np.array([0.0, np.nan]), ("a$", "b")),
        *(np.eye(2)[..., None] * [1, 2] + i for i in (0, -1, 1)),
        np.full((2, 2), 0.25),
    )
    return pg.Effects("pdp", "log-odds", ("x", "y", "z"), (dose, day, kind), (both,), 10)


def test_json_gives_back_the_same(effects):
    content = json.loads(json.dumps(effects.to_dict(), allow_nan=False))
    again = pg.Effects.from_dict(content)
    assert again.to_dict() == effects.to_dict()
    np.testing.assert_array_equal(again["<dose>"].values, [0, 1, np.nan])
    assert again["<dose>", "kind"].values[1] == ("a$", "b")
    assert again["day"].is_date


def test_tables_and_html(effects):
    three = pg.Effects(effects.kind, effects.unit, ("x", "y"), tuple(_of_one(c) for c in effects.columns), (), 10)
    table = three.table
    assert table.columns.tolist() == ["column", "value", "class", "effect", "lower", "upper", "share"]
    assert table["class"].unique().tolist() == ["y"]
    assert len(table) == 7
    first = three.summary.iloc[0]
    assert (first["column"], first["least"], first["least at"], first["greatest"]) == ("<dose>", -3, 1, 1)
    shown = three._repr_html_()
    assert "&lt;dose&gt;" in shown
    assert "<dose>" not in shown
    assert "partial dependence: log-odds of &#x27;y&#x27;, 10 rows" in shown
    with pytest.raises(pg.PermGradError, match="no effect of 'other' was measured; there are effects of '<dose>'"):
        three["other"]


def test_pictures_are_drawn(effects, tmp_path):
    one = pg.Effects(effects.kind, effects.unit, ("x", "y"), tuple(_of_one(c) for c in effects.columns), (), 10)
    for number, figure in enumerate((one.plot(), effects.pairs[0].plot(unit="log-odds"))):
        figure.savefig(tmp_path / f"{number}.png", dpi=40)
    assert one.plot(["kind"]).axes[0].get_title() == "kind"


@pytest.mark.parametrize("days", [1, 40, 400, 900, 1500, 9000])
def test_dates_of_any_span_have_ticks_without_a_warning(days, recwarn):
    """Matplotlib warns where no interval gives as few ticks as it is allowed; each warning is a line for the user."""
    values = tuple((np.datetime64("2021-03-01") + np.linspace(0, days, 5).astype(int)).astype(str).tolist())
    parts = (np.zeros(5) + i for i in (0, -1, 1))
    day = pg.ColumnEffect("day", values, *parts, np.full(5, 0.2), is_category=True, is_date=True)
    figure = pg.Effects("ale", "the target's unit", None, (day,), (), 10).plot()
    figure.canvas.draw()
    assert len(figure.axes[0].get_xticks()) >= 1
    assert [str(warning.message) for warning in recwarn] == []


def _of_one(column):
    """The second class alone."""
    ends = (getattr(column, name)[:, 1] for name in ("effect", "lower", "upper"))
    ice = None if column.ice is None else column.ice[..., 1]
    return pg.ColumnEffect(
        column.name, column.values, *ends, column.weights, column.is_category, ice, is_date=column.is_date
    )
