"""Estimators whose networks are built, and not trained."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def trainings(monkeypatch) -> list[tuple]:
    """Have nothing be trained: networks stay as they are built, callbacks are told of one epoch.

    Returns what each training would have had.
    """
    calls: list[tuple] = []

    def fit_network(network, train, validation, config, *, task, callbacks, verbose, devices):
        calls.append((network, train, validation, config))
        for callback in callbacks:
            callback.on_epoch_end(0, {})
        return {"loss": [0.0], "val_loss": [0.0]}, 1

    monkeypatch.setattr("permgrad.estimators._table.fit_network", fit_network)
    return calls


@pytest.fixture
def mixed(rng):
    """150 rows of three numbers, a 0/1 column and a category; a target that follows the first."""
    import pandas as pd

    X = pd.DataFrame(rng.normal(size=(150, 3)), columns=list("abc"))
    X["flag"] = (rng.random(150) < 0.3).astype(float)
    X["kind"] = rng.choice(["p", "q", "r"], 150)
    return X, (X["a"] * 3 + np.where(X["kind"] == "p", 1.0, 0.0)).rename("y")
