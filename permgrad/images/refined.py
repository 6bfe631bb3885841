"""REFINED: columns on a square of pixels such that distances between pixels are like those between columns.

The objective is that of Bazgir et al. (2020) as TINTOlib has it, ``Σ (pixel distance - column distance)²`` over pairs
of columns. TINTOlib minimises it by MPI processes, each of which knows nothing of the others' swaps. Here two
neighbouring pixels are swapped wherever that lowers the sum, until it does nowhere.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist, pdist, squareform
from scipy.stats import rankdata

MOST_SWEEPS = 100
"""Over all pixels: a few dozen suffice for a thousand columns."""
N_TURNS = 8
"""Of the plane, within a right angle, of which the start is the best."""
LEAST_GAIN = 1e-9
"""Of the sum, relative: rounding alone would else swap forever."""
NEIGHBOURS = ((0, 1), (1, -1), (1, 0), (1, 1))
"""Half of the eight: a swap is the same from either side."""


def place_on_square(X: np.ndarray) -> np.ndarray:
    """Give each column a pixel of the smallest square that has as many.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
        Scaled to [0, 1]; at least two columns.

    Returns
    -------
    ndarray of shape (n_columns, 2), int
        (row, column) of each, from 0; no two are the same. Nothing is drawn at random.

    References
    ----------
    Bazgir et al., Representation of features as images with neighborhood dependencies, Nature Communications 11 (2020).
    """
    distances = squareform(pdist(np.asarray(X, float).T))
    side = math.ceil(math.sqrt(len(distances)))
    plane = scale_to_plane(distances)  # up to a turn, which distances do not know
    angles = np.arange(N_TURNS) / N_TURNS * math.pi / 2
    starts = [spread_out(plane @ [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]], side) for a in angles]
    return swap_neighbours(min(starts, key=lambda start: objective(start, distances)), distances, side)


def scale_to_plane(distances: np.ndarray) -> np.ndarray:
    """Return points of the plane whose distances are like those given: classical scaling, (n, 2)."""
    centred = np.square(distances)
    centred = centred - centred.mean(axis=0) - centred.mean(axis=1)[:, None] + centred.mean()
    values, vectors = np.linalg.eigh(-centred / 2)
    vectors = vectors[:, -2:] * np.sign(vectors[np.abs(vectors[:, -2:]).argmax(axis=0), [-2, -1]])  # one of two signs
    return vectors * np.sqrt(values[-2:].clip(0))


def spread_out(points: np.ndarray, side: int) -> np.ndarray:
    """Return a pixel for each point, (n, 2): the nearest free ones to the points' ranks in both directions."""
    ranks = (rankdata(points, axis=0, method="ordinal") - 0.5) / len(points)
    pixels = np.array(list(product(range(side), repeat=2)))
    return pixels[linear_sum_assignment(cdist(ranks, (pixels + 0.5) / side, "sqeuclidean"))[1]]


def objective(places: np.ndarray, distances: np.ndarray) -> float:
    """Return ``Σ (pixel distance - column distance)²`` over pairs of columns."""
    return float(np.square(pdist(places) - squareform(distances, checks=False)).sum())


def swap_neighbours(places: np.ndarray, distances: np.ndarray, side: int) -> np.ndarray:
    """Swap what two neighbouring pixels show, columns or none, until no swap lowers the objective.

    Parameters
    ----------
    places : ndarray of shape (n, 2), int
        Pixel of each column.
    distances : ndarray of shape (n, n)
        Between columns.
    side : int
        Of the square.

    Returns
    -------
    ndarray of shape (n, 2), int
    """
    places = places.astype(float)
    shown = np.full((side, side), -1)
    shown[tuple(places.astype(int).T)] = np.arange(len(places))
    least = LEAST_GAIN * max(objective(places, distances), 1.0)
    for _ in range(MOST_SWEEPS):
        n_swaps = 0
        for row, col in product(range(side), repeat=2):
            for down, right in NEIGHBOURS:
                other = row + down, col + right
                if other[0] >= side or not 0 <= other[1] < side:
                    continue
                if _change(places, distances, shown[row, col], shown[other], (row, col), other) < -least:
                    shown[row, col], shown[other] = shown[other], shown[row, col]
                    for place in ((row, col), other):
                        if shown[place] >= 0:
                            places[shown[place]] = place
                    n_swaps += 1
        if not n_swaps:
            break
    return places.astype(int)


def _change(
    places: np.ndarray, distances: np.ndarray, first: int, second: int, here: tuple[int, int], there: tuple[int, int]
) -> float:
    """Return by how much the objective rises if column `first` goes from here to there, and `second` back; -1 is none.

    The two keep their distance from each other; only that from all others changes.
    """
    change = 0.0
    from_here, from_there = (np.hypot(*(places - place).T) for place in (here, there))
    for column, before, after in ((first, from_here, from_there), (second, from_there, from_here)):
        if column >= 0:
            terms = np.square(after - distances[column]) - np.square(before - distances[column])
            change += terms.sum() - terms[[each for each in (first, second) if each >= 0]].sum()
    return change
