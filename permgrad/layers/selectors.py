"""Layers that choose columns: a weight, or a gate, for each; and the penalties on them, which see nothing else.

In front of a Dense layer, columns that are not needed are weighed down to nothing. The penalty is the regularizer of
the layer's one weight vector, so it reaches no other weight of the network. They compute in float32 whatever the
model's precision, and are registered, so that a saved ``.keras`` file loads without custom objects.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import ndtr

from permgrad.backend import keras
from permgrad.errors import PermGradError, listing

ops = keras.ops
PENALTIES = ("l1", "l2", "l1/l2")
SMALLEST_SQUARE = 1e-12
"""Added under square roots, whose slope at 0 is infinite."""
HALF_GATE = 0.5
"""Where stochastic gates begin."""


@keras.saving.register_keras_serializable("permgrad")
class SelectorPenalty(keras.regularizers.Regularizer):
    """A norm of the weights w of a selector, times a factor.

    Parameters
    ----------
    kind : {"l1", "l2", "l1/l2"}
        Σ|w|; √Σw² (the norm, not its square); or the first over the second, which does not change with the size of w
        and is least where few weights are not 0.
    factor : float

    Examples
    --------
    >>> float(pg.SelectorPenalty("l1", factor=0.5)(np.array([1.0, -3.0], np.float32)))
    2.0
    """

    def __init__(self, kind: str = "l1", factor: float = 0.1) -> None:
        if kind not in PENALTIES:
            raise PermGradError(f"a penalty must be one of {listing(PENALTIES)}, got {kind!r}")
        if not factor >= 0:
            raise PermGradError(f"a penalty's factor must be at least 0, got {factor}")
        self.kind, self.factor = kind, float(factor)

    def __call__(self, weights: Any) -> Any:
        """Return the penalty of the weights, a scalar."""
        total = ops.sum(ops.abs(weights))
        norm = ops.sqrt(ops.sum(ops.square(weights)) + SMALLEST_SQUARE)
        return self.factor * {"l1": total, "l2": norm, "l1/l2": total / norm}[self.kind]

    def get_config(self) -> dict[str, Any]:
        """Return kind and factor."""
        return {"kind": self.kind, "factor": self.factor}


@keras.saving.register_keras_serializable("permgrad")
class Selector(keras.layers.Layer):
    """Multiply each column by its own weight: (batch, n_features) → (batch, n_features), float32.

    Parameters
    ----------
    initializer : keras initializer
        Of the weights, shape (n_features,).
    regularizer : keras regularizer, optional
        Penalty on the weights, such as a `SelectorPenalty`.
    always : sequence of int
        Columns that pass unchanged: they have no weight, and the penalty ignores them.

    Examples
    --------
    >>> layer = pg.Selector()
    >>> np.asarray(layer(np.array([[2.0, 3.0]])))
    array([[2., 3.]], dtype=float32)
    """

    selects_columns = True
    constraint: Any = None

    def __init__(
        self, initializer: Any = "ones", regularizer: Any = None, always: Sequence[int] = (), **keywords: Any
    ) -> None:
        super().__init__(**{"dtype": "float32", **keywords})
        self.initializer = keras.initializers.get(initializer)
        self.regularizer = keras.regularizers.get(regularizer)
        self.always = sorted({int(column) for column in always})

    def build(self, input_shape: tuple[int | None, int]) -> None:
        """Create the weights, one for each column that does not always pass."""
        self.weighed = np.setdiff1d(np.arange(input_shape[-1]), self.always)
        if len(self.weighed) + len(self.always) != input_shape[-1] or not len(self.weighed):
            raise PermGradError(
                f"always must be some of the columns, 0 to {input_shape[-1] - 1}, not all of them, got {self.always}"
            )
        self.gate = self.add_weight(
            shape=self.weighed.shape,
            initializer=self.initializer,
            regularizer=self.regularizer,
            constraint=self.constraint,
            name="gate",
        )

    def call(self, x: Any) -> Any:
        """Weigh a batch."""
        return x * self.of_all(self.gate)

    def of_all(self, weights: Any) -> Any:
        """Return a number for each column: (..., n_weighed) → (..., n_features), 1 for those that always pass.

        Examples
        --------
        >>> layer = pg.Selector(always=[1])
        >>> layer.build((None, 3))
        >>> np.asarray(layer.of_all(np.array([2.0, 3.0], np.float32))).tolist()
        [2.0, 1.0, 3.0]
        """
        if not self.always:
            return weights
        places = np.full(len(self.weighed) + len(self.always), len(self.weighed), np.int32)
        places[self.weighed] = np.arange(len(self.weighed))
        return ops.take(ops.concatenate([weights, ops.ones_like(weights[..., :1])], axis=-1), places, axis=-1)

    def columnwise_scale(self) -> np.ndarray:
        """Return the factor of each column in prediction, shape (n_features,).

        Examples
        --------
        >>> layer = pg.Selector()
        >>> layer.build((None, 2))
        >>> layer.columnwise_scale()
        array([1., 1.], dtype=float32)
        """
        return ops.convert_to_numpy(self.of_all(self.gate))

    def importance(self) -> np.ndarray:
        """Return the absolute weights, by which columns are ranked, shape (n_features,), float64.

        Examples
        --------
        >>> layer = pg.Selector()
        >>> layer.build((None, 2))
        >>> layer.importance()
        array([1., 1.])
        """
        return np.abs(self.columnwise_scale().astype(float))

    def get_config(self) -> dict[str, Any]:
        """Return the settings."""
        return {
            **super().get_config(),
            "initializer": keras.initializers.serialize(self.initializer),
            "regularizer": keras.regularizers.serialize(self.regularizer),
            "always": self.always,
        }


@keras.saving.register_keras_serializable("permgrad")
class UnitInterval(keras.constraints.Constraint):
    """Bring weights back into [0, 1]."""

    def __call__(self, weights: Any) -> Any:
        """Return the weights, clipped."""
        return ops.clip(weights, 0.0, 1.0)


@keras.saving.register_keras_serializable("permgrad")
class AbsoluteNormal(keras.initializers.RandomNormal):
    """The absolute values of normal numbers of mean 0.

    Parameters
    ----------
    stddev : float
    random_state : int, optional
    """

    def __init__(self, stddev: float = 0.2, random_state: int | None = None) -> None:
        super().__init__(0.0, stddev, random_state)

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """Draw them."""
        return ops.abs(super().__call__(shape, dtype))

    def get_config(self) -> dict[str, Any]:
        """Return the settings."""
        return {"stddev": self.stddev, "random_state": self._init_seed}


@keras.saving.register_keras_serializable("permgrad")
class ClampedSelector(Selector):
    """A `Selector` whose weights are kept within [0, 1] after each step of training.

    Parameters
    ----------
    initializer : keras initializer
        By default ``|N(0, 0.2²)|``, as published.
    regularizer : keras regularizer, optional
    always : sequence of int

    Examples
    --------
    >>> layer = pg.ClampedSelector()
    >>> tuple(layer(np.ones((1, 3), np.float32)).shape)
    (1, 3)
    """

    constraint = UnitInterval()

    def __init__(
        self, initializer: Any = None, regularizer: Any = None, always: Sequence[int] = (), **keywords: Any
    ) -> None:
        super().__init__(AbsoluteNormal() if initializer is None else initializer, regularizer, always, **keywords)


@keras.saving.register_keras_serializable("permgrad")
class NarrowingSelector(Selector):
    """A `Selector` of whose columns some can be closed for good, while the network is trained: see `close`.

    A second weight, not trained, holds 1 for each open column and 0 for a closed one. The penalty is still that of all
    weights; closed ones get nothing but its pull.
    """

    def build(self, input_shape: tuple[int | None, int]) -> None:
        """Create both."""
        super().build(input_shape)
        self.open = self.add_weight(shape=self.weighed.shape, initializer="ones", trainable=False, name="open")

    def call(self, x: Any) -> Any:
        """Weigh a batch; closed columns are 0."""
        return x * self.of_all(self.gate * self.open)

    def columnwise_scale(self) -> np.ndarray:
        """Return the weights of the open columns, 0 for the others; shape (n_features,)."""
        return ops.convert_to_numpy(self.of_all(self.gate * self.open))

    def close(self, n_open: int) -> np.ndarray:
        """Close all but the `n_open` columns of the largest weights; return those that closed now, worst first.

        Columns that always pass are among those that stay open.
        """
        is_open = ops.convert_to_numpy(self.open) > 0
        weights = self.importance()[self.weighed]
        order = np.argsort(np.where(is_open, weights, -1.0), kind="stable")  # those closed before come first
        n_closed, n_kept = int((~is_open).sum()), n_open - len(self.always)
        closing = order[n_closed : max(len(order) - n_kept, n_closed)]
        is_open[closing] = False
        self.open.assign(is_open.astype(np.float32))
        return self.weighed[closing]


@keras.saving.register_keras_serializable("permgrad")
class ExpectedOpen(keras.regularizers.Regularizer):
    """The expected number of stochastic gates that are not 0, times a factor: ``factor * Σ Φ(μ / sigma)``.

    Parameters
    ----------
    factor, sigma : float
    """

    def __init__(self, factor: float = 0.01, sigma: float = 0.5) -> None:
        if not factor >= 0:
            raise PermGradError(f"a penalty's factor must be at least 0, got {factor}")
        self.factor, self.sigma = float(factor), float(sigma)

    def __call__(self, means: Any) -> Any:
        """Return the penalty, a scalar."""
        return self.factor * ops.sum(0.5 * (1 + ops.erf(means / (self.sigma * math.sqrt(2)))))

    def get_config(self) -> dict[str, Any]:
        """Return the settings."""
        return {"factor": self.factor, "sigma": self.sigma}


@keras.saving.register_keras_serializable("permgrad")
class StochasticSelector(Selector):
    """A gate for each column, open at random in training: ``clip(μ + sigma * ε, 0, 1)``, ε normal, anew for each row.

    Its chance Φ(μ / sigma) of not being 0 has a gradient, so their expected number can be penalised: the number of
    columns itself, not the size of weights. Without training, gates are ``clip(μ, 0, 1)``. Columns are ranked by that
    chance.

    Parameters
    ----------
    penalty : float
        Times the expected number of open gates is added to the loss.
    sigma : float
    random_state : int, optional
        Of the noise.
    always : sequence of int
        Columns without a gate.

    References
    ----------
    Yamada, Lindenbaum, Negahban & Kluger, Feature Selection using Stochastic Gates (ICML 2020).

    Examples
    --------
    >>> layer = pg.StochasticSelector(penalty=0.01)
    >>> tuple(layer(np.ones((1, 3), np.float32), training=False).shape)
    (1, 3)
    """

    def __init__(
        self,
        penalty: float = 0.01,
        sigma: float = 0.5,
        random_state: int | None = None,
        always: Sequence[int] = (),
        **keywords: Any,
    ) -> None:
        if not sigma > 0:
            raise PermGradError(f"the noise of stochastic gates must be above 0, got {sigma}")
        super().__init__(keras.initializers.Constant(HALF_GATE), ExpectedOpen(penalty, sigma), always, **keywords)
        self.penalty, self.sigma, self.random_state = penalty, sigma, random_state
        self.noise = keras.random.SeedGenerator(random_state)

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Gate a batch."""
        gate = self.gate
        if training:
            shape = (ops.shape(x)[0], len(self.weighed))
            gate = gate + self.sigma * keras.random.normal(shape, dtype=x.dtype, seed=self.noise)
        return x * self.of_all(ops.clip(gate, 0.0, 1.0))

    def columnwise_scale(self) -> np.ndarray:
        """Return the gates without noise, shape (n_features,).

        Examples
        --------
        >>> layer = pg.StochasticSelector()
        >>> layer.build((None, 2))
        >>> layer.columnwise_scale()
        array([0.5, 0.5], dtype=float32)
        """
        return ops.convert_to_numpy(self.of_all(ops.clip(self.gate, 0.0, 1.0)))

    def importance(self) -> np.ndarray:
        """Return each gate's probability of not being 0, shape (n_features,), float64: 1 for columns without a gate.

        Examples
        --------
        >>> layer = pg.StochasticSelector()
        >>> layer.build((None, 2))
        >>> layer.importance().round(3)
        array([0.841, 0.841])
        """
        chances = np.ones(len(self.weighed) + len(self.always))
        chances[self.weighed] = ndtr(ops.convert_to_numpy(self.gate).astype(float) / self.sigma)
        return chances

    def get_config(self) -> dict[str, Any]:
        """Return the settings."""
        config = super().get_config()
        del config["initializer"], config["regularizer"]
        return {**config, "penalty": self.penalty, "sigma": self.sigma, "random_state": self.random_state}


