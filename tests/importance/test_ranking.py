from __future__ import annotations

import json
from dataclasses import replace

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
        settings={"random_state": 3, "nested": {"x": [1, 2]}},
    )


def test_table_is_best_first(ranking):
    table = ranking.table
    assert table.columns.tolist() == [
        "feature",
        "score",
        "permutation",
        "permutation_std",
        "score[no]",
        "score[yes]",
        "permutation[no]",
        "permutation[yes]",
    ]
    assert table["feature"].tolist() == ["b", "a", "c"]
    assert table["score"].tolist() == [0.9, 0.2, -0.1]
    assert table["permutation"].tolist() == [0.3, 0.1, 1 / 3]
    assert table["score[yes]"].tolist() == [0.5, 0.1, 0.0]
    assert ranking.select(2) == ["b", "a"]


def uncertain(ranking: pg.FeatureRanking) -> pg.FeatureRanking:
    return replace(
        ranking,
        low=[0.1, 0.8, -0.2],
        high=[0.3, 1.0, 0.1],
        rank_low=[2, 1, 2],
        rank_high=[3, 1, 3],
        p_values=[0.04, 0.01, 0.9],
        children={"b": pg.FeatureRanking(("b1", "b2"), [0.5, 0.4], children={"b1": ranking})},
        replicates=np.zeros((4, 3)),
        class_replicates=np.zeros((4, 3, 2)),
    )


def test_uncertainty_is_in_the_table(ranking):
    table = uncertain(ranking).table
    assert table.columns.tolist()[:8] == ["feature", "score", "low", "high", "rank_low", "rank_high", "p", "q"]
    assert table["p"].tolist() == [0.01, 0.04, 0.9]
    np.testing.assert_allclose(table["q"], [0.03, 0.06, 0.9])  # p * 3 / rank


def test_unused_and_pending_are_no_tests_made(ranking):
    wider = uncertain(ranking).with_unused(["x", "a", "b", "c"])
    assert wider.q_values.tolist() == pytest.approx([1, 0.06, 0.03, 0.9])
    assert wider.rank_high.tolist() == [4, 3, 1, 3]
    assert wider.class_replicates.shape == (4, 4, 2)
    assert replace(wider, pending=("c",), q_values=None).q_values.tolist() == pytest.approx([1, 0.04, 0.02, 1])


def test_part_of_a_ranking(ranking):
    part = uncertain(ranking).only(["c", "b"])
    assert part.scores.tolist() == [-0.1, 0.9]
    assert part.components["permutation"].features == ("c", "b")
    assert part.p_values.tolist() == [0.9, 0.01]
    assert part.drill_down("b").select(1) == ["b1"]
    with pytest.raises(pg.PermGradError, match="not among the ranking's features: 'z'"):
        ranking.only(["z"])
    with pytest.raises(pg.PermGradError, match="groups here are 'b'"):
        part.drill_down("c")


def test_agreement_is_spearmans_over_what_both_measured(ranking):
    other = pg.FeatureRanking(("c", "b", "a", "d"), [0.3, 0.1, 0.2, 9.0])
    assert ranking.agreement(other) == pytest.approx(-1)
    assert ranking.agreement(replace(other, pending=("c",))) == pytest.approx(-1)
    assert np.isnan(ranking.agreement(replace(other, pending=("c", "b"))))


@pytest.mark.parametrize("name", ["r.json", "r.parquet"])
def test_uncertainty_and_members_are_saved(ranking, name, tmp_path):
    ranking = uncertain(ranking)
    ranking.save(tmp_path / name)
    loaded = pg.FeatureRanking.load(tmp_path / name)
    assert loaded == ranking
    assert loaded.children["b"].children["b1"].components["permutation"].std.tolist() == [0.01, 0.02, 1e-17]


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
    assert pg.FeatureRanking(("a", "b", "c"), [1, 1, 1]).select(3) == ["a", "b", "c"]


