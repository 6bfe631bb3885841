from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import permgrad as pg
from permgrad.files import new_directory, new_file, write_json


def test_directory_appears_only_when_whole(tmp_path):
    out = tmp_path / "deep" / "out"
    with new_directory(out) as staging:
        (staging / "a").write_text("x")
        assert not out.exists()
    assert (out / "a").read_text() == "x"
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    plain = tmp_path / "plain"
    plain.mkdir()
    assert out.stat().st_mode == plain.stat().st_mode


def test_failure_leaves_what_was_there(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "ranking.json").write_text("kept")
    with pytest.raises(RuntimeError, match="half way"), new_directory(out, overwrite=True) as staging:
        (staging / "new").write_text("lost")
        raise RuntimeError("half way")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "ranking.json"]
    with new_directory(out, overwrite=True) as staging:
        (staging / "new").write_text("x")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["new", "out"]


def test_other_peoples_files_are_never_overwritten(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with (
        pytest.raises(pg.PermGradError, match="holds other files than permgrad's results"),
        new_directory(tmp_path, overwrite=True),
    ):
        pass
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_swap_that_fails_restores_the_old(tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    (out / "ranking.json").write_text("kept")
    rename = Path.rename

    def fail_for_staging(self, target):
        if Path(target) == out and self.name != "replaced":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_for_staging)
    with pytest.raises(pg.PermGradError, match="No space left"), new_directory(out, overwrite=True) as staging:
        (staging / "new").write_text("x")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "ranking.json"]


def test_a_parent_made_in_vain_is_removed(tmp_path):
    with pytest.raises(RuntimeError), new_directory(tmp_path / "results" / "x"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_json_has_no_numpy_and_no_nan(tmp_path):
    write_json(tmp_path / "a.json", {np.int64(1): (np.float32(0.5), np.nan), "b": np.array([1, 2])})
    assert json.loads((tmp_path / "a.json").read_text()) == {"1": [0.5, None], "b": [1, 2]}


def test_paths_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    for path, message in [
        (tmp_path / "file", "found a file"),
        (tmp_path / "file" / "below", "cannot write"),
        ("/proc/nowhere/out", "cannot write"),
    ]:
        with pytest.raises(pg.PermGradError, match=message), new_directory(path):
            pass
    assert (tmp_path / "file").read_text() == "x"


def test_file_is_whole_or_absent(tmp_path):
    path = tmp_path / "r.json"
    write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), new_file(path) as temporary:
        temporary.write_text("{")
        raise RuntimeError
    assert path.read_text() == '{\n "a": 1\n}\n'
    assert list(tmp_path.iterdir()) == [path]
