"""Where relevant columns are put, and the table that says so."""

from __future__ import annotations

from typing import Any

import numpy as np

from permgrad.data.table import Table, Task
from permgrad.errors import PermGradError


def positions(rng: np.random.Generator, n_features: int, n_relevant: int) -> np.ndarray:
    if not 1 <= n_relevant <= n_features:
        raise PermGradError(
            f"this table has {n_relevant} relevant features and needs at least as many, got n_features={n_features}"
        )
    return rng.permutation(n_features)[:n_relevant]


def planted(name: str, X: Any, y: Any, at: np.ndarray, **notes: Any) -> Table:
    task: Task = "classification" if y.dtype == bool else "regression"
    relevant = [f"x{i}" for i in at]
    return Table(
        X, y.astype(int) if y.dtype == bool else y, task=task, name=name, notes={"relevant": relevant, **notes}
    )
