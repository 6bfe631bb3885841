from __future__ import annotations

import pandas as pd
import pytest

import permgrad as pg


@pytest.mark.slow
def test_a_ranking_is_put_to_the_test_later(ranked_copy, csv, command):
    before = (ranked_copy / "ranking.csv").read_text()
    ran = command("evaluate", ranked_copy, csv, "--parts", "curves")
    assert ran.code == 0, ran.stderr
    assert "rankings, best place first" in ran.stdout
    evaluation = pg.RankingEvaluation.load(ranked_copy / "evaluation")
    assert evaluation.left_out == ()
    assert set(evaluation.areas["ranking"]) > {"shapley", "end_to_end", "tree_shap", "random"}
    assert (ranked_copy / "ranking.csv").read_text() == before
    assert [path.name for path in ranked_copy.iterdir() if path.name.startswith(".")] == []


def test_only_the_table_that_was_ranked_is_evaluated(ranked, csv, tmp_path, command):
    refused = command("evaluate", ranked.out)
    assert (refused.code, refused.stderr.count("\n")) == (2, 1)
    assert "name it: permgrad evaluate RESULTS FILE" in refused.stderr
    pd.read_csv(csv).assign(a=lambda f: f.a + 1).to_csv(tmp_path / "other.csv", index=False)
    refused = command("evaluate", ranked.out, tmp_path / "other.csv")
    assert refused.code == 2
    assert "pass the table that was ranked" in refused.stderr
