"""What float32, a network's numbers, can hold of a column: the offset that keeps its spread, and what is lost."""

from __future__ import annotations

import warnings

import numpy as np

from permgrad.errors import PermGradError, listing

TINY = 1e-30
"""float32 ends at 1e-38, and numbers are divided by their spread."""
WHOLE_FLOAT32, LARGEST_WHOLE = 2**24, 2**63
"""Up to the first, float32 has every whole number; above the second there are none in tables."""
MAX_TAKEN_TOGETHER = 0.1
"""Share of whole numbers that may become equal in float32 before it is said."""


def float32_offset(values: np.ndarray) -> float:
    """Return what to subtract from `values` so that float32 keeps at least 12 bits of their spread: mostly 0."""
    spread, size = np.nanmax(values) - np.nanmin(values), np.nanmax(np.abs(values))
    return float(np.nanmedian(values)) if spread < size * 2.0**-12 else 0.0


def check_float32(names: list[str], values: np.ndarray) -> None:
    """Raise for numbers that float32 cannot hold, and warn of whole numbers that it takes for each other."""
    tiny = [name for name, column in zip(names, values.T, strict=True) if np.nanmax(np.abs(column)) < TINY]
    if tiny:
        raise PermGradError(
            f"the values of {listing(tiny)} are below {TINY:.0e}, too small for float32; give them in another unit"
        )
    for name, column in zip(names, values.T, strict=True):
        before, after = _distinct_whole(column)
        if after < (1 - MAX_TAKEN_TOGETHER) * before:
            warnings.warn(
                f"{name!r} has {before:,} different whole numbers, which float32 reduces to {after:,}; if they are"
                " codes, make the column a category (kinds, --as)",
                stacklevel=4,
            )


def _distinct_whole(column: np.ndarray) -> tuple[int, int]:
    """Return how many whole numbers a column holds, in float64 and as the network gets them; 0, 0 of small ones."""
    finite = column[np.isfinite(column)]
    if not finite.size or not WHOLE_FLOAT32 <= np.abs(finite).max() < LARGEST_WHOLE or (finite % 1).any():
        return 0, 0
    shifted = (finite - float32_offset(finite)).astype(np.float32)
    return len(np.unique(finite)), len(np.unique(shifted))
