from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import permgrad as pg
from permgrad.importance.fusion import min_max, share


def ranking(scores, classes=None, features=("a", "b", "c")):
    values = np.array(scores, float)
    if classes is None:
        return pg.FeatureRanking(features, values)
    return pg.FeatureRanking(features, values.mean(axis=1), class_scores=values, classes=classes)


def test_published_formula_by_hand():
    fused = pg.fuse(
        ranking([0.0, 2.0, 4.0]), ranking([1.0, 0.0, 0.5]), {"tabular": 0.25, "image": 0.75}, fusion_scale="min-max"
    )
    np.testing.assert_allclose(fused.scores, [0.75, 0.125, 0.25 + 0.375])


def test_classes_are_scaled_jointly_and_summed():
    """Permutation spans [0, 10] over both classes, Grad-CAM [0, 1]: no class is stretched on its own."""
    permutation = ranking([[0, 10], [5, 0], [1, 1]], ("x", "y"))
    cam = ranking([[0.0, 0.5], [1.0, 0.0], [0.2, 0.2]], ("x", "y"))
    fused = pg.fuse(permutation, cam, {"tabular": 0.5, "image": 0.5}, fusion_scale="min-max")
    np.testing.assert_allclose(fused.class_scores, [[0, 0.75], [0.75, 0], [0.15, 0.15]])
    np.testing.assert_allclose(fused.scores, [0.75, 0.75, 0.3])


def test_shares_by_hand():
    fused = pg.fuse(ranking([6.0, 2.0, -1.0]), ranking([0.2, 0.2, 0.4]), {"tabular": 0.5, "image": 0.5})
    np.testing.assert_allclose(fused.scores, [0.375 + 0.125, 0.125 + 0.125, 0.25])
    assert fused.scores.sum() == pytest.approx(1)


def test_flat_branch_moves_shares_little_and_min_max_fully():
    """Grad-CAM that differs by noise alone must not outvote a clear permutation importance."""
    permutation, flat = ranking([1.0, 0.1, 0.0]), ranking([0.30, 0.31, 0.29])
    weights = {"tabular": 0.3, "image": 0.7}
    assert pg.fuse(permutation, flat, weights).select(1) == ["a"]
    assert pg.fuse(permutation, flat, weights, fusion_scale="min-max").select(1) == ["b"]


@pytest.mark.parametrize("scale", [share, min_max])
def test_equal_scores_tell_nothing_apart(scale):
    assert np.ptp(scale(np.full(3, 2.0))) == 0
    assert np.isfinite(scale(np.zeros(3))).all()


def test_components_and_weights_are_kept():
    permutation, cam = (
        replace(ranking(scores), method=name) for name, scores in (("permutation", [1, 2, 3]), ("layer_cam", [3, 2, 1]))
    )
    fused = pg.fuse(permutation, cam, {"tabular": 0.9, "image": 0.1})
    assert fused.components == {"permutation": permutation, "layer_cam": cam}
    assert fused.branch_weights == {"tabular": 0.9, "image": 0.1}


@pytest.mark.parametrize("classes", [None, ("u", "v")])
def test_every_replicate_is_fused_anew(classes, rng):
    shape = (3,) if classes is None else (3, 2)
    drawn_anew = [rng.random((50, *shape)) for _ in range(2)]
    field = "replicates" if classes is None else "class_replicates"
    parts = [replace(ranking(rng.random(shape), classes), **{field: values}) for values in drawn_anew]
    weights = rng.random(50)
    drawn = {"tabular": weights, "image": 1 - weights}
    fused = pg.fuse(*parts, pg.BranchWeights({"tabular": 0.5, "image": 0.5}, replicates=drawn))
    expected = []
    for i in range(50):
        one = [ranking(values[i], classes) for values in drawn_anew]
        expected.append(pg.fuse(*one, {name: of[i] for name, of in drawn.items()}).scores)
    np.testing.assert_allclose(
        fused.low, np.minimum(np.quantile(expected, 0.025, axis=0, method="weibull"), fused.scores), rtol=1e-5
    )
    np.testing.assert_allclose(
        fused.high, np.maximum(np.quantile(expected, 0.975, axis=0, method="weibull"), fused.scores), rtol=1e-5
    )
    ranks = [[1 + sum(other > own for other in scores) for own in scores] for scores in expected]
    np.testing.assert_allclose(fused.rank_low, np.quantile(ranks, 0.025, axis=0, method="nearest"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((ranking([1, 2, 3]), ranking([1, 2, 3], features=("a", "b", "x")), {"tabular": 1, "image": 0}), "features"),
        ((ranking([1, 2, 3]), ranking([[1], [2], [3]], ("x",)), {"tabular": 1, "image": 0}), "classes"),
        ((ranking([1, 2, 3]), ranking([1, 2, 3]), {"tabular": 1}), "weights of 'tabular' and 'image'"),
    ],
)
def test_what_does_not_fit_together(arguments, message):
    with pytest.raises(pg.PermGradError, match=message):
        pg.fuse(*arguments)


def test_unknown_scaling():
    with pytest.raises(pg.PermGradError, match="'share', 'min-max'"):
        pg.fuse(ranking([1, 2, 3]), ranking([1, 2, 3]), {"tabular": 1, "image": 0}, fusion_scale="max")


def test_what_is_pending_in_a_part_is_pending_in_the_whole():
    part = pg.FeatureRanking(("a", "b", "c"), np.array([2.0, 0.0, 1.0]), pending=("b",))
    fused = pg.fuse(part, ranking([0.1, 0.8, 0.1]), {"tabular": 0.5, "image": 0.5})
    assert fused.pending == ("b",)
    assert fused.select(3) == ["a", "c"]
    assert fused.order.tolist() == [0, 2, 1]
    np.testing.assert_allclose(fused.scores, [(2 / 3 + 1 / 2) / 2, 0, (1 / 3 + 1 / 2) / 2])
    assert fused.with_unused(["z", "a", "b", "c"]).order.tolist() == [1, 3, 2, 0]
    assert replace(part, pending=(), unused=("b",)).order[-1] == 1
    fused = pg.fuse(replace(part, pending=(), unused=("b",)), ranking([0.1, 0.8, 0.1]), fused.branch_weights)
    assert (fused.unused, fused.pending) == (("b",), ())
    np.testing.assert_allclose(fused.scores, [(2 / 3 + 1 / 2) / 2, 0, (1 / 3 + 1 / 2) / 2])


def test_noise_among_many_features_does_not_bias_replicates(rng):
    """What is cut off at 0 must not be cut off again in each replicate: their sum would swell, and shares shrink."""
    scores = np.append(1.0, 0.05 * rng.normal(size=500))
    noisy = [
        replace(ranking(scores, features=range(501)), replicates=scores + 0.05 * rng.normal(size=(200, 501)))
        for _ in range(2)
    ]
    fused = pg.fuse(*noisy, {"tabular": 0.5, "image": 0.5})
    np.testing.assert_allclose(fused.replicates.mean(axis=0), fused.scores, atol=0.002)
    assert fused.low[0] < fused.scores[0] < fused.high[0]
    assert (fused.low >= 0).all()
