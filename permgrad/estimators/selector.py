"""A network with a feature-selection layer, as a scikit-learn classifier: which columns suffice."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_array
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from permgrad.data.cells import Cells
from permgrad.data.on_disk import RowsOnDisk
from permgrad.data.table import as_target, check_columns
from permgrad.errors import PermGradError, UnfittedError, as_permgrad_error, listing
from permgrad.files import new_directory
from permgrad.importance.ranking import FeatureRanking
from permgrad.importance.weights import weight_importance
from permgrad.metrics.losses import cross_entropy
from permgrad.models.selector import SelectorConfig, build_selector_mlp
from permgrad.training.batches import InOrder, moments
from permgrad.training.config import TrainingConfig, choose_precision
from permgrad.training.evaluation_log import EvaluationLog
from permgrad.training.fit import fit_network, weigh_classes
from permgrad.training.narrowing import Narrowing

SCALINGS = ("none", "standard")


class SelectorClassifier(ClassifierMixin, BaseEstimator):
    """MLP behind a layer that weighs, or gates, each column; trained for a fixed number of epochs.

    Rows may be arrays, data frames of numbers, sparse matrices, `Cells`, or left in a file (`RowsOnDisk`): they stay
    as they are until their batch is put together.

    Parameters
    ----------
    selector : {"free", "clamped", "stochastic", "narrowing", "none"}
        Weights from N(0, 1); weights kept within [0, 1]; gates that open at random and whose expected number is
        penalised (`StochasticSelector`); a path from dense to sparse, see `sizes`; or a plain MLP, whose columns are
        ranked by the sums of their absolute first-layer weights.
    penalty : {"l1", "l2", "l1/l2"} or None
        Of the selector's weights alone; see `SelectorPenalty`.
    alpha : float
        The penalty's factor; of stochastic gates, times their expected number.
    noise : float
        Standard deviation of the Gaussian noise added to the input, in training only.
    hidden_units : tuple of int
    dropout : float
        After each hidden layer.
    batch_norm : bool
    scaling : {"none", "standard"}
        "standard": the network's first layer standardises columns by the training rows. Without, columns should be on
        one scale (as log-normalised counts are), for their weights to be comparable.
    sizes : tuple of int
        Of "narrowing" alone: after `epochs` with all columns, all but so many are closed for good, and the others
        trained for `epochs_per_size`; then the next size. One training gives a panel of each size. Sizes that leave
        nothing to close are passed over.
    epochs_per_size : int
    learning_rate, weight_decay : float
        Of AdamW, constant. The decay reaches all weights, as published. A weight moves by about the rate in each step,
        however large its penalty: with few rows, take smaller batches and a higher rate, or most weights stay where
        they began.
    batch_size, epochs : int
    class_weight : "balanced" or dict of label to float, optional
    log_evaluation : bool
        Add to each epoch's ``history_`` what `EvaluationLog` says: the network without noise and dropout, on training
        and validation rows, and the penalty.
    precision : {"auto", "float32", "mixed_float16", "mixed_bfloat16"}
        "auto": mixed precision where there is an accelerator, float32 on a CPU.
    random_state : int
        Of weights, noise, dropout and row order. Two fits with one seed give equal results on one machine.
    verbose : bool
        Show a progress bar.

    Attributes
    ----------
    network_ : keras.Model
        Rows → probabilities.
    classes_ : ndarray
    features_ : tuple of str
    constant_ : tuple of str
        Columns that never vary in training: they rank last. (Not looked for in a file that is not scaled.)
    selector_weights_ : ndarray of shape (n_features,) or None
        What each column is multiplied by; None for a plain MLP.
    path_ : DataFrame or None
        Of "narrowing": ``size``, ``loss``, ``accuracy`` and ``balanced_accuracy`` on the validation rows, or the
        training rows where there are none. The network is left at the smallest size.
    history_ : dict of lists
        Per epoch: ``loss`` (penalty included), ``accuracy``, ``val_loss``, ``val_accuracy``.
    """

    classes_: np.ndarray
    constant_: tuple[str, ...]

    def __init__(
        self,
        *,
        selector: str = "free",
        penalty: str | None = "l1",
        alpha: float = 0.1,
        noise: float = 0.2,
        hidden_units: tuple[int, ...] = (512, 128, 64),
        dropout: float = 0.3,
        batch_norm: bool = False,
        scaling: str = "none",
        sizes: tuple[int, ...] = (500, 400, 300, 200, 150, 100, 75, 50, 35, 25, 15, 10),
        epochs_per_size: int = 3,
        learning_rate: float = 3e-4,
        weight_decay: float = 0.3,
        batch_size: int = 256,
        epochs: int = 50,
        class_weight: str | Mapping[Any, float] | None = None,
        log_evaluation: bool = False,
        precision: str = "auto",
        random_state: int = 0,
        verbose: bool = False,
    ) -> None:
        self.selector = selector
        self.penalty = penalty
        self.alpha = alpha
        self.noise = noise
        self.hidden_units = hidden_units
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.scaling = scaling
        self.sizes = sizes
        self.epochs_per_size = epochs_per_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.epochs = epochs
        self.class_weight = class_weight
        self.log_evaluation = log_evaluation
        self.precision = precision
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None, *, validation_data: Any = None, callbacks: Sequence[Any] = ()) -> Self:
        """Train on rows.

        Parameters
        ----------
        X : array, DataFrame, sparse matrix, RowsOnDisk or Cells of shape (n_rows, n_features)
            Numbers, none missing.
        y : array of shape (n_rows,), optional
            Labels; of `Cells`, by default their own.
        validation_data : (X, y) or Cells, optional
            Only watched: how many epochs are trained is fixed.
        callbacks : sequence of keras.callbacks.Callback

        Raises
        ------
        PermGradError
            For rows, labels or settings that cannot be used.
        """
        network = self._config()
        rows, target = self._learn(X, y)
        sizes = self._sizes(rows.shape[1])
        validation = None if validation_data is None else self._seen(validation_data)
        training = self._training(len(sizes))
        scale = self._look_at(rows)
        self.network_ = build_selector_mlp(network, rows.shape[1], len(self.classes_), moments=scale)
        narrowing = Narrowing(
            self.network_.get_layer("selector") if sizes else None,
            sizes,
            self.epochs,
            self.epochs_per_size,
            validation or (rows, target),
        )
        log = [EvaluationLog((rows, target), validation)] if self.log_evaluation else []
        self.history_, _ = fit_network(
            self.network_,
            (rows, target),
            validation,
            training,
            task="classification",
            class_weight=weigh_classes(self.class_weight, self.classes_, target),
            callbacks=[*callbacks, *log, *([narrowing] if sizes else [])],
            verbose=self.verbose,
        )
        self.path_ = narrowing.curve if sizes else None
        self.scores_ = narrowing.places() if sizes else self._scores()
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class, shape (n_rows, n_classes), in the order of ``classes_``."""
        self._check_fitted()
        return self.network_.predict(InOrder(self._rows(X)), verbose=0)

    def predict(self, X: Any) -> np.ndarray:
        """Return the likeliest class of each row."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def loss(self, X: Any, y: Any = None) -> float:
        """Return the mean cross-entropy over rows, without the penalty."""
        self._check_fitted()
        rows, target = self._seen(X if y is None else (X, y))
        return float(cross_entropy(target, self.network_.predict(InOrder(rows), verbose=0)).mean())

    @property
    def selector_weights_(self) -> np.ndarray | None:
        """What each column is multiplied by, (n_features,), float32; None for a plain MLP."""
        self._check_fitted()
        return None if self.selector == "none" else self.network_.get_layer("selector").columnwise_scale()

    def rank_features(self) -> FeatureRanking:
        """Rank the columns by what the network learned of them; no rows are needed.

        Returns
        -------
        FeatureRanking
            Scores: the selector's absolute weights; of stochastic gates, the chance that each is open; of a path, how
            many columns were closed before each; of a plain MLP, Σ|first-layer weights|. Columns that never varied
            rank last.
        """
        self._check_fitted()
        method = {"none": "first_layer_weights", "stochastic": "open_gates", "narrowing": "narrowing"}
        ranking = FeatureRanking(
            self.features_,
            self.scores_,
            method=method.get(self.selector, "selector"),
            settings={
                "selector": self.selector,
                "penalty": self.penalty,
                "alpha": self.alpha,
                "random_state": self.random_state,
            },
        )
        varying = [name for name in self.features_ if name not in set(self.constant_)]
        return ranking.only(varying).with_unused(self.features_) if self.constant_ else ranking

    def select(self, k: int) -> list[str]:
        """Return the names of the `k` best columns, best first.

        Raises
        ------
        PermGradError
            If there are fewer that vary.
        """
        best = self.rank_features().select(k)
        if len(best) < k:
            raise PermGradError(f"only {len(best)} columns vary in training, got k={k}")
        return best

    def save(self, directory: str | Path, *, overwrite: bool = False) -> None:
        """Write network and settings to a new directory; `permgrad.load` reads it.

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
            "features": list(self.features_),
            "constant": list(self.constant_),
            "feature_names_in": bool(hasattr(self, "feature_names_in_")),
            "history": self.history_,
            "scores": self.scores_.tolist(),
            "path": None if self.path_ is None else self.path_.to_dict("list"),
            "classes": self.classes_.tolist(),
            "classes_dtype": self.classes_.dtype.str,
        }

    def restore_state(self, content: dict[str, Any], network: Any) -> None:
        """Take over what `state_to_dict` described, and the network that was saved beside it."""
        self.features_, self.constant_ = tuple(content["features"]), tuple(content["constant"])
        self.n_features_in_ = len(self.features_)
        if content["feature_names_in"]:
            self.feature_names_in_ = np.array(self.features_, dtype=object)
        self.history_, self.scores_ = content["history"], np.array(content["scores"], float)
        self.path_ = None if content["path"] is None else pd.DataFrame(content["path"])
        self.classes_ = np.array(content["classes"], dtype=content["classes_dtype"])
        self.network_ = network

    def _config(self) -> SelectorConfig:
        if self.scaling not in SCALINGS:
            raise PermGradError(f"scaling must be one of {listing(SCALINGS)}, got {self.scaling!r}")
        return SelectorConfig(
            tuple(self.hidden_units),
            self.selector,
            self.penalty,
            self.alpha,
            self.noise,
            self.dropout,
            self.batch_norm,
            choose_precision(self.precision),
            self.random_state,
        )

    def _sizes(self, n_features: int) -> tuple[int, ...]:
        if self.selector != "narrowing":
            return ()
        sizes = tuple(self.sizes)
        if not sizes or min(sizes) < 1 or any(a <= b for a, b in pairwise(sizes)):
            raise PermGradError(f"sizes must go down, from many columns to at least 1, got {sizes}")
        if min(sizes) >= n_features:
            raise PermGradError(f"one of sizes must be less than the number of columns, {n_features}, got {sizes}")
        if self.epochs_per_size < 1:
            raise PermGradError(f"epochs_per_size must be at least 1, got {self.epochs_per_size}")
        return tuple(size for size in sizes if size < n_features)

    def _training(self, n_sizes: int) -> TrainingConfig:
        if self.epochs < 1:
            raise PermGradError(f"epochs must be at least 1, got {self.epochs}")
        epochs = self.epochs + n_sizes * self.epochs_per_size
        return TrainingConfig(
            learning_rate=self.learning_rate,
            optimizer="adamw",
            weight_decay=self.weight_decay,
            schedule="constant",
            batch_size=self.batch_size,
            epochs=epochs,
            patience=epochs,
            keep="last",
            random_state=self.random_state,
        )

    def _learn(self, X: Any, y: Any) -> tuple[Any, np.ndarray]:
        """Check training rows; learn names and classes; return rows and class numbers."""
        y = X.y if y is None and isinstance(X, Cells) else y
        if y is None:
            raise PermGradError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        rows = self._rows(X, reset=True)
        labels = as_target(y)
        with as_permgrad_error():
            check_classification_targets(labels)
        if labels.isna().any():
            raise PermGradError(f"the target is missing in {int(labels.isna().sum())} rows; drop those rows first")
        self.classes_ = np.unique(labels)
        if len(self.classes_) < 2:
            raise PermGradError(f"the target has one class, {self.classes_[0]!r}; at least two are needed")
        return rows, self._numbers(labels, rows)

    def _seen(self, data: Any) -> tuple[Any, np.ndarray]:
        """Return rows and class numbers of validation or test data."""
        X, y = (data, data.y) if isinstance(data, Cells) else data
        rows = self._rows(X)
        return rows, self._numbers(as_target(y), rows)

    def _numbers(self, labels: pd.Series, rows: Any) -> np.ndarray:
        if len(labels) != rows.shape[0]:
            raise PermGradError(f"X and y must have the same number of rows, got {rows.shape[0]} and {len(labels)}")
        unknown = set(pd.unique(labels)) - set(self.classes_)
        if unknown:
            raise PermGradError(f"labels not seen in training: {listing(sorted(map(str, unknown)))}")
        return np.searchsorted(self.classes_, labels.to_numpy())

    def _rows(self, X: Any, *, reset: bool = False) -> Any:
        """Return the rows as they are stored, once checked."""
        if isinstance(X, (Cells, RowsOnDisk)):
            rows = X.X if isinstance(X, Cells) else X
            names = X.features if isinstance(X, Cells) else None
            if not isinstance(rows, RowsOnDisk):
                with as_permgrad_error():
                    rows = check_array(rows, accept_sparse="csr", dtype=np.float32, input_name="X")
            if reset:
                self.n_features_in_ = rows.shape[1]
                self.__dict__.pop("feature_names_in_", None)
        else:
            with as_permgrad_error():
                rows = validate_data(self, X, accept_sparse="csr", dtype=np.float32, reset=reset)
            names = tuple(map(str, X.columns)) if isinstance(X, pd.DataFrame) else None
        if reset:
            self.features_ = names or tuple(f"x{i}" for i in range(rows.shape[1]))
        elif rows.shape[1] != len(self.features_):
            raise PermGradError(f"expected {len(self.features_)} columns as in training, got {rows.shape[1]}")
        elif isinstance(X, Cells):
            check_columns(X.features, self.features_, "X")
        return rows

    def _look_at(self, rows: Any) -> tuple[np.ndarray, np.ndarray] | None:
        """Find columns that never vary; return what the network's scaling needs."""
        self.constant_ = ()
        if isinstance(rows, RowsOnDisk) and self.scaling == "none":
            return None
        found = moments(rows)
        self.constant_ = tuple(np.array(self.features_, object)[found[1] == 0])
        if len(self.constant_) == len(self.features_):
            raise PermGradError(f"no column varies in these {rows.shape[0]} rows; there is nothing to learn from")
        if self.constant_ and self.verbose:
            warnings.warn(f"{len(self.constant_)} columns never vary in training; they rank last", stacklevel=3)
        return found if self.scaling == "standard" else None

    def _scores(self) -> np.ndarray:
        if self.selector == "none":
            return weight_importance(self.network_).scores
        return self.network_.get_layer("selector").importance()

    def _check_fitted(self) -> None:
        try:
            check_is_fitted(self, "network_")
        except NotFittedError as error:
            raise UnfittedError(str(error)) from error

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.required = True
        return tags