@keras.saving.register_keras_serializable("permgrad")
class FeatureGates(StochasticSelector):
    """Stochastic gates for features of several inputs each: (batch, n_inputs) → (batch, n_inputs), float32.

    One gate for each feature of a table, though it may be several 0/1 columns, and have bins.

    Parameters
    ----------
    owners : list of int, one per column
        Which gate each of the first inputs has, from 0.
    numbers : list of int
        Columns that have bins, ascending; the bins are the inputs behind the columns, as `NumberBins` gives them.
    penalty, sigma, random_state
        Of `StochasticSelector`.
    """

    def __init__(self, owners: Any, numbers: Any = (), **keywords: Any) -> None:
        super().__init__(**keywords)
        self.owners, self.numbers = np.asarray(owners, np.int32), np.asarray(numbers, np.int32)
        self.n_gates = int(self.owners.max()) + 1

    def build(self, input_shape: tuple[int | None, int]) -> None:
        """Create the gates, shape (n_gates,)."""
        super().build((input_shape[0], self.n_gates))

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Gate a batch."""
        gate = self.gate[None]
        if training:
            gate = gate + self.sigma * keras.random.normal((ops.shape(x)[0], self.n_gates), seed=self.noise)
        columns = ops.take(ops.clip(gate, 0.0, 1.0), self.owners, axis=1)
        n_columns, n_numbers = len(self.owners), len(self.numbers)
        gated = x[:, :n_columns] * columns
        if not n_numbers:
            return gated
        bins = ops.reshape(x[:, n_columns:], (-1, n_numbers, (x.shape[1] - n_columns) // n_numbers))
        bins = bins * ops.take(columns, self.numbers, axis=1)[:, :, None]
        return ops.concatenate([gated, ops.reshape(bins, (-1, x.shape[1] - n_columns))], axis=1)

    def compute_output_shape(self, input_shape: tuple[int | None, int]) -> tuple[int | None, int]:
        """Return the input's."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the settings."""
        return {**super().get_config(), "owners": self.owners.tolist(), "numbers": self.numbers.tolist()}


