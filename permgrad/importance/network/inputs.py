"""What every explainer of a network starts from: its branches, its inputs as arrays, the target, the names."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from permgrad.backend import compiled, free_memory, keras
from permgrad.errors import PermGradError, listing
from permgrad.importance.bootstrap import Bootstrap
from permgrad.importance.network.arrays import Rows
from permgrad.importance.network.branches import Branch, CutModel, cut_model, largest_tensor
from permgrad.importance.network.outputs import final_activation
from permgrad.metrics.losses import Loss, choose_target, log_loss, squared_error

MEMORY = 256 * 2**20
"""Bytes that one call of the network may take for its rows, as far as can be counted beforehand."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """A cut model with the arrays that go into it, one for each of its inputs.

    Attributes
    ----------
    cut : CutModel
    arrays : list of Rows
    max_memory : int
        Bytes that may be taken beside the model and the arrays, by default a quarter of what is free.
    shared : bool
        Several explainers are given this object, and a branch is encoded once for all of them where the codes
        of all rows fit into `MEMORY`.
    """

    cut: CutModel
    arrays: list[Rows]
    max_memory: int
    shared: bool = False
    _codes: dict[Branch, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Any, inputs: Any, max_memory: int | None = None, *, shared: bool = False) -> Inputs:
        """Check the arrays against the model's inputs. An `Inputs` in the model's place is taken as it is."""
        if isinstance(model, Inputs):
            return model
        cut = model if isinstance(model, CutModel) else cut_model(model)
        single = not isinstance(inputs, (list, tuple))
        arrays = [Rows(array) for array in ([inputs] if single else inputs)]
        expected = [tuple(tensor.shape[1:]) for tensor in cut.model.inputs]
        found = [array.shape[1:] for array in arrays]
        if expected != found:
            raise PermGradError(f"the model takes inputs with rows of shape {listing(expected)}, got {listing(found)}")
        if len({len(array) for array in arrays}) != 1 or len(arrays[0]) == 0:
            raise PermGradError(f"inputs must have the same number of rows, at least 1, got {[*map(len, arrays)]}")
        if max_memory is not None and max_memory < 1:
            raise PermGradError(f"max_memory must be a positive number of bytes, got {max_memory}")
        return cls(cut, arrays, free_memory() // 4 if max_memory is None else max_memory, shared)

    def __len__(self) -> int:
        return len(self.arrays[0])

    def of_branch(self, branch: Branch) -> Rows:
        """Return the array that `branch` starts from."""
        return self.arrays[branch.input_index]

    def blocks(self, floats_per_row: int, most: int = 8192) -> Iterator[slice]:
        """Walk the rows in blocks of nearly one size, `floats_per_row` float32 a row staying within `MEMORY`."""
        return self.parts(slice(0, len(self)), floats_per_row, most)

    def parts(self, rows: slice, floats_per_row: int, most: int = 8192) -> Iterator[slice]:
        """Walk some of the rows in such blocks."""
        allowed = max(1, min(MEMORY, self.max_memory // 4) // (4 * floats_per_row))
        step = even_size(rows.stop - rows.start, min(most, allowed))
        for start in range(rows.start, rows.stop, step):
            yield slice(start, min(start + step, rows.stop))

    def encode(self, branch: Branch, rows: slice) -> Any:
        """Return the branch's code for a block of rows, shape (n_rows, ...)."""
        if branch not in self._codes and self.keeps(branch):
            self.keep(branch, [self._encoded(branch, slice(0, len(self)))])
        if branch not in self._codes:
            return self._encoded(branch, rows)
        whole = rows == slice(0, len(self))
        return self._codes[branch] if whole else self._codes[branch][rows]

    def encode_taken(self, branch: Branch, rows: np.ndarray) -> Any:
        """Return the branch's code for some rows, in any order; they must be few enough for one call."""
        if branch in self._codes:
            return keras.ops.take(self._codes[branch], rows, axis=0)
        return self._encoder(branch)(self.of_branch(branch)[rows])

    def _encoded(self, branch: Branch, rows: slice) -> Any:
        parts = self.parts(rows, largest_tensor(branch.encoder))
        codes = [self._encoder(branch)(self.of_branch(branch)[part]) for part in parts]
        return joined(codes)

    def keeps(self, branch: Branch) -> bool:
        """Tell whether the codes of all rows are wanted again, and fit into `MEMORY`."""
        return self.shared and 4 * len(self) * math.prod(branch.code.shape[1:]) <= MEMORY

    def keep(self, branch: Branch, codes: list[Any]) -> None:
        """Keep the codes of all rows, given block after block."""
        self._codes[branch] = joined(codes)

    def _encoder(self, branch: Branch) -> Any:
        encoder = branch.encoder
        return self.cut.once(("encode", branch), lambda: compiled(lambda rows: encoder(rows, training=False), encoder))

    def floats_per_row(self) -> int:
        """Count the floats of the largest tensor of each branch, for one row."""
        return sum(largest_tensor(branch.encoder) for branch in self.cut.branches)


