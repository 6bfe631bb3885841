"""Conditional p-values: of a column that tells nothing beyond ties that are not linear, and of one that does."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student

import permgrad as pg
from permgrad.importance.permuting import _independence
from permgrad.importance.permuting._independence import anchor_rows, independence_p_value
from permgrad.importance.permuting._ties import folds_of, standardised
from permgrad.importance.permuting._unlearned import share_missed
from permgrad.importance.permuting.conditional import AlikeRows
from permgrad.metrics.paired import mean_p_value
from tests.importance.permuting.test_permutation import linear_model


def planted(rng, n, tie):
    """A null z tied to two relevant columns, a network that leans on it, and a weak column that tells something."""
    X = rng.normal(size=(n, 6))
    known = X[:, 0] * X[:, 1] if tie == "product" else np.sin(2 * X[:, 0])
    z = known + 0.4 * rng.normal(size=n)
    y = known + X[:, 2] + 0.15 * X[:, 3] + rng.normal(size=n)
    network = lambda column: 0.7 * column + X[:, 2]  # noqa: E731
    weak = lambda column: known + X[:, 2] + 0.15 * column  # noqa: E731
    return {"null": (X, z, network, y), "weak": (np.column_stack([np.delete(X, 3, axis=1), z]), X[:, 3], weak, y)}


def p_value(others, own, network, y):
    return asked(others, own, network, y)[0]


def asked(others, own, network, y):
    anchored = np.stack([network(np.full_like(own, own[row])) for row in anchor_rows(own[:, None])])
    expected = AlikeRows(np.column_stack([others, own]), 0).expected(np.array([others.shape[1]]))
    output, anchored = network(own)[:, None], anchored[:, :, None]
    return independence_p_value(others, own[:, None], expected, output, anchored, y[:, None], False, 0)


def times_flagged(tie, n_tables):
    """Return how many times of `n_tables` the null column and the weak one have p ≤ 0.05."""
    tables = [planted(np.random.default_rng(random_state), 600, tie) for random_state in range(n_tables)]
    return tuple(sum(p_value(*table[kind]) <= 0.05 for table in tables) for kind in ("null", "weak"))


@pytest.mark.slow
@pytest.mark.parametrize("tie", ["product", "sine"])
def test_a_null_tied_to_relevant_columns_is_not_flagged_and_a_weak_column_is(tie):
    null, weak = times_flagged(tie, 3)
    assert null <= 1  # two of three come with probability 0.007 at a level of 0.05
    assert weak >= 1


@pytest.mark.slow
def test_a_null_tied_by_a_product_is_not_flagged_where_classes_bend_it():
    """Probabilities of classes depend on the product and a third column together: learned by what the tie predicts."""
    flagged = 0
    for random_state in range(4):
        rng = np.random.default_rng(random_state)
        X = rng.normal(size=(800, 5))
        known = X[:, 0] * X[:, 1]
        z = known + 0.4 * rng.normal(size=800)
        said = lambda tie: 1 / (1 + np.exp(-2 * tie - X[:, 2]))  # noqa: B023, E731
        y = (rng.random(800) < said(known)).astype(float)
        flagged += p_value(X, z, lambda column: said(0.9 * column), y) <= 0.05  # noqa: B023
    assert flagged <= 1


def test_what_the_others_expect_of_a_column_is_what_it_is_made_of(rng):
    X = rng.normal(size=(600, 4))
    X[:, 3] = X[:, 0] * X[:, 1] + 0.3 * rng.normal(size=600)
    expected = AlikeRows(X, 0).expected(np.array([3]))
    assert np.corrcoef(expected[:, 0], X[:, 0] * X[:, 1])[0, 1] > 0.95
    assert AlikeRows(X[:, :1], 0).expected(np.array([0])).shape == (600, 0)


def test_noise_of_the_feature_is_no_error_of_the_target():
    """A product of three columns: 150 rows teach a part of it and of the target; the errors differ."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1.7, 1.7, size=(150, 6))
    known = X[:, :3].prod(axis=1)
    own = known + 0.3 * rng.normal(size=150)
    assert p_value(X, own, lambda column: 0.7 * column, 2 * known + 0.5 * rng.normal(size=150)) > 0.2


