"""What columns and a target must be, wherever they come from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd
from sklearn.utils import column_or_1d

from permgrad.data._frames import single_values
from permgrad.errors import PermGradError, as_permgrad_error, listing


def check_complete(y: pd.Series) -> None:
    """Raise if a target is missing in some rows."""
    missing = int(y.isna().sum())
    if missing:
        raise PermGradError(f"the target {y.name!r} is missing in {missing} of {len(y)} rows; drop those rows first")


def check_columns(given: Iterable[str], expected: Iterable[str], what: str) -> None:
    """Raise `PermGradError`, naming the difference, unless `what` has the expected columns in their order."""
    given, expected = list(given), list(expected)
    if given == expected:
        return
    absent, extra = sorted(set(expected) - set(given)), sorted(set(given) - set(expected))
    if not absent and not extra:
        raise PermGradError(f"{what} has the expected columns in another order; they must be {listing(expected)}")
    raise PermGradError(
        f"{what} must have the expected columns in their order;"
        f" absent: {listing(absent) or 'none'}; not expected: {listing(extra) or 'none'}"
    )


def check_numeric(frame: pd.DataFrame) -> None:
    """Raise `PermGradError`, naming them, if some columns are no numbers, or hold missing ones."""
    usable = [pd.api.types.is_numeric_dtype(kind) for kind in frame.infer_objects().dtypes]
    unusable = [name for i, name in enumerate(frame) if not usable[i] or frame.iloc[:, i].isna().any()]
    if unusable:
        raise PermGradError(f"expected numeric columns without missing values; these are not: {listing(unusable)}")


def as_target(y: Any) -> pd.Series:
    """Return `y` as a Series of plain rows 0, 1, ... with a name ("target" if it has none).

    Raises
    ------
    PermGradError
        If `y` has more than one column.
    """
    if not isinstance(y, pd.Series) and hasattr(y, "to_pandas"):  # polars, pyarrow
        y = y.to_pandas()
    if not isinstance(y, pd.Series):
        if getattr(getattr(y, "dtype", None), "kind", "") == "S":
            raise PermGradError("the target holds bytes; decode them to text: y.astype(str)")
        with as_permgrad_error():
            y = pd.Series(column_or_1d(y, warn=True))
    y = y.rename("target" if y.name is None else y.name).reset_index(drop=True).infer_objects()
    return single_values(y.to_frame()).iloc[:, 0]


def check_named(names: Iterable[str], known: Iterable[str], what: str) -> None:
    """Raise `PermGradError`, naming them, unless all `names` are among the `known` columns."""
    known = list(known)
    absent = sorted(set(names) - set(known))
    if absent:
        raise PermGradError(f"{what} must name columns; there is no {listing(absent)} among {listing(known)}")
