"""Which columns of a table to look at, where rows are few for its width: those without which less can be predicted.

A small network with stochastic gates finds a set of columns that suffices. It is trained again on that set, until no
more gates close. Then it is trained on all other columns: as long as they still tell something of the target, what they
open is kept too. So a column that says again what others say is kept, and one that says nothing is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.special import log_softmax

from permgrad.backend import keras, released_graphs
from permgrad.layers.temperature import fit_temperature
from permgrad.models.screening import build_screen, embedding
from permgrad.training.batches import Batches

ROWS_PER_FEATURE = 30
"""Fewer training rows for each feature, and columns of noise cost a network more than looking for them."""
LEAST_FEATURES, LEAST_ROWS = 8, 200
BATCH_SIZE = 256
STEPS, STEPS_PER_CHECK = 600, 50
LEARNING_RATE, WEIGHT_DECAY = 1e-2, 3e-2
PENALTY = 6.0
"""Over the number of training rows: what an open gate costs, about what noise can save in the loss by chance."""
MOST_ROUNDS, MOST_REFINEMENTS = 5, 3
LEAST_GAIN = 3.0
"""Standard errors by which the loss must be below that of knowing nothing, on rows that decide."""
CLOSED = -10.0


@dataclass(frozen=True)
class _Run:
    """What one training found: features that are open at its end; its best loss on the deciding rows; if it learned."""

    open: np.ndarray
    loss: float
    learned: bool


def worth_screening(n_rows: int, n_features: int) -> bool:
    """Tell whether a table has so few rows for its width that columns of noise would cost a network much."""
    return n_features >= LEAST_FEATURES and n_rows >= LEAST_ROWS and n_rows < ROWS_PER_FEATURE * n_features


def relevant_features(
    train: tuple[np.ndarray, np.ndarray],
    deciding: tuple[np.ndarray, np.ndarray],
    owners: np.ndarray,
    numbers: list[int],
    *,
    task: Literal["regression", "classification"],
    random_state: int,
) -> np.ndarray | None:
    """Return which features tell something of the target.

    Parameters
    ----------
    train, deciding : (X, y)
        Encoded rows (n_rows, n_columns), float32; class numbers, or target values.
    owners : ndarray of shape (n_columns,), int
        The feature that each column belongs to, from 0.
    numbers : list of int
        Columns that are neither 0/1 nor constant.
    task : {"regression", "classification"}
    random_state : int

    Returns
    -------
    ndarray of bool, shape (n_features,), or None
        None where nothing was learned, or all features are relevant.
    """
    screen = _Screen(train, deciding, owners, numbers, task, random_state)
    allowed = np.ones(int(owners.max()) + 1, bool)
    kept = np.zeros_like(allowed)
    with released_graphs():
        for _ in range(MOST_ROUNDS):
            run = screen.train(allowed)
            if not run.learned or not run.open.any():
                break
            found = screen.refined(run)
            kept |= found
            allowed &= ~found
            if not allowed.any():
                return None
        else:
            kept |= allowed  # they still tell something
    return kept if kept.any() and not kept.all() else None


class _Screen:
    """The network with its rows, trained again and again from the start: it is compiled once."""

    def __init__(self, train: Any, deciding: Any, owners: Any, numbers: Any, task: Any, random_state: int) -> None:
        (X, y), (rows, target) = train, deciding
        self.classification, self.random_state, self.runs = task == "classification", random_state, 0
        embed = embedding(X, numbers)
        self.X, self.rows = (keras.ops.convert_to_numpy(embed(part)) for part in (X, rows))
        if not self.classification:
            y, target = ((values - y.mean()) / (y.std() or 1.0) for values in (y, target))
        self.y, self.target = y, target
        n_outputs = int(y.max()) + 1 if self.classification else 1
        self.model = build_screen(
            owners,
            numbers,
            self.X.shape[1],
            n_outputs,
            task=task,
            penalty=PENALTY / len(y),
            random_state=random_state,
        )
        loss = "sparse_categorical_crossentropy" if self.classification else "mse"
        optimizer = keras.optimizers.AdamW(LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        self.model.compile(optimizer, loss=loss, steps_per_execution=STEPS_PER_CHECK)
        optimizer.build(self.model.trainable_variables)
        self.start = self.model.get_weights()
        self.fresh = [(variable, keras.ops.convert_to_numpy(variable)) for variable in optimizer.variables]
        self.gates = self.model.get_layer("gates")
        self.nothing = self._losses(self._prior(n_outputs))

    def train(self, allowed: np.ndarray) -> _Run:
        """Train from the start, all features but the allowed ones closed for good."""
        self.runs += 1
        self.model.set_weights(self.start)
        for variable, value in self.fresh:
            variable.assign(value)
        self.gates.gate.assign(np.where(allowed, 0.5, CLOSED).astype(np.float32))
        batches = _Steps(self.X, self.y, batch_size=BATCH_SIZE, random_state=self.random_state + self.runs)
        outputs: list[np.ndarray] = []
        look = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: outputs.append(self.model.predict_on_batch(self.rows))
        )
        self.model.fit(batches, epochs=STEPS // STEPS_PER_CHECK, shuffle=False, verbose=0, callbacks=[look])
        best = min((self._losses(output) for output in outputs), key=np.mean)
        gain = self.nothing - best
        learned = gain.mean() > LEAST_GAIN * gain.std() / np.sqrt(len(gain))
        return _Run(allowed & (keras.ops.convert_to_numpy(self.gates.gate) > 0), float(best.mean()), bool(learned))

    def refined(self, run: _Run) -> np.ndarray:
        """Return the features that stay open when the network is trained on the open ones alone, and so on."""
        for _ in range(MOST_REFINEMENTS):
            again = self.train(run.open)
            fewer = again.learned and again.open.any() and again.open.sum() < run.open.sum()
            if not fewer or again.loss > run.loss + 0.01:
                break
            run = again
        return run.open

    def _prior(self, n_outputs: int) -> np.ndarray:
        if not self.classification:
            return np.zeros((len(self.target), 1))
        shares = (np.bincount(self.y, minlength=n_outputs) + 0.5) / (len(self.y) + 0.5 * n_outputs)
        return np.tile(shares, (len(self.target), 1))

    def _losses(self, output: np.ndarray) -> np.ndarray:
        """Return each deciding row's loss, predictions drawn towards each other as far as helps: they are too bold."""
        if not self.classification:
            along = output[:, 0].astype(float)
            slope = np.clip(along @ self.target / max(along @ along, 1e-30), 0, 1)
            return (slope * along - self.target) ** 2
        logits = np.log(np.maximum(output, 1e-30)) / fit_temperature(output, self.target)
        return -log_softmax(logits, axis=1)[np.arange(len(self.target)), self.target]


class _Steps(Batches):
    """As many batches as lie between two looks at the deciding rows, from as many orders as that takes."""

    def __init__(self, *arrays: Any, batch_size: int, random_state: int) -> None:
        super().__init__(*arrays, batch_size=min(batch_size, len(arrays[1])), random_state=random_state, drop_last=True)
        self.per_order, self.n_batches = self.n_batches, STEPS_PER_CHECK

    def __getitem__(self, batch: int) -> tuple[np.ndarray, ...]:
        place = batch % self.per_order
        if batch and not place:
            self.order = self._draw()
        return super().__getitem__(place)
