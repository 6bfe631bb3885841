"""Columns of any kind as numbers, from which ties among columns can be learned; no model is asked with them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from permgrad.data.encoding import ColumnEncoder
from permgrad.errors import listing


@dataclass(frozen=True, eq=False)
class NumericColumns:
    """A table's columns as numbers.

    Attributes
    ----------
    values : ndarray of shape (n_rows, n_numeric), float32
        None missing.
    of_column : list of ndarray
        For each of the table's columns, the positions of its own in `values`: none where nothing can be learned of it.
    notes : tuple of str
        What was simplified, in words.
    """

    values: np.ndarray
    of_column: list[np.ndarray]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, rows: Any) -> NumericColumns:
        """Take numbers as they are, and encode columns of any other kind, or with gaps, as `ColumnEncoder` does.

        Categories become a 0/1 column for each level (of many levels, rare ones share columns), dates their parts, and
        gaps the median, with a 0/1 column that marks them.

        Raises
        ------
        PermGradError
            If no column varies.
        """
        frame = pd.DataFrame(rows).infer_objects()
        if all(pd.api.types.is_numeric_dtype(kind) for kind in frame.dtypes) and not frame.isna().any(axis=None):
            return cls(frame.to_numpy(np.float32), [np.array([i]) for i in range(frame.shape[1])])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # they speak of training
            encoder = ColumnEncoder().fit(frame)
            values = encoder.transform(frame)
        at, names = encoder.groups_, encoder.features_
        return cls(values, [at.get(name, np.zeros(0, int)) for name in names], _notes(encoder, frame))

    def of_columns(self, columns: np.ndarray) -> np.ndarray:
        """Return the positions of what some of the table's columns became."""
        return np.concatenate([self.of_column[column] for column in columns])


def _notes(encoder: ColumnEncoder, frame: pd.DataFrame) -> tuple[str, ...]:
    pooled = [f"{name} ({len(encoder.categories_[name])} levels of their own)" for name in encoder.pools_]
    untold = [
        name
        for name, column in zip(encoder.features_, frame, strict=True)
        if name in encoder.constant_ and frame[column].nunique(dropna=False) > 1
    ]
    notes = []
    if pooled:
        notes.append(f"rare levels count together as one when ties among columns are learned: {', '.join(pooled)}")
    if untold:
        notes.append(
            f"nothing can be learned of ties to {listing(untold)}, whose levels are in hardly more than one row each;"
            " conditional p-values of these columns are 1"
        )
    return tuple(notes)
