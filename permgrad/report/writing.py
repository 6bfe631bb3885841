"""The page of a ranking by any fitted model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from permgrad.data.table import Table
from permgrad.directories import new_directory
from permgrad.errors import PermGradError, listing
from permgrad.importance.network.opaque import Opaque
from permgrad.importance.ranking import FeatureRanking
from permgrad.report.any_model import any_model
from permgrad.report.directory import write_results_of
from permgrad.report.results import Results, origin_of


def write_report(
    ranking: FeatureRanking,
    model: Any,
    X: Any,
    y: Any,
    out: str | Path,
    *,
    name: str | None = None,
    task: Literal["classification", "regression"] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the page of a ranking by a fitted model: of scikit-learn, XGBoost or any other library.

    The estimators of this package have a page of their own, with rows and images: `permgrad rank` writes it.

    Parameters
    ----------
    ranking : FeatureRanking
        By this model, of these rows.
    model : fitted estimator
        With ``predict_proba`` or ``predict``.
    X : DataFrame, Table or array of shape (n_rows, n_columns)
        The rows that were ranked.
    y : array of shape (n_rows,)
        Labels or target values.
    out : path
        A new directory: ``report.html``, ``page.json``, ``ranking.csv``, ``ranking.json`` and pictures.
    name : str, optional
        Of the model, on the page; by default its class.
    task : {"classification", "regression"}, optional
        See `rank_features`.
    overwrite : bool
        Replace an earlier page in `out`.

    Returns
    -------
    Path
        Of ``report.html``.

    Raises
    ------
    PermGradError
        If the ranking is of other columns; if the model says several values of a row, or answers otherwise once the
        columns are read as a `Table`; if `out` exists.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> model = LogisticRegression(max_iter=5000).fit(train.X, train.y)
    >>> ranking = pg.rank_features(model, test.X, test.y, n_repeats=1)
    >>> pg.write_report(ranking, model, test.X, test.y, "results/logistic").name
    'report.html'
    """
    opaque = Opaque.of(model, X, y, task=task)
    labels = getattr(model, "classes_", y)
    answers = any_model(opaque, name or type(model).__name__, labels)
    if answers is None:
        raise PermGradError("a page is of one value of a row, or of classes; this model says several values")
    asked: Any = "classification" if opaque.target.classes else "regression"
    rows = X if isinstance(X, Table) and X.task == asked else Table(opaque.rows, y, task=asked)
    missing = [feature for feature in _columns_of(ranking) if feature not in rows.X.columns]
    if missing:
        raise PermGradError(
            f"the ranking is of columns that the table does not have: {listing(missing)}; pass the rows that were"
            " ranked"
        )
    of_table = opaque.predict(rows.X if isinstance(opaque.rows, pd.DataFrame) else rows.X.to_numpy())
    if not np.allclose(of_table, opaque.outputs, rtol=1e-4, atol=1e-6, equal_nan=True):
        raise PermGradError(
            f"{answers.name} answers otherwise once the columns are read as a Table; fit and rank it on"
            " pg.Table(X, y).X"
        )
    settings = {**ranking.settings, **origin_of(opaque, rows), "command": None}
    results = Results(answers, replace(ranking, settings=settings), rows, rows, 0)
    with new_directory(out, overwrite=overwrite) as staging:
        write_results_of(staging, results)
    return Path(out) / "report.html"


def _columns_of(ranking: FeatureRanking) -> list[str]:
    """Return the ranking's single columns: a group's members have rankings of their own."""
    return [name for name in ranking.features if name not in ranking.children]
