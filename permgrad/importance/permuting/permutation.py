"""Permutation importance: how much the loss grows when one feature is shuffled among the rows."""

from __future__ import annotations

import functools
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.stats import t as student
from tqdm.auto import tqdm

from permgrad.errors import PermGradError
from permgrad.images.layout import FeatureLayout
from permgrad.importance.bootstrap import interval
from permgrad.importance.network.branches import Branch
from permgrad.importance.network.inputs import Inputs, Target, column_names, even_size, resolve_groups
from permgrad.importance.permuting.checkpoint import Checkpoint, fingerprint
from permgrad.importance.permuting.conditional import ROWS_PER_PREDICTOR, AlikeRows, shuffled_within
from permgrad.importance.permuting.network import Change, Pairs, PermutedNetwork, Prepared, next_size
from permgrad.importance.ranking import FeatureRanking

CALLS_PER_CHUNK = 8
"""Calls of the network between two looks at the clock."""
BYTES_PER_PAIR = 32
"""Of what is noted down about a row under a permutation."""
LEAST_PERMUTATIONS = 16
"""Permutations that share what is computed for a block of rows, where not all rows' fits into memory."""
METHODS = {"tabular": "permutation", "image": "image_permutation", "both": "end_to_end"}
"""What a ranking is called, by the branches that are permuted."""


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
    conditional: bool = False,
    n_repeats: int = 5,
    random_state: int = 0,
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
    a selector, BatchNorm or an embedding of each column) the product of all other columns.

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
    conditional : bool
        Permute each feature only among rows for which the other columns (of groups or not) predict the same of it,
        see `AlikeRows`. The score is then what the feature has to tell that the others have not, and features
        that correlate with relevant ones are not taken for relevant. Needs the columns as one dense array.
    n_repeats : int
        Independent permutations of each feature.
    random_state : int
        Feature number g in repeat r is permuted by ``numpy.random.default_rng([random_state, g, r])``.
        Of the bootstrap, too.
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
        ``low``, ``high`` and the ranks' intervals: a bootstrap of the rows' mean differences over repeats, so
        of rows and repeats both; a row counts as one that takes a value and as one that gives. ``p_values``: see below.
        ``method``: "permutation", "image_permutation" or "end_to_end", by `via`; "conditional".

    Raises
    ------
    PermGradError
        If the model has no such branch, inputs do not fit, the checkpoint belongs to other work, or fewer than 20
        rows are to be permuted conditionally.

    Notes
    -----
    A p-value tests that the mean difference of the rows' losses, permuted minus unpermuted, is not above 0: a
    paired, one-sided t-test in each repeat, and of the repeats' values twice the median, which holds
    however they depend on each other. What it says depends on the permutation. With ``conditional=True`` a
    feature that tells nothing about the target beyond the other columns has a difference of mean 0, for any
    network, as far as rows alike are found: that takes several rows per column, and a dependence on the other
    columns that shows in the feature's mean or spread. Without, the test is of whether *this network* gains by the
    feature: a network that leans on a feature that merely correlates with a relevant one does, and is found out so.

    References
    ----------
    Breiman, Random Forests (2001); Fisher, Rudin & Dominici, JMLR 20 (2019). p-values: Watson & Wright, Machine
    Learning 110 (2021), conditional predictive impact; Meinshausen, Meier & Bühlmann, JASA 104 (2009), theorem 3.1
    at the median.
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
    work = {
        "features": list(members),
        "n_repeats": n_repeats,
        "random_state": random_state,
        "via": via,
        "conditional": conditional,
    }
    if checkpoint is not None:
        columns = [[at.tolist() for at in of_branch] for of_branch in positions]
        work = {**work, "columns": columns, **fingerprint(data, target.y)}
    alike = None
    if conditional:
        n_columns = _n_columns(data, branches, layout)
        if len(data) < ROWS_PER_PREDICTOR * n_columns:
            warnings.warn(
                f"{len(data)} rows for {n_columns} columns: with fewer than {ROWS_PER_PREDICTOR} rows per column,"
                " conditional permutation may miss ties among columns, and flag some that tell nothing",
                stacklevel=2,
            )
        values = data.of_branch(branches[0])
        alike = AlikeRows(values.columns(np.arange(np.prod(values.shape[1:]))), random_state)
    run = _Run(data, target, dict(zip(branches, positions, strict=True)), n_repeats, random_state, alike)
    run.go(Checkpoint(checkpoint, work), begun + timeout if timeout is not None else None, verbose)
    return _ranking(run, tuple(members), METHODS[via] if not conditional else "conditional", {"via": via})


