"""What walks at once need of all rows and weights, branch by branch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from permgrad.backend import keras
from permgrad.importance.network._inputs import Rows

ops = keras.ops


class Stock(Protocol):
    """What walks need of a branch."""

    def kept(self, *, anew: bool) -> Any:
        """Return tensors of all rows and weights, as the branch's `stages` takes them."""
        ...

    def moved(self, rows: np.ndarray, donors: np.ndarray) -> np.ndarray:
        """Return in which pairs a feature, of the row or of the donor, makes a difference: (n_features, n_pairs)."""
        ...

    def given(self, rows: np.ndarray, donors: np.ndarray, order: np.ndarray, *, anew: bool) -> list[Any]:
        """Return the same of these pairs, and of the features in this order."""
        ...


class SummedStock:
    """Of a branch with a first Dense layer: each feature's inputs of the layer and their weights, padded to the widest.

    Parameters
    ----------
    inputs : Rows
    terms : sequence of Term
    """

    def __init__(self, inputs: Rows, terms: Sequence[Any]) -> None:
        self.inputs = inputs
        width = max(term.values.shape[1] for term in terms)
        padded = [np.pad(term.values, [(0, 0), (0, width - term.values.shape[1])]) for term in terms]
        kernels = [np.asarray(ops.convert_to_numpy(term.kernel)) for term in terms]
        kernels = [np.pad(kernel, [(0, width - len(kernel)), (0, 0)]) for kernel in kernels]
        self.kernels = ops.convert_to_tensor(np.stack(kernels))
        self.live = (np.stack(kernels) != 0).any(axis=2)
        self.values = np.stack(padded).astype(np.float32)

    def kept(self, *, anew: bool) -> Any:
        """Return the weights, (n_features, width, units)."""
        return self.kernels

    def moved(self, rows: np.ndarray, donors: np.ndarray) -> np.ndarray:
        """See `Stock.moved`."""
        return ((self.values[:, rows] != self.values[:, donors]) & self.live[:, None]).any(axis=2)

    def given(self, rows: np.ndarray, donors: np.ndarray, order: np.ndarray, *, anew: bool) -> list[Any]:
        """Return the donors, what their rows have in their place at each step, and the order."""
        change = self.values[order[:, None], rows[None]] - self.values[order[:, None], donors[None]]
        return [self.inputs[donors], ops.convert_to_tensor(change), order]


class WholeStock:
    """Of a branch that is computed from its input: where in it each feature is, (n_features, 1, ...)."""

    def __init__(self, inputs: Rows, places: Any) -> None:
        self.inputs, self.places = inputs, places
        self.live = np.asarray(ops.convert_to_numpy(places)).reshape(len(places), -1) > 0

    def kept(self, *, anew: bool) -> Any:
        """Return the places."""
        return self.places

    def moved(self, rows: np.ndarray, donors: np.ndarray) -> np.ndarray:
        """See `Stock.moved`."""
        differ = (self.inputs[rows] != self.inputs[donors]).reshape(len(rows), -1)
        return self.live.astype(np.float32) @ differ.T.astype(np.float32) > 0

    def given(self, rows: np.ndarray, donors: np.ndarray, order: np.ndarray, *, anew: bool) -> list[Any]:
        """Return the donors, their rows, and the order."""
        return [self.inputs[donors], self.inputs[rows], order]
