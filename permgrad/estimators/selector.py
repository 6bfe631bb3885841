"""A network with a feature-selection layer, as a scikit-learn classifier: which columns suffice."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.feature_selection import SelectorMixin
from sklearn.utils import check_array
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_feature_names_in, validate_data

from permgrad.data.cells import Cells
from permgrad.data.checks import check_columns, check_complete, check_named
from permgrad.data.on_disk import RowsOnDisk
from permgrad.data.rows import check_sample_weight, weights_and_groups
from permgrad.data.table import Table, rows_and_target
from permgrad.errors import PermGradError, as_permgrad_error, check_fitted, listing
from permgrad.estimators._base import NetworkClassifier, draw_random_state
from permgrad.estimators._card import ColumnSeen, rows_given, value_range
from permgrad.estimators._ranking import ExplainedRows, RanksFeatures
from permgrad.importance.ranking import FeatureRanking
from permgrad.importance.weights import weight_importance
from permgrad.models.selector import SelectorConfig, build_selector_mlp
from permgrad.training.batches import InOrder, moments, ranges
from permgrad.training.config import TrainingConfig, choose_precision
from permgrad.training.evaluation_log import EvaluationLog
from permgrad.training.fit import Rows, fit_network
from permgrad.training.narrowing import Narrowing

SCALINGS = ("none", "standard")
METHODS = {"none": "first_layer_weights", "stochastic": "open_gates", "narrowing": "narrowing"}
"""What a ranking by weights is called where it is not by a selector's weights."""


