"""From dense to sparse in one training: ever fewer columns stay open, and the network is evaluated at each size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from permgrad.backend import keras
from permgrad.training.evaluation_log import evaluate_network


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
    evaluation_data : (X, y)
        Rows that the network is evaluated on at each size: validation rows, with class numbers.

    Attributes
    ----------
    closed : list of int
        Columns in the order in which they closed.
    scores : list of dict
        ``size``, ``loss``, ``accuracy`` and ``balanced_accuracy`` at the end of each size's epochs.
    """

    def __init__(
        self,
        selector: Any,
        sizes: Sequence[int],
        start: int,
        epochs_per_size: int,
        evaluation_data: tuple[Any, np.ndarray],
    ) -> None:
        super().__init__()
        self.selector, self.sizes, self.start = selector, list(sizes), start
        self.epochs_per_size, self.evaluation_data = epochs_per_size, evaluation_data
        self.closed: list[int] = []
        self.scores: list[dict[str, float]] = []

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Close columns where a size's epochs begin."""
        stage, since = divmod(epoch - self.start, self.epochs_per_size)
        if stage >= 0 and since == 0:
            self.closed += self.selector.close(self.sizes[stage]).tolist()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Evaluate the network where they end."""
        stage, since = divmod(epoch - self.start, self.epochs_per_size)
        if stage >= 0 and since == self.epochs_per_size - 1:
            self.scores.append({"size": self.sizes[stage], **evaluate_network(self.model, *self.evaluation_data)})

    @property
    def curve(self) -> pd.DataFrame:
        """The `scores`, a row for each size."""
        return pd.DataFrame(self.scores)

    def closing_order(self) -> np.ndarray:
        """Return a score of each column, (n_columns,): how many were closed before it; open ones by their weights.

        Columns that always pass come last.
        """
        weights, always = self.selector.importance(), self.selector.always
        still_open = np.setdiff1d(np.arange(len(weights)), [*self.closed, *always])
        order = [*self.closed, *still_open[np.argsort(weights[still_open], kind="stable")], *always]
        places = np.empty(len(order))
        places[order] = np.arange(len(order))
        return places
