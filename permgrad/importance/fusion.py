"""PermGrad: permutation scores and Grad-CAM scores on one scale, weighed by branch, added."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from permgrad.errors import PermGradError
from permgrad.importance.ablation import BranchWeights
from permgrad.importance.bootstrap import interval
from permgrad.importance.formula import check_choice
from permgrad.importance.ranking import FeatureRanking


def fuse(
    permutation: FeatureRanking,
    grad_cam: FeatureRanking,
    branch_weights: Mapping[str, float] | BranchWeights,
    *,
    fusion_scale: Literal["share", "min-max"] = "share",
) -> FeatureRanking:
    """Fuse the two branches' rankings into one.

    Parameters
    ----------
    permutation, grad_cam : FeatureRanking
        Of the same features and classes.
    branch_weights : mapping or BranchWeights
        Shares of ``"tabular"`` and ``"image"``. With `BranchWeights`, the intervals of the fused scores include the
        uncertainty of the weights.
    fusion_scale : {"share", "min-max"}
        How each branch's scores are put on one scale, jointly over all features and classes: by `share`, or by
        `min_max` (published).

    Returns
    -------
    FeatureRanking
        ``class_scores[f, c] = w_tabular * P[f, c] + w_image * G[f, c]`` with P and G the scaled class
        scores; ``scores``: their sum over classes. Without classes, the same of the scores. With
        ``fusion_scale="share"`` the scores of all features sum to 1. Features that are pending or unused in one of the
        two are left out of the scaling; they have the score 0 and are pending or unused here too. Where both rankings
        carry bootstrap replicates, scores and ranks have 95 % intervals: each replicate is fused anew, pair by pair;
        those of `rank_features` draw the same rows for both.

    Raises
    ------
    PermGradError
        If features or classes differ.

    Examples
    --------
    >>> permutation = pg.FeatureRanking(("age", "dose"), np.array([3.0, 1.0]))
    >>> heat = pg.FeatureRanking(("age", "dose"), np.array([1.0, 1.0]))
    >>> pg.fuse(permutation, heat, {"tabular": 0.5, "image": 0.5}).scores.tolist()
    [0.625, 0.375]
    """
    given = _check(permutation, grad_cam, branch_weights, fusion_scale)
    pending, unused = (
        tuple(name for name in permutation.features if name in {*ours, *theirs})
        for ours, theirs in ((permutation.pending, grad_cam.pending), (permutation.unused, grad_cam.unused))
    )
    measured = ~np.isin(permutation.features, (*pending, *unused))
    by_class = permutation.classes is not None
    fused = _added([_values(permutation), _values(grad_cam)], given, measured, SCALES[fusion_scale])
    scores = fused.sum(axis=1) if by_class else fused
    drawn = _replicates(permutation, grad_cam, branch_weights, measured, SCALES[fusion_scale])
    replicates = drawn.sum(axis=2) if drawn is not None and by_class else drawn
    intervals: dict[str, Any] = {}
    if replicates is not None:
        intervals = interval(scores, replicates, measured)
        intervals["low"] = np.maximum(intervals["low"], 0)  # no scaled score is below
    return FeatureRanking(
        permutation.features,
        scores,
        class_scores=fused if by_class else None,
        classes=permutation.classes,
        method="permgrad",
        components={part.method: part for part in (permutation, grad_cam)},
        branch_weights=dict(given),
        pending=pending,
        unused=unused,
        **intervals,
        settings={"fusion_scale": fusion_scale},
        replicates=replicates,
        class_replicates=drawn if by_class else None,
    )


def share(scores: np.ndarray, measured: np.ndarray | None = None) -> np.ndarray:
    """Scale scores to shares of their sum; a negative score (no reliance, within noise) counts as 0.

    Zero stays zero and ratios stay ratios, so a branch that tells features hardly apart moves the
    fused ranking hardly at all; min-max scaling would stretch its differences to the full range.

    With `measured`, the scores are a replicate of those: what counted as 0 there is left out of the sum, whatever it
    is here, and varies about 0. To cut off noise once more in each replicate would swell the sum, and bias them.
    """
    if measured is None:
        return share(scores, scores)
    total = scores[measured > 0].sum()
    return (scores - np.minimum(measured, 0)) / total if total > 0 else np.zeros_like(scores)


def min_max(scores: np.ndarray, measured: np.ndarray | None = None) -> np.ndarray:
    """Scale to [0, 1] over the whole array; scores that are all equal tell nothing apart and become 0.

    With `measured`, the scores are a replicate of those, and scaled by the same entries.
    """
    of = scores if measured is None else measured
    low, high = scores.flat[of.argmin()], scores.flat[of.argmax()]
    return (scores - low) / (high - low) if high > low else np.zeros_like(scores)


SCALES = {"share": share, "min-max": min_max}


def _check(
    permutation: FeatureRanking,
    grad_cam: FeatureRanking,
    branch_weights: Mapping[str, float] | BranchWeights,
    fusion_scale: str,
) -> Mapping[str, float]:
    """Return the weights, if all is as it must be."""
    check_choice("fusion_scale", fusion_scale)
    for what in ("features", "classes"):
        ours, theirs = getattr(permutation, what), getattr(grad_cam, what)
        if ours != theirs:
            raise PermGradError(f"rankings to fuse must have the same {what}, got {ours} and {theirs}")
    given = branch_weights if isinstance(branch_weights, Mapping) else branch_weights.weights
    if set(given) != {"tabular", "image"}:
        raise PermGradError(f"expected weights of 'tabular' and 'image', got {sorted(given)}")
    return given


def _added(
    parts: list[np.ndarray],
    weights: Mapping[str, float],
    measured: np.ndarray,
    scale: Callable[..., np.ndarray],
    replicate_of: list[np.ndarray] | None = None,
) -> np.ndarray:
    fused = np.zeros(parts[0].shape)
    if not measured.any():
        return fused
    for i, branch in enumerate(("tabular", "image")):
        original = () if replicate_of is None else (replicate_of[i][measured],)
        fused[measured] += weights[branch] * scale(parts[i][measured], *original)
    return fused


def _replicates(
    permutation: FeatureRanking,
    grad_cam: FeatureRanking,
    branch_weights: Mapping[str, float] | BranchWeights,
    measured: np.ndarray,
    scale: Callable[..., np.ndarray],
) -> np.ndarray | None:
    """Fuse each replicate, as the scores were fused; None where a ranking carries none."""
    ours, theirs = (
        ranking.replicates if ranking.classes is None else ranking.class_replicates
        for ranking in (permutation, grad_cam)
    )
    if ours is None or theirs is None or not measured.any():
        return None
    weights: list[Mapping[str, float]]
    if isinstance(branch_weights, Mapping) or not branch_weights.replicates:
        weights = [branch_weights if isinstance(branch_weights, Mapping) else branch_weights.weights] * len(ours)
    else:
        of_branch = branch_weights.replicates
        weights = [{name: of_branch[name][i] for name in of_branch} for i in range(len(ours))]
    originals = [_values(permutation), _values(grad_cam)]
    return np.stack(
        [
            _added([p, g], each, measured, scale, originals).astype(np.float32)
            for p, g, each in zip(ours, theirs, weights, strict=True)
        ]
    )


def _values(ranking: FeatureRanking) -> np.ndarray:
    return ranking.scores if ranking.class_scores is None else ranking.class_scores
