"""What all benchmarks share: a row of the table, time, memory, the machine's arithmetic, networks."""

from __future__ import annotations

import math
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil

from permgrad.backend import compiled, keras


@dataclass
class Row:
    """One line of the table.

    Attributes
    ----------
    name : str
    first, ours, other : float
        Seconds: this project's first call for a network, compilation included; a later call; the other side.
    target : str
        The figure to reach, as text.
    floor : float
        Seconds that the arithmetic alone takes: operations over the measured rate of a product of matrices.
    difference : float
        Largest difference from the other side, over the other side's largest score.
    memory, other_memory : float
        Peak over what model and table take already, MB.
    note : str
    """

    name: str
    ours: float
    first: float = math.nan
    other: float = math.nan
    target: str = ""
    floor: float = math.nan
    difference: float = math.nan
    memory: float = math.nan
    other_memory: float = math.nan
    note: str = ""

    HEADER = (
        f"{'':<52}{'first':>9}{'later':>9}{'other':>10}{'ratio':>8}{'wanted':>9}{'floor':>9}{'× floor':>9}"
        f"{'differ':>9}{'MB':>7}{'other':>7}"
    )

    def __str__(self) -> str:
        def number(value: float, form: str) -> str:
            return "" if math.isnan(value) else format(value, form)

        cells = [
            f"{self.name:<52}",
            f"{number(self.first, '.3g'):>9}",
            f"{self.ours:>9.3g}",
            f"{number(self.other, '.4g'):>10}",
            f"{number(self.other / self.ours, '.3g'):>8}",
            f"{self.target:>9}",
            f"{number(self.floor, '.3g'):>9}",
            f"{number(self.ours / self.floor, '.2f'):>9}",
            f"{number(self.difference, '.0e'):>9}",
            f"{number(self.memory, '.0f'):>7}",
            f"{number(self.other_memory, '.0f'):>7}",
        ]
        return "".join(cells) + (f"\n    {self.note}" if self.note else "")


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """Return a function's result and its seconds."""
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def first_and_later(function: Callable[[], Any], times: int = 5) -> tuple[Any, float, float]:
    """Return a function's result, the seconds of its first call and the median of later ones."""
    result, first = timed(function)
    return result, first, statistics.median(timed(function)[1] for _ in range(times))


class Peak:
    """The most memory that the process takes inside the block, over what it took before; MB."""

    def __enter__(self) -> Peak:
        self._process = psutil.Process()
        self._before = self._most = self._process.memory_info().rss
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self._most = max(self._most, self._process.memory_info().rss)

    @property
    def megabytes(self) -> float:
        """How much it was."""
        return (self._most - self._before) / 1e6


def matmul_rate(dtype: str = "float32", size: int = 2048) -> float:
    """Return operations per second of a product of two square matrices, the best of ten."""
    a = keras.ops.cast(np.random.default_rng(0).normal(size=(size, size)), dtype)
    product = compiled(lambda x: keras.ops.matmul(x, x))

    def once() -> None:
        float(keras.ops.cast(product(a)[0, 0], "float32"))  # waits for it

    once()
    return 2 * size**3 / min(timed(once)[1] for _ in range(10))


def operations(model: Any) -> int:
    """Count the multiplications and additions of a model's Dense and Conv2D layers for one row."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dense):
            total += 2 * math.prod(layer.kernel.shape)
        elif isinstance(layer, keras.layers.Conv2D):
            total += 2 * math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:3])
    return total


def mlp(*widths: int, batch_norm: int = 0, random_state: int = 0) -> Any:
    """Build a ReLU network with a softmax; BatchNorm behind the first `batch_norm` layers' activations."""
    rows = x = keras.Input((widths[0],))
    for i, width in enumerate(widths[1:-1]):
        x = keras.layers.Dense(width, "relu", kernel_initializer=keras.initializers.HeNormal(random_state + i))(x)
        x = keras.layers.BatchNormalization()(x) if i < batch_norm else x
    output = keras.layers.Dense(
        widths[-1], "softmax", kernel_initializer=keras.initializers.GlorotNormal(random_state + 99)
    )(x)
    return keras.Model(rows, output)


def table(n_rows: int, n_columns: int, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 rows in which no two values of a column are equal, and class numbers."""
    rng = np.random.default_rng(1)
    return rng.random((n_rows, n_columns), np.float32), rng.integers(0, n_classes, n_rows)


def largest_difference(measured: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference, over the largest expected value."""
    return float(np.max(np.abs(measured - expected)) / np.abs(expected).max())
