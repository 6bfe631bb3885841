"""What an encoder cannot read of a table, and what it says of columns and levels that it leaves out or pools."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from permgrad.errors import PermGradError, listing


def check_kinds(X: pd.DataFrame) -> None:
    for name, column in X.items():
        kinds = (
            pd.api.types.is_object_dtype,
            pd.api.types.is_string_dtype,
            pd.api.types.is_bool_dtype,
            pd.api.types.is_datetime64_any_dtype,
        )
        categorical = isinstance(column.dtype, pd.CategoricalDtype) or any(kind(column) for kind in kinds)
        if not categorical and not pd.api.types.is_numeric_dtype(column):
            raise PermGradError(
                f"expected numbers, text, categories, booleans or dates, column {name!r} is of type {column.dtype};"
                " convert it (for example a duration to a number of days) or drop it"
            )


def is_ordered(column: pd.Series) -> bool:
    return isinstance(column.dtype, pd.CategoricalDtype) and bool(column.dtype.ordered)


def ordered_levels(column: pd.Series) -> tuple[str, ...]:
    """Return the levels of an ordered category as text, in their order."""
    levels = tuple(map(str, column.cat.categories))
    if len(set(levels)) < len(levels):
        raise PermGradError(f"levels of {column.name!r} are the same as text; rename them: {listing(levels)}")
    return levels


def check_constant(constant: list[str], rare: list[str], left_out: Mapping[str, str], X: pd.DataFrame) -> None:
    """Raise if no column is encoded, and warn of those that are not; `rare` ones hold several levels."""
    if len(constant) == X.shape[1]:
        rows = "this 1 sample" if len(X) == 1 else f"these {len(X)} rows"
        but = f", or each level is too rare: {listing(rare)}" if rare else ""
        but += "".join(f"; {name!r} is left out as {reason}" for name, reason in [*left_out.items()][:3])
        raise PermGradError(f"no column varies in {rows}{but}; there is nothing to learn from")
    for name, reason in left_out.items():
        warnings.warn(
            f"left out {name!r}: {reason}; ranked last, score 0; if that is wrong, set its kind (kinds, --as)",
            stacklevel=3,
        )
    never = [name for name in constant if name not in rare and name not in left_out]
    if never:
        warnings.warn(
            f"no information in {listing(never)}: constant or all missing in training; ranked last, score 0",
            stacklevel=3,
        )
    if rare:
        warnings.warn(
            f"no information in {listing(rare)}: each level is too rare to learn from; ranked last, score 0",
            stacklevel=3,
        )


def warn_of_pools(levels: dict[str, tuple[tuple[str, ...], dict[str, Any]]], counts: dict[str, Any]) -> None:
    for name, (kept, pools) in levels.items():
        if pools:
            warnings.warn(
                f"{name!r} has {len(counts[name])} categories; the {len(kept)} most frequent keep a column each,"
                f" {len(counts[name]) - len(kept)} are pooled by frequency",
                stacklevel=4,
            )


def warn_of_unseen(name: str, texts: list[str], place: np.ndarray, what: str) -> None:
    unseen = sorted({text for text, at in zip(texts, place, strict=True) if at < 0})
    if unseen:
        warnings.warn(f"{name!r} holds {listing(unseen)}, {what}", stacklevel=4)
