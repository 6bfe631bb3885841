"""A plain MLP as a scikit-learn classifier: Adam with L2 decay, clipped gradients, cosine annealing, no early stop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from permgrad.estimators.hybrid import HybridClassifier
from permgrad.models.mlp import MLPConfig, build_mlp
from permgrad.training.config import TrainingConfig, choose_precision


class MLPClassifier(HybridClassifier):
    """MLP that classifies a table's rows, for a fixed number of epochs.

    Encoding, fitting, saving and ranking are those of `HybridClassifier`; network and schedule are its own. Each hidden
    layer is Dense → BatchNorm → ReLU. Columns are scaled by the training rows, inside the network.

    Parameters
    ----------
    hidden_units : tuple of int
    dropout : float
        After the last hidden layer.
    scaling : {"standard", "power"}
        Columns standardised; or also freed of their skew (Yeo & Johnson's powers) and standardised again.
    learning_rate : float
        At the start; half a cosine per epoch takes it towards 1e-5.
    l2 : float
        Weight decay, added to the gradient: times each weight.
    clip_norm : float, optional
        Largest norm of the gradient over all weights; None: not clipped.
    batch_size, epochs : int
    keep : {"last", "best"}
        Which epoch's weights to keep; "best" is by the loss of the validation rows, or of the training rows
        where there are none.
    validation_fraction : float
        Share of the training rows to set apart where `fit` gets no validation data; by default none.
    precision : {"auto", "float32", "mixed_float16", "mixed_bfloat16"}
        "auto": mixed precision where there is an accelerator, float32 on a CPU.
    random_state : int
        Of weights, dropout and row order. Two fits with one seed give equal results on one machine.
    verbose : bool
        Show progress bars.
    class_weight : "balanced" or dict of label to float, optional

    Attributes
    ----------
    network_, encoder_, classes_, history_, kept_epoch_
        As of `HybridClassifier`.
    """

    def __init__(
        self,
        *,
        hidden_units: tuple[int, ...] = (256, 512),
        dropout: float = 0.25,
        scaling: str = "standard",
        learning_rate: float = 1e-3,
        l2: float = 1e-4,
        clip_norm: float | None = 1.0,
        batch_size: int = 32,
        epochs: int = 20,
        keep: str = "last",
        validation_fraction: float = 0.0,
        precision: str = "auto",
        random_state: int = 0,
        verbose: bool = False,
        class_weight: str | Mapping[Any, float] | None = None,
    ) -> None:
        # Not HybridClassifier's: scikit-learn wants each setting stored as it came, and no others.
        self.hidden_units = hidden_units
        self.dropout = dropout
        self.scaling = scaling
        self.learning_rate = learning_rate
        self.l2 = l2
        self.clip_norm = clip_norm
        self.batch_size = batch_size
        self.epochs = epochs
        self.keep = keep
        self.validation_fraction = validation_fraction
        self.precision = precision
        self.random_state = random_state
        self.verbose = verbose
        self.class_weight = class_weight

    def _configs(self) -> tuple[Any, TrainingConfig]:
        network = MLPConfig(
            tuple(self.hidden_units),
            self.dropout,
            self.scaling,  # type: ignore[arg-type]
            choose_precision(self.precision),
            self.random_state,
        )
        training = TrainingConfig(
            learning_rate=self.learning_rate,
            l2=self.l2,
            clip_norm=self.clip_norm,
            schedule="cosine",
            batch_size=self.batch_size,
            epochs=self.epochs,  # type: ignore[arg-type]
            patience=self.epochs,  # type: ignore[arg-type]
            keep=self.keep,  # type: ignore[arg-type]
            random_state=self.random_state,
        )
        return network, training

    def _build(self, config: Any, encoded: np.ndarray, target: np.ndarray) -> Any:
        self.layout_ = None
        return build_mlp(config, encoded, len(self.classes_))
