from __future__ import annotations

import pytest

import permgrad as pg
from permgrad.evaluation import time_limit


def test_steps_are_begun_until_the_time_is_over(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time_limit.time, "monotonic", lambda: now[0])
    limited = time_limit.TimeLimit(timeout=25)
    begun = []
    with limited.part("work"):
        for step in limited.steps("work", "abcde"):
            now[0] += 10
            begun.append(step)
    assert begun == ["a", "b", "c"]  # the third begins at 20, and ends after the limit
    assert limited.left_out == ["work: d", "work: e"]
    assert limited.seconds == {"work": 30}


def test_no_limit_and_a_bar(capsys):
    unlimited = time_limit.TimeLimit(verbose=True)
    assert list(unlimited.steps("work", [1, 2])) == [1, 2]
    assert unlimited.left_out == []
    assert "work" in capsys.readouterr().err


def test_negative_limit():
    with pytest.raises(pg.PermGradError, match="seconds, got -1"):
        time_limit.TimeLimit(-1)
