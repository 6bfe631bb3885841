"""Scorers by name, those of one class too; and scoring many permuted copies of a table from one prediction."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import metrics
from sklearn.utils import get_tags

from permgrad.errors import PermGradError, listing
from permgrad.metrics.asking import ask, check_instance

Scorer = Callable[[Any, Any, Any], float]
"""(estimator, X, y) → a number, higher being better: scikit-learn's convention."""
OF_ONE_CLASS: dict[str, Callable[..., Any]] = {
    "recall": metrics.recall_score,
    "precision": metrics.precision_score,
    "f1": metrics.f1_score,
}
RESPONSES = ("predict", "predict_proba", "decision_function")


def get_scorer(scoring: str | Scorer) -> Scorer:
    """Return a scorer: a callable unchanged, or a scorer by its name.

    Parameters
    ----------
    scoring : str or callable
        Any name that scikit-learn knows ("accuracy", "roc_auc", "neg_log_loss", ...); "recall[<class>]",
        "precision[<class>]" or "f1[<class>]" for those of one class, such as "recall[malignant]" (0 where it is
        not defined); or a callable (estimator, X, y) → float.

    Returns
    -------
    callable
        (estimator, X, y) → float; higher is better. It works wherever scikit-learn takes ``scoring=``.

    Raises
    ------
    PermGradError
        If there is no such scorer; when called, if there is no such class.

    Examples
    --------
    >>> scorer = pg.get_scorer("recall[setosa]")
    >>> float(scorer(logistic, test.X, test.y))
    1.0
    """
    if callable(scoring):
        return scoring
    named = re.fullmatch(r"(\w+)\[(.+)\]", str(scoring))
    if named and named[1] in OF_ONE_CLASS:
        return _one_class(named[1], named[2])
    try:
        return metrics.get_scorer(scoring)
    except (ValueError, TypeError) as error:
        raise PermGradError(
            f"scoring must be a name of scikit-learn's scorers (such as 'accuracy'), one of a class (such as"
            f" 'recall[<class>]'; also {listing(list(OF_ONE_CLASS)[1:])}) or a callable, got {scoring!r}"
        ) from error


def _one_class(metric: str, name: str) -> Scorer:
    def scorer(estimator: Any, X: Any, y: Any, sample_weight: Any = None) -> float:
        classes = np.asarray(estimator.classes_).tolist()
        labels = [label for label in classes if str(label) == name]
        if not labels:
            raise PermGradError(f"no class {name!r} to score; the classes are {listing(classes)}")
        # A mean over the one class: its own, whatever the number of classes.
        known = {"labels": labels, "average": "macro", "zero_division": 0, "sample_weight": sample_weight}
        return OF_ONE_CLASS[metric](y, estimator.predict(X), **known)

    scorer.__name__ = f"{metric}[{name}]"
    return scorer


def scoring_name(scoring: str | Scorer) -> str:
    """Return what a scorer is called in tables."""
    return scoring if isinstance(scoring, str) else getattr(scoring, "__name__", repr(scoring))


class PredictedAtOnce:
    """Stands for an estimator on equal parts of one table: it predicts all of it once, and answers part by part.

    Parameters
    ----------
    estimator : fitted estimator
    X : DataFrame or array of shape (n_parts * n_rows, n_features)
    n_rows : int
        Rows of each part.
    """

    def __init__(self, estimator: Any, X: Any, n_rows: int) -> None:
        check_instance(estimator)
        self.estimator, self.X, self.n_rows = estimator, X, n_rows
        self._answers: dict[str, Any] = {}
        self._part = slice(0, n_rows)

    def score(self, part: int, scorer: Scorer, y: Any, sample_weight: np.ndarray | None = None) -> float:
        """Score part number `part`, whose rows may weigh."""
        self._part = slice(part * self.n_rows, (part + 1) * self.n_rows)
        rows = self.X.iloc[self._part] if hasattr(self.X, "iloc") else self.X[self._part]
        return float(scorer(self, rows, y, **({} if sample_weight is None else {"sample_weight": sample_weight})))

    def __getattr__(self, name: str) -> Any:
        """Answer for the estimator; a scorer asks for what it has, and for its responses by name."""
        if name.startswith("__") or name == "estimator":
            raise AttributeError(name)
        answer = getattr(self.estimator, name)
        if name not in RESPONSES:
            return answer

        def respond(X: Any) -> Any:
            if len(X) != self.n_rows:  # a scorer that asks about rows of its own choice
                return ask(self.estimator, name, X)
            if name not in self._answers:
                self._answers[name] = np.asarray(ask(self.estimator, name, self.X))
            return self._answers[name][self._part]

        respond.__name__ = name
        return respond

    def __sklearn_tags__(self) -> Any:
        return get_tags(self.estimator)