@keras.saving.register_keras_serializable("permgrad")
class ColumnMask(keras.layers.Layer):
    """Let some columns pass and make all others 0: (batch, n_features) → (batch, n_features), float32.

    Parameters
    ----------
    open : array of bool, shape (n_features,)
        Which columns pass.
    """

    selects_columns = True

    def __init__(self, open: Any, **keywords: Any) -> None:
        super().__init__(**{"dtype": "float32", **keywords})
        self.open = np.asarray(open, bool)

    def call(self, x: Any) -> Any:
        """Mask a batch."""
        return x * self.open.astype(np.float32)

    def of_columns(self, x: Any, columns: np.ndarray) -> Any:
        """Mask some of the columns, shape (n_rows, n_columns), alone."""
        return x * self.open[columns].astype(np.float32)

    def columnwise_scale(self) -> np.ndarray:
        """Return 1 for each column that passes, 0 for the others; shape (n_features,), float32."""
        return self.open.astype(np.float32)

    def compute_output_shape(self, input_shape: tuple[int | None, int]) -> tuple[int | None, int]:
        """Return the input's."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return which columns pass."""
        return {**super().get_config(), "open": self.open.tolist()}


@keras.saving.register_keras_serializable("permgrad")
class BranchGate(keras.layers.Layer):
    """Multiply a branch's code by one trained number that starts at 0: the branch is added only as far as it helps."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the number."""
        self.gate = self.add_weight(shape=(), initializer="zeros", name="gate")

    def call(self, x: Any) -> Any:
        """Multiply."""
        return x * self.gate

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the input's."""
        return input_shape
