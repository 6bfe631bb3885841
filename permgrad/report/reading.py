"""A results directory, read again: its network, and rows of a file read as its table was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from permgrad.data.datasets import list_datasets, load_dataset
from permgrad.data.reading import ReadOptions, read_any
from permgrad.estimators.loading import load
from permgrad.importance.ranking import FeatureRanking
from permgrad.report.trained import check_trained

OF_READING = ("sep", "decimal", "encoding", "header", "na", "sheet")


def ranked_data(results: Path) -> dict[str, Any]:
    """Return what is known of the table that a results directory ranks: target, task, how it was read."""
    check_trained(results)
    return FeatureRanking.load(Path(results) / "ranking.json").settings["data"]


def results_and_rows(results: Path, file: str) -> tuple[Any, pd.DataFrame]:
    """Return a results directory's estimator, and the rows of a file (or of a data set) as they are.

    Raises
    ------
    FileFormatError, PermGradError
        If either cannot be read.
    """
    known = ranked_data(results)
    estimator: Any = load(Path(results) / "model")
    if file in set(list_datasets()["name"]) and not Path(file).exists():
        table = load_dataset(file)
        return estimator, table.X.assign(**{str(table.y.name): table.y.to_numpy()})
    told = {name: value for name, value in (known.get("read") or {}).items() if name in OF_READING}
    read = read_any(file, ReadOptions(**told, known=tuple(estimator.encoder_.features_[:1])))
    return estimator, read.frame
