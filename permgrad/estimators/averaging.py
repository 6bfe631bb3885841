"""Several estimators as one: the mean of their predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from permgrad.errors import PermGradError, UnfittedError, listing
from permgrad.estimators._ranking import RanksByAveraging


class _Averaged(RanksByAveraging, BaseEstimator):
    """What classifier and regressor share; see `AveragedClassifier`."""

    def __init__(self, estimators: Sequence[Any]) -> None:
        self.estimators = estimators

    def fit(self, X: Any, y: Any, **options: Any) -> Self:
        """Fit a clone of each estimator on the same rows.

        Parameters
        ----------
        X, y, **options
            Go to each estimator's ``fit``, such as ``validation_data=(X_val, y_val)``.
        """
        self._check_any(self.estimators)
        self.estimators_ = [clone(estimator).fit(X, y, **options) for estimator in self.estimators]
        self._check_classes(self.estimators_)
        return self

    @classmethod
    def of(cls, fitted: Sequence[Any]) -> Self:
        """Average estimators that are fitted already: the best trials of a study, say."""
        cls._check_any(fitted)
        cls._check_classes(fitted)
        averaged = cls(list(fitted))
        averaged.estimators_ = list(fitted)
        return averaged

    def _mean(self, X: Any, response: str) -> np.ndarray:
        try:
            check_is_fitted(self, "estimators_")
        except NotFittedError as error:
            raise UnfittedError(str(error)) from error
        return np.mean([getattr(estimator, response)(X) for estimator in self.estimators_], axis=0)

    @staticmethod
    def _check_any(estimators: Sequence[Any]) -> None:
        if not len(estimators):
            raise PermGradError("an average needs at least one estimator, got none")

    @staticmethod
    def _check_classes(fitted: Sequence[Any]) -> None:
        pass

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if len(self.estimators):
            tags.input_tags = get_tags(self.estimators[0]).input_tags
        return tags


class AveragedClassifier(ClassifierMixin, _Averaged):
    """The mean of the probabilities of several classifiers.

    Networks that differ by their seed alone err differently; their mean errs less. So do the best trials of a study.

    Parameters
    ----------
    estimators : sequence of estimators
        Such as ``[HybridClassifier(random_state=s) for s in range(5)]``; `fit` fits clones of them. For
        estimators that are fitted already see `of`.

    Attributes
    ----------
    estimators_ : list
        The fitted ones.
    classes_ : ndarray

    References
    ----------
    Lakshminarayanan, Pritzel & Blundell, Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles
    (NeurIPS 2017).
    """

    @property
    def classes_(self) -> np.ndarray:
        """The labels, in the order of the columns of `predict_proba`."""
        return np.asarray(self.estimators_[0].classes_)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the mean probability of each class, shape (n_rows, n_classes)."""
        return self._mean(X, "predict_proba")

    def predict(self, X: Any) -> np.ndarray:
        """Return the class of the highest mean probability."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    @staticmethod
    def _check_classes(fitted: Sequence[Any]) -> None:
        first = np.asarray(fitted[0].classes_)
        for estimator in fitted:
            if not np.array_equal(estimator.classes_, first):
                raise PermGradError(
                    f"classifiers of an average must know the same classes, got {listing(first.tolist())} and"
                    f" {listing(np.asarray(estimator.classes_).tolist())}"
                )


class AveragedRegressor(RegressorMixin, _Averaged):
    """The mean of the predictions of several regressors; see `AveragedClassifier`.

    Parameters
    ----------
    estimators : sequence of estimators
    """

    def predict(self, X: Any) -> np.ndarray:
        """Return the mean prediction, shape (n_rows,)."""
        return self._mean(X, "predict")
