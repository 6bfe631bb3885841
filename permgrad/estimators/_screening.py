"""Which columns of a table to look at, where rows are few for its width: those without which less can be predicted.

First, columns and pairs of columns are tested: the target depends on them. A small network is trained on those found,
and what it leaves unexplained is tested for more. Then it is given these and all others behind stochastic gates: where
others lower its loss, such as three that tell something only together, it is trained again on those of them whose
permutation makes its loss worse, until none is left out any more. Columns that such a set predicts, such as a sum of
some of them, are kept with it. Last, the network is trained on all other columns alone: as long as they still tell
something of the target, what they open is kept too. So a column that says again what others say is kept, and one that
says nothing is not.

Tests come first because a network with many columns of noise and few rows learns the rows by heart: it then misses a
pair of columns that a test of this pair alone finds, and trained on all others it misses them again.

Among the columns that are kept, those that the others can replace are told apart: `SwapNoise` makes the network use
them all, since it predicts better than one that relies on a few, and a ranking then shows them all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy.special import log_softmax
from sklearn.linear_model import RidgeCV
from tqdm.auto import tqdm

from permgrad.backend import keras, released_graphs
from permgrad.estimators._unexplained import unexplained, waves
from permgrad.layers.selectors import HALF_GATE
from permgrad.layers.temperature import fit_temperature
from permgrad.models.screening import build_screen, embedding
from permgrad.training.batches import Batches

ROWS_PER_FEATURE = 64
"""Fewer training rows for each feature, and columns of noise can cost a network more than looking for them."""
FEW_ROWS_PER_FEATURE = 20
"""Fewer, and they do; with more, weak columns may add up to more than noise costs: columns are masked only where a
network without them predicts better."""
LEAST_FEATURES, MOST_FEATURES, LEAST_ROWS, MOST_ROWS = 8, 1000, 200, 20_000
"""Of a wider or longer table a training takes minutes, and much memory; of fewer rows, gates open by chance."""
BATCH_SIZE, EMBEDDED_ROWS, TESTED_ROWS = 256, 1024, 4000
STEPS, STEPS_PER_CHECK = 600, 50
LEARNING_RATE, WEIGHT_DECAY = 1e-2, 3e-2
PENALTY = 6.0
"""Over the number of training rows: what an open gate costs, about what noise can save in the loss by chance."""
MOST_ROUNDS, MOST_REFINEMENTS, MOST_ADDITIONS = 5, 4, 3
MOST_PERMUTED, REPEATS = 100, 5
TOLERANCE = 0.01
"""Loss that leaving features out may cost."""
REPEATED = 0.8
"""Share of its variance, on rows that decide, that others predict of a column that is kept because it repeats them."""
REPLACEABLE = 0.9999
"""The same of a column that others determine, but for rounding, such as a sum or a copy. Swap noise costs a network
what a column tells beyond the others: from 0.99 on, accuracy on gas_drift of 600 training rows falls by 0.009."""
RIDGES = 10.0 ** np.arange(-1, 4)
TINY_VARIANCE = 1e-6
"""Added to that of columns, so that copies can be told too."""
LEAST_GAIN, LEAST_GAIN_BY_MASK = 3.0, 2.0
"""Standard errors by which the loss must be below that of what is known already, or of a network that looks at all
features; on rows that decide."""
OPEN, CLOSED = 10.0, -10.0
"""Of a gate's mean: noise never closes it, or never opens it."""


@dataclass(frozen=True)
class Screened:
    """Which features tell something of the target.

    Attributes
    ----------
    relevant : ndarray of bool, shape (n_features,)
    redundant : ndarray of bool, shape (n_features,)
        Relevant ones that the other relevant ones repeat, so that a network need not rely on any of them alone.
    """

    relevant: np.ndarray
    redundant: np.ndarray


