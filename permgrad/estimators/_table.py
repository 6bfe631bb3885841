"""Estimators of tables: raw columns are encoded, some rows set apart, a network is trained on the others."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any, Self

import numpy as np
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from permgrad.backend import Devices
from permgrad.data._splitting import folds, holdout
from permgrad.data.checks import check_complete
from permgrad.data.encoding import ColumnEncoder
from permgrad.data.in_files import RowsInFiles
from permgrad.data.rows import RowFacts, check_sample_weight, weights_and_groups
from permgrad.data.streamed import StreamedTable
from permgrad.data.table import Table, as_frame, as_given, replace_facts
from permgrad.errors import PermGradError, as_permgrad_error, check_fitted
from permgrad.estimators._base import NetworkEstimator, draw_random_state
from permgrad.estimators._card import ColumnSeen, columns_of, rows_given
from permgrad.estimators._explaining import ExplainsImages
from permgrad.estimators._predicting import predicted_by
from permgrad.estimators._streamed import fit_streamed, rows_for
from permgrad.models.sending import network_from_bytes, network_to_bytes
from permgrad.parallel import count_workers, run
from permgrad.training.config import TrainingConfig
from permgrad.training.fit import Rows, fit_network

MIN_VALIDATION_ROWS = 5

WeightedTable = tuple[Table, np.ndarray | None]
"""Rows, and the weight of each where they are weighted: in training 1 on average."""
Trained = tuple[Any, dict[str, list[float]], int, Rows | None]
"""A network, what training logged, the epoch whose weights it has, and the encoded rows that decided, where here."""


class TableEstimator(ExplainsImages, NetworkEstimator):
    """A network on the encoded columns of a table.

    Attributes
    ----------
    encoder_ : ColumnEncoder
        Raw columns → the network's input.
    kept_epoch_ : int
        Epoch, from 1, whose weights were kept; of several networks, the first one's.
    """

    random_state: int | np.random.RandomState | None
    validation_fraction: float
    verbose: bool
    n_jobs: int | None = None
    devices: Devices = None
    encoder_: ColumnEncoder
    kept_epoch_: int

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        groups: Any = None,
        validation_data: Any = None,
        callbacks: Sequence[Any] = (),
    ) -> Self:
        """Fit encoding, scaling, layout and network on training rows.

        Parameters
        ----------
        X : DataFrame, array of shape (n_rows, n_features), Table or StreamedTable
            Numeric, text, category and boolean columns; missing values are allowed. A `Table` is not checked again. Of
            a `StreamedTable`, a sample of rows determines everything but the network's weights.
        y : array of shape (n_rows,), optional
            By default that of the table.
        sample_weight : array of shape (n_rows,), optional
            Weight of each row in the loss, for training and early stopping; only ratios matter. Rows of weight 0 are
            left out. Encoding, scaling and layout treat all other rows equally. By default the weights of a table.
        groups : array of shape (n_rows,), optional
            Labels of rows that belong together, such as those of a patient: whole groups are set aside for validation.
            By default the groups of a table; of a table with times, the latest rows are set aside.
        validation_data : (X, y) or Table, optional
            Rows that only decide when training stops. By default a share of the training rows,
            ``validation_fraction``, is set aside for this (none if there are too few).
        callbacks : sequence of keras.callbacks.Callback
            Called during training.

        Returns
        -------
        The estimator itself.

        Raises
        ------
        PermGradError
            If the table or target cannot be used, see `Table`; if settings are out of range.

        Warns
        -----
        UserWarning
            If columns never vary or, with ``unique=False``, features share a pixel. The message names them.

        Examples
        --------
        >>> small = pg.HybridClassifier(preset="fast", branches="tabular", dense_units=(4,), epochs=1)
        >>> small.fit(train, validation_data=val).kept_epoch_
        1
        """
        self.random_state_ = draw_random_state(self.random_state)
        self._configs(1, self.random_state_)  # settings that cannot be are told before any work
        if isinstance(X, StreamedTable):
            fit_streamed(self, X, (y, sample_weight), validation_data, callbacks)
            return self
        rows = self._checked(X, y, *weights_and_groups(X, sample_weight, groups))
        self._fit_target(rows[0].y)
        parts = self._parts(rows, validation_data)
        seen = parts[0][0] if len(parts) == 1 else rows
        self.encoder_ = ColumnEncoder().fit(seen[0])
        self._fit_row_weights(self._encode_target(seen[0].y), seen[1])
        self._fit_shared(self.encoder_.encode(seen[0].X))
        self.networks_ = []
        shared = validation_data is not None
        logs = [
            self._add_network(part[1], number, shared, *done)
            for number, (part, done) in enumerate(zip(parts, self._trained(parts, callbacks), strict=True))
        ]
        self.history_, self.kept_epoch_ = logs[0]
        deciding = parts[0][1]
        self.trained_on_ = rows_given(
            X if isinstance(X, Table) and y is None else rows[0],
            rows[0].y,
            n_validation=len(deciding[0]) if deciding else 0,
            apart=not shared,
        )
        return self

    def _columns_seen(self) -> list[ColumnSeen]:
        """Return what training saw of each column, in their order."""
        return columns_of(self.encoder_)

    def _trained(
        self, parts: Sequence[tuple[WeightedTable, WeightedTable | None]], callbacks: Sequence[Any]
    ) -> Iterator[Trained]:
        """Yield what is trained on each part: here, or in processes, but with callbacks always here."""
        if len(parts) > 1 and not callbacks and count_workers(self.n_jobs) > 1:
            shell = copy(self)
            shell.verbose = False
            jobs = ((shell, *part, number) for number, part in enumerate(parts))
            yield from map(_received, run(_handed_over, jobs, self.n_jobs))
            return
        for number, part in enumerate(parts):
            yield self._train(*part, number, callbacks)

    def _train(
        self,
        train: WeightedTable,
        validation: WeightedTable | None,
        number: int,
        callbacks: Sequence[Any] = (),
    ) -> Trained:
        """Train a network on some rows."""
        network_config, training = self._configs(len(train[0]), self.random_state_ + number)
        encoded = self._for_network(*train)
        deciding = self._for_network(*validation) if validation else None
        network = self._build(network_config, encoded, deciding)
        if callbacks:  # they may predict while it is trained
            self.networks_.append(network)
        history, kept = fit_network(
            network,
            encoded,
            deciding,
            training,
            task=self._task,
            callbacks=callbacks,
            verbose=self.verbose,
            devices=self.devices,
        )
        return network, history, kept, deciding

    def _add_network(
        self,
        validation: WeightedTable | None,
        number: int,
        shared: bool,
        network: Any,
        history: dict[str, list[float]],
        kept: int,
        deciding: Rows | None,
    ) -> tuple[dict[str, list[float]], int]:
        """Take a trained network over; return what training logged, and the epoch whose weights it has."""
        self.networks_[number:] = [network]
        if deciding is None and validation is not None:
            deciding = self._for_network(*validation)
        self._after_training(network, deciding, number, shared)
        return history, kept

    def state_to_dict(self) -> dict[str, Any]:
        """Return everything that was fitted besides the network, ready for JSON."""
        return {**super().state_to_dict(), "encoder": self.encoder_.to_dict(), "kept_epoch": self.kept_epoch_}

    def restore_state(self, content: dict[str, Any], networks: list[Any]) -> None:
        """Restore what `state_to_dict` returned, and the networks that were saved with it."""
        super().restore_state(content, networks)
        self.encoder_ = ColumnEncoder.from_dict(content["encoder"])
        self.kept_epoch_ = content["kept_epoch"]
        encoded, taken = len(self.encoder_.get_feature_names_out()), self.network_.input_shape[-1]
        if encoded != taken:
            raise PermGradError(f"the columns are encoded as {encoded} numbers, the network takes {taken}")

    def _checked(self, X: Any, y: Any, sample_weight: Any, groups: Any) -> WeightedTable:
        """Return the rows that count; this is where they are checked, once."""
        target = self._target(X, y)
        if self._task == "classification":
            check_complete(target)
            with as_permgrad_error():
                check_classification_targets(target)
        table = Table(X, target, task=self._task)
        with as_permgrad_error():
            validate_data(self, as_given(X), skip_check_array=True)
        self.features_ = tuple(table.features)
        known = RowFacts.of(len(table), groups=groups, times=table.times)
        replace_facts(table, known)
        if sample_weight is None:
            return table, None
        weight = check_sample_weight(sample_weight, len(table))
        counted = np.flatnonzero(weight)
        table, weight = table.take(counted), weight[counted] / weight[counted].mean()
        if table.y.nunique() < 2:
            raise PermGradError(
                "the rows with positive sample_weight have a single target value (one class); at least two are needed"
            )
        return table, weight

    def _parts(self, rows: WeightedTable, validation_data: Any) -> list[tuple[WeightedTable, WeightedTable | None]]:
        """Return for each network the rows to fit on, and those that decide when to stop."""
        table, _ = rows
        if validation_data is not None:
            deciding = table.more_rows(validation_data)
            weight = None if deciding.weights is None else check_sample_weight(deciding.weights, len(deciding))
            return [(rows, (deciding, None if weight is None else weight / weight.mean()))] * self._n_networks
        if not 0 <= self.validation_fraction < 1:
            raise PermGradError(f"validation_fraction must be in [0, 1), got {self.validation_fraction}")
        n_rows = round(self.validation_fraction * len(table))
        n_classes = len(table.classes or ())
        rarest = table.y.value_counts().min() if n_classes else len(table)
        if n_rows < max(MIN_VALIDATION_ROWS, n_classes) or rarest < 2:
            return [(rows, None)] * self._n_networks
        known: Any = {
            "y": table.y,
            "facts": table.facts,
            "random_state": self.random_state_,
            "classes": bool(n_classes),
        }
        if self._n_networks > 1:
            chosen = folds(n=self._n_networks, **known)
        elif table.groups is None and table.times is None:
            chosen = [holdout(share=n_rows, **known)]
        elif (table.times if table.groups is None else table.groups).nunique() < 2:
            return [(rows, None)]
        else:
            chosen = [holdout(share=self.validation_fraction, **known)]
        return [(_taken(rows, train), _taken(rows, validation)) for train, validation in chosen]

    def _for_network(self, table: Table, sample_weight: np.ndarray | None) -> Rows:
        """Return a table as the network is trained on it: encoded columns, target, and weights where there are any."""
        target = self._encode_target(table.y)
        weight = self._row_weights(target, sample_weight)
        encoded = self.encoder_.encode(table.X)
        return (encoded, target) if weight is None else (encoded, target, weight.astype(np.float32))

    def _encode(self, X: Any) -> Any:
        check_fitted(self)
        if isinstance(X, (StreamedTable, RowsInFiles)):
            return rows_for(self, X)
        frame = as_frame(X)
        with as_permgrad_error():
            validate_data(self, as_given(X), reset=False, skip_check_array=True)
        return self.encoder_.encode(frame.set_axis(list(self.features_), axis=1))

    def _network_output(self, X: Any) -> np.ndarray:
        return self._predicted(self._encode(X))

    def _predicted(self, encoded: np.ndarray) -> np.ndarray:
        """Return the networks' mean output for encoded rows, (n_rows, n_outputs), float32."""
        outputs = [predicted_by(network, encoded) for network in self.networks_]
        return outputs[0] if len(outputs) == 1 else np.mean(outputs, axis=0)

    @property
    def _n_networks(self) -> int:
        """How many networks are trained, and averaged."""
        return 1

    @abstractmethod
    def _configs(self, n_rows: int, random_state: int) -> tuple[Any, TrainingConfig]:
        """Return the settings of a network and of its training on so many rows, checked."""

    def _fit_shared(self, encoded: np.ndarray) -> None:
        """Learn from the encoded rows what all networks have in common."""

    @abstractmethod
    def _build(self, config: Any, train: Rows, validation: Rows | None) -> Any:
        """Return a network that is not trained yet, its scaling fitted on the encoded training rows."""

    def _after_training(self, network: Any, validation: Rows | None, number: int, shared: bool) -> None:
        """Do what is left to do with a trained network, the `number`-th from 0; all may share the validation rows."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        return tags


def _handed_over(shell: TableEstimator, train: WeightedTable, validation: WeightedTable | None, number: int) -> Any:
    """Train a network in a process, and hand it back as a file's content."""
    network, history, kept, _ = shell._train(train, validation, number)
    return network_to_bytes(network), history, kept


def _received(done: tuple[bytes, dict[str, list[float]], int]) -> Trained:
    return network_from_bytes(done[0]), *done[1:], None


def _taken(rows: WeightedTable, at: np.ndarray) -> WeightedTable:
    table, weight = rows
    return table.take(at), None if weight is None else weight[at]
