"""The whole of PermGrad: permutation, Grad-CAM and ablation of one network, fused into a ranking."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from permgrad.data.table import check_columns
from permgrad.errors import PermGradError
from permgrad.images.layout import FeatureLayout
from permgrad.importance.ablation import BranchWeights, weigh_branches
from permgrad.importance.budget import Budget
from permgrad.importance.formula import Formula
from permgrad.importance.fusion import fuse
from permgrad.importance.grad_cam import read_heat
from permgrad.importance.grouping._columns import column_names, resolve_groups
from permgrad.importance.learned import sentence, what_is_learned
from permgrad.importance.network._inputs import Inputs
from permgrad.importance.network._target import Target
from permgrad.importance.network.branches import Branch
from permgrad.importance.permuting._network import work_of_permuting
from permgrad.importance.permuting.permutation import count_columns, permute_features, positions_in
from permgrad.importance.ranking import FeatureRanking

QUICK = 1e12
"""Multiplications of the image branch (`work_of_permuting`), over all permutations of all rows, up to which features
are permuted end to end without being asked for: about a minute on two cores."""


def rank_features(
    model: Any,
    inputs: Any,
    y: Any,
    *,
    layout: FeatureLayout | None = None,
    groups: Mapping[str, Sequence[int]] | None = None,
    classes: Sequence[Any] | None = None,
    prior: Any = None,
    class_weights: Sequence[float] | np.ndarray | None = None,
    formula: Formula = Formula(),
    end_to_end: bool | None = None,
    conditional: bool = False,
    n_repeats: int = 5,
    random_state: int = 0,
    budget: Budget = Budget(),
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
    prior : array of shape (n_classes,) or (n_outputs,), optional
        What a model that has learned nothing would answer: each class's share among the training rows, or the mean of
        their target; by default that of these rows.
    class_weights : array of shape (n_classes,), optional
        Of the loss that the model was trained on. Whether it has learned anything is told by that loss; scores and
        branch weights are in the plain one.
    formula : Formula
        How branches are scored, weighed and added; `permgrad.PUBLISHED` is the published one.
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
    budget : Budget
        Memory, time and checkpoint of the permutations. Permutations through both branches come second, with the
        time that is left, and a checkpoint file of their own beside the one named.
    verbose : bool
        Show a progress bar.

    Returns
    -------
    FeatureRanking
        ``components`` holds the ranking of each explainer: "permutation", the attribution's name, and where
        asked for "end_to_end" and "conditional"; see `fuse` for the scores and their intervals.
        ``settings["agreement"]``: Spearman's correlation of each component with the fused score.
        ``settings["learned"]``: the model's loss beside that of the prior, see `what_is_learned`. Where it is no
        better, what ablation says of the branches is noise: they count alike in the fused score, and what would have
        been their weights is in ``settings["distrusted_branch_weights"]``.

    Raises
    ------
    PermGradError
        If the model cannot be cut into one tabular and one image branch, or inputs, target and layout do not fit it.

    Warns
    -----
    UserWarning
        If the model's loss on these rows cannot be told from that of the prior.

    References
    ----------
    Escalera-González, Castillo-Cara, Rincón-Zamorano & Orozco-Barbosa, PermGrad.
    """
    budget = budget.begin()
    data = Inputs.of(model, inputs, budget.max_memory, shared=True)
    tabular, image = _branches(data, layout)
    features = _feature_names(inputs, tabular, layout)
    target = Target.of(y, data, classes)
    heat = permutation = None
    if image and layout is not None:
        # First: on its way it computes the image branch's codes, which the others use.
        heat = read_heat(data, layout, formula, groups, target.classes, target.bootstrap(random_state))
    weights = weigh_branches(data, target, formula, random_state)
    learned = what_is_learned(target, weights.row_losses, prior, class_weights)  # type: ignore[arg-type]
    doubt: dict[str, Any] = {}
    if not learned["better"]:
        warnings.warn(sentence(learned, bool(target.classes)), stacklevel=2)
        doubt, weights = {"distrusted_branch_weights": weights.weights}, weights.alike()
    permute = functools.partial(
        permute_features,
        data,
        target,
        layout=layout,
        features=features,
        groups=groups,
        n_repeats=n_repeats,
        random_state=random_state,
        verbose=verbose,
    )
    if tabular:
        permutation = permute(via="tabular", budget=budget)
    ranking = _fused(permutation, heat, weights, formula)
    if end_to_end is None:
        end_to_end = image is not None and _work(data, image, layout, groups) * n_repeats <= QUICK
    via = "both" if tabular and image else "tabular" if tabular else "image"
    components = {**ranking.components, **_further(permute, budget, via, end_to_end, conditional)}
    agreement = {name: part.agreement(ranking) for name, part in components.items()}
    settings = {
        **formula.to_settings(),
        "n_repeats": n_repeats,
        "random_state": random_state,
        "losses": weights.losses,
        "learned": learned,
        **doubt,
        "agreement": agreement,
    }
    return replace(ranking, components=components, branch_weights=weights.weights, settings=settings)


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


def _feature_names(inputs: Any, tabular: Branch | None, layout: FeatureLayout | None) -> Sequence[str] | None:
    """Return the columns' names: the layout's, or those of a DataFrame; both are the same if both are given."""
    several = isinstance(inputs, (list, tuple))
    names = column_names(inputs[tabular.input_index] if several and tabular else inputs)
    if layout is None:
        return names
    if tabular and names is not None:
        check_columns(names, layout.features, "the tabular input")
    return layout.features


def _fused(
    permutation: FeatureRanking | None, heat: FeatureRanking | None, weights: BranchWeights, formula: Formula
) -> FeatureRanking:
    """Fuse the two, or return the scores of a model with one branch as they are."""
    if permutation is not None and heat is not None:
        return fuse(permutation, heat, weights, fusion_scale=formula.fusion_scale)  # type: ignore[arg-type]
    alone = permutation or heat
    if alone is None:
        raise PermGradError("the model has neither a tabular nor an image branch")
    return replace(alone, components={alone.method: alone})


def _further(
    permute: Callable[..., FeatureRanking], budget: Budget, via: str, end_to_end: bool, conditional: bool
) -> dict[str, FeatureRanking]:
    """Permute through all branches at once, and among alike rows, where asked for."""
    components = {}
    if end_to_end and via == "both":
        components["end_to_end"] = permute(via=via, budget=budget.step("end_to_end"))
    if conditional:
        components["conditional"] = permute(via=via, conditional=True, budget=budget.step("conditional"))
    return components


def _work(data: Inputs, image: Branch, layout: FeatureLayout | None, groups: Mapping[str, Sequence[int]] | None) -> int:
    """Count the multiplications of permuting each feature once, in all rows."""
    columns_of = resolve_groups(count_columns(data, [image], layout), None, groups)
    positions = [positions_in(data, image, columns, layout) for columns in columns_of.values()]
    return len(data) * work_of_permuting(data.cut, image, positions)
