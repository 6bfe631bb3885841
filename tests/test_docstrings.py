"""Every public name and public method has an example, and each example gives what it shows."""

from __future__ import annotations

import doctest
import inspect
import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from numpydoc.docscrape import NumpyDocString

import permgrad as pg

ROOT = Path(__file__).parent.parent
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
TINY = {
    "preset": "published",
    "image_size": 6,
    "dense_units": (4,),
    "n_conv_layers": 1,
    "base_filters": 2,
    "head_units": (4,),
    "epochs": 2,
}
SLOW = {
    *("tune", "TuneResult", "TuneResult.plot"),
    *("evaluate_ranking", "RankingEvaluation", *(f"RankingEvaluation.{name}" for name in ("load", "plot", "save"))),
    *("HybridClassifier.fit", "MLPClassifier", "SelectorClassifier.fit", "EpochScores", "fit_patches"),
    *("AveragedClassifier.rank_features", "choose_panel", "score_panel", "rank_recipe", "read_cells"),
    *("RowExplanations.to_shap", "log_to_mlflow", "TensorBoard", "HybridClassifier.rank_features", "rank_features"),
    *("ByLevel", *(f"ByLevel.{name}" for name in ("differences", "from_dict", "load", "plot", "scores", "to_dict"))),
    *("ByLevel.write", "ByLevel.write_tables", "by_level"),
    *("patch_heat", "predict_patches", "calibrate_patches", "embed_patches", "linear_head"),
}
"""Examples that fit networks of their own, or import much: a quarter of a second of processor time and more."""


def public() -> Iterator[tuple[str, Any]]:
    """Yield the name and the object of each public name, of functions in public modules, and of public methods."""
    seen: set[Any] = set()
    for name in re.findall(r" as (\w+)$", (ROOT / "permgrad" / "__init__.pyi").read_text(), re.MULTILINE):
        found = getattr(pg, name)
        if inspect.ismodule(found):
            for key, one in inspect.getmembers(found, inspect.isfunction):
                if one.__module__ == found.__name__ and key[0] != "_":
                    yield f"{name}.{key}", one
        elif inspect.isclass(found) or inspect.isfunction(found):
            yield name, found
        if inspect.isclass(found):
            for key, method in methods(found):
                if method not in seen:
                    seen.add(method)
                    yield f"{name}.{key}", method


def methods(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods that this package defines; what Keras calls of its own classes is Keras's to explain."""
    for key in dir(kind):
        owners = [owner for owner in kind.__mro__ if key in vars(owner)]
        if key[0] == "_" or not owners[0].__module__.startswith("permgrad"):
            continue
        if any(owner.__module__.startswith("keras") for owner in owners):
            continue
        method = vars(owners[0])[key]
        method = method.__func__ if isinstance(method, classmethod | staticmethod) else method
        if inspect.isfunction(method):
            yield key, method


# What examples share; docs/reference/index.md says so.


@cache
def parts() -> tuple[pg.Table, pg.Table, pg.Table]:
    return pg.load_dataset("iris").split()


@cache
def clf() -> pg.HybridClassifier:
    return pg.HybridClassifier(**TINY).fit(parts()[0], validation_data=parts()[1])


@cache
def reg() -> pg.HybridRegressor:
    X, y = parts()[0].X, parts()[0].X["petal width (cm)"]
    return pg.HybridRegressor(**TINY, branches="tabular").fit(X.iloc[:, :3], y)


@cache
def selector() -> pg.SelectorClassifier:
    return pg.SelectorClassifier(hidden_units=(4,), scaling="standard", epochs=1).fit(parts()[0])


@cache
def ranking() -> pg.FeatureRanking:
    return clf().rank_features(parts()[2], formula="last in", n_repeats=2)


@cache
def logistic() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000).fit(parts()[0].X, parts()[0].y)


@cache
def effects() -> pg.Effects:
    names = ["petal width (cm)", "petal length (cm)"]
    return pg.effects(logistic(), parts()[2], names, pairs=[tuple(names)], n_points=4, max_rows=20)


@cache
def levels() -> pg.ByLevel:
    test = parts()[2]
    return pg.by_level(logistic(), test.X, test.y, by=["A", "B", "B"] * 10, n_repeats=1)


@cache
def evaluation() -> pg.RankingEvaluation:
    return pg.evaluate_ranking(clf(), ranking(), parts()[0], parts()[2], parts=[])


def patches() -> pg.Patches:
    from permgrad.patches.planted import write_planted_patches

    write_planted_patches(Path("patches"), 24, 4, size=32)
    return pg.check_patches("patches").train


@cache
def patch_network() -> Any:
    return pg.backbone_classifier("SmallCNN", weights="random", patch_shape=(32, 32, 3), image_size=None)


SHARED: dict[str, Callable[[], Any]] = {
    "table": lambda: pg.load_dataset("iris"),
    "train": lambda: parts()[0],
    "val": lambda: parts()[1],
    "test": lambda: parts()[2],
    "clf": clf,
    "ranking": ranking,
    "reg": reg,
    "selector": selector,
    "logistic": logistic,
    "effects": effects,
    "levels": levels,
    "evaluation": evaluation,
    "cells": lambda: pg.toy.single_cells(60, 20, n_classes=2, n_markers=4, program_size=2),
    "patches": patches,
    "patch_network": patch_network,
}


NEEDS = {"tune(": "optuna", "evaluat": "shap", "to_shap": "shap", "anndata": "anndata", "mlflow": "mlflow"}
NEEDS |= {"tensorboard": "tensorboard", "TensorBoard": "tensorboard"}
"""What is in an example that needs an extra, and the package."""


def names_for(source: str) -> dict[str, Any]:
    """Return the names that an example uses."""
    used = {name: make() for name, make in SHARED.items() if re.search(rf"(?<![.\w]){name}\b(?! ?=)", source)}
    return {"np": np, "pd": pd, "pg": pg, **used}


def example_of(documented: Any) -> str:
    """Return the section with examples of a docstring."""
    return "\n".join(NumpyDocString(inspect.getdoc(documented) or "")["Examples"])


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # MLflow, of SQLAlchemy 2.1
@pytest.mark.parametrize(
    "documented",
    [pytest.param(one, marks=[pytest.mark.slow] if name in SLOW else [], id=name) for name, one in public()],
)
def test_examples(documented, tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    source = example_of(documented)
    assert ">>> " in source, "there is no section Examples"
    needed = {package: pytest.importorskip(package) for said, package in NEEDS.items() if said in source}
    if "mlflow" in needed:
        mlflow = needed["mlflow"]
        request.addfinalizer(partial(mlflow.set_tracking_uri, mlflow.get_tracking_uri()))
    test = doctest.DocTestParser().get_doctest(source, names_for(source), documented.__qualname__, None, 0)
    report: list[str] = []
    doctest.DocTestRunner(optionflags=FLAGS).run(test, out=report.append)
    plt.close("all")
    assert not report, "".join(report)


def test_the_docs_say_what_examples_share():
    said = (ROOT / "docs" / "reference" / "index.md").read_text(encoding="utf-8")
    assert [name for name in ("np", "pd", "pg", *SHARED) if f"`{name}`" not in said] == []
