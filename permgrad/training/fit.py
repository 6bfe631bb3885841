"""Fitting a network: precision, batches, the learning rate's schedule, early stopping, progress."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from tqdm.auto import tqdm

from permgrad.backend import Devices, batches_in_graph, chosen_devices, keras, released_graphs, spread_over
from permgrad.errors import PermGradError
from permgrad.layers.batch_ensemble import EnsembleLoss, EnsembleMean, ensemble_accuracy, ensemble_mae
from permgrad.training.batches import Batches, InOrder, is_dense
from permgrad.training.config import TrainingConfig
from permgrad.training.optimizers import build_optimizer
from permgrad.training.schedules import RATES

VALIDATION_ROWS = 1024
MOST_COPIED = 2**28
"""Bytes of rows that may be held twice for the sake of speed."""
Rows = tuple[Any, np.ndarray] | tuple[Any, np.ndarray, np.ndarray]
"""X and y, and the weight of each row where rows are weighted."""


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


def fit_network(
    model: Any,
    train: Rows,
    validation: Rows | None,
    config: TrainingConfig,
    *,
    task: Literal["regression", "classification"],
    callbacks: Sequence[Any] = (),
    verbose: bool = False,
    devices: Devices = None,
) -> tuple[dict[str, list[float]], int]:
    """Train `model` in place and leave it with the weights of its best epoch, or its last (``config.keep``).

    Parameters
    ----------
    model : keras.Model
    train, validation : (X, y) or (X, y, weight)
        X of shape (n_rows, n_features), float32, or sparse, or on disk (see `permgrad.training.batches`); y of shape
        (n_rows,): class numbers, or the target; and the weight of each row in the loss, (n_rows,). Without validation
        rows, the training loss decides.
    config : TrainingConfig
    task : {"regression", "classification"}
        Mean squared error (divided by the target's variance in training, so that the rate does not depend
        on its unit), or cross-entropy.
    callbacks : sequence of keras.callbacks.Callback
        Called before training's own.
    verbose : bool
        Show a progress bar.
    devices : int or list, optional
        Each batch is split among them. Batches, epochs and validation rows are then of a multiple of their number: a
        batch is made larger by a few rows, and an epoch leaves a few out.

    Returns
    -------
    history : dict
        Per epoch: ``loss``, ``val_loss``, ``learning_rate`` and ``accuracy`` or ``mae``.
    kept : int
        Epoch, from 1, whose weights the model has.

    Raises
    ------
    PermGradError
        If the loss is not a number from the first epoch on, or in the last one where that is kept; if there are no such
        devices.
    """
    names = chosen_devices(devices)
    given: Any = {"task": task, "verbose": verbose}
    if not names:
        return _fit(model, train, validation, config, callbacks=callbacks, **given)
    with spread_over(names):
        # A copy, which the devices hold: what else is done with the model is done on one.
        copy = keras.models.clone_model(model)
        copy.set_weights(model.get_weights())
        back = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: model.set_weights(copy.get_weights()))
        config = replace(config, batch_size=-(-config.batch_size // len(names)) * len(names))
        found = _fit(copy, train, validation, config, callbacks=[back, *callbacks], parts=len(names), **given)
    model.set_weights(copy.get_weights())
    return found


def _fit(
    model: Any,
    train: Rows,
    validation: Rows | None,
    config: TrainingConfig,
    *,
    task: str,
    callbacks: Sequence[Any],
    verbose: bool,
    parts: int = 1,
) -> tuple[dict[str, list[float]], int]:
    """Do what `fit_network` does; of batches that are split, with rows in a multiple of the parts."""
    _compile(model, config, train[1], classification=task == "classification")
    rate = RATES[config.schedule]
    in_memory = validation is None or is_dense(validation[0])
    batches = Batches(
        *train, batch_size=config.batch_size, random_state=config.random_state, drop_last=config.drop_last, parts=parts
    )
    validation = _in_parts(validation, parts)
    decides = "loss" if validation is None else "val_loss"
    stopping = _early_stopping(config, decides)
    next_order = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: batches.on_epoch_end())
    with released_graphs():
        in_graph = _in_graph(train, batches) if parts == 1 else None
        history = model.fit(
            batches if in_graph is None else in_graph,
            validation_data=validation if validation is None or in_memory else InOrder(*validation),
            validation_batch_size=VALIDATION_ROWS * parts if in_memory else None,
            shuffle=False,  # Batches draws its own order; Keras would shuffle the batches by a global seed
            epochs=config.epochs,
            callbacks=[
                *callbacks,
                keras.callbacks.LearningRateScheduler(lambda epoch: rate(epoch, config)),
                keras.callbacks.TerminateOnNaN(),
                *([stopping] if config.keep == "best" else []),
                *([] if in_graph is None else [next_order]),
                *([Progress()] if verbose else []),
            ],
            verbose=0,
        ).history
    _check_finite(history[decides][0 if config.keep == "best" else -1])  # the best epoch is sound if one is
    kept = stopping.best_epoch + 1 if config.keep == "best" else len(history["loss"])
    return {name: [float(value) for value in values] for name, values in history.items()}, kept


def _in_parts(rows: Rows | None, parts: int) -> Rows | None:
    """Leave out a few rows, so that they are a multiple of the parts; all, where they are fewer."""
    if rows is None or parts == 1:
        return rows
    n = rows[0].shape[0] // parts * parts
    return tuple(values[:n] for values in rows) if n else None  # type: ignore[return-value]


def _in_graph(train: Rows, batches: Batches) -> Any:
    """Return the batches put together by the backend, of small arrays; None where it does not."""
    if not is_dense(train[0]) or train[0].nbytes > MOST_COPIED:
        return None
    found = batches_in_graph(train[0], train[1:], lambda: batches.order, batches.batch_size, len(batches))
    if found is not None:
        batches.on_epoch_end()  # as Keras does with a `PyDataset`, of which it takes a batch before the first epoch
    return found


def _compile(model: Any, config: TrainingConfig, target: np.ndarray, *, classification: bool) -> None:
    """Compile the network, and have the optimizer make its variables."""
    optimizer = build_optimizer(config)
    if any(layer.dtype_policy.name == "mixed_float16" for layer in model.layers):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model.compile(
        optimizer=optimizer,
        loss_weights=None if classification else [1 / max(float(np.var(target)), 1e-30)],
        **_loss_and_metric(model, classification),
    )
    optimizer.build(model.trainable_variables)  # now: TensorFlow traces a step twice that makes variables


def _early_stopping(config: TrainingConfig, watched: str) -> Any:
    return keras.callbacks.EarlyStopping(
        watched,
        mode="min",
        patience=config.patience,
        restore_best_weights=True,
        start_from_epoch=min(config.warmup_epochs, config.epochs - 1),
    )


def _check_finite(loss: float) -> None:
    if not np.isfinite(loss):
        raise PermGradError(f"training diverged (the loss is {loss}); lower the learning rate")


def _loss_and_metric(model: Any, classification: bool) -> dict[str, Any]:
    """Return what `compile` takes; metrics are objects, for their names would make variables within the step."""
    if any(isinstance(layer, EnsembleMean) for layer in model.layers):
        measure, name = (ensemble_accuracy, "accuracy") if classification else (ensemble_mae, "mae")
        loss = EnsembleLoss("cross_entropy" if classification else "squared_error")
        return {"loss": loss, "metrics": [keras.metrics.MeanMetricWrapper(measure, name=name)]}
    if classification:
        metric = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
        return {"loss": "sparse_categorical_crossentropy", "metrics": [metric]}
    return {"loss": "mse", "metrics": [keras.metrics.MeanAbsoluteError(name="mae")]}
