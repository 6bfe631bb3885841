"""Columns of a table → float32 columns of a network's input, and back to their owners.

A numeric column stays one column, its missing values filled with the training median. A text,
category or boolean column becomes one 0/1 column per category.
Columns that never vary in training carry no information and are left out.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

from permgrad.data.table import as_frame
from permgrad.errors import PermGradError, listing

MAX_CATEGORIES = 30
"""Categories of one column that get a network column of their own: the most frequent ones."""
MISSING = "(missing)"


@dataclass(frozen=True, eq=False)
class ColumnEncoder:
    """A fitted encoding; build it with `ColumnEncoder.fit`.

    Attributes
    ----------
    features : tuple of str
        The table's columns, in the order in which they came at fit.
    numeric : tuple of str
        Numeric columns that vary, in order.
    medians : tuple of float
        Training median of each numeric column: what fills its gaps.
    offsets : tuple of float
        What is taken off each numeric column before it becomes float32: 0, but for columns whose spread
        float32 would blur (times in seconds since 1970, say), see `float32_offset`.
    categories : dict
        Each categorical column that varies, with its categories as text.
    constant : tuple of str
        Columns with at most one distinct value in training (all-missing ones too): not encoded.
    missing : dict
        Number of missing training values of each column that has any.
    """

    features: tuple[str, ...]
    numeric: tuple[str, ...]
    medians: tuple[float, ...]
    offsets: tuple[float, ...]
    categories: dict[str, tuple[str, ...]]
    constant: tuple[str, ...]
    missing: dict[str, int]

    @classmethod
    def fit(cls, X: pd.DataFrame) -> ColumnEncoder:
        """Learn medians and categories from training rows.

        Raises
        ------
        PermGradError
            If no column varies, or a column is neither numeric nor categorical (dates, say).

        Warns
        -----
        UserWarning
            Naming the columns that never vary, and text columns with more than 30 categories.
        """
        X = as_frame(X)
        _check_kinds(X)
        names = X.columns.tolist()
        try:
            constant = tuple(name for name in names if X[name].nunique(dropna=is_number(X[name])) < 2)
        except TypeError as error:
            raise PermGradError(f"expected one value per cell, a column holds lists or the like ({error})") from error
        if len(constant) == X.shape[1]:
            raise PermGradError(f"no column varies in these {len(X)} rows; there is nothing to learn from")
        if constant:
            warnings.warn(
                f"no information in {listing(constant)}: constant or all missing in training; ranked last, score 0",
                stacklevel=2,
            )
        varying = X.drop(columns=list(constant))
        numbers = [name for name in varying.columns.tolist() if is_number(varying[name])]
        imputer = SimpleImputer(strategy="median").fit(_numbers(varying, numbers)) if numbers else None
        return cls(
            features=tuple(names),
            numeric=tuple(numbers),
            medians=tuple(imputer.statistics_.tolist()) if imputer else (),
            offsets=tuple(float32_offset(values) for values in _numbers(varying, numbers).T) if numbers else (),
            categories={name: _frequent(X[name]) for name in names if name not in (*numbers, *constant)},
            constant=constant,
            missing={name: int(X[name].isna().sum()) for name in names if X[name].hasnans},
        )

    @property
    def columns(self) -> list[str]:
        """Names of the encoded columns: ``"age"``, ``"colour=red"``, ..."""
        return [*self.numeric, *(self._onehot.get_feature_names_out() if self.categories else ())]

    @property
    def groups(self) -> dict[str, np.ndarray]:
        """For each varying column of the table, in its order, the positions of its encoded columns."""
        widths = [1] * len(self.numeric) + [len(values) for values in self.categories.values()]
        ends = np.cumsum(widths)
        owners = [*self.numeric, *self.categories]
        spans = {owner: np.arange(end - width, end) for owner, end, width in zip(owners, ends, widths, strict=True)}
        return {name: spans[name] for name in self.features if name in spans}

    def transform(self, X: pd.DataFrame) -> np.ndarray:
        """Encode rows; a category not seen in training becomes all zeros, with a warning.

        Returns
        -------
        ndarray of shape (n_rows, n_encoded_columns), float32

        Raises
        ------
        PermGradError
            If a column that was numeric at fit now holds something else, or exceeds float32.
        """
        parts = []
        if self.numeric:
            # A table of one row, the medians, has those medians: scikit-learn's imputer is restored by refitting.
            imputer = SimpleImputer(strategy="median").fit(np.array([self.medians]))
            parts.append(imputer.transform(_numbers(X, self.numeric)) - self.offsets)
        if self.categories:
            texts = _texts(X, list(self.categories))
            self._warn_of_unseen(texts)
            parts.append(self._onehot.transform(texts))
        encoded = np.hstack(parts)
        if (np.abs(encoded) > np.finfo(np.float32).max).any():
            raise PermGradError("Input contains a value too large for dtype('float32'); rescale that column")
        return encoded.astype(np.float32)

    def _warn_of_unseen(self, texts: pd.DataFrame) -> None:
        for name, known in self.categories.items():
            unseen = set(texts[name].unique()) - set(known)
            if unseen and len(known) < MAX_CATEGORIES:
                warnings.warn(
                    f"{name!r} holds {listing(sorted(unseen))}, not seen in training; taken for none of its categories",
                    stacklevel=3,
                )

    @property
    def _onehot(self) -> OneHotEncoder:
        # Restored from its categories, as scikit-learn's own parameter: nothing fitted needs to be saved.
        first = pd.DataFrame({name: [values[0]] for name, values in self.categories.items()}, dtype=object)
        encoder = OneHotEncoder(
            categories=[np.array(values, dtype=object) for values in self.categories.values()],
            handle_unknown="ignore",
            sparse_output=False,
            feature_name_combiner=lambda feature, category: f"{feature}={category}",
        )
        return encoder.fit(first)

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers, ready for JSON."""
        return {
            "features": list(self.features),
            "numeric": list(self.numeric),
            "medians": list(self.medians),
            "offsets": list(self.offsets),
            "categories": {name: list(values) for name, values in self.categories.items()},
            "constant": list(self.constant),
            "missing": self.missing,
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> ColumnEncoder:
        """Build the encoder that `to_dict` described."""
        return cls(
            features=tuple(content["features"]),
            numeric=tuple(content["numeric"]),
            medians=tuple(content["medians"]),
            offsets=tuple(content["offsets"]),
            categories={name: tuple(values) for name, values in content["categories"].items()},
            constant=tuple(content["constant"]),
            missing=content["missing"],
        )


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


def _numbers(X: pd.DataFrame, names: Any) -> np.ndarray:
    """Return the named columns as float64, NaN where missing."""
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
