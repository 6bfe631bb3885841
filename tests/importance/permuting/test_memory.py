"""Peak memory, each in a process of its own: what one test has freed, another may take again unseen."""

from __future__ import annotations

import subprocess
import sys

import pytest

SETUP = """
import sys
import numpy as np
from scipy import sparse
import permgrad as pg
from benchmarks.measure import Peak, mlp
from permgrad.models.hybrid import HybridConfig, build_hybrid

size = int(sys.argv[1])
rng = np.random.default_rng(0)
"""
GRAD_CAM = """
layout = pg.fit_layout(rng.random((50, 16)), size=16)
model = build_hybrid(HybridConfig(base_filters=16), 16, 2, layout=layout, task="classification")
X = rng.random((size, 16), np.float32)
pg.grad_cam(model, X[:2000], layout)
with Peak() as peak:
    pg.grad_cam(model, X, layout)
print(peak.megabytes)
"""
SPARSE = """
model = mlp(size, 32, 2)
X = sparse.random_array((10_000, size), density=0.001, format="csr", dtype=np.float32, rng=rng)
with Peak() as peak:
    pg.permutation_importance(model, X, rng.integers(0, 2, 10_000), n_repeats=1, budget=pg.Budget(timeout=3))
print(peak.megabytes)
"""


def peak_of(script: str, size: int) -> float:
    command = [sys.executable, "-c", SETUP + script, str(size)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.slow
def test_grad_cam_takes_no_more_for_more_rows():
    few, many = peak_of(GRAD_CAM, 10_000), peak_of(GRAD_CAM, 40_000)
    assert many < few + 30, (few, many)


@pytest.mark.slow
def test_sparse_tables_are_never_dense_as_a_whole():
    """10,000 rows of 50,000 columns would be 2,000 MB."""
    peak = peak_of(SPARSE, 50_000)
    assert peak < 1000, peak
