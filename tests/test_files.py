from __future__ import annotations

import json

import numpy as np
import pytest

from permgrad.files import new_file, write_json


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
