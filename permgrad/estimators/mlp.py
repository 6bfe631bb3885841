"""A plain MLP as a scikit-learn classifier: Adam with L2 decay, clipped gradients, cosine annealing, no early stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from permgrad.backend import keras
from permgrad.errors import check_fitted
from permgrad.estimators._base import NetworkClassifier
from permgrad.estimators._table import TableEstimator
from permgrad.models.mlp import MLPConfig, build_mlp
from permgrad.training.config import TrainingConfig, choose_precision
from permgrad.training.fit import Rows


@dataclass(kw_only=True, repr=False, eq=False)
class MLPClassifier(NetworkClassifier, TableEstimator):
    """MLP that classifies the rows of a table, trained for a fixed number of epochs.

    Each hidden layer is Dense → BatchNorm → ReLU. The network scales columns, by statistics of the training rows.

    Parameters
    ----------
    hidden_units : tuple of int
    dropout : float
        After the last hidden layer.
    scaling : {"standard", "power"}
        "standard" standardises columns; "power" also removes their skew (Yeo & Johnson's powers), then standardises.
    learning_rate : float
        Initial rate; it falls along half a cosine towards 1e-5, epoch by epoch.
    l2 : float
        Weight decay: this times each weight is added to the gradient.
    clip_norm : float, optional
        Largest norm of the gradient over all weights; None: not clipped.
    batch_size, epochs : int
    keep : {"last", "best"}
        Which epoch's weights to keep; "best" has the lowest loss on the validation rows or, without those, on the
        training rows.
    validation_fraction : float
        Share of the training rows to set aside if `fit` gets no validation data; by default none.
    precision : {"auto", "float32", "mixed_float16", "mixed_bfloat16"}
        "auto": mixed precision on an accelerator, float32 on a CPU.
    random_state : int, RandomState or None
        Seed of weights, dropout and row order. Two fits with the same number give equal results on one machine; from a
        RandomState, each fit draws a new number.
    verbose : bool
        Show progress bars.
    class_weight : "balanced" or dict of label to float, optional

    Attributes
    ----------
    network_ : keras.Model
        Takes encoded rows, see ``encoder_``; scaling is a layer of it.
    encoder_ : ColumnEncoder
    classes_ : ndarray
    feature_importances_ : ndarray of shape (n_features,)
    history_ : dict of lists
        Loss, accuracy and learning rate of each epoch.
    kept_epoch_ : int
        Epoch, from 1, whose weights were kept.
    random_state_ : int
    n_features_in_ : int
    feature_names_in_ : ndarray
        Only if X had column names.

    Examples
    --------
    >>> mlp = pg.MLPClassifier(hidden_units=(4,), epochs=1).fit(train)
    >>> mlp.feature_importances_.shape
    (4,)
    """

    hidden_units: tuple[int, ...] = (256, 512)
    dropout: float = 0.25
    scaling: Literal["standard", "power"] = "standard"
    learning_rate: float = 1e-3
    l2: float = 1e-4
    clip_norm: float | None = 1.0
    batch_size: int = 32
    epochs: int = 20
    keep: Literal["last", "best"] = "last"
    validation_fraction: float = 0.0
    precision: str = "auto"
    random_state: int | np.random.RandomState | None = 0
    verbose: bool = False
    class_weight: str | Mapping[Any, float] | None = None

    @property
    def feature_importances_(self) -> np.ndarray:
        """Σ|first-layer weights| of each column, (n_features,), float64: columns are standardised in front of it.

        Cheap, but it holds the initial weights too; see `rank_features` for what the network does with a column. 0 for
        columns that never varied; of a column that is encoded as several, their sum.
        """
        check_fitted(self)
        kernel = keras.ops.convert_to_numpy(self.network_.get_layer("hidden_0").kernel)  # (n_encoded_columns, units)
        sums, groups = np.abs(kernel).sum(axis=1, dtype=float), self.encoder_.groups_
        return np.array([sums[groups[name]].sum() if name in groups else 0.0 for name in self.features_])

    def _configs(self, n_rows: int, random_state: int) -> tuple[MLPConfig, TrainingConfig]:
        network = MLPConfig(
            tuple(self.hidden_units), self.dropout, self.scaling, choose_precision(self.precision), random_state
        )
        training = TrainingConfig(
            learning_rate=self.learning_rate,
            l2=self.l2,
            clip_norm=self.clip_norm,
            schedule="cosine",
            batch_size=self.batch_size,
            epochs=self.epochs,
            patience=self.epochs,
            keep=self.keep,
            random_state=random_state,
        )
        return network, training

    def _build(self, config: MLPConfig, train: Rows, validation: Rows | None) -> Any:
        return build_mlp(config, train[0], len(self.classes_))
