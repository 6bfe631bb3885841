"""Permutation importance: how much the loss grows when one feature is shuffled among the rows."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm.auto import tqdm

from permgrad.errors import PermGradError
from permgrad.importance.branches import Branch
from permgrad.importance.checkpoint import Checkpoint, fingerprint
from permgrad.importance.inputs import Inputs, Target, column_names, even_size, resolve_groups
from permgrad.importance.permuted import Change, Pairs, PermutedNetwork, Prepared, next_size
from permgrad.importance.ranking import FeatureRanking
from permgrad.layout import FeatureLayout

CALLS_PER_CHUNK = 8
"""Calls of the network between two looks at the clock."""
BYTES_PER_PAIR = 32
"""Of what is noted down about a row under a permutation."""
LEAST_PERMUTATIONS = 16
"""Permutations that share what is computed for a block of rows, where not all rows' fits into memory."""


def permutation_importance(
    model: Any,
    inputs: Any,
    y: Any,
    *,
    via: Literal["tabular", "image", "both"] = "tabular",
    layout: FeatureLayout | None = None,
    features: Sequence[str] | None = None,
    groups: Mapping[str, Sequence[int]] | None = None,
    classes: Sequence[Any] | None = None,
    n_repeats: int = 5,
    seed: int = 0,
    max_memory: int | None = None,
    timeout: float | None = None,
    checkpoint: str | Path | None = None,
    verbose: bool = False,
) -> FeatureRanking:
    """Permute each feature and measure the increase of the loss.

    Exact: the numbers are those of a loop that permutes, predicts and measures, to the rounding of the network's
    precision (under mixed precision the first layer's sums are float32's here). What a
    permutation cannot change is not computed again: branches that are not permuted, rows in which the
    permuted column holds the same value, and in a branch that begins with a Dense layer (behind scaling,
    a selector or BatchNorm) the product of all other columns.

    Parameters
    ----------
    model : keras.Model
        A functional model with the branch that is to be permuted: the only one, or one of several (see
        `cut_model`).
    inputs : array or list of arrays
        One for each of the model's inputs; the tabular one of shape (n_rows, n_columns). In memory,
        memory-mapped, or sparse (`scipy.sparse`), which are read in blocks.
    y : array of shape (n_rows,)
        Class numbers (or one-hot rows), or target values.
    via : {"tabular", "image", "both"}
        Which branch sees the permuted feature; the other sees the rows as they are. In an image only the
        feature's own pixel changes. "both" permutes both by the same row order: all that the network
        relies on.
    layout : FeatureLayout, optional
        Where the features sit in the image, for a model whose image is an input of its own. Features that
        share a pixel there are permuted together.
    features : sequence of str, optional
        Names of the columns; by default a DataFrame's own, or the layout's.
    groups : mapping of str to column positions, optional
        Features of several columns (a one-hot encoded category): permuted together, by one row order.
    classes : sequence, optional
        Class names; given classes mean that `y` holds class numbers.
    n_repeats : int
        Independent permutations of each feature.
    seed : int
        Feature number g in repeat r is permuted by ``numpy.random.default_rng([seed, g, r])``.
    max_memory : int, optional
        Bytes to take beside the model and the table; by default a quarter of what is free.
    timeout : float, optional
        Seconds after which no further features are begun; those left out are the ranking's ``pending``.
    checkpoint : path, optional
        A file that keeps what is done, every 15 seconds and at the end. The same call with a file that is
        there goes on from it.
    verbose : bool
        Show a progress bar with the time left.

    Returns
    -------
    FeatureRanking
        ``scores``: mean loss of all rows, permuted minus unpermuted, averaged over repeats; ``std`` over
        repeats. ``class_scores``: the same over the rows whose true class it is (0 for a class without
        rows). Loss: cross-entropy, or squared error in the target's unit squared.

    Raises
    ------
    PermGradError
        If the model has no such branch, inputs do not fit, or the checkpoint belongs to other work.

    References
    ----------
    Breiman, Random Forests (2001); Fisher, Rudin & Dominici, JMLR 20 (2019).
    """
    if n_repeats < 1:
        raise PermGradError(f"n_repeats must be at least 1, got {n_repeats}")
    begun = time.monotonic()
    data = Inputs.of(model, inputs, max_memory)
    branches = _permuted_branches(data, via)
    target = Target.of(y, data, classes)
    if features is None:
        source = inputs[branches[0].input_index] if isinstance(inputs, (list, tuple)) else inputs
        features = column_names(source) or (None if layout is None else layout.features)
    members = resolve_groups(_n_columns(data, branches, layout), features, groups)
    positions = [[_positions(data, branch, columns, layout) for columns in members.values()] for branch in branches]
    work = {"features": list(members), "n_repeats": n_repeats, "seed": seed, "via": via}
    if checkpoint is not None:
        columns = [[at.tolist() for at in of_branch] for of_branch in positions]
        work = {**work, "columns": columns, **fingerprint(data, target.y)}
    run = _Run(data, target, dict(zip(branches, positions, strict=True)), n_repeats, seed)
    run.go(Checkpoint(checkpoint, work), begun + timeout if timeout is not None else None, verbose)
    mean = run.increase.mean(axis=1)
    return FeatureRanking(
        tuple(members),
        mean[:, 0],
        std=run.increase[:, :, 0].std(axis=1, ddof=1) if n_repeats > 1 else np.zeros(len(members)),
        class_scores=mean[:, 1:] if target.classes else None,
        classes=target.classes,
        method="permutation",
        pending=tuple(name for name, done in zip(members, run.done, strict=True) if not done),
        settings={
            "via": via,
            "n_repeats": n_repeats,
            "seed": seed,
            "n_rows": len(data),
            "baseline_loss": float(run.baseline.mean()),
        },
    )


