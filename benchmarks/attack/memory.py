"""Memory of one process over many fits and rankings."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import numpy as np
import psutil

import permgrad as pg
from benchmarks.attack.outcome import Outcomes

MOST = 50e6
"""Bytes that may be added after the tenth."""


def attack_memory(n: int) -> Iterator[Outcomes]:
    """Fit and rank `n` times in this process."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(80, 4)), rng.integers(0, 2, 80)
    sizes = []
    for i in range(n):
        model = pg.HybridClassifier(
            preset="published", dense_units=(4,), n_conv_layers=1, base_filters=2, epochs=1, random_state=i
        )
        model.fit(X, y).rank_features(X, y, n_repeats=1)
        gc.collect()
        sizes.append(psutil.Process().memory_info().rss)
    added = (sizes[-1] - sizes[min(9, n - 1)]) / 1e6
    outcomes = Outcomes(f"fits and rankings in one process; {added:.0f} MB more than after the tenth")
    for _ in range(n):
        outcomes.add("as asked" if added * 1e6 <= MOST else "memory grows", [round(size / 1e6) for size in sizes])
    yield outcomes
