"""Layers of a batch ensemble: several networks in one, that share its matrices and differ by vectors.

Tensors have shape (batch, ensemble_size, units). The matrices are multiplied once for all networks; each scales what
goes in and what comes out in its own way.

References
----------
Wen, Tran & Ba, BatchEnsemble (ICLR 2020); Gorishniy, Kotelnikov & Babenko, TabM: Advancing Tabular Deep Learning with
Parameter-Efficient Ensembling (ICLR 2025).
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from permgrad.backend import keras
from permgrad.errors import PermGradError

ops = keras.ops


@keras.saving.register_keras_serializable("permgrad")
class EnsembleDense(keras.layers.Layer):
    """A Dense layer of several networks: (batch[, ensemble_size], n_in) → (batch, ensemble_size, units).

    Network i computes ``activation(((x_i * r_i) @ W) * s_i + b_i)``: `W` (n_in, units) is shared; `r_i` (n_in), `s_i`
    (units) and `b_i` (units) are its own. Where the input has no such axis yet, all see the same.

    Parameters
    ----------
    units, ensemble_size : int
    activation : str, optional
    spread : bool
        Whether the networks start apart, by random signs in `r`: in the layer in front of all others. Else `r` is 1.
    random_state : int
        Of the initial weights.

    References
    ----------
    Wen, Tran & Ba (ICLR 2020), equation 5; initial values as in TabM: only the first `r` is random, `s` is 1.
    """

    def __init__(
        self,
        units: int,
        ensemble_size: int,
        activation: str | None = None,
        spread: bool = False,
        random_state: int = 0,
        **keywords: Any,
    ) -> None:
        super().__init__(**keywords)
        if units < 1 or ensemble_size < 1:
            raise PermGradError(f"units and ensemble_size must be at least 1, got {units} and {ensemble_size}")
        self.units, self.ensemble_size, self.spread, self.random_state = (
            int(units),
            int(ensemble_size),
            bool(spread),
            int(random_state),
        )
        self.activation = keras.activations.get(activation)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights, uniform as TabM's: in the shared matrix, and in each network's bias."""
        n_in = input_shape[-1] or 0
        seeds = np.random.default_rng(self.random_state).integers(2**31, size=3).tolist()
        bound = 1 / math.sqrt(n_in)
        uniform = keras.initializers.RandomUniform
        start = _Signs(seeds[2]) if self.spread else "ones"
        self.kernel = self.add_weight(
            shape=(n_in, self.units), initializer=uniform(-bound, bound, seeds[0]), name="kernel"
        )
        self.scale_in = self.add_weight(shape=(self.ensemble_size, n_in), initializer=start, name="scale_in")
        self.scale_out = self.add_weight(shape=(self.ensemble_size, self.units), initializer="ones", name="scale_out")
        self.bias = self.add_weight(
            shape=(self.ensemble_size, self.units), initializer=uniform(-bound, bound, seeds[1]), name="bias"
        )

    def call(self, x: Any) -> Any:
        """Compute all networks."""
        return self.activation(self.sums(x))

    def sums(self, x: Any) -> Any:
        """Compute all networks up to their activation.

        Where all networks see the same, each has its matrix multiplied out rather than its input, of which there are
        more numbers: a wide table's rows are never repeated.
        """
        if len(x.shape) == 3:
            return ops.matmul(x * self.scale_in, self.kernel) * self.scale_out + self.bias
        kernels = ops.transpose(self.scale_in)[:, :, None] * self.kernel[:, None, :]  # (n_in, ensemble_size, units)
        product = ops.matmul(x, ops.reshape(kernels, (-1, self.ensemble_size * self.units)))
        return ops.reshape(product, (-1, self.ensemble_size, self.units)) * self.scale_out + self.bias

    def kernel_rows(self, columns: Any) -> Any:
        """Return what one unit of some of the inputs adds to the sums, shape (n, ensemble_size, units)."""
        rows = ops.take(self.kernel, columns, axis=0)[:, None, :]
        return rows * ops.transpose(ops.take(self.scale_in, columns, axis=1))[:, :, None] * self.scale_out

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, int, int]:
        """Return (batch, ensemble_size, units)."""
        return (input_shape[0], self.ensemble_size, self.units)

    def get_config(self) -> dict[str, Any]:
        """Return the settings."""
        names = ("units", "ensemble_size", "spread", "random_state")
        activation = keras.activations.serialize(self.activation)
        return {**super().get_config(), **{name: getattr(self, name) for name in names}, "activation": activation}


class _Signs(keras.initializers.Initializer):
    """1 or -1."""

    def __init__(self, random_state: int) -> None:
        self.random_state = random_state

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        signs = np.random.default_rng(self.random_state).choice([-1.0, 1.0], size=shape)
        return ops.convert_to_tensor(signs, dtype=dtype)


