"""An accelerator's training steps, permutations and Grad-CAM rows a second, in float32 and mixed precision.

python -m benchmarks.gpu [--small]

Beside each: the arithmetic floor (operations over the rate at which the device multiplies two 8192 × 8192
matrices of that precision, measured here), and for the mixed precisions the rank correlation of the ranking
with float32's. Runs on either backend; on a CPU with --small in a minute or two.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

import permgrad as pg
from benchmarks.measure import matmul_rate, operations
from permgrad.backend import NAME, has_accelerator, keras
from permgrad.layers.scaling import MinMaxScale
from permgrad.models.hybrid import HybridConfig, build_hybrid

PRECISIONS = {"float32": "float32", "mixed_float16": "float16", "mixed_bfloat16": "bfloat16"}
N_REPEATS = 3


def planted(n_rows: int, n_columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and two classes that follow from the first eight columns, with falling weights."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, n_columns)).astype(np.float32)
    logits = X[:, :8] @ np.linspace(2, 0.5, 8)
    return X, (rng.random(n_rows) < 1 / (1 + np.exp(-logits))).astype(int)


def wide_mlp(n_columns: int, units: tuple[int, ...], precision: str) -> Any:
    rows = keras.Input((n_columns,))
    x = MinMaxScale(name="scale")(rows)
    for i, n in enumerate(units):
        initializer = keras.initializers.HeNormal(seed=i)
        x = keras.layers.Dense(n, "relu", kernel_initializer=initializer, dtype=precision)(x)
        x = keras.layers.BatchNormalization(momentum=0.9, dtype=precision)(x)
    logits = keras.layers.Dense(2, kernel_initializer=keras.initializers.GlorotNormal(seed=9), dtype="float32")(x)
    return keras.Model(rows, keras.layers.Softmax(dtype="float32")(logits))


def train(model: Any, X: np.ndarray, y: np.ndarray, batch: int, epochs: int) -> float:
    """Train and return steps per second, the first epoch, which compiles, left out."""
    model.get_layer("scale").adapt(X)
    optimizer = keras.optimizers.Adam(1e-3)
    if any(layer.dtype_policy.name == "mixed_float16" for layer in model.layers):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy")
    ends: list[float] = []
    clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter()))
    model.fit(X, y, batch_size=batch, epochs=epochs + 1, callbacks=[clock], shuffle=False, verbose=0)
    return (len(X) // batch) / statistics.median(np.diff(ends))


def seconds(function: Any) -> tuple[Any, float]:
    function()
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def line(name: str, precision: str, rate: float, floor: float, unit: str, agreement: str = "") -> None:
    print(
        f"{name:<34}{precision:<16}{rate:>12,.0f} {unit:<18}{floor:>14,.0f}{floor / rate:>8.1f}  {agreement}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="sizes for a CPU")
    small = parser.parse_args().small
    n_rows, n_columns, units = (512, 100, (256, 64)) if small else (8192, 20531, (5000, 1000, 100))
    image, filters, image_rows = (12, 8, 256) if small else (32, 64, 8192)
    print(f"{NAME}, {'accelerator' if has_accelerator() else 'CPU'}; {n_rows} rows, MLP {n_columns}-{units}")
    print(f"{'':<50}{'measured':>12} {'':<18}{'floor allows':>14}{'× floor':>8}  ranking against float32's")
    X, y = planted(n_rows, n_columns)
    layout = pg.fit_layout(pd.DataFrame(X[:, :64]).add_prefix("x"), size=image)
    rankings: dict[str, pg.FeatureRanking] = {}
    trained: list[np.ndarray] = []
    for precision, dtype in PRECISIONS.items():
        rate = matmul_rate(dtype, 1024 if small else 8192)
        model = wide_mlp(n_columns, units, precision)
        batch = 256
        steps = train(model, X, y, batch, 3)
        line("training, MLP", precision, steps, rate / (3 * batch * operations(model)), "steps/s")
        trained = trained or model.get_weights()
        model.set_weights(trained)  # the same network in every precision: what differs is the precision alone
        n = min(n_columns, 2000)
        groups = {f"x{i}": [i] for i in range(n)}
        permute = functools.partial(pg.permutation_importance, model, X, y, groups=groups, n_repeats=N_REPEATS)
        found, spent = seconds(permute)
        rankings[precision] = found
        behind = operations(model) - 2 * n_columns * units[0] + 2 * units[0]
        first, same = rankings["float32"], ""
        if precision != "float32":
            top = first.order[:8]
            apart = np.abs(found.scores - first.scores)[top] / np.maximum(first.std[top], 1e-12)
            same = f"{spearmanr(first.scores[top], found.scores[top])[0]:.3f} (first 8), off by {apart.max():.2f} std"
        line("permutations, MLP", precision, n * N_REPEATS / spent, rate / (n_rows * behind), "permutations/s", same)
        config = HybridConfig(base_filters=filters, precision=precision)
        hybrid = build_hybrid(config, 64, 2, layout=layout, task="classification")
        steps = train(hybrid, X[:image_rows, :64], y[:image_rows], batch, 3)
        line("training, hybrid", precision, steps, rate / (3 * batch * operations(hybrid)), "steps/s")
        rows = X[:image_rows, :64]
        cam, spent = seconds(functools.partial(pg.grad_cam, hybrid, rows, layout))
        image_branch = operations(pg.cut_model(hybrid).of_kind("image")[0].encoder)
        line("Grad-CAM, hybrid", precision, len(rows) / spent, rate / image_branch, "rows/s")
        assert np.isfinite(cam.scores).all()


if __name__ == "__main__":
    main()
