"""An accelerator's training steps, permutations and Grad-CAM rows a second, in float32 and mixed precision.

python -m benchmarks.gpu [--small] [--precisions float32 mixed_bfloat16]

Beside each: the arithmetic floor (operations over the rate at which the device multiplies two 8192 × 8192
matrices of that precision, measured here), and for the mixed precisions the rank correlation of the ranking
with the first one's, float32's by default. Runs on either backend; on a CPU with --small in a minute or two.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
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
BATCH = 256
MOST_GROUPS = 2000
IMAGE_COLUMNS = 64
Trained = tuple[list[np.ndarray], pg.FeatureRanking]
"""Weights of a network, and the ranking that it gives."""


def planted(n_rows: int, n_columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and two classes that follow from the first eight columns, with falling weights."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, n_columns)).astype(np.float32)
    logits = X[:, :8] @ np.linspace(2, 0.5, 8)
    return X, (rng.random(n_rows) < 1 / (1 + np.exp(-logits))).astype(int)


def wide_mlp(n_columns: int, layers: tuple[int, ...], precision: str) -> Any:
    rows = keras.Input((n_columns,))
    x = MinMaxScale(name="scale")(rows)
    for i, n in enumerate(layers):
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


@dataclass(frozen=True)
class Sizes:
    """Of what is measured."""

    n_rows: int
    n_columns: int
    layers: tuple[int, ...]
    image: int
    filters: int
    image_rows: int
    matrix: int


LARGE = Sizes(8192, 20531, (5000, 1000, 100), image=32, filters=64, image_rows=8192, matrix=8192)
SMALL = Sizes(512, 100, (256, 64), image=12, filters=8, image_rows=256, matrix=1024)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="sizes for a CPU")
    parser.add_argument("--precisions", nargs="+", choices=list(PRECISIONS), default=list(PRECISIONS))
    options = parser.parse_args(arguments)
    sizes = SMALL if options.small else LARGE
    device = "accelerator" if has_accelerator() else "CPU"
    print(f"{NAME}, {device}; {sizes.n_rows} rows, MLP {sizes.n_columns}-{sizes.layers}")
    print(f"{'':<50}{'measured':>12} {'':<18}{'floor allows':>14}{'× floor':>8}  ranking against the first's")
    X, y = planted(sizes.n_rows, sizes.n_columns)
    first: Trained | None = None
    for precision in options.precisions:
        rate = matmul_rate(PRECISIONS[precision], sizes.matrix)
        first = measure_mlp(X, y, precision, sizes, rate, first)
        measure_hybrid(X[: sizes.image_rows, :IMAGE_COLUMNS], y[: sizes.image_rows], precision, sizes, rate)


def measure_mlp(
    X: np.ndarray, y: np.ndarray, precision: str, sizes: Sizes, rate: float, first: Trained | None
) -> Trained:
    """Print the rates of an MLP; return the first precision's weights and ranking."""
    model = wide_mlp(sizes.n_columns, sizes.layers, precision)
    steps = train(model, X, y, BATCH, 3)
    line("training, MLP", precision, steps, rate / (3 * BATCH * operations(model)), "steps/s")
    if first:
        model.set_weights(first[0])  # the same network in every precision: what differs is the precision alone
    n = min(sizes.n_columns, MOST_GROUPS)
    groups = {f"x{i}": [i] for i in range(n)}
    ranking, spent = seconds(lambda: pg.permutation_importance(model, X, y, groups=groups, n_repeats=N_REPEATS))
    behind = operations(model) - 2 * sizes.n_columns * sizes.layers[0] + 2 * sizes.layers[0]
    same = agreement(first[1], ranking) if first else ""
    line("permutations, MLP", precision, n * N_REPEATS / spent, rate / (len(X) * behind), "permutations/s", same)
    return first or (model.get_weights(), ranking)


def agreement(first: pg.FeatureRanking, other: pg.FeatureRanking) -> str:
    best = first.order[:8]
    apart = np.abs(other.scores - first.scores)[best] / np.maximum(first.std[best], 1e-12)  # type: ignore[index]
    return f"{spearmanr(first.scores[best], other.scores[best])[0]:.3f} (first 8), off by {apart.max():.2f} std"


def measure_hybrid(X: np.ndarray, y: np.ndarray, precision: str, sizes: Sizes, rate: float) -> None:
    """Print the rates of a hybrid network."""
    layout = pg.fit_layout(pd.DataFrame(X).add_prefix("x"), size=sizes.image)
    config = HybridConfig(base_filters=sizes.filters, precision=precision)
    hybrid = build_hybrid(config, X.shape[1], 2, layout=layout, task="classification")
    steps = train(hybrid, X, y, BATCH, 3)
    line("training, hybrid", precision, steps, rate / (3 * BATCH * operations(hybrid)), "steps/s")
    cam, spent = seconds(lambda: pg.grad_cam(hybrid, X, layout))
    image_branch = operations(pg.cut_model(hybrid).of_kind("image")[0].encoder)
    line("Grad-CAM, hybrid", precision, len(X) / spent, rate / image_branch, "rows/s")
    assert np.isfinite(cam.scores).all()


if __name__ == "__main__":
    main()
