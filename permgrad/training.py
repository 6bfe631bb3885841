"""Fitting a network: precision, batches, the learning rate's schedule, early stopping, progress."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from sklearn.utils import compute_class_weight
from tqdm.auto import tqdm

from permgrad.backend import has_accelerator, keras, released_graphs
from permgrad.batches import Batches, InOrder, is_dense
from permgrad.errors import PermGradError, as_permgrad_error, listing
from permgrad.members import MemberLoss, MemberMean, member_accuracy, member_mae

WARMUP_SHARE = 0.25
START_RATE = 1e-5
END_RATE = 1e-5
VALIDATION_ROWS = 1024
CHOICES = {"optimizer": ("adam", "adamw"), "schedule": ("one_cycle", "cosine", "constant"), "keep": ("best", "last")}


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained.

    Attributes
    ----------
    learning_rate : float
        Peak of the schedule.
    optimizer : {"adam", "adamw"}
    weight_decay : float
        Only for "adamw".
    l2 : float
        Only for "adam": times each weight, added to its gradient after clipping. As a penalty of half of it on the
        squared weights would, but not part of the loss that is reported.
    l1 : float
        Only for "adam": times the mean absolute weight, biases left out, is added to the loss; see `PenalisedAdam`.
    clip_norm : float, optional
        Largest norm of the gradient, over all weights.
    schedule : {"one_cycle", "cosine", "constant"}
        See `one_cycle_rate` and `cosine_rate`.
    batch_size : int
    drop_last : bool
        Leave out each epoch's last batch if it is a part of one: BatchNorm's means of few rows are rough.
    max_epochs : int
    patience : int
        Epochs without a better validation loss after which training stops; the best weights are kept.
        Both count from the epoch at which the rate is at its peak: before, a loss that stalls says little.
    keep : {"best", "last"}
        Which epoch's weights the network ends with; "last" trains all epochs, whatever the validation loss.
    seed : int
        Of the order of the rows.
    """

    learning_rate: float = 1e-3
    optimizer: Literal["adam", "adamw"] = "adam"
    weight_decay: float = 1e-4
    l2: float = 0.0
    l1: float = 0.0
    clip_norm: float | None = None
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    batch_size: int = 32
    drop_last: bool = False
    max_epochs: int = 70
    patience: int = 6
    keep: Literal["best", "last"] = "best"
    seed: int = 0

    @property
    def warmup_epochs(self) -> int:
        """Epochs in which the learning rate rises."""
        return max(1, int(self.max_epochs * WARMUP_SHARE)) if self.schedule == "one_cycle" else 0

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise PermGradError(f"seed must be at least 0, got {self.seed}")
        for name in ("batch_size", "max_epochs", "patience", "learning_rate"):
            if getattr(self, name) <= 0:
                raise PermGradError(f"{name} must be positive, got {getattr(self, name)}")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise PermGradError(f"{name} must be one of {listing(choices)}, got {getattr(self, name)!r}")
        for name in ("l1", "l2"):
            if getattr(self, name) < 0:
                raise PermGradError(f"{name} must be at least 0, got {getattr(self, name)}")
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise PermGradError(f"clip_norm must be positive, or None for no clipping, got {self.clip_norm}")


def choose_precision(precision: str) -> str:
    """Resolve "auto": mixed_float16 where the backend sees an accelerator, float32 on a CPU."""
    if precision == "auto":
        return "mixed_float16" if has_accelerator() else "float32"
    if precision not in ("float32", "mixed_float16", "mixed_bfloat16"):
        raise PermGradError(
            f"precision must be 'auto', 'float32', 'mixed_float16' or 'mixed_bfloat16', got {precision!r}"
        )
    return precision


