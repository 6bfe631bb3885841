"""What the L1 penalty of a wide network costs a training step."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np

from benchmarks.measure import Row, table, timed
from permgrad.backend import keras
from permgrad.models.wide import WideConfig, build_wide_mlp
from permgrad.training.optimizers import PenalisedAdam, penalised

GENES, CLASSES, BATCH = 20531, 5, 32
STEPS = 8
L1 = 1e-2


def penalty() -> Row:
    """One step of the published network with the penalty; without it; and with Keras's regularizer."""
    return _steps("float32")


def penalty_mixed() -> Row:
    """The same in mixed precision: a GPU's business."""
    return _steps("mixed_bfloat16")


def _steps(precision: str) -> Row:
    with_penalty, first = _step(PenalisedAdam(1e-3, l1=L1), precision)
    without, _ = _step(PenalisedAdam(1e-3), precision)
    plain, _ = _step(keras.optimizers.Adam(1e-3), precision)
    regularised, _ = _step(keras.optimizers.Adam(1e-3), precision, regularised=True)
    return Row(
        f"Adam's step with / without the L1 penalty, {precision}",
        with_penalty,
        first,
        without,
        "≥ 0.87",
        note=f"Keras's Adam takes {plain:.3g} s without a penalty, {regularised:.3g} s with Keras's regularizer",
    )


def _step(optimizer: Any, precision: str, *, regularised: bool = False) -> tuple[float, float]:
    """Return the median seconds of a step, and those of the first one."""
    X, y = table(BATCH, GENES, CLASSES)
    keras.utils.clear_session()
    model = build_wide_mlp(WideConfig(precision=precision), X, CLASSES)
    if regularised:
        n = sum(int(np.prod(weight.shape)) for weight in penalised(model.trainable_variables))
        for layer in model.layers:
            if isinstance(layer, keras.layers.Dense):
                layer.kernel.regularizer = keras.regularizers.L1(L1 / n)
    model.compile(optimizer, "sparse_categorical_crossentropy")
    _, first = timed(lambda: model.train_on_batch(X, y))
    return statistics.median(timed(lambda: model.train_on_batch(X, y))[1] for _ in range(STEPS)), first


ROWS = [penalty]
LONG = [penalty_mixed]