def _permuted_branches(data: Inputs, via: str) -> list[Branch]:
    kinds = {"tabular": ["tabular"], "image": ["image"], "both": ["tabular", "image"]}
    if via not in kinds:
        raise PermGradError(f"via must be 'tabular', 'image' or 'both', got {via!r}")
    found = []
    for kind in kinds[via]:
        of_kind = data.cut.of_kind(kind)
        if len(of_kind) != 1:
            raise PermGradError(
                f"permutation via={via!r} needs a model with one {kind} branch, this one has {len(of_kind)}"
            )
        found += of_kind
    return found


def _n_columns(data: Inputs, branches: list[Branch], layout: FeatureLayout | None) -> int:
    """Return how many columns there are to permute: the table's, or the layout's where only an image is given."""
    counts = []
    for branch in branches:
        shape = data.of_branch(branch).shape[1:]
        if len(shape) == 1:
            counts.append(shape[0])
        elif layout is None or layout.shape != shape[:2]:
            raise PermGradError(
                f"the image of shape {shape} is an input of its own: pass the layout= that drew it,"
                f" {'none was given' if layout is None else f'not one of shape {layout.shape}'}"
            )
        else:
            counts.append(len(layout.features))
    if len(set(counts)) > 1:
        raise PermGradError(
            f"the table has {counts[0]} columns, the layout {counts[1]} features: they must be the same"
        )
    return counts[0]


def _positions(data: Inputs, branch: Branch, columns: np.ndarray, layout: FeatureLayout | None) -> np.ndarray:
    """Return where a feature's columns are in the flat rows that the branch starts from."""
    shape = data.of_branch(branch).shape[1:]
    if len(shape) == 1 or layout is None:
        return columns
    pixels = np.unique(layout.rows[columns] * shape[1] + layout.cols[columns])
    channels = shape[2] if len(shape) == 3 else 1
    return (pixels[:, None] * channels + np.arange(channels)).reshape(-1)