@dataclass(frozen=True, eq=False)
class Target:
    """The true values in the form that the model's output asks for, and the loss between them."""

    y: np.ndarray
    loss: Loss
    classes: tuple[str, ...] | None

    @classmethod
    def of(cls, y: Any, inputs: Inputs, classes: Sequence[Any] | None = None) -> Target:
        """Choose loss and class names; see `choose_target`.

        A model classifies if it ends in a softmax or sigmoid, if classes are given, or if it has several
        outputs and `y` one column of class numbers.
        """
        n_outputs = math.prod(inputs.cut.model.outputs[0].shape[1:])
        values = np.asarray(y)
        several = n_outputs > 1 and values.size == len(values)
        classification = bool(final_activation(inputs.cut.model)[1]) or classes is not None or several
        values, loss, n_classes = choose_target(values, n_outputs, classification)
        if len(values) != len(inputs):
            raise PermGradError(f"X and y must have the same number of rows, got {len(inputs)} and {len(values)}")
        if not n_classes:
            return cls(values, loss, None)
        names = tuple(map(str, range(n_classes) if classes is None else classes))
        if len(names) != n_classes:
            raise PermGradError(f"the model tells {n_classes} classes apart, got {len(names)} names")
        return cls(values, loss, names)

    def truth(self, rows: np.ndarray) -> Any:
        """Return what `select` needs to know of these rows: their class; int32."""
        return keras.ops.convert_to_tensor((self.y[rows] if self.classes else rows).astype(np.int32))

    def losses(self, rows: np.ndarray, selected: np.ndarray) -> np.ndarray:
        """Return the loss of these rows from what `select` left of their predictions; float64."""
        return log_loss(selected[:, 0]) if self.classes else squared_error(self.y[rows], selected)

    def sums(self, rows: np.ndarray, job: np.ndarray, losses: np.ndarray, n_jobs: int) -> np.ndarray:
        """Add up losses by job, over all rows and over each class's rows: (n_jobs, 1 + n_classes)."""
        totals = np.bincount(job, losses, n_jobs)[:, None]
        if not self.classes:
            return totals
        n_classes = len(self.classes)
        by_class = np.bincount(job * n_classes + self.y[rows], losses, n_jobs * n_classes)
        return np.hstack([totals, by_class.reshape(n_jobs, n_classes)])

    def bootstrap(self, random_state: int) -> Bootstrap:
        """Draw rows anew, within classes where there are classes."""
        return Bootstrap.of(len(self.y), random_state, self.y if self.classes else None)

    def counts(self) -> np.ndarray:
        """Return how many rows there are, and how many of each class (1 for none): shape (1 + n_classes,)."""
        of_class = np.bincount(self.y, minlength=len(self.classes)) if self.classes else np.array([], int)
        return np.maximum(np.concatenate([[len(self.y)], of_class]), 1)


def select(predictions: Any, truth: Any, classification: bool) -> Any:
    """Reduce predictions, a tensor, to what the loss needs of them, shape (n, k), float32.

    The probability of the true class, or all outputs: far less to bring back from the device than all
    probabilities.
    """
    ops = keras.ops
    outputs = ops.reshape(ops.cast(predictions, "float32"), (truth.shape[0], -1))
    if not classification:
        return outputs
    if outputs.shape[1] == 1:
        return ops.where(truth[:, None] == 1, outputs, 1 - outputs)
    return ops.sum(outputs * ops.one_hot(truth, outputs.shape[1], dtype="float32"), axis=1, keepdims=True)


def joined(blocks: list[Any]) -> Any:
    """Put blocks of rows together; a single one is not copied."""
    return keras.ops.concatenate(blocks) if len(blocks) > 1 else blocks[0]


def even_size(n_items: int, most: int) -> int:
    """Return the size of as few parts of `n_items` as hold at most `most`: equal sizes need compiling once."""
    return math.ceil(n_items / math.ceil(n_items / most))


def resolve_groups(
    n_columns: int, names: Sequence[str] | None, groups: Mapping[str, Sequence[int]] | None
) -> dict[str, np.ndarray]:
    """Return, for each feature to rank, the positions of its columns.

    By default each column is a feature of its own, named by `names` or ``x0``, ``x1``, ...

    Raises
    ------
    PermGradError
        If a position lies outside the columns, names and columns differ in number, or two names are the same.
    """
    if groups is None:
        names = [str(name) for name in names] if names is not None else [f"x{i}" for i in range(n_columns)]
        if len(names) != n_columns:
            raise PermGradError(f"expected {n_columns} feature names, got {len(names)}")
        if len(set(names)) < n_columns:
            raise PermGradError(f"feature names must differ, twice there are {listing(sorted(_repeated(names)))}")
        return {name: np.array([i]) for i, name in enumerate(names)}
    given = {str(name): np.asarray(columns) for name, columns in groups.items()}
    wrong = [
        name
        for name, at in given.items()
        if at.size == 0 or at.dtype.kind not in "iu" or at.min() < 0 or at.max() >= n_columns
    ]
    if not given:
        raise PermGradError("groups must name at least one feature, got none")
    if wrong:
        raise PermGradError(f"groups must name columns from 0 to {n_columns - 1}, not so: {listing(wrong)}")
    return {name: np.unique(at) for name, at in given.items()}


def _repeated(names: Sequence[str]) -> set[str]:
    return {name for name, count in Counter(names).items() if count > 1}


def column_names(X: Any) -> list[str] | None:
    """Return a DataFrame's column names, None for anything else."""
    return [str(name) for name in X.columns] if isinstance(X, pd.DataFrame) else None
