from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.stats import norm

import permgrad as pg
from permgrad.data import toy
from permgrad.data.toy import problems

MANY = 400_000
BUILDERS = [*toy.PROBLEMS.values(), toy.additive, toy.correlated_nulls, toy.duplicated, toy.categorical]


def planted(table):
    """The relevant columns' values, in the order of the notes."""
    return table.X[table.notes["relevant"]].to_numpy()


def in_ring(points, width):
    distance = np.sqrt((points[:, 0] - 0.5) ** 2 + (points[:, 1] - 0.5) ** 2)
    return (0.35 - width <= distance) & (distance <= 0.35 + width)


def quadrants(points, cut):
    """One feature above one half and the other below, far enough: what (a - .5)(.5 - b) >= cut says in words."""
    a, b = points.T
    return ((a > 0.5) & (b < 0.5) | (a < 0.5) & (b > 0.5)) & (abs(a - 0.5) * abs(b - 0.5) >= cut)


def test_ring_by_its_published_rule():
    table = pg.toy.ring(MANY, 3, random_state=1)
    assert (table.y == in_ring(planted(table), 0.1151)).all()
    assert table.y.mean() == pytest.approx(np.pi * (0.4651**2 - 0.2349**2), abs=0.003)


def test_xor_by_its_published_rule():
    table = toy.xor(MANY, 3, random_state=1)
    assert (table.y == quadrants(planted(table), 0)).all()
    assert table.y.mean() == pytest.approx(0.5, abs=0.003)


def test_ring_xor_is_a_union_of_equal_parts():
    table = toy.ring_xor(MANY, 5, random_state=1)
    points = planted(table)
    ring, xor = in_ring(points[:, :2], 0.0666), quadrants(points[:, 2:], 0.03487)
    assert (table.y == (ring | xor)).mean() > 0.9995
    for part in (ring, xor):
        assert part.mean() == pytest.approx(1 - np.sqrt(0.5), abs=0.003)
    assert table.y.mean() == pytest.approx(0.5, abs=0.003)


def test_ring_xor_sum_is_a_union_of_equal_parts():
    table = toy.ring_xor_sum(MANY, 7, random_state=1)
    points = planted(table)
    ring, xor = in_ring(points[:, :2], 0.0469), quadrants(points[:, 2:4], 0.06086)
    p = 1 - 0.5 ** (1 / 3)
    assert ring.mean() == pytest.approx(p, abs=0.003)
    assert xor.mean() == pytest.approx(p, abs=0.003)
    assert table.y[ring | xor].mean() > 0.9995
    rest = ~(ring | xor)
    assert table.y[rest].mean() == pytest.approx(p, abs=0.004)
    assert table.y.mean() == pytest.approx(0.5, abs=0.003)
    by_sum = norm.cdf((points[rest][:, 4:].sum(axis=1) - 1.3891) / 0.2)  # P(class 1), given the two features
    assert np.mean((table.y[rest] - by_sum) ** 2) == pytest.approx(np.mean(by_sum * (1 - by_sum)), abs=0.002)


def test_thresholds_by_integration():
    """The constants, from integrals that do not use the closed forms they come from."""
    for parts, cuts in problems.CUTS["balanced"].items():
        equal = 1 - 0.5 ** (1 / parts)
        assert probabilities(cuts) == pytest.approx([equal] * 3 if parts == 3 else [equal, equal, 0], abs=1e-6)


def probabilities(cuts):
    """Of the ring, the xor and the sum."""
    ring = np.pi * ((0.35 + cuts.ring) ** 2 - (0.35 - cuts.ring) ** 2)
    quadrant, _ = quad(lambda u: max(0, 0.5 - cuts.xor / u), 2 * cuts.xor, 0.5)

    def tail(u: float) -> float:  # P(V + noise >= cut - u), V uniform
        return quad(lambda v: norm.sf((cuts.total - u - v) / problems.SUM_NOISE), 0, 1)[0]

    return [ring, 2 * quadrant, quad(tail, 0, 1)[0]]