@dataclass(frozen=True)
class _Run:
    """What one training found.

    Attributes
    ----------
    open : ndarray of bool, shape (n_features,)
        Features whose gates are open at its end.
    rises : ndarray of shape (n_features,)
        By how many of its standard errors an open feature's permutation makes the loss worse; 0 of a closed one.
    losses : ndarray of shape (n_rows,)
        Of the deciding rows, at the best look at them.
    residuals : ndarray of shape (n_tested_rows, n_outputs)
        What is left of the target of rows for tests, then.
    learned : bool
        Whether it is better than what was known before.
    """

    open: np.ndarray
    rises: np.ndarray
    losses: np.ndarray
    residuals: np.ndarray
    learned: bool


def worth_screening(n_rows: int, n_features: int) -> bool:
    """Tell whether a table has so few rows for its width that columns of noise would cost a network much."""
    return (
        LEAST_FEATURES <= n_features <= MOST_FEATURES
        and LEAST_ROWS <= n_rows <= MOST_ROWS
        and n_rows < ROWS_PER_FEATURE * n_features
    )


def relevant_features(
    train: tuple[np.ndarray, np.ndarray],
    deciding: tuple[np.ndarray, np.ndarray],
    owners: np.ndarray,
    numbers: list[int],
    *,
    task: Literal["regression", "classification"],
    random_state: int,
    verbose: bool = False,
) -> Screened | None:
    """Return which features tell something of the target, and which of them others repeat.

    Parameters
    ----------
    train, deciding : (X, y)
        Encoded rows (n_rows, n_columns), float32; class numbers, or target values. All rows count alike.
    owners : ndarray of shape (n_columns,), int
        The feature that each column belongs to, from 0.
    numbers : list of int
        Columns that are neither 0/1 nor constant.
    task : {"regression", "classification"}
    random_state : int
    verbose : bool
        Show a progress bar: how many trainings there were; how many there will be is not known.

    Returns
    -------
    Screened or None
        None where nothing was learned, or rows are enough to learn as much from all features.
    """
    with released_graphs(), tqdm(desc="screening", unit="training", disable=not verbose) as progress:
        screen = _Screen(train, deciding, owners, numbers, task, random_state)
        screen.done = progress.update
        kept = screen.sufficient().open
        if not kept.any():
            return None
        kept = screen.with_repeats(kept)
        for _ in range(MOST_ROUNDS):
            if kept.all():
                break
            run = screen.train(~kept)
            if not run.learned or not run.open.any():
                break
            kept = kept | screen.with_repeats(screen.refined(run).open)
        else:
            kept = np.ones_like(kept)  # what is left still tells something
        if len(train[0]) >= FEW_ROWS_PER_FEATURE * len(kept) and not screen.better_without_others(kept):
            return None
        return Screened(kept, screen.redundant(kept))