def test_the_target_is_learned_from_nothing_that_the_feature_taught(rng, monkeypatch):
    asked_of, n_outputs = [], 1
    learn = _independence.by_most_and_half

    def recorded(Z, targets, *args, **settings):
        asked_of.append(settings.get("undersmoothed", False) and Z)
        return learn(Z, targets, *args, **settings)

    monkeypatch.setattr(_independence, "by_most_and_half", recorded)
    others, values = rng.normal(size=(60, 3)), rng.normal(size=(60, 2 * n_outputs))
    _independence._products_by_most_and_half(others, others[:, :1] + rng.normal(size=(60, 1)), values, 0, None)
    assert asked_of[0] is False
    np.testing.assert_array_equal(asked_of[1], others)


@pytest.mark.parametrize(("left_by_half", "in_flat_rows", "largest"), [(0.2, 1, 1), (1.5, 1, 2), (0.2, 0.2, 3)])
def test_p_is_the_largest_of_five(rng, monkeypatch, left_by_half, in_flat_rows, largest):
    """Beside the slow reference: a weighted mean over its error, of what regressions leave that are given."""
    n = 60
    alike = np.array([rng.permutation(np.delete(np.arange(n), row))[:5] for row in range(n)])
    steepness = rng.permutation(np.repeat([0.2, 0.6, 2.0], n // 3)) if in_flat_rows < 1 else np.full(n, 0.2)
    monkeypatch.setattr(_independence.KernelRidge, "nearest", lambda *_: alike)
    monkeypatch.setattr(_independence.KernelRidge, "steepness", lambda *_: (steepness, np.zeros((n, 1))))
    values, first, most = (rng.normal(mean, 1, size=(n, 2)) for mean in (0, 1.5, 1.5))
    most *= rng.choice([-1, 1], size=(n, 1))  # so that rows alike leave nothing in the mean
    most[steepness < 2] *= in_flat_rows
    half = np.column_stack([most[:, 0] + 0.3 * rng.normal(size=n), left_by_half * most[:, 1]])
    given = {False: (most[:, :1], half[:, :1]), True: (most[:, 1:], half[:, 1:])}
    monkeypatch.setattr(_independence, "_regressed", lambda *_: values - first)
    monkeypatch.setattr(_independence, "told_by_most_and_half", lambda others, *_: [others, others])
    monkeypatch.setattr(
        _independence,
        "by_most_and_half",
        lambda *_, undersmoothed=False: tuple(values[:, [int(undersmoothed)]] - each for each in given[undersmoothed]),
    )
    products, by_half = ([row[0] * row[1] for row in each] for each in (most, half))
    second_products = [row[0] * (row[1] - 1.5 * sum(most[k, 1] for k in alike[i]) / 5) for i, row in enumerate(most)]
    third_products = [s - 2.5 * (h - p) for s, p, h in zip(second_products, products, by_half, strict=True)]
    fourth_products = [2 * t - p for t, p in zip(third_products, products, strict=True)]
    left = np.mean([row[0] ** 2 for row in most])
    trust = [1 / (1 + (h[0] - m[0]) ** 2 / (0.05 * left)) for m, h in zip(most, half, strict=True)]
    flat = [w / (1 + (s / 0.5) ** 6) for w, s in zip(trust, steepness, strict=True)]

    def slow(products, weights):
        mean = sum(w * p for w, p in zip(weights, products, strict=True)) / sum(weights)
        error = np.sqrt(n / (n - 1) * sum((w * (p - mean)) ** 2 for w, p in zip(weights, products, strict=True)))
        alike = sum(weights) ** 2 / sum(w**2 for w in weights)  # so many rows of one weight tell as much
        return mean, student.sf(mean * sum(weights) / error, alike - 1)

    asked, shares = [slow([row[0] * row[1] for row in first], [1] * n)[1]], []
    for weights in (trust, flat):
        before, (after, third) = slow(products, weights)[0], slow(third_products, weights)
        again = slow(fourth_products, weights)[1] if after < 0.7 * before else 0
        asked += [slow(second_products, weights)[1], max(third, again)]
        shares.append(np.clip(1 - after / before, 0, 1))
    output, anchored = values[:, :1], np.zeros((3, n, 1))
    p, untold = independence_p_value(
        rng.normal(size=(n, 2)), rng.normal(size=(n, 1)), np.zeros((n, 0)), output, anchored, values[:, 1:], True, 0
    )
    assert p == pytest.approx(max(asked)) == asked[largest]
    assert untold == pytest.approx(shares[0])
    assert (untold > 0.3) == (largest == 2)


def test_rows_count_less_where_the_tie_is_steep():
    steepness = np.array([0.0, 0.1, 0.25, 0.5, 1.0, 2.0])
    expected = [1 / (1 + (each / 0.5) ** 6) for each in steepness]
    np.testing.assert_allclose(_independence._flatness(steepness), expected)
    everywhere = _independence._flatness(np.linspace(2, 3, 101))
    np.testing.assert_allclose(everywhere[10], 0.5)  # the flattest tenth say what steep is
    assert (everywhere >= 0.5).sum() == 11


@pytest.mark.parametrize("told", [0.0, 0.5])
def test_what_two_regressions_blur_alike_is_where_the_tie_is_steep(rng, told):
    """Both regressions make a ramp of the same step; the feature's own noise tells of the target, or not."""
    X = rng.uniform(-1, 1, size=(600, 3))
    step, ramp = (X[:, :1] > 0).astype(float), 1 / (1 + np.exp(-6 * X[:, :1]))
    noise = 0.3 * rng.normal(size=(600, 1))
    own, target = step + noise, step + told * noise + 0.2 * rng.normal(size=(600, 1))
    products = ((own - ramp) * (target - ramp))[:, 0]
    steepness, _ = _independence.KernelRidge(X, own, 0).steepness(X, own, folds_of(600, 0, None, 10))
    assert mean_p_value(products) < 1e-4
    remains = mean_p_value(products, _independence._flatness(steepness))
    assert remains < 1e-4 if told else remains > 0.1


def test_rows_beside_a_step_count_less(rng):
    """The column follows a step that columns show only roughly from few rows: there half of the rows tell otherwise."""
    X = rng.uniform(-1, 1, size=(400, 3))
    output = (X[:, :1] > 0) + 0.1 * rng.normal(size=(400, 1))
    trust = _independence._trust(output, *_independence.by_most_and_half(X, output, 0))
    beside = np.abs(X[:, 0]) < 0.1
    assert trust[beside].mean() < 0.7 * trust[~beside].mean()
    assert trust.min() > 0
    assert trust.max() <= 1


@pytest.mark.parametrize("told", [0.0, 0.5])
def test_what_two_regressions_blur_alike_shows_in_rows_alike(rng, monkeypatch, told):
    """Both regressions make a ramp of the same step; the feature's own noise tells of the target, or not."""
    X = rng.uniform(-1, 1, size=(300, 3))
    step, ramp = (X[:, :1] > 0).astype(float), 1 / (1 + np.exp(-8 * X[:, :1]))
    noise = 0.3 * rng.normal(size=(300, 1))
    own, target = step + noise, step + told * noise + 0.2 * rng.normal(size=(300, 1))
    monkeypatch.setattr(_independence, "told_by_most_and_half", lambda others, *_: [others, others])
    monkeypatch.setattr(_independence, "by_most_and_half", lambda *_, **__: (ramp, ramp))
    products, beside = _independence._products_by_most_and_half(X, own, np.hstack([own, target]), 0, None)[:2]
    assert mean_p_value(products) < 1e-3
    remains = mean_p_value(products - 1.5 * beside)
    assert remains < 1e-4 if told else remains > 0.1


def test_a_null_tied_by_what_is_learned_badly_is_not_found_and_said_to_be_so():
    """A fast wave: 300 rows teach a part of it, and of the target, and the parts left agree."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 6))
    known = np.sin(8 * X[:, 0])
    own, y = known + 0.3 * rng.normal(size=300), 2 * known + 0.3 * rng.normal(size=300)
    p, untold = asked(X, own, lambda column: X[:, 1] + column, y)
    assert p > 0.1
    assert untold > 0.5  # of what would be found


def test_nothing_is_found_where_two_columns_still_tell_of_what_the_regression_leaves(rng, monkeypatch):
    """Regressions that learn nothing: the feature seems to tell of the target what both owe to a checkerboard."""
    X = rng.normal(size=(600, 4))
    board = (np.floor(X[:, :1]) + np.floor(X[:, 1:2])) % 2
    own, y = (board + 0.3 * rng.normal(size=(600, 1)) for _ in range(2))
    monkeypatch.setattr(_independence, "told_by_most_and_half", lambda others, *_: [others, others])
    monkeypatch.setattr(_independence, "by_most_and_half", lambda Z, T, *_, **__: (0 * T + T.mean(),) * 2)
    given = X, own, np.zeros((600, 0)), own, np.zeros((3, 600, 1)), y, False, 0
    assert independence_p_value(*given) == (1, 1)
    monkeypatch.setattr(_independence, "MISSED", 1.0)
    monkeypatch.setattr(_independence, "BESIDE", 0.0)
    assert independence_p_value(*given)[0] < 0.001


def test_nothing_is_found_where_the_tie_is_rounded_as_finely_as_its_noise():
    """No columns show steps that are so narrow, but what is predicted of the feature does."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(600, 4))
    known = np.round(1.5 * (X[:, 0] + 0.7 * X[:, 1] + 0.5 * X[:, 2])) / 1.5
    own = known + 0.2 * rng.normal(size=600)
    y = 1.5 * known + 0.3 * rng.normal(size=600)
    p, untold = asked(X, own, lambda column: 1.5 * column, y)
    assert (p, untold) == (1, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_independence, "share_missed", lambda Z, rest, groups, _: share_missed(Z, rest, groups))
        assert asked(X, own, lambda column: 1.5 * column, y)[0] < 0.05


def test_a_tie_that_the_kernel_missed_of_the_feature_or_of_the_output_counts_as_missed(rng, monkeypatch):
    seen = {}

    def share(Z, rest, groups, places):
        seen.update(rest=rest, places=places)
        return 0.04

    monkeypatch.setattr(_independence, "share_missed", share)
    X, own, values = rng.normal(size=(60, 3)), rng.normal(size=(60, 2)), rng.normal(size=(60, 2))
    missed = _independence._products_by_most_and_half(X, own, values, 0, None)[-1]
    assert missed == 0.04
    left = own - _independence.KernelRidge(X, own, 0).predicted(X, own, folds_of(60, 1, None, 10))
    np.testing.assert_allclose(seen["rest"][:, 1:], left)
    *along, four, five = seen["places"]
    assert four.shape == five.shape == (60, 3)  # there are no four columns
    told = _independence.told_by_most_and_half(X, own, 0, None)[0]
    np.testing.assert_allclose(np.hstack(along), standardised(told))


def test_a_column_that_tells_is_found_where_ties_are_learned():
    rng = np.random.default_rng(0)
    X, own = rng.normal(size=(200, 4)), rng.normal(size=200)
    p, untold = asked(X, own, lambda column: X[:, 0] + 0.5 * column, X[:, 0] + 0.5 * own + rng.normal(size=200))
    assert p < 0.005
    assert untold < 0.5


def test_a_column_that_the_network_ignores_has_p_one(rng):
    X, y = rng.normal(size=(60, 3)), rng.normal(size=60)
    assert p_value(X, y, lambda column: X[:, 0], y) == 1


def test_anchors_are_a_low_a_middle_and_a_high_value(rng):
    own = rng.permutation(np.arange(101.0))[:, None]
    assert own[anchor_rows(own), 0].tolist() == [10, 50, 90]
    classes = np.repeat(np.eye(3), [50, 30, 20], axis=0)
    assert len(np.unique(classes[anchor_rows(classes)], axis=0)) == 3


@pytest.mark.slow
def test_what_was_learned_badly_is_named():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    known = np.sin(8 * X[:, 0])
    X[:, 2] = known + 0.3 * rng.normal(size=300)
    y = 2 * known + 0.3 * rng.normal(size=300)
    with pytest.warns(UserWarning, match="more of these features.* than was learned from 300 rows.*x2"):
        ranking = pg.permutation_importance(
            linear_model([0.0, 1.0, 1.0]), X, y, conditional=True, features=["x0", "x1", "x2"]
        )
    assert ranking.settings["untold"]["x2"] > 0.5
    assert ranking.p_values[2] > 0.05


@pytest.mark.slow
def test_repeats_change_scores_and_no_conditional_p_value(rng):
    X = rng.normal(size=(200, 3)).astype(np.float32)
    y, model = X[:, 0] + rng.normal(size=200), linear_model([1.0, 0.3, 0.0])
    once, more = (pg.permutation_importance(model, X, y, conditional=True, n_repeats=n) for n in (1, 4))
    assert (once.scores != more.scores).any()
    np.testing.assert_allclose(once.p_values[2], 1)
    assert (np.abs(once.p_values - more.p_values) < 0.2).all()
