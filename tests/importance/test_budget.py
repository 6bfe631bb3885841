"""Formulas and budgets as values: what they refuse, and what becomes of them on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

import permgrad as pg
from permgrad.importance import budget as module


@pytest.mark.parametrize("field", ["weights", "baseline", "fusion_scale", "attribution", "readout"])
def test_a_formula_refuses_what_there_is_not(field):
    with pytest.raises(pg.PermGradError, match=f"{field} must be one of .*, got 'other'"):
        pg.Formula(**{field: "other"})
    with pytest.raises(pg.PermGradError, match="a convolution's name, got 3"):
        pg.Formula(layer=3)


def test_settings_give_the_formula_back():
    assert pg.Formula.from_settings({**pg.PUBLISHED.to_settings(), "n_repeats": 5}) == pg.PUBLISHED
    assert pg.Formula.from_settings({"attribution": None}) == pg.Formula()


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_steps_share_one_clock_and_keep_files_of_their_own(clock):
    budget = pg.Budget(max_memory=7, timeout=10, checkpoint="there/kept.npz").begin()
    clock[0] += 4
    step = budget.begin().step("conditional")  # begun already: its clock runs on
    assert (step.max_memory, step.checkpoint) == (7, Path("there/kept-conditional.npz"))
    assert budget.step().checkpoint == "there/kept.npz"
    half = budget.step(share=0.5)  # of the six seconds left
    clock[0] += 3
    assert (half.is_spent, step.is_spent) == (True, False)
    clock[0] += 3
    assert step.is_spent
    assert not pg.Budget().begin().is_spent


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_memory": 0}, "positive number of bytes, got 0"),
        ({"timeout": -1}, "above 0, got -1"),
        ({"timeout": 0}, "above 0, got 0"),
        ({"timeout": float("nan")}, "above 0, got nan"),
    ],
)
def test_a_budget_refuses_limits_out_of_range(limits, message):
    with pytest.raises(pg.PermGradError, match=message):
        pg.Budget(**limits)
