"""Shards of a ranking: each does its part, and together they are the whole run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from permgrad.cli._shards import FILE, KIND, Shard, _alike
from permgrad.cli.merge import read_shards
from permgrad.files import read_json, write_json
from tests.cli.conftest import FAST

OF_NETWORK = ["--branches", "tabular", "--embedding", "none", "--no-screening", "--ensemble-size", "1", *FAST]


def test_a_shard_has_every_nth_item():
    assert [list(Shard(number, 3).part(range(7))) for number in (1, 2, 3)] == [[0, 3, 6], [1, 4], [2, 5]]


def test_the_merged_command_is_that_of_the_whole_run():
    given = [
        "rank",
        "t.csv",
        "--shard",
        "1/2",
        "--out=a",
        "--target",
        "y",
        "--workers",
        "2",
        "--overwrite",
        "--epochs=3",
    ]
    assert _alike(given) == ["rank", "t.csv", "--target", "y", "--epochs=3"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--shard", "4/3", "--trainings", "5"], "'4/3' is not a part of how many, such as 3/10"),
        (["--shard", "1/3", "--trainings", "2"], "divides 2 trainings; there cannot be more shards than trainings"),
        (["--shard", "1/3"], "the game of all columns cannot be divided: add --formula last-in"),
        (["--shard", "1/3", "--formula", "last-in", "--groups"], "--groups ranks groups"),
        (["--shard", "1/3", "--trainings", "3", "--evaluate"], "merge the shards, then run permgrad evaluate"),
    ],
)
def test_what_has_no_parts_is_refused_before_any_work(command, options, said, tmp_path):
    ran = command("rank", "iris", "--out", tmp_path / "out", *options)
    assert (ran.code, ran.stderr.count("\n")) == (2, 1)
    assert said in ran.stderr
    assert not (tmp_path / "out").exists()


def written(directory: Path, number: int, of: int = 3, **changed: object) -> Path:
    directory.mkdir()
    content = {"kind": KIND, "number": number, "of": of, "data": {"sha256": "a", "path": str(directory)}}
    content |= {"settings": {"epochs": 3}, "steps": {"trainings": 3}, "split_random_state": 42}
    write_json(directory / FILE, {**content, **changed})
    return directory


def test_shards_are_all_there_once_and_of_one_kind(tmp_path):
    first, second, third = (written(tmp_path / f"s{number}", number) for number in (1, 2, 3))
    assert list(read_shards([third, first, second])) == [first, second, third]
    with pytest.raises(pg.PermGradError, match="^shard 2/3 is missing$"):
        read_shards([third, first])
    with pytest.raises(pg.PermGradError, match="^shard 2/3 is there more than once$"):
        read_shards([first, second, third, written(tmp_path / "again", 2)])
    other = written(tmp_path / "other", 2, settings={"epochs": 4})
    with pytest.raises(pg.PermGradError, match=r"other is a shard with other settings \(epochs\) than .*s1"):
        read_shards([first, other, third])
    other = written(tmp_path / "data", 2, data={"sha256": "b"})
    with pytest.raises(pg.PermGradError, match=r"data is a shard with other data \(sha256\) than"):
        read_shards([first, other, third])
    with pytest.raises(pg.PermGradError, match=r"has no shard\.json; give directories that permgrad rank"):
        read_shards([tmp_path])


def whole_and_merged(command, csv, tmp_path, options) -> tuple[dict, dict]:
    """Run it whole, and in two shards that are merged; return both rankings as they are written."""
    given = ["rank", csv, "--target", "y", *OF_NETWORK, *options]
    runs = [("whole", []), ("two", ["--shard", "2/2"]), ("one", ["--shard", "1/2"])]
    for name, shard in runs:
        ran = command(*given, "--out", tmp_path / name, *shard)
        assert ran.code == 0, ran.stderr
    merged = command("merge", tmp_path / "two", tmp_path / "one", "--out", tmp_path / "merged")
    assert merged.code == 0, merged.stderr
    assert "results of 2 shards" in merged.stdout
    names = [{path.name for path in (tmp_path / name).iterdir()} for name in ("whole", "merged")]
    assert names[0] == names[1]
    whole, joined = (json.loads((tmp_path / name / "ranking.json").read_text()) for name in ("whole", "merged"))
    assert whole["settings"].pop("command").replace(f" --out {tmp_path / 'whole'}", "") == joined["settings"].pop(
        "command"
    )
    return whole, joined


@pytest.mark.slow
def test_two_shards_of_trainings_are_the_whole_run(command, csv, tmp_path):
    whole, merged = whole_and_merged(command, csv, tmp_path, ["--trainings", "2", "--groups"])
    assert merged == whole
    assert whole["settings"]["trainings"] == 2
    assert {path.name for path in (tmp_path / "two").iterdir()} == {"training2.json", FILE, "manifest.json"}
    two = tmp_path / "two" / FILE
    write_json(two, {**read_json(two, kind=KIND), "split_random_state": 1})
    refused = command("merge", tmp_path / "two", tmp_path / "one", "--out", tmp_path / "again")
    assert (refused.code, refused.stderr.count("\n")) == (2, 1)
    assert "is a shard with other split_random_state" in refused.stderr


@pytest.mark.slow
def test_two_shards_of_columns_are_the_whole_run(command, csv, tmp_path):
    options = ["--formula", "last-in", "--conditional"]
    whole, merged = whole_and_merged(command, csv, tmp_path, options)
    one, other = pg.FeatureRanking.from_dict(whole), pg.FeatureRanking.from_dict(merged)
    assert (one.method, one.pending, other.pending) == ("permutation", (), ())
    for name in ("scores", "low", "high", "rank_low", "rank_high", "p_values"):
        np.testing.assert_allclose(getattr(other, name), getattr(one, name), rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(other.components["conditional"].p_values, one.components["conditional"].p_values)
    assert whole["settings"].keys() == merged["settings"].keys()


@pytest.mark.slow
def test_two_shards_of_columns_of_a_saved_model_are_the_whole_run(command, tmp_path, random_hybrid):
    random_hybrid("classification", 2, ("tabular",)).save(tmp_path / "m.keras")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.random((40, 6)), columns=list("abcdef")).assign(y=rng.integers(2, size=40))
    frame.to_csv(tmp_path / "t.csv", index=False)
    given = ["rank", tmp_path / "t.csv", "--target", "y", "--model", tmp_path / "m.keras", "--formula", "last-in"]
    for name, shard in (("whole", []), ("one", ["--shard", "1/2"]), ("two", ["--shard", "2/2"])):
        ran = command(*given, "--n-repeats", 2, "--out", tmp_path / name, *shard)
        assert ran.code == 0, ran.stderr
    merged = command("merge", tmp_path / "one", tmp_path / "two", "--out", tmp_path / "merged")
    assert merged.code == 0, merged.stderr
    whole, joined = (pg.FeatureRanking.load(tmp_path / name / "ranking.json") for name in ("whole", "merged"))
    assert joined.pending == ()
    np.testing.assert_allclose(joined.scores, whole.scores, rtol=1e-6)
    np.testing.assert_allclose(joined.rank_high, whole.rank_high)
