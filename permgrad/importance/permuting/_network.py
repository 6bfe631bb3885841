"""The network as permutations see it: what they cannot change is computed once, the rest for changed rows alone.

The unit of work is a *pair*: one row under one permutation. A call of the network takes many pairs, of
whatever permutations. A pair that the permutation leaves as it is (the column holds the same value) needs
no work at all. Each branch has its way:

- not permuted: what it contributes where branches meet is computed once per row, and gathered;
- permuted, a first Dense layer in front, maybe behind layers that bend or embed each column (`FirstLayer`): the layer's
  sums are computed once per row, and changed by the permuted columns alone;
- permuted, an image: of each layer's map the window that the permuted pixels can change, from maps that are kept of
  each row (`WindowedBranch`);
- permuted, anything else: the whole branch is computed for the pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from permgrad.backend import compiled, has_accelerator, keras
from permgrad.importance.network._inputs import Inputs, even_size
from permgrad.importance.network._target import select
from permgrad.importance.network.branches import Branch, CutModel, largest_tensor
from permgrad.importance.network.first_layer import first_layer
from permgrad.importance.network.fusion_point import FusionPoint, fusion_point
from permgrad.importance.network.windows.ends import work_of
from permgrad.importance.network.windows.engine import WindowedBranch, windowed_branch
from permgrad.importance.permuting._pairs import Pairs
from permgrad.importance.permuting._ways import Recomputed, Unpermuted, Updated, Way, integers, next_size
from permgrad.importance.permuting._windowed import Windowed
from permgrad.metrics.task import Task

ops = keras.ops

CALL_FLOATS = 2**22
"""Floats of the widest tensor in one call on a CPU: what a step leaves should be in the cache for the next."""
WINDOWED_FLOATS = 2**24
"""The same through windows: their many small steps take two thousandths of a second a call, however few its pairs."""
WIDE_CALL = (4096, 2**25)
"""But as many pairs as this, up to so many floats: wide layers' weights are rearranged in every call."""
ACCELERATOR_FLOATS = 2**27
COLUMNS_PER_CALL = 64
"""Columns that the features of one call have together, where features have several; or one feature has more."""
NARROW = 512
"""Units up to which it pays to have all of a network's steps fused: their time goes into memory, not into products."""
BLOCK = (32, 256)
"""Pairs that share a part of the kernel behind an image: at least, and at most."""
TENSORS_AT_A_TIME = 4
"""How many tensors of the widest size a call is taken to hold at once: operand, result, a compiler's copies."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """What `PermutedNetwork.prepare` computed, for the rows from `start` on."""

    tensors: list[Any]
    start: int


class PermutedNetwork:
    """A cut model with some of its branches permuted; it holds no data.

    Parameters
    ----------
    cut : CutModel
    permuted : sequence of Branch
    task : Task
        What its output means.
    fuse : bool
        Compile element-wise steps to one pass over memory, see `fused`. TensorFlow keeps what is compiled so for as
        long as the process lives.
    """

    def __init__(self, cut: CutModel, permuted: Sequence[Branch], task: Task, *, fuse: bool) -> None:
        self.fusion_point, self.task = fusion_point(cut), task
        self.ways = [
            _way(cut, branch, self.fusion_point, fuse)
            if branch in permuted
            else Unpermuted(self.fusion_point, i, branch)
            for i, branch in enumerate(cut.branches)
        ]
        self._windowed = [way for way in self.ways if isinstance(way, Windowed)]
        self.floats_per_row = sum(way.floats_per_row for way in self.ways)
        """Floats that are computed beforehand for each row."""
        self.widest = max(self.fusion_point.widest, *(way.widest for way in self.ways))
        models = [cut.model, *(model for way in self.ways for model in way.models)]
        narrow = self.widest <= NARROW and not any(isinstance(way, Recomputed) for way in self.ways)
        self._predict = compiled(self._selected, *models, fuse=fuse and narrow)

    def pairs_per_call(self, max_memory: int) -> int:
        """Return how many pairs to take in one call."""
        allowed = max_memory // (2 * TENSORS_AT_A_TIME * 4)
        if has_accelerator():
            return max(1, min(ACCELERATOR_FLOATS, allowed) // self.widest)
        pairs, floats = WIDE_CALL
        wide = WINDOWED_FLOATS // self.widest if self._windowed else min(pairs, floats // self.widest)
        return max(1, min(max(CALL_FLOATS // self.widest, wide), allowed // self.widest))

    def calls(
        self, pairs: Pairs, size: int, changes: list[Any], block: int
    ) -> Iterator[tuple[slice, Pairs, slice | np.ndarray]]:
        """Part the pairs into calls of at most `size`.

        Yields
        ------
        slice
            Some of the pairs.
        Pairs
            They and others, as many as are compiled for.
        slice or ndarray
            Where they are among those.
        """
        if self._windowed:
            yield from self._calls_of_blocks(pairs, size, changes, block)
            return
        for part in self._parts(pairs, size, changes):
            n = part.stop - part.start
            yield part, pairs[part].padded(min(size, next_size(n))), slice(0, n)

    def _parts(self, pairs: Pairs, size: int, changes: list[Any]) -> Iterator[slice]:
        """Part the pairs into calls of at most `size`, fewer where features have several columns.

        Their changes are a matrix of pairs × columns of the call's features: it stays narrow, and no larger than the
        network's widest tensor.
        """
        widths = _widths(changes)
        if widths.max() == 1:
            yield from (slice(i, min(i + size, len(pairs))) for i in range(0, len(pairs), size))
            return
        start, stop, columns = 0, 0, 0
        for feature, of_feature in pairs.by_feature():
            width = int(widths[feature])
            most = max(1, min(size, size * self.widest // next_size(width)))
            if columns + width > COLUMNS_PER_CALL or of_feature.stop - start > most:
                if stop > start:
                    yield slice(start, stop)
                start, columns = of_feature.start, 0
                while of_feature.stop - start > most:
                    yield slice(start, start + most)
                    start += most
            stop, columns = of_feature.stop, columns + width
        if stop > start:
            yield slice(start, stop)

    def _calls_of_blocks(
        self, pairs: Pairs, size: int, changes: list[Any], block: int
    ) -> Iterator[tuple[slice, Pairs, np.ndarray]]:
        """Lay the pairs of each feature into blocks, and those of changes of one size into a call."""
        (windowed,) = self._windowed
        sizes, widths = changes[self.ways.index(windowed)].sizes, _widths(changes)
        blocks: list[slice] = []
        kind, most, columns = -1, 0, 0
        for feature, part in pairs.by_feature():
            width = int(widths[feature])
            full = widths.max() > 1 and columns + width > COLUMNS_PER_CALL
            if blocks and (sizes[feature] != kind or full):
                yield self._call(pairs, blocks, block, most)
                blocks, columns = [], 0
            kind, columns = sizes[feature], columns + width
            most = self._blocks_per_call(size, block, int(kind), width)
            for start in range(part.start, part.stop, block):
                if len(blocks) >= most:
                    yield self._call(pairs, blocks, block, most)
                    blocks, columns = [], width
                blocks.append(slice(start, min(start + block, part.stop)))
        if blocks:
            yield self._call(pairs, blocks, block, most)

    def _blocks_per_call(self, size: int, block: int, square: int, width: int) -> int:
        widest = max(self.widest, self._windowed[0].widest_of(square), next_size(width))
        return max(1, size * self.widest // widest // block)

    def _call(self, pairs: Pairs, blocks: list[slice], block: int, most: int) -> tuple[slice, Pairs, np.ndarray]:
        """Return a call of as many blocks as usual, or of the few that are compiled for too."""
        few = max(1, most // 8)
        n_blocks = few if len(blocks) <= few else max(most, len(blocks))
        padded, places = pairs.in_blocks(blocks, block, n_blocks)
        return slice(blocks[0].start, blocks[-1].stop), padded, places

    def block_size(self, most: int) -> int:
        """Return how many pairs a block has, where a feature has at most so many."""
        low, high = BLOCK
        return even_size(most, min(high, max(low, -(-most // 4))))

    def order(self, branch: Branch, columns: np.ndarray) -> int:
        """Return by what features are to be sorted, that those of one call are alike."""
        return next((way.square(columns).size for way in self._windowed if way.branch is branch), 0)

    def prepare(self, data: Inputs, rows: slice) -> Prepared:
        """Compute what permutations do not change, for a block of rows: a tensor for each branch."""
        return Prepared([way.prepare(data, rows) for way in self.ways], rows.start)

    def size(self, branch: Branch) -> int:
        """Return how many columns of a `Change` one column of this branch becomes; see `embedded`."""
        return next(way.size for way in self.ways if way.branch is branch)

    def embedded(self, changes: list[Any]) -> list[Any]:
        """Return these changes as each branch's way takes them: in what an embedding makes of the columns."""
        return [way.embedded(change) if change else None for way, change in zip(self.ways, changes, strict=True)]

    def weights_of(self, changes: list[Any]) -> list[list[Any]]:
        """Fetch what these changes need of the weights, for each branch."""
        return [way.weights_of(change) if change else [] for way, change in zip(self.ways, changes, strict=True)]

    def predict(
        self, data: Inputs, pairs: Pairs, changes: list[Any], weights: list[Any], prepared: Prepared, truth: Any
    ) -> np.ndarray:
        """Return what `select` leaves of each pair's prediction."""
        given = [
            (way.of_call(weight, pairs, change), way.arguments(data, pairs, change)) if change is not None else ([], [])
            for way, weight, change in zip(self.ways, weights, changes, strict=True)
        ]
        weights, parts = ([one[i] for one in given] for i in (0, 1))
        local = integers(pairs.rows - prepared.start)
        return np.asarray(ops.convert_to_numpy(self._predict(local, truth, prepared.tensors, weights, parts)))

    def _selected(self, local: Any, truth: Any, prepared: list[Any], weights: list[Any], parts: list[Any]) -> Any:
        contributions = []
        for i, (way, *given) in enumerate(zip(self.ways, prepared, weights, parts, strict=True)):
            code = way.code(local, *given)
            contributions.append(code if way.contributes else self.fusion_point.contribute(i, code))
        return select(self.fusion_point.finish(contributions), truth, self.task)


