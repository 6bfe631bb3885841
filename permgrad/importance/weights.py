"""First-layer weights as importance: how heavily a network connects each column, data unseen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from permgrad.backend import keras
from permgrad.errors import PermGradError
from permgrad.importance.grouping._columns import resolve_groups
from permgrad.importance.network.branches import cut_model
from permgrad.importance.network.first_layer import first_layer
from permgrad.importance.ranking import FeatureRanking
from permgrad.layers.batch_ensemble import EnsembleDense


def weight_importance(
    models: Any,
    *,
    features: Sequence[str] | None = None,
    groups: Mapping[str, Sequence[Any]] | None = None,
) -> FeatureRanking:
    """Sum the absolute weights from each column to the first Dense layer of the tabular branch.

    A `Selector` in front of the layer is taken into account: its weight multiplies that of the column. Layers that
    scale columns (`MinMaxScale`, BatchNorm) are not, so columns should enter the layer on one scale for their weights
    to be comparable. Weights say what a network *could* use; `permutation_importance` says what it does use.

    Parameters
    ----------
    models : keras.Model or sequence of keras.Model
        Several trainings of a network are averaged.
    features : sequence of str, optional
        Names of the columns.
    groups : mapping of str to columns, optional
        Features with several columns; their weights are added. These alone are ranked.

    Returns
    -------
    FeatureRanking
        ``scores``: the sum over the layer's units and the feature's columns, averaged over models; ``std``
        over models (ddof 1), None for one.

    Raises
    ------
    PermGradError
        If there is no model, the tabular branch of a model does not begin with a Dense layer, or models differ in
        columns.

    Examples
    --------
    >>> found = pg.weight_importance(clf.network_)
    >>> found.scores.shape, bool((found.scores > 0).all())
    ((4,), True)
    """
    several = isinstance(models, (list, tuple))
    sums = [_sum_of_weights(model) for model in (models if several else [models])]
    if not sums or len({len(weights) for weights in sums}) > 1:
        raise PermGradError(f"expected models of the same columns, at least one, got {[len(w) for w in sums]} columns")
    members = resolve_groups(len(sums[0]), features, groups, alone=True)
    by_model = np.array([[weights[columns].sum() for columns in members.values()] for weights in sums])
    return FeatureRanking(
        tuple(members),
        by_model.mean(axis=0),
        std=by_model.std(axis=0, ddof=1) if len(sums) > 1 else None,
        method="first_layer_weights",
        settings={"n_models": len(sums)},
    )


def _sum_of_weights(model: Any) -> np.ndarray:
    tabular = cut_model(model).of_kind("tabular")
    first = first_layer(tabular[0].encoder) if len(tabular) == 1 else None
    if first is None or not first.linear or isinstance(first.layer, EnsembleDense):
        raise PermGradError(
            "weight_importance needs a model with one tabular branch that begins with a Dense layer, behind at most"
            " linear scaling, a selector or BatchNorm"
        )
    kernel = keras.ops.convert_to_numpy(first.layer.kernel)  # (n_columns, units)
    return np.abs(kernel).sum(axis=1, dtype=float) * np.abs(first.gates)
