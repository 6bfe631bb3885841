from __future__ import annotations

import numpy as np
import pandas as pd

import permgrad as pg


def saved(path, scores, **settings):
    scores = np.array(scores, float)
    path.parent.mkdir(parents=True, exist_ok=True)
    pg.FeatureRanking(
        ("age", "sex"), scores, low=scores - 0.1, high=scores + 0.1, method="shapley", settings=settings
    ).save(path)
    return path


def test_two_directories_are_set_side_by_side(command, tmp_path):
    saved(tmp_path / "old" / "ranking.json", [1, 2], random_state=0)
    saved(tmp_path / "new" / "ranking.json", [2, 1], random_state=1)
    done = command("compare", tmp_path / "old", tmp_path / "new", "--out", tmp_path / "out")
    assert done.code == 0, done.stderr
    assert "of the 1 best, 0 are shared; Spearman's correlation -1.00" in done.stdout
    assert "scores that differ by more than chance (95 %): sex, age" in done.stdout
    assert "random_state: 0 and 1" in done.stdout
    assert pd.read_csv(tmp_path / "out" / "comparison.csv")["rank_new"].tolist() == [2, 1]
    assert (tmp_path / "out" / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_rankings_of_two_losses_are_compared_by_rank_alone(command, tmp_path):
    paths = [saved(tmp_path / f"{i}.json", [1, 2], loss=loss) for i, loss in enumerate(("log loss", "squared error"))]
    done = command("compare", *paths)
    assert "no common unit (loss: log loss and squared error): compare ranks, not scores" in done.stdout
    assert "by more than chance" not in done.stdout


def test_files_too_and_what_is_missing_is_one_line(command, tmp_path):
    path = saved(tmp_path / "a.json", [1, 2])
    assert command("compare", path, saved(tmp_path / "b.parquet", [1, 2])).code == 0
    lost = command("compare", path, tmp_path / "none")
    assert lost.code == 2
    assert "none" in lost.stderr
    assert "\n" not in lost.stderr.strip()
