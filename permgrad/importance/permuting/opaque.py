"""Permutation importance of any fitted model: nothing is known of it but what it predicts of rows."""

from __future__ import annotations

import functools
import hashlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from permgrad.importance.bootstrap import Bootstrap
from permgrad.importance.budget import Budget, check_random_state, check_repeats
from permgrad.importance.donors import shuffled, shuffled_within
from permgrad.importance.grouping._columns import resolve_groups
from permgrad.importance.network._target import Target
from permgrad.importance.network.opaque import Opaque
from permgrad.importance.permuting import _stacking
from permgrad.importance.permuting._checkpoint import Checkpoint
from permgrad.importance.permuting._increases import Increases, Tally, measure_in_chunks
from permgrad.importance.permuting._independence import independence_of
from permgrad.importance.permuting.conditional import AlikeRows
from permgrad.importance.permuting.permutation import alike_rows, badly_told, ranking_of
from permgrad.importance.ranking import FeatureRanking


def permute_opaque(
    opaque: Opaque,
    *,
    columns_of: Mapping[str, np.ndarray] | None = None,
    conditional: bool = False,
    n_repeats: int = 5,
    random_state: int = 0,
    budget: Budget = Budget(),
    verbose: bool = False,
) -> FeatureRanking:
    """Permute each column of a model's rows and measure the increase of the loss.

    Row by row the loss, its intervals and p-values are those of `permutation_importance`, and so are the permutations
    of a seed. Rows in which the permuted column holds the same value are not predicted again; the others are, many
    permutations in a call: the model must answer each row by itself.

    Parameters
    ----------
    opaque : Opaque
    columns_of : mapping of str to positions, optional
        Feature → its columns; by default each is one.
    conditional, n_repeats, random_state, budget, verbose
        As of `permutation_importance`. Conditional permutation learns ties among columns from `Opaque.numeric`; the
        model is asked with the rows as they are.

    Returns
    -------
    FeatureRanking
        ``method``: "permutation", or "conditional".
    """
    check_repeats(n_repeats)
    check_random_state(random_state)
    columns_of = columns_by_feature(opaque) if columns_of is None else columns_of
    settings: dict[str, Any] = {"conditional": conditional, "n_repeats": n_repeats, "random_state": random_state}
    work = {"features": list(columns_of), **settings}
    if budget.checkpoint is not None:
        work |= identity(opaque, columns_of)
    checkpoint = Checkpoint(budget.checkpoint, work)
    alike = alike_rows(opaque.numeric.values, opaque.n_columns, random_state) if conditional else None
    for note in opaque.numeric.notes if conditional else ():
        warnings.warn(note, stacklevel=4)
    measurement = OpaqueMeasurement(opaque, list(columns_of.values()), n_repeats, random_state, alike)
    measurement.run(checkpoint, budget, verbose)
    if alike is not None:
        settings["untold"] = badly_told(measurement, tuple(columns_of))
    return ranking_of(measurement, tuple(columns_of), "conditional" if conditional else "permutation", settings)


def columns_by_feature(opaque: Opaque) -> dict[str, np.ndarray]:
    """Return the position of each column, by its name."""
    return resolve_groups(opaque.n_columns, opaque.features, None)


def identity(opaque: Opaque, columns_of: Mapping[str, np.ndarray]) -> dict[str, object]:
    """Return what tells a checkpoint of this model, these rows and features from others."""
    columns = [at.tolist() for at in columns_of.values()]
    return {"columns": columns, "task": asdict(opaque.target.task), **_fingerprint(opaque), **opaque.target.marks()}


