from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from permgrad.cli._tables import load_table, same_table
from permgrad.report.results import facts_of
from tests.report.conftest import levels


@pytest.mark.slow
def test_a_ranking_is_put_to_the_test_later(ranked_copy, csv, command):
    before = (ranked_copy / "ranking.csv").read_text()
    write_levels(ranked_copy)
    ran = command("evaluate", ranked_copy, "--parts", "curves")
    assert ran.code == 0, ran.stderr
    assert "rankings, best first" in ran.stdout
    evaluation = pg.RankingEvaluation.load(ranked_copy / "evaluation")
    assert evaluation.left_out == ()
    assert set(evaluation.areas["ranking"]) > {"shapley", "end_to_end", "tree_shap", "random"}
    assert (ranked_copy / "ranking.csv").read_text() == before
    assert "The network in each level of &lt;i&gt;site" in (ranked_copy / "report.html").read_text()
    assert [path.name for path in ranked_copy.iterdir() if path.name.startswith(".")] == []


def write_levels(results) -> None:
    """Write what `rank --by` would have; the page is to keep its part."""
    levels().write_tables(results)
    manifest = json.loads((results / "manifest.json").read_text())
    manifest["files"] += ["by.csv", "by.json", "by_importance.csv"]
    (results / "manifest.json").write_text(json.dumps(manifest))


def test_only_the_table_that_was_ranked_is_evaluated(ranked, csv, tmp_path, command):
    pd.read_csv(csv).assign(a=lambda f: f.a + 1).to_csv(tmp_path / "other.csv", index=False)
    refused = command("evaluate", ranked.out, tmp_path / "other.csv")
    assert (refused.code, refused.stderr.count("\n")) == (2, 1)
    assert "pass the table that was ranked" in refused.stderr


def test_the_tables_file_is_looked_for_where_it_was_and_beside_the_results(tmp_path):
    before, results = tmp_path / "before", tmp_path / "after" / "results"
    before.mkdir()
    results.mkdir(parents=True)
    frame = pd.DataFrame({"a": np.arange(30.0), "y": np.arange(30) % 2})
    frame.to_csv(before / "t.csv", index=False)
    table = load_table(str(before / "t.csv"), "y", None)
    known = facts_of(table)
    assert same_table(None, known, results).sha256 == table.sha256
    (before / "t.csv").rename(tmp_path / "after" / "t.csv")
    assert same_table(None, known, results).sha256 == table.sha256
    frame.assign(a=1 + frame["a"]).to_csv(tmp_path / "after" / "t.csv", index=False)
    with pytest.raises(pg.PermGradError, match=r"after/t\.csv has .*; pass the table that was ranked"):
        same_table(None, known, results)
    (tmp_path / "after" / "t.csv").unlink()
    with pytest.raises(pg.PermGradError, match=r"'t\.csv' is neither in .*before.*evaluate RESULTS FILE"):
        same_table(None, known, results)
    with pytest.raises(pg.PermGradError, match="'t' that came from no file; name the file"):
        same_table(None, {name: fact for name, fact in known.items() if name != "path"}, results)
