"""Permutation importance of the tabular branch: how much the loss grows when one feature is shuffled.

What a permutation cannot change is not computed again: the other branches are encoded once (where
their codes of all rows fit into memory, else once per block of rows), and many permutations go
through the tabular branch and the head in one call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from permgrad.backend import compiled, keras
from permgrad.errors import PermGradError
from permgrad.importance.branches import Branch
from permgrad.importance.inputs import (
    Inputs,
    Target,
    column_names,
    even_size,
    largest_tensor,
    resolve_groups,
    rows_in_memory,
)
from permgrad.importance.meeting import meeting
from permgrad.importance.ranking import FeatureRanking

ROWS_PER_BLOCK = 2048
PERMUTED_ROWS = 16384
"""Rows of permuted copies in one call of the network, at most."""
ORDER_BYTES = 256 * 2**20
"""Row orders kept at a time."""


def permutation_importance(
    model: Any,
    inputs: Any,
    y: Any,
    *,
    features: Sequence[str] | None = None,
    groups: Mapping[str, Sequence[int]] | None = None,
    classes: Sequence[Any] | None = None,
    n_repeats: int = 5,
    seed: int = 0,
    verbose: bool = False,
) -> FeatureRanking:
    """Permute each feature of the tabular branch and measure the increase of the loss.

    Only the tabular branch sees the permuted column; images stay as they are.

    Parameters
    ----------
    model : keras.Model
        A functional model with a tabular branch: the only one, or one of several (see `cut_model`).
    inputs : array or list of arrays
        One for each of the model's inputs; the tabular one of shape (n_rows, n_columns).
    y : array of shape (n_rows,)
        Class numbers (or one-hot rows), or target values.
    features : sequence of str, optional
        Names of the tabular columns; by default a DataFrame's own.
    groups : mapping of str to column positions, optional
        Features of several columns (a one-hot encoded category): permuted together, by one row order.
    classes : sequence, optional
        Class names; given classes mean that `y` holds class numbers.
    n_repeats : int
        Independent permutations of each feature.
    seed : int
        Feature number g in repeat r is permuted by ``numpy.random.default_rng([seed, g, r])``.
    verbose : bool
        Show a progress bar.

    Returns
    -------
    FeatureRanking
        ``scores``: mean loss of all rows, permuted minus unpermuted, averaged over repeats; ``std`` over
        repeats. ``class_scores``: the same over the rows whose true class it is (0 for a class without
        rows). Loss: cross-entropy, or squared error in the target's unit squared.

    References
    ----------
    Breiman, Random Forests (2001); Fisher, Rudin & Dominici, JMLR 20 (2019).
    """
    if n_repeats < 1:
        raise PermGradError(f"n_repeats must be at least 1, got {n_repeats}")
    data = Inputs.of(model, inputs)
    branch = _tabular_branch(data)
    target = Target.of(y, data, classes)
    if features is None:
        features = column_names(inputs[branch.input_index] if isinstance(inputs, (list, tuple)) else inputs)
    members = resolve_groups(data.of_branch(branch).shape[1], features, groups)
    # The first job permutes nothing: the baseline takes the same way through the network as all others.
    jobs = [_Job(np.array([], int), None)]
    jobs += [_Job(columns, [seed, g, r]) for g, columns in enumerate(members.values()) for r in range(n_repeats)]
    with tqdm(total=len(jobs) * len(data), desc="permuting", unit="row", unit_scale=True, disable=not verbose) as bar:
        chunks = _chunks(jobs, max(1, ORDER_BYTES // (8 * len(data))))
        network = _PermutedNetwork(data, branch)
        losses = np.concatenate([_permuted_losses(data, network, target, chunk, bar) for chunk in chunks])
    baseline = losses[0]  # (1 + n_classes,)
    increase = losses[1:].reshape(len(members), n_repeats, -1) - baseline
    mean = increase.mean(axis=1)
    return FeatureRanking(
        tuple(members),
        mean[:, 0],
        std=increase[:, :, 0].std(axis=1, ddof=1) if n_repeats > 1 else np.zeros(len(members)),
        class_scores=mean[:, 1:] if target.classes else None,
        classes=target.classes,
        method="permutation",
        settings={"n_repeats": n_repeats, "seed": seed, "n_rows": len(data), "baseline_loss": float(baseline[0])},
    )


@dataclass(frozen=True, eq=False)
class _Job:
    """One permutation: the columns that take another row order, and the seed of that order (None: the table's own)."""

    columns: np.ndarray
    seed: list[int] | None

    def order(self, n_rows: int) -> np.ndarray:
        return np.arange(n_rows) if self.seed is None else np.random.default_rng(self.seed).permutation(n_rows)


def _tabular_branch(data: Inputs) -> Branch:
    found = data.cut.of_kind("tabular")
    if len(found) != 1:
        raise PermGradError(f"permutation needs a model with one tabular branch, this one has {len(found)}")
    return found[0]


class _PermutedNetwork:
    """The network as seen from one branch that is permuted, the contributions of the others being given."""

    def __init__(self, data: Inputs, branch: Branch) -> None:
        self.branch, self.at, self.meeting = branch, data.cut.position(branch), meeting(data.cut)
        self.floats_per_row = largest_tensor(branch.encoder) + self.meeting.width + largest_tensor(data.cut.head)
        self.predict = compiled(self._predict)

    def contributions_of_others(self, data: Inputs, rows: slice) -> list[Any]:
        """Return what the other branches contribute for these rows; None for the permuted branch."""
        branches = enumerate(data.cut.branches)
        return [None if i == self.at else self.meeting.contribute(i, data.encode(b, rows)) for i, b in branches]

    def _predict(self, permuted: Any, others: list[Any]) -> Any:
        """Return predictions (n_part, n_rows, n_outputs) of permuted rows (n_part, n_rows, n_columns)."""
        ops = keras.ops
        n_part, n_rows, n_columns = permuted.shape
        code = self.branch.encoder(ops.reshape(permuted, (n_part * n_rows, n_columns)), training=False)
        parts = [
            self.meeting.contribute(i, code)
            if i == self.at
            else ops.tile(other, [n_part] + [1] * (len(other.shape) - 1))
            for i, other in enumerate(others)
        ]
        return ops.reshape(self.meeting.finish(parts), (n_part, n_rows, -1))


def _permuted_losses(data: Inputs, network: _PermutedNetwork, target: Target, jobs: list[_Job], bar: Any) -> np.ndarray:
    """Return the mean loss of all rows and of each class under each job, shape (n_jobs, 1 + n_classes)."""
    X = data.of_branch(network.branch)
    orders = [job.order(len(X)) for job in jobs]
    weights = target.membership()
    means = np.zeros((len(jobs), weights.shape[1]))
    for rows in data.blocks(data.floats_per_row(), most=ROWS_PER_BLOCK):
        n_rows = rows.stop - rows.start
        others = network.contributions_of_others(data, rows)
        copies = max(1, rows_in_memory(network.floats_per_row, most=PERMUTED_ROWS) // n_rows)
        per_call = even_size(len(jobs), copies)
        for start in range(0, len(jobs), per_call):
            part = range(start, min(start + per_call, len(jobs)))
            permuted = np.repeat(X[None, rows], len(part), axis=0)  # (n_part, n_rows, n_columns)
            for copy, job in zip(permuted, part, strict=True):
                columns = jobs[job].columns
                copy[:, columns] = X[np.ix_(orders[job][rows], columns)]
            predictions = keras.ops.convert_to_numpy(network.predict(permuted, others))
            means[part.start : part.stop] += target.loss(target.y[rows], predictions) @ weights[rows]
            bar.update(len(part) * n_rows)
    return means


def _chunks(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
