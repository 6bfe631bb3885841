"""Classes that no feature tells alone: ring, xor, and unions of these with a sum.

The problems of Passemiers, Folco, Raimondi, Birolo, Moreau and Fariselli, "How good Neural Networks interpretation
methods really are? A quantitative benchmark" (arXiv 2304.02383): no single feature of ring or xor correlates with the
class. Their code (src/data.py of AntoinePassemiers/Feature-Selection-Benchmark on GitHub) has cut points of the unions
that the paper's figures are of.
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi
from typing import Any, Literal, NamedTuple

import numpy as np

from permgrad.data.table import Table
from permgrad.data.toy._planting import planted, positions
from permgrad.errors import PermGradError, listing

RING_RADIUS = 0.35
RING_WIDTH = 0.1151
"""Half the ring's width in the single problem, as published."""
SUM_NOISE = 0.2
"""Standard deviation, as published."""

CutPoints = Literal["balanced", "published"]


class _Cuts(NamedTuple):
    """Where the parts of a union begin: half the ring's width, the least product, and the least sum."""

    ring: float
    xor: float
    total: float = np.inf


# Of a balanced union of m parts, each has the probability p = 1 - 0.5 ** (1 / m), so that the union has one half. With
# U, V uniform on [0, 1], a ring of half width w that stays inside the square has the area 4 pi r w, from which w
# follows; P((U - .5)(.5 - V) >= t) = .5 - 2t + 2t ln(4t), and the tail of U + V + noise, an integral, were solved for
# p.
CUTS: dict[str, dict[int, _Cuts]] = {
    "balanced": {
        2: _Cuts((1 - 0.5 ** (1 / 2)) / (4 * pi * RING_RADIUS), 0.0348676),
        3: _Cuts((1 - 0.5 ** (1 / 3)) / (4 * pi * RING_RADIUS), 0.0608615, 1.3891429),
    },
    "published": {2: _Cuts(0.0704, 0.0337), 3: _Cuts(0.0479, 0.0598, 1.4074)},
}
"""By name and number of parts; the published ones are those of the authors' code, whose union has 0.515 and 0.498."""


def ring(n_rows: int = 1000, n_features: int = 8, random_state: int = 0) -> Table:
    """Return uniform features; the class is 1 where two of them lie in a ring: ``|r - 0.35| <= 0.1151``.

    r is the distance of the point of both features from (0.5, 0.5). The classes are about equal (0.506 in the ring).

    Parameters
    ----------
    n_rows, n_features : int
    random_state : int

    Returns
    -------
    Table
        Classification, classes 0 and 1; ``notes["relevant"]`` holds 2 columns.

    Raises
    ------
    PermGradError
        If there are fewer features than relevant ones.

    Examples
    --------
    >>> table = pg.toy.ring(n_rows=100, n_features=3)
    >>> table.X.shape, table.classes, len(table.notes["relevant"])
    ((100, 3), [0, 1], 2)
    """
    X, at, _ = _uniform(n_rows, n_features, 2, random_state)
    return planted("ring", X, _in_ring(X[:, at], RING_WIDTH), at)


def xor(n_rows: int = 1000, n_features: int = 8, random_state: int = 0) -> Table:
    """Return uniform features; the class is 1 where just one of two is above one half: ``(a - .5)(.5 - b) >= 0``.

    Parameters, classes and errors as of `ring`; 2 relevant columns.

    Examples
    --------
    >>> table = pg.toy.xor(n_rows=100, n_features=3)
    >>> len(table.notes["relevant"])
    2
    """
    X, at, _ = _uniform(n_rows, n_features, 2, random_state)
    return planted("xor", X, _xor(X[:, at]) >= 0, at)


def ring_xor(
    n_rows: int = 1000, n_features: int = 8, random_state: int = 0, *, cut_points: CutPoints = "balanced"
) -> Table:
    """Return uniform features; the class is 1 in a ring of two features, or in the xor of two others.

    Both are narrower than alone. Other parameters, classes and errors as of `ring`; 4 relevant columns.

    Parameters
    ----------
    n_rows, n_features, random_state : int
    cut_points : {"balanced", "published"}
        How narrow: each of probability 1 - sqrt(0.5), so that the classes are equal; or as in the authors' code
        (0.31 in the ring, 0.30 in the xor, 0.515 in either).

    Examples
    --------
    >>> len(pg.toy.ring_xor(n_rows=100, n_features=5).notes["relevant"])
    4
    """
    X, at, _ = _uniform(n_rows, n_features, 4, random_state)
    cuts = _cuts(cut_points, 2)
    union = _in_ring(X[:, at[:2]], cuts.ring) | (_xor(X[:, at[2:]]) >= cuts.xor)
    return planted("ring+xor", X, union, at)


def ring_xor_sum(
    n_rows: int = 1000, n_features: int = 8, random_state: int = 0, *, cut_points: CutPoints = "balanced"
) -> Table:
    """Return uniform features; the class is 1 in a ring, a xor, or where two more add up to 1.4 with noise.

    The noise is normal, of standard deviation 0.2. Other parameters, classes and errors as of `ring`; 6 relevant
    columns.

    Parameters
    ----------
    n_rows, n_features, random_state : int
    cut_points : {"balanced", "published"}
        How narrow: each part of probability 1 - 0.5 ** (1 / 3), so that the classes are equal; or as in the authors'
        code (0.21 in the ring, 0.21 in the xor, 0.20 by the sum, 0.498 in any).

    Examples
    --------
    >>> len(pg.toy.ring_xor_sum(n_rows=100, n_features=7).notes["relevant"])
    6
    """
    X, at, rng = _uniform(n_rows, n_features, 6, random_state)
    total = X[:, at[4:]].sum(axis=1) + rng.normal(scale=SUM_NOISE, size=n_rows)
    cuts = _cuts(cut_points, 3)
    union = _in_ring(X[:, at[:2]], cuts.ring) | (_xor(X[:, at[2:4]]) >= cuts.xor) | (total >= cuts.total)
    return planted("ring+xor+sum", X, union, at)


PROBLEMS: dict[str, Callable[..., Table]] = {
    "ring": ring,
    "xor": xor,
    "ring+xor": ring_xor,
    "ring+xor+sum": ring_xor_sum,
}
"""The benchmark's problems, in its order."""


def _uniform(n_rows: int, n_features: int, n_relevant: int, random_state: int) -> tuple[np.ndarray, np.ndarray, Any]:
    rng = np.random.default_rng([random_state, n_relevant])
    return rng.random((n_rows, n_features)), positions(rng, n_features, n_relevant), rng


def _cuts(name: str, n_parts: int) -> _Cuts:
    if name not in CUTS:
        raise PermGradError(f"cut_points must be one of {listing(CUTS)}, got {name!r}")
    return CUTS[name][n_parts]


def _in_ring(points: np.ndarray, width: float) -> np.ndarray:
    return np.abs(np.hypot(*(points - 0.5).T) - RING_RADIUS) <= width


def _xor(points: np.ndarray) -> np.ndarray:
    return (points[:, 0] - 0.5) * (0.5 - points[:, 1])
