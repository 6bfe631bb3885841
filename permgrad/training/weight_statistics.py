"""What a network's weights look like: how many are as good as zero, their range and spread, and a sample of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from permgrad.backend import keras
from permgrad.errors import PermGradError
from permgrad.training.optimizers import penalised

ZERO = 1e-5


def weight_statistics(model: Any, *, n_sampled: int = 5000, random_state: int = 0) -> dict[str, Any]:
    """Describe the trainable weights of a network that are no biases.

    Parameters
    ----------
    model : keras.Model
    n_sampled : int
        Weights to draw, without replacement, for a histogram; fewer where there are fewer.
    random_state : int
        Of the draw.

    Returns
    -------
    dict
        ``n``; ``zeros``, those with ``|w| < 1e-5``; ``minimum``, ``maximum``, ``std`` (ddof 0), ``mean``,
        ``mean_absolute`` (Σ|w| / n); ``sample``, an array of shape (n_sampled,), float32.

    Raises
    ------
    PermGradError
        If the network has no weights that can be trained.
    """
    variables = penalised(model.trainable_variables)
    if not variables:
        raise PermGradError("the network has no weights that can be trained")
    sizes = [int(np.prod(variable.shape)) for variable in variables]
    drawn = np.sort(np.random.default_rng(random_state).choice(sum(sizes), min(n_sampled, sum(sizes)), replace=False))
    n, starts = sum(sizes), np.cumsum([0, *sizes])
    zeros, low, high, total, squares, absolute, sample = 0, np.inf, -np.inf, 0.0, 0.0, 0.0, []
    for variable, start, stop in zip(variables, starts, starts[1:], strict=False):
        values = keras.ops.convert_to_numpy(variable).reshape(-1).astype(np.float32, copy=False)
        size = np.abs(values)
        zeros += int((size < ZERO).sum())
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        total += float(values.sum(dtype=float))
        squares += float(np.square(values).sum(dtype=float))
        absolute += float(size.sum(dtype=float))
        sample.append(values[drawn[(drawn >= start) & (drawn < stop)] - start])
    mean = total / n
    return {
        "n": n,
        "zeros": zeros,
        "minimum": low,
        "maximum": high,
        "std": float(np.sqrt(max(squares / n - mean**2, 0))),
        "mean": mean,
        "mean_absolute": absolute / n,
        "sample": np.concatenate(sample),
    }
