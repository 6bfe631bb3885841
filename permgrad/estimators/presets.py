"""Settings of the hybrid network by name; what a user gives by hand goes before them.

``default`` was chosen on development tables: columns standardised, bins beside the numeric ones, eight networks in
one, an image that starts closed. ``fast`` is a smaller one for a first look; ``best`` averages five, each trained on
other rows. ``published`` is the network of the PermGrad notebooks, exactly.

References
----------
Gorishniy, Kotelnikov & Babenko, TabM (ICLR 2025); Holzmüller, Grinsztajn & Steinwart, Better by Default (NeurIPS 2024).
"""

from __future__ import annotations

import math
from typing import Any

from permgrad.training.config import EPOCHS

PUBLISHED: dict[str, Any] = {
    "image_size": "wide",
    "scaling": "min-max",
    "embedding": "none",
    "embedding_size": 16,
    "ensemble_size": 1,
    "dense_units": (128, 64),
    "image_network": "cnn",
    "n_conv_layers": 2,
    "downsampling": "max_pool",
    "base_filters": 16,
    "head_units": (64,),
    "dropout": 0.2,
    "batch_norm": True,
    "gated_image": False,
    "zero_output": False,
    "calibrated": False,
    "screening": False,
    "n_networks": 1,
    "learning_rate": 1e-3,
    "schedule": "one_cycle",
    "optimizer": "adam",
    "weight_decay": 1e-4,
    "batch_size": 32,
    "epochs": EPOCHS,
    "patience": 6,
}
DEFAULT: dict[str, Any] = {
    "image_size": "compact",
    "scaling": "standard",
    "embedding": "bins",
    "embedding_size": 16,
    "ensemble_size": 8,
    "dense_units": (128,),
    "image_network": "cnn",
    "n_conv_layers": 2,
    "downsampling": "stride",
    "base_filters": 8,
    "head_units": (64,),
    "dropout": 0.1,
    "batch_norm": False,
    "gated_image": True,
    "zero_output": True,
    "calibrated": True,
    "screening": True,
    "n_networks": 1,
    "learning_rate": 2e-3,
    "schedule": "constant",
    "optimizer": "adamw",
    "weight_decay": 1e-2,
    "batch_size": "auto",
    "epochs": 150,
    "patience": "auto",
}
PRESETS: dict[str, dict[str, Any]] = {
    "default": DEFAULT,
    "fast": {**DEFAULT, "embedding_size": 8, "ensemble_size": 4, "base_filters": 4, "screening": False, "epochs": 60},
    "best": {**DEFAULT, "ensemble_size": 16, "dense_units": (256,), "head_units": (128,), "n_networks": 5},
    "published": PUBLISHED,
}

MOST_INPUTS = 2**15
"""Columns times networks of a batch ensemble: where a table is wider, it has fewer networks."""


def batch_size_for(n_rows: int) -> int:
    """Return how many rows a training step takes: a power of two, about 16 steps an epoch, or more.

    32 to 256 rows, so that a small table's epoch has several steps; beyond 16,384 rows as many as keep an epoch at
    about 64 steps, up to 1,024.
    """
    size = n_rows / 16 if n_rows <= 2**12 else max(256, n_rows / 64)
    return int(2 ** round(min(10, max(5, math.log2(max(1, size))))))


def patience_for(n_rows: int, batch_size: int) -> int:
    """Return after how many epochs without a better loss training stops: 12, or as many as 250 steps take."""
    return max(12, math.ceil(250 / max(1, n_rows // max(1, batch_size))))