def _ranking(run: _Run, features: tuple[str, ...], method: str, settings: dict[str, Any]) -> FeatureRanking:
    mean = run.increase.mean(axis=1)
    classes = run.target.classes
    replicates = run.bootstrap.paired_means(run.taking, run.giving.sum(axis=1))
    by_class = [run.bootstrap.paired_means(*run.of_class(c), c) for c in range(len(classes or ()))]
    return FeatureRanking(
        features,
        mean[:, 0],
        std=run.increase[:, :, 0].std(axis=1, ddof=1) if run.n_repeats > 1 else np.zeros(len(features)),
        class_scores=mean[:, 1:] if classes else None,
        classes=classes,
        method=method,
        pending=tuple(name for name, done in zip(features, run.done, strict=True) if not done),
        **interval(mean[:, 0], replicates, run.done),
        p_values=np.minimum(1, 2 * np.median(run.p_values, axis=1)),
        settings={
            **settings,
            "conditional": run.alike is not None,
            "n_repeats": run.n_repeats,
            "random_state": run.random_state,
            "n_rows": len(run.data),
            "baseline_loss": float(run.baseline.mean()),
        },
        replicates=np.stack(by_class, axis=-1) if by_class else replicates,
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
    p_values : ndarray of shape (n_features, n_repeats)
        Of the paired t-test in each repeat; 1 until it is done.
    taking : ndarray of shape (n_features, n_bundles), float32
        Differences of losses, averaged over repeats and added up by the bootstrap's bundle of the row.
    giving : ndarray of shape (n_features, n_classes or 1, n_bundles), float32
        The same by the row's class, and the bundle of the row whose value it took.
    done : ndarray of shape (n_features,), bool
    baseline : ndarray of shape (n_rows,)
        Loss of each row, nothing being permuted.
    """

    data: Inputs
    target: Target
    positions: dict[Branch, list[np.ndarray]]
    n_repeats: int
    random_state: int
    alike: AlikeRows | None = None

    def __post_init__(self) -> None:
        n_features = len(next(iter(self.positions.values())))
        self.bootstrap = self.target.bootstrap(self.random_state)
        self.increase = np.zeros((n_features, self.n_repeats, len(self.target.counts())))
        self.p_values = np.ones((n_features, self.n_repeats))
        n_bundles, n_classes = self.bootstrap.n_bundles, len(self.target.classes or "1")
        self.taking = np.zeros((n_features, n_bundles), np.float32)
        self.giving = np.zeros((n_features, n_classes, n_bundles), np.float32)
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
            self.p_values, self.taking, self.giving = kept["p_values"], kept["taking"], kept["giving"]
        total = len(self.done)
        bar = tqdm(total=total, initial=int(self.done.sum()), desc="permuting", unit="feature", disable=not verbose)
        try:
            # Even where all is done, the baseline of the first feature is still wanted.
            for chunk in self._chunks() or [[0]]:
                self._measure(chunk)
                bar.update(len(chunk) - int(self.done[chunk].sum()))
                self.done[chunk] = True
                checkpoint.write(**self._found())
                if deadline is not None and time.monotonic() >= deadline:
                    break
        finally:
            bar.close()
            checkpoint.write(now=True, **self._found())

    def of_class(self, c: int) -> tuple[np.ndarray, np.ndarray]:
        """Return `taking` and `giving` of the rows of a class."""
        return self.taking * (self.bootstrap.classes == c), self.giving[:, c]

    def _found(self) -> dict[str, Any]:
        names = ("increase", "p_values", "taking", "giving", "done")
        return {name: getattr(self, name) for name in names}

    def _chunks(self) -> list[list[int]]:
        """Part the features that are left: enough for many calls of the network, few enough to look at the clock."""
        columns_of = {branch: self.network.size(branch) for branch in self.positions}
        widths = [
            max(len(of[f]) * columns_of[branch] for branch, of in self.positions.items()) for f in range(len(self.done))
        ]
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

    def _measure(self, chunk: list[int]) -> None:
        """Measure some features, all repeats."""
        at_a_time = self.n_repeats if len(chunk) > 1 else max(1, self._pairs_per_chunk() // len(self.data))
        self.taking[chunk] = self.giving[chunk] = 0
        for start in range(0, self.n_repeats, at_a_time):
            self._measure_in(chunk, range(start, min(start + at_a_time, self.n_repeats)))

    def _measure_in(self, chunk: list[int], repeats: range) -> None:
        n_jobs = len(chunk) * len(repeats)
        changes = [self._change(branch, chunk) for branch in self.data.cut.branches]
        orders = np.concatenate([self._orders(feature, repeats) for feature in chunk])
        moved = np.zeros(orders.shape, bool)
        for change in changes:
            moved |= False if change is None else _moved(change, orders, len(repeats))
        changes = self.network.seen(changes)
        begun = self.network.begin(changes)
        sums, squares = np.zeros((n_jobs, self.increase.shape[2])), np.zeros(n_jobs)
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
                squares += np.bincount(job[part], increase**2, n_jobs)
                self._bundle(chunk, pairs[part], increase / self.n_repeats)
        shape = (len(chunk), len(repeats))
        self.increase[chunk, repeats.start : repeats.stop] = (sums / self.target.counts()).reshape(*shape, -1)
        p_values = _p_values(sums[:, 0], squares, len(self.data))
        self.p_values[chunk, repeats.start : repeats.stop] = p_values.reshape(shape)

    def _bundle(self, chunk: list[int], pairs: Pairs, increase: np.ndarray) -> None:
        n_classes = self.giving.shape[1]
        self.taking[chunk] += self.bootstrap.sums(pairs.rows, increase, pairs.feature, len(chunk))
        of_class = pairs.feature * n_classes + (self.target.y[pairs.rows] if self.target.classes else 0)
        given = self.bootstrap.sums(pairs.taken, increase, of_class, len(chunk) * n_classes)
        self.giving[chunk] += given.reshape(len(chunk), n_classes, -1)

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


def _p_values(sums: np.ndarray, squares: np.ndarray, n: int) -> np.ndarray:
    """Test that means of differences, given by their sums over n rows, are not above 0: one-sided t-tests."""
    if n < 2:
        return np.ones(len(sums))
    mean = sums / n
    error = np.sqrt(np.maximum(squares / n - mean**2, 0) / (n - 1))
    statistic = np.divide(mean, error, out=np.where(mean > 0, np.inf, -np.inf), where=error > 0)
    return student.sf(statistic, n - 1)
