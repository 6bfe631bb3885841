"""Columns of a table → float32 columns of a network's input, and back to their owners.

A numeric column stays one column, its missing values filled with the training median. A text,
category or boolean column becomes one 0/1 column per category.
Columns that never vary in training carry no information and are left out.
"""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import validate_data

from permgrad.data.table import as_frame, as_given
from permgrad.errors import PermGradError, as_permgrad_error, check_fitted, listing

MAX_CATEGORIES = 30
"""Categories of one column that get a network column of their own: the most frequent ones."""
TINY = 1e-30
"""float32 ends at 1e-38, and numbers are divided by their spread."""
MISSING = "(missing)"


class ColumnEncoder(TransformerMixin, BaseEstimator):
    """Columns of any kind as float32 columns; a scikit-learn transformer.

    Attributes
    ----------
    features_ : tuple of str
        The table's columns, in the order in which they came at fit.
    numeric_ : tuple of str
        Numeric columns that vary, in order.
    medians_ : tuple of float
        Training median of each numeric column: what fills its gaps.
    offsets_ : tuple of float
        What is taken off each numeric column before it becomes float32: 0, but for columns whose spread
        float32 would blur (times in seconds since 1970, say), see `float32_offset`.
    categories_ : dict
        Each categorical column that varies, with its categories as text.
    constant_ : tuple of str
        Columns with at most one distinct value in training (all-missing ones too): not encoded.
    missing_ : dict
        Number of missing training values of each column that has any.
    groups_ : dict
        For each varying column of the table, in its order, the positions of its encoded columns.
    """

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn medians and categories from training rows.

        Parameters
        ----------
        X : DataFrame, array of shape (n_rows, n_features), or Table
            A table has been checked, and is not checked again.
        y : ignored

        Raises
        ------
        PermGradError
            If no column varies, or a column is neither numeric nor categorical (dates, say).

        Warns
        -----
        UserWarning
            Naming the columns that never vary, and text columns with more than 30 categories.
        """
        frame = as_frame(X)
        _check_kinds(frame)
        with as_permgrad_error():
            validate_data(self, as_given(X), skip_check_array=True)
        constant = _constant(frame)
        varying = frame.drop(columns=constant)
        numbers = [name for name in varying.columns.tolist() if is_number(varying[name])]
        values = _numbers(varying, numbers)
        tiny = [name for name, column in zip(numbers, values.T, strict=True) if np.nanmax(np.abs(column)) < TINY]
        if tiny:
            raise PermGradError(
                f"the values of {listing(tiny)} are below {TINY:.0e}, too small for float32; give them in another unit"
            )
        self.features_ = tuple(frame.columns)
        self.constant_ = tuple(constant)
        self.numeric_ = tuple(numbers)
        self.medians_ = tuple(np.nanmedian(values, axis=0).tolist())
        self.offsets_ = tuple(float32_offset(column) for column in values.T)
        self.categories_ = {name: _frequent(varying[name]) for name in varying.columns.tolist() if name not in numbers}
        self.missing_ = {name: int(frame[name].isna().sum()) for name in frame if frame[name].hasnans}
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Encode rows; a category not seen in training becomes all zeros, with a warning.

        Parameters
        ----------
        X : DataFrame, array of shape (n_rows, n_features), or Table

        Returns
        -------
        ndarray of shape (n_rows, n_encoded_columns), float32

        Raises
        ------
        UnfittedError, PermGradError
            If a column that was numeric at fit now holds something else, or exceeds float32.
        """
        check_fitted(self)
        frame = as_frame(X)
        with as_permgrad_error():
            validate_data(self, as_given(X), reset=False, skip_check_array=True)
        return self.encode(frame.set_axis(list(self.features_), axis=1))

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """Encode rows of a frame that has been checked, see `transform`; its columns have the names of `features_`."""
        parts = []
        if self.numeric_:
            values = _numbers(frame, self.numeric_)
            parts.append(np.where(np.isnan(values), self.medians_, values) - self.offsets_)
        if self.categories_:
            texts = _texts(frame, list(self.categories_))
            self._warn_of_unseen(texts)
            parts += [
                (texts[name].to_numpy()[:, None] == np.array(categories, object)).astype(float)
                for name, categories in self.categories_.items()
            ]
        encoded = np.hstack(parts)
        if (np.abs(encoded) > np.finfo(np.float32).max).any():
            raise PermGradError("Input contains a value too large for dtype('float32'); rescale that column")
        return encoded.astype(np.float32)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the encoded columns: ``"age"``, ``"colour=red"``, ...; `input_features` is ignored."""
        check_fitted(self)
        onehot = [f"{name}={category}" for name, categories in self.categories_.items() for category in categories]
        return np.array([*self.numeric_, *onehot], dtype=object)

    @property
    def groups_(self) -> dict[str, np.ndarray]:
        """For each varying column of the table, in its order, the positions of its encoded columns."""
        check_fitted(self)
        widths = [1] * len(self.numeric_) + [len(categories) for categories in self.categories_.values()]
        ends = np.cumsum(widths)
        owners = [*self.numeric_, *self.categories_]
        spans = {owner: np.arange(end - width, end) for owner, end, width in zip(owners, ends, widths, strict=True)}
        return {name: spans[name] for name in self.features_ if name in spans}

    def _warn_of_unseen(self, texts: pd.DataFrame) -> None:
        for name, known in self.categories_.items():
            unseen = set(texts[name].unique()) - set(known)
            if unseen and len(known) < MAX_CATEGORIES:
                warnings.warn(
                    f"{name!r} holds {listing(sorted(unseen))}, not seen in training; taken for none of its categories",
                    stacklevel=4,
                )

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers, ready for JSON."""
        check_fitted(self)
        return {
            "features": list(self.features_),
            "named": hasattr(self, "feature_names_in_"),
            "numeric": list(self.numeric_),
            "medians": list(self.medians_),
            "offsets": list(self.offsets_),
            "categories": {name: list(values) for name, values in self.categories_.items()},
            "constant": list(self.constant_),
            "missing": self.missing_,
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """Build the fitted encoder that `to_dict` described."""
        encoder = cls()
        encoder.features_ = tuple(content["features"])
        encoder.n_features_in_ = len(encoder.features_)
        if content["named"]:
            encoder.feature_names_in_ = np.array(encoder.features_, dtype=object)
        encoder.numeric_ = tuple(content["numeric"])
        encoder.medians_ = tuple(content["medians"])
        encoder.offsets_ = tuple(content["offsets"])
        encoder.categories_ = {name: tuple(values) for name, values in content["categories"].items()}
        encoder.constant_ = tuple(content["constant"])
        encoder.missing_ = content["missing"]
        if not len(encoder.numeric_) == len(encoder.medians_) == len(encoder.offsets_):
            raise PermGradError("an encoder has a median and an offset for each numeric column")
        return encoder

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "features_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def float32_offset(values: np.ndarray) -> float:
    """Return what to subtract from `values` so that float32 keeps at least 12 bits of their spread: mostly 0."""
    spread, size = np.nanmax(values) - np.nanmin(values), np.nanmax(np.abs(values))
    return float(np.nanmedian(values)) if spread < size * 2.0**-12 else 0.0


def is_number(column: pd.Series) -> bool:
    """Tell whether a column is numeric; booleans are categories."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _check_kinds(X: pd.DataFrame) -> None:
    for name, column in X.items():
        kinds = (pd.api.types.is_object_dtype, pd.api.types.is_string_dtype, pd.api.types.is_bool_dtype)
        categorical = isinstance(column.dtype, pd.CategoricalDtype) or any(kind(column) for kind in kinds)
        if not categorical and not pd.api.types.is_numeric_dtype(column):
            raise PermGradError(
                f"expected numbers, text, categories or booleans, column {name!r} is of type {column.dtype};"
                " convert it (a date to a number of days, say) or drop it"
            )


def _constant(X: pd.DataFrame) -> list[str]:
    """Return the columns that never vary; at least one must, and those that do not are warned of."""
    try:
        constant = [name for name in X.columns.tolist() if X[name].nunique(dropna=is_number(X[name])) < 2]
    except TypeError as error:
        raise PermGradError(f"expected one value per cell, a column holds lists or the like ({error})") from error
    if len(constant) == X.shape[1]:
        rows = "this 1 sample" if len(X) == 1 else f"these {len(X)} rows"
        raise PermGradError(f"no column varies in {rows}; there is nothing to learn from")
    if constant:
        warnings.warn(
            f"no information in {listing(constant)}: constant or all missing in training; ranked last, score 0",
            stacklevel=3,
        )
    return constant


def _numbers(X: pd.DataFrame, names: Any) -> np.ndarray:
    """Return the named columns as float64, (n_rows, n_names), NaN where missing."""
    if not names:
        return np.empty((len(X), 0))
    try:
        return np.column_stack([X[name].to_numpy(dtype=float, na_value=np.nan) for name in names])
    except (TypeError, ValueError) as error:
        wrong = [name for name in names if not is_number(X[name])]
        raise PermGradError(f"expected numbers as at fit, got other values in {listing(wrong)}") from error


def _texts(X: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Return the named columns as text, missing values as a category of their own."""
    columns = {name: X[name].astype(object).where(X[name].notna(), MISSING).astype(str) for name in names}
    return pd.DataFrame(columns, dtype=object)


def _frequent(column: pd.Series) -> tuple[str, ...]:
    counts = _texts(column.to_frame(), [str(column.name)])[column.name].value_counts()
    if len(counts) > MAX_CATEGORIES:
        warnings.warn(
            f"{column.name!r} has {len(counts)} categories; the {MAX_CATEGORIES} most frequent ones are used",
            stacklevel=4,
        )
    return tuple(sorted(counts.index[:MAX_CATEGORIES]))
