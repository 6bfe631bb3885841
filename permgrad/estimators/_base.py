"""What all estimators of a network share: saving, the fitted check, the state beside the network, random states."""

from __future__ import annotations

from abc import ABC, abstractmethod
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state

from permgrad.data.cells import Cells
from permgrad.data.checks import as_target
from permgrad.data.rows import weights_and_groups
from permgrad.data.streamed import StreamedTable
from permgrad.data.table import Table, Task
from permgrad.directories import new_directory
from permgrad.errors import PermGradError, as_permgrad_error, check_fitted, listing
from permgrad.estimators._card import ColumnSeen
from permgrad.estimators._weights import weigh_classes
from permgrad.metrics.losses import cross_entropy


class NetworkEstimator(BaseEstimator, ABC):
    """A Keras network as a scikit-learn estimator.

    Attributes
    ----------
    networks_ : list of keras.Model
        One, or several whose predictions are averaged.
    network_ : keras.Model
        The first of them.
    features_ : tuple of str
        The columns, in the order in which they came at fit; of an array ``x0``, ``x1``, ...
    history_ : dict of lists
        What training logged, epoch by epoch.
    random_state_ : int
        The seed that was used: equal to ``random_state``, or drawn from it.
    prior_ : ndarray of shape (n_classes,) or (1,)
        Each class's share of the weighted training rows, or the mean of their target.
    trained_on_ : dict
        What the model card says of the rows that `fit` got: ``name``, ``target`` and ``sha256`` of the table (None
        where unknown), the number of ``rows`` and of ``validation`` rows, and whether these were set ``apart`` from
        the others.
    """

    _task: ClassVar[Task]
    __metadata_request__fit: ClassVar = {
        "groups": True
    }  # scikit-learn's tools hand them on, as the splitters have them
    networks_: list[Any]
    features_: tuple[str, ...]
    history_: dict[str, list[float]]
    random_state_: int
    prior_: np.ndarray
    trained_on_: dict[str, Any]

    @property
    def network_(self) -> Any:
        """The network; where there are several, the first."""
        return self.networks_[0]

    @network_.setter
    def network_(self, network: Any) -> None:
        self.networks_ = [network]

    def loss(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the loss that `fit` minimises: its mean over rows, computed in float64, without penalties.

        The loss is cross-entropy, each row weighted by the weight of its class; or the squared error divided by the
        variance of the training target, so that predicting the mean gives 1.

        Parameters
        ----------
        X, y
            As for `fit`.
        sample_weight : array of shape (n_rows,), optional
            Weights of the mean; by default those of a table.

        Examples
        --------
        >>> clf.loss(test) > 0
        True
        """
        weights, _ = weights_and_groups(X, sample_weight, None)
        return float(np.average(self.row_losses(X, y), weights=weights))

    def row_losses(self, X: Any, y: Any = None) -> np.ndarray:
        """Return the loss of each row, (n_rows,) float64, see `loss`.

        Examples
        --------
        >>> clf.row_losses(test).shape
        (30,)
        """
        check_fitted(self)
        target = self._encode_target(self._target(X, y))
        return self._row_losses(target, self._network_output(X))

    def save(self, directory: str | Path, *, overwrite: bool = False) -> None:
        """Write the network, its settings and everything else that was fitted to a new directory.

        `permgrad.load` reads the directory. Its ``README.md`` is a model card: what the network is, what it was trained
        on, how good it is, what it must not be used for, and how to use it.

        Raises
        ------
        UnfittedError
            If there is nothing to save yet.
        PermGradError
            If the directory exists and `overwrite` is false, or cannot be written.

        Examples
        --------
        >>> clf.save("model")
        >>> bool((pg.load("model").predict(test.X) == clf.predict(test.X)).all())
        True
        """
        from permgrad.estimators.saving import write_estimator

        check_fitted(self)
        with new_directory(directory, overwrite=overwrite) as staging:
            write_estimator(self, staging)

    def state_to_dict(self) -> dict[str, Any]:
        """Return everything that was fitted besides the network, ready for JSON."""
        return {
            "features": list(self.features_),
            "named": hasattr(self, "feature_names_in_"),
            "history": self.history_,
            "random_state": self.random_state_,
            "prior": self.prior_.tolist(),
            "trained_on": self.trained_on_,
        }

    def restore_state(self, content: dict[str, Any], networks: list[Any]) -> None:
        """Restore what `state_to_dict` returned, and the networks that were saved with it."""
        self.networks_ = networks
        self.features_ = tuple(content["features"])
        self.n_features_in_ = len(self.features_)
        if content["named"]:
            self.feature_names_in_ = np.array(self.features_, dtype=object)
        self.history_ = content["history"]
        self.random_state_ = content["random_state"]
        self.prior_ = np.array(content["prior"], float)
        self.trained_on_ = dict(content["trained_on"])

    def _columns_seen(self) -> list[ColumnSeen]:
        """Return what training saw of each column, in their order."""
        return [ColumnSeen(name) for name in self.features_]

    def _target(self, X: Any, y: Any) -> pd.Series:
        """Return the target: `y`, or where it is absent what a `Table`, `Cells` or `StreamedTable` brings along."""
        y = X.y if y is None and isinstance(X, (Table, Cells, StreamedTable)) else y
        if y is None:
            raise PermGradError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        return as_target(y)

    @abstractmethod
    def _network_output(self, X: Any) -> np.ndarray:
        """Return what the network predicts of rows, (n_rows, n_outputs), float32."""

    @abstractmethod
    def _fit_target(self, y: pd.Series) -> None:
        """Learn what `_encode_target` needs."""

    @abstractmethod
    def _encode_target(self, y: pd.Series) -> np.ndarray:
        """Return the target as the network is trained on it, (n_rows,)."""

    @abstractmethod
    def _row_losses(self, target: np.ndarray, output: np.ndarray) -> np.ndarray:
        """Return the loss of each row, see `loss`."""

    def _fit_row_weights(self, target: np.ndarray, sample_weight: np.ndarray | None) -> None:
        """Learn the prior, and what `_row_weights` needs, from the training rows."""
        self.prior_ = np.array([np.average(np.asarray(target, float), weights=sample_weight)])

    def _row_weights(self, target: np.ndarray, sample_weight: np.ndarray | None) -> np.ndarray | None:
        """Return each row's weight in the loss; None where all count alike."""
        return sample_weight

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "networks_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


class NetworkClassifier(ClassifierMixin, NetworkEstimator):
    """A network that gives the probability of each class.

    Attributes
    ----------
    classes_ : ndarray
        Sorted labels.
    class_weights_ : ndarray of shape (n_classes,) or None
        What ``class_weight`` came to.
    """

    _task: ClassVar[Task] = "classification"
    class_weight: Any
    classes_: np.ndarray
    class_weights_: np.ndarray | None

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class, shape (n_rows, n_classes), in the order of ``classes_``.

        Examples
        --------
        >>> clf.predict_proba(test.X).shape
        (30, 3)
        """
        check_fitted(self)
        return self._network_output(X)

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each row.

        Examples
        --------
        >>> clf.predict(test.X).shape
        (30,)
        """
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy; labels may be of any kind that `fit` takes.

        Examples
        --------
        >>> 0 <= clf.score(test.X, test.y) <= 1
        True
        """
        return super().score(X, as_target(y), sample_weight)

    def state_to_dict(self) -> dict[str, Any]:
        """Return everything that was fitted besides the network, ready for JSON.

        Examples
        --------
        >>> clf.state_to_dict()["classes"]
        ['setosa', 'versicolor', 'virginica']
        """
        return {
            **super().state_to_dict(),
            "classes": self.classes_.tolist(),
            "classes_dtype": self.classes_.dtype.str,
            "class_weights": None if self.class_weights_ is None else self.class_weights_.tolist(),
        }

    def restore_state(self, content: dict[str, Any], networks: list[Any]) -> None:
        """Restore what `state_to_dict` returned, and the networks that were saved with it.

        Examples
        --------
        >>> clf.save("model")
        >>> again = pg.HybridClassifier(**clf.get_params())
        >>> again.restore_state(clf.state_to_dict(), clf.networks_)
        >>> bool((again.predict(test.X) == clf.predict(test.X)).all())
        True
        """
        super().restore_state(content, networks)
        self.classes_ = np.array(content["classes"], dtype=content["classes_dtype"])
        weights = content["class_weights"]
        self.class_weights_ = None if weights is None else np.array(weights, np.float32)

    def _fit_target(self, y: pd.Series) -> None:
        self.classes_ = np.unique(y)

    def _encode_target(self, y: pd.Series) -> np.ndarray:
        """Return class numbers."""
        labels = np.asarray(y)
        unknown = set(pd.unique(labels)) - set(self.classes_)
        if unknown:
            raise PermGradError(f"labels not seen in training: {listing(sorted(map(str, unknown)))}")
        return np.searchsorted(self.classes_, labels)

    def _row_losses(self, target: np.ndarray, output: np.ndarray) -> np.ndarray:
        losses = cross_entropy(target, output)
        return losses if self.class_weights_ is None else losses * self.class_weights_[target]

    def _fit_row_weights(self, target: np.ndarray, sample_weight: np.ndarray | None) -> None:
        rows = np.bincount(target, sample_weight, minlength=len(self.classes_))
        self.prior_ = rows / rows.sum()
        self.class_weights_ = weigh_classes(self.class_weight, self.classes_, target, sample_weight)

    def _row_weights(self, target: np.ndarray, sample_weight: np.ndarray | None) -> np.ndarray | None:
        if self.class_weights_ is None:
            return sample_weight
        by_class = self.class_weights_[target]
        return by_class if sample_weight is None else by_class * sample_weight


def draw_random_state(random_state: int | np.random.RandomState | None) -> int:
    """Return an int as it is; of a RandomState, or NumPy's global one for None, a number that is drawn from it."""
    if isinstance(random_state, Integral):
        return int(random_state)
    with as_permgrad_error():
        return int(check_random_state(random_state).randint(2**31 - 1))
