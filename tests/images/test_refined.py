"""REFINED's objective, minimised here: beside all placements, beside TINTOlib's own procedure, and planted columns."""

from __future__ import annotations

import importlib.util
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform

from permgrad.images import refined
from permgrad.images.refined import NEIGHBOURS, objective, place_on_square, spread_out, swap_neighbours


def distances_of(X):
    return squareform(pdist(X.T))


def test_the_change_of_a_swap_is_that_of_the_objective(rng):
    """Every pair of neighbouring pixels, shown columns or not."""
    X = rng.random((30, 7))
    distances, places = distances_of(X), np.array(list(product(range(3), repeat=2)))[:7].astype(float)
    for row, col in product(range(3), repeat=2):
        for down, right in NEIGHBOURS:
            other = (row + down, col + right)
            if not (other[0] < 3 and 0 <= other[1] < 3):
                continue
            first, second = (next(iter(np.flatnonzero((places == at).all(axis=1))), -1) for at in ((row, col), other))
            swapped = places.copy()
            if first >= 0:
                swapped[first] = other
            if second >= 0:
                swapped[second] = (row, col)
            change = refined._change(places, distances, first, second, (row, col), other)
            assert change == pytest.approx(objective(swapped, distances) - objective(places, distances), abs=1e-9)


def test_no_swap_of_neighbours_is_left_that_would_help(rng):
    X = rng.random((40, 20))
    distances, places = distances_of(X), place_on_square(X)
    assert len({tuple(place) for place in places}) == 20
    assert places.min() >= 0
    assert places.max() < 5
    best = objective(places, distances)
    for a, b in product(range(20), repeat=2):
        if a < b and np.abs(places[a] - places[b]).max() == 1:
            swapped = places.copy()
            swapped[[a, b]] = places[[b, a]]
            assert objective(swapped, distances) >= best - 1e-6


@pytest.mark.parametrize("seed", range(5))
def test_four_columns_are_placed_as_well_as_can_be(seed):
    """A square of two has all its pixels next to each other: no swap helps only at the best of all 24 placements."""
    X = np.random.default_rng(seed).random((20, 4))
    square, distances = np.array(list(product(range(2), repeat=2))), distances_of(X)
    best = min(objective(square[list(order)], distances) for order in permutations(range(4)))
    assert objective(place_on_square(X), distances) == pytest.approx(best)


def test_columns_along_two_directions_are_a_square_again(rng):
    """Nine columns made as a grid in two hidden directions, at one pixel's distance: the objective's 0 is that grid."""
    grid = np.array(list(product(range(3), repeat=2)), float)
    X = np.zeros((2, 9))
    X[0], X[1] = grid.T  # columns' Euclidean distances are those of the grid
    order = rng.permutation(9)
    places = place_on_square(X[:, order])
    assert objective(places, distances_of(X[:, order])) == pytest.approx(0, abs=1e-9)
    assert pdist(places) == pytest.approx(pdist(grid[order]))


def tintolibs(X):
    """TINTOlib's procedure, its hill climbing done by one process: its start, five rounds of nine steps."""
    import pandas as pd
    from sklearn.manifold import MDS
    from TINTOlib.utils import Toolbox

    path = Path(Toolbox.__file__).with_name("paraHill.py")
    spec = importlib.util.spec_from_file_location("paraHill", path)
    hill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hill)
    loss = hill.universial_corr  # of one number in an array, which NumPy 2.4 takes for no number
    hill.universial_corr = lambda *given: float(np.squeeze(loss(*given)))
    n, side = X.shape[1], int(np.ceil(np.sqrt(X.shape[1])))
    placed = Toolbox.Assign_features_to_pixels(
        Toolbox.two_d_eq(MDS(n_components=2, random_state=1).fit_transform(X.T), n), side
    )
    shown = np.char.strip(placed.astype(str), "F").astype(int)
    distances = pd.DataFrame(distances_of(X))
    for _, start in product(range(5), product(range(3), repeat=2)):
        centres = list(product(range(start[0], side, 3), range(start[1], side, 3)))
        shown = hill.execute_dict_swap(hill.evaluate_centroids_in_list(centres, distances, shown), shown)
    return np.array([np.argwhere(shown == i)[0] for i in range(n)])


@pytest.mark.filterwarnings("ignore")
def test_no_worse_than_tintolibs(rng):
    costs = []
    for n in (9, 12, 16):
        X = (rng.normal(size=(60, 3)) @ rng.normal(size=(3, n)) + rng.normal(size=(60, n))).round(3)
        X = (X - X.min(axis=0)) / np.ptp(X, axis=0)
        distances = distances_of(X)
        costs.append((objective(place_on_square(X), distances), objective(tintolibs(X), distances)))
    ours, theirs = np.array(costs).T
    assert (ours <= 1.002 * theirs).all()
    assert (ours < 0.9 * theirs).any()


def test_spread_out_uses_each_pixel_once():
    points = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    assert spread_out(points, 2).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    crowded = np.zeros((5, 2))
    assert len({tuple(place) for place in spread_out(crowded, 3)}) == 5
    assert swap_neighbours(spread_out(crowded, 3), np.zeros((5, 5)), 3).shape == (5, 2)
