"""Which states the cells of an image branch go through in a walk: what a cell is depends on the features it sees alone.

Of a pair, a row and a donor, a coalition's features come from the row and all others from the donor. Where few pixels
are drawn, a cell of a map sees few features. As long as none of them has joined, the cell is the donor's; once all
have, it is the row's: both are known from the maps of whole rows. Only in between is it *mixed*, and has to be
computed: of a cell that sees p features, p - 1 times in a walk, and never where it sees but one.

How many mixed states there are does not depend on the order in which features join, so one compiled function serves all
walks; the order says which states of the map in front they are computed from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DONORS, ROWS, ALIKE = 0, 1, 2
"""Whose a cell is that is not mixed; the last is the same in all rows."""
NOT_MIXED = -1


class CellsOfMap:
    """The cells of a map that differ between rows, and their mixed states.

    Parameters
    ----------
    sees : ndarray of shape (n_cells, n_features), bool
        Which features a cell depends on.
    anew : bool
        Each step of a walk starts from where nothing is seen, so a coalition has but one feature.
    """

    def __init__(self, sees: np.ndarray, *, anew: bool) -> None:
        self.sees, self.anew, self.n_seen = sees, anew, sees.sum(axis=1)
        n_mixed = np.where(self.n_seen > 1, self.n_seen if anew else self.n_seen - 1, 0)
        self.first = np.cumsum(n_mixed) - n_mixed
        self.cell = np.repeat(np.arange(len(sees)), n_mixed)
        """Of each mixed state, which cell it is of."""

    def __len__(self) -> int:
        return len(self.sees)

    def states(self, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return whose each cell is at each time, `DONORS` or `ROWS`, and its mixed state, or `NOT_MIXED`.

        Parameters
        ----------
        order : ndarray of int
            Features as they join.

        Returns
        -------
        ndarray of shape (n_cells, n_steps + 1), twice
        """
        seen = self.sees[:, order]
        if self.anew:
            number, whole = (np.cumsum(self.sees, axis=1) - 1)[:, order], seen & (self.n_seen[:, None] == 1)
        else:
            n_so_far = np.cumsum(seen, axis=1)
            number, seen, whole = n_so_far - 1, n_so_far > 0, n_so_far == self.n_seen[:, None]
        mixed = np.where(seen & ~whole, self.first[:, None] + number, NOT_MIXED)
        at_start = [(0, 0), (1, 0)]
        return np.pad(whole.astype(int), at_start), np.pad(mixed, at_start, constant_values=NOT_MIXED)

    def times(self, order: np.ndarray) -> np.ndarray:
        """Return a time at which each mixed state is there, (n_mixed,); 0 for those that no step leads to."""
        _, mixed = self.states(order)
        return (mixed[self.cell] == np.arange(len(self.cell))[:, None]).argmax(axis=1)


@dataclass(frozen=True, eq=False)
class Slots:
    """What the mixed states of a group of cells read of the map in front.

    Attributes
    ----------
    cell : ndarray of shape (n_mixed, n_read)
        From `n_cells` of that map on: a cell that is the same in all rows.
    out : ndarray of shape (n_mixed,)
        Which cell of the group they are of.
    """

    cell: np.ndarray
    out: np.ndarray


class MixedStates:
    """The mixed states of all maps of a branch, and what they are computed from, in whatever order features join.

    Parameters
    ----------
    sees : sequence of ndarray of shape (n_cells, n_features), bool
        Of each map, the image first.
    reads : sequence of sequences of ndarray of shape (n_cells, n_read)
        Of each map behind the image, group by group, which cells in front its cells are computed from.
    anew : bool
    """

    def __init__(self, sees: Sequence[np.ndarray], reads: Sequence[Sequence[np.ndarray]], *, anew: bool) -> None:
        self.maps = [CellsOfMap(of_map, anew=anew) for of_map in sees]
        self.slots: list[list[Slots]] = [[]]
        for of_map, groups in zip(self.maps[1:], reads, strict=True):
            start, found = 0, []
            for read in groups:
                out = of_map.cell[(of_map.cell >= start) & (of_map.cell < start + len(read))] - start
                found.append(Slots(read[out], out))
                start += len(read)
            self.slots.append(found)
        self.needed = [self._read_of(level) for level in range(len(self.maps) - 1)]
        self.needed.append(np.arange(len(self.maps[-1])))
        """Of each map, the cells of whole rows that mixed states read; of the last, all."""

    def _read_of(self, level: int) -> np.ndarray:
        cells = np.unique(np.concatenate([slots.cell.reshape(-1) for slots in self.slots[level + 1]]))
        return cells[cells < len(self.maps[level])]

    def places(self, level: int) -> list[np.ndarray]:
        """Return where a map's slots are among the `needed` of the map in front, and behind those what is alike."""
        n_cells, needed = len(self.maps[level - 1]), self.needed[level - 1]
        n_alike = 1 + max((int(slots.cell.max(initial=0)) for slots in self.slots[level]), default=0) - n_cells
        place = np.zeros(n_cells + max(0, n_alike), int)
        place[needed], place[n_cells:] = np.arange(len(needed)), len(needed) + np.arange(max(0, n_alike))
        return [place[slots.cell] for slots in self.slots[level]]

    def sources(self, order: np.ndarray) -> tuple[list[list[tuple[np.ndarray, np.ndarray]]], np.ndarray]:
        """Return where the states of a walk come from.

        Parameters
        ----------
        order : ndarray of int
            Features as they join.

        Returns
        -------
        list of list of (ndarray, ndarray)
            For each map, group by group: whose what a slot reads is, and its mixed state, each (n_mixed, n_read).
        ndarray of shape (n_steps + 1, n_states), float32
            Which states the last map's cells have at each time, 0 and 1: the donors', the rows', the mixed ones.
        """
        states = [of_map.states(order) for of_map in self.maps]
        found: list[list[tuple[np.ndarray, np.ndarray]]] = [[]]
        for level in range(1, len(self.maps)):
            (whose, mixed), n_cells = states[level - 1], len(self.maps[level - 1])
            time, start, groups = self.maps[level].times(order), 0, []
            for slots in self.slots[level]:
                at = time[start : start + len(slots.cell), None]
                start += len(slots.cell)
                live = np.minimum(slots.cell, n_cells - 1)
                is_live = slots.cell < n_cells
                of_slots = np.where(is_live, whose[live, at], ALIKE), np.where(is_live, mixed[live, at], NOT_MIXED)
                groups.append((of_slots[0].astype(np.int32), of_slots[1].astype(np.int32)))
            found.append(groups)
        whose, mixed = states[-1]
        n_cells, n_times = whose.shape
        at = np.where(mixed == NOT_MIXED, whose * n_cells + np.arange(n_cells)[:, None], 2 * n_cells + mixed)
        which = np.zeros((n_times, 2 * n_cells + len(self.maps[-1].cell)), np.float32)
        which[np.arange(n_times)[None], at] = 1
        return found, which
