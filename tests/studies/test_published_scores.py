"""The authors' files: read without running them; and what their numbers say."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

import permgrad as pg
from studies.hybrid_tables import published_files, published_scores
from studies.hybrid_tables.published import BRANCH_WEIGHTS, PUMA_INCREASES


def npy(path, value):
    np.save(path, value, allow_pickle=True)
    return path.read_bytes()


def test_what_numpy_would_unpickle_is_read(tmp_path):
    """Python's floats, NumPy's scalars of both sizes, the same names again, and one class within another."""
    value = {"a": {"x": np.float32(0.25), "y": np.float64(-1e-281)}, "b": {"x": 3.5, "y": np.float32(7)}, "n": {"x": 2}}
    assert published_files.read_dictionary(npy(tmp_path / "f.npy", value)) == {
        "a": {"x": 0.25, "y": -1e-281},
        "b": {"x": 3.5, "y": 7.0},
        "n": {"x": 2},
    }


def test_single_items_and_numbers_for_names(tmp_path):
    assert published_files.read_dictionary(npy(tmp_path / "f.npy", {"x": {"1": 0.5}})) == {"x": {"1": 0.5}}
    assert published_files.read_dictionary(npy(tmp_path / "f.npy", {1: 0.5, 2: 1.5})) == {"1": 0.5, "2": 1.5}


class Runs:
    """What a pickle can do: its reading writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_nothing_is_run(tmp_path):
    content = npy(tmp_path / "f.npy", {"x": Runs(tmp_path / "written")})
    with pytest.raises(pg.PermGradError, match="expected text, numbers and dictionaries"):
        published_files.read_dictionary(content)
    assert not (tmp_path / "written").exists()
    pickle.loads(pickle.dumps(Runs(tmp_path / "written"))).close()  # which would have  # noqa: S301
    assert (tmp_path / "written").exists()


@pytest.mark.parametrize(
    ("value", "message"),
    [(np.arange(3.0), "one object, got one of numbers"), ([1.0], "one dictionary"), ({"x": {1, 2}}, "instruction")],
)
def test_other_files(tmp_path, value, message):
    value = value if isinstance(value, np.ndarray) else np.array([value, None], object)[:1].reshape(())
    with pytest.raises(pg.PermGradError, match=message):
        published_files.read_dictionary(npy(tmp_path / "f.npy", value))
    with pytest.raises(pg.PermGradError, match="other bytes"):
        published_files.read_dictionary(b"PK")


def test_a_copy_of_the_repository_is_compared(tmp_path, capsys, monkeypatch):
    for folder, name in published_files.NAMES.items():
        (tmp_path / "datasets" / folder).mkdir(parents=True)
        for short, long in published_files.FILES.items():
            npy(tmp_path / "datasets" / folder / f"{short}_metrics.npy", published_scores.published()[name][long])
    published_files.main([str(tmp_path)])
    assert "are those of published_scores.json" in capsys.readouterr().out
    npy(tmp_path / "datasets" / "Puma" / "mlp_metrics.npy", {"theta1": 1.0})
    published_files.main([str(tmp_path)])
    assert "are not those" in capsys.readouterr().out
    monkeypatch.setattr(published_files, "SCORES", tmp_path / "kept.json")
    published_files.main([str(tmp_path), "--write"])
    assert json.loads((tmp_path / "kept.json").read_text())["puma8nh"]["permutation"] == {"theta1": 1.0}
    (tmp_path / "datasets" / "Gas" / "cnn_metrics.npy").unlink()
    with pytest.raises(pg.PermGradError, match="give a copy of https"):
        published_files.main([str(tmp_path)])


def test_facts():
    known = published_scores.facts().set_index("dataset")
    assert known["heat values"].to_dict() == {"puma8nh": 4, "heloc": 7, "dengue": 10, "gas_drift": 5, "covertype": 4}
    assert known["columns"].to_dict() == {"puma8nh": 8, "heloc": 23, "dengue": 26, "gas_drift": 129, "covertype": 54}
    assert (known["heat alike"] == "yes").all()
    assert known.loc["puma8nh", "by heat"] == known.loc["puma8nh", "published"] == "8 of 8"
    assert known.loc["puma8nh", "fused, heat"] == pytest.approx(1)
    assert known.loc["puma8nh", "first permuted"] == "theta3"
    for name, (tabular, image) in BRANCH_WEIGHTS.items():  # which the paper prints
        assert known.loc[name, ["tabular weight", "image weight"]].tolist() == pytest.approx([tabular, image], rel=0.02)
    assert published_scores.published()["puma8nh"]["permutation"] == pytest.approx(PUMA_INCREASES, rel=0.01)


def test_the_published_formula_by_hand():
    scores = {
        "branch_weights": {"MLP": 0.25, "CNN": 0.75},
        "permutation": {"u": {"a": 1.0, "b": 3.0}, "v": {"a": 5.0, "b": 2.0}},
        "grad_cam": {"u": {"a": 0.2, "b": 0.4}, "v": {"a": 0.2, "b": 0.4}},
    }
    expected = {"a": 0.25 * (0 + 1) + 0, "b": 0.25 * (0.5 + 0.25) + 0.75 * 2}
    assert published_scores.fused(scores).to_dict() == pytest.approx(expected)


def test_heat_is_read_where_nothing_is_drawn():
    """At the transposed pixel, columns that see nothing drawn have one heat, which no other has; a map of 2 × 2."""
    data = Path(os.environ.get("PERMGRAD_DATA", ""))
    absent = [name for name in ("heloc", "dengue", "puma8nh") if not (data / f"{name}.csv").is_file()]
    if absent:
        pytest.skip(f"{absent[0]}.csv is not in PERMGRAD_DATA")
    known = published_scores.explained().set_index("dataset")
    for name, n in {"heloc": 12, "dengue": 9}.items():
        row = known.loc[name]
        assert row[["read where nothing is drawn", "values among these", "others with these"]].tolist() == [n, 1, 0]
        assert row["pixels"] == 15
    assert known.loc["puma8nh", "values in a quarter"] == 1
    assert known.loc["heloc", "values in a quarter"] > 1
