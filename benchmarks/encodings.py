"""Which pixel each column takes: what a network predicts from the image alone, and how many columns share a pixel.

    python -m benchmarks.encodings --table heloc --table dengue --max-rows 2000 --splits 3 --out results/predictive

All layouts that `permgrad.fit_layout` knows: TINTOlib's encodings that give a column one pixel. Each draws every column
at a pixel of its own; those that place columns freely also do it as published, where columns share pixels. The network
is the default preset's without its tabular branch. Splits, scores and --out are those of ``benchmarks.predictive``. The
table printed has, for each table and layout: the mean score over splits; how far it is from TINTO's with pixels of
their own, with a 95 % interval; and how many pixels show the columns, at two sizes of the image, as published.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

import permgrad as pg
from benchmarks.predictive import __main__ as predictive
from benchmarks.predictive.paired import differences, with_interval
from benchmarks.predictive.scores import row
from benchmarks.predictive.tables import load
from permgrad.data.encoding import ColumnEncoder
from permgrad.images.layout import compact_size, image_size
from permgrad.images.placement import METHODS

ALWAYS_OWN = ("igtd", "refined")
"""Layouts that place columns on a grid, one on each pixel."""
SHARING = tuple(method for method in METHODS if method not in ALWAYS_OWN)
IMAGE_ALONE = "permgrad default branches=image"
OWN = {method: IMAGE_ALONE + (f" layout={method}" if method != "tinto" else "") for method in METHODS}
SHARED = {method: f"{IMAGE_ALONE} layout={method} unique=false" for method in SHARING}
"""Names of the models for `benchmarks.predictive`; TINTO is the default."""
SIZES = {"compact": compact_size, "wide": image_size}
"""Of the default network's image, and of the published one's."""


def pixels(table: pg.Table, method: str, size: str, splits: Iterable[int]) -> tuple[int, float, int]:
    """Return the columns drawn, the pixels that show them as published, mean over splits, and the image's side.

    Columns are those that the network sees: categories are several 0/1 columns.
    """
    counts = []
    for split in splits:
        train = table.split(random_state=split)[0]
        encoder = ColumnEncoder().fit(train)
        X = pd.DataFrame(encoder.encode(train.X), columns=encoder.get_feature_names_out())
        side = SIZES[size](X.shape[1])
        if method in ALWAYS_OWN:
            return X.shape[1], X.shape[1], side
        layout = pg.fit_layout(X, method, side, unique=False, random_state=split)
        counts.append((X.shape[1], len(np.unique(layout.pixels))))
    columns, shown = np.mean(counts, axis=0)
    return round(columns), float(shown), side


def report(figures: pd.DataFrame, tables: Iterable[pg.Table], splits: range) -> str:
    """Return a Markdown table: a row for each table and layout."""
    found = differences(figures, OWN["tinto"]).set_index(["table", "model"]).sort_index()
    means = figures.groupby(["table", "model"])["score"].mean()
    names = ["own pixels", "less TINTO's", "as published", "less TINTO's", *(f"pixels, {size}" for size in SIZES)]
    lines = [row("table", "layout", *names), row(*["---"] * (2 + len(names)))]

    def cells(key: tuple[str, str]) -> list[str]:
        score = f"{means[key]:.4f}" if key in means else ""
        return [score, with_interval(found.loc[key]) if key in found.index else ""]

    for table in tables:
        for method in METHODS:
            shared = cells((table.name, SHARED[method])) if method in SHARED else ["the same", ""]
            counts = []
            for size in SIZES:
                columns, shown, side = pixels(table, method, size, splits)
                counts.append(f"{shown:.4g} for {columns} columns, {side} × {side}")
            lines.append(row(table.name, method, *cells((table.name, OWN[method])), *shared, *counts))
    return "\n".join(lines)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    predictive.add_options(parser)
    options = predictive.checked_options(parser, arguments)
    options.models = [*OWN.values(), *SHARED.values()]
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    figures = predictive.figures(options)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*features share")  # which is what is counted
        print(report(figures, load(predictive.sources(options), options.max_rows), predictive.splits(options)))


if __name__ == "__main__":
    main()
