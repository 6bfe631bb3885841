"""Ask a fitted model of any library for predictions; what it raises becomes one line that names the model."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
from sklearn.exceptions import NotFittedError

from permgrad.data.checks import check_columns
from permgrad.errors import PermGradError, UnfittedError, listing, one_line


def ask(model: Any, method: str, rows: Any) -> Any:
    """Return ``model.method(rows)``.

    Parameters
    ----------
    model : fitted estimator
    method : {"predict", "predict_proba", "decision_function"}
    rows : DataFrame or array of shape (n_rows, n_columns)

    Raises
    ------
    UnfittedError
        If the model says that it is not fitted.
    PermGradError
        If it is a class, the columns are not those that it was fitted on, or it raises anything else: then with the
        first line of its error.
    """
    check_instance(model)
    try:
        return getattr(model, method)(rows)
    except (PermGradError, MemoryError, Warning):
        raise
    except Exception as error:  # a model may raise anything
        kind, text = type(model).__name__, str(error)
        if isinstance(error, NotFittedError) or "NotFitted" in type(error).__name__:
            raise UnfittedError(f"{kind} is not fitted; fit it before it is asked: model.fit(X, y)") from error
        if re.search("feature|column", text, re.IGNORECASE):
            check_columns_of(model, rows)
        said = one_line(text.strip().partition("\n")[0]).rstrip(".") or type(error).__name__
        raise PermGradError(f"{kind}.{method} does not take these rows: {said}{_not_finite(rows)}") from error


def check_instance(model: Any) -> None:
    """Raise for the class of a model in the place of a model."""
    if isinstance(model, type):
        raise PermGradError(
            f"expected a fitted model, got the class {model.__name__}; pass an instance that is fitted:"
            f" {model.__name__}().fit(X, y)"
        )


class Asked:
    """A model's method to ask, checked the first time to read columns by name, or in the order in which they came.

    Parameters
    ----------
    model : fitted estimator
    method : str
        See `ask`.
    """

    def __init__(self, model: Any, method: str) -> None:
        self.model, self.method, self._checked = model, method, False

    def __call__(self, rows: Any) -> Any:
        """Return what the model says of rows; raises as `ask`, and where it misreads columns in another order."""
        answer = ask(self.model, self.method, rows)
        if not self._checked:
            self._checked = True
            self._check_order(rows, answer)
        return answer

    def _check_order(self, rows: Any, answer: Any) -> None:
        """Raise if a model that was fitted on named columns reads the same ones, in another order, as others."""
        names, given = fitted_names(self.model), _names(rows)
        if names is None or given is None or given == names or sorted(given) != sorted(names):
            return
        sorted_rows = rows.iloc[:, [given.index(name) for name in names]]
        if not np.array_equal(np.asarray(answer), np.asarray(ask(self.model, self.method, sorted_rows))):
            check_columns_of(self.model, rows)


def check_columns_of(model: Any, rows: Any) -> None:
    """Raise unless rows have the columns that a model says it was fitted on, by name where it knows names."""
    names, given = fitted_names(model), _names(rows)
    if names is not None and given is not None:
        check_columns(given, names, f"the table for {type(model).__name__}")
    known = _of_fit(model, "n_features_in_")
    if known is not None and np.shape(rows)[1] != known:
        raise PermGradError(
            f"{type(model).__name__} was fitted on {known} columns, the table has {np.shape(rows)[1]}; pass the same"
            " columns in the same order"
        )


def fitted_names(model: Any) -> list[str] | None:
    """Return the names of the columns that a model says it was fitted on; None where it says none."""
    names = _of_fit(model, "feature_names_in_")
    return None if names is None else [str(name) for name in names]


def _of_fit(model: Any, name: str) -> Any:
    """Return an attribute that a model may have, or a property that may raise, as one of a pipeline does."""
    try:
        return getattr(model, name, None)
    except Exception:
        return None


def _names(rows: Any) -> list[str] | None:
    return [str(name) for name in rows.columns] if isinstance(rows, pd.DataFrame) else None


def _not_finite(rows: Any) -> str:
    """Say which columns hold missing or infinite values: what models refuse most often."""
    frame = pd.DataFrame(rows)
    numbers = frame.select_dtypes("number")
    infinite = [name for name, column in numbers.items() if np.isinf(column.to_numpy(float, na_value=np.nan)).any()]
    missing = frame.columns[frame.isna().any()].tolist()
    known: dict[str, list[Any]] = {"missing": missing, "infinite": infinite}
    return "".join(f"; {what} values are in {listing(names)}" for what, names in known.items() if names)
