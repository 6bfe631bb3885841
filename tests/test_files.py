from __future__ import annotations

import json
import os
import socket

import numpy as np
import pytest

from permgrad.errors import FileFormatError
from permgrad.files import new_file, read_json, write_json


def test_json_has_no_numpy_and_no_nan(tmp_path):
    write_json(tmp_path / "a.json", {np.int64(1): (np.float32(0.5), np.nan), "b": np.array([1, 2])})
    assert json.loads((tmp_path / "a.json").read_text()) == {"1": [0.5, None], "b": [1, 2]}


def test_file_is_whole_or_absent(tmp_path):
    path = tmp_path / "r.json"
    write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), new_file(path) as temporary:
        temporary.write_text("{")
        raise RuntimeError
    assert path.read_text() == '{\n "a": 1\n}\n'
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_dead_process_began_to_write_is_removed(tmp_path):
    """Once a directory; what another machine's or a living process writes is left alone."""
    dead, host = 2**22 + 1, socket.gethostname()
    (tmp_path / f".other.json.{host}.{dead}.part").write_text("{")
    kept = {f".a.elsewhere.{dead}.part", f".a.{host}.{os.getppid()}.part", f"a.{host}.{dead}.part", ".x.part"}
    for name in kept:
        (tmp_path / name).write_text("mine")
    write_json(tmp_path / "r.json", {})
    assert {path.name for path in tmp_path.iterdir()} == {*kept, "r.json"}


def test_numbers_that_json_has_not_are_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"kind": "x", "value": NaN}')
    with pytest.raises(FileFormatError, match="a.json: NaN is not a JSON number"):
        read_json(tmp_path / "a.json", kind="x")
