from __future__ import annotations

import pandas as pd
import pytest

import permgrad as pg


def test_one_rows_answer_is_explained_as_in_python(command, ranked, csv, tmp_path):
    done = command("explain", ranked.out, csv, "--row", 17, "--of", "high", "--out", tmp_path / "row.png")
    assert done.code == 0, done.stderr
    estimator = pg.load(ranked.out / "model")
    background = pd.read_parquet(ranked.out / "background.parquet")
    assert len(background) == 24  # all test rows, which are fewer than 64
    row = pd.read_csv(csv)[list(estimator.encoder_.features_)].iloc[[16]]
    found = estimator.explain_rows(row, background, of="high", random_state=0)
    best = found.row(0).iloc[0]
    assert f"row 17 of {csv}: high {estimator.predict_proba(row)[0, 0]:.1%}" in done.stdout
    assert f"{best['adds']:.3f}" in done.stdout
    assert found.base[0] + found.values.sum() == pytest.approx(found.outputs[0], abs=1e-5)
    assert (tmp_path / "row.png").read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_explained_is_one_line(command, ranked, ranked_copy, csv):
    far = command("explain", ranked.out, csv, "--row", 121)
    assert far.code == 2
    assert "has 120 rows, there is no row 121" in far.stderr
    other = command("explain", ranked.out, csv, "--row", 1, "--of", "middle")
    assert "--of must be one of the classes 'high', 'low', got 'middle'" in other.stderr
    (ranked_copy / "background.parquet").unlink()
    lost = command("explain", ranked_copy, csv, "--row", 1)
    assert "has no background.parquet" in lost.stderr
