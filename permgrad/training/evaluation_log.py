"""A network in evaluation mode, without noise and dropout, while it is still being trained."""

from __future__ import annotations

from typing import Any

import numpy as np

from permgrad.backend import keras
from permgrad.errors import PermGradError
from permgrad.metrics.outputs import output_of
from permgrad.metrics.scores import mean_class_accuracy
from permgrad.metrics.task import understand
from permgrad.training.batches import InOrder


def outputs(model: Any, X: Any) -> np.ndarray:
    """Return a network's output for rows in memory, sparse or on disk, batch by batch: (n_rows, n_outputs)."""
    batches = InOrder(X)
    parts = [model(batches[i][0], training=False) for i in range(len(batches))]
    return np.concatenate([keras.ops.convert_to_numpy(part) for part in parts])


def evaluate_network(model: Any, X: Any, y: np.ndarray) -> dict[str, float]:
    """Return ``loss`` (mean cross-entropy), ``accuracy`` and ``balanced_accuracy`` of a network, in evaluation mode.

    Raises
    ------
    PermGradError
        If the network and `y` are not of classes.
    """
    given = outputs(model, X)
    task, true, _ = understand(output_of(model, given.shape[1]), y)
    if true is None or not task.n_classes:
        raise PermGradError("accuracy needs classes; this network and y have values or shares")
    best = task.probabilities(given).argmax(axis=1)
    return {
        "loss": float(task.losses(true, given).mean()),
        "accuracy": float((best == true).mean()),
        "balanced_accuracy": mean_class_accuracy(true, best),
    }


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
        """Evaluate the network, and add to `logs`."""
        if logs is None:
            return
        for name, rows in self.rows.items():
            scores = evaluate_network(self.model, *rows)
            logs |= {f"{name}_loss": scores["loss"], f"{name}_accuracy": scores["accuracy"]}
        logs["penalty"] = float(sum(keras.ops.convert_to_numpy(loss) for loss in self.model.losses))
