"""PermGrad: permutation scores and Grad-CAM scores on one scale, weighed by branch, added."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from permgrad.errors import PermGradError
from permgrad.importance.ablation import BranchWeights
from permgrad.importance.bootstrap import interval
from permgrad.importance.ranking import FeatureRanking


def fuse(
    permutation: FeatureRanking,
    grad_cam: FeatureRanking,
    branch_weights: Mapping[str, float] | BranchWeights,
    *,
    scaling: Literal["share", "min-max"] = "share",
) -> FeatureRanking:
    """Fuse the two branches' rankings into one.

    Parameters
    ----------
    permutation, grad_cam : FeatureRanking
        Of the same features and classes.
    branch_weights : mapping or BranchWeights
        Shares of ``"tabular"`` and ``"image"``. Intervals of the fused scores take the weights' own uncertainty
        into account where they are `BranchWeights`.
    scaling : {"share", "min-max"}
        How each branch's scores are brought to one scale, over all features and classes jointly:
        by `share`, or by `min_max` (published).

    Returns
    -------
    FeatureRanking
        ``class_scores[f, c] = w_tabular * P[f, c] + w_image * G[f, c]`` with P and G the scaled class
        scores; ``scores``: their sum over classes. Without classes, the same of the scores. With
        ``scaling="share"`` the scores of all features sum to 1. Features that are pending in one of the
        two are left out of the scaling; they have the score 0 and are pending here too. Where both rankings carry
        bootstrap replicates of one seed, scores and ranks have 95 % intervals: each replicate is fused anew.

    Raises
    ------
    PermGradError
        If features or classes differ.
    """
    scalings = {"share": share, "min-max": min_max}
    if scaling not in scalings:
        raise PermGradError(f"scaling must be 'share' or 'min-max', got {scaling!r}")
    for what in ("features", "classes"):
        ours, theirs = getattr(permutation, what), getattr(grad_cam, what)
        if ours != theirs:
            raise PermGradError(f"rankings to fuse must have the same {what}, got {ours} and {theirs}")
    given = branch_weights if isinstance(branch_weights, Mapping) else branch_weights.weights
    if set(given) != {"tabular", "image"}:
        raise PermGradError(f"expected weights of 'tabular' and 'image', got {sorted(given)}")
    pending = tuple(name for name in permutation.features if name in {*permutation.pending, *grad_cam.pending})
    measured = ~np.isin(permutation.features, pending)

    def add(p: np.ndarray, g: np.ndarray, weights: Mapping[str, float]) -> np.ndarray:
        fused = np.zeros(p.shape)
        for branch, part in (("tabular", p), ("image", g)):
            fused[measured] += weights[branch] * scalings[scaling](part[measured])
        return fused

    by_class = permutation.classes is not None
    fused = add(_values(permutation), _values(grad_cam), given)
    scores = fused.sum(axis=1) if by_class else fused
    replicates = None
    intervals: dict[str, Any] = {}
    if permutation.replicates is not None and grad_cam.replicates is not None:
        drawn = [given] * len(permutation.replicates)
        if not isinstance(branch_weights, Mapping) and branch_weights.replicates:
            drawn = [{name: of[i] for name, of in branch_weights.replicates.items()} for i in range(len(drawn))]
        pairs = zip(permutation.replicates, grad_cam.replicates, drawn, strict=True)
        replicates = np.stack([add(*parts).astype(np.float32) for parts in pairs])
        intervals = interval(scores, replicates.sum(axis=2) if by_class else replicates)
    return FeatureRanking(
        permutation.features,
        scores,
        class_scores=fused if by_class else None,
        classes=permutation.classes,
        method="permgrad",
        components={part.method: part for part in (permutation, grad_cam)},
        branch_weights=dict(given),
        pending=pending,
        **intervals,
        settings={"scaling": scaling},
        replicates=replicates,
    )


def share(scores: np.ndarray) -> np.ndarray:
    """Scale scores to shares of their sum; a negative score (no reliance, within noise) counts as 0.

    Zero stays zero and ratios stay ratios, so a branch that tells features hardly apart moves the
    fused ranking hardly at all; min-max scaling would stretch its differences to the full range.
    """
    positive = np.maximum(scores, 0)
    return positive / positive.sum() if positive.sum() > 0 else positive


def min_max(scores: np.ndarray) -> np.ndarray:
    """Scale to [0, 1] over the whole array; scores that are all equal tell nothing apart and become 0."""
    low, high = scores.min(), scores.max()
    return (scores - low) / (high - low) if high > low else np.zeros_like(scores)


def _values(ranking: FeatureRanking) -> np.ndarray:
    return ranking.scores if ranking.class_scores is None else ranking.class_scores
