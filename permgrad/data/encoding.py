"""Columns of a table → float32 columns of a network's input, and back to their owners.

A numeric column stays one column, its missing values filled with the training median; so does an ordered category, as
the position of its level. Where enough values are missing, a 0/1 column says so. A text, category or boolean column
becomes one 0/1 column per level; of many levels, rare ones share columns with others that are about as frequent.
Columns that never vary in training carry no information and are left out.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import validate_data

from permgrad.data._levels import MISSING, counted, factorized, kept_and_pooled, places, with_missing
from permgrad.data.table import as_frame, as_given
from permgrad.errors import PermGradError, as_permgrad_error, check_fitted, listing

MIN_GAPS = 5
MIN_GAPS_SHARE = 0.01
"""Training rows, and share of them, in which a number must be missing for the network to be told of it."""
TINY = 1e-30
"""float32 ends at 1e-38, and numbers are divided by their spread."""


class ColumnEncoder(TransformerMixin, BaseEstimator):
    """Columns of any kind as float32 columns; a scikit-learn transformer.

    Encoded columns are, in this order: numbers (`numeric_`), 0/1 columns of what is missing (`gaps_`), and those of
    categories (`categories_`, `pools_`).

    Attributes
    ----------
    features_ : tuple of str
        The table's columns, in the order in which they came at fit.
    numeric_ : tuple of str
        Numeric columns and ordered categories that vary, in order.
    medians_ : tuple of float
        Training median of each of these: what fills its gaps.
    offsets_ : tuple of float
        What is taken off each of these before it becomes float32: 0, but for columns whose spread
        float32 would blur (times in seconds since 1970, say), see `float32_offset`.
    ordinals_ : dict
        Each ordered category that is encoded, with its levels as text, in the order of its dtype: a row's number is
        the position of its level, from 0.
    gaps_ : tuple of str
        Those numeric columns and ordered categories of which the network is told where they are missing: at least 1 %
        of the training rows, and 5. One may be here alone: whose values are all the same, where it has any.
    categories_ : dict
        Each categorical column that varies, with the levels, as text, that have a 0/1 column of their own: up to 30
        levels, all; of more, those in at least 4 training rows, up to 100. Missing values are a level too.
    pools_ : dict
        Each categorical column with further levels: the pools, "(in 1-3 rows)", "(in 4-7 rows)", ..., whose 0/1 column
        is shared by the other levels that are in so many training rows, rarest first. Each with its levels, but for the
        rarest: it holds all that is nowhere else, levels not seen in training among them.
    constant_ : tuple of str
        Columns that are not encoded: with at most one distinct value in training (all-missing ones too), and
        categories of which each is too rare to be told from the others.
    missing_ : dict
        Number of missing training values of each column that has any.
    groups_ : dict
        For each encoded column of the table, in its order, the positions of its encoded columns.
    n_numbers_ : int
        So many of the encoded columns, the first ones, are numbers; the others are 0/1.
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
            If no column has anything to learn from, or a column is neither numeric nor categorical (dates, say).

        Warns
        -----
        UserWarning
            Naming the columns that are left out, and those with levels that share 0/1 columns.
        """
        frame = as_frame(X)
        _check_kinds(frame)
        with as_permgrad_error():
            validate_data(self, as_given(X), skip_check_array=True)
        names = frame.columns.tolist()
        missing = {name: count for name, count in zip(names, frame.isna().sum().tolist(), strict=True) if count}
        ordinals = {name: _ordered_levels(frame[name]) for name in names if _is_ordered(frame[name])}
        numeric = dict.fromkeys(name for name in names if name in ordinals or is_number(frame[name]))
        numbers = [name for name in numeric if frame[name].nunique() > 1]
        least = max(MIN_GAPS, MIN_GAPS_SHARE * len(frame))
        gaps = [name for name in numeric if least <= missing.get(name, 0) < len(frame)]
        counts = {name: counted(frame[name]) for name in names if name not in numeric}
        levels = {name: kept_and_pooled(of_level) for name, of_level in counts.items()}
        levels = {name: (kept, pools) for name, (kept, pools) in levels.items() if len(kept) + len(pools) > 1}
        encoded = {*numbers, *gaps, *levels}
        constant = [name for name in names if name not in encoded]
        rare = [name for name in constant if len(counts.get(name, ())) > 1]
        _check_constant(constant, rare, frame)
        _warn_of_pools(levels, counts)
        self.ordinals_ = {name: ordinals[name] for name in ordinals if name in encoded}
        values = self._numbers(frame, numbers)
        _check_tiny(numbers, values)
        self.features_ = tuple(names)
        self.constant_ = tuple(constant)
        self.numeric_ = tuple(numbers)
        self.medians_ = tuple(np.nanmedian(values, axis=0).tolist())
        self.offsets_ = tuple(float32_offset(column) for column in values.T)
        self.gaps_ = tuple(gaps)
        self.categories_ = {name: kept for name, (kept, _) in levels.items()}
        self.pools_ = {name: pools for name, (_, pools) in levels.items() if pools}
        self.missing_ = missing
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Encode rows.

        Parameters
        ----------
        X : DataFrame, array of shape (n_rows, n_features), or Table
            Categories, ordered ones too, may come as text or in a dtype of other levels: names count.

        Returns
        -------
        ndarray of shape (n_rows, n_encoded_columns), float32

        Raises
        ------
        UnfittedError, PermGradError
            If a column that was numeric at fit now holds something else, or exceeds float32.

        Warns
        -----
        UserWarning
            Of categories that were not seen in training, where all those that were are kept apart: they become all
            zeros. Of names that are no level of an ordered category: they are taken for missing.
        """
        check_fitted(self)
        frame = as_frame(X)
        with as_permgrad_error():
            validate_data(self, as_given(X), reset=False, skip_check_array=True)
        return self.encode(frame.set_axis(list(self.features_), axis=1))

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """Encode rows of a frame that has been checked, see `transform`; its columns have the names of `features_`."""
        groups = self.groups_
        encoded = np.zeros((len(frame), sum(map(len, groups.values()))), np.float32)
        names = list(dict.fromkeys([*self.numeric_, *self.gaps_]))
        at = {name: i for i, name in enumerate(names)}
        values = self._numbers(frame, names, warn=True)
        missing = np.isnan(values)
        n = self.n_numbers_
        numbers = np.where(missing[:, :n], self.medians_, values[:, :n]) - self.offsets_
        if (np.abs(numbers) > np.finfo(np.float32).max).any():
            raise PermGradError("Input contains a value too large for dtype('float32'); rescale that column")
        encoded[:, :n] = numbers
        encoded[:, n : n + len(self.gaps_)] = missing[:, [at[name] for name in self.gaps_]]
        rows = np.arange(len(frame))
        for name, kept in self.categories_.items():
            codes, texts = with_missing(frame[name])
            place = places(texts, kept, self.pools_.get(name, {}))
            _warn_of_unseen(name, texts, place, "not seen in training; taken for none of its categories")
            place = place[codes]
            known = place >= 0
            encoded[rows[known], groups[name][0] + place[known]] = 1
        return encoded

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the encoded columns; `input_features` is ignored.

        They are ``"age"``, ``"age=(missing)"``, ``"colour=red"``, ``"zip=(in 1-3 rows)"``, ...
        """
        check_fitted(self)
        told = [f"{name}={MISSING}" for name in self.gaps_]
        onehot = [f"{name}={level}" for name in self.categories_ for level in self._levels_of(name)]
        return np.array([*self.numeric_, *told, *onehot], dtype=object)

    @property
    def groups_(self) -> dict[str, np.ndarray]:
        """For each encoded column of the table, in its order, the positions of its encoded columns."""
        check_fitted(self)
        owners = [*self.numeric_, *self.gaps_]
        owners += [name for name in self.categories_ for _ in self._levels_of(name)]
        positions: dict[str, list[int]] = {}
        for position, owner in enumerate(owners):
            positions.setdefault(owner, []).append(position)
        return {name: np.array(positions[name]) for name in self.features_ if name in positions}

    @property
    def n_numbers_(self) -> int:
        """So many of the encoded columns, the first ones, are numbers; the others are 0/1."""
        check_fitted(self)
        return len(self.numeric_)

    def _levels_of(self, name: str) -> list[str]:
        """Return what each 0/1 column of a categorical column stands for."""
        return [*self.categories_[name], *self.pools_.get(name, ())]

    def _numbers(self, frame: pd.DataFrame, names: Sequence[str], *, warn: bool = False) -> np.ndarray:
        """Return the named columns as float64, (n_rows, n_names), NaN where missing; of ordinals, positions."""
        values = np.empty((len(frame), len(names)))
        wrong = []
        for i, name in enumerate(names):
            if name in self.ordinals_:
                codes, texts = factorized(frame[name])
                place = places(texts, self.ordinals_[name], {})
                if warn:
                    levels = listing(self.ordinals_[name])
                    _warn_of_unseen(name, texts, place, f"none of its levels, {levels}; taken for missing")
                values[:, i] = np.append(np.where(place < 0, np.nan, place), np.nan)[codes]  # missing: the last one
                continue
            try:
                values[:, i] = frame[name].to_numpy(dtype=float, na_value=np.nan)
            except (TypeError, ValueError):
                wrong.append(name)
        if wrong:
            raise PermGradError(f"expected numbers as at fit, got other values in {listing(wrong)}")
        return values

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers, ready for JSON."""
        check_fitted(self)
        return {
            "features": list(self.features_),
            "named": hasattr(self, "feature_names_in_"),
            "numeric": list(self.numeric_),
            "medians": list(self.medians_),
            "offsets": list(self.offsets_),
            "ordinals": {name: list(levels) for name, levels in self.ordinals_.items()},
            "gaps": list(self.gaps_),
            "categories": {name: list(levels) for name, levels in self.categories_.items()},
            "pools": {
                name: {pool: list(levels) for pool, levels in pools.items()} for name, pools in self.pools_.items()
            },
            "constant": list(self.constant_),
            "missing": self.missing_,
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """Build the fitted encoder that `to_dict` described.

        Raises
        ------
        PermGradError, KeyError, TypeError, AttributeError
            If that is no such description.
        """
        encoder = cls()
        encoder.features_ = _names(content["features"])
        encoder.n_features_in_ = len(encoder.features_)
        if content["named"]:
            encoder.feature_names_in_ = np.array(encoder.features_, dtype=object)
        encoder.numeric_ = _names(content["numeric"])
        encoder.medians_ = tuple(content["medians"])
        encoder.offsets_ = tuple(content["offsets"])
        encoder.ordinals_ = {name: _names(levels) for name, levels in content["ordinals"].items()}
        encoder.gaps_ = _names(content["gaps"])
        encoder.categories_ = {name: _names(levels) for name, levels in content["categories"].items()}
        encoder.pools_ = {
            name: {pool: _names(levels) for pool, levels in pools.items()} for name, pools in content["pools"].items()
        }
        encoder.constant_ = _names(content["constant"])
        encoder.missing_ = {name: int(count) for name, count in content["missing"].items()}
        encoder._check()
        return encoder

    def _check(self) -> None:
        """Raise `PermGradError` where what was read does not fit together."""
        numbers, told = {*self.numeric_, *self.gaps_}, {*self.numeric_, *self.gaps_, *self.categories_}
        if not len(self.numeric_) == len(self.medians_) == len(self.offsets_):
            raise PermGradError("an encoder has a median and an offset for each numeric column")
        if not np.isfinite(np.array([self.medians_, self.offsets_], float)).all():
            raise PermGradError("medians and offsets of an encoder are finite numbers")
        if (
            numbers & {*self.categories_}
            or not {*self.ordinals_} <= numbers
            or not {*self.pools_} <= {*self.categories_}
        ):
            raise PermGradError("each column of an encoder is of one kind")
        if told & {*self.constant_} or told | {*self.constant_} != {*self.features_} or not told:
            raise PermGradError("an encoder knows each of its columns, and encodes at least one")
        if not {*self.missing_} <= {*self.features_}:
            raise PermGradError("an encoder counts what is missing of its own columns")
        for name, kept in self.categories_.items():
            pools = self.pools_.get(name, {})
            rarest, *others = [*pools.values()] or [()]
            _names([*kept, *(level for levels in others for level in levels)])
            if rarest or len(kept) + len(pools) < 2 or (name in self.pools_ and not pools):
                raise PermGradError(
                    "a categorical column has two 0/1 columns or more, and its rarest pool lists no level"
                )

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


def _is_ordered(column: pd.Series) -> bool:
    return isinstance(column.dtype, pd.CategoricalDtype) and bool(column.dtype.ordered)


def _ordered_levels(column: pd.Series) -> tuple[str, ...]:
    """Return the levels of an ordered category as text, in their order."""
    levels = tuple(map(str, column.cat.categories))
    if len(set(levels)) < len(levels):
        raise PermGradError(f"levels of {column.name!r} are the same as text; rename them: {listing(levels)}")
    return levels


def _check_constant(constant: list[str], rare: list[str], X: pd.DataFrame) -> None:
    """Raise if all columns are left out, and warn of those that are; `rare` ones hold several levels."""
    if len(constant) == X.shape[1]:
        rows = "this 1 sample" if len(X) == 1 else f"these {len(X)} rows"
        but = f", or each level is too rare: {listing(rare)}" if rare else ""
        raise PermGradError(f"no column varies in {rows}{but}; there is nothing to learn from")
    never = [name for name in constant if name not in rare]
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


def _check_tiny(names: list[str], values: np.ndarray) -> None:
    tiny = [name for name, column in zip(names, values.T, strict=True) if np.nanmax(np.abs(column)) < TINY]
    if tiny:
        raise PermGradError(
            f"the values of {listing(tiny)} are below {TINY:.0e}, too small for float32; give them in another unit"
        )


def _warn_of_pools(levels: dict[str, tuple[tuple[str, ...], dict[str, Any]]], counts: dict[str, Any]) -> None:
    for name, (kept, pools) in levels.items():
        if pools:
            warnings.warn(
                f"{name!r} has {len(counts[name])} categories; the {len(kept)} most frequent ones are kept apart,"
                f" {len(counts[name]) - len(kept)} are pooled by how often they occur",
                stacklevel=3,
            )


def _warn_of_unseen(name: str, texts: list[str], place: np.ndarray, what: str) -> None:
    unseen = sorted({text for text, at in zip(texts, place, strict=True) if at < 0})
    if unseen:
        warnings.warn(f"{name!r} holds {listing(unseen)}, {what}", stacklevel=4)


def _names(values: Any) -> tuple[str, ...]:
    """Return names that were read, if they are names, and differ."""
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise PermGradError(f"an encoder has lists of names, got {listing([values])}")
    if len(set(values)) < len(values):
        raise PermGradError(f"names in an encoder's lists differ, got {listing(values)}")
    return tuple(values)
