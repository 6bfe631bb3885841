"""The tables that models are compared on: files, data sets by name, planted and generated ones, in named groups."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import make_friedman1
from sklearn.model_selection import train_test_split

import permgrad as pg
from permgrad.data.reading import read_csv
from permgrad.data.toy import PROBLEMS

PLANTED_ROWS, PLANTED_STATE = 1000, 1
Source = Callable[[], pg.Table]


def planted(problem: str, n_columns: int) -> pg.Table:
    table = PROBLEMS[problem](PLANTED_ROWS, n_columns, PLANTED_STATE)
    return pg.Table(table.X, table.y, task=table.task, name=f"{problem} {n_columns}", notes=table.notes)


def local(file: str, target: str, drop: Iterable[str] = (), header: str | None = "infer") -> pg.Table:
    """Read a table of the directory ``PERMGRAD_DATA``; without a header, columns are A1, A2, ..., last the target."""
    path = Path(os.environ.get("PERMGRAD_DATA", "."), file)
    if not path.is_file():
        raise pg.PermGradError(f"{file} is not in the directory that PERMGRAD_DATA names")
    frame = read_csv(path, header=header)
    if header is None:
        frame = frame.set_axis([f"A{i + 1}" for i in range(frame.shape[1] - 1)] + [target], axis=1)
    return pg.Table.from_frame(
        frame.drop(columns=list(drop)), target, name=file.split(".")[0].removesuffix("_no_header")
    )


def friedman1(n_rows: int = 2000, random_state: int = 0) -> pg.Table:
    """Ten uniform columns, five of them relevant; Friedman, Multivariate adaptive regression splines (1991)."""
    X, y = make_friedman1(n_rows, noise=1.0, random_state=random_state)
    return pg.Table(X, y, name="friedman1")


def sparse_linear(n_rows: int = 1000, n_columns: int = 60, n_relevant: int = 6, random_state: int = 0) -> pg.Table:
    """Normal columns; the class follows a logistic model of a few of them."""
    rng = np.random.default_rng(random_state)
    X = rng.standard_normal((n_rows, n_columns))
    weights = rng.uniform(0.6, 1.4, n_relevant) * rng.choice([-1, 1], n_relevant)
    logit = X[:, rng.permutation(n_columns)[:n_relevant]] @ weights
    return pg.Table(X, (rng.random(n_rows) < sigmoid(logit)).astype(int), name="sparse linear")


def census(n_rows: int = 5000, random_state: int = 0) -> pg.Table:
    """A table like a census: skewed numbers, categories of many levels, 0/1 columns, gaps; classes 1 to about 3.

    The logit adds effects of each level (a level of a rare category has few rows to learn it from), bent effects of
    numbers, and products: of a 0/1 column and a number, of two categories, of two numbers.
    """
    rng = np.random.default_rng(random_state)
    levels = {"education": 12, "occupation": 40, "region": 150, "status": 6}
    codes, effects = {}, {}
    for name, count in levels.items():
        shares = rng.permutation(1 / np.arange(1, count + 1))
        codes[name] = rng.choice(count, n_rows, p=shares / shares.sum())
        effects[name] = rng.normal(0, 0.8, count)[codes[name]]
    age, hours = rng.uniform(18, 90, n_rows), np.clip(rng.normal(39, 11, n_rows), 1, 99).round()
    wage = rng.lognormal(2.8 + 0.25 * effects["education"], 0.6)
    gain = np.where(rng.random(n_rows) < 0.09, rng.lognormal(8, 1.3, n_rows), 0).round()
    yes = rng.random((n_rows, 6)) < rng.uniform(0.05, 0.6, 6)
    bent, rich = -(((age - 50) / 18) ** 2), np.log1p(gain) / 4
    logit = sum(effects.values()) + bent + rich + 0.9 * (np.log(wage) - 2.8) * (1 + yes[:, 0])
    logit = logit + 0.04 * (hours - 39) * np.where(age < 40, 1, -0.3) + 1.2 * yes[:, 1] * (codes["status"] < 2)
    logit = logit + rng.normal(0, 0.9, (6, 12))[codes["status"], codes["education"]]
    y = (rng.random(n_rows) < sigmoid(1.4 * (logit - np.quantile(logit, 0.75)))).astype(int)
    X = pd.DataFrame({"age": age.round(), "hours": hours, "wage": wage.round(2), "gain": gain})
    X = X.assign(**{name: pd.Series([f"{name[0]}{code}" for code in column]) for name, column in codes.items()})
    X = X.assign(**{f"yes{i}": column.astype(int) for i, column in enumerate(yes.T)}, noise=rng.exponential(1, n_rows))
    for name in ("wage", "hours", "occupation"):
        X[name] = X[name].mask(rng.random(n_rows) < 0.06)
    return pg.Table(X, y, name="census-like")


def sigmoid(logit: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logit))


SUITES: dict[str, dict[str, Source]] = {
    "development": {
        **{name: partial(pg.load_dataset, name) for name in ("heloc", "dengue", "puma8nh", "gas_drift", "covertype")},
        "titanic": partial(local, "titanic.csv", "survived", drop=("alive",)),
        "diamonds": partial(local, "diamonds.csv.gz", "price"),
        "german": partial(local, "german_no_header.csv", "credit", header=None),
        "mpg": partial(local, "mpg.csv", "mpg"),
        "penguins": partial(local, "penguins.csv", "species"),
    },
    "planted": {f"{problem} {n}": partial(planted, problem, n) for n in (32, 128) for problem in PROBLEMS},
    "other": {
        **{name: partial(pg.load_dataset, name) for name in ("breast_cancer", "wine", "digits", "diabetes")},
        "friedman1": friedman1,
        "census-like": census,
        "sparse linear": sparse_linear,
    },
}
"""``development`` is what settings may be chosen by; no setting is chosen by ``other``."""


def named(given: str) -> pg.Table:
    """Read ``path:target``, or take a table of a suite, or a data set, by its name."""
    for suite in SUITES.values():
        if given in suite:
            return suite[given]()
    path, colon, target = given.rpartition(":")
    return pg.Table.from_file(path, target) if colon else pg.load_dataset(given)


def at_most(table: pg.Table, n_rows: int) -> pg.Table:
    """Return the table, or as many of its rows drawn at random, the classes' shares kept."""
    if len(table) <= n_rows:
        return table
    labels = table.y if table.task == "classification" else None
    rows, _ = train_test_split(np.arange(len(table)), train_size=n_rows, random_state=0, stratify=labels)
    return table.take(np.sort(rows))


def load(sources: dict[str, Source], max_rows: int) -> Iterator[pg.Table]:
    """Yield each table that can be had; say which cannot."""
    for name, source in sources.items():
        try:
            yield at_most(source(), max_rows)
        except pg.PermGradError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
