"""What a network says of further rows, as a table that can be written to a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from permgrad.data.probes import probes_among
from permgrad.errors import PermGradError, listing

INTERVAL = ("low", "high")


def prediction_table(
    estimator: Any, frame: pd.DataFrame, *, keep: Sequence[str] = (), coverage: float = 0.9
) -> pd.DataFrame:
    """Predict rows of a frame whose columns may stand in any order, others among them.

    Parameters
    ----------
    estimator : HybridClassifier or HybridRegressor
        Fitted on a table whose columns had names.
    frame : DataFrame of shape (n_rows, n_columns)
        Values as they were in the table that the estimator was fitted on: text, numbers in text, dates, gaps.
    keep : sequence of str
        Columns of `frame` to hand on, such as an identifier.
    coverage : float
        Of the interval for each row's target, see `HybridRegressor.predict_interval`.

    Returns
    -------
    DataFrame
        A row for each of `frame`: ``row``, from 1; the columns of `keep`; ``prediction``; for classification
        ``p[<class>]``, the probability of each class; for regression ``low`` and ``high``, where the network had enough
        validation rows for an interval.

    Raises
    ------
    PermGradError
        If a column is missing, or holds other values than at fit.
    """
    X = model_columns(estimator, frame)
    absent = [name for name in keep if name not in frame.columns]
    if absent:
        raise PermGradError(f"no column {listing(absent)} to keep; the rows have {listing(frame.columns, 12)}")
    columns: dict[str, Any] = {"row": np.arange(1, len(frame) + 1), **{name: frame[name].to_numpy() for name in keep}}
    if hasattr(estimator, "predict_proba"):
        probabilities = estimator.predict_proba(X)
        columns["prediction"] = np.asarray(estimator.classes_)[probabilities.argmax(axis=1)]
        columns |= {f"p[{label}]": probabilities[:, c] for c, label in enumerate(estimator.classes_)}
        return pd.DataFrame(columns)
    columns["prediction"] = estimator.predict(X)
    if enough_for(estimator, coverage):
        columns |= dict(zip(INTERVAL, estimator.predict_interval(X, coverage).T, strict=True))
    return pd.DataFrame(columns)


def model_columns(estimator: Any, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that an estimator was fitted on, in its order.

    Raises
    ------
    PermGradError
        If some are missing, or the network was trained with probes.
    """
    names = list(estimator.encoder_.features_)
    missing = [name for name in names if name not in frame.columns]
    probes = [name for name in missing if name in probes_among(names)]
    if probes:
        raise PermGradError(
            f"the network was trained with probes ({listing(probes)}), which no other rows have; rank the table without"
            " --probes for a network that predicts"
        )
    if missing:
        raise PermGradError(
            f"the rows lack {len(missing)} of the {len(names)} columns that the network was fitted on: "
            f"{listing(missing, 12)}; they have {listing(frame.columns, 12)}"
        )
    return frame[names]


def enough_for(estimator: Any, coverage: float) -> bool:
    """Tell whether a regressor had enough validation rows for intervals of this coverage."""
    return estimator.half_width(coverage) is not None