def one_cycle_rate(epoch: int, config: TrainingConfig) -> float:
    """Return the rate of an epoch (from 0): linear from 1e-5 to the peak over a quarter, then a half cosine to 0.

    Source: the published PermGrad notebooks; the schedule is Smith & Topin's one-cycle (2019), per epoch.
    """
    warmup, peak = config.warmup_epochs, config.learning_rate
    if epoch < warmup:
        return START_RATE + (peak - START_RATE) * epoch / warmup
    return peak / 2 * (1 + math.cos(math.pi * (epoch - warmup) / max(1, config.max_epochs - warmup)))


def cosine_rate(epoch: int, config: TrainingConfig) -> float:
    """Return the rate of an epoch (from 0): half a cosine from the peak, which would reach 1e-5 after the last epoch.

    Source: Loshchilov & Hutter, SGDR (2017), without restarts, per epoch.
    """
    share = (1 + math.cos(math.pi * epoch / config.max_epochs)) / 2
    return END_RATE + (config.learning_rate - END_RATE) * share


RATES = {"one_cycle": one_cycle_rate, "cosine": cosine_rate, "constant": lambda epoch, config: config.learning_rate}


@keras.saving.register_keras_serializable("permgrad")
class AdamL2(keras.optimizers.Adam):
    """Adam whose gradients have `l2` times the weight added, after they were clipped.

    (AdamW's decay bypasses Adam's running moments; this one goes through them.)
    """

    def __init__(self, *arguments: Any, l2: float = 0.0, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.l2 = l2

    def get_config(self) -> dict[str, Any]:
        """Return the settings: a network is copied and pickled with its optimizer."""
        return {**super().get_config(), "l2": self.l2}

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Take one step of one variable."""
        super().update_step(gradient + self.l2 * keras.ops.cast(variable, gradient.dtype), variable, learning_rate)


class Progress(keras.callbacks.Callback):
    """One line in the terminal: epochs done, losses, time left."""

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Open the bar."""
        self.bar = tqdm(total=self.params["epochs"], desc="training", unit="epoch")

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Advance it."""
        shown = {name: value for name, value in (logs or {}).items() if name.endswith("loss")}
        self.bar.set_postfix({name: f"{value:.4g}" for name, value in shown.items()}, refresh=False)
        self.bar.update()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Close the bar; early stopping leaves it short of its total."""
        self.bar.close()


def weigh_classes(given: str | Mapping[Any, float] | None, classes: np.ndarray, target: np.ndarray) -> Any:
    """Return the weight of each class in the loss, shape (n_classes,), float32; None for none.

    Parameters
    ----------
    given : "balanced", mapping of label to float, or None
    classes : ndarray
        All labels, sorted.
    target : ndarray of shape (n_rows,)
        Class numbers of the training rows.

    Raises
    ------
    PermGradError
        If a mapping does not name just the classes, or the text is another one.
    """
    if given is None:
        return None
    if isinstance(given, Mapping):
        if set(given) != set(classes.tolist()):
            raise PermGradError(f"class_weight must name the classes {listing(classes)}, got {listing(given)}")
        return np.array([given[label] for label in classes.tolist()], np.float32)
    with as_permgrad_error():
        return compute_class_weight(given, classes=np.arange(len(classes)), y=target).astype(np.float32)


def fit_network(
    model: Any,
    train: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray] | None,
    config: TrainingConfig,
    *,
    task: Literal["regression", "classification"],
    class_weight: np.ndarray | None = None,
    callbacks: Sequence[Any] = (),
    verbose: bool = False,
) -> tuple[dict[str, list[float]], int]:
    """Train `model` in place and leave it with the weights of its best epoch, or its last (``config.keep``).

    Parameters
    ----------
    model : keras.Model
    train, validation : pairs of arrays
        X of shape (n_rows, n_features), float32, or sparse, or on disk (see `permgrad.batches`); y of shape (n_rows,):
        class numbers, or the target. Without validation rows, the training loss decides.
    config : TrainingConfig
    task : {"regression", "classification"}
        Mean squared error (divided by the target's variance in training, so that the rate does not depend
        on its unit), or cross-entropy.
    class_weight : ndarray of shape (n_classes,), optional
        Weight of each class in the loss, in training and in validation alike: the epoch that is kept is
        the best by what was asked for.
    callbacks : sequence of keras.callbacks.Callback
        Called before training's own.
    verbose : bool
        Show a progress bar.

    Returns
    -------
    history : dict
        Per epoch: ``loss``, ``val_loss``, ``learning_rate`` and ``accuracy`` or ``mae``.
    kept : int
        Epoch, from 1, whose weights the model has.

    Raises
    ------
    PermGradError
        If the loss is not a number from the first epoch on, or in the last one where that is kept.
    """
    classification = task == "classification"
    optimizer = _optimizer(config)
    if any(layer.dtype_policy.name == "mixed_float16" for layer in model.layers):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model.compile(
        optimizer=optimizer,
        loss_weights=None if classification else [1 / max(float(np.var(train[1])), 1e-30)],
        **_loss_and_metric(model, classification),
    )
    optimizer.build(model.trainable_variables)  # now: TensorFlow traces a step twice that makes variables
    if validation and class_weight is not None:
        validation = (*validation, class_weight[validation[1]])  # type: ignore[assignment]
    watched = "val_loss" if validation else "loss"
    seen: Any = InOrder(*validation) if validation and not is_dense(validation[0]) else validation
    rate = RATES[config.schedule]
    stopping = keras.callbacks.EarlyStopping(
        watched,
        mode="min",
        patience=config.patience,
        restore_best_weights=True,
        start_from_epoch=min(config.warmup_epochs, config.max_epochs - 1),
    )
    called = [
        *callbacks,
        keras.callbacks.LearningRateScheduler(lambda epoch: rate(epoch, config)),
        keras.callbacks.TerminateOnNaN(),
        *([stopping] if config.keep == "best" else []),
        *([Progress()] if verbose else []),
    ]
    with released_graphs():
        history = model.fit(
            Batches(*train, config.batch_size, config.seed, class_weight, config.drop_last),
            validation_data=seen,
            validation_batch_size=VALIDATION_ROWS if seen is validation else None,
            shuffle=False,  # Batches draws its own order; Keras would shuffle the batches by a global seed
            epochs=config.max_epochs,
            callbacks=called,
            verbose=0,
        ).history
    decisive = history[watched][0 if config.keep == "best" else -1]  # the best epoch's weights are sound if one's are
    if not np.isfinite(decisive):
        raise PermGradError(f"training diverged (the loss is {decisive}); lower the learning rate")
    kept = stopping.best_epoch + 1 if config.keep == "best" else len(history["loss"])
    return {name: [float(value) for value in values] for name, values in history.items()}, kept


