"""A small network behind one stochastic gate for each feature, to learn which features it takes to predict the target.

embedded rows (batch, n_inputs) ─ gates ─ Dense ─ Dense ─ logits ─ prediction
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from permgrad.backend import keras
from permgrad.layers.embeddings import NumberBins
from permgrad.layers.scaling import Standardise
from permgrad.layers.selectors import FeatureGates

HIDDEN_UNITS = (64, 32)
N_BINS = 8
MOST_INPUTS = 5000
"""With bins; a wider table has none."""
DROPOUT = 0.1


def build_screen(
    owners: np.ndarray,
    numbers: list[int],
    n_inputs: int,
    n_outputs: int,
    *,
    task: Literal["regression", "classification"],
    penalty: float,
    random_state: int,
) -> Any:
    """Build the network.

    Parameters
    ----------
    owners : ndarray of shape (n_columns,), int
        The feature that each column belongs to, from 0.
    numbers : list of int
        Columns that have bins, see `embedding`.
    n_inputs, n_outputs : int
        Width of embedded rows; number of classes, or 1.
    task : {"regression", "classification"}
    penalty : float
        What an open gate costs in the loss.
    random_state : int

    Returns
    -------
    keras.Model
        (batch, n_inputs) → probabilities, or a standardised target; the layer "gates" holds the gates.
    """
    seeds = np.random.default_rng(random_state).integers(2**31, size=5).tolist()
    inputs = keras.Input((n_inputs,), name="embedded")
    binned = numbers if n_inputs > len(owners) else []
    x = FeatureGates(owners, binned, penalty=penalty, random_state=seeds[0], name="gates")(inputs)
    for i, units in enumerate(HIDDEN_UNITS):
        x = keras.layers.Dense(units, "relu", kernel_initializer=keras.initializers.HeNormal(seeds[1 + i]))(x)
        x = keras.layers.Dropout(DROPOUT, seed=seeds[3 + i])(x)
    x = keras.layers.Dense(n_outputs, kernel_initializer="zeros", name="logits")(x)
    return keras.Model(inputs, keras.layers.Softmax()(x) if task == "classification" else x, name="screen")


def embedding(rows: np.ndarray, numbers: list[int]) -> Any:
    """Return what standardises columns and puts bins beside `numbers`, fitted on training rows: a model."""
    inputs = keras.Input((rows.shape[1],), name="features")
    scale = Standardise(name="scale")
    x = scale(inputs)
    scale.adapt(rows)
    if numbers and rows.shape[1] + N_BINS * len(numbers) <= MOST_INPUTS:
        bins = NumberBins(numbers, N_BINS, name="embedding")
        x = bins(x)
        bins.adapt(keras.ops.convert_to_numpy(scale(rows)))
    return keras.Model(inputs, x, name="embed")
