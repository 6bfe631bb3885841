"""How a network is trained: settings, checked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from permgrad.backend import has_accelerator
from permgrad.errors import PermGradError, listing

EPOCHS = {"classification": 70, "regression": 200}
"""Of a hybrid network, as published."""
WARMUP_SHARE = 0.25
CHOICES = {"optimizer": ("adam", "adamw"), "schedule": ("one_cycle", "cosine", "constant"), "keep": ("best", "last")}


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained.

    Attributes
    ----------
    learning_rate : float
        Peak of the schedule.
    optimizer : {"adam", "adamw"}
    weight_decay : float
        Only for "adamw".
    l2 : float
        Only for "adam": times each weight, added to its gradient after clipping. As a penalty of half of it on the
        squared weights would, but not part of the loss that is reported.
    l1 : float
        Only for "adam": times the mean absolute weight, biases left out, is added to the loss; see `PenalisedAdam`.
    clip_norm : float, optional
        Largest norm of the gradient, over all weights.
    schedule : {"one_cycle", "cosine", "constant"}
        See `one_cycle_rate` and `cosine_rate`.
    batch_size : int
    drop_last : bool
        Leave out each epoch's last batch if it is a part of one: BatchNorm's means of few rows are rough.
    epochs : int
    patience : int
        Epochs without a better validation loss after which training stops; the best weights are kept.
        Both count from the epoch at which the rate is at its peak: before, a loss that stalls says little.
    keep : {"best", "last"}
        Which epoch's weights the network ends with; "last" trains all epochs, whatever the validation loss.
    random_state : int
        Of the order of the rows.
    """

    learning_rate: float = 1e-3
    optimizer: Literal["adam", "adamw"] = "adam"
    weight_decay: float = 1e-4
    l2: float = 0.0
    l1: float = 0.0
    clip_norm: float | None = None
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    batch_size: int = 32
    drop_last: bool = False
    epochs: int = 70
    patience: int = 6
    keep: Literal["best", "last"] = "best"
    random_state: int = 0

    @property
    def warmup_epochs(self) -> int:
        """Epochs in which the learning rate rises."""
        return max(1, int(self.epochs * WARMUP_SHARE)) if self.schedule == "one_cycle" else 0

    def __post_init__(self) -> None:
        if self.random_state < 0:
            raise PermGradError(f"random_state must be at least 0, got {self.random_state}")
        for name in ("batch_size", "epochs", "patience", "learning_rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise PermGradError(f"{name} must be positive, and a finite number, got {getattr(self, name)}")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise PermGradError(f"{name} must be one of {listing(choices)}, got {getattr(self, name)!r}")
        for name in ("l1", "l2", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise PermGradError(f"{name} must be at least 0, and a finite number, got {getattr(self, name)}")
        if self.clip_norm is not None and not 0 < self.clip_norm < math.inf:
            raise PermGradError(f"clip_norm must be positive, or None for no clipping, got {self.clip_norm}")


def choose_precision(precision: str) -> str:
    """Resolve "auto": mixed_float16 where the backend sees an accelerator, float32 on a CPU."""
    if precision == "auto":
        return "mixed_float16" if has_accelerator() else "float32"
    if precision not in ("float32", "mixed_float16", "mixed_bfloat16"):
        raise PermGradError(
            f"precision must be 'auto', 'float32', 'mixed_float16' or 'mixed_bfloat16', got {precision!r}"
        )
    return precision