def _loss_and_metric(model: Any, classification: bool) -> dict[str, Any]:
    """Return what `compile` takes; metrics are objects, for their names would make variables within the step."""
    if any(isinstance(layer, MemberMean) for layer in model.layers):
        measure, name = (member_accuracy, "accuracy") if classification else (member_mae, "mae")
        loss = MemberLoss("cross_entropy" if classification else "squared_error")
        return {"loss": loss, "metrics": [keras.metrics.MeanMetricWrapper(measure, name=name)]}
    if classification:
        metric = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
        return {"loss": "sparse_categorical_crossentropy", "metrics": [metric]}
    return {"loss": "mse", "metrics": [keras.metrics.MeanAbsoluteError(name="mae")]}


def _optimizer(config: TrainingConfig) -> Any:
    rate, clipping = float(config.learning_rate), {"global_clipnorm": config.clip_norm}
    if config.optimizer == "adamw":
        return keras.optimizers.AdamW(rate, weight_decay=float(config.weight_decay), **clipping)
    if config.l1:
        from permgrad.penalty import PenalisedAdam  # which is a kind of AdamL2

        return PenalisedAdam(rate, l1=float(config.l1), l2=float(config.l2), **clipping)
    if config.l2:
        return AdamL2(rate, l2=float(config.l2), **clipping)
    return keras.optimizers.Adam(rate, **clipping)
