"""Calibration: one number that divides a network's logits, fitted on rows that its weights were not fitted on."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from permgrad.backend import keras

PRIOR = 0.5
"""Standard deviation of log T before any row is seen: a few rows alone do not make a network bold or shy."""
LIMITS = (0.1, 10.0)


@keras.saving.register_keras_serializable("permgrad")
class Temperature(keras.layers.Layer):
    """Divide logits by a temperature that is not trained: 1 until `fit_temperature` says otherwise.

    The order of the classes stays as it is; above 1, probabilities come closer to each other.

    References
    ----------
    Guo, Pleiss, Sun & Weinberger, On Calibration of Modern Neural Networks (ICML 2017).
    """

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**{"dtype": "float32", **keywords})

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the number."""
        self.temperature = self.add_weight(shape=(), initializer="ones", trainable=False, name="temperature")

    def call(self, logits: Any) -> Any:
        """Divide."""
        return logits / self.temperature

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the input's."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the layer; without this method Keras would forget its name."""
        return super().get_config()


def fit_temperature(probabilities: np.ndarray, target: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Return the temperature under which probabilities fit the target best: the log loss's, and a prior's about 1.

    Parameters
    ----------
    probabilities : ndarray of shape (n_rows, n_classes)
        Of a network whose temperature is 1.
    target : ndarray of shape (n_rows,), int
        Class numbers.
    weight : ndarray of shape (n_rows,), optional
        Of each row in the loss.

    Returns
    -------
    float
        The most probable T, where log T has a normal prior of deviation 0.5 about 0.
    """
    logits = np.log(np.maximum(np.asarray(probabilities, float), 1e-30))
    rows, weight = np.arange(len(target)), np.ones(len(target)) if weight is None else np.asarray(weight, float)

    def surprise(log_temperature: float) -> float:
        likely = log_softmax(logits / np.exp(log_temperature), axis=1)[rows, target]
        return float(-(weight * likely).sum() + (log_temperature / PRIOR) ** 2 / 2)

    return float(np.exp(minimize_scalar(surprise, bounds=np.log(LIMITS), method="bounded").x))
