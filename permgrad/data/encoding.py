"""Columns of a table → float32 columns of a network's input, and back to their owners.

A numeric column stays one column, its missing values filled with the training median; so does an ordered category, as
the position of its level. A date becomes those of its parts that vary. Where enough values are missing, a 0/1 column
says so. A text, category or boolean column becomes one 0/1 column per level; of many levels, rare ones share columns
with others that are about as frequent. Columns that never vary in training carry no information and are left out, and
so are identifiers and free text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import validate_data

from permgrad.data._dates import PARTS, date_parts
from permgrad.data._encoder_checks import (
    check_constant,
    check_kinds,
    is_ordered,
    ordered_levels,
    warn_of_pools,
    warn_of_unseen,
)
from permgrad.data._encoder_file import EncoderFile
from permgrad.data._kinds import TextRule, blanks_to_missing, cleaned, dates_of, level_texts, numbers_of, tells_nothing
from permgrad.data._levels import MISSING, counted, factorized, kept_and_pooled, places, with_missing
from permgrad.data.float32 import check_float32, float32_offset
from permgrad.data.table import Table, as_frame, as_given
from permgrad.errors import PermGradError, as_permgrad_error, check_fitted, listing

MIN_GAPS = 5
MIN_GAPS_SHARE = 0.01
"""Training rows, and share of them, in which a number must be missing for the network to be told of it."""


class ColumnEncoder(TransformerMixin, EncoderFile, BaseEstimator):
    """Encode columns of any kind as float32 columns; a scikit-learn transformer.

    Encoded columns are, in this order: numbers (`numeric_`), parts of dates (`dates_`), 0/1 columns that mark missing
    values (`gaps_`), and 0/1 columns of categories (`categories_`, `pools_`). Text that was read as numbers or dates at
    fit is read in the same way later.

    Attributes
    ----------
    features_ : tuple of str
        The table's columns, in the order in which they came at fit.
    numeric_ : tuple of str
        Numeric columns and ordered categories that vary, in order.
    dates_ : dict
        Each date that varies, with its parts that vary: "days" since the first date in training, "year", "month",
        "weekday" (0 is Monday), "hour". Together they are one column of the table, and ranked as one.
    origins_ : dict
        The first training date of each of these, as text (ISO 8601).
    medians_ : tuple of float
        Training median of each number and of each part of a date, in this order: it replaces missing values.
    ranges_ : dict
        Lowest and highest training value of each of `numeric_`; of an ordered category, positions of levels. First and
        last training date of each of `dates_`, as text (ISO 8601).
    offsets_ : tuple of float
        Constant that is subtracted from each of these before it becomes float32: 0, except for columns for which
        float32 is too coarse (such as times in seconds since 1970), see `float32_offset`.
    ordinals_ : dict
        Each ordered category that is encoded, with its levels as text, in the order of its dtype: the number of a row
        is the position of its level, counted from 0.
    gaps_ : tuple of str
        Numeric columns, ordered categories and dates whose missing values have a 0/1 column: those that are missing in
        at least 1 % of the training rows, and in at least 5. A column that is otherwise constant may be here only.
    categories_ : dict
        Each categorical column that varies, with the levels, as text, that have their own 0/1 column: all of up to 30
        levels; of more levels, those in at least 4 training rows, up to 100. Missing values are a level too.
    pools_ : dict
        Each categorical column with further levels: the pools, "(in 1-3 rows)", "(in 4-7 rows)", ..., whose 0/1 column
        is shared by the other levels that are in so many training rows, rarest first. Each with its levels, but for the
        rarest: it holds all that is nowhere else, levels not seen in training among them.
    constant_ : tuple of str
        Columns that are not encoded: those with at most one distinct value in training (including all-missing ones),
        those whose categories are all too rare, and those of `left_out_`.
    left_out_ : dict
        Identifiers and columns of free text, with the reason for each.
    rules_ : dict
        Each column of text that holds numbers or dates, with the `TextRule` by which it is read.
    missing_ : dict
        Number of missing training values, for each column that has any.
    groups_ : dict
        For each column of the table that is encoded, in the table's order, the positions of its encoded columns.
    n_numbers_ : int
        Number of encoded columns, the first ones, that are numbers and parts of dates; the others are 0/1.

    Examples
    --------
    >>> rows = pd.DataFrame({"age": [20, 30, None], "colour": ["red", "blue", "red"]})
    >>> encoder = pg.ColumnEncoder().fit(rows)
    >>> encoder.get_feature_names_out().tolist()
    ['age', 'colour=blue', 'colour=red']
    >>> encoder.transform(rows)
    array([[20.,  0.,  1.],
           [30.,  1.,  0.],
           [25.,  0.,  1.]], dtype=float32)
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
            If no column holds anything to learn from, or the type of a column is not supported.

        Warns
        -----
        UserWarning
            If columns are left out, or levels share 0/1 columns. The message names the columns.

        Examples
        --------
        >>> pg.ColumnEncoder().fit(pd.DataFrame({"size": [1.5, 2.5]})).medians_
        (2.0,)
        """
        frame, rules = _cleaned(X)
        check_kinds(frame)
        with as_permgrad_error():
            validate_data(self, as_given(X), skip_check_array=True)
        names = frame.columns.tolist()
        missing = {name: count for name, count in zip(names, frame.isna().sum().tolist(), strict=True) if count}
        left_out = {name: reason for name in names if (reason := tells_nothing(name, frame[name]))}
        told = [name for name in names if name not in left_out]
        ordinals = {name: ordered_levels(frame[name]) for name in told if is_ordered(frame[name])}
        dates = [name for name in told if pd.api.types.is_datetime64_any_dtype(frame[name].dtype)]
        numeric = [name for name in told if name in ordinals or is_number(frame[name])]
        numbers = [name for name in numeric if frame[name].nunique() > 1]
        least = max(MIN_GAPS, MIN_GAPS_SHARE * len(frame))
        gaps = [name for name in [*numeric, *dates] if least <= missing.get(name, 0) < len(frame)]
        others = {*numeric, *dates}
        categories = [name for name in told if name not in others]
        levels, rare = _levels(frame, categories)
        self.rules_ = rules
        self._fit_dates(frame, dates)
        encoded = {*numbers, *self.dates_, *gaps, *levels}
        constant = [name for name in names if name not in encoded]
        check_constant(constant, rare, left_out, frame)
        self.ordinals_ = {name: ordinals[name] for name in ordinals if name in encoded}
        self.features_ = tuple(names)
        self.numeric_ = tuple(numbers)
        values = self._all_numbers(frame)
        check_float32([*numbers, *(name for name, parts in self.dates_.items() for _ in parts)], values)
        self.constant_ = tuple(constant)
        self.left_out_ = left_out
        self.medians_ = tuple(np.nanmedian(values, axis=0).tolist())
        self.offsets_ = tuple(float32_offset(column) for column in values.T)
        ends = zip(np.nanmin(values, axis=0).tolist(), np.nanmax(values, axis=0).tolist(), strict=True)
        self.ranges_: dict[str, tuple[Any, Any]] = dict(zip(numbers, ends, strict=False))
        self.ranges_ |= {name: (first, frame[name].max().isoformat()) for name, first in self.origins_.items()}
        self.gaps_ = tuple(gaps)
        self.categories_ = {name: kept for name, (kept, _) in levels.items()}
        self.pools_ = {name: pools for name, (_, pools) in levels.items() if pools}
        self.missing_ = missing
        return self

    def _fit_dates(self, frame: pd.DataFrame, names: Iterable[str]) -> None:
        """Learn each date's first day, and which of its parts vary."""
        self.dates_: dict[str, tuple[str, ...]] = {}
        self.origins_: dict[str, str] = {}
        for name in names:
            if frame[name].nunique() < 2:
                continue
            origin = frame[name].min()
            parts = date_parts(frame[name], origin)
            self.dates_[name] = tuple(part for part in PARTS if len(np.unique(parts[part][~np.isnan(parts[part])])) > 1)
            self.origins_[name] = origin.isoformat()

    def transform(self, X: Any) -> np.ndarray:
        """Encode rows.

        Parameters
        ----------
        X : DataFrame, array of shape (n_rows, n_features), or Table
            Categories, ordered ones too, may come as text or with other levels in their dtype: only names matter.

        Returns
        -------
        ndarray of shape (n_rows, n_encoded_columns), float32

        Raises
        ------
        UnfittedError, PermGradError
            If a column that was numeric at fit holds something else now, or exceeds float32.

        Warns
        -----
        UserWarning
            If a category was not seen in training, and no pool takes it: its columns are all zero. If a name is not a
            level of an ordered category: it is treated as missing.

        Examples
        --------
        >>> encoder = pg.ColumnEncoder().fit(pd.DataFrame({"age": [20.0, 30.0, 40.0]}))
        >>> encoder.transform(pd.DataFrame({"age": [25.0, None]}))
        array([[25.],
               [30.]], dtype=float32)
        """
        check_fitted(self)
        frame = as_frame(X)
        with as_permgrad_error():
            validate_data(self, as_given(X), reset=False, skip_check_array=True)
        return self.encode(frame.set_axis(list(self.features_), axis=1))

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """Encode rows of a frame that has been checked, see `transform`; its columns have the names of `features_`.

        Examples
        --------
        >>> clf.encoder_.encode(test.X).shape
        (30, 4)
        """
        groups = self.groups_
        encoded = np.zeros((len(frame), sum(map(len, groups.values()))), np.float32)
        values = self._all_numbers(frame, warn=True)
        n = self.n_numbers_
        numbers = np.where(np.isnan(values), self.medians_, values) - self.offsets_
        if (np.abs(numbers) > np.finfo(np.float32).max).any():
            raise PermGradError("Input contains a value too large for dtype('float32'); rescale that column")
        encoded[:, :n] = numbers
        encoded[:, n : n + len(self.gaps_)] = self._missing(frame, values)
        rows = np.arange(len(frame))
        for name, kept in self.categories_.items():
            codes, texts = with_missing(level_texts(blanks_to_missing(frame[name])))
            place = places(texts, kept, self.pools_.get(name, {}))
            warn_of_unseen(name, texts, place, "not seen in training; taken for none of its categories")
            place = place[codes]
            known = place >= 0
            encoded[rows[known], groups[name][0] + place[known]] = 1
        return encoded

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the encoded columns; `input_features` is ignored.

        Names look like ``"age"``, ``"signup (month)"``, ``"age=(missing)"``, ``"colour=red"``, ``"zip=(in 1-3 rows)"``.
        If two would be equal, because a column is itself called "colour=red", later ones are numbered.

        Examples
        --------
        >>> encoder = pg.ColumnEncoder().fit(pd.DataFrame({"age": [20, 30], "colour": ["red", "blue"]}))
        >>> encoder.get_feature_names_out().tolist()
        ['age', 'colour=blue', 'colour=red']
        """
        check_fitted(self)
        dates = [f"{name} ({part})" for name, parts in self.dates_.items() for part in parts]
        told = [f"{name}={MISSING}" for name in self.gaps_]
        onehot = [f"{name}={level}" for name in self.categories_ for level in self._levels_of(name)]
        return np.array(_told_apart([*self.numeric_, *dates, *told, *onehot]), dtype=object)

    @property
    def groups_(self) -> dict[str, np.ndarray]:
        """For each encoded column of the table, in its order, the positions of its encoded columns."""
        check_fitted(self)
        owners = [*self._number_owners(), *self.gaps_]
        owners += [name for name in self.categories_ for _ in self._levels_of(name)]
        positions: dict[str, list[int]] = {}
        for position, owner in enumerate(owners):
            positions.setdefault(owner, []).append(position)
        return {name: np.array(positions[name]) for name in self.features_ if name in positions}

    @property
    def n_numbers_(self) -> int:
        """So many of the encoded columns, the first ones, are numbers and parts of dates; the others are 0/1."""
        check_fitted(self)
        return len(self._number_owners())

    def number_gaps(self, frame: pd.DataFrame) -> np.ndarray:
        """Return where numbers or dates are missing, bool of shape ``(n_rows, n_numbers_)``; names as for `encode`.

        Examples
        --------
        >>> encoder = pg.ColumnEncoder().fit(pd.DataFrame({"age": [20.0, 30.0]}))
        >>> encoder.number_gaps(pd.DataFrame({"age": [25.0, None]})).tolist()
        [[False], [True]]
        """
        return np.isnan(self._all_numbers(frame))

    def readable(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the columns as they are read: numbers and dates as such, texts that mean "missing" as missing.

        Examples
        --------
        >>> encoder = pg.ColumnEncoder().fit(pd.DataFrame({"age": ["20", "30"]}))
        >>> encoder.readable(pd.DataFrame({"age": ["25"]}))["age"].tolist()
        [25.0]
        """
        numbers = [name for name in (*self.numeric_, *self.gaps_) if name not in {*self.ordinals_, *self.dates_}]
        dates = {*self.dates_, *(name for name, rule in self.rules_.items() if rule.kind == "date")}
        columns: dict[str, Any] = {}
        for name in self.features_:
            if name in dates:
                columns[name] = dates_of(frame[name], self.rules_.get(name), name)
            elif name in numbers:
                columns[name] = numbers_of(frame[name], self.rules_.get(name))
            else:
                columns[name] = blanks_to_missing(frame[name])
        return pd.DataFrame(columns, index=frame.index)

    def _all_numbers(self, frame: pd.DataFrame, *, warn: bool = False) -> np.ndarray:
        """Return numbers and parts of dates as float64, ``(n_rows, n_numbers_)``, NaN where missing."""
        numbers = self._numbers(frame, self.numeric_, warn=warn)
        parts = []
        for name, kept in self.dates_.items():
            of_date = date_parts(dates_of(frame[name], self.rules_.get(name), name), pd.Timestamp(self.origins_[name]))
            parts += [of_date[part] for part in kept]
        return np.column_stack([numbers, *parts]) if parts else numbers

    def _missing(self, frame: pd.DataFrame, values: np.ndarray) -> np.ndarray:
        """Return where each column of `gaps_` is missing, given `_all_numbers`."""
        at = {name: i for i, name in reversed([*enumerate(self._number_owners())])}
        beside = [name for name in self.gaps_ if name not in at]  # those that have one value, where they have any
        dates = [name for name in beside if pd.api.types.is_datetime64_any_dtype(frame[name].dtype)]
        others = self._numbers(frame, [name for name in beside if name not in dates])
        known = {name: np.isnan(values[:, at[name]]) for name in self.gaps_ if name in at}
        known |= {name: frame[name].isna().to_numpy() for name in dates}
        known |= dict(zip([name for name in beside if name not in dates], np.isnan(others).T, strict=True))
        return np.column_stack([known[name] for name in self.gaps_]) if self.gaps_ else np.zeros((len(frame), 0))

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
                    warn_of_unseen(name, texts, place, f"none of its levels, {levels}; treated as missing")
                values[:, i] = np.append(np.where(place < 0, np.nan, place), np.nan)[codes]  # missing: the last one
                continue
            try:
                values[:, i] = numbers_of(frame[name], self.rules_.get(name))
            except (TypeError, ValueError):
                wrong.append(name)
        if wrong:
            raise PermGradError(f"expected numbers as at fit, got other values in {listing(wrong)}")
        return values

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "features_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def is_number(column: pd.Series) -> bool:
    """Tell whether a column is numeric; booleans are categories."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _cleaned(X: Any) -> tuple[pd.DataFrame, dict[str, TextRule]]:
    """Return a frame of numbers, dates and categories, and how its texts were read."""
    if isinstance(X, Table):
        return X.X, dict(X.rules)
    clean = cleaned(as_frame(X))
    return clean.frame, clean.rules


def _levels(
    frame: pd.DataFrame, names: Sequence[str]
) -> tuple[dict[str, tuple[tuple[str, ...], dict[str, tuple[str, ...]]]], list[str]]:
    """Return the levels of each category that are kept apart and pooled, and categories of which all are too rare."""
    counts = {name: counted(level_texts(frame[name])) for name in names}
    levels = {name: kept_and_pooled(of_level) for name, of_level in counts.items()}
    levels = {name: (kept, pools) for name, (kept, pools) in levels.items() if len(kept) + len(pools) > 1}
    warn_of_pools(levels, counts)
    return levels, [name for name in names if name not in levels and len(counts[name]) > 1]


def _told_apart(names: Sequence[str]) -> list[str]:
    """Return names of which no two are the same: the second and further ones have a number behind them."""
    taken: set[str] = set()
    own = set(names)
    apart = []
    for name in names:
        new, number = name, 2
        while new in taken or (new != name and new in own):
            new, number = f"{name} ({number})", number + 1
        taken.add(new)
        apart.append(new)
    return apart
