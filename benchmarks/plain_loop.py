"""PermGrad on a Puma hybrid against the plain loops: time and agreement, in one run.

The plain loops (`tests/oracle.py`) call the whole model once per feature and repeat, and take Grad-CAM one
row at a time, as the published notebooks do. Both sides explain the same network on the same test rows.

    python -m benchmarks.plain_loop
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import permgrad as pg
from permgrad.backend import keras
from tests.oracle import (
    plain_grad_cam,
    plain_permutation,
    plain_read,
    plain_subset_losses,
    two_input_model,
)

N_REPEATS = 5
TIMED = 5


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def plain(model: keras.Model, layout: pg.FeatureLayout, X: np.ndarray, y: np.ndarray) -> dict[str, tuple[Any, float]]:
    both = two_input_model(model)
    cut = pg.cut_model(model)
    codes = cut.branches[0].encoder.predict(X, verbose=0)
    last = model.get_layer("conv_1").output
    before, after = keras.Model(model.inputs, last), keras.Model([last, cut.branches[0].code], model.outputs[0])
    groups = [[i] for i in range(X.shape[1])]
    return {
        "permutation": timed(lambda: plain_permutation(both, X, X, y, groups=groups, n_repeats=N_REPEATS, seed=0)),
        "grad_cam": timed(lambda: plain_read(plain_grad_cam(before, after, X, codes, 1), layout)),
        "ablation": timed(lambda: plain_subset_losses(model, X, y, "mean")),
    }


def fast(model: keras.Model, layout: pg.FeatureLayout, X: np.ndarray, y: np.ndarray) -> dict[str, tuple[Any, float]]:
    """Time each part including the cut of the model and all compilation: what a user waits for."""
    return {
        "permutation": timed(lambda: pg.permutation_importance(model, X, y, n_repeats=N_REPEATS, seed=0)),
        "grad_cam": timed(lambda: pg.grad_cam(model, X, layout)),
        "ablation": timed(lambda: pg.branch_weights(model, X, y)),
        "rank_features": timed(lambda: pg.rank_features(model, X, y, layout=layout, n_repeats=N_REPEATS, seed=0)),
    }


def main() -> None:
    train, val, test = pg.load_dataset("puma8nh").split()
    estimator = pg.HybridRegressor(n_conv_layers=2, base_filters=64, max_epochs=2)
    estimator.fit(train.X, train.y, validation_data=(val.X, val.y))
    model, layout = estimator.network_, estimator.layout_
    X, y = estimator.encoder_.transform(test.X), test.y.to_numpy(np.float32)

    slow = plain(model, layout, X, y)
    runs = [fast(model, layout, X, y) for _ in range(TIMED)]
    results = {name: runs[0][name][0] for name in slow}
    agreement = {
        "permutation": (slow["permutation"][0].mean(axis=(1, 2)), results["permutation"].scores),
        "grad_cam": (slow["grad_cam"][0].mean(axis=(0, 2)), results["grad_cam"].scores),
        "ablation": (np.array([*slow["ablation"][0].values()]), np.array([*results["ablation"].losses.values()])),
    }
    print(
        f"Puma, {len(X)} test rows, 2 convolution layers from 64 filters, {N_REPEATS} repeats; median of {TIMED} runs"
    )
    print(f"{'':<12} {'plain loop':>11} {'permgrad':>10} {'ratio':>7} {'largest relative difference':>28}")
    total = 0.0
    for name, (_, seconds) in slow.items():
        median = statistics.median(run[name][1] for run in runs)
        expected, found = agreement[name]
        difference = float(np.max(np.abs(found - expected) / np.abs(expected).max()))
        print(f"{name:<12} {seconds:>9.2f} s {median:>8.2f} s {seconds / median:>6.0f}× {difference:>28.1e}")
        total += seconds
    together = statistics.median(run["rank_features"][1] for run in runs)
    print(f"{'together':<12} {total:>9.2f} s {together:>8.2f} s {total / together:>6.0f}×   (one rank_features)")


if __name__ == "__main__":
    main()
