from __future__ import annotations

import numpy as np
import pytest

import permgrad as pg
from studies.kit.steps import cached_step, check_same_study


def test_a_step_is_computed_once(tmp_path):
    calls = []

    def work():
        calls.append(1)
        return {"scores": np.array([0.5, np.nan]), 3: (1, 2)}

    first = cached_step(tmp_path / "deep" / "step.json", "test", work)
    assert first == cached_step(tmp_path / "deep" / "step.json", "test", work)
    assert first == {"kind": "test", "scores": [0.5, None], "3": [1, 2]}
    assert len(calls) == 1


def test_a_file_of_another_kind_or_half_a_file_is_an_error(tmp_path):
    cached_step(tmp_path / "step.json", "test", dict)
    with pytest.raises(pg.FileFormatError, match="of kind 'other'"):
        cached_step(tmp_path / "step.json", "other", dict)
    (tmp_path / "step.json").write_text('{"kind": "te')
    with pytest.raises(pg.FileFormatError, match="damaged"):
        cached_step(tmp_path / "step.json", "test", dict)


def test_work_that_fails_leaves_no_file(tmp_path):
    with pytest.raises(ZeroDivisionError):
        cached_step(tmp_path / "step.json", "test", lambda: {"value": 1 / 0})
    assert not list(tmp_path.iterdir())


def test_other_settings_are_named(tmp_path):
    path = tmp_path / "study.json"
    settings = {"settings": {"network": {"dropout": 0.25, "units": (8, 4)}}, "sha256": "abc"}
    check_same_study(path, "test", settings)
    check_same_study(path, "test", settings)
    other = {"settings": {"network": {"dropout": 0.5, "units": (8, 4)}}, "sha256": "abc"}
    with pytest.raises(pg.PermGradError, match=r"other settings: network.dropout was 0.25, now 0.5; choose another"):
        check_same_study(path, "test", other)
    with pytest.raises(pg.PermGradError, match=r"other settings: rows was not given, now 5"):
        check_same_study(path, "test", {**settings, "rows": 5})