@dataclass(eq=False)
class OpaqueMeasurement:
    """Permutations of an opaque model's columns, and the losses under them.

    Attributes
    ----------
    columns : list of ndarray
        Of each feature.
    alike : AlikeRows, optional
        Rows that trade values; by default all do.
    increases : Increases
    """

    opaque: Opaque
    columns: list[np.ndarray]
    n_repeats: int
    random_state: int
    alike: AlikeRows | None = None
    target: Target = field(init=False)
    bootstrap: Bootstrap = field(init=False)
    increases: Increases = field(init=False)
    baseline: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.target, self.baseline = self.opaque.target, self.opaque.baseline
        self.bootstrap = self.target.bootstrap(self.random_state)
        self.increases = Increases.none_yet(len(self.columns), self.n_repeats, self.target, self.bootstrap)

    def run(self, checkpoint: Checkpoint, budget: Budget, verbose: bool) -> None:
        """Measure all features, as far as time allows; go on from what the checkpoint keeps."""
        earlier = checkpoint.read()
        if earlier is not None:
            self.increases = Increases(**earlier)
        chunks = self._chunks(budget.mine(len(self.columns)), timed=budget.deadline is not None)
        measure_in_chunks(self.increases, chunks, self._measure, checkpoint, budget, verbose)

    def _rows_per_call(self) -> int:
        return max(len(self.opaque), _stacking.CELLS_PER_CALL // self.opaque.n_columns)

    def _chunks(self, mine: np.ndarray, *, timed: bool) -> Iterator[list[int]]:
        """Part the features that are left: as many as one call takes, one by one against the clock."""
        left = np.flatnonzero(mine & ~self.increases.measured).tolist()
        most = self._rows_per_call() // (self.n_repeats * len(self.opaque))
        size = 1 if timed else max(1, most)
        yield from (left[i : i + size] for i in range(0, len(left), size))

    def _measure(self, chunk: list[int]) -> None:
        """Measure some features; of a single one whose repeats are too many for a call, some repeats at a time."""
        at_a_time = self.n_repeats
        if len(chunk) == 1:
            at_a_time = min(self.n_repeats, self._rows_per_call() // len(self.opaque))
        for start in range(0, self.n_repeats, at_a_time):
            repeats = range(start, min(start + at_a_time, self.n_repeats))
            tally = Tally(self.increases, self.target, self.bootstrap, chunk, repeats)
            job, rows, taken = self._pairs(chunk, repeats)
            for i in range(0, len(rows), self._rows_per_call()):
                part = slice(i, i + self._rows_per_call())
                features = np.array(chunk)[job[part] // len(repeats)]
                losses = self._losses(features, rows[part], taken[part])
                tally.add(job[part], rows[part], taken[part], losses - self.baseline[rows[part]])
            tally.finish()
        if self.alike is not None:
            for feature in chunk:
                self._test_independence(feature, self.alike)

    def _numeric(self, feature: int) -> np.ndarray:
        """Return the positions of a feature's columns among those that rows alike are found by."""
        return self.opaque.numeric.of_columns(self.columns[feature])

    def _test_independence(self, feature: int, alike: AlikeRows) -> None:
        """Replace a feature's p-value by that of the test that it tells nothing beyond the other columns."""
        seed = [self.random_state, feature, self.n_repeats]
        taking = functools.partial(self._outputs_taking, feature)
        own = self._numeric(feature)
        if not len(own):  # a constant, or another value in nearly each row
            self.increases.p_values[feature] = 1.0
            return
        tested = independence_of(alike, own, self.opaque.outputs, taking, self.target, seed)
        if tested is not None:
            self.increases.p_values[feature], self.increases.untold[feature] = tested

    def _outputs_taking(self, feature: int, taken: np.ndarray) -> np.ndarray:
        source = {int(column): taken for column in self.columns[feature]}
        return self.opaque.predict(_stacking.stacked(self.opaque.rows, np.arange(len(self.opaque)), source))

    def _pairs(self, chunk: list[int], repeats: range) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return job, row and the row whose value it takes, of all rows that a permutation changes."""
        jobs, rows, taken = [], [], []
        for i, feature in enumerate(chunk):
            codes = np.stack([self.opaque.codes(column) for column in self.columns[feature]])
            for r, repeat in enumerate(repeats):
                order = self._order(feature, repeat)
                changed = np.flatnonzero((codes[:, order] != codes).any(axis=0))
                jobs.append(np.full(len(changed), i * len(repeats) + r))
                rows.append(changed)
                taken.append(order[changed])
        return np.concatenate(jobs), np.concatenate(rows), np.concatenate(taken)

    def _order(self, feature: int, repeat: int) -> np.ndarray:
        rng = np.random.default_rng([self.random_state, feature, repeat])
        if self.alike is None:
            return shuffled(len(self.opaque), rng, self.target.weights)
        own = self._numeric(feature)
        if not len(own):
            return np.arange(len(self.opaque))
        return shuffled_within(self.alike.bins(own), rng, self.target.weights)

    def _losses(self, features: np.ndarray, rows: np.ndarray, taken: np.ndarray) -> np.ndarray:
        """Return the losses of pairs, each with its feature's columns from another row."""
        source: dict[int, np.ndarray] = {}
        for feature in np.unique(features):
            own = features == feature
            for column in self.columns[feature]:
                source.setdefault(int(column), rows.copy())[own] = taken[own]
        return self.opaque.losses(rows, _stacking.stacked(self.opaque.rows, rows, source))


def _fingerprint(opaque: Opaque) -> dict[str, str]:
    """Return SHA-256 sums of the model, as far as what it says of these rows tells it, and of the data."""
    rows = pd.util.hash_pandas_object(pd.DataFrame(opaque.rows).astype(str), index=False).to_numpy()
    said, data = hashlib.sha256(opaque.outputs.tobytes()), hashlib.sha256(rows.tobytes())
    data.update(opaque.target.y.tobytes())
    return {"model": said.hexdigest(), "data": data.hexdigest()}
