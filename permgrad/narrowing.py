"""From dense to sparse in one training: ever fewer columns stay open, and each size is judged on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from permgrad.backend import keras
from permgrad.batches import InOrder
from permgrad.errors import PermGradError
from permgrad.importance.losses import cross_entropy
from permgrad.importance.masking import mean_class_accuracy


def path_sizes(largest: int = 500, smallest: int = 10, ratio: float = 0.8) -> tuple[int, ...]:
    """Return sizes from `largest` down to `smallest`, each about `ratio` times the one before."""
    if not 1 <= smallest <= largest or not 0 < ratio < 1:
        raise PermGradError(f"sizes go down from {largest} to {smallest} by a ratio below 1, got {ratio}")
    sizes = [largest]
    while sizes[-1] > smallest:
        sizes.append(max(smallest, min(sizes[-1] - 1, round(sizes[-1] * ratio))))
    return tuple(sizes)


def probabilities(model: Any, X: Any) -> np.ndarray:
    """Return what a network predicts of rows in memory, sparse or on disk, batch by batch: (n_rows, n_outputs)."""
    batches = InOrder(X)
    parts = [model(batches[i][0], training=False) for i in range(len(batches))]
    return np.concatenate([keras.ops.convert_to_numpy(part) for part in parts])


def judged(model: Any, X: Any, y: np.ndarray) -> dict[str, float]:
    """Return ``loss`` (mean cross-entropy), ``accuracy`` and ``balanced_accuracy`` of a network, in evaluation mode."""
    p = probabilities(model, X)
    best = p.argmax(axis=1)
    return {
        "loss": float(cross_entropy(y, p).mean()),
        "accuracy": float((best == y).mean()),
        "balanced_accuracy": mean_class_accuracy(y, best),
    }


class Narrowing(keras.callbacks.Callback):
    """Close columns of a `NarrowingSelector` as training goes on.

    Parameters
    ----------
    selector : NarrowingSelector
    sizes : sequence of int
        How many columns stay open, from many to few.
    start : int
        Epochs with all columns, before.
    epochs_per_size : int
    rows : (X, y)
        What each size is judged on: validation rows.

    Attributes
    ----------
    closed : list of int
        Columns in the order in which they closed.
    found : list of dict
        ``size``, ``loss``, ``accuracy`` and ``balanced_accuracy`` at the end of each size's epochs.
    """

    def __init__(
        self, selector: Any, sizes: Sequence[int], start: int, epochs_per_size: int, rows: tuple[Any, np.ndarray]
    ) -> None:
        super().__init__()
        self.selector, self.sizes, self.start = selector, list(sizes), start
        self.epochs_per_size, self.rows = epochs_per_size, rows
        self.closed: list[int] = []
        self.found: list[dict[str, float]] = []

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Close columns where a size's epochs begin."""
        stage, since = divmod(epoch - self.start, self.epochs_per_size)
        if stage >= 0 and since == 0:
            self.closed += self.selector.close(self.sizes[stage]).tolist()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Judge where they end."""
        stage, since = divmod(epoch - self.start, self.epochs_per_size)
        if stage >= 0 and since == self.epochs_per_size - 1:
            self.found.append({"size": self.sizes[stage], **judged(self.model, *self.rows)})

    @property
    def curve(self) -> pd.DataFrame:
        """What was found, a row for each size."""
        return pd.DataFrame(self.found)

    def places(self) -> np.ndarray:
        """Return a score of each column, (n_columns,): how many were closed before it; open ones by their weights."""
        weights = self.selector.importance()
        still = np.setdiff1d(np.arange(len(weights)), self.closed)
        order = [*self.closed, *still[np.argsort(weights[still], kind="stable")]]
        scores = np.empty(len(order))
        scores[order] = np.arange(len(order))
        return scores


class EvaluationLog(keras.callbacks.Callback):
    """Add to each epoch's log what the network does without noise and dropout, and the penalty.

    ``train_loss``, ``train_accuracy``; ``validation_loss``, ``validation_accuracy`` where there are such rows: without
    the penalty, which is ``penalty``.

    Parameters
    ----------
    train, validation : (X, y)
        Class numbers.
    """

    def __init__(self, train: tuple[Any, np.ndarray], validation: tuple[Any, np.ndarray] | None = None) -> None:
        super().__init__()
        self.rows = {"train": train, **({"validation": validation} if validation else {})}

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Judge, and add to `logs`."""
        if logs is None:
            return
        for name, rows in self.rows.items():
            found = judged(self.model, *rows)
            logs |= {f"{name}_loss": found["loss"], f"{name}_accuracy": found["accuracy"]}
        logs["penalty"] = float(sum(keras.ops.convert_to_numpy(loss) for loss in self.model.losses))
