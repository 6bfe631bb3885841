"""The increases of the loss under permutations, measured feature after feature, as far as time allows."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from permgrad.importance.bootstrap import Bootstrap
from permgrad.importance.budget import Budget
from permgrad.importance.donors import shuffled, shuffled_within
from permgrad.importance.network._inputs import Inputs, even_size
from permgrad.importance.network._target import Target
from permgrad.importance.network.branches import Branch
from permgrad.importance.network.first_layer import open_columns
from permgrad.importance.permuting._checkpoint import Checkpoint
from permgrad.importance.permuting._increases import Increases, Tally, measure_in_chunks
from permgrad.importance.permuting._independence import independence_of
from permgrad.importance.permuting._network import PermutedNetwork, Prepared, floats_of_permuting
from permgrad.importance.permuting._pairs import Change, Pairs
from permgrad.importance.permuting._processes import measured_in_processes, workers_for
from permgrad.importance.permuting.conditional import AlikeRows
from permgrad.metrics.task import Task

FUSED_FROM = 1_000_000
"""Changed rows from which on it pays to fuse a network's steps: that takes half a second, and 5 MB that stay taken."""
FUSED_FROM_FLOATS = 150_000_000
"""Or, of an image branch, floats that are written down for such rows: of its windows, or of its largest map."""
CALLS_PER_CHUNK = 8
"""Calls of the network between two looks at the clock."""
BYTES_PER_PAIR = 32
"""Of what is noted down about a row under a permutation."""
LEAST_PERMUTATIONS = 16
"""Permutations that share what is computed for a block of rows, where not all rows' fits into memory."""


