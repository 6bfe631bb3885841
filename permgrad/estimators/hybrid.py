"""The hybrid network as scikit-learn estimators: raw tables in, predictions and feature rankings out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from sklearn.base import RegressorMixin

from permgrad.backend import free_memory
from permgrad.data.encoding import float32_offset
from permgrad.data.table import Task
from permgrad.errors import PermGradError, as_permgrad_error, check_fitted
from permgrad.estimators._base import NetworkClassifier
from permgrad.estimators._table import TableEstimator
from permgrad.images.layout import FeatureLayout, fit_layout
from permgrad.metrics.losses import squared_error
from permgrad.models.hybrid import Branch, HybridConfig, adapt, build_hybrid
from permgrad.training.config import EPOCHS, TrainingConfig, choose_precision

MAX_TARGET = 1e15
"""Of a regression's target: its square, and losses that are sums of it, are float32 numbers too."""


@dataclass(kw_only=True, repr=False, eq=False)
class HybridEstimator(TableEstimator):
    """What classifier and regressor share: the settings (`HybridClassifier` describes them), and the network.

    Attributes
    ----------
    layout_ : FeatureLayout or None
        Each encoded column's pixel; None without an image branch.
    """

    branches: tuple[Branch, ...] | Branch = ("tabular", "image")
    layout: str = "tinto"
    image_size: int | None = None
    unique: bool = True
    scaling: str = "min-max"
    embedding: str = "none"
    embedding_size: int = 16
    ensemble_size: int = 1
    dense_units: tuple[int, ...] = (128, 64)
    n_conv_layers: int = 2
    base_filters: int = 16
    head_units: tuple[int, ...] = (64,)
    dropout: float = 0.2
    batch_norm: bool = True
    learning_rate: float = 1e-3
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    optimizer: Literal["adam", "adamw"] = "adam"
    weight_decay: float = 1e-4
    batch_size: int = 32
    epochs: int | None = None
    patience: int = 6
    validation_fraction: float = 0.2
    precision: str = "auto"
    random_state: int | np.random.RandomState | None = 0
    verbose: bool = False

    def state_to_dict(self) -> dict[str, Any]:
        """Return what was fitted beside the network, ready for JSON."""
        return {**super().state_to_dict(), "layout": None if self.layout_ is None else self.layout_.to_dict()}

    def restore_state(self, content: dict[str, Any], networks: list[Any]) -> None:
        """Take over what `state_to_dict` described, and the networks that were saved beside it."""
        super().restore_state(content, networks)
        self.layout_ = None if content["layout"] is None else FeatureLayout.from_dict(content["layout"])

    def _configs(self) -> tuple[HybridConfig, TrainingConfig]:
        network = HybridConfig(
            branches=(self.branches,) if isinstance(self.branches, str) else tuple(self.branches),
            scaling=self.scaling,
            embedding=self.embedding,
            embedding_size=self.embedding_size,
            ensemble_size=self.ensemble_size,
            dense_units=tuple(self.dense_units),
            n_conv_layers=self.n_conv_layers,
            base_filters=self.base_filters,
            head_units=tuple(self.head_units),
            dropout=self.dropout,
            batch_norm=self.batch_norm,
            precision=choose_precision(self.precision),
            random_state=self.random_state_,
        )
        training = TrainingConfig(
            learning_rate=self.learning_rate,
            schedule=self.schedule,
            optimizer=self.optimizer,
            weight_decay=self.weight_decay,
            batch_size=self.batch_size,
            epochs=EPOCHS[self._task] if self.epochs is None else self.epochs,
            patience=self.patience,
            random_state=self.random_state_,
        )
        return network, training

    def _build(self, config: HybridConfig, encoded: np.ndarray, target: np.ndarray) -> Any:
        self.layout_ = self._fit_layout(encoded) if "image" in config.branches else None
        if self.layout_ is not None:
            self._check_memory(self.layout_.shape)
        network = build_hybrid(
            config, encoded.shape[1], layout=self.layout_, task=self._task, **self._output_layer(target)
        )
        adapt(network, encoded)
        return network

    def _fit_layout(self, encoded: np.ndarray) -> FeatureLayout:
        frame = pd.DataFrame(encoded, columns=self.encoder_.get_feature_names_out())
        return fit_layout(frame, self.layout, self.image_size, unique=self.unique, random_state=self.random_state_)

    def _check_memory(self, shape: tuple[int, int]) -> None:
        """Raise where a step of training on images of this shape takes more memory than is free."""
        # Of each convolution, what it, BatchNorm and the activation give, with gradients; filters double, sides halve.
        pixels, depth = shape[0] * shape[1], self.n_conv_layers
        activations = 6 * self.batch_size * sum(self.base_filters * pixels / 2**i for i in range(depth))
        # Of the Dense layer on the flattened image: weights, gradients and the optimizer's two moments.
        units = (tuple(self.head_units) or (1,))[0]
        weights = 4 * units * self.base_filters * 2 ** (depth - 1) * pixels / 4**depth
        needed, free = 4 * (activations + weights), free_memory()
        if needed > free:
            raise PermGradError(
                f"images of {shape[0]} × {shape[1]} pixels take about {needed / 1e9:,.1f} GB of memory in training,"
                f" {free / 1e9:,.1f} GB are free; choose a smaller image_size, batch_size or base_filters"
            )

    def _output_layer(self, target: np.ndarray) -> dict[str, Any]:
        """Return the number of outputs, and the scale of a target, as `build_hybrid` takes them."""
        raise NotImplementedError


