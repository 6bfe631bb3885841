"""The learning rate of each epoch."""

from __future__ import annotations

import math

from permgrad.training.config import TrainingConfig

START_RATE = 1e-5


END_RATE = 1e-5


def one_cycle_rate(epoch: int, config: TrainingConfig) -> float:
    """Return the rate of an epoch (from 0): linear from 1e-5 to the peak over a quarter, then a half cosine to 0.

    Source: the published PermGrad notebooks; the schedule is Smith & Topin's one-cycle (2019), per epoch.
    """
    warmup, peak = config.warmup_epochs, config.learning_rate
    if epoch < warmup:
        return START_RATE + (peak - START_RATE) * epoch / warmup
    return peak / 2 * (1 + math.cos(math.pi * (epoch - warmup) / max(1, config.epochs - warmup)))


def cosine_rate(epoch: int, config: TrainingConfig) -> float:
    """Return the rate of an epoch (from 0): half a cosine from the peak, which would reach 1e-5 after the last epoch.

    Source: Loshchilov & Hutter, SGDR (2017), without restarts, per epoch.
    """
    share = (1 + math.cos(math.pi * epoch / config.epochs)) / 2
    return END_RATE + (config.learning_rate - END_RATE) * share


RATES = {"one_cycle": one_cycle_rate, "cosine": cosine_rate, "constant": lambda epoch, config: config.learning_rate}