@keras.saving.register_keras_serializable("permgrad")
class EnsembleHeads(keras.layers.Layer):
    """A last layer for each network, nothing shared, float32.

    (batch[, ensemble_size], n_in) → (batch, ensemble_size, units).

    Parameters
    ----------
    units, ensemble_size, random_state : int
    zero : bool
        Whether all weights start at 0: the network's first answer is then the bias alone.
    """

    def __init__(
        self, units: int, ensemble_size: int, random_state: int = 0, zero: bool = False, **keywords: Any
    ) -> None:
        super().__init__(**{"dtype": "float32", **keywords})
        self.units, self.ensemble_size, self.random_state = int(units), int(ensemble_size), int(random_state)
        self.zero = bool(zero)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights, uniform as TabM's, or zeros."""
        n_in = input_shape[-1] or 0
        seeds = np.random.default_rng(self.random_state).integers(2**31, size=2).tolist()
        kernel, bias = (
            "zeros" if self.zero else keras.initializers.RandomUniform(-(n_in**-0.5), n_in**-0.5, random_state)
            for random_state in seeds
        )
        self.kernel = self.add_weight(shape=(self.ensemble_size, n_in, self.units), initializer=kernel, name="kernel")
        self.bias = self.add_weight(shape=(self.ensemble_size, self.units), initializer=bias, name="bias")

    def call(self, x: Any) -> Any:
        """Compute all networks."""
        equation = "bki,kio->bko" if len(x.shape) == 3 else "bi,kio->bko"
        return ops.einsum(equation, x, self.kernel) + self.bias

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, int, int]:
        """Return (batch, ensemble_size, units)."""
        return (input_shape[0], self.ensemble_size, self.units)

    def get_config(self) -> dict[str, Any]:
        """Return the settings."""
        return {
            **super().get_config(),
            "units": self.units,
            "ensemble_size": self.ensemble_size,
            "random_state": self.random_state,
            "zero": self.zero,
        }


@keras.saving.register_keras_serializable("permgrad")
class EnsembleMean(keras.layers.Layer):
    """The networks' mean prediction: (batch, ensemble_size, outputs) → (batch, outputs); in training, each its own.

    Networks are trained each on its own loss, so in training nothing is averaged; see `mean_over_ensemble`.

    Parameters
    ----------
    of : {"values", "probabilities"}
        What is averaged. "probabilities": of logits z, the logarithm of the mean of ``softmax(z)``, so that a softmax
        behind it is that mean.
    """

    def __init__(self, of: Literal["values", "probabilities"], **keywords: Any) -> None:
        super().__init__(**{"dtype": "float32", **keywords})
        if of not in ("values", "probabilities"):
            raise PermGradError(f"of must be 'values' or 'probabilities', got {of!r}")
        self.of = of

    def call(self, x: Any, training: bool = False) -> Any:
        """Average, but not in training."""
        if training:
            return x
        if self.of == "values":
            return ops.mean(x, axis=1)
        return ops.logsumexp(ops.log_softmax(x, axis=-1), axis=1) - math.log(x.shape[1])

    def compute_output_spec(self, x: Any, training: bool = False) -> Any:
        """Return the mean's shape: what the network gives when it predicts."""
        return keras.KerasTensor((x.shape[0], x.shape[2]), dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the settings."""
        return {**super().get_config(), "of": self.of}


def mean_over_ensemble(measure: Any, y: Any, predictions: Any) -> Any:
    """Return a loss or metric of each row; where the networks are trained, the mean of their own.

    Parameters
    ----------
    measure : callable
        (y of shape (...,), predictions of shape (..., outputs)) → (...,).
    y : tensor of shape (batch,)
    predictions : tensor of shape (batch[, ensemble_size], outputs)

    Returns
    -------
    tensor of shape (batch,)
    """
    if len(predictions.shape) == 2:
        return measure(ops.reshape(y, (-1,)), predictions)
    each = ops.broadcast_to(ops.reshape(y, (-1, 1)), ops.shape(predictions)[:2])
    return ops.mean(measure(each, predictions), axis=1)


def _squared_error(y: Any, predictions: Any) -> Any:
    return ops.square(predictions[..., 0] - ops.cast(y, predictions.dtype))


LOSSES = {"cross_entropy": keras.losses.sparse_categorical_crossentropy, "squared_error": _squared_error}


@keras.saving.register_keras_serializable("permgrad")
class EnsembleLoss(keras.losses.Loss):
    """The mean of the networks' losses in training; predicting, the loss of their mean.

    Parameters
    ----------
    kind : {"cross_entropy", "squared_error"}
        Of class numbers and probabilities, or of values.
    """

    def __init__(self, kind: str, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.kind = kind

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each row."""
        return mean_over_ensemble(LOSSES[self.kind], y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        """Return the settings."""
        return {**super().get_config(), "kind": self.kind}


@keras.saving.register_keras_serializable("permgrad")
def ensemble_accuracy(y: Any, predictions: Any) -> Any:
    """Return the share of networks that are right about each row."""

    def correct(y: Any, predictions: Any) -> Any:
        chosen = ops.argmax(predictions, axis=-1)
        return ops.cast(chosen == ops.cast(y, chosen.dtype), predictions.dtype)

    return mean_over_ensemble(correct, y, predictions)


@keras.saving.register_keras_serializable("permgrad")
def ensemble_mae(y: Any, predictions: Any) -> Any:
    """Return the networks' mean absolute error of each row."""
    return mean_over_ensemble(lambda y, p: ops.abs(p[..., 0] - ops.cast(y, p.dtype)), y, predictions)
