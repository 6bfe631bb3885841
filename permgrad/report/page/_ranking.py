"""The ranking as a table that can be sorted and searched, and as a chart by class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from permgrad.importance.ranking import FeatureRanking
from permgrad.plotting import method_title
from permgrad.report.page import _charts as charts
from permgrad.report.page._tables import Cells, number, ranking_cells
from permgrad.report.pictures import PAGE_FEATURES

MAX_CLASSES = 12
"""Whose scores have columns of their own."""


@dataclass(frozen=True)
class RankedTable:
    """The ranking's cells, and what they are sorted by.

    Attributes
    ----------
    cells : Cells
        Its last columns are scores by class.
    sort_by : list of list of float or None
        What each cell is sorted by; None where it has no number.
    classes : list of int or None
        For each column of cells, the number of the class whose score it is.
    """

    cells: Cells
    sort_by: list[list[float | None]]
    classes: list[int | None]


def ranked_table(ranking: FeatureRanking, limit: int) -> RankedTable:
    """Return the `limit` best columns, with the scores of each class where there are classes."""
    cells = ranking_cells(ranking, limit)
    by_class = {} if ranking.class_scores is None else dict(enumerate((ranking.classes or ())[:MAX_CLASSES]))
    order = ranking.order[:limit]
    rows, keys = [], []
    for row, i in zip(cells.rows, order, strict=True):
        known = ranking.features[i] not in ranking.pending
        scores = [float(ranking.class_scores[i, c]) for c in by_class] if known else [None] * len(by_class)  # type: ignore[index]
        rows.append([*row, *(number(score) for score in scores)])
        keys.append([*(None if at == cells.named else _key(text) for at, text in enumerate(row)), *scores])
    header = [*cells.header, *(f"score of {label}" for label in by_class.values())]
    numeric = [*cells.numeric, *([True] * len(by_class))]
    classes: list[int | None] = [*([None] * len(cells.header)), *by_class]
    return RankedTable(Cells(header, numeric, rows, cells.left_out, cells.named), keys, classes)


def _key(text: str) -> float | None:
    """Return the number that a cell begins with."""
    first = text.split(" to ")[0].replace("−", "-").replace(",", "").removeprefix("< ")
    try:
        return float(first)
    except ValueError:
        return None


def ranking_charts(ranking: FeatureRanking) -> tuple[charts.Spec, list[charts.Spec]]:
    """Return the chart of the best columns' scores, and one for each class."""
    measured = ~np.isin(ranking.features, ranking.pending)[ranking.order]
    best = ranking.order[measured][:PAGE_FEATURES]
    title = method_title(ranking.method)
    said = f"Bars: {title} of the {len(best)} best columns; the table below holds the numbers."
    whole, of_classes = charts.bars(_records(ranking, best), title, said, band=ranking.probe_level), []
    for c, label in enumerate((ranking.classes or ())[:MAX_CLASSES]):
        scores = ranking.class_scores[:, c]  # type: ignore[index]
        of_class = best[np.argsort(-scores[best], kind="stable")]
        rows = [{"column": ranking.features[i], "score": float(scores[i])} for i in of_class]
        of_classes.append(charts.bars(rows, f"{title}, of {label}", f"{said} Of class {label}."))
    return whole, of_classes


def _records(ranking: FeatureRanking, best: np.ndarray) -> list[dict[str, Any]]:
    """Return bars and intervals; bars are divided by class where no part is negative."""
    rows: list[dict[str, Any]] = []
    parts = ranking.class_scores if divided(ranking, best) else None
    for i in best:
        name, score = ranking.features[i], float(ranking.scores[i])
        total = 0.0 if parts is None else float(parts[i].sum())
        if parts is not None and total > 0:
            rows += [
                {"column": name, "score": float(part) * score / total, "part": label}
                for part, label in zip(parts[i], ranking.classes or (), strict=True)
            ]
        else:
            rows.append({"column": name, "score": score})
        if ranking.low is not None and ranking.high is not None:
            rows.append({"column": name, "low": float(ranking.low[i]), "high": float(ranking.high[i])})
    return rows


def divided(ranking: FeatureRanking, best: np.ndarray) -> bool:
    """Tell whether these columns' bars can be divided by class: a negative part has no width."""
    return ranking.class_scores is not None and bool(ranking.class_scores[best].min(initial=0) >= 0)
