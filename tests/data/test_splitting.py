from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import permgrad as pg


def test_the_published_sizes():
    """Common classes are capped; rarer ones keep 5 : 1 : 1."""
    y = np.repeat(["common", "just", "rare"], [20_000, 7_000, 700])
    parts = pg.capped_split(y, random_state=1)
    counts = [dict(zip(*np.unique(y[part], return_counts=True), strict=True)) for part in parts]
    assert counts[0] == {"common": 5000, "just": 5000, "rare": 500}
    assert counts[1] == counts[2] == {"common": 1000, "just": 1000, "rare": 100}


def test_no_row_is_twice_and_all_small_classes_are_whole(rng):
    y = rng.choice(list("abcdef"), 500, p=[0.5, 0.3, 0.1, 0.05, 0.03, 0.02])
    parts = pg.capped_split(y, (60, 12, 12))
    rows = np.concatenate(parts)
    assert len(set(rows)) == len(rows)
    for label in "abcdef":
        assert (y[rows] == label).sum() == min((y == label).sum(), 84)
        assert min((y[part] == label).sum() for part in parts) >= 1


@pytest.mark.parametrize("n", range(3, 90))
def test_shares_are_as_near_as_whole_rows_can_be(n):
    """Against every way of dealing out n rows: the largest deviation from 5 : 1 : 1 is the least that there is."""
    parts = [len(part) for part in pg.capped_split(np.repeat("a", n), (50, 10, 10))]
    whole = min(n, 70)
    assert sum(parts) == whole
    exact = [Fraction(whole * cap, 70) for cap in (50, 10, 10)]
    off = lambda deal: max(abs(a - b) for a, b in zip(deal, exact, strict=True))  # noqa: E731
    deals = [(whole - v - t, v, t) for v in range(1, whole) for t in range(1, whole - v) if max(v, t) < 15]
    assert off(parts) == min(map(off, deals))


def test_seeds(rng):
    y = rng.choice(list("ab"), 300)
    same = zip(pg.capped_split(y, random_state=4), pg.capped_split(y, random_state=4), strict=True)
    assert all(np.array_equal(a, b) for a, b in same)
    assert not np.array_equal(pg.capped_split(y, random_state=4)[0], pg.capped_split(y, random_state=5)[0])
    assert not np.array_equal(
        pg.capped_split(y, random_state=4)[0], np.arange(len(pg.capped_split(y, random_state=4)[0]))
    )


def test_what_cannot_be_split():
    with pytest.raises(pg.PermGradError, match="not so: 'b'"):
        pg.capped_split(["a"] * 5 + ["b"] * 2)
    with pytest.raises(pg.PermGradError, match="caps must be"):
        pg.capped_split(["a"] * 5, (5, 0, 1))
