"""Explain single rows: what each column adds to the network's answer, in which branch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from permgrad.backend import keras
from permgrad.data.table import Table
from permgrad.errors import PermGradError
from permgrad.images.layout import FeatureLayout
from permgrad.importance.budget import check_random_state
from permgrad.importance.game._views import NetworkView
from permgrad.importance.game.local import LEAST_ROUNDS, LocalValues, local_values
from permgrad.importance.game.ranking import model_outputs
from permgrad.importance.grouping._columns import column_names, resolve_groups
from permgrad.importance.network._inputs import Inputs
from permgrad.importance.network._target import Target
from permgrad.importance.network.branches import CutModel
from permgrad.importance.permuting.permutation import count_columns, positions_in
from permgrad.importance.row_explanations import RowExplanations
from permgrad.metrics.outputs import task_of


def explain_rows(
    model: Any,
    inputs: Any,
    background: Any,
    *,
    of: Sequence[int] | int | None = None,
    layout: FeatureLayout | None = None,
    groups: Mapping[str, Sequence[Any]] | None = None,
    classes: Sequence[Any] | None = None,
    task: Literal["classification", "regression"] | None = None,
    n_orders: int = LEAST_ROUNDS,
    random_state: int = 0,
) -> RowExplanations:
    """Explain a Keras model's predictions for rows: Shapley values of its output, per column and per branch.

    Parameters
    ----------
    model : keras.Model
        As for `rank_features`. Other models are not explained row by row; of those, shap does it.
    inputs : array or list of arrays
        Rows to explain, as the model takes them.
    background : array or list of arrays
        Rows whose values replace hidden columns: about 64, drawn from the training or test rows.
    of : int, or sequence of int, optional
        Number of the class whose log-odds are explained, for all rows or for each. By default class 1 of two classes;
        with more classes, the most probable one.
    layout, groups, classes, task
        See `rank_features`.
    n_orders : int
        Minimum number of orders in which columns are revealed; each is walked in both directions.
    random_state : int

    Returns
    -------
    RowExplanations
        In log-odds, or the target's unit. A row's values add up to its output minus the mean output of the background.

    Raises
    ------
    PermGradError
        If the model is none of Keras's, inputs do not fit it, or it has several outputs that are not classes.

    Examples
    --------
    >>> rows, background = clf.encoder_.transform(test.X.head(2)), clf.encoder_.transform(train.X.head(8))
    >>> pg.explain_rows(clf.network_, rows, background, layout=clf.layout_, n_orders=1).values.shape
    (2, 4)
    """
    check_random_state(random_state)
    if not isinstance(model, (keras.Model, CutModel)):
        raise PermGradError(
            f"explain_rows opens up Keras functional models, got {type(model).__name__}; of another model, shap tells"
            " what each column adds to a prediction: shap.Explainer(model.predict_proba, background)(rows)"
        )
    inputs, background = _arrays(inputs), _arrays(background)
    several = isinstance(inputs, (list, tuple))
    pairs = zip(inputs, background, strict=True) if several else [(inputs, background)]
    joined = [np.concatenate([np.asarray(own), np.asarray(other)]) for own, other in pairs]
    n_rows = len(np.asarray(inputs[0] if several else inputs))
    data = Inputs.of(model, joined if several else joined[0])
    target = _explained(data, n_rows, of, classes, task)
    branches = list(data.cut.branches)
    names = layout.features if layout is not None else column_names(inputs[0] if several else inputs)
    columns_of = resolve_groups(count_columns(data, branches, layout), names, groups)
    positions = {b: [positions_in(data, b, columns, layout) for columns in columns_of.values()] for b in branches}
    view = NetworkView(data, target, positions, n_steps=n_rows * LEAST_ROUNDS)
    found = local_values(view, n_rows, random_state, n_orders)
    explained = tuple(target.classes[c] for c in target.y[:n_rows]) if target.classes else None
    return _named(found, tuple(columns_of), view.branches, explained)


def _arrays(rows: Any) -> Any:
    """Return rows with the frame of a table in its place."""
    return rows.X if isinstance(rows, Table) else rows


def _explained(data: Inputs, n_rows: int, of: Any, classes: Sequence[Any] | None, task: str | None) -> Target:
    """Return as the target what is explained: of classes, the number of one for each row."""
    known, _, names = task_of(data.cut.model, None, classes=classes, task=task)
    outputs = model_outputs(data)
    if not known.n_classes:
        if known.width > 1:
            raise PermGradError(f"one output is explained, this model has {known.width}; pass a model of one of them")
        return Target(outputs.reshape(len(data)), known, None)
    probabilities = known.probabilities(outputs.reshape(len(data), -1))
    chosen = probabilities.argmax(axis=1) if known.n_classes > 2 else np.ones(len(data), int)
    if of is not None:
        chosen[:n_rows] = of
    if chosen.min() < 0 or chosen.max() >= known.n_classes:
        raise PermGradError(f"of must be class numbers from 0 to {known.n_classes - 1}, got {of}")
    return Target(chosen, known, names)


def _named(
    found: LocalValues, features: tuple[str, ...], branches: Sequence[str], explained: tuple[str, ...] | None
) -> RowExplanations:
    return RowExplanations(
        features,
        found.values.sum(axis=2),
        found.error,
        found.base,
        found.outputs,
        {name: found.values[:, :, b] for b, name in enumerate(branches)},
        explained,
    )