@dataclass(eq=False)
class _Run:
    """The increases of the loss, feature after feature.

    Attributes
    ----------
    positions : dict of Branch to list of ndarray
        For each permuted branch and feature: its positions in the branch's flat rows.
    increase : ndarray of shape (n_features, n_repeats, 1 + n_classes)
        Over all rows, then over each class's; 0 until it is done.
    done : ndarray of shape (n_features,), bool
    baseline : ndarray of shape (n_rows,)
        Loss of each row, nothing being permuted.
    """

    data: Inputs
    target: Target
    positions: dict[Branch, list[np.ndarray]]
    n_repeats: int
    seed: int

    def __post_init__(self) -> None:
        n_features = len(next(iter(self.positions.values())))
        self.increase = np.zeros((n_features, self.n_repeats, len(self.target.counts())))
        self.done = np.zeros(n_features, bool)
        self.baseline = np.full(len(self.data), np.nan)
        key = ("permuted", *self.positions, bool(self.target.classes))
        make = functools.partial(PermutedNetwork, self.data.cut, list(self.positions), bool(self.target.classes))
        self.network = self.data.cut.once(key, make)
        rows = max(1, self.data.max_memory // 2 // (4 * max(1, self.network.floats_per_row)))
        step = even_size(len(self.data), min(rows, len(self.data)))
        self.blocks = [slice(i, min(i + step, len(self.data))) for i in range(0, len(self.data), step)]
        pairs_per_call = self.network.pairs_per_call(self.data.max_memory)
        self.size = even_size(n_features * self.n_repeats * step, pairs_per_call)
        self._prepared: Prepared | None = None

    def go(self, checkpoint: Checkpoint, deadline: float | None, verbose: bool) -> None:
        """Work through all features, as far as time allows."""
        kept = checkpoint.read()
        if kept is not None:
            self.increase, self.done = kept["increase"], kept["done"]
        total = len(self.done)
        bar = tqdm(total=total, initial=int(self.done.sum()), desc="permuting", unit="feature", disable=not verbose)
        try:
            # Even where all is done, the baseline of the first feature is still wanted.
            for chunk in self._chunks() or [[0]]:
                self.increase[chunk] = self._increase(chunk)
                bar.update(len(chunk) - int(self.done[chunk].sum()))
                self.done[chunk] = True
                checkpoint.write(increase=self.increase, done=self.done)
                if deadline is not None and time.monotonic() >= deadline:
                    break
        finally:
            bar.close()
            checkpoint.write(now=True, increase=self.increase, done=self.done)

    def _chunks(self) -> list[list[int]]:
        """Part the features that are left: enough for many calls of the network, few enough to look at the clock."""
        widths = [max(len(of[f]) for of in self.positions.values()) for f in range(len(self.done))]
        pairs = self._pairs_per_chunk()
        most_columns = max(1, self.data.max_memory // 8 // (4 * len(self.data)))
        most_features = max(1, pairs // (self.n_repeats * len(self.data)))
        chunks: list[list[int]] = []
        columns = 0
        # Features of one column first: they take a quicker way, if no others are among them.
        for feature in sorted(np.flatnonzero(~self.done).tolist(), key=lambda f: widths[f] > 1):
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

    def _increase(self, chunk: list[int]) -> np.ndarray:
        """Return the increases of some features, shape (n_features, n_repeats, 1 + n_classes)."""
        at_a_time = self.n_repeats if len(chunk) > 1 else max(1, self._pairs_per_chunk() // len(self.data))
        starts = range(0, self.n_repeats, at_a_time)
        parts = [range(start, min(start + at_a_time, self.n_repeats)) for start in starts]
        return np.concatenate([self._increase_in(chunk, part) for part in parts], axis=1)

    def _increase_in(self, chunk: list[int], repeats: range) -> np.ndarray:
        n_rows, n_jobs = len(self.data), len(chunk) * len(repeats)
        changes = [self._change(branch, chunk) for branch in self.data.cut.branches]
        begun = self.network.begin(changes)
        seeds = [[self.seed, feature, repeat] for feature in chunk for repeat in repeats]
        orders = np.stack([np.random.default_rng(seed).permutation(n_rows).astype(np.int32) for seed in seeds])
        moved = np.zeros((n_jobs, n_rows), bool)
        for change in changes:
            moved |= False if change is None else _moved(change, orders, len(repeats))
        sums = np.zeros((n_jobs, self.increase.shape[2]))
        for rows in self.blocks:
            prepared = self._prepare(rows)
            if np.isnan(self.baseline[rows.start]):
                own = np.arange(rows.start, rows.stop)
                same = Pairs(own, own, np.zeros_like(own))
                for part, losses in self._losses(same, changes, begun, prepared):
                    self.baseline[same.rows[part]] = losses
            job, row = np.nonzero(moved[:, rows])
            row += rows.start
            pairs = Pairs(row, orders[job, row], job // len(repeats))
            for part, losses in self._losses(pairs, changes, begun, prepared):
                increase = losses - self.baseline[row[part]]
                sums += self.target.sums(row[part], job[part], increase, n_jobs)
        return (sums / self.target.counts()).reshape(len(chunk), len(repeats), -1)

    def _change(self, branch: Branch, chunk: list[int]) -> Change | None:
        if branch not in self.positions:
            return None
        columns = [self.positions[branch][feature] for feature in chunk]
        return Change(columns, self.data.of_branch(branch).columns(np.concatenate(columns)))

    def _prepare(self, rows: slice) -> Prepared:
        """Compute a block's; where it is the only block, once."""
        if len(self.blocks) > 1:
            return self.network.prepare(self.data, rows)
        if self._prepared is None:
            self._prepared = self.network.prepare(self.data, rows)
        return self._prepared

    def _losses(
        self, pairs: Pairs, changes: list[Change | None], begun: list[Any], prepared: Prepared
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Walk the pairs call by call: (which pairs, their losses)."""
        for part in self.network.calls(pairs, self.size, changes):
            n = part.stop - part.start
            full = pairs[part].padded(min(self.size, next_size(n)))
            selected = self.network.predict(self.data, full, changes, begun, prepared, self.target.truth(full.rows))
            yield part, self.target.losses(pairs.rows[part], selected[:n])


def _moved(change: Change, orders: np.ndarray, n_repeats: int) -> np.ndarray:
    """Tell in which rows each permutation changes anything, shape (n_jobs, n_rows)."""
    moved = np.zeros(orders.shape, bool)
    for job, order in enumerate(orders):
        values = change.values[:, change.of_feature(job // n_repeats)]
        moved[job] = (values[order] != values).any(axis=1)
    return moved
