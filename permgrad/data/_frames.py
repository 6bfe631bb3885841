"""Frames of any kind → a pandas frame with one plain value in each cell, or an error that says what is wrong."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from permgrad.errors import PermGradError, listing


def as_named_frame(X: Any) -> pd.DataFrame:
    """Return a table of any kind as a pandas frame with names of text; an array's are x0, x1, ..."""
    if hasattr(X, "toarray"):
        raise PermGradError("expected a dense table, got a sparse matrix; pass X.toarray()")
    if isinstance(X, pd.DataFrame):
        if X.columns.nlevels > 1:
            raise PermGradError("expected one name per column, got several levels; join them first")
        return X.set_axis(X.columns.astype(str), axis=1)
    if is_arrow(X):
        import pyarrow as pa

        return pa.table(X).to_pandas()
    array = np.asarray(X)
    if array.ndim != 2:
        raise PermGradError(
            f"Expected 2D array, got {array.ndim}D array instead. Reshape your data: X.reshape(-1, 1) if it"
            " has a single feature, X.reshape(1, -1) if it is a single row."
        )
    return pd.DataFrame(array, columns=[f"x{i}" for i in range(array.shape[1])])


def is_arrow(X: Any) -> bool:
    """Tell whether something, no pandas frame, hands out its columns by Arrow's protocol, as polars and pyarrow do."""
    return hasattr(X, "__arrow_c_stream__") and not isinstance(X, (pd.DataFrame, pd.Series))


def single_values(X: pd.DataFrame) -> pd.DataFrame:
    """Return a frame with one plain value in each cell; Decimals become floats."""
    decimals = []
    for name, column in X.select_dtypes("object").items():
        kinds = set(map(type, column.dropna()))
        wrong = [
            kind.__name__ for kind in kinds if kind.__hash__ is None or issubclass(kind, (bytes, tuple, frozenset))
        ]
        if wrong:
            raise PermGradError(
                f"expected one number, text or truth value in each cell, column {name!r} holds values of type"
                f" {listing(sorted(wrong))}; split it into columns, or drop it"
            )
        if kinds and all(issubclass(kind, (Decimal, int, float)) for kind in kinds) and Decimal in kinds:
            decimals.append(name)
    return X.astype(dict.fromkeys(decimals, float)) if decimals else X


def check_shape(X: pd.DataFrame) -> None:
    """Raise for a frame without rows or columns."""
    for axis, what in enumerate(("sample", "feature")):
        if X.shape[axis] == 0:
            raise PermGradError(f"Found array with 0 {what}(s) (shape={X.shape}) while a minimum of 1 is required.")


def check_numbers(X: pd.DataFrame) -> None:
    """Raise for complex and infinite numbers."""
    numbers = X.select_dtypes("number")
    if any(np.iscomplexobj(column) for _, column in numbers.items()):
        raise PermGradError("Complex data not supported; pass real and imaginary parts as columns of their own")
    infinite = [name for name, column in numbers.items() if np.isinf(column.to_numpy(float, na_value=np.nan)).any()]
    if infinite:
        raise PermGradError(
            f"expected finite numbers, found infinity in {listing(infinite)}; replace it by a number or by NaN"
        )
