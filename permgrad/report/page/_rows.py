"""Test rows that the page carries: what each column adds to their answers, their images, and the rows like them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from permgrad.importance.row_explanations import RowExplanations
from permgrad.report.explained_rows import CarriedRows
from permgrad.report.page import _charts as charts
from permgrad.report.page._images import encoded, grey
from permgrad.report.page._tables import number, shown
from permgrad.report.page._what_if import what_if
from permgrad.report.results import Results

MOST_BARS = 10
"""Of a waterfall; the other columns are one more."""
NEAR = 4
"""Rows that are named as most like another."""
IMAGE_BYTES = 600_000
"""Of all images together."""


def asked_rows(results: Results, carried: CarriedRows) -> dict[str, Any]:
    """Return what the page holds of the rows that it carries, ready for JSON."""
    found, at = carried.found, carried.at
    images, near = row_images(results, results.test.X.iloc[at]), nearest(found)
    return {
        "chart": charts.waterfall("log-odds" if found.explained else f"{results.test.y.name}"),
        "rows": [
            {**_answer(results, int(row)), **_contributions(found, i), "image": image, "near": near[i]}
            for i, (row, image) in enumerate(zip(at, images, strict=True))
        ],
        "what_if": what_if(results, at),
    }


def drawn_rows(results: Results, carried: CarriedRows) -> dict[str, Any]:
    """Return how the rows were chosen, and the names of the pictures of two of them, which are seen without asking."""
    drawn = []
    for why, i in carried.ends.items():
        table = carried.found.row(i).head(3)
        drawn.append(
            {
                **_answer(results, int(carried.at[i])),
                "why": f"with the {why} prediction of the rows here",
                "picture": f"row_{why}",
                "alt": "; ".join(f"{row.feature} adds {row.adds:.3g}" for row in table.itertuples()),
            }
        )
    return {
        "chosen": chosen_sentence(len(carried.at), len(results.test)),
        "background": carried.n_background,
        "drawn": drawn,
    }


def chosen_sentence(n: int, of: int) -> str:
    """Say how the rows were chosen."""
    if n == of:
        return f"All {number(n)} rows of the test part."
    return f"{number(n)} of the {number(of)} rows of the test part, drawn at random."


def _unit(found: RowExplanations, row: int) -> str:
    return "the target’s unit" if found.explained is None else f"log-odds of {found.explained[row]}"


def _answer(results: Results, row: int) -> dict[str, Any]:
    """Return a row's number from 1, and what is true and predicted of it, as text."""
    true, predicted = results.test.y.iloc[row], results.predicted[row]
    if results.test.task != "classification":
        return {"number": row + 1, "true": shown(true), "predicted": number(float(predicted)), "wrong": False}
    return {"number": row + 1, "true": shown(true), "predicted": shown(predicted), "wrong": bool(true != predicted)}


def _contributions(found: RowExplanations, i: int) -> dict[str, Any]:
    """Return a row's answer in words, and its bars: the largest values, and all others as one."""
    table = found.row(i)
    named = "is" in table
    most = table.head(MOST_BARS).to_dict("records")
    bars = [
        (f"{row['feature']} = {shown(row['is'])}" if named else row["feature"], row["adds"], row["high"] - row["adds"])
        for row in most
    ]
    if len(table) > MOST_BARS:
        bars.append((f"{len(table) - MOST_BARS} others", table["adds"].iloc[MOST_BARS:].sum(), 0.0))
    base, output = rounded(found.base[i]), rounded(found.outputs[i])
    return {
        "said": f"From the mean prediction, {number(base)}, to that for this row, {number(output)}: {_unit(found, i)}.",
        "bars": [
            {
                "column": name,
                "adds": rounded(adds),
                "half": rounded(half),
                "base": base,
                "text": f"{'+' if adds >= 0 else ''}{number(float(adds))}"
                + (f" ± {number(float(half))}" if half else ""),
            }
            for name, adds, half in bars
        ],
    }


def rounded(value: float) -> float:
    """Return a number with four significant digits, which is what is shown."""
    return float(f"{value:.4g}")


def nearest(found: RowExplanations) -> list[list[int]]:
    """Return for each row the places of those most like it, of its explained class, nearest first."""
    values, n = found.values, len(found)
    squares = (values**2).sum(axis=1)
    distance = squares[:, None] + squares - 2 * values @ values.T
    if found.explained is not None:
        kinds = np.array(found.explained)
        distance[kinds[:, None] != kinds] = np.inf
    np.fill_diagonal(distance, np.inf)
    order = np.argsort(distance, axis=1, kind="stable")[:, : min(NEAR, n - 1)]
    return [[int(j) for j in row if np.isfinite(distance[i, j])] for i, row in enumerate(order)]


def row_images(results: Results, X: pd.DataFrame) -> list[str | None]:
    """Return each row's image as the source of an ``<img>``; None where there is none, or no room for it."""
    if results.estimator.layout_ is None:
        return [None] * len(X)
    sources: list[str | None] = []
    room = IMAGE_BYTES
    for image in results.estimator.images(X):
        source = encoded(grey(image))
        room -= len(source)
        sources.append(source if room > 0 else None)
    return sources
