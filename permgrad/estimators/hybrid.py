"""The hybrid network as scikit-learn estimators: raw tables in, predictions and feature rankings out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import ClassifierMixin, RegressorMixin

from permgrad.data.encoding import float32_offset
from permgrad.data.table import Task
from permgrad.errors import PermGradError, as_permgrad_error, listing
from permgrad.estimators._base import _HybridEstimator
from permgrad.metrics.losses import cross_entropy, squared_error
from permgrad.training.fit import weigh_classes


class HybridClassifier(ClassifierMixin, _HybridEstimator):
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
        and codes that lie far from all numbers; see `permgrad.quantiles.QuantileScale`.
    embedding : {"none", "piecewise", "periodic"}
        What the tabular branch makes of each scaled column: bins, for relations that bend (a ring, a peak), or waves,
        for those that swing; see `permgrad.embeddings`.
    embedding_size : int
        Bins of a piecewise embedding, or frequencies of a periodic one.
    members : int
        1, or members of a batch ensemble in one network: they share its matrices and its CNN, are trained each on its
        own loss, and predict by their mean; see `permgrad.members`.
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
    random_state : int
        Of weights, dropout, layout, row order, validation split and permutations. Two fits with one
        seed give equal results on one machine.
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
        Only for classification.
    history_ : dict of lists
        Losses, metric and learning rate of each epoch.
    kept_epoch_ : int
        Epoch, from 1, whose weights were kept.
    """

    _task: Task = "classification"

    def __init__(
        self,
        *,
        branches: tuple[str, ...] = ("tabular", "image"),
        layout: str = "tinto",
        image_size: int | None = None,
        unique: bool = True,
        scaling: str = "min-max",
        embedding: str = "none",
        embedding_size: int = 16,
        members: int = 1,
        dense_units: tuple[int, ...] = (128, 64),
        n_conv_layers: int = 2,
        base_filters: int = 16,
        head_units: tuple[int, ...] = (64,),
        dropout: float = 0.2,
        batch_norm: bool = True,
        learning_rate: float = 1e-3,
        schedule: str = "one_cycle",
        optimizer: str = "adam",
        weight_decay: float = 1e-4,
        batch_size: int = 32,
        epochs: int | None = None,
        patience: int = 6,
        validation_fraction: float = 0.2,
        precision: str = "auto",
        random_state: int = 0,
        verbose: bool = False,
        class_weight: str | Mapping[Any, float] | None = None,
    ) -> None:
        super().__init__(
            branches=branches,
            layout=layout,
            image_size=image_size,
            unique=unique,
            scaling=scaling,
            embedding=embedding,
            embedding_size=embedding_size,
            members=members,
            dense_units=dense_units,
            n_conv_layers=n_conv_layers,
            base_filters=base_filters,
            head_units=head_units,
            dropout=dropout,
            batch_norm=batch_norm,
            learning_rate=learning_rate,
            schedule=schedule,
            optimizer=optimizer,
            weight_decay=weight_decay,
            batch_size=batch_size,
            epochs=epochs,
            patience=patience,
            validation_fraction=validation_fraction,
            precision=precision,
            random_state=random_state,
            verbose=verbose,
        )
        self.class_weight = class_weight

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class, shape (n_rows, n_classes), in the order of ``classes_``."""
        return self._network_output(X)

    def predict(self, X: Any) -> np.ndarray:
        """Return the likeliest class of each row."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def _learn_target(self, y: pd.Series) -> None:
        self.classes_ = np.unique(y)

    def _encode_target(self, y: pd.Series) -> np.ndarray:
        labels = np.asarray(y)
        unknown = set(pd.unique(labels)) - set(self.classes_)
        if unknown:
            raise PermGradError(f"labels not seen in training: {listing(sorted(map(str, unknown)))}")
        return np.searchsorted(self.classes_, labels)

    def _output(self, target: np.ndarray) -> dict[str, Any]:
        return {"n_outputs": len(self.classes_), "task": self._task}

    def _class_weights(self, target: np.ndarray) -> np.ndarray | None:
        return weigh_classes(self.class_weight, self.classes_, target)

    def _loss(self, target: np.ndarray, output: np.ndarray) -> float:
        rows = cross_entropy(target, output)
        return float(np.mean(rows if self.class_weights_ is None else rows * self.class_weights_[target]))

    def state_to_dict(self) -> dict[str, Any]:
        """Return what was fitted beside the network, ready for JSON."""
        labels = {"classes": self.classes_.tolist(), "classes_dtype": self.classes_.dtype.str}
        return {**super().state_to_dict(), **labels}

    def restore_state(self, content: dict[str, Any], network: Any) -> None:
        """Take over what `state_to_dict` described, and the network that was saved beside it."""
        super().restore_state(content, network)
        self.classes_ = np.array(content["classes"], dtype=content["classes_dtype"])


class HybridRegressor(RegressorMixin, _HybridEstimator):
    """Hybrid network (MLP on the row, CNN on its image) that predicts a number, and ranks the columns.

    Parameters and attributes as of `HybridClassifier`, without ``class_weight``. The network predicts
    in the target's own unit; its last layer undoes a standardisation fitted on the training rows. (A
    target whose spread float32 would blur has a constant taken off before, ``target_offset_``.)
    """

    _task: Task = "regression"

    def predict(self, X: Any) -> np.ndarray:
        """Return the predicted value of each row, shape (n_rows,)."""
        predicted = self._network_output(X)[:, 0]
        return predicted.astype(float) + self.target_offset_ if self.target_offset_ else predicted

    def _learn_target(self, y: pd.Series) -> None:
        self.target_offset_ = float32_offset(y.to_numpy(float))

    def _encode_target(self, y: pd.Series) -> np.ndarray:
        with as_permgrad_error():
            return (np.asarray(y, np.float64) - self.target_offset_).astype(np.float32)

    def _output(self, target: np.ndarray) -> dict[str, Any]:
        scale = {"target_mean": float(target.mean()), "target_std": float(target.std()) or 1.0}
        return {"n_outputs": 1, "task": self._task, **scale}

    def _loss(self, target: np.ndarray, output: np.ndarray) -> float:
        return float(np.mean(squared_error(target, output)) / self.network_.get_layer("prediction").scale ** 2)

    def state_to_dict(self) -> dict[str, Any]:
        """Return what was fitted beside the network, ready for JSON."""
        return {**super().state_to_dict(), "target_offset": self.target_offset_}

    def restore_state(self, content: dict[str, Any], network: Any) -> None:
        """Take over what `state_to_dict` described, and the network that was saved beside it."""
        super().restore_state(content, network)
        self.target_offset_ = content["target_offset"]
