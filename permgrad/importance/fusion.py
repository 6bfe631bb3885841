"""PermGrad: permutation scores and Grad-CAM scores on one scale, weighed by branch, added."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from permgrad.errors import PermGradError
from permgrad.importance.ranking import FeatureRanking


def fuse(
    permutation: FeatureRanking,
    grad_cam: FeatureRanking,
    branch_weights: Mapping[str, float],
    *,
    scaling: Literal["share", "min-max"] = "share",
) -> FeatureRanking:
    """Fuse the two branches' rankings into one.

    Parameters
    ----------
    permutation, grad_cam : FeatureRanking
        Of the same features and classes.
    branch_weights : mapping
        Shares of ``"tabular"`` and ``"image"``.
    scaling : {"share", "min-max"}
        How each branch's scores are brought to one scale, over all features and classes jointly:
        by `share`, or by `min_max` (published).

    Returns
    -------
    FeatureRanking
        ``class_scores[f, c] = w_tabular * P[f, c] + w_image * G[f, c]`` with P and G the scaled class
        scores; ``scores``: their sum over classes. Without classes, the same of the scores. With
        ``scaling="share"`` the scores of all features sum to 1. Features that are pending in one of the
        two are left out of the scaling; they have the score 0 and are pending here too.

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
    if set(branch_weights) != {"tabular", "image"}:
        raise PermGradError(f"expected weights of 'tabular' and 'image', got {sorted(branch_weights)}")
    scale = scalings[scaling]
    pending = tuple(name for name in permutation.features if name in {*permutation.pending, *grad_cam.pending})
    measured = ~np.isin(permutation.features, pending)
    fused = np.zeros_like(_values(permutation))
    for branch, part in (("tabular", permutation), ("image", grad_cam)):
        fused[measured] += branch_weights[branch] * scale(_values(part)[measured])
    by_class = permutation.classes is not None
    return FeatureRanking(
        permutation.features,
        fused.sum(axis=1) if by_class else fused,
        class_scores=fused if by_class else None,
        classes=permutation.classes,
        method="permgrad",
        components={"permutation": permutation, "grad_cam": grad_cam},
        branch_weights=dict(branch_weights),
        pending=pending,
        settings={"scaling": scaling},
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
