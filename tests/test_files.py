from __future__ import annotations

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
    (out / "old").write_text("kept")
    with pytest.raises(RuntimeError, match="half way"), new_directory(out, overwrite=True) as staging:
        (staging / "new").write_text("lost")
        raise RuntimeError("half way")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "old"]
    with new_directory(out, overwrite=True) as staging:
        (staging / "new").write_text("x")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["new", "out"]


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
