from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import permgrad as pg


@pytest.fixture
def ranking() -> pg.FeatureRanking:
    part = pg.FeatureRanking(
        ("a", "b", "c"),
        [0.1, 0.3, 1 / 3],
        std=[0.01, 0.02, 1e-17],
        class_scores=[[0.1, 0.2], [0.3, 0.1], [0.3, 0.3]],
        classes=("no", "yes"),
        method="permutation",
    )
    return pg.FeatureRanking(
        ("a", "b", "c"),
        [0.2, 0.9, -0.1],
        class_scores=[[0.1, 0.1], [0.4, 0.5], [-0.1, 0.0]],
        classes=("no", "yes"),
        method="permgrad",
        components={"permutation": part},
        branch_weights={"tabular": 0.7, "image": 0.3},
        settings={"seed": 3, "nested": {"x": [1, 2]}},
    )


def test_table_is_best_first(ranking):
    table = ranking.table
    assert table.columns.tolist() == [
        "feature",
        "score",
        "permutation",
        "permutation_std",
        "score_no",
        "score_yes",
        "permutation_no",
        "permutation_yes",
    ]
    assert table["feature"].tolist() == ["b", "a", "c"]
    assert table["score"].tolist() == [0.9, 0.2, -0.1]
    assert table["permutation"].tolist() == [0.3, 0.1, 1 / 3]
    assert table["score_yes"].tolist() == [0.5, 0.1, 0.0]
    assert ranking.top(2) == ["b", "a"]


@pytest.mark.parametrize("name", ["r.json", "r.parquet"])
def test_saved_and_loaded_equal(ranking, name, tmp_path):
    ranking.save(tmp_path / name)
    loaded = pg.FeatureRanking.load(tmp_path / name)
    assert loaded == ranking
    assert hash(loaded) == hash(ranking)
    pd.testing.assert_frame_equal(loaded.table, ranking.table, check_exact=True)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_different_rankings_differ(ranking):
    other = pg.FeatureRanking(("a", "b", "c"), [0.2, 0.9, -0.1])
    assert other != ranking
    assert ranking != "ranking"


def test_unused_columns_rank_last_with_zero(ranking):
    wider = ranking.with_unused(["x", "a", "b", "y", "c"])
    assert wider.table["feature"].tolist() == ["b", "a", "c", "x", "y"]
    assert wider.table["score"].tolist() == [0.9, 0.2, -0.1, 0, 0]
    assert wider.unused == ("x", "y")
    assert wider.components["permutation"].scores.tolist() == [0, 0.1, 0.3, 0, 1 / 3]


def test_ties_keep_the_tables_order():
    assert pg.FeatureRanking(("a", "b", "c"), [1, 1, 1]).top(3) == ["a", "b", "c"]


def test_frozen(ranking):
    with pytest.raises(ValueError, match="read-only"):
        ranking.scores[0] = 5


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.json", "{not json", "damaged or no JSON"),
        ("r.json", "[1, 2]", "of kind 'permgrad.FeatureRanking'"),
        ("r.json", '{"kind": "other"}', "found 'other'"),
        ("r.json", '{"kind": "permgrad.FeatureRanking"}', "damaged ranking"),
        ("r.parquet", "PAR0", "no Parquet file"),
        ("r.json", None, "cannot read"),
    ],
)
def test_damaged_or_foreign_file(name, content, message, tmp_path):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(pg.FileFormatError, match=message):
        pg.FeatureRanking.load(path)


def test_truncated_parts_and_foreign_parquet(ranking, tmp_path):
    content = ranking.to_dict()
    content["scores"] = content["scores"][:2]
    (tmp_path / "r.json").write_text(json.dumps(content))
    with pytest.raises(pg.FileFormatError, match="finite number for each of 3 features"):
        pg.FeatureRanking.load(tmp_path / "r.json")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "r.parquet")
    with pytest.raises(pg.FileFormatError, match="another Parquet file"):
        pg.FeatureRanking.load(tmp_path / "r.parquet")


def test_unknown_suffix_and_unwritable_path(ranking, tmp_path):
    with pytest.raises(pg.PermGradError, match=r"\.json or \.parquet"):
        ranking.save(tmp_path / "r.pkl")
    with pytest.raises(pg.PermGradError, match="cannot write"):
        ranking.save(tmp_path / "absent" / "r.json")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scores": [np.nan, 1.0]}, "finite number for each of 2 features"),
        ({"scores": [1.0, 2.0], "class_scores": [[1.0], [2.0]], "classes": ("u", "v")}, "one column for each"),
        ({"scores": [1.0, 2.0], "classes": ("u", "v")}, "given together"),
    ],
)
def test_what_is_no_ranking(arguments, message):
    with pytest.raises(pg.PermGradError, match=message):
        pg.FeatureRanking(("a", "b"), **arguments)
