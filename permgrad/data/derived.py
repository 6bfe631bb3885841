"""Derived columns: products and ratios of a table's columns, from a declared list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

from permgrad.data.checks import check_columns
from permgrad.data.table import as_frame
from permgrad.errors import PermGradError, listing


class DerivedColumns(TransformerMixin, BaseEstimator):
    """Keep some columns of a table, and add products and ratios of columns. A scikit-learn transformer.

    Each row is computed from its own values. Nothing but the column names is learned from the data, so test rows
    cannot leak into training rows.

    Parameters
    ----------
    products : mapping of str to sequence of str
        Name of the new column → names of the columns that are multiplied.
    ratios : mapping of str to (str, str)
        Name of the new column → numerator and denominator.
    keep : sequence of str, optional
        Columns to keep, in this order; by default all.

    Attributes
    ----------
    feature_names_in_ : ndarray of str
        Columns of the table at `fit`.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"smoothness": [0.1, 0.2], "radius": [10.0, 20.0]})
    >>> pg.DerivedColumns(products={"rough_size": ("smoothness", "radius")}, keep=["radius"]).fit_transform(table)
       radius  rough_size
    0    10.0         1.0
    1    20.0         4.0
    """

    def __init__(
        self,
        products: Mapping[str, Sequence[str]] | None = None,
        ratios: Mapping[str, Sequence[str]] | None = None,
        keep: Sequence[str] | None = None,
    ) -> None:
        self.products = products
        self.ratios = ratios
        self.keep = keep

    def fit(self, X: Any, y: Any = None) -> DerivedColumns:
        """Check that the new columns can be computed from the table's columns.

        Raises
        ------
        PermGradError
            If columns are absent or not numeric, a name is given twice, or a ratio does not have two columns.

        Examples
        --------
        >>> ratio = pg.DerivedColumns(ratios={"shape": ("petal length (cm)", "petal width (cm)")})
        >>> ratio.fit(table.X).feature_names_in_[0]
        'sepal length (cm)'
        """
        frame = as_frame(X)
        used = self._used()
        absent = [name for name in dict.fromkeys([*self._kept(frame), *used]) if name not in frame.columns]
        if absent:
            raise PermGradError(f"no column {listing(absent)} in the table; its columns are {listing(frame, 12)}")
        texts = [name for name in dict.fromkeys(used) if not pd.api.types.is_numeric_dtype(frame[name])]
        if texts:
            raise PermGradError(f"products and ratios need numeric columns, {listing(texts)} hold something else")
        names = self._names(frame)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise PermGradError(f"each column needs a name of its own, {listing(twice)} is given more than once")
        self.feature_names_in_ = np.array(frame.columns, dtype=object)
        self.n_features_in_ = frame.shape[1]
        return self

    def transform(self, X: Any) -> pd.DataFrame:
        """Compute the columns: kept ones, then products, then ratios.

        Returns
        -------
        DataFrame of shape (n_rows, n_kept + n_products + n_ratios), with the index of `X`

        Raises
        ------
        PermGradError
            If the columns are not those of `fit`, or a ratio divides by 0.

        Examples
        --------
        >>> ratio = pg.DerivedColumns({"area": ["petal length (cm)", "petal width (cm)"]}, keep=["petal width (cm)"])
        >>> ratio.fit(table.X).transform(table.X.head(2)).round(1)
           petal width (cm)  area
        0               0.2   0.3
        1               0.2   0.3
        """
        frame = as_frame(X)
        check_columns(frame.columns, self.feature_names_in_, "X")
        new = {name: frame[list(factors)].prod(axis=1, skipna=False) for name, factors in (self.products or {}).items()}
        for name, (above, below) in (self.ratios or {}).items():
            if (frame[below] == 0).any():
                raise PermGradError(f"{name!r} divides by {below!r}, which is 0 in {(frame[below] == 0).sum()} rows")
            new[name] = frame[above] / frame[below]
        return pd.concat([frame[self._kept(frame)], pd.DataFrame(new, index=frame.index)], axis=1)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the columns that `transform` returns.

        Examples
        --------
        >>> ratio = pg.DerivedColumns({"area": ["petal length (cm)", "petal width (cm)"]}, keep=["petal width (cm)"])
        >>> ratio.fit(table.X).get_feature_names_out().tolist()
        ['petal width (cm)', 'area']
        """
        return np.array(self._names(pd.DataFrame(columns=self.feature_names_in_)), dtype=object)

    def _kept(self, frame: pd.DataFrame) -> list[str]:
        return list(frame.columns) if self.keep is None else list(self.keep)

    def _names(self, frame: pd.DataFrame) -> list[str]:
        return [*self._kept(frame), *(self.products or {}), *(self.ratios or {})]

    def _used(self) -> list[str]:
        for name, columns in (self.products or {}).items():
            if isinstance(columns, str) or len(columns) < 2:
                raise PermGradError(f"product {name!r} needs a list of two or more columns, got {columns!r}")
        for name, columns in (self.ratios or {}).items():
            if isinstance(columns, str) or len(columns) != 2:
                raise PermGradError(f"ratio {name!r} needs two columns, numerator and denominator, got {columns!r}")
        return [each for part in (self.products, self.ratios) for columns in (part or {}).values() for each in columns]