@dataclass(kw_only=True, repr=False, eq=False)
class HybridClassifier(NetworkClassifier, HybridEstimator):
    """Hybrid network (MLP on the row, CNN on its image) that classifies, and ranks the columns.

    Parameters
    ----------
    branches : tuple of {"tabular", "image"}
        Both, or one of them for an MLP or a CNN alone.
    layout : {"tinto", "igtd", "deepinsight", "fotomics", "refined"}
        How features are placed in the image, see `permgrad.fit_layout`.
    image_size : int, optional
        Height and width of the image; by default chosen from the number of columns.
    unique : bool
        Whether each feature gets a pixel of its own.
    scaling : {"min-max", "quantile"}
        How each column comes to [0, 1]: linearly, or by its rank among the training rows, which evens out long tails
        and codes that lie far from all numbers; see `permgrad.layers.quantile.QuantileScale`.
    embedding : {"none", "piecewise", "periodic"}
        What the tabular branch makes of each scaled column: bins, for relations that bend (a ring, a peak), or waves,
        for those that swing; see `permgrad.layers.embeddings`.
    embedding_size : int
        Bins of a piecewise embedding, or frequencies of a periodic one.
    ensemble_size : int
        1, or as many networks in one, a batch ensemble: they share its matrices and its CNN, are trained each on its
        own loss, and predict by their mean; see `permgrad.layers.batch_ensemble`.
    dense_units : tuple of int
        Dense layers of the tabular branch.
    n_conv_layers, base_filters : int
        Convolution blocks, and filters of the first one (doubled in each further one).
    head_units : tuple of int
        Dense layers after the branches have met.
    dropout : float
    batch_norm : bool
        Whether layers are followed by BatchNorm.
    learning_rate : float
        Peak of the schedule.
    schedule : {"one_cycle", "cosine", "constant"}
        Of the learning rate; "one_cycle" as published.
    optimizer : {"adam", "adamw"}
    weight_decay : float
        Only for "adamw".
    batch_size : int
    epochs : int, optional
        By default 70, for regression 200, as published.
    patience : int
        Epochs without a better validation loss after which training stops, counted once the learning
        rate has reached its peak.
    validation_fraction : float
        Share of the training rows set apart for early stopping where `fit` gets no validation data.
    precision : {"auto", "float32", "mixed_float16", "mixed_bfloat16"}
        "auto": mixed precision where there is an accelerator, float32 on a CPU.
    random_state : int, RandomState or None
        Of weights, dropout, layout, row order, validation split and permutations. Two fits with one
        number give equal results on one machine; of a RandomState, each fit draws another number.
    verbose : bool
        Show progress bars.
    class_weight : "balanced" or dict of label to float, optional
        Weight of each class in the loss, in training and for early stopping; only for classification.

    Attributes
    ----------
    network_ : keras.Model
        Takes encoded rows, see ``encoder_``; scaling and image are layers of it.
    encoder_ : ColumnEncoder
    layout_ : FeatureLayout or None
    classes_ : ndarray
    history_ : dict of lists
        Losses, metric and learning rate of each epoch.
    kept_epoch_ : int
        Epoch, from 1, whose weights were kept.
    random_state_ : int
    n_features_in_ : int
    feature_names_in_ : ndarray
        Only where X had names.

    Notes
    -----
    There are no ``feature_importances_``: weights of a first layer leave out what the image tells. See `rank_features`.
    """

    class_weight: str | Mapping[Any, float] | None = None

    def _output_layer(self, target: np.ndarray) -> dict[str, Any]:
        return {"n_outputs": len(self.classes_)}


class HybridRegressor(RegressorMixin, HybridEstimator):
    """Hybrid network (MLP on the row, CNN on its image) that predicts a number, and ranks the columns.

    Parameters and attributes as of `HybridClassifier`, without those of classes. The network predicts
    in the target's own unit; its last layer undoes a standardisation fitted on the training rows. (A
    target whose spread float32 would blur has a constant taken off before, ``target_offset_``.)
    """

    _task: ClassVar[Task] = "regression"

    def predict(self, X: Any) -> np.ndarray:
        """Return the predicted value of each row, shape (n_rows,)."""
        check_fitted(self)
        predicted = self._network_output(X)[:, 0]
        return predicted.astype(float) + self.target_offset_ if self.target_offset_ else predicted

    def state_to_dict(self) -> dict[str, Any]:
        """Return what was fitted beside the network, ready for JSON."""
        return {**super().state_to_dict(), "target_offset": self.target_offset_}

    def restore_state(self, content: dict[str, Any], networks: list[Any]) -> None:
        """Take over what `state_to_dict` described, and the networks that were saved beside it."""
        super().restore_state(content, networks)
        self.target_offset_ = content["target_offset"]

    def _fit_target(self, y: pd.Series) -> None:
        values = y.to_numpy(float)
        with np.errstate(over="ignore"):
            largest, spread = np.abs(values).max(), values.std()
        if not largest <= MAX_TARGET or not spread >= 1 / MAX_TARGET:
            raise PermGradError(
                f"the target's values go up to {largest:.2g} and spread by {spread:.2g}; a network computes in"
                f" float32, which takes at most {MAX_TARGET:.0e} and at least {1 / MAX_TARGET:.0e}: choose another unit"
            )
        self.target_offset_ = float32_offset(values)

    def _encode_target(self, y: pd.Series) -> np.ndarray:
        with as_permgrad_error():
            return (np.asarray(y, np.float64) - self.target_offset_).astype(np.float32)

    def _output_layer(self, target: np.ndarray) -> dict[str, Any]:
        return {"n_outputs": 1, "target_mean": float(target.mean()), "target_std": float(target.std()) or 1.0}

    def _row_losses(self, target: np.ndarray, output: np.ndarray) -> np.ndarray:
        return squared_error(target, output) / self.network_.get_layer("prediction").scale ** 2
