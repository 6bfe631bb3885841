"""The network's answers to rows with one column changed, computed beforehand: what the page's what-if panel reads.

An answer to one change is the network's own. Those to several are added up, each less the row's own answer, on the
scale of log-odds (or of the target): interactions among the changed columns are left out, and the page says so.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from permgrad.importance.ranking import FeatureRanking
from permgrad.report.page._columns import is_number, plain_value
from permgrad.report.page._tables import shown
from permgrad.report.results import Results

COLUMNS, VALUES = 12, 11
"""That can be changed, the best of the ranking; and how many values of each can be chosen."""
NUMBERS = 60_000
"""That the page holds of answers."""
UNUSABLE = ("identifier", "free text", "constant")
LEAST = 1e-7
"""float32 tells no smaller probability apart from 0 near 1."""


def what_if(results: Results, at: np.ndarray) -> dict[str, Any]:
    """Return the answers to test rows with one column changed, ready for JSON.

    Parameters
    ----------
    results : Results
    at : ndarray of shape (n_rows,)
        Positions of the rows in the test part.

    Returns
    -------
    dict
        ``classes`` (None for regression); ``columns``: each with its ``name``, whether it ``slides`` (numbers and
        dates), what each row ``is``, where on the slide that is, ``at``, the ``values`` that can be chosen, as text
        ``labels``, and ``answers``: of each row, of each value, a list of numbers; ``own``: the same of the rows as
        they are. Numbers are log-odds of the second of two classes, logarithms of the probabilities of more, or the
        target's value.
    """
    classes = getattr(results.estimator, "classes_", None)
    width = 1 if classes is None or len(classes) == 2 else len(classes)
    names = changeable(results.ranking, results)[: max(1, min(COLUMNS, NUMBERS // (len(at) * VALUES * width)))]
    rows = results.test.X.iloc[at]
    grids = {name: grid(results.table.X[name]) for name in names}
    blocks = [rows, *(changed(rows, name, results.table.X[name].iloc[grids[name]]) for name in names)]
    answers = np.split(
        said(results.estimator, pd.concat(blocks, ignore_index=True)),
        np.cumsum([len(block) for block in blocks])[:-1],
    )
    return {
        "classes": None if classes is None else [str(label) for label in classes],
        "own": answers[0].tolist(),
        "columns": [
            {
                "name": name,
                "slides": is_number(results.table.X[name]),
                "is": [shown(value) for value in rows[name]],
                "at": places(rows[name], results.table.X[name].iloc[grids[name]]),
                "values": [plain_value(value) for value in results.table.X[name].iloc[grids[name]]],
                "labels": [shown(value) for value in results.table.X[name].iloc[grids[name]]],
                "answers": answer.reshape(len(at), len(grids[name]), width).tolist(),
            }
            for name, answer in zip(names, answers[1:], strict=True)
        ],
    }


def changeable(ranking: FeatureRanking, results: Results) -> list[str]:
    """Return the columns that can be changed, best first: no probes, and none that the network does not use."""
    kinds = dict(zip(results.checkup.table["column"], results.checkup.table["kind"], strict=True))
    ordered = [ranking.features[i] for i in ranking.order]
    left_out = {*ranking.probes, *ranking.unused}
    return [
        name for name in ordered if name in results.table.X and name not in left_out and kinds.get(name) not in UNUSABLE
    ]


def grid(column: pd.Series) -> np.ndarray:
    """Return positions of a column's values that can be chosen, no two alike.

    Numbers and dates: the lowest, the highest, and quantiles between them. Levels: the most frequent ones, in their
    order.
    """
    first = np.flatnonzero((~column.duplicated() & column.notna()).to_numpy())
    if not is_number(column):
        counts = column.value_counts()
        often = column.iloc[first].map(dict(counts)).to_numpy(int)  # by name: levels may be truth values
        kept = first[np.argsort(-often, kind="stable")[:VALUES]]
        levels = column.iloc[kept]
        ordered = isinstance(column.dtype, pd.CategoricalDtype)
        return kept[np.argsort(levels.cat.codes if ordered else levels.map(str).to_numpy(), kind="stable")]
    ascending = first[np.argsort(column.iloc[first].to_numpy(), kind="stable")]
    if len(ascending) <= VALUES:
        return ascending
    known = column.dropna().sort_values()
    quantiles = known.iloc[np.linspace(0, len(known) - 1, VALUES).astype(int)].drop_duplicates()
    return ascending[np.searchsorted(column.iloc[ascending].to_numpy(), quantiles.to_numpy())]


def places(own: pd.Series, values: pd.Series) -> list[int]:
    """Return where among the ascending values a slider stands for each row; -1 of levels, which do not slide."""
    if not is_number(own):
        return [-1] * len(own)
    at = np.searchsorted(values.to_numpy(), own.fillna(values.iloc[0]).to_numpy())
    return np.minimum(at, len(values) - 1).tolist()


def changed(rows: pd.DataFrame, name: str, values: pd.Series) -> pd.DataFrame:
    """Return each row with each of the values in a column, values within rows."""
    block = rows.iloc[np.repeat(np.arange(len(rows)), len(values))].reset_index(drop=True)
    block[name] = values.iloc[np.tile(np.arange(len(values)), len(rows))].array
    return block


def said(estimator: Any, X: pd.DataFrame) -> np.ndarray:
    """Return the answers that add up, (n_rows, 1 or n_classes), with the digits that are shown."""
    if not hasattr(estimator, "classes_"):
        return np.array([[float(f"{value:.6g}")] for value in estimator.predict(X)])
    p = np.clip(np.asarray(estimator.predict_proba(X), float), LEAST, 1 - LEAST)
    return np.round(np.log(p) if p.shape[1] > 2 else (np.log(p[:, 1:]) - np.log1p(-p[:, 1:])), 3)
