"""Several estimators as one: the mean of their predictions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.utils import get_tags
from sklearn.utils.validation import validate_data

from permgrad.data.cells import Cells
from permgrad.data.checks import as_target
from permgrad.data.table import Table
from permgrad.errors import PermGradError, as_permgrad_error, check_fitted, listing
from permgrad.estimators._averaging import RanksByAveraging
from permgrad.estimators._base import NetworkEstimator
from permgrad.estimators.loading import load_bytes
from permgrad.estimators.saving import estimator_to_bytes
from permgrad.parallel import count_workers, run


class _Averaged(RanksByAveraging, BaseEstimator):
    """What classifier and regressor share; see `AveragedClassifier`."""

    def __init__(self, estimators: Sequence[Any], n_jobs: int | None = None) -> None:
        self.estimators = estimators
        self.n_jobs = n_jobs

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
        """Fit a clone of each estimator on the same rows.

        Parameters
        ----------
        X, y
            As the estimators take them.
        sample_weight, groups, validation_data, callbacks
            Passed to each estimator's ``fit`` if given, see `HybridClassifier.fit`. With callbacks, this process fits
            all estimators.

        Examples
        --------
        >>> from sklearn.naive_bayes import GaussianNB
        >>> len(pg.AveragedClassifier([GaussianNB(), GaussianNB()]).fit(train.X, train.y).estimators_)
        2
        """
        self._check_any(self.estimators)
        y = y if y is None else as_target(y)
        given = {"sample_weight": sample_weight, "groups": groups, "validation_data": validation_data}
        given |= {"callbacks": callbacks or None}
        given = {name: value for name, value in given.items() if value is not None}
        here = callbacks or count_workers(self.n_jobs) == 1
        jobs = ((clone(estimator), X, y, given) for estimator in self.estimators)
        self.estimators_ = [job[0].fit(X, y, **given) for job in jobs] if here else _fitted(jobs, self.n_jobs)
        self._check_columns(X, reset=True)
        self._check_classes(self.estimators_)
        return self

    @classmethod
    def of(cls, fitted: Sequence[Any]) -> Self:
        """Average estimators that are already fitted, such as the best trials of a study.

        Examples
        --------
        >>> pg.AveragedClassifier.of([clf, logistic]).predict(test.X).shape
        (30,)
        """
        cls._check_any(fitted)
        cls._check_classes(fitted)
        averaged = cls(list(fitted))
        averaged.estimators_ = list(fitted)
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(fitted[0], name):
                setattr(averaged, name, getattr(fitted[0], name))
        return averaged

    def _mean(self, X: Any, response: str) -> np.ndarray:
        check_fitted(self)
        predictions = [getattr(estimator, response)(X) for estimator in self.estimators_]
        self._check_columns(X, reset=False)
        return np.mean(predictions, axis=0)

    def _check_columns(self, X: Any, *, reset: bool) -> None:
        """Learn number and names of the columns, or compare them; values are the estimators' to check."""
        with as_permgrad_error():
            validate_data(self, X.X if isinstance(X, (Table, Cells)) else X, reset=reset, skip_check_array=True)

    @staticmethod
    def _check_any(estimators: Sequence[Any]) -> None:
        if not len(estimators):
            raise PermGradError("an average needs at least one estimator, got none")

    @staticmethod
    def _check_classes(fitted: Sequence[Any]) -> None:
        pass

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "estimators_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        for kind in ("sparse", "allow_nan", "string"):
            every = all(getattr(get_tags(estimator).input_tags, kind) for estimator in self.estimators)
            setattr(tags.input_tags, kind, every)
        return tags


def _fitted(jobs: Iterable[tuple[Any, ...]], n_jobs: int | None) -> list[Any]:
    """Fit estimators in processes."""
    return [load_bytes(fitted) if isinstance(fitted, bytes) else fitted for fitted in run(_fit, jobs, n_jobs)]


def _fit(estimator: Any, X: Any, y: Any, given: dict[str, Any]) -> Any:
    """Fit an estimator, and hand it back: one of ours as a file's content, as networks are no objects to send."""
    estimator.fit(X, y, **given)
    return estimator_to_bytes(estimator) if isinstance(estimator, NetworkEstimator) else estimator


class AveragedClassifier(ClassifierMixin, _Averaged):
    """The mean of the probabilities of several classifiers.

    Networks that differ only in their seed make different errors; their mean makes smaller ones. The same holds for the
    best trials of a study.

    Parameters
    ----------
    estimators : sequence of estimators
        For example ``[HybridClassifier(random_state=s) for s in range(5)]``; `fit` fits clones of them. For estimators
        that are already fitted, see `of`.
    n_jobs : int, optional
        Processes that fit them; -1 for one per core. By default, what ``joblib.parallel_config`` says; see
        `permgrad.parallel.run`.

    Attributes
    ----------
    estimators_ : list
        The fitted ones.
    classes_ : ndarray

    References
    ----------
    Lakshminarayanan, Pritzel & Blundell, Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles
    (NeurIPS 2017).

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.naive_bayes import GaussianNB
    >>> averaged = pg.AveragedClassifier([LogisticRegression(max_iter=1000), GaussianNB()]).fit(train.X, train.y)
    >>> averaged.predict_proba(test.X).shape
    (30, 3)
    """

    @property
    def classes_(self) -> np.ndarray:
        """The labels, in the order of the columns of `predict_proba`."""
        return np.asarray(self.estimators_[0].classes_)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the mean probability of each class, shape (n_rows, n_classes).

        Examples
        --------
        >>> pg.AveragedClassifier.of([clf, logistic]).predict_proba(test.X).sum(axis=1).round(3).tolist()[:2]
        [1.0, 1.0]
        """
        return self._mean(X, "predict_proba")

    def predict(self, X: Any) -> np.ndarray:
        """Return the class of the highest mean probability.

        Examples
        --------
        >>> pg.AveragedClassifier.of([clf, logistic]).predict(test.X).shape
        (30,)
        """
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

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
    n_jobs : int, optional

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression, Ridge
    >>> X, y = train.X.iloc[:, :3], train.X.iloc[:, 3]
    >>> pg.AveragedRegressor([LinearRegression(), Ridge()]).fit(X, y).predict(X).shape
    (90,)
    """

    def predict(self, X: Any) -> np.ndarray:
        """Return the mean prediction, shape (n_rows,).

        Examples
        --------
        >>> pg.AveragedRegressor.of([reg, reg]).predict(test.X.iloc[:, :3]).shape
        (30,)
        """
        return self._mean(X, "predict")
