"""Branch weights: what each branch contributes to the loss, by switching branches off.

A branch is switched off by replacing its code, just before the branches meet: by the same constant
in every row, its mean over the rows or zeros, or by the code of another row. Zeros are what the
published method takes; behind a max-pooling they lie far from any code that the head was trained on,
and the loss explodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np

from permgrad.backend import compiled, keras
from permgrad.importance.bootstrap import Bootstrap
from permgrad.importance.donors import shuffled
from permgrad.importance.formula import Formula
from permgrad.importance.network._inputs import Inputs
from permgrad.importance.network._target import Target
from permgrad.importance.network.fusion_point import fusion_point
from permgrad.importance.shapley import shapley_values
from permgrad.metrics.outputs import head_and_unit


@dataclass(frozen=True)
class BranchWeights:
    """The share of each branch, and the losses that it follows from.

    Attributes
    ----------
    weights : dict
        Branch name → share; they sum to 1.
    losses : dict
        Branches left on, joined by "+" ("" for none) → mean loss over the rows.
    method, baseline : str
    replicates : dict
        Branch name → its share in each replicate of a bootstrap of rows, shape (n_replicates,).
    row_losses : ndarray of shape (n_rows,) or None
        Loss of each row with all branches on.

    Examples
    --------
    >>> pg.BranchWeights({"tabular": 0.75, "image": 0.25}).weights["image"]
    0.25
    """

    weights: dict[str, float]
    losses: dict[str, float] = field(default_factory=dict)
    method: str = "shapley"
    baseline: str = "shuffled"
    replicates: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    row_losses: np.ndarray | None = field(default=None, repr=False)

    def alike(self) -> BranchWeights:
        """Return equal shares without uncertainty, for a network whose losses do not distinguish its branches.

        Examples
        --------
        >>> pg.BranchWeights({"tabular": 0.75, "image": 0.25}).alike().weights
        {'tabular': 0.5, 'image': 0.5}
        """
        return replace(self, weights=dict.fromkeys(self.weights, 1 / len(self.weights)), replicates={})


def branch_weights(
    model: Any,
    inputs: Any,
    y: Any,
    *,
    weights: Literal["shapley", "softmax"] = "shapley",
    baseline: Literal["shuffled", "mean", "zero"] = "shuffled",
    classes: Sequence[Any] | None = None,
    task: Literal["classification", "regression"] | None = None,
    output: int | str | None = None,
    random_state: int = 0,
) -> BranchWeights:
    """Weight a model's branches by ablation.

    Parameters
    ----------
    model : keras.Model
    inputs : array or list of arrays
        One for each of the model's inputs.
    y : array of shape (n_rows,)
        Class numbers (or one-hot rows), or target values.
    weights : {"shapley", "softmax"}
        "shapley": each branch's Shapley value of the loss reduction, from the losses of all subsets of branches,
        divided by their sum (a branch that makes the loss worse gets 0). It does not depend on the loss's unit.
        "softmax": softmax of the loss increases when one branch is off: the published formula, which depends on the
        unit.
    baseline : {"shuffled", "mean", "zero"}
        What replaces the output of a branch that is off: its output for another row, drawn without replacement; its
        mean over the rows; or zeros (published). The output for another row is realistic but misleading. It reveals the
        branch that the network trusts, even if it trusts that branch too much.
    classes : sequence, optional
        Class names; given classes mean that `y` holds class numbers.
    task, output : optional
        See `permutation_importance`.
    random_state : int
        Seed of the bootstrap and of the shuffled rows.

    Returns
    -------
    BranchWeights

    References
    ----------
    Shapley (1953). For two branches: value of a branch = half of (loss with none on - loss with it
    alone) + (loss with the other alone - loss with both).

    Examples
    --------
    >>> encoded, numbers = clf.encoder_.transform(test.X), np.searchsorted(clf.classes_, test.y)
    >>> found = pg.branch_weights(clf.network_, encoded, numbers)
    >>> round(sum(found.weights.values()), 6)
    1.0
    """
    formula = Formula(weights=weights, baseline=baseline)
    head, unit = head_and_unit(model, output)
    data = Inputs.of(model, inputs, output=head)
    return weigh_branches(data, Target.of(y, data, classes, task, unit=unit), formula, random_state)


def weigh_branches(data: Inputs, target: Target, formula: Formula, random_state: int) -> BranchWeights:
    """Do what `branch_weights` does, with inputs and target that other explainers share."""
    bootstrap = target.bootstrap(random_state)
    sums, row_losses = _subset_losses(data, target, formula.baseline, bootstrap, random_state)
    names = [branch.name for branch in data.cut.branches]
    losses = {on: float(bundles.sum() / len(data)) for on, bundles in sums.items()}
    replicates = {on: bootstrap.means(bundles[None])[:, 0] for on, bundles in sums.items()}
    shares = [
        _shares({on: float(loss[i]) for on, loss in replicates.items()}, len(names), formula.weights)
        for i in range(len(bootstrap.weights))
    ]
    return BranchWeights(
        weights=dict(zip(names, _shares(losses, len(names), formula.weights).tolist(), strict=True)),
        losses={"+".join(names[i] for i in sorted(subset)): loss for subset, loss in losses.items()},
        method=formula.weights,
        baseline=formula.baseline,
        replicates=dict(zip(names, np.transpose(shares), strict=True)),
        row_losses=row_losses,
    )


def _shares(losses: dict[frozenset[int], float], n: int, method: str) -> np.ndarray:
    """Return each branch's share, from the losses with every subset of branches on."""
    if method == "shapley":
        return _positive_shares(shapley_values({subset: -loss for subset, loss in losses.items()}, n))
    everything = frozenset(range(n))
    rise = np.array([losses[everything - {i}] - losses[everything] for i in range(n)])
    return np.exp(rise - rise.max()) / np.exp(rise - rise.max()).sum()


