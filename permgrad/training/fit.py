"""Fitting a network: precision, batches, the learning rate's schedule, early stopping, progress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from sklearn.utils import compute_class_weight
from tqdm.auto import tqdm

from permgrad.backend import keras, released_graphs
from permgrad.errors import PermGradError, as_permgrad_error, listing
from permgrad.layers.batch_ensemble import MemberLoss, MemberMean, member_accuracy, member_mae
from permgrad.training.batches import Batches, InOrder, is_dense
from permgrad.training.config import TrainingConfig
from permgrad.training.optimizers import build_optimizer
from permgrad.training.schedules import RATES

VALIDATION_ROWS = 1024


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
    optimizer = build_optimizer(config)
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
        start_from_epoch=min(config.warmup_epochs, config.epochs - 1),
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
            Batches(*train, config.batch_size, config.random_state, class_weight, config.drop_last),
            validation_data=seen,
            validation_batch_size=VALIDATION_ROWS if seen is validation else None,
            shuffle=False,  # Batches draws its own order; Keras would shuffle the batches by a global seed
            epochs=config.epochs,
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