@dataclass(kw_only=True, repr=False, eq=False)
class SelectorClassifier(SelectorMixin, RanksFeatures, NetworkClassifier):
    """MLP behind a layer that weights, or gates, each column; trained for a fixed number of epochs.

    Rows may be arrays, numeric data frames, sparse matrices, `Cells`, or left in a file (`RowsOnDisk`). They are
    converted batch by batch.

    Parameters
    ----------
    selector : {"free", "clamped", "stochastic", "narrowing", "none"}
        Weights from N(0, 1); weights within [0, 1]; gates that open at random, with a penalty on the expected number of
        open gates (`StochasticSelector`); a path from dense to sparse, see `sizes`; or a plain MLP, whose columns are
        ranked by the sums of their absolute first-layer weights.
    penalty : {"l1", "l2", "l1/l2"} or None
        Penalty on the selector's weights only; see `SelectorPenalty`.
    alpha : float
        Factor of the penalty; for stochastic gates, of the expected number of open gates.
    start : {"random", "ones"}
        Initial weights of "free" and "clamped": random, as published, or all 1. If a training moves weights by less
        than the random weights differ, their order is that of the random start.
    include : tuple of str
        Columns to include in every panel: they pass the selector unchanged, without a weight or a penalty, so that the
        other columns are selected for what they add to these.
    noise : float
        Standard deviation of the Gaussian noise added to the input, in training only.
    hidden_units : tuple of int
    dropout : float
        After each hidden layer.
    batch_norm : bool
    scaling : {"none", "standard"}
        "standard": the network's first layer standardises columns, by statistics of the training rows. Otherwise,
        columns should be on one scale (as log-normalised counts are), so that their weights are comparable.
    sizes : tuple of int
        Only for "narrowing": after `epochs` with all columns, all but this many (including those of `include`) are
        closed for good, and the others are trained for `epochs_per_size`; then the next size follows. One training
        gives a panel of each size. Sizes that would close no column are skipped.
    epochs_per_size : int
    learning_rate, weight_decay : float
        For AdamW; both are constant. The decay applies to all weights, as published. A weight moves by about the rate
        in each step, however large its penalty: if rows are few, set the number of `steps`, or use a higher rate, or
        most weights stay near their initial values.
    batch_size, epochs : int
    steps : int, optional
        Batches, in place of `epochs`: as many whole epochs as hold them. A penalty takes steps to work, and few rows
        have few in an epoch.
    class_weight : "balanced" or dict of label to float, optional
    log_evaluation : bool
        Whether ``history_`` also has, for each epoch, what `EvaluationLog` measures: the network without noise and
        dropout, on training and validation rows, and the penalty.
    precision : {"auto", "float32", "mixed_float16", "mixed_bfloat16"}
        "auto": mixed precision on an accelerator, float32 on a CPU.
    n_features_to_select : int, float or None
        Only for `get_support` and `transform`: the number of columns, a share of them, or None for half of them.
    random_state : int, RandomState or None
        Seed of weights, noise, dropout and row order. Two fits with the same number give equal results on one machine;
        from a RandomState, each fit draws a new number.
    verbose : bool
        Show a progress bar.

    Attributes
    ----------
    network_ : keras.Model
        Rows → probabilities.
    classes_ : ndarray
    features_ : tuple of str
        The columns; of `Cells`, the genes.
    constant_ : tuple of str
        Columns that never vary in training: they rank last. (Not determined for a file that is not scaled.)
    feature_importances_ : ndarray of shape (n_features,)
        What `rank_by_weights` ranks by; 0 for columns that never vary.
    ranges_ : ndarray of shape (n_features, 2) or None
        Lowest and highest training value of each column; None if the rows were in a file.
    selector_weights_ : ndarray of shape (n_features,) or None
        What each column is multiplied by; None for a plain MLP.
    path_ : DataFrame or None
        For "narrowing": ``size``, ``loss``, ``accuracy`` and ``balanced_accuracy`` on the validation rows or, without
        those, on the training rows. The network ends at the smallest size.
    history_ : dict of lists
        For each epoch: ``loss`` (including the penalty), ``accuracy``, ``val_loss``, ``val_accuracy``.

    Examples
    --------
    >>> int(selector.get_support().sum()), selector.feature_importances_.shape
    (2, (4,))
    """

    selector: str = "free"
    penalty: str | None = "l1"
    alpha: float = 0.1
    start: str = "random"
    include: tuple[str, ...] = ()
    noise: float = 0.2
    hidden_units: tuple[int, ...] = (512, 128, 64)
    dropout: float = 0.3
    batch_norm: bool = False
    scaling: str = "none"
    sizes: tuple[int, ...] = (500, 400, 300, 200, 150, 100, 75, 50, 35, 25, 15, 10)
    epochs_per_size: int = 3
    n_features_to_select: int | float | None = None
    learning_rate: float = 3e-4
    weight_decay: float = 0.3
    batch_size: int = 256
    epochs: int = 50
    steps: int | None = None
    class_weight: str | Mapping[Any, float] | None = None
    log_evaluation: bool = False
    precision: str = "auto"
    random_state: int | np.random.RandomState | None = 0
    verbose: bool = False

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        groups: Any = None,
        validation_data: Any = None,
        callbacks: Sequence[Any] = (),
    ) -> Self:
        """Train on rows.

        Parameters
        ----------
        X : array, DataFrame, sparse matrix, RowsOnDisk, Table or Cells of shape (n_rows, n_features)
            Numbers, without missing values.
        y : array of shape (n_rows,), optional
            Labels; by default those of a `Table` or `Cells`.
        sample_weight : array of shape (n_rows,), optional
            Weight of each row in the loss; only ratios matter. Rows of weight 0 are left out. By default the weights of
            a table.
        groups : array of shape (n_rows,), optional
            Accepted as by other estimators, but not used: no rows are set aside here.
        validation_data : (X, y), Table or Cells, optional
            Only monitored: the number of epochs is fixed.
        callbacks : sequence of keras.callbacks.Callback

        Raises
        ------
        PermGradError
            If rows, labels or settings cannot be used.

        Warns
        -----
        UserWarning
            If columns never vary. The message gives their number.

        Examples
        --------
        >>> few = pg.SelectorClassifier(selector="clamped", hidden_units=(4,), scaling="standard", epochs=1)
        >>> few.fit(train).classes_.tolist()
        ['setosa', 'versicolor', 'virginica']
        """
        self.random_state_ = draw_random_state(self.random_state)
        self._config(())
        train = self._training_data(X, y, weights_and_groups(X, sample_weight, None)[0])
        sizes = self._sizes(train[0].shape[1])
        validation = None if validation_data is None else self._validation_data(validation_data)
        epochs = self._epochs(train[0].shape[0])
        training = self._training(epochs + len(sizes) * self.epochs_per_size)
        network = self._config(tuple(np.flatnonzero(self._included()).tolist()))
        scale = self._column_moments(train[0])
        self.network_ = build_selector_mlp(network, train[0].shape[1], len(self.classes_), moments=scale)
        narrowing = Narrowing(
            self.network_.get_layer("selector") if sizes else None,
            sizes,
            epochs,
            self.epochs_per_size,
            (validation or train)[:2],
        )
        log = EvaluationLog(train[:2], validation[:2] if validation else None)
        self.history_, _ = fit_network(
            self.network_,
            train,
            validation,
            training,
            task="classification",
            callbacks=[*callbacks, *([log] if self.log_evaluation else []), *([narrowing] if sizes else [])],
            verbose=self.verbose,
        )
        self.path_ = narrowing.curve if sizes else None
        self.scores_ = narrowing.closing_order() if sizes else self._scores()
        self.ranges_ = None if isinstance(train[0], RowsOnDisk) else ranges(train[0])
        n_validation = len(validation[1]) if validation else 0
        self.trained_on_ = rows_given(X, self._target(X, y), n_validation=n_validation, apart=False)
        return self

    def _columns_seen(self) -> list[ColumnSeen]:
        """Return what training saw of each column, in their order."""
        ends = [""] * len(self.features_) if self.ranges_ is None else [value_range(*each) for each in self.ranges_]
        return [
            ColumnSeen(name, "constant" if name in self.constant_ else "number", seen)
            for name, seen in zip(self.features_, ends, strict=True)
        ]

    @property
    def selector_weights_(self) -> np.ndarray | None:
        """What each column is multiplied by, (n_features,), float32; None for a plain MLP."""
        check_fitted(self)
        return None if self.selector == "none" else self.network_.get_layer("selector").columnwise_scale()

    @property
    def feature_importances_(self) -> np.ndarray:
        """What `rank_by_weights` ranks by, (n_features,), float64; 0 for columns that never vary."""
        check_fitted(self)
        return np.where(self._varies(), self.scores_, 0.0)

    def rank_by_weights(self) -> FeatureRanking:
        """Rank the columns by the network's weights; no rows are needed.

        Returns
        -------
        FeatureRanking
            Scores: the selector's absolute weights; for stochastic gates, the probability that each is open (1 for
            columns of `include`, in both cases); for a path, how many columns were closed before each; for a plain MLP,
            Σ|first-layer weights|. Columns that never varied rank last.

        Examples
        --------
        >>> selector.rank_by_weights().method
        'selector'
        """
        check_fitted(self)
        ranking = FeatureRanking(
            self.features_,
            self.scores_,
            method=METHODS.get(self.selector, "selector"),
            settings={
                "selector": self.selector,
                "penalty": self.penalty,
                "alpha": self.alpha,
                "start": self.start,
                "include": list(self.include),
                "random_state": self.random_state_,
            },
        )
        varying = np.array(self.features_, object)[self._varies()].tolist()
        return ranking.only(varying).with_unused(self.features_) if self.constant_ else ranking

    def transform(self, X: Any) -> Any:
        """Return the selected columns of an array, frame or sparse matrix, (n_rows, n_selected); see `get_support`.

        Examples
        --------
        >>> selector.transform(test.X).shape
        (30, 2)
        """
        check_fitted(self)
        with as_permgrad_error():
            return super().transform(X)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the selected columns; see `get_support`.

        Examples
        --------
        >>> selector.get_feature_names_out().shape
        (2,)
        """
        check_fitted(self)
        names = self.features_ if input_features is None else _check_feature_names_in(self, input_features)
        return np.array(names, object)[self.get_support()]

    def state_to_dict(self) -> dict[str, Any]:
        """Return everything that was fitted besides the network, ready for JSON.

        Examples
        --------
        >>> len(selector.state_to_dict()["scores"])
        4
        """
        return {
            **super().state_to_dict(),
            "constant": list(self.constant_),
            "scores": self.scores_.tolist(),
            "ranges": None if self.ranges_ is None else self.ranges_.tolist(),
            "path": None if self.path_ is None else self.path_.to_dict("list"),
        }

    def restore_state(self, content: dict[str, Any], networks: list[Any]) -> None:
        """Restore what `state_to_dict` returned, and the networks that were saved with it.

        Examples
        --------
        >>> again = pg.SelectorClassifier(**selector.get_params())
        >>> again.restore_state(selector.state_to_dict(), selector.networks_)
        >>> again.features_ == selector.features_
        True
        """
        super().restore_state(content, networks)
        self.constant_, self.scores_ = tuple(content["constant"]), np.array(content["scores"], float)
        self.ranges_ = None if content["ranges"] is None else np.array(content["ranges"], float)
        self.path_ = None if content["path"] is None else pd.DataFrame(content["path"])

    def _config(self, always: tuple[int, ...]) -> SelectorConfig:
        if self.scaling not in SCALINGS:
            raise PermGradError(f"scaling must be one of {listing(SCALINGS)}, got {self.scaling!r}")
        return SelectorConfig(
            tuple(self.hidden_units),
            self.selector,
            self.penalty,
            self.alpha,
            self.start,
            always,
            self.noise,
            self.dropout,
            self.batch_norm,
            choose_precision(self.precision),
            self.random_state_,
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
        if min(sizes) <= len(self.include):
            raise PermGradError(
                f"sizes must be above the number of columns that include names, {len(self.include)}, got {sizes}"
            )
        return tuple(size for size in sizes if size < n_features)

    def _included(self) -> np.ndarray:
        """Return which columns `include` names, (n_features,), bool."""
        check_named(self.include, self.features_, "include")
        if len(set(self.include)) == len(self.features_):
            raise PermGradError("include names all columns; there are none left to choose from")
        return np.isin(np.array(self.features_, object), self.include)

    def _epochs(self, n_rows: int) -> int:
        if self.epochs < 1:
            raise PermGradError(f"epochs must be at least 1, got {self.epochs}")
        if self.steps is None:
            return self.epochs
        if self.steps < 1:
            raise PermGradError(f"steps must be at least 1, or None for epochs, got {self.steps}")
        return math.ceil(self.steps / math.ceil(n_rows / self.batch_size))

    def _training(self, epochs: int) -> TrainingConfig:
        return TrainingConfig(
            learning_rate=self.learning_rate,
            optimizer="adamw",
            weight_decay=self.weight_decay,
            schedule="constant",
            batch_size=self.batch_size,
            epochs=epochs,
            patience=epochs,
            keep="last",
            random_state=self.random_state_,
        )

    def _training_data(self, X: Any, y: Any, sample_weight: Any) -> Rows:
        """Check training rows; learn names and classes; return rows, class numbers, and weights where there are any."""
        labels = self._target(X, y)
        rows = self._checked_rows(X, reset=True)
        check_complete(labels)
        with as_permgrad_error():
            check_classification_targets(labels)
        weight = None
        if sample_weight is not None:
            weight = check_sample_weight(sample_weight, rows.shape[0])
            counted = np.flatnonzero(weight)
            rows, labels = rows[counted] if not isinstance(rows, RowsOnDisk) else rows.take(counted), labels[counted]
            weight = weight[counted] / weight[counted].mean()
        self._fit_target(labels)
        if len(self.classes_) < 2:
            raise PermGradError(f"the target has one class, {self.classes_[0]!r}; at least two are needed")
        target = self._encode_target(labels)
        self._fit_row_weights(target, weight)
        return self._weighted(rows, target, weight)

    def _validation_data(self, data: Any) -> Rows:
        X, y = (data, data.y) if isinstance(data, Cells) else rows_and_target(data)
        weight, _ = weights_and_groups(X, None, None)
        weight = None if weight is None else np.asarray(weight, float)
        return self._weighted(self._checked_rows(X), self._encode_target(self._target(X, y)), weight)

    def _weighted(self, rows: Any, target: np.ndarray, sample_weight: np.ndarray | None) -> Rows:
        if len(target) != rows.shape[0]:
            raise PermGradError(f"X and y must have the same number of rows, got {rows.shape[0]} and {len(target)}")
        weight = self._row_weights(target, sample_weight)
        return (rows, target) if weight is None else (rows, target, weight.astype(np.float32))

    def _checked_rows(self, X: Any, *, reset: bool = False) -> Any:
        """Return the rows as they are stored, once checked; with `reset`, learn the columns."""
        if isinstance(X, (Cells, RowsOnDisk)):
            rows, names = self._cells(X, reset), X.features if isinstance(X, Cells) else None
        else:
            X = X.X if isinstance(X, Table) else X
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

    def _cells(self, X: Cells | RowsOnDisk, reset: bool) -> Any:
        rows = X.X if isinstance(X, Cells) else X
        if not isinstance(rows, RowsOnDisk):
            with as_permgrad_error():
                rows = check_array(rows, accept_sparse="csr", dtype=np.float32, input_name="X")
        if reset:
            self.n_features_in_ = rows.shape[1]
            self.__dict__.pop("feature_names_in_", None)
        return rows

    def _column_moments(self, rows: Any) -> tuple[np.ndarray, np.ndarray] | None:
        """Find columns that never vary; return mean and variance of each where the network scales by them."""
        self.constant_ = ()
        if isinstance(rows, RowsOnDisk) and self.scaling == "none":
            return None
        means, variances = moments(rows)
        self.constant_ = tuple(np.array(self.features_, object)[variances == 0])
        if len(self.constant_) == len(self.features_):
            raise PermGradError(f"no column varies in these {rows.shape[0]} rows; there is nothing to learn from")
        if self.constant_:
            warnings.warn(f"{len(self.constant_)} columns never vary in training; they rank last", stacklevel=3)
        return (means, variances) if self.scaling == "standard" else None

    def _scores(self) -> np.ndarray:
        if self.selector == "none":
            return weight_importance(self.network_).scores
        return self.network_.get_layer("selector").importance()

    def _varies(self) -> np.ndarray:
        return ~np.isin(np.array(self.features_, object), self.constant_)

    def _get_support_mask(self) -> np.ndarray:
        importances = self.feature_importances_
        k = self._n_selected(len(importances))
        # Those that are in any panel first; of equal importance, the first.
        order = np.lexsort([-importances, ~self._varies(), ~self._included()])
        mask = np.zeros(len(importances), bool)
        mask[order[:k]] = True
        return mask

    def _n_selected(self, n_features: int) -> int:
        wanted = self.n_features_to_select
        if wanted is None:
            return max(1, n_features // 2)
        if isinstance(wanted, Integral) and 1 <= wanted <= n_features:
            return int(wanted)
        if not isinstance(wanted, Integral) and 0 < wanted <= 1:
            return max(1, round(wanted * n_features))
        raise PermGradError(
            f"n_features_to_select must be a number of columns from 1 to {n_features}, a share of them above 0 and up"
            f" to 1, or None, got {wanted!r}"
        )

    def _explained_rows(self, X: Any, y: Any) -> ExplainedRows:
        check_fitted(self)
        target = self._encode_target(self._target(X, y))
        varying = np.flatnonzero(self._varies())
        columns = {self.features_[i]: np.array([i]) for i in varying}
        rows = self._checked_rows(X)
        return ExplainedRows(rows, target, columns, self.features_, self.constant_, self.classes_.tolist())

    def _network_output(self, X: Any) -> np.ndarray:
        return self.network_.predict(InOrder(self._checked_rows(X)), verbose=0)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