def test_published_cut_points():
    """By the rules of the authors' code; the classes are nearly equal."""
    assert {
        p: 1 - np.prod(1 - np.array(probabilities(c))) for p, c in problems.CUTS["published"].items()
    } == pytest.approx({2: 0.515, 3: 0.498}, abs=0.0005)
    two, three = (build(MANY, 7, 1, cut_points="published") for build in (toy.ring_xor, toy.ring_xor_sum))
    points = planted(two)
    assert (two.y == in_ring(points[:, :2], 0.0704) | quadrants(points[:, 2:], 0.0337)).all()
    points = planted(three)
    union = in_ring(points[:, :2], 0.0479) | quadrants(points[:, 2:4], 0.0598)
    assert three.y[union].all()
    by_sum = norm.cdf((points[~union][:, 4:].sum(axis=1) - 1.4074) / 0.2)
    assert three.y[~union].mean() == pytest.approx(by_sum.mean(), abs=0.002)
    with pytest.raises(pg.PermGradError, match="cut_points must be one of 'balanced', 'published', got 'ours'"):
        toy.ring_xor(10, cut_points="ours")


@pytest.mark.parametrize("build", BUILDERS)
def test_a_seed_gives_one_table_and_random_positions(build):
    assert build(random_state=3).sha256 == build(random_state=3).sha256 != build(random_state=4).sha256
    tables = [build(60, random_state=random_state) for random_state in range(30)]
    assert all(json.loads(json.dumps(table.notes)) == table.notes for table in tables)
    assert all(set(table.notes["relevant"]) < set(table.features) for table in tables)
    first = {table.notes["relevant"][0] for table in tables}
    assert len(first) > 0.6 * len(tables[0].features)


def test_additive_weights_are_those_noted():
    table = toy.additive(5000, 10, random_state=2, noise=0.01)
    weights = table.notes["coefficients"]
    found = np.linalg.lstsq(table.X.to_numpy(), table.y, rcond=None)[0]
    assert found == pytest.approx([weights.get(name, 0) for name in table.features], abs=0.002)
    assert list(weights) == table.notes["relevant"]
    classes = toy.additive(5000, 10, random_state=2, noise=0.01, task="classification")
    assert (classes.y == (table.y > 0)).all()


def test_nulls_correlate_with_their_parent_and_tell_nothing_more():
    table = toy.correlated_nulls(MANY, 3, 5, 0.8, random_state=5, noise=0.5)
    notes = table.notes
    correlations = table.X.corr()
    for null, parent in notes["parents"].items():
        assert correlations[null].drop(null).idxmax() == parent
        assert correlations.loc[null, parent] == pytest.approx(0.8, abs=0.005)
    assert correlations.loc[*notes["relevant"][:2]] == pytest.approx(0, abs=0.006)
    ((squared, weight),) = notes["squared"].items()
    design = np.column_stack([table.X, table.X**2, np.ones(len(table))])
    found = pd.Series(np.linalg.lstsq(design, table.y, rcond=None)[0][:-1], [*table.X, *(f"{c}²" for c in table.X)])
    expected = dict.fromkeys(found.index, 0.0) | notes["coefficients"] | {f"{squared}²": weight / np.sqrt(2)}
    assert found.to_dict() == pytest.approx(expected, abs=0.01)
    residual = table.y - design @ [*found, table.y.mean() - (design[:, :-1] @ found).mean()]
    assert residual.std() == pytest.approx(0.5, abs=0.005)


