"""A network's outputs for the rows of a table: one compiled call for a block of rows.

Keras's own ``predict`` builds a pipeline for the rows and a function around the network, which took a second the first
time, and as long as the network itself on a small table.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from permgrad.backend import compiled, keras
from permgrad.importance.network.branches import cut_model
from permgrad.training.batches import dense

PREDICT_ROWS = 1024
SIZES = (32, 256, PREDICT_ROWS)
"""Rows of a call: each size is compiled once for a network, and a last block of few rows is filled up to one."""


def predicted_by(network: Any, encoded: Any) -> np.ndarray:
    """Return one network's output for encoded rows, in memory or in files, (n_rows, n_outputs), float32."""
    cut = cut_model(network)
    call = cut.once("output", lambda: compiled(lambda rows: network(rows, training=False), network))
    blocks = (dense(encoded[i : i + PREDICT_ROWS]) for i in range(0, encoded.shape[0], PREDICT_ROWS))
    return np.concatenate([keras.ops.convert_to_numpy(call(_filled_up(block)))[: len(block)] for block in blocks])


def _filled_up(rows: np.ndarray) -> Any:
    """Repeat the last row until there are as many as is compiled for."""
    size = next(size for size in SIZES if size >= len(rows))
    padded = np.pad(rows, [(0, size - len(rows)), (0, 0)], mode="edge") if size > len(rows) else rows
    return keras.ops.convert_to_tensor(padded)
