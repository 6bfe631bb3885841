"""The whole of PermGrad: permutation, Grad-CAM and ablation of one network, fused into a ranking."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from permgrad.data.table import check_columns
from permgrad.errors import PermGradError
from permgrad.images.layout import FeatureLayout
from permgrad.importance.ablation import BranchWeights, branch_weights
from permgrad.importance.fusion import fuse
from permgrad.importance.grad_cam import read_heat
from permgrad.importance.network.branches import Branch, largest_tensor
from permgrad.importance.network.inputs import Inputs, Target, column_names
from permgrad.importance.permuting.checkpoint import beside
from permgrad.importance.permuting.permutation import permutation_importance
from permgrad.importance.ranking import FeatureRanking

PUBLISHED = {
    "weights": "softmax",
    "baseline": "zero",
    "scaling": "min-max",
    "attribution": "grad_cam",
    "layer": "last",
    "readout": "cell",
}
"""The published formula, as options: ``rank_features(..., **PUBLISHED)``."""
QUICK = 5e10
"""Numbers in the image branch's largest tensor, over all permutations of all rows, up to which features are
permuted end to end without being asked for: about a minute on two cores."""


def rank_features(
    model: Any,
    inputs: Any,
    y: Any,
    *,
    layout: FeatureLayout | None = None,
    groups: Mapping[str, Sequence[int]] | None = None,
    classes: Sequence[Any] | None = None,
    weights: Literal["shapley", "softmax"] = "shapley",
    baseline: Literal["shuffled", "mean", "zero"] = "shuffled",
    scaling: Literal["share", "min-max"] = "share",
    attribution: str = "gradient_input",
    layer: str = "last",
    readout: Literal["cell", "bilinear"] = "cell",
    end_to_end: bool | None = None,
    conditional: bool = False,
    n_repeats: int = 5,
    random_state: int = 0,
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
    baseline : {"shuffled", "mean", "zero"}
        What replaces a branch that is switched off, see `branch_weights`.
    scaling : {"share", "min-max"}
        How the branches' scores are brought to one scale, see `fuse`.
    attribution, layer, readout : str
        How the image branch's features are scored, see `grad_cam`.
    end_to_end : bool, optional
        Also permute each raw column through both branches at once, which is all that the network relies on;
        by default where that takes about a minute at most.
    conditional : bool
        Also do so among rows alike in the other columns: the component that carries p-values of what a
        feature alone has to tell, see `permutation_importance`.
    n_repeats : int
        Permutations of each feature.
    random_state : int
        Of permutations and bootstrap.
    max_memory, timeout, checkpoint
        Of the permutations, see `permutation_importance`. Permutations through both branches come second, with the
        time that is left, and a checkpoint file of their own beside the one named.
    verbose : bool
        Show a progress bar.

    Returns
    -------
    FeatureRanking
        ``components`` holds the ranking of each explainer: "permutation", the attribution's name, and where
        asked for "end_to_end" and "conditional"; see `fuse` for the scores and their intervals.
        ``settings["agreement"]``: Spearman's correlation of each component with the fused score.

    References
    ----------
    Escalera-González, Castillo-Cara, Rincón-Zamorano & Orozco-Barbosa, PermGrad.
    """
    begun = time.monotonic()
    data = Inputs.of(model, inputs, max_memory, shared=True)
    tabular, image = _branches(data, layout)
    several = isinstance(inputs, (list, tuple))
    names = column_names(inputs[tabular.input_index] if several and tabular else inputs)
    if tabular and layout is not None and names is not None:
        check_columns(names, layout.features, "the tabular input")
    target = Target.of(y, data, classes)
    permutation = cam = None
    if image and layout is not None:
        # First: on its way it computes the image branch's codes, which the others use.
        bootstrap = target.bootstrap(random_state)
        cam = read_heat(data, layout, attribution, layer, readout, groups, target.classes, bootstrap)
    share = branch_weights(data, None, y, method=weights, baseline=baseline, classes=classes, random_state=random_state)

    permuted = functools.partial(
        permutation_importance,
        data,
        None,
        y,
        layout=layout,
        features=layout.features if layout is not None else names,
        groups=groups,
        classes=classes,
        n_repeats=n_repeats,
        random_state=random_state,
        verbose=verbose,
    )

    def limits(name: str = "") -> dict[str, Any]:
        left = None if timeout is None else max(0.0, timeout - (time.monotonic() - begun))
        return {"timeout": left, "checkpoint": beside(checkpoint, name)}

    if tabular:
        permutation = permuted(via="tabular", **limits())
    ranking = _fused(permutation, cam, share, scaling)
    if end_to_end is None:
        end_to_end = _is_quick(data, image, n_repeats, len(ranking.features))
    components = dict(ranking.components)
    if tabular and image and end_to_end:
        components["end_to_end"] = permuted(via="both", **limits("end_to_end"))
    if conditional:
        via: Any = "both" if tabular and image else "tabular" if tabular else "image"
        components["conditional"] = permuted(via=via, conditional=True, **limits("conditional"))
    return replace(
        ranking,
        components=components,
        branch_weights=share.weights,
        settings={
            **ranking.settings,
            "weights": share.method,
            "baseline": share.baseline,
            "attribution": attribution,
            "layer": layer,
            "readout": readout,
            "n_repeats": n_repeats,
            "losses": share.losses,
            "random_state": random_state,
            "agreement": {name: part.agreement(ranking) for name, part in components.items()},
        },
    )


def _branches(data: Inputs, layout: FeatureLayout | None) -> tuple[Branch | None, Branch | None]:
    """Return the tabular and the image branch, None where there is none."""
    tabular, image = data.cut.of_kind("tabular"), data.cut.of_kind("image")
    if len(tabular) > 1 or len(image) > 1:
        raise PermGradError(
            f"PermGrad fuses one tabular and one image branch, this model has {len(tabular)} and {len(image)};"
            " use permutation_importance, grad_cam and branch_weights on its parts"
        )
    if image and layout is None:
        raise PermGradError("the model has an image branch: pass layout=, which says where each feature sits in it")
    return (tabular[0] if tabular else None), (image[0] if image else None)


def _fused(
    permutation: FeatureRanking | None, cam: FeatureRanking | None, share: BranchWeights, scaling: Any
) -> FeatureRanking:
    """Fuse the two, or return the scores of a model with one branch as they are."""
    if permutation is not None and cam is not None:
        return fuse(permutation, cam, share, scaling=scaling)
    part = permutation or cam
    if part is None:
        raise PermGradError("the model has neither a tabular nor an image branch")
    return replace(part, components={part.method: part}, settings={})


def _is_quick(data: Inputs, image: Branch | None, n_repeats: int, n_features: int) -> bool:
    return image is not None and n_features * n_repeats * len(data) * largest_tensor(image.encoder) <= QUICK