def _widths(changes: list[Any]) -> np.ndarray:
    """Return how many columns each feature has, of the branch where it has most."""
    widths: np.ndarray = np.max([[len(columns) for columns in change.columns] for change in changes if change], axis=0)
    return widths


def _way(cut: CutModel, branch: Branch, point: FusionPoint, fuse: bool) -> Way:
    first = first_layer(branch.encoder)
    if first is not None:
        return Updated(branch, first, fuse)
    engine = windows_of(cut, branch, point, fuse)
    return Recomputed(branch) if engine is None else Windowed(point, cut.branches.index(branch), branch, engine)


def windows_of(cut: CutModel, branch: Branch, point: FusionPoint, fuse: bool) -> WindowedBranch | None:
    """Return the branch as windows see it, read and compiled once for all networks."""
    return cut.once(("windowed", branch, fuse), lambda: windowed_branch(cut, branch, point, fuse=fuse))


def floats_of_permuting(cut: CutModel, branch: Branch) -> int:
    """Count the floats that are written down where one pixel of an image branch is permuted in one row."""
    engine = windows_of(cut, branch, fusion_point(cut), fuse=False)
    return largest_tensor(branch.encoder) if engine is None else sum(step.floats for step in engine.plan(1).steps)


def work_of_permuting(cut: CutModel, branch: Branch, positions: Sequence[np.ndarray]) -> int:
    """Count the multiplications that it takes to permute each feature of a branch once in one row.

    Floats that are written down count in the measure of multiplications, see `Step.work`.

    Parameters
    ----------
    cut : CutModel
    branch : Branch
        With an image.
    positions : sequence of ndarray
        Of each feature: its positions in the branch's flat rows.
    """
    point = fusion_point(cut)
    engine = windows_of(cut, branch, point, fuse=False)
    if engine is None:
        return work_of(branch.encoder) * len(positions)
    way = Windowed(point, cut.branches.index(branch), branch, engine)
    sizes = [way.square(columns).size for columns in positions]
    return sum(engine.plan(size).work if size else engine.whole_work for size in sizes)
