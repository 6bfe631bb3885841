"""Training a classifier of patches: rates step by step, what is frozen when, how the classes are weighed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.metrics import log_loss, roc_auc_score
from tqdm.auto import tqdm

from permgrad.backend import keras, released_graphs
from permgrad.errors import PermGradError, listing
from permgrad.patches.files import Patches, check_groups_apart, check_labelled
from permgrad.patches.predicting import ends_in_logit, predict_logits, probability
from permgrad.patches.reading import PatchBatches, epoch_order

ops = keras.ops
WARMUP_SHARE = 0.25
START_DIVISOR = 25
CHECK_EACH = 10
"""Batches between two looks at the loss."""
PREDICTED_BATCHES = 2
"""Predicting takes less memory than training: so many batches go at once."""
CHOICES = {
    "schedule": ("constant", "cosine", "one_cycle"),
    "sampling": ("plain", "balanced"),
    "unfreezing": ("free", "frozen", "gradual"),
    "keep": ("last", "best"),
}


@dataclass(frozen=True)
class PatchTraining:
    """How a classifier of patches is trained.

    Attributes
    ----------
    epochs, batch_size : int
    learning_rate : float
        Peak of the schedule.
    weight_decay : float
        Of AdamW; BatchNorm's parameters and biases are left out.
    schedule : {"constant", "cosine", "one_cycle"}
        See `rate_at`.
    positive_weight : float or "balanced", optional
        Weight of a positive patch in the loss; "balanced" is n_negative / n_positive of the training patches.
    sampling : {"plain", "balanced"}
        See `permgrad.patches.reading.epoch_order`.
    unfreezing : {"free", "frozen", "gradual"}
        Which layers of the backbone are trained: "free" trains all, "frozen" none. "gradual" trains none in the first
        epoch and all in the last, and adds equally many layers from epoch to epoch, beginning at the head. Frozen
        layers keep the means of their BatchNorm.
    keep : {"last", "best"}
        Which epoch's weights to keep; "best" by validation AUC, whose value is then too optimistic.
    workers : int, optional
        Threads that read files; by default one a core.
    random_state : int
        Of the order of the patches.

    Examples
    --------
    >>> pg.PatchTraining(epochs=3, schedule="cosine").batch_size
    64
    """

    epochs: int = 2
    batch_size: int = 64
    learning_rate: float = 3e-4
    weight_decay: float = 1e-4
    schedule: Literal["constant", "cosine", "one_cycle"] = "constant"
    positive_weight: float | Literal["balanced"] | None = None
    sampling: Literal["plain", "balanced"] = "plain"
    unfreezing: Literal["free", "frozen", "gradual"] = "free"
    keep: Literal["last", "best"] = "last"
    workers: int | None = None
    random_state: int = 0

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise PermGradError(f"{name} must be one of {listing(choices)}, got {getattr(self, name)!r}")
        for name in ("epochs", "batch_size", "learning_rate"):
            if not getattr(self, name) > 0:
                raise PermGradError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("weight_decay", "random_state"):
            if not getattr(self, name) >= 0:
                raise PermGradError(f"{name} must be at least 0, got {getattr(self, name)}")
        weight = self.positive_weight
        if weight not in (None, "balanced") and not (isinstance(weight, (int, float)) and weight > 0):
            raise PermGradError(f"positive_weight must be a positive number, 'balanced' or None, got {weight!r}")
        if self.unfreezing == "gradual" and self.epochs < 2:
            raise PermGradError("gradual unfreezing needs at least 2 epochs: from the head alone to the whole network")

    def trained_share(self, epoch: int) -> float:
        """Return the share of the backbone's layers that is trained in an epoch (from 0).

        Examples
        --------
        >>> [pg.PatchTraining(epochs=3, unfreezing="gradual").trained_share(epoch) for epoch in range(3)]
        [0.0, 0.5, 1.0]
        """
        if self.unfreezing == "gradual":
            return epoch / (self.epochs - 1)
        return 1.0 if self.unfreezing == "free" else 0.0


def rate_at(step: Any, n_steps: int, config: PatchTraining) -> Any:
    """Return the learning rate of a step, from 0 of `n_steps`; a tensor, float32.

    "constant": the peak. "cosine": half a cosine from the peak to 0 (Loshchilov & Hutter, SGDR, 2017, without
    restarts). "one_cycle": linear from a 25th of the peak up to it over the first quarter, then half a cosine to 0
    (Smith & Topin, Super-Convergence, 2019).
    """
    peak, share = config.learning_rate, ops.cast(step, "float32") / n_steps
    if config.schedule == "constant":
        return ops.full_like(share, peak)
    if config.schedule == "cosine":
        return _half_cosine(peak, share)
    start = peak / START_DIVISOR
    rising = start + (peak - start) * share / WARMUP_SHARE
    return ops.where(share < WARMUP_SHARE, rising, _half_cosine(peak, (share - WARMUP_SHARE) / (1 - WARMUP_SHARE)))


def _half_cosine(peak: float, share: Any) -> Any:
    return peak * (1 + ops.cos(math.pi * share)) / 2


@keras.saving.register_keras_serializable("permgrad")
class _Rates(keras.optimizers.schedules.LearningRateSchedule):
    """`rate_at`, for an optimizer whose own count begins at a later step."""

    def __init__(self, config: PatchTraining, first: int, n_steps: int) -> None:
        self.config, self.first, self.n_steps = config, first, n_steps

    def __call__(self, step: Any) -> Any:
        return rate_at(ops.cast(step, "float32") + self.first, self.n_steps, self.config)

    def get_config(self) -> dict[str, Any]:
        """Return the settings: a network that was trained is saved with its optimizer."""
        return {"config": asdict(self.config), "first": self.first, "n_steps": self.n_steps}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> _Rates:
        """Return the schedule of these settings."""
        return cls(PatchTraining(**config["config"]), config["first"], config["n_steps"])


def unfreeze(model: Any, share: float) -> int:
    """Let the last `share` of the backbone's layers be trained, and no others of it; return how many these are.

    Layers without weights do not count. BatchNorm that is frozen uses and keeps the means that it has.
    """
    layers = [layer for layer in model.get_layer("backbone").layers if layer.weights]
    n_trained = math.ceil(share * len(layers))
    for i, layer in enumerate(layers):
        layer.trainable = i >= len(layers) - n_trained
    return n_trained


def fit_patches(
    model: Any,
    train: Patches,
    validation_data: Patches,
    config: PatchTraining,
    *,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    verbose: bool = False,
) -> pd.DataFrame:
    """Train a classifier of patches in place, by binary cross-entropy on its logit.

    Parameters
    ----------
    model : keras.Model
        See `permgrad.backbone_classifier`.
    train, validation_data : Patches
        With labels. Validation patches are predicted after each epoch, and decide nothing but what `keep` says.
    config : PatchTraining
    on_epoch : callable, optional
        Takes each row of the result as it comes.
    verbose : bool
        Show a progress bar.

    Returns
    -------
    DataFrame
        One row an epoch: ``epoch`` (from 1), ``loss`` (mean over the training patches as they were seen, augmented and
        weighed), ``val_loss`` (mean, not weighed), ``val_auc``, ``learning_rate`` (of the last step), ``seconds`` of
        training, ``images_per_second``.

    Raises
    ------
    PermGradError
        If a class is missing among the patches, a group is on both sides, a file can no longer be read, or the loss is
        not a number.

    Examples
    --------
    >>> train, validation = patches.split(0.25)
    >>> log = pg.fit_patches(patch_network, train, validation, pg.PatchTraining(epochs=1, batch_size=8))
    >>> log["epoch"].tolist()
    [1]
    """
    check_labelled(train, "training")
    check_labelled(validation_data, "validation")
    check_groups_apart(train, validation_data)
    training = _Training(model, train, config)
    rows: list[dict[str, float]] = []
    best_auc, best_weights = -1.0, model.get_weights()
    bar = tqdm(total=training.n_steps, desc=model.name, unit="batch", leave=False, mininterval=1, disable=not verbose)
    with released_graphs(), bar:
        for epoch in range(config.epochs):
            row = {**training.run(epoch, bar), **_validate(model, validation_data, config, epoch)}
            rows.append(row)
            if on_epoch:
                on_epoch(row)
            if config.keep == "best" and row["val_auc"] > best_auc:
                best_auc, best_weights = row["val_auc"], model.get_weights()
    if config.keep == "best":
        model.set_weights(best_weights)
    columns = ["epoch", "loss", "val_loss", "val_auc", "learning_rate", "seconds", "images_per_second"]
    return pd.DataFrame(rows, columns=columns)


class _Training:
    """A network and the patches that it is trained on, epoch by epoch."""

    def __init__(self, model: Any, train: Patches, config: PatchTraining) -> None:
        self.model, self.train, self.config = model, train, config
        self.steps_per_epoch = math.ceil(len(train) / config.batch_size)
        self.n_steps = self.steps_per_epoch * config.epochs
        self.logits = ends_in_logit(model)
        self._compiled_for: int | None = None

    def run(self, epoch: int, bar: Any) -> dict[str, float]:
        """Train for one epoch (from 0), and return its row of the history without what validation adds."""
        n_trained = unfreeze(self.model, self.config.trained_share(epoch))
        if n_trained != self._compiled_for:
            self._compiled_for = n_trained
            self._compile(first_step=epoch * self.steps_per_epoch)
        batches = self._batches(epoch)
        begun = time.perf_counter()
        with batches.own_errors():
            history = self.model.fit(batches, epochs=1, shuffle=False, verbose=0, callbacks=[_Progress(epoch, bar)])
        seconds = time.perf_counter() - begun
        loss = float(history.history["loss"][0])
        _check_loss(loss, epoch)
        last_step = (epoch + 1) * self.steps_per_epoch - 1
        return {
            "epoch": epoch + 1,
            "loss": loss,
            "learning_rate": float(rate_at(last_step, self.n_steps, self.config)),
            "seconds": seconds,
            "images_per_second": len(self.train) / seconds,
        }

    def _batches(self, epoch: int) -> PatchBatches:
        config = self.config
        return PatchBatches(
            self.train,
            config.batch_size,
            order=epoch_order(self.train, epoch, config.random_state, config.sampling),
            labelled=True,
            positive_weight=self._positive_weight(),
            workers=config.workers,
        )

    def _positive_weight(self) -> float | None:
        if self.config.positive_weight != "balanced":
            return self.config.positive_weight
        n_negative, n_positive = np.bincount(self.train.y)  # type: ignore[arg-type]
        return float(n_negative / n_positive)

    def _compile(self, first_step: int) -> None:
        """Begin AdamW anew: its moments are of the weights that are trained."""
        rates = _Rates(self.config, first_step, self.n_steps)
        optimizer = keras.optimizers.AdamW(rates, weight_decay=self.config.weight_decay)
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        if any(layer.dtype_policy.name == "mixed_float16" for layer in self.model._flatten_layers()):
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        self.model.compile(optimizer, keras.losses.BinaryCrossentropy(from_logits=self.logits))
        optimizer.build(self.model.trainable_variables)  # now: TensorFlow traces a step twice that makes variables


class _Progress(keras.callbacks.Callback):
    """Show how far the training is, and stop it where it diverges."""

    def __init__(self, epoch: int, bar: Any) -> None:
        super().__init__()
        self.epoch, self.bar = epoch, bar

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Check the mean loss of the epoch so far, now and then: to know it, the network must have got so far."""
        if batch % CHECK_EACH == 0:
            loss = float((logs or {}).get("loss", math.nan))
            _check_loss(loss, self.epoch)
            self.bar.set_postfix({"loss": f"{loss:.4f}"}, refresh=False)
        self.bar.update()


def _check_loss(loss: float, epoch: int) -> None:
    if not np.isfinite(loss):
        raise PermGradError(f"training diverged in epoch {epoch + 1} (the loss is {loss}); lower the learning rate")


def _validate(model: Any, patches: Patches, config: PatchTraining, epoch: int) -> dict[str, float]:
    size = PREDICTED_BATCHES * config.batch_size
    predicted = probability(predict_logits(model, patches, batch_size=size, workers=config.workers)[:, 0])
    if not np.isfinite(predicted).all():
        raise PermGradError(
            f"after epoch {epoch + 1} some validation predictions are not numbers; lower the learning rate"
        )
    return {
        "val_loss": float(log_loss(patches.y, predicted)),
        "val_auc": float(roc_auc_score(patches.y, predicted)),
    }
