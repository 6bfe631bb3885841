"""The increases of the loss under permutations, measured feature after feature, as far as time allows."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from tqdm.auto import tqdm

from permgrad.importance.bootstrap import Bootstrap
from permgrad.importance.budget import Budget
from permgrad.importance.network._inputs import Inputs, even_size
from permgrad.importance.network._target import Target
from permgrad.importance.network.branches import Branch
from permgrad.importance.network.first_layer import open_columns
from permgrad.importance.permuting._checkpoint import Checkpoint
from permgrad.importance.permuting._independence import anchor_rows, independence_p_value
from permgrad.importance.permuting._network import PermutedNetwork, Prepared, next_size
from permgrad.importance.permuting._pairs import Change, Pairs
from permgrad.importance.permuting.conditional import AlikeRows, shuffled_within
from permgrad.metrics.paired import mean_p_value

FUSED_FROM = 1_000_000
"""Changed rows from which on it pays to fuse a network's steps: that takes half a second, and 5 MB that stay taken."""
CALLS_PER_CHUNK = 8
"""Calls of the network between two looks at the clock."""
BYTES_PER_PAIR = 32
"""Of what is noted down about a row under a permutation."""
LEAST_PERMUTATIONS = 16
"""Permutations that share what is computed for a block of rows, where not all rows' fits into memory."""


