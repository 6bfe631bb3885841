"""An L1 penalty on a network's weights that costs a training step next to nothing.

As a regularizer in the loss, the sum of the absolute weights and its gradient are several passes over all weights in
each step, and a first layer of 20,531 columns has 100 million. Here the gradient of the penalty is added where Adam
reads each weight anyway, and the whole update is fused to one pass over memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from permgrad.backend import fused, keras
from permgrad.training.config import TrainingConfig

ops = keras.ops
NOT_PENALISED = ("bias", "beta")
"""Names that Keras gives to what is added, of Dense and Conv layers and of BatchNorm."""
FUSED_FROM = 10_000
"""Weights of a variable from which on fusing its update is worth the time to compile it."""


def penalised(variables: Iterable[Any]) -> list[Any]:
    """Return the variables that are no biases: kernels, the scales of BatchNorm, gates of a `Selector`."""
    return [variable for variable in variables if variable.name not in NOT_PENALISED]


def mean_absolute_weight(model: Any) -> float:
    """Return Σ|w| / n over the trainable weights of a network that are no biases; times λ, it is the penalty."""
    weights = penalised(model.trainable_variables)
    total = sum(float(ops.sum(ops.abs(ops.cast(weight, "float32")))) for weight in weights)
    return total / sum(int(np.prod(weight.shape)) for weight in weights)


@keras.saving.register_keras_serializable("permgrad")
class AdamL2(keras.optimizers.Adam):
    """Adam whose gradients have `l2` times the weight added, after they were clipped.

    (AdamW's decay bypasses Adam's running moments; this one goes through them.)
    """

    def __init__(self, *arguments: Any, l2: float = 0.0, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.l2 = l2

    def get_config(self) -> dict[str, Any]:
        """Return the settings: a network is copied and pickled with its optimizer."""
        return {**super().get_config(), "l2": self.l2}

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Take one step of one variable."""
        super().update_step(gradient + self.l2 * keras.ops.cast(variable, gradient.dtype), variable, learning_rate)


@keras.saving.register_keras_serializable("permgrad")
class PenalisedAdam(AdamL2):
    """Adam on the loss plus ``l1 * sum(|w|) / n`` over the n weights that are no biases, with the decay of `AdamL2`.

    The penalty's gradient, ``l1 / n * sign(w)``, goes through Adam's moments as if the penalty were part of the loss.
    It is added after clipping, and the loss that is reported is without it (see `mean_absolute_weight`). Under mixed
    precision it is added in float32 to gradients that are no longer scaled.

    Parameters
    ----------
    l1 : float
        The factor λ.
    **keywords
        Of `AdamL2`.
    """

    def __init__(self, *arguments: Any, l1: float = 0.0, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.l1 = l1

    def build(self, var_list: list[Any]) -> None:
        """Count the weights that the penalty is divided by."""
        super().build(var_list)
        sizes = [0 if variable.name in NOT_PENALISED else int(np.prod(variable.shape)) for variable in var_list]
        # In a step, variables are the backend's own, which Keras knows by their place in the list.
        self._factors = [self.l1 / sum(sizes) if size else 0.0 for size in sizes]

    def get_config(self) -> dict[str, Any]:
        """Return the settings."""
        return {**super().get_config(), "l1": self.l1}

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Take one step of one variable, in one pass over it, its gradient and its moments."""
        factor = self._factors[self._get_variable_index(variable)]
        plain_step = super().update_step

        def step() -> None:  # takes its tensors from here: Keras wraps some in types that TensorFlow cannot trace
            wanted = ops.cast(gradient, variable.dtype)
            plain_step(wanted + factor * ops.sign(variable) if factor else wanted, variable, learning_rate)

        large = int(np.prod(variable.shape)) >= FUSED_FROM
        (fused(step) if large else step)()


def build_optimizer(config: TrainingConfig) -> Any:
    """Return the optimizer that the settings ask for."""
    rate, clipping = float(config.learning_rate), {"global_clipnorm": config.clip_norm}
    if config.optimizer == "adamw":
        return keras.optimizers.AdamW(rate, weight_decay=float(config.weight_decay), **clipping)
    if config.l1:
        return PenalisedAdam(rate, l1=float(config.l1), l2=float(config.l2), **clipping)
    if config.l2:
        return AdamL2(rate, l2=float(config.l2), **clipping)
    return keras.optimizers.Adam(rate, **clipping)