@dataclass(eq=False)
class Measurement:
    """Permutations of some branches' columns, and the losses under them.

    Attributes
    ----------
    positions : dict of Branch to list of ndarray
        For each permuted branch and feature: its positions in the branch's flat rows.
    alike : AlikeRows, optional
        Rows that trade values; by default all do.
    n_jobs : int, optional
        Processes that measure; by default as many as there are, where there is work for them.
    increases : Increases
    baseline : ndarray of shape (n_rows,)
        Loss of each row, nothing being permuted.
    """

    data: Inputs
    target: Target
    positions: dict[Branch, list[np.ndarray]]
    n_repeats: int
    random_state: int
    alike: AlikeRows | None = None
    n_jobs: int | None = None
    bootstrap: Bootstrap = field(init=False)
    increases: Increases = field(init=False)
    baseline: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        n_features = len(next(iter(self.positions.values())))
        self.bootstrap = self.target.bootstrap(self.random_state)
        self.increases = Increases.none_yet(n_features, self.n_repeats, self.target, self.bootstrap)
        self.baseline = np.full(len(self.data), np.nan)
        # Rows alike are for a test that needs all outputs.
        task = self.target.task if self.alike is None else Task(self.target.task.width)
        fuse = self._pays_to_fuse(n_features * self.n_repeats * len(self.data))
        key = ("permuted", *self.positions, task, fuse)
        make = functools.partial(PermutedNetwork, self.data.cut, list(self.positions), task, fuse=fuse)
        self.network = self.data.cut.once(key, make)
        rows = max(1, self.data.max_memory // 2 // (4 * max(1, self.network.floats_per_row)))
        step = even_size(len(self.data), min(rows, len(self.data)))
        self.blocks = [slice(i, min(i + step, len(self.data))) for i in range(0, len(self.data), step)]
        pairs_per_call = self.network.pairs_per_call(self.data.max_memory)
        self.size = even_size(n_features * self.n_repeats * step, pairs_per_call)
        self.block = self.network.block_size(min(self.size, self.n_repeats * step))
        self._prepared: Prepared | None = None
        self._outputs: np.ndarray | None = None

    def _pays_to_fuse(self, n_pairs: int) -> bool:
        images = [floats_of_permuting(self.data.cut, branch) for branch in self.positions if branch.kind == "image"]
        return n_pairs >= FUSED_FROM or n_pairs * max(images, default=0) >= FUSED_FROM_FLOATS

    def run(self, checkpoint: Checkpoint, budget: Budget, verbose: bool) -> None:
        """Measure all features, as far as time allows; go on from what the checkpoint keeps."""
        earlier = checkpoint.read()
        if earlier is not None:
            self.increases = Increases(**earlier)
        mine = budget.mine(len(self.increases.measured))
        begun = self._measure_in_processes(mine, checkpoint, budget, verbose)
        # Even where all are measured, the baseline of the first feature is still wanted.
        chunks = ([] if begun and budget.is_spent else self._chunks(mine)) or [[0]]
        measure_in_chunks(self.increases, chunks, self._measure, checkpoint, budget, verbose)

    def _measure_in_processes(self, mine: np.ndarray, checkpoint: Checkpoint, budget: Budget, verbose: bool) -> bool:
        """Measure side by side, where that pays, as far as time allows; tell whether anything was."""
        left = np.flatnonzero(mine & ~self.increases.measured).tolist()
        n_workers = workers_for(self, len(left), self.n_jobs)
        if n_workers == 1:
            return False
        with tqdm(total=len(left), desc="permuting", unit="feature", disable=not verbose) as bar:
            for features, arrays in measured_in_processes(self, left, n_workers, budget, self.n_jobs):
                for name, array in self.increases.arrays().items():
                    array[features] = arrays[name]
                self.increases.measured[features] = True
                checkpoint.write(self.increases.arrays())
                bar.update(len(features))
        return True

    def _chunks(self, mine: np.ndarray) -> list[list[int]]:
        """Part those that are left of some features: enough for many calls, few enough to look at the clock."""
        measured = self.increases.measured
        columns_of = {branch: self.network.size(branch) for branch in self.positions}
        widths = [
            max(len(of[f]) * columns_of[branch] for branch, of in self.positions.items()) for f in range(len(measured))
        ]
        pairs = self._pairs_per_chunk()
        most_columns = max(1, self.data.max_memory // 8 // (4 * len(self.data)))
        most_features = max(1, pairs // (self.n_repeats * len(self.data)))
        chunks: list[list[int]] = []
        columns = 0
        # Features of one column first: they take a quicker way, if no others are among them.
        kinds = [
            (widths[f] > 1, *(self.network.order(branch, of[f]) for branch, of in self.positions.items()))
            for f in range(len(measured))
        ]
        for feature in sorted(np.flatnonzero(mine & ~measured).tolist(), key=kinds.__getitem__):
            columns += widths[feature]
            full = not chunks or len(chunks[-1]) >= most_features or columns > most_columns
            if full or (widths[feature] > 1) != (widths[chunks[-1][0]] > 1):
                chunks.append([])
                columns = widths[feature]
            chunks[-1].append(feature)
        return chunks

    def _pairs_per_chunk(self) -> int:
        pairs = self.size * CALLS_PER_CHUNK
        if len(self.blocks) > 1:
            pairs = max(pairs, LEAST_PERMUTATIONS * len(self.data))
        return min(pairs, self.data.max_memory // 4 // BYTES_PER_PAIR)

    def _measure(self, chunk: list[int]) -> None:
        """Measure some features, all repeats."""
        at_a_time = self.n_repeats if len(chunk) > 1 else max(1, self._pairs_per_chunk() // len(self.data))
        for start in range(0, self.n_repeats, at_a_time):
            self._measure_repeats(chunk, range(start, min(start + at_a_time, self.n_repeats)))
        if self.alike is not None:
            for feature in chunk:
                self._test_independence(feature, self.alike)

    def _measure_repeats(self, chunk: list[int], repeats: range) -> None:
        tally = Tally(self.increases, self.target, self.bootstrap, chunk, repeats)
        changes = [self._change(branch, chunk) for branch in self.data.cut.branches]
        orders = np.concatenate([self._orders(feature, repeats) for feature in chunk])
        moved = np.zeros(orders.shape, bool)
        for change in changes:
            moved |= False if change is None else _moved(change, orders, len(repeats))
        changes = self.network.embedded(changes)
        weights = self.network.weights_of(changes)
        for rows in self.blocks:
            prepared = self._prepare(rows)
            self._measure_baseline(rows, changes, weights, prepared)
            job, row = np.nonzero(moved[:, rows])
            row += rows.start
            pairs = Pairs(row, orders[job, row], job // len(repeats))
            for part, losses in self._losses(pairs, changes, weights, prepared):
                tally.add(job[part], row[part], pairs.taken[part], losses - self.baseline[row[part]])
        tally.finish()

    def _measure_baseline(self, rows: slice, changes: list[Change | None], weights: list[Any], prepared: Any) -> None:
        """Note the losses of a block of rows as they are, once."""
        if np.isnan(self.baseline[rows.start]):
            own = np.arange(rows.start, rows.stop)
            same = Pairs(own, own, np.zeros_like(own))
            for part, losses in self._losses(same, changes, weights, prepared):
                self.baseline[same.rows[part]] = losses

    def _test_independence(self, feature: int, alike: AlikeRows) -> None:
        """Replace a feature's p-value by that of the test that it tells nothing beyond the other columns."""
        columns = next(iter(self.positions.values()))[feature]
        if self._outputs is None:
            self._outputs = self._outputs_taking(feature, np.arange(len(self.data)))
        seed = [self.random_state, feature, self.n_repeats]
        taking = functools.partial(self._outputs_taking, feature)
        tested = independence_of(alike, columns, self._outputs, taking, self.target, seed)
        if tested is not None:
            self.increases.p_values[feature], self.increases.untold[feature] = tested

    def _outputs_taking(self, feature: int, taken: np.ndarray) -> np.ndarray:
        """Return the network's outputs, (n_rows, n_outputs), each row holding another's values of the feature."""
        changes = self.network.embedded([self._change(branch, [feature]) for branch in self.data.cut.branches])
        weights = self.network.weights_of(changes)
        outputs = []
        for block in self.blocks:
            rows = np.arange(block.start, block.stop)
            pairs = Pairs(rows, taken[rows], np.zeros_like(rows))
            outputs += [part for _, part in self._predicted(pairs, changes, weights, self._prepare(block))]
        return np.concatenate(outputs).astype(float)

    def _orders(self, feature: int, repeats: range) -> np.ndarray:
        """Return the row order of each repeat, shape (n_repeats, n_rows), int32."""
        rngs = [np.random.default_rng([self.random_state, feature, repeat]) for repeat in repeats]
        if self.alike is None:
            return np.stack([shuffled(len(self.data), rng, self.target.weights).astype(np.int32) for rng in rngs])
        bins = self.alike.bins(next(iter(self.positions.values()))[feature])
        return np.stack([shuffled_within(bins, rng, self.target.weights) for rng in rngs])

    def _change(self, branch: Branch, chunk: list[int]) -> Change | None:
        if branch not in self.positions:
            return None
        columns = [self.positions[branch][feature] for feature in chunk]
        at = np.concatenate(columns)
        values = self.data.of_branch(branch).columns(at)
        passing = self.data.cut.once(("open", branch), lambda: open_columns(branch.encoder))
        if passing is not None:  # what is masked changes nothing, so no row needs work
            values = np.where(passing[at], values, 0)
        return Change(columns, values)

    def _prepare(self, rows: slice) -> Prepared:
        """Compute a block's; where it is the only block, once."""
        if len(self.blocks) > 1:
            return self.network.prepare(self.data, rows)
        if self._prepared is None:
            self._prepared = self.network.prepare(self.data, rows)
        return self._prepared

    def _losses(
        self, pairs: Pairs, changes: list[Change | None], weights: list[Any], prepared: Prepared
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Walk the pairs call by call: (which pairs, their losses)."""
        for part, outputs in self._predicted(pairs, changes, weights, prepared):
            losses = self.target.selected_losses if self.alike is None else self.target.losses
            yield part, losses(pairs.rows[part], outputs)

    def _predicted(
        self, pairs: Pairs, changes: list[Change | None], weights: list[Any], prepared: Prepared
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Walk the pairs call by call: (which pairs, what the network says of them)."""
        for part, full, places in self.network.calls(pairs, self.size, changes, self.block):
            selected = self.network.predict(self.data, full, changes, weights, prepared, self.target.truth(full.rows))
            yield part, selected[places]


def _moved(change: Change, orders: np.ndarray, n_repeats: int) -> np.ndarray:
    """Tell in which rows each permutation changes anything, shape (n_jobs, n_rows)."""
    moved = np.zeros(orders.shape, bool)
    for job, order in enumerate(orders):
        values = change.values[:, change.of_feature(job // n_repeats)]
        moved[job] = (values[order] != values).any(axis=1)
    return moved
