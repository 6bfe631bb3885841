"""``permgrad rank`` on Parquet files that are read block by block."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from permgrad.cli._streamed import streams
from tests.cli.conftest import FAST


@pytest.fixture
def parts(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(240, 3)), columns=["a", "b", "c"])
    frame["y"] = np.where(frame.a > 0, "high", "low")
    for i in range(2):
        frame[120 * i : 120 * (i + 1)].to_parquet(tmp_path / f"part-{i}.parquet", row_group_size=50, index=False)
    return tmp_path / "part-*.parquet"


@pytest.mark.slow
def test_files_are_ranked_by_blocks(parts, tmp_path, command):
    given = ["--target", "y", "--stream", "--preset", "published", "--formula", "fused", *FAST]
    ran = command("rank", parts, *given, "--out", tmp_path / "out")
    assert ran.code == 0, ran.stderr
    out = tmp_path / "out"
    names = {path.name for path in out.iterdir()}
    assert {"ranking.csv", "ranking.json", "ranking.png", "model", "manifest.json", "background.parquet"} < names
    page = (out / "report.html").read_text()
    assert "240: " in page  # all rows in the files, not those that were drawn
    assert "part-0.parquet, part-1.parquet" in page
    assert "training rows; curves, effects, explained rows" in page
    assert "pg.StreamedTable.from_files(FILES, &#39;y&#39;" in page
    assert {"reference_models.json", "page.json", "roc.png"} < names
    ranking = pg.FeatureRanking.load(out / "ranking.json")
    test = pg.StreamedTable.from_files(parts, "y").split()[2]
    assert set(ranking.features) == {"a", "b", "c"}
    assert ranking.settings["test_rows"] == ranking.settings["drawn"]["of"] == len(test)
    assert pg.load(out / "model").predict(test).shape == (len(test),)
    assert f"ranked on {len(test)} of {len(test)} test rows" in ran.stdout
    assert "read block by block from 2 files of 240 rows" in ran.stdout
    assert json.loads((out / "ranking.json").read_text())["settings"]["data"]["files"][1].endswith("part-1.parquet")
    evaluated = command("evaluate", out, parts)
    assert evaluated.code == 2
    assert "ranked block by block" in evaluated.stderr


def test_large_files_are_by_themselves(parts, monkeypatch, capsys):
    assert not streams(str(parts), None)
    assert streams(str(parts), True)
    monkeypatch.setattr("permgrad.backend.free_memory", lambda: 4 * 240 * 4 * 8 - 1)
    assert streams(str(parts), None)
    assert "more than a quarter of the memory that is free" in capsys.readouterr().out
    assert not streams(str(parts), False)
    assert not streams("iris", None)
    assert not streams(str(parts.parent / "absent.parquet"), None)
    assert not streams(str(parts.parent / "t.csv"), None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sep", ";"], "--sep cannot be combined"),
        (["--rare", "drop"], "--rare cannot be combined"),
        (["--evaluate"], "--evaluate trains on tables in memory"),
    ],
)
def test_what_is_not_done_by_blocks(parts, tmp_path, command, options, message):
    ran = command("rank", parts, "--target", "y", "--stream", "--out", tmp_path / "out", *options)
    assert ran.code == 2
    assert message in ran.stderr


def test_a_target_is_needed(parts, command):
    ran = command("rank", parts, "--stream")
    assert "pass --target" in ran.stderr
    ran = command("rank", parts.parent / "t.csv", "--stream", "--target", "y")
    assert "expected Parquet files" in ran.stderr