class _Screen:
    """The network with its rows, trained again and again from the start: it is compiled once."""

    def __init__(self, train: Any, deciding: Any, owners: Any, numbers: Any, task: Any, random_state: int) -> None:
        (X, y), (rows, target) = train, deciding
        self.classification, self.random_state, self.runs = task == "classification", random_state, 0
        self.done: Callable[[], Any] = lambda: None
        embed = embedding(X, numbers)
        self.X, self.rows = (embed.predict(part, batch_size=EMBEDDED_ROWS, verbose=0) for part in (X, rows))
        if not self.classification:
            y, target = ((values - y.mean()) / (y.std() or 1.0) for values in (y, target))
        self.y, self.target = y, target
        # Of several networks, one may have no training row of a class that decides.
        n_outputs = int(max(y.max(), target.max())) + 1 if self.classification else 1
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
        self.n_columns = len(owners)
        bins = (self.X.shape[1] - len(owners)) // max(1, len(numbers))
        self.owners = np.concatenate([owners, np.repeat(owners[numbers], bins)])
        tested = np.random.default_rng(random_state).permutation(len(y) + len(target))[:TESTED_ROWS]
        self.tested = np.concatenate([self.X, self.rows])[tested]
        self.tested_y = np.concatenate([y, target])[tested]
        self.waves = waves(self.tested[:, : self.n_columns], owners)
        self.nothing = self._knowing_nothing(n_outputs)

    def sufficient(self) -> _Run:
        """Return a run whose open features suffice: tests find them, and networks what tests cannot see."""
        run = self.nothing
        for _ in range(MOST_ROUNDS):
            run = self.with_missed(run)
            if run.open.all():
                break
            more = self.train(~run.open, known=run)
            if not more.learned or np.array_equal(more.open, run.open):
                break
            run = self.refined(more, known=run)
        return run

    def with_missed(self, run: _Run) -> _Run:
        """Return a run on the features of this one and on those that its residuals depend on, and so on."""
        for _ in range(MOST_ADDITIONS):
            missed = unexplained(run.residuals, self.waves, run.open)
            if not missed.any():
                break
            more = self.train(run.open | missed)
            if not more.learned:
                break
            run = replace(more, open=run.open | missed)
        return run

    def train(self, allowed: np.ndarray, known: _Run | None = None) -> _Run:
        """Train from the start; a known run's features are open, others not allowed closed, both for good.

        What is learned must go beyond what is known.
        """
        known = known or self.nothing
        self.runs += 1
        self.done()
        self.model.set_weights(self.start)
        for variable, value in self.fresh:
            variable.assign(value)
        gates = np.select([known.open, allowed], [OPEN, HALF_GATE], CLOSED)
        self.gates.gate.assign(gates.astype(np.float32))
        batches = _Steps(self.X, self.y, batch_size=BATCH_SIZE, random_state=self.random_state + self.runs)
        best = _BestLook(self)
        self.model.fit(batches, epochs=STEPS // STEPS_PER_CHECK, shuffle=False, verbose=0, callbacks=[best])
        gain = known.losses - best.losses
        learned = gain.mean() > LEAST_GAIN * gain.std() / np.sqrt(len(gain))
        is_open = known.open | allowed & (keras.ops.convert_to_numpy(self.gates.gate) > 0)
        self.model.set_weights(best.weights)
        rises = self._rises(is_open, best.losses)
        residuals = self._residuals(self.model.predict(self.tested, batch_size=EMBEDDED_ROWS, verbose=0))
        return _Run(is_open, rises, best.losses, residuals, bool(learned))

    def _rises(self, candidates: np.ndarray, losses: np.ndarray) -> np.ndarray:
        """Return by how many standard errors the permutation of each of some features makes the loss worse."""
        if candidates.sum() > MOST_PERMUTED:
            return candidates * np.inf
        rises = np.zeros(len(candidates))
        rng = np.random.default_rng([self.random_state, self.runs])
        for feature in np.flatnonzero(candidates):
            inputs = np.flatnonzero(self.owners == feature)
            rise = np.zeros(len(losses))
            for _ in range(REPEATS):
                permuted = self.rows.copy()
                permuted[:, inputs] = permuted[rng.permutation(len(permuted))][:, inputs]
                rise += (self._losses(self.model.predict_on_batch(permuted)) - losses) / REPEATS
            rises[feature] = rise.mean() / max(1e-30, rise.std() / np.sqrt(len(rise)))
        return rises

    def refined(self, run: _Run, known: _Run | None = None) -> _Run:
        """Return a run whose open features are known, or left when the network is trained on those it needs.

        First those go that do no good at all, then those whose good cannot be told from chance; without them the loss
        must not be worse.
        """
        already = known.open if known else np.zeros_like(run.open)
        features, tried = run.open, run.open
        for needed, tolerance in [(0.0, TOLERANCE)] * MOST_REFINEMENTS + [(1.0, 0.0)] * MOST_REFINEMENTS:
            fewer = already | features & (run.rises > needed)
            if not fewer.any() or np.array_equal(fewer, features) or np.array_equal(fewer, tried):
                continue
            again, tried = self.train(fewer, known), fewer
            if again.learned and again.losses.mean() <= run.losses.mean() + tolerance:
                features, run = fewer, again
        return replace(run, open=features)

    def better_without_others(self, features: np.ndarray) -> bool:
        """Tell whether the network of some features predicts better than that of all, none of them behind gates."""
        everything, some = (
            self.train(features, known=replace(self.nothing, open=is_open)).losses
            for is_open in (np.ones_like(features), features)
        )
        gain = everything - some
        return bool(gain.mean() > LEAST_GAIN_BY_MASK * gain.std() / np.sqrt(len(gain)))

    def with_repeats(self, features: np.ndarray) -> np.ndarray:
        """Return these features, and all others that they predict: by a ridge regression on their columns and bins.

        Of a feature of several columns, the variance of all together is meant, each standardised.
        """
        n_columns = self.n_columns
        given = np.isin(self.owners, np.flatnonzero(features))
        model = RidgeCV(RIDGES, alpha_per_target=True).fit(self.X[:, given], self.X[:, :n_columns])
        columns = self.rows[:, :n_columns]
        left = ((columns - model.predict(self.rows[:, given])) ** 2).sum(axis=0)
        spread = ((columns - columns.mean(axis=0)) ** 2).sum(axis=0)
        left, spread = (np.bincount(self.owners[:n_columns], each) for each in (left, spread))
        return features | ((spread > 0) & (left <= (1 - REPEATED) * spread))

    def redundant(self, features: np.ndarray) -> np.ndarray:
        """Return those of some features whose columns a linear regression on the others' predicts.

        Of training rows: the share of variance that it leaves, for a feature of one column the inverse of its variance
        inflation factor, is that of residuals over rows less columns.
        """
        columns = np.flatnonzero(features[self.owners[: self.n_columns]])
        owners, x = self.owners[columns], self.X[:, columns].astype(float)
        found, n_free = np.zeros(len(features), bool), len(x) - len(columns)
        if n_free < 1:
            return found
        covariance = np.cov(x, rowvar=False, ddof=0).reshape(len(columns), -1) + TINY_VARIANCE * np.eye(len(columns))
        precision = np.linalg.inv(covariance)
        for feature in np.flatnonzero(features):
            at = np.ix_(owners == feature, owners == feature)
            left = np.trace(np.linalg.inv(precision[at])) / np.trace(covariance[at]) * len(x) / n_free
            found[feature] = left <= 1 - REPLACEABLE
        return found

    def _knowing_nothing(self, n_outputs: int) -> _Run:
        """Return what a network without features would say: of each row the mean, or the classes' shares."""
        counts = np.bincount(self.y, minlength=n_outputs) + 0.5 if self.classification else None
        prior = np.zeros(1) if counts is None else counts / counts.sum()
        none = np.zeros(int(self.owners.max()) + 1)
        losses = self._losses(np.tile(prior, (len(self.target), 1)))
        return _Run(none > 0, none, losses, self._residuals(np.tile(prior, (len(self.tested), 1))), learned=False)

    def _residuals(self, output: np.ndarray) -> np.ndarray:
        """Return what is left of the target of rows for tests; of two classes, for the second alone."""
        if not self.classification:
            return self.tested_y[:, None] - output
        residuals = np.eye(output.shape[1])[self.tested_y] - output
        return residuals[:, 1:] if residuals.shape[1] == 2 else residuals

    def _losses(self, output: np.ndarray) -> np.ndarray:
        """Return each deciding row's loss, predictions drawn towards each other as far as helps: they are too bold."""
        if not self.classification:
            along = output[:, 0].astype(float)
            slope = np.clip(along @ self.target / max(along @ along, 1e-30), 0, 1)
            return (slope * along - self.target) ** 2
        logits = np.log(np.maximum(output, 1e-30)) / fit_temperature(output, self.target)
        return -log_softmax(logits, axis=1)[np.arange(len(self.target)), self.target]


class _BestLook(keras.callbacks.Callback):
    """Looks at the deciding rows now and then, and keeps losses and weights of the best look."""

    def __init__(self, screen: _Screen) -> None:
        super().__init__()
        self.screen = screen
        self.losses = np.array([np.inf])
        self.weights: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Look."""
        losses = self.screen._losses(self.model.predict_on_batch(self.screen.rows))
        if losses.mean() < self.losses.mean():
            self.losses, self.weights = losses, self.model.get_weights()


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
