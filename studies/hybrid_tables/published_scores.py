"""What the scores that PermGrad's authors publish say, and which of it their code's mistakes explain.

    python -m studies.hybrid_tables.published_scores

Their numbers are in ``published_scores.json``: see `studies.hybrid_tables.published_files`. They are of networks whose
weights are not published; what is said of these follows from the numbers, and from where TINTO places columns.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

import permgrad as pg
from studies.hybrid_tables.published_files import SCORES
from studies.kit.markdown import markdown

RESULTS = Path(__file__).parents[1] / "results" / "hybrid_tables"
SIZE = 20
TINTO_SEED = 20
LAID_OUT = ("puma8nh", "heloc", "dengue")
"""Data sets whose table the repository holds whole: the layout is of all rows, as theirs is."""
REACH = 1
"""Pixels to each side that a convolution of 3 × 3 sees."""


def published() -> dict[str, Any]:
    """Return the kept numbers: data set → "branch_weights", "permutation", "grad_cam"."""
    return dict(json.loads(SCORES.read_text(encoding="utf-8")))


def by_class(scores: dict[str, Any]) -> pd.DataFrame:
    """Return scores with a row for each column of the table, and a column for each class; one, "", for regression."""
    classes = scores if isinstance(next(iter(scores.values())), dict) else {"": scores}
    return pd.DataFrame(classes)


def fused(scores: dict[str, Any]) -> pd.Series:
    """Return the published score of each column: both parts scaled to [0, 1] over all classes, weighed, and summed."""
    weights = scores["branch_weights"]
    parts = {"permutation": weights["MLP"], "grad_cam": weights["CNN"]}
    total = 0
    for name, weight in parts.items():
        part = by_class(scores[name])
        low, high = part.to_numpy().min(), part.to_numpy().max()
        total = total + weight * (part - low) / (high - low)
    return total.sum(axis=1)


def facts() -> pd.DataFrame:
    """Return a row for each data set.

    Returns
    -------
    DataFrame
        ``columns``; ``classes``; ``heat alike``: whether all classes have the same heat; ``heat values``: how many
        different ones the columns have; ``image weight``; ``tabular weight``; ``permutation, heat``: Spearman's
        correlation of both parts, summed over classes; ``fused, heat`` and ``fused, permutation``: of the published
        ranking with either; ``first permuted``: the column of the largest rise, with its place by heat and in the
        published ranking.
    """
    rows = []
    for name, scores in published().items():
        heat, permuted, both = by_class(scores["grad_cam"]), by_class(scores["permutation"]), fused(scores)
        summed, first = permuted.sum(axis=1), permuted.sum(axis=1).idxmax()
        rows.append(
            {
                "dataset": name,
                "columns": len(heat),
                "classes": heat.shape[1] if heat.shape[1] > 1 else 0,
                "heat alike": "yes" if (heat.nunique(axis=1) == 1).all() else "no",
                "heat values": int(heat.iloc[:, 0].nunique()),
                "image weight": scores["branch_weights"]["CNN"],
                "tabular weight": scores["branch_weights"]["MLP"],
                "permutation, heat": spearmanr(summed, heat.sum(axis=1))[0],
                "fused, heat": spearmanr(both, heat.sum(axis=1))[0],
                "fused, permutation": spearmanr(both, summed)[0],
                "first permuted": first,
                "by heat": place(heat.sum(axis=1), first),
                "published": place(both, first),
            }
        )
    return pd.DataFrame(rows)


def place(scores: pd.Series, column: str) -> str:
    """Return a column's place from the best, 1, of how many: "8 of 8"."""
    return f"{int((scores > scores[column]).sum()) + 1} of {len(scores)}"


def ours() -> pd.DataFrame:
    """Return the same of this project's networks, from the committed results of the study.

    Returns
    -------
    DataFrame
        As `facts`, of one network for each data set, whose heat is read at the pixels that are drawn, and is each
        class's own; ``default``: the place of the first permuted column by the study's default formula.
    """
    rows = []
    for name in published():
        table = pd.read_csv(RESULTS / f"ranking_{name}.csv").set_index("feature")
        first = table["permutation"].idxmax()
        rows.append(
            {
                "dataset": name,
                "columns": len(table),
                "heat values": table["grad_cam"].nunique(),
                "permutation, heat": spearmanr(table["permutation"], table["grad_cam"])[0],
                "first permuted": first,
                "by heat": place(table["grad_cam"], first),
                "published": place(table["published"], first),
                "default": place(table["default"], first),
            }
        )
    return pd.DataFrame(rows)


def published_layout(name: str) -> pg.FeatureLayout:
    """Return where TINTO places the columns of a data set by all its rows; several may share a pixel."""
    table = pg.load_dataset(name)
    columns = list(by_class(published()[name]["grad_cam"]).index)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*share")
        return pg.fit_layout(table.X[columns].astype(float), "tinto", SIZE, unique=False, random_state=TINTO_SEED)


def where_read(name: str) -> pd.DataFrame:
    """Return where the published code reads each column's heat.

    Parameters
    ----------
    name : str
        One of `LAID_OUT`.

    Returns
    -------
    DataFrame
        A row for each column: ``row`` and ``col``, the pixel at which it is drawn; ``heat``; ``nothing drawn``: whether
        no column is drawn within `REACH` pixels of the transposed pixel, (col, row), and this is not on the border,
        where the padding is seen; ``quarter``: of the image, in which the transposed pixel lies.
    """
    layout, heat = published_layout(name), by_class(published()[name]["grad_cam"]).iloc[:, 0]
    drawn = np.zeros((SIZE, SIZE), bool)
    drawn[layout.rows, layout.cols] = True
    rows = []
    for column, row, col in zip(layout.features, layout.rows.tolist(), layout.cols.tolist(), strict=True):
        seen = drawn[max(col - REACH, 0) : col + REACH + 1, max(row - REACH, 0) : row + REACH + 1]
        inside = min(row, col) >= REACH and max(row, col) < SIZE - REACH
        place = {"column": column, "row": row, "col": col, "heat": heat[column]}
        rows.append(place | {"nothing drawn": inside and not seen.any(), "quarter": (2 * col // SIZE, 2 * row // SIZE)})
    return pd.DataFrame(rows)


def explained() -> pd.DataFrame:
    """Return a row for each data set of `LAID_OUT`: how far pixels, and where heat is read, explain equal heat.

    Returns
    -------
    DataFrame
        ``columns``; ``pixels`` that they share; ``heat values``; ``read where nothing is drawn``: columns; ``values
        among these``, and ``others with these``: columns that are read elsewhere and have such a value; ``quarters``:
        how many different values there are within a quarter of the image, at most.
    """
    rows = []
    for name in LAID_OUT:
        read = where_read(name)
        empty = read[read["nothing drawn"]]
        others = read[~read["nothing drawn"]]
        rows.append(
            {
                "dataset": name,
                "columns": len(read),
                "pixels": len(read[["row", "col"]].drop_duplicates()),
                "heat values": read["heat"].nunique(),
                "read where nothing is drawn": len(empty),
                "values among these": empty["heat"].nunique(),
                "others with these": int(others["heat"].isin(empty["heat"]).sum()),
                "values in a quarter": int(read.groupby("quarter")["heat"].nunique().max()),
            }
        )
    return pd.DataFrame(rows)


def main() -> None:
    """Print all three tables."""
    shown = facts().astype({"tabular weight": object})
    shown["tabular weight"] = [f"{weight:.3g}" for weight in shown["tabular weight"]]
    print(markdown(shown, 3), markdown(ours(), 3), markdown(explained()), sep="\n\n")


if __name__ == "__main__":
    main()
