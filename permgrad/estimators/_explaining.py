"""Single rows as methods of an estimator of tables: their explanations, heat maps and images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from permgrad.backend import keras
from permgrad.data.table import as_frame
from permgrad.errors import PermGradError, listing
from permgrad.estimators._ranking import ExplainedRows, RanksFeatures
from permgrad.importance.explain import explain_rows
from permgrad.importance.game.local import LEAST_ROUNDS
from permgrad.importance.grad_cam import grad_cam_maps
from permgrad.importance.row_explanations import RowExplanations, average_explanations

PREDICT_ROWS = 1024


class ExplainsImages(RanksFeatures):
    """The same for an estimator that encodes a table, and whose network may have an image branch."""

    encoder_: Any
    network_: Any
    if TYPE_CHECKING:

        def _encode(self, X: Any) -> np.ndarray: ...
        def predict(self, X: Any) -> np.ndarray: ...
        def _predicted(self, encoded: np.ndarray) -> np.ndarray: ...
        def _target(self, X: Any, y: Any) -> Any: ...
        def _encode_target(self, y: Any) -> np.ndarray: ...

    def _explained_rows(self, X: Any, y: Any) -> ExplainedRows:
        rows, encoder = self._encode(X), self.encoder_
        target = self._encode_target(self._target(X, y))
        classes = self.classes_.tolist() if hasattr(self, "classes_") else None
        return ExplainedRows(rows, target, encoder.groups_, encoder.features_, encoder.constant_, classes)

    def explain_rows(
        self, X: Any, background: Any, *, of: Any = None, n_orders: int = LEAST_ROUNDS, random_state: int | None = None
    ) -> RowExplanations:
        """Explain rows: what each column adds to the network's prediction, as Shapley values of its output.

        Parameters
        ----------
        X
            Rows to explain, as for `predict`.
        background
            Rows whose values replace hidden columns, such as 64 of the training rows; see `permgrad.explain_rows`.
        of : label, optional
            The class whose log-odds are explained. By default the second of two classes; with more classes, the most
            probable class of each row.
        n_orders : int
            Minimum number of orders in which columns are revealed.
        random_state : int, optional
            By default the estimator's.

        Returns
        -------
        RowExplanations
            One value for each column of the table; columns that never varied add 0. With several networks, the mean of
            their outputs is explained (of log-odds, not of probabilities).

        Raises
        ------
        UnfittedError, PermGradError

        Examples
        --------
        >>> explained = clf.explain_rows(test.X.head(2), background=train.X.head(8), n_orders=1)
        >>> explained.values.shape
        (2, 4)
        """
        rows, others, encoder = self._encode(X), self._encode(background), self.encoder_
        classes = getattr(self, "classes_", None)
        labels = None if classes is None else classes.tolist()
        if of is not None and (labels is None or of not in labels):
            raise PermGradError(f"of must be one of the classes {listing(labels or ())}, got {of!r}")
        number = None if of is None else labels.index(of)  # type: ignore[union-attr]
        if number is None and classes is not None and len(classes) > 2:
            number = np.searchsorted(classes, self.predict(X))
        found = [
            explain_rows(
                network,
                rows,
                others,
                of=number,
                layout=self.layout_,
                groups={name: at.tolist() for name, at in encoder.groups_.items()},
                classes=labels,
                task="regression" if labels is None else "classification",
                n_orders=n_orders,
                random_state=self.random_state_ if random_state is None else random_state,
            )
            for network in self.networks_
        ]
        given = as_frame(X).set_axis(list(encoder.features_), axis=1).reset_index(drop=True)
        return replace(average_explanations(found).with_features(encoder.features_), rows=given)

    def answers(self, X: Any) -> tuple[pd.DataFrame, Any, list[Any] | None, tuple[str, ...]]:
        """Return what `permgrad.effects` needs: readable columns, a function that predicts, classes, unused columns.

        Examples
        --------
        >>> columns, respond, classes, unread = clf.answers(test.X)
        >>> columns.shape, classes, unread
        ((30, 4), ['setosa', 'versicolor', 'virginica'], ())
        """
        encoded, encoder = self._encode(X), self.encoder_
        positions = [encoder.groups_.get(name, np.zeros(0, int)) for name in encoder.features_]

        def respond(rows: np.ndarray, taken: Mapping[int, np.ndarray]) -> np.ndarray:
            values = encoded[rows]
            for column, source in taken.items():
                moved, at = np.flatnonzero(source != rows), positions[column]
                values[moved[:, None], at] = encoded[source[moved][:, None], at]
            return self._predicted(values)

        frame = as_frame(X).set_axis(list(encoder.features_), axis=1).reset_index(drop=True)
        classes = self.classes_.tolist() if hasattr(self, "classes_") else None
        return encoder.readable(frame), respond, classes, encoder.constant_

    def grad_cam_maps(self, X: Any, *, attribution: str = "grad_cam", layer: str = "last") -> np.ndarray:
        """Return the heat maps of rows, see `permgrad.grad_cam_maps`.

        Examples
        --------
        >>> clf.grad_cam_maps(test.X.head(2)).shape[0]
        2
        """
        return grad_cam_maps(self.network_, self._encode(X), attribution=attribution, layer=layer)

    def images(self, X: Any) -> np.ndarray:
        """Return the image of each row, as the image branch sees it: (n_rows, height, width, 1), float32.

        Examples
        --------
        >>> clf.images(test.X.head(2)).shape
        (2, 6, 6, 1)
        """
        encoded = self._encode(X)
        if self.layout_ is None:
            raise PermGradError("this network has no image branch and draws no images")
        drawing = keras.Model(self.network_.inputs, self.network_.get_layer("image").output)
        return drawing.predict(encoded, batch_size=PREDICT_ROWS, verbose=0).astype(np.float32)
