"""The hybrid network as scikit-learn estimators: raw tables in, predictions and feature rankings out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import train_test_split
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from permgrad.data.encoding import ColumnEncoder
from permgrad.data.table import Table, Task, as_frame, as_target, check_columns
from permgrad.errors import PermGradError, UnfittedError, as_permgrad_error
from permgrad.estimators._ranking import ExplainsImages
from permgrad.files import new_directory
from permgrad.images.layout import FeatureLayout, fit_layout
from permgrad.models.hybrid import HybridConfig, adapt, build_hybrid
from permgrad.training.config import TrainingConfig, choose_precision
from permgrad.training.fit import fit_network

EPOCHS = {"classification": 70, "regression": 200}
"""As published."""
MIN_VALIDATION_ROWS = 5
PREDICT_ROWS = 1024


class _HybridEstimator(ExplainsImages, BaseEstimator):
    """What classifier and regressor share; see `HybridClassifier` for the parameters."""

    _task: Task

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
    ) -> None:
        self.branches = branches
        self.layout = layout
        self.image_size = image_size
        self.unique = unique
        self.scaling = scaling
        self.embedding = embedding
        self.embedding_size = embedding_size
        self.members = members
        self.dense_units = dense_units
        self.n_conv_layers = n_conv_layers
        self.base_filters = base_filters
        self.head_units = head_units
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.optimizer = optimizer
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.epochs = epochs
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.precision = precision
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self, X: Any, y: Any, *, validation_data: tuple[Any, Any] | None = None, callbacks: Sequence[Any] = ()
    ) -> Any:
        """Fit encoding, scaling, layout and network on training rows.

        Parameters
        ----------
        X : DataFrame or array of shape (n_rows, n_features)
            Numeric, text, category and boolean columns; missing values are allowed.
        y : array of shape (n_rows,)
        validation_data : (X, y), optional
            Rows that only decide when to stop. By default a share of the training rows,
            ``validation_fraction``, is set apart for this (none, where there are too few).
        callbacks : sequence of keras.callbacks.Callback
            Called during training.

        Returns
        -------
        The estimator itself.

        Raises
        ------
        PermGradError
            For a table or target that cannot be used, see `Table`; for settings out of range.

        Warns
        -----
        UserWarning
            Naming columns that never vary, and, with ``unique=False``, features that share a pixel.
        """
        network, training = self._configs()
        table = self._check_training_data(X, y)
        self._learn_target(table.y)
        train, validation = self._set_apart(table, validation_data)
        self.encoder_ = ColumnEncoder.fit(train.X)
        encoded = self.encoder_.transform(train.X)
        target = self._encode_target(train.y)
        self.class_weights_ = self._class_weights(target)
        self.network_ = self._build(network, encoded, target)
        self.history_, self.kept_epoch_ = fit_network(
            self.network_,
            (encoded, target),
            (self.encoder_.transform(validation[0]), self._encode_target(validation[1])) if validation else None,
            training,
            task=self._task,
            class_weight=self.class_weights_,
            callbacks=callbacks,
            verbose=self.verbose,
        )
        return self

    def loss(self, X: Any, y: Any) -> float:
        """Return the mean loss over rows that `fit` minimises, computed in float64.

        Cross-entropy, each row weighed by its class's weight; or the squared error, divided by the
        variance of the training target, so that 1 is what predicting the mean achieves.
        """
        output = self._network_output(X)
        return self._loss(self._encode_target(as_target(y)), output)

    def save(self, directory: str | Path, *, overwrite: bool = False) -> None:
        """Write network, encoding, layout and settings to a new directory; `permgrad.load` reads it.

        Raises
        ------
        UnfittedError
            If there is nothing to save yet.
        PermGradError
            If the directory exists and `overwrite` is false, or cannot be written.
        """
        from permgrad.estimators.saving import write_estimator

        self._check_fitted()
        with new_directory(directory, overwrite=overwrite) as staging:
            write_estimator(self, staging)

    def state_to_dict(self) -> dict[str, Any]:
        """Return what was fitted beside the network, ready for JSON."""
        return {
            "encoder": self.encoder_.to_dict(),
            "layout": None if self.layout_ is None else self.layout_.to_dict(),
            "feature_names_in": bool(hasattr(self, "feature_names_in_")),
            "history": self.history_,
            "kept_epoch": self.kept_epoch_,
            "class_weights": None if self.class_weights_ is None else self.class_weights_.tolist(),
        }

    def restore_state(self, content: dict[str, Any], network: Any) -> None:
        """Take over what `state_to_dict` described, and the network that was saved beside it."""
        self.encoder_ = ColumnEncoder.from_dict(content["encoder"])
        self.layout_ = None if content["layout"] is None else FeatureLayout.from_dict(content["layout"])
        self.network_ = network
        self.history_ = content["history"]
        self.kept_epoch_ = content["kept_epoch"]
        weights = content["class_weights"]
        self.class_weights_ = None if weights is None else np.array(weights, np.float32)
        self.n_features_in_ = len(self.encoder_.features)
        if content["feature_names_in"]:
            self.feature_names_in_ = np.array(self.encoder_.features, dtype=object)

    def _check_training_data(self, X: Any, y: Any) -> Table:
        if y is None:
            raise PermGradError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        frame, target = as_frame(X), as_target(y)
        with as_permgrad_error():
            validate_data(self, X, skip_check_array=True)
            if self._task == "classification":
                check_classification_targets(target)
        return Table(frame, target, task=self._task)

    def _set_apart(
        self, table: Table, validation_data: tuple[Any, Any] | None
    ) -> tuple[Table, tuple[pd.DataFrame, pd.Series] | None]:
        """Return the rows to fit on, and those that decide when to stop."""
        if validation_data is not None:
            return table, self._check_validation_data(table, *validation_data)
        if not 0 <= self.validation_fraction < 1:
            raise PermGradError(f"validation_fraction must be in [0, 1), got {self.validation_fraction}")
        n_rows = round(self.validation_fraction * len(table))
        n_classes = len(table.classes or ())
        rarest = table.y.value_counts().min() if n_classes else len(table)
        if n_rows < max(MIN_VALIDATION_ROWS, n_classes) or rarest < 2:
            return table, None
        stratify = table.y if n_classes else None
        rows = np.arange(len(table))
        train, val = train_test_split(rows, test_size=n_rows, random_state=self.random_state, stratify=stratify)
        return table.take(train), (table.X.iloc[val], table.y.iloc[val])

    def _check_validation_data(self, table: Table, X: Any, y: Any) -> tuple[pd.DataFrame, pd.Series]:
        frame, target = as_frame(X), as_target(y)
        if not isinstance(X, pd.DataFrame) and frame.shape[1] == len(table.features):
            frame = frame.set_axis(table.features, axis=1)
        check_columns(frame.columns, table.features, "validation_data")
        if len(frame) != len(target) or target.isna().any():
            raise PermGradError(
                f"validation_data must have a target for each row, got {len(frame)} rows and {target.count()} targets"
            )
        return frame, target

    def _build(self, config: Any, encoded: np.ndarray, target: np.ndarray) -> Any:
        """Return a network that is not trained yet, its scaling fitted on the encoded training rows."""
        self.layout_ = self._fit_layout(encoded) if "image" in config.branches else None
        network = build_hybrid(config, encoded.shape[1], layout=self.layout_, **self._output(target))
        adapt(network, encoded)
        return network

    def _configs(self) -> tuple[Any, TrainingConfig]:
        """Return the settings of the network and of its training, checked."""
        branches = (self.branches,) if isinstance(self.branches, str) else tuple(self.branches)
        network = HybridConfig(
            branches=branches,  # type: ignore[arg-type]
            scaling=self.scaling,
            embedding=self.embedding,
            embedding_size=self.embedding_size,
            members=self.members,
            dense_units=tuple(self.dense_units),
            n_conv_layers=self.n_conv_layers,
            base_filters=self.base_filters,
            head_units=tuple(self.head_units),
            dropout=self.dropout,
            batch_norm=self.batch_norm,
            precision=choose_precision(self.precision),
            random_state=self.random_state,
        )
        training = TrainingConfig(
            learning_rate=self.learning_rate,
            schedule=self.schedule,  # type: ignore[arg-type]
            optimizer=self.optimizer,  # type: ignore[arg-type]
            weight_decay=self.weight_decay,
            batch_size=self.batch_size,
            epochs=EPOCHS[self._task] if self.epochs is None else self.epochs,
            patience=self.patience,
            random_state=self.random_state,
        )
        return network, training

    def _fit_layout(self, encoded: np.ndarray) -> FeatureLayout:
        frame = pd.DataFrame(encoded, columns=self.encoder_.columns)
        return fit_layout(frame, self.layout, self.image_size, unique=self.unique, random_state=self.random_state)

    def _check_fitted(self) -> None:
        try:
            check_is_fitted(self, "network_")
        except NotFittedError as error:
            raise UnfittedError(str(error)) from error

    def _encode(self, X: Any) -> np.ndarray:
        self._check_fitted()
        frame = as_frame(X)
        with as_permgrad_error():
            validate_data(self, X, reset=False, skip_check_array=True)
        return self.encoder_.transform(frame.set_axis(list(self.encoder_.features), axis=1))

    def _network_output(self, X: Any) -> np.ndarray:
        encoded = self._encode(X)
        return self.network_.predict(encoded, batch_size=PREDICT_ROWS, verbose=0)

    # What differs between classification and regression.
    def _learn_target(self, y: pd.Series) -> None:
        raise NotImplementedError

    def _encode_target(self, y: pd.Series) -> np.ndarray:
        raise NotImplementedError

    def _output(self, target: np.ndarray) -> dict[str, Any]:
        raise NotImplementedError

    def _class_weights(self, target: np.ndarray) -> np.ndarray | None:
        return None

    def _loss(self, target: np.ndarray, output: np.ndarray) -> float:
        raise NotImplementedError

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.target_tags.required = True
        return tags