@dataclass(eq=False)
class Increases:
    """By how much permuting each feature raises the loss; 0 (a p-value: 1) until it is measured.

    Attributes
    ----------
    by_repeat : ndarray of shape (n_features, n_repeats, 1 + n_classes)
        Mean over all rows, then over each class's.
    p_values : ndarray of shape (n_features,)
        Of the rows' mean differences, or of `independence_p_value` where rows alike trade values.
    untold : ndarray of shape (n_features,)
        See `independence_p_value`; else 0.
    taking : ndarray of shape (n_features, n_bundles), float32
        Differences of losses, averaged over repeats and added up by the bootstrap's bundle of the row.
    giving : ndarray of shape (n_features, n_classes or 1, n_bundles), float32
        The same by the row's class, and the bundle of the row whose value it took.
    measured : ndarray of shape (n_features,), bool
    """

    by_repeat: np.ndarray
    p_values: np.ndarray
    untold: np.ndarray
    taking: np.ndarray
    giving: np.ndarray
    measured: np.ndarray
    NAMES: ClassVar = ("by_repeat", "p_values", "untold", "taking", "giving", "measured")

    @classmethod
    def none_yet(cls, n_features: int, n_repeats: int, target: Target, bootstrap: Bootstrap) -> Increases:
        """Return those of features of which none has been measured."""
        n_bundles, n_classes = bootstrap.n_bundles, len(target.classes or "1")
        return cls(
            np.zeros((n_features, n_repeats, len(target.counts()))),
            np.ones(n_features),
            np.zeros(n_features),
            np.zeros((n_features, n_bundles), np.float32),
            np.zeros((n_features, n_classes, n_bundles), np.float32),
            np.zeros(n_features, bool),
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Return them by name, as a checkpoint keeps them."""
        return {name: getattr(self, name) for name in self.NAMES}


@dataclass(eq=False)
class Measurement:
    """Permutations of some branches' columns, and the losses under them.

    Attributes
    ----------
    positions : dict of Branch to list of ndarray
        For each permuted branch and feature: its positions in the branch's flat rows.
    alike : AlikeRows, optional
        Rows that trade values; by default all do.
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
    bootstrap: Bootstrap = field(init=False)
    increases: Increases = field(init=False)
    baseline: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        n_features = len(next(iter(self.positions.values())))
        self.bootstrap = self.target.bootstrap(self.random_state)
        self.increases = Increases.none_yet(n_features, self.n_repeats, self.target, self.bootstrap)
        self.baseline = np.full(len(self.data), np.nan)
        classes = bool(self.target.classes) and self.alike is None  # their test needs all outputs
        fuse = n_features * self.n_repeats * len(self.data) >= FUSED_FROM
        key = ("permuted", *self.positions, classes, fuse)
        make = functools.partial(PermutedNetwork, self.data.cut, list(self.positions), classes, fuse=fuse)
        self.network = self.data.cut.once(key, make)
        rows = max(1, self.data.max_memory // 2 // (4 * max(1, self.network.floats_per_row)))
        step = even_size(len(self.data), min(rows, len(self.data)))
        self.blocks = [slice(i, min(i + step, len(self.data))) for i in range(0, len(self.data), step)]
        pairs_per_call = self.network.pairs_per_call(self.data.max_memory)
        self.size = even_size(n_features * self.n_repeats * step, pairs_per_call)
        self._prepared: Prepared | None = None
        self._row_sums = np.zeros((0, 0))
        self._outputs: np.ndarray | None = None

    def run(self, checkpoint: Checkpoint, budget: Budget, verbose: bool) -> None:
        """Measure all features, as far as time allows; go on from what the checkpoint keeps."""
        earlier = checkpoint.read()
        if earlier is not None:
            self.increases = Increases(**earlier)
        measured = self.increases.measured
        bar = tqdm(
            total=len(measured), initial=int(measured.sum()), desc="permuting", unit="feature", disable=not verbose
        )
        try:
            # Even where all are measured, the baseline of the first feature is still wanted.
            for chunk in self._chunks() or [[0]]:
                self._measure(chunk)
                bar.update(len(chunk) - int(measured[chunk].sum()))
                measured[chunk] = True
                checkpoint.write(self.increases.arrays())
                if budget.is_spent:
                    break
        finally:
            bar.close()
            checkpoint.write(self.increases.arrays(), now=True)

    def _chunks(self) -> list[list[int]]:
        """Part the features that are left: enough for many calls of the network, few enough to look at the clock."""
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
        for feature in sorted(np.flatnonzero(~measured).tolist(), key=lambda f: widths[f] > 1):
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
        self.increases.taking[chunk] = self.increases.giving[chunk] = 0
        self._row_sums = np.zeros((len(chunk), len(self.data)))
        for start in range(0, self.n_repeats, at_a_time):
            self._measure_repeats(chunk, range(start, min(start + at_a_time, self.n_repeats)))
        for feature, sums in zip(chunk, self._row_sums, strict=True):
            # Rows are what was drawn independently; repeats of a row are not, and are averaged first.
            self.increases.p_values[feature] = mean_p_value(sums / self.n_repeats)
            if self.alike is not None:
                self._test_independence(feature, self.alike)

    def _measure_repeats(self, chunk: list[int], repeats: range) -> None:
        n_jobs = len(chunk) * len(repeats)  # a job is a feature in one repeat
        changes = [self._change(branch, chunk) for branch in self.data.cut.branches]
        orders = np.concatenate([self._orders(feature, repeats) for feature in chunk])
        moved = np.zeros(orders.shape, bool)
        for change in changes:
            moved |= False if change is None else _moved(change, orders, len(repeats))
        changes = self.network.embedded(changes)
        weights = self.network.weights_of(changes)
        sums = np.zeros((n_jobs, self.increases.by_repeat.shape[2]))
        for rows in self.blocks:
            prepared = self._prepare(rows)
            self._measure_baseline(rows, changes, weights, prepared)
            job, row = np.nonzero(moved[:, rows])
            row += rows.start
            pairs = Pairs(row, orders[job, row], job // len(repeats))
            for part, losses in self._losses(pairs, changes, weights, prepared):
                increase = losses - self.baseline[row[part]]
                sums += self.target.sums(row[part], job[part], increase, n_jobs)
                at = job[part] // len(repeats) * len(self.data) + row[part]
                self._row_sums += np.bincount(at, increase, self._row_sums.size).reshape(self._row_sums.shape)
                self._bundle(chunk, pairs[part], increase / self.n_repeats)
        columns = slice(repeats.start, repeats.stop)
        means = (sums / self.target.counts()).reshape(len(chunk), len(repeats), -1)
        self.increases.by_repeat[chunk, columns] = means

    def _measure_baseline(self, rows: slice, changes: list[Change | None], weights: list[Any], prepared: Any) -> None:
        """Note the losses of a block of rows as they are, once."""
        if np.isnan(self.baseline[rows.start]):
            own = np.arange(rows.start, rows.stop)
            same = Pairs(own, own, np.zeros_like(own))
            for part, losses in self._losses(same, changes, weights, prepared):
                self.baseline[same.rows[part]] = losses

    def _bundle(self, chunk: list[int], pairs: Pairs, increase: np.ndarray) -> None:
        """Add up the pairs' increases by the bundles of the rows that take a value, and of those that give it."""
        n_classes = self.increases.giving.shape[1]
        self.increases.taking[chunk] += self.bootstrap.sums(pairs.rows, increase, pairs.feature, len(chunk))
        of_class = pairs.feature * n_classes + (self.target.y[pairs.rows] if self.target.classes else 0)
        given = self.bootstrap.sums(pairs.taken, increase, of_class, len(chunk) * n_classes)
        self.increases.giving[chunk] += given.reshape(len(chunk), n_classes, -1)

    def _test_independence(self, feature: int, alike: AlikeRows) -> None:
        """Replace a feature's p-value by that of the test that it tells nothing beyond the other columns."""
        columns = next(iter(self.positions.values()))[feature]
        others, own = alike.others(columns), alike.own(columns)
        if not len(others.T):  # nothing to be tied to: rows alike are all rows
            return
        same = np.arange(len(self.data))
        if self._outputs is None:
            self._outputs = self._outputs_taking(feature, same)
        anchored = np.stack([self._outputs_taking(feature, np.full_like(same, row)) for row in anchor_rows(own)])
        truth, classes = self.target.indicators(), bool(self.target.classes)
        output = self._outputs
        if classes and truth.shape[1] == 2:  # the one is 1 less the other
            output, anchored, truth = output[:, -1:], anchored[:, :, -1:], truth[:, -1:]
        seed = int(np.random.default_rng([self.random_state, feature, self.n_repeats]).integers(2**31))
        p, untold = independence_p_value(others, output, anchored, truth, classes, seed)
        self.increases.p_values[feature], self.increases.untold[feature] = p, untold

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
            return np.stack([rng.permutation(len(self.data)).astype(np.int32) for rng in rngs])
        bins = self.alike.bins(next(iter(self.positions.values()))[feature])
        return np.stack([shuffled_within(bins, rng) for rng in rngs])

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
            rows = pairs.rows[part]
            yield part, self.target.losses(rows, outputs if self.alike is None else self.target.selected(rows, outputs))

    def _predicted(
        self, pairs: Pairs, changes: list[Change | None], weights: list[Any], prepared: Prepared
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Walk the pairs call by call: (which pairs, what the network says of them)."""
        for part in self.network.calls(pairs, self.size, changes):
            n = part.stop - part.start
            full = pairs[part].padded(min(self.size, next_size(n)))
            selected = self.network.predict(self.data, full, changes, weights, prepared, self.target.truth(full.rows))
            yield part, selected[:n]


def _moved(change: Change, orders: np.ndarray, n_repeats: int) -> np.ndarray:
    """Tell in which rows each permutation changes anything, shape (n_jobs, n_rows)."""
    moved = np.zeros(orders.shape, bool)
    for job, order in enumerate(orders):
        values = change.values[:, change.of_feature(job // n_repeats)]
        moved[job] = (values[order] != values).any(axis=1)
    return moved
