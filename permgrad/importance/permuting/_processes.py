"""Permutations in several processes: each measures blocks of features, on a copy of the network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

import permgrad.models.hybrid  # noqa: F401 - registers the layers of our networks, which a process reads
from permgrad.errors import PermGradError
from permgrad.importance.budget import Budget
from permgrad.importance.network._inputs import Inputs
from permgrad.importance.network._target import Target
from permgrad.importance.permuting.conditional import AlikeRows
from permgrad.models.sending import network_from_bytes, network_to_bytes
from permgrad.parallel import count_workers, run

if TYPE_CHECKING:
    from permgrad.importance.permuting._measurement import Measurement  # which imports this

PAYS_FROM = 20_000_000
"""Rows under a permutation from which on processes begin unasked: each takes some ten seconds to load TensorFlow, and
so many take two minutes and more on one core."""
BLOCKS = 4
"""Of features, for each process: so that none waits long for the last, and time and checkpoint are looked after."""


def workers_for(measurement: Measurement, n_features: int, n_jobs: int | None) -> int:
    """Return how many processes are to measure so many features: those that are asked for, or as many as pay."""
    pays = n_jobs is not None or n_features * measurement.n_repeats * len(measurement.data) >= PAYS_FROM
    sendable = all(
        isinstance(each.array, np.ndarray) or sparse.issparse(each.array) for each in measurement.data.arrays
    )
    return min(n_features, count_workers(n_jobs)) if pays and sendable and n_features > 1 else 1


def measured_in_processes(
    measurement: Measurement, features: Sequence[int], n_workers: int, budget: Budget, n_jobs: int | None
) -> Iterator[tuple[list[int], dict[str, np.ndarray]]]:
    """Yield blocks of features, and what was measured of each (see `Increases`), while there is time."""
    blocks = [list(block) for block in np.array_split(features, min(len(features), BLOCKS * n_workers))]
    sent = _Sent.of(measurement, n_workers)
    begun: list[list[int]] = []

    def jobs() -> Iterator[tuple[Any, ...]]:
        for block in blocks:
            if budget.is_spent and begun:
                return
            begun.append(block)
            yield sent, [int(feature) for feature in block]

    for number, arrays in enumerate(run(_measured, jobs(), n_jobs)):
        yield begun[number], arrays


@dataclass(frozen=True, eq=False)
class _Sent:
    """What a process needs to measure features."""

    network: bytes
    arrays: list[Any]
    target: Target
    positions: list[tuple[int, list[np.ndarray]]]
    n_repeats: int
    random_state: int
    conditional: bool
    max_memory: int
    kind: type[Measurement]

    @classmethod
    def of(cls, measurement: Measurement, n_workers: int) -> _Sent:
        data = measurement.data
        branches = list(data.cut.branches)
        return cls(
            network_to_bytes(data.cut.model),
            [each.array for each in data.arrays],
            measurement.target,
            [(branches.index(branch), positions) for branch, positions in measurement.positions.items()],
            measurement.n_repeats,
            measurement.random_state,
            measurement.alike is not None,
            data.max_memory // n_workers,
            type(measurement),
        )

    def measurement(self) -> Measurement:
        """Set the measurement up again."""
        data = Inputs.of(_read(self.network), self.arrays, self.max_memory)
        positions = {data.cut.branches[number]: columns for number, columns in self.positions}
        alike = None
        if self.conditional:
            rows = data.of_branch(next(iter(positions)))
            alike = AlikeRows(rows.columns(np.arange(rows.width)), self.random_state)
        return self.kind(data, self.target, positions, self.n_repeats, self.random_state, alike)


def _measured(sent: _Sent, features: list[int]) -> dict[str, np.ndarray]:
    """Measure some features in a process."""
    measurement = sent.measurement()
    mine = np.zeros(len(measurement.increases.measured), bool)
    mine[features] = True
    for chunk in measurement._chunks(mine):
        measurement._measure(chunk)
    return {name: array[features] for name, array in measurement.increases.arrays().items()}


def _read(content: bytes) -> Any:
    try:
        return network_from_bytes(content)
    except (TypeError, ValueError) as error:
        raise PermGradError(
            "a process cannot read the model, whose layers it does not know; permute here (n_jobs=1), or register"
            " them (keras.saving.register_keras_serializable) in a module that this package imports"
        ) from error
