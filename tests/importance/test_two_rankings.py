from __future__ import annotations

import numpy as np
import pytest

import permgrad as pg


def ranking(scores, half=0.1, **given):
    scores = np.array(scores, float)
    names = tuple("abcd"[: len(scores)])
    given = {"method": "shapley", "low": scores - half, "high": scores + half, **given}
    return pg.FeatureRanking(names, scores, **given)


def test_places_moves_and_differences_by_hand():
    first, second = ranking([3, 2, 1, 0]), ranking([1, 2, 3, 0.15], half=0.1)
    found = first.compare(second, ("old", "new"))
    table = found.table.set_index("feature")
    assert table.index.tolist() == ["a", "b", "c", "d"]
    assert table["rank_old"].tolist() == [1, 2, 3, 4]
    assert table["rank_new"].tolist() == [3, 2, 1, 4]
    assert table["moved"].tolist() == [-2, 0, 2, 0]
    np.testing.assert_allclose(table["difference"], [-2, 0, 2, 0.15])
    half = np.sqrt(0.1**2 + 0.1**2)
    np.testing.assert_allclose(table["low"], table["difference"] - half)
    np.testing.assert_allclose(table["high"], table["difference"] + half)
    assert table["apart"].tolist() == [True, False, True, True]  # 0.15 is more than 0.141
    assert found.shared(1) == 0
    assert found.shared(3) == 3
    assert found.spearman == pytest.approx(first.agreement(second))


def test_an_interval_of_a_difference_of_equal_scores_leaves_out_zero_in_a_twentieth(rng):
    """Two independent measurements of the same four scores, each with the interval of its known error."""
    apart = []
    for _ in range(500):
        pair = [ranking(rng.normal(size=4), half=1.96) for _ in range(2)]
        apart += pair[0].compare(pair[1]).table["apart"].tolist()
    assert 0.035 < np.mean(apart) < 0.065


def test_columns_may_stand_in_another_order():
    second = pg.FeatureRanking(("d", "a", "c", "b"), np.array([0.0, 3, 1, 2]), method="shapley")
    assert ranking([3, 2, 1, 0]).compare(second).table["moved"].eq(0).all()


def test_scores_of_two_kinds_have_places_alone_and_what_differs_is_told():
    first = ranking([3, 2, 1], settings={"formula": "game", "random_state": 0, "data": {"sha256": "x"}})
    second = ranking(
        [3, 2, 1], method="permgrad", settings={"formula": "fused", "random_state": 1, "data": {"sha256": "y"}}
    )
    found = first.compare(second)
    assert "difference" not in found.table
    assert found.differing == {
        "method": ("shapley", "permgrad"),
        "formula": ("game", "fused"),
        "random_state": (0, 1),
        "data": ("x", "y"),
    }


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"loss": "log loss"}, {"loss": "squared error"}),
        ({"loss": "log loss"}, {}),  # of a file that does not name it
        ({"scoring": "accuracy"}, {"scoring": "recall[b]"}),
        (
            {"loss": "squared error", "data": {"target": "price"}},
            {"loss": "squared error", "data": {"target": "age"}},
        ),
    ],
)
def test_scores_without_a_common_unit_are_not_compared(ours, theirs):
    found = ranking([3, 2, 1], settings=ours).compare(ranking([3, 2, 1], settings=theirs))
    assert "difference" not in found.table
    assert found.note.startswith("the scores have no common unit (")
    assert found.spearman == pytest.approx(1)
    assert "difference" in ranking([3, 2, 1], settings=ours).compare(ranking([1, 2, 3], settings=ours)).table


def test_of_a_classifier_and_a_regressor_the_ranks_alone_are_compared(rng):
    from sklearn.linear_model import LinearRegression, LogisticRegression

    X = rng.normal(size=(80, 3))
    y = (X[:, 0] + rng.normal(size=80) > 0).astype(int)
    for formula in ("game", "last in"):
        of = [
            pg.rank_features(model().fit(X[:40], y[:40]), X[40:], y[40:], formula=formula, n_repeats=1)
            for model in (LogisticRegression, LinearRegression)
        ]
        assert [each.settings["loss"] for each in of] == ["log loss", "squared error"]
        assert of[0].compare(of[1]).note.endswith("(loss: log loss and squared error): compare ranks, not scores")
        assert {part.settings["loss"] for part in of[0].components.values()} == {"log loss"}


def test_of_a_tables_sum_twelve_digits_are_told():
    pair = [ranking([1, 2], settings={"data": {"sha256": digit * 64}}) for digit in "ab"]
    assert pair[0].compare(pair[1]).differing == {"data": ("a" * 12, "b" * 12)}


def test_the_picture_has_each_of_the_best_of_either_twice():
    figure = ranking([3, 2, 1, 0]).compare(ranking([0, 1, 2, 3]), ("<b>", "$x$")).plot(top=2)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert sorted(texts) == sorted("abcd" * 2)
    figure = ranking([4, 3, 1, 0]).compare(ranking([3, 4, 1, 0])).plot(top=2)
    assert sorted(text.get_text() for text in figure.axes[0].texts) == sorted("ab" * 2)


def test_bad_input():
    with pytest.raises(pg.PermGradError, match="only one has 'd'"):
        ranking([1, 2, 3]).compare(ranking([1, 2, 3, 4]))
    with pytest.raises(pg.PermGradError, match="two names, got 'x' twice"):
        ranking([1, 2]).compare(ranking([1, 2]), ("x", "x"))
    with pytest.raises(pg.PermGradError, match="k must be between 1 and 2, got 3"):
        ranking([1, 2]).compare(ranking([2, 1])).shared(3)