def test_copies_are_copies():
    table = toy.duplicated(500, 12, random_state=1, n_relevant=4, n_copied=2, n_copies=2)
    groups = table.notes["groups"]
    assert [len(group) for group in groups.values()] == [3, 3]
    for name, group in groups.items():
        assert group[0] == name
        assert set(group) <= set(table.notes["relevant"])
        assert (table.X[group].to_numpy() == table.X[[name]].to_numpy()).all()
    assert table.X.T.drop_duplicates().shape[0] == 12 - 4
    weights = table.notes["coefficients"]
    assert set(weights) == set(table.notes["relevant"][:4]) >= set(groups)
    assert (table.y - table.X[list(weights)] @ list(weights.values())).std() == pytest.approx(0.3, abs=0.04)
    noisy = toy.duplicated(MANY // 10, 12, random_state=1, copy_noise=0.1)
    for name, group in noisy.notes["groups"].items():
        spread = noisy.X[group[1:]].sub(noisy.X[name], axis=0).std()
        assert spread.to_numpy() == pytest.approx(0.1, abs=0.002)


def test_text_columns():
    table = toy.categorical(20_000, 10, random_state=0, n_relevant=4, n_levels=3, n_null_levels=40)
    text, relevant = table.notes["text"], table.notes["relevant"]
    assert text == [name for name in table.X if not pd.api.types.is_numeric_dtype(table.X[name])]
    assert len(set(text) & set(relevant)) == 2
    assert {table.X[name].nunique() for name in set(text) & set(relevant)} == {3}
    assert {table.X[name].nunique() for name in set(text) - set(relevant)} == {40}
    for name in text:  # how far the classes' shares differ between levels: far more than chance where it is relevant
        shares = table.y.groupby(table.X[name]).mean()
        expected = np.sqrt(0.25 / (len(table) / len(shares)))
        assert (shares.std() > 4 * expected) == (name in relevant)


def test_text_levels_are_worth_what_is_noted():
    table = toy.categorical(50_000, 8, random_state=0, n_levels=4, task="regression")
    for name in set(table.notes["text"]) & set(table.notes["relevant"]):
        means = table.y.groupby(table.X[name]).mean()
        assert np.std(means) == pytest.approx(abs(table.notes["coefficients"][name]), rel=0.03)


def test_recall_by_hand():
    names = ["a", "b", "c", "d", "e"]
    assert toy.recall(names, ["b", "e"]) == 0.5
    assert toy.recall(names, ["b", "e"], k=1) == 0
    assert toy.recall(names, ["b", "e"], k=5) == 1
    assert toy.recall(names, ["d", "e", "a"], k=4) == pytest.approx(2 / 3)
    ranking = pg.FeatureRanking(("a", "b", "c"), np.array([0.1, 0.3, 0.2]))
    assert toy.recall(ranking, ["b", "a"]) == 0.5
    assert toy.recall(ranking, ["b", "c"]) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: toy.ring_xor_sum(100, 5), "6 relevant features .* got n_features=5"),
        (lambda: toy.correlated_nulls(correlation=1.2), "correlation must be in"),
        (lambda: toy.correlated_nulls(n_relevant=0), "relevant features"),
        (lambda: toy.duplicated(n_copied=5), "n_copied must be between 0 and n_relevant=4"),
        (lambda: toy.categorical(n_levels=1), "two levels"),
        (lambda: toy.additive(task="ranking"), "task must be"),
        (lambda: toy.recall("abc", ["a"]), "distinct column names"),
        (lambda: toy.recall(["a", "a"], ["a"]), "distinct column names"),
        (lambda: toy.recall(["a"], []), "distinct column names"),
        (lambda: toy.recall(["a"], ["a"], k=0), "k must be at least 1"),
        (lambda: toy.recall(pg.FeatureRanking(("a",), np.ones(1)), ["b"]), "not in the ranking: 'b'"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(pg.PermGradError, match=message):
        call()


def test_gene_expression_has_the_groups_that_it_names():
    """Classes raise their markers by 3 of the noise's deviations; copies correlate within classes as asked for."""
    table = toy.gene_expression(6000, 60, random_state=2, n_markers=4, n_others=2, n_copies=5, n_classes=3)
    X, y, notes = table.X.to_numpy(), table.y.to_numpy(), table.notes
    assert X.dtype == np.float32
    assert X.min() >= 0
    assert list(notes["groups"]) == notes["relevant"]
    grouped = [name for groups in ("groups", "other_groups") for group in notes[groups].values() for name in group]
    assert len(grouped) == len(set(grouped)) == 36
    for g, (planted_gene, group) in enumerate(notes["groups"].items()):
        mine = y == f"T{g % 3}"
        inside = table.X.loc[~mine, group].corr().to_numpy()[0]  # in T1 nothing of this group is raised
        np.testing.assert_allclose(inside[1:], 0.9, atol=0.03)
        values = table.X[planted_gene]
        assert (values[mine].mean() - values[~mine].mean()) / values[~mine].std() == pytest.approx(3, abs=0.25)
    others = table.X.drop(columns=[name for group in notes["groups"].values() for name in group])
    shifts = others.groupby(y).mean() - others.mean()
    assert (shifts.abs() / others.std() < 0.1).all(axis=None)


@pytest.mark.parametrize("wrong", [{"n_markers": 0}, {"n_classes": 1}, {"correlation": 0.0}, {"n_copies": 9}])
def test_gene_expression_that_cannot_be(wrong):
    with pytest.raises(pg.PermGradError, match="needs a marker group|need 60 genes"):
        toy.gene_expression(**{"n_rows": 60, "n_genes": 50, "n_markers": 4, "n_others": 2, "n_copies": 3, **wrong})
