"""What both ways through an image share."""

from __future__ import annotations

import numpy as np
import pytest

import permgrad as pg


@pytest.fixture
def places():
    """Six features in 12 × 12 pixels: two corners, and neighbours."""
    rows, cols = np.array([0, 11, 5, 11, 5, 3], np.int32), np.array([0, 10, 1, 11, 4, 7], np.int32)
    names = tuple(f"f{i}" for i in range(6))
    return pg.FeatureLayout(names, rows, cols, (12, 12), np.zeros(6), np.ones(6), "by hand")