def _positive_shares(values: np.ndarray) -> np.ndarray:
    positive = np.maximum(values, 0)
    return positive / positive.sum() if positive.sum() > 0 else np.full(len(values), 1 / len(values))


def _subset_losses(
    data: Inputs, target: Target, baseline: str, bootstrap: Bootstrap, random_state: int
) -> tuple[dict[frozenset[int], np.ndarray], np.ndarray]:
    """Return the losses with each subset of branches on, added up by the bootstrap's bundles; with all on, by row."""
    n = len(data.cut.branches)
    row_losses = np.empty(len(data))
    losses = {
        frozenset(on): np.zeros(bootstrap.n_bundles) for size in range(n + 1) for on in combinations(range(n), size)
    }
    point = fusion_point(data.cut)
    predict = data.cut.once("finish", lambda: compiled(lambda *parts: point.finish(list(parts)), data.cut.model))
    constants = [] if baseline == "shuffled" else _constant_codes(data, baseline, target)
    other = shuffled(len(data), np.random.default_rng([random_state, len(data)]), target.weights)
    for rows in data.blocks(2 * data.floats_per_row()):
        shown = [point.contribute(i, data.encode(branch, rows)) for i, branch in enumerate(data.cut.branches)]
        off = constants or [data.encode_taken(branch, other[rows]) for branch in data.cut.branches]
        hidden = [
            keras.ops.broadcast_to(point.contribute(i, code), whole.shape)
            for i, (code, whole) in enumerate(zip(off, shown, strict=True))
        ]
        at = np.arange(rows.start, rows.stop)
        for on in losses:
            predictions = predict(*(shown[i] if i in on else hidden[i] for i in range(n)))
            of_rows = target.losses(rows, keras.ops.convert_to_numpy(predictions))
            losses[on] += bootstrap.sums(at, target.weighed(at, of_rows))[0]
            if len(on) == n:
                row_losses[rows] = of_rows
    return losses, row_losses


def _constant_codes(data: Inputs, baseline: str, target: Target) -> list[Any]:
    """Return what replaces each branch's code, shape (1, ...)."""
    sums = [np.zeros((1, *branch.code.shape[1:])) for branch in data.cut.branches]
    if baseline == "mean":
        for rows in data.blocks(data.floats_per_row()):
            for total, branch in zip(sums, data.cut.branches, strict=True):
                code = keras.ops.convert_to_numpy(data.encode(branch, rows)).astype(float)
                total += target.weighed(rows, code.T).T.sum(axis=0)
    return [
        keras.ops.cast(total / len(data), branch.code.dtype)
        for total, branch in zip(sums, data.cut.branches, strict=True)
    ]
