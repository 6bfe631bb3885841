"""The whole of PermGrad: permutation, Grad-CAM and ablation of one network, fused into a ranking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from permgrad.errors import PermGradError
from permgrad.importance.ablation import BranchWeights, branch_weights
from permgrad.importance.fusion import fuse
from permgrad.importance.grad_cam import grad_cam
from permgrad.importance.inputs import Inputs, Target, column_names
from permgrad.importance.permutation import permutation_importance
from permgrad.importance.ranking import FeatureRanking
from permgrad.layout import FeatureLayout
from permgrad.table import check_columns

PUBLISHED = {"weights": "softmax", "baseline": "zero", "scaling": "min-max"}
"""The published formula, as options: ``rank_features(..., **PUBLISHED)``."""


def rank_features(
    model: Any,
    inputs: Any,
    y: Any,
    *,
    layout: FeatureLayout | None = None,
    groups: Mapping[str, Sequence[int]] | None = None,
    classes: Sequence[Any] | None = None,
    weights: Literal["shapley", "softmax"] = "shapley",
    baseline: Literal["mean", "zero"] = "mean",
    scaling: Literal["share", "min-max"] = "share",
    n_repeats: int = 5,
    seed: int = 0,
    layer: str | None = None,
    max_memory: int | None = None,
    timeout: float | None = None,
    checkpoint: str | Path | None = None,
    verbose: bool = False,
) -> FeatureRanking:
    """Rank the features of a Keras model by PermGrad.

    Parameters
    ----------
    model : keras.Model
        Any functional model with a tabular branch, an image branch, or both; its branches are found in
        its graph. With one branch, the ranking is that branch's explainer alone.
    inputs : array or list of arrays
        One for each of the model's inputs. The tabular columns are the layout's features, in its order.
    y : array of shape (n_rows,)
        Class numbers (or one-hot rows), or target values, of rows that the model was not trained on.
    layout : FeatureLayout
        Where each feature sits in the image; only a model without an image branch does without.
    groups : mapping of str to column positions, optional
        Features of several columns, ranked as one.
    classes : sequence, optional
        Class names.
    weights : {"shapley", "softmax"}
        How branches are weighed, see `branch_weights`.
    baseline : {"mean", "zero"}
        What replaces a branch that is switched off, see `branch_weights`.
    scaling : {"share", "min-max"}
        How the branches' scores are brought to one scale, see `fuse`.
    n_repeats : int
        Permutations of each feature.
    seed : int
        Of the permutations.
    layer : str, optional
        Convolution that Grad-CAM looks at; by default the last one.
    max_memory, timeout, checkpoint
        Of the permutations, see `permutation_importance`.
    verbose : bool
        Show a progress bar.

    Returns
    -------
    FeatureRanking
        ``components`` holds the permutation and the Grad-CAM ranking; see `fuse` for the scores.

    References
    ----------
    Escalera-González, Castillo-Cara, Rincón-Zamorano & Orozco-Barbosa, PermGrad.
    """
    data = Inputs.of(model, inputs, max_memory, shared=True)
    tabular, image = data.cut.of_kind("tabular"), data.cut.of_kind("image")
    if len(tabular) > 1 or len(image) > 1:
        raise PermGradError(
            f"PermGrad fuses one tabular and one image branch, this model has {len(tabular)} and {len(image)};"
            " use permutation_importance, grad_cam and branch_weights on its parts"
        )
    if image and layout is None:
        raise PermGradError("the model has an image branch: pass layout=, which says where each feature sits in it")
    several = isinstance(inputs, (list, tuple))
    names = column_names(inputs[tabular[0].input_index] if several and tabular else inputs)
    if tabular and layout is not None and names is not None:
        check_columns(names, layout.features, "the tabular input")
    target = Target.of(y, data, classes)
    permutation = cam = None
    if image and layout is not None:
        # First: on its way it computes the image branch's codes, which the others use.
        cam = grad_cam(data, None, layout, groups=groups, classes=target.classes, layer=layer)
    share = branch_weights(data, None, y, method=weights, baseline=baseline, classes=classes)
    if tabular:
        permutation = permutation_importance(
            data,
            None,
            y,
            features=layout.features if layout is not None else names,
            groups=groups,
            classes=classes,
            n_repeats=n_repeats,
            seed=seed,
            timeout=timeout,
            checkpoint=checkpoint,
            verbose=verbose,
        )
    if permutation is not None and cam is not None:
        ranking = fuse(permutation, cam, share.weights, scaling=scaling)
    else:
        ranking = _alone(permutation or cam)
    return replace(ranking, branch_weights=share.weights, settings=_settings(ranking, share, seed))


def _alone(part: FeatureRanking | None) -> FeatureRanking:
    """Return the ranking of a model with one branch: its explainer's scores as they are."""
    if part is None:
        raise PermGradError("the model has neither a tabular nor an image branch")
    return replace(part, components={part.method: part}, settings={})


def _settings(ranking: FeatureRanking, share: BranchWeights, seed: int) -> dict[str, Any]:
    ablation = {"weights": share.method, "baseline": share.baseline, "losses": share.losses}
    return {**ranking.settings, **ablation, "seed": seed}