def test_frozen(ranking):
    with pytest.raises(ValueError, match="read-only"):
        ranking.scores[0] = 5


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.json", "{not json", r"not a JSON file \(line 1, column 2\)"),
        ("r.json", "[1, 2]", "of kind 'permgrad.FeatureRanking'"),
        ("r.json", '{"kind": "other"}', "got 'other'"),
        ("r.json", '{"kind": "permgrad.FeatureRanking"}', "is not a ranking .*'features' is missing"),
        ("r.parquet", "PAR0", "is not a ranking saved by permgrad"),
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


def test_classes_may_have_any_name():
    """One called "low" must not take the place of an interval's end."""
    ranking = pg.FeatureRanking(
        ("a", "b"), [1.0, 2.0], class_scores=[[1, 0], [0, 2]], classes=("low", "std"), low=[0.5, 1.5], high=[2.0, 3.0]
    )
    whole = replace(ranking, components={"permutation": ranking})
    assert whole.table["permutation_low"].tolist() == [1.5, 0.5]
    assert whole.table["permutation[low]"].tolist() == [0.0, 1.0]


def test_what_a_time_limit_left_out_of_a_component_is_no_number(ranking):
    part = replace(ranking.components["permutation"], pending=("a",))
    table = replace(ranking, components={"permutation": part}).table.set_index("feature")
    assert np.isnan(table.loc["a", ["permutation", "permutation_std", "permutation[yes]"]].to_numpy(float)).all()
    assert table.notna().loc[["b", "c"]].all(axis=None)
    assert table.loc["a", "score"] == 0.2


def test_a_part_keeps_q_values_and_has_ranks_of_its_own(rng):
    replicates = np.array([3.0, 2.0, 1.0]) + 0.01 * rng.normal(size=(50, 3))
    whole = pg.FeatureRanking(
        ("a", "b", "c"),
        [3.0, 2.0, 1.0],
        p_values=[0.5, 0.02, 0.9],
        rank_low=[1, 2, 3],
        rank_high=[1, 2, 3],
        replicates=replicates,
    )
    part = whole.only(["c", "b"])
    assert part.q_values.tolist() == whole.q_values[[2, 1]].tolist() == [0.9, pytest.approx(0.06)]
    assert part.rank_low.tolist() == part.rank_high.tolist() == [2, 1]
    assert replace(whole, replicates=None).only(["c", "b"]).rank_low is None


def test_selection_by_hand():
    ranking = pg.FeatureRanking(
        ("a", "b", "c", "d", "e"), np.array([0.01, 0.5, 0.03, 9.0, 0.2]), unused=("d",), pending=()
    )
    assert ranking.select(threshold=0.03) == ["b", "e"]
    assert ranking.select(threshold=-1) == ["b", "e", "c", "a"]
    assert ranking.select(threshold=0.5) == []
    assert ranking.select(3) == ["b", "e", "c"]
    assert ranking.select(99) == ["b", "e", "c", "a"]
    pending = pg.FeatureRanking(("a", "b"), np.array([0.0, 0.1]), pending=("a",))
    assert pending.select(threshold=-1) == ["b"]
    assert pending.select(2) == ["b"]


@pytest.mark.parametrize("choice", [{}, {"threshold": 0.1, "k": 2}, {"k": 0}, {"threshold": float("nan")}])
def test_selection_needs_one_rule(choice):
    with pytest.raises(pg.PermGradError, match="one of k, threshold and fdr|must be"):
        pg.FeatureRanking(("a",), np.ones(1)).select(**choice)


def test_selection_keeps_the_expected_share_of_false_features_below_a_bound():
    """Benjamini & Hochberg by hand: 0.03 <= 3 / 4 * 0.05 is kept, and all below; Yekutieli divides by 1 + ... + 1/4."""
    p = np.array([0.03, 0.001, 0.02, 0.9, 1.0])
    conditional = pg.FeatureRanking(tuple("abcde"), [1.0, 2, 3, 0, 0], p_values=p, method="conditional", unused=("e",))
    fused = pg.FeatureRanking(tuple("abcde"), [3.0, 1, 2, 9, 0], components={"conditional": conditional}, unused=("e",))
    assert conditional.select(fdr=0.05) == ["c", "b", "a"]
    assert fused.select(fdr=0.05) == ["a", "c", "b"]
    assert fused.select(fdr=0.035) == ["b"]
    assert fused.select(fdr=0.05, method="by") == ["b"]
    assert fused.select(fdr=0.001) == []


def test_selection_by_false_discoveries_needs_conditional_p_values():
    plain = pg.FeatureRanking(("a", "b"), [1.0, 2.0], p_values=[0.1, 0.01], method="permutation")
    with pytest.raises(pg.PermGradError, match="this ranking has none: rank with conditional=True"):
        plain.select(fdr=0.1)
    conditional = pg.FeatureRanking(("a", "b"), [1.0, 2.0], p_values=[0.1, 0.01], method="conditional")
    for given, message in (
        ({"fdr": 1.5}, "between 0 and 1, got 1.5"),
        ({"fdr": 0.1, "method": "bonferroni"}, "'bh' or 'by', got 'bonferroni'"),
        ({"fdr": 0.1, "k": 2}, "one of k, threshold and fdr"),
    ):
        with pytest.raises(pg.PermGradError, match=message):
            conditional.select(**given)


def probed(**changes):
    """Two columns and two probes, with intervals of 0.2 to either side."""
    scores = np.array([1.0, 0.25, 0.1, -0.1])
    return pg.FeatureRanking(
        **{
            "features": ("a", "b", "probe of a", "probe of b"),
            "scores": scores,
            "low": scores - 0.2,
            "high": scores + 0.2,
            "settings": {"probes": ["probe of a", "probe of b"]},
            **changes,
        }
    )


def test_probes_set_a_level_and_are_never_selected():
    ranking = probed()
    assert ranking.probe_level == pytest.approx((-0.3, 0.3))
    assert ranking.select(4) == ["a", "b"]
    assert ranking.select(above_probes=True) == ["a"]
    assert ranking.select(threshold=-1, above_probes=True) == ["a"]
    assert ranking.table["probe"].tolist() == [False, False, True, True]
    assert probed(low=None, high=None).probe_level == (-0.1, 0.1)
    assert probed(pending=("probe of a",)).probe_level == pytest.approx((-0.3, 0.1))
    assert pg.FeatureRanking.from_dict(ranking.to_dict()).probes == ranking.probes
    assert ranking.only(["a", "probe of b"]).probes == ("probe of b",)


def test_without_probes_there_is_no_level():
    ranking = probed(settings={})
    assert ranking.probe_level is None
    assert "probe" not in ranking.table
    with pytest.raises(pg.PermGradError, match="goes by probes, and this ranking has none"):
        ranking.select(above_probes=True)


def test_a_notebook_shows_the_best_columns_as_text():
    names = ("<script>", *(f"c{i}" for i in range(25)))
    component = pg.FeatureRanking(names, np.zeros(26), method="first_in")
    ranking = pg.FeatureRanking(
        names,
        np.arange(26.0)[::-1],
        method="shapley",
        low=np.zeros(26),
        high=np.full(26, 30),
        pending=("c3",),
        components={"first_in": component},
        settings={"learned": {"better": False}},
    )
    shown = ranking._repr_html_()
    assert "&lt;script&gt;" in shown
    assert "<script>" not in shown
    assert "shapley: what the columns are worth to this network" in shown
    assert "first_in" in shown
    assert "... and 6 more" in shown
    assert "1 features are pending" in shown
    assert "cannot be told from chance" in shown
