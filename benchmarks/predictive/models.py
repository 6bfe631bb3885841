"""The models: each is fitted by what its own package advises, and predicts the test rows.

Validation rows stop the boosted trees and the networks; the linear model and the forest are fitted on them too.
Categories stay categories for HistGradientBoosting, LightGBM, CatBoost, RealMLP and TabM, and become 0/1 columns for
the linear model, the forest and XGBoost (whose own way with them fails on a column of nearly as many levels as rows: R²
0.31 on miles per gallon, where 0/1 columns have what the others have). Gaps in numbers stay gaps for the boosted trees,
and become the training median for the others. PermGrad is given the table as it is. Settings are the packages' own, but
for those below.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import permgrad as pg

TREES = 300
MOST_TREES, PATIENCE, RATE = 2000, 50, 0.1
"""Of boosted trees that stop by the validation loss; the rate is LightGBM's and HistGradientBoosting's own (XGBoost's,
0.3, is for a hundred trees; CatBoost chooses by the number of rows). HistGradientBoosting keeps all trees, also those
after the best, and has its own patience, 10."""
HIST_LEVELS = 254
"""HistGradientBoosting takes 255 values of a category; rarer ones become gaps."""
MISSING = "(missing)"
PEER = Path(__file__).with_name("neural_peer.py")


@dataclass(frozen=True)
class Job:
    """One table's training, validation and test rows, a seed (the split's) and a number of threads."""

    train: pg.Table
    validation: pg.Table
    test: pg.Table
    random_state: int
    threads: int

    @property
    def regression(self) -> bool:
        """Whether numbers are predicted."""
        return self.train.task == "regression"

    @cached_property
    def classes(self) -> np.ndarray:
        """Sorted labels."""
        return np.unique(self.train.y)

    def target(self, table: pg.Table) -> np.ndarray:
        """Return numbers to predict, or class numbers 0, 1, ..."""
        return table.y.to_numpy(float) if self.regression else np.searchsorted(self.classes, table.y)

    @cached_property
    def categorical(self) -> list[str]:
        """Columns of `frame` that are no numbers."""
        return [f"c{i}" for i, (_, column) in enumerate(self.train.X.items()) if not is_number(column)]

    def frame(self, table: pg.Table) -> pd.DataFrame:
        """Return columns c0, c1, ... of float64 with gaps, and of text."""
        X = table.X.set_axis([f"c{i}" for i in range(table.X.shape[1])], axis=1)
        texts = {name: X[name].astype(object).where(X[name].notna(), MISSING).astype(str) for name in self.categorical}
        return X.assign(**texts).astype({name: float for name in X if name not in texts})

    def categories(self, table: pg.Table, most: int | None = None) -> pd.DataFrame:
        """Return `frame` with pandas' categories for texts; those that are not in training become gaps."""
        X, known = self.frame(table), self.frame(self.train)
        levels = {name: sorted(known[name].value_counts().index[:most]) for name in self.categorical}
        return X.assign(**{name: pd.Categorical(X[name], levels[name]) for name in self.categorical})

    @property
    def parts(self) -> tuple[pg.Table, pg.Table, pg.Table]:
        """Training, validation and test rows."""
        return self.train, self.validation, self.test


def is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column)


Fitted = tuple[np.ndarray, float]
"""Numbers or (n_rows, n_classes) probabilities of the test rows, and seconds of the fit."""


def fitted(model: Any, X_test: Any, *arguments: Any, **keywords: Any) -> Fitted:
    start = time.perf_counter()
    model.fit(*arguments, **keywords)
    seconds = time.perf_counter() - start
    return getattr(model, "predict_proba", model.predict)(X_test), seconds


def zero_one(job: Job, *, fill: bool = True) -> Any:
    """Return what makes numbers of `Job.frame`: 0/1 columns of categories; gaps are filled, or kept."""
    numbers = [name for name in job.frame(job.train) if name not in job.categorical]
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    gaps = SimpleImputer(strategy="median") if fill else "passthrough"
    return make_column_transformer((gaps, numbers), (encoder, job.categorical))


def on_all_rows(model: Any, job: Job, *steps: Any) -> Fitted:
    """Fit on training and validation rows."""
    X = pd.concat([job.frame(job.train), job.frame(job.validation)], ignore_index=True)
    y = np.concatenate([job.target(job.train), job.target(job.validation)])
    return fitted(make_pipeline(zero_one(job), *steps, model), job.frame(job.test), X, y)


def linear(job: Job) -> Fitted:
    if job.regression:
        return on_all_rows(RidgeCV(np.logspace(-2, 4, 13)), job, StandardScaler())
    folds = min(5, job.train.y.value_counts().min())
    model = LogisticRegressionCV(
        Cs=np.logspace(-3, 2, 6), cv=int(folds), scoring="neg_log_loss", max_iter=300, n_jobs=job.threads
    )
    return on_all_rows(model, job, StandardScaler())


def forest(job: Job) -> Fitted:
    kind = RandomForestRegressor if job.regression else RandomForestClassifier
    return on_all_rows(kind(TREES, random_state=job.random_state, n_jobs=job.threads), job)


def hist(job: Job) -> Fitted:
    kind = HistGradientBoostingRegressor if job.regression else HistGradientBoostingClassifier
    model = kind(
        max_iter=MOST_TREES,
        learning_rate=RATE,
        early_stopping=True,
        random_state=job.random_state,
    )
    train, validation, test = (job.categories(part, HIST_LEVELS) for part in job.parts)
    y, y_val = job.target(job.train), job.target(job.validation)
    return fitted(model, test, train, y, X_val=validation, y_val=y_val)


def xgboost(job: Job) -> Fitted:
    import xgboost

    kind = xgboost.XGBRegressor if job.regression else xgboost.XGBClassifier
    model = kind(
        n_estimators=MOST_TREES,
        learning_rate=RATE,
        early_stopping_rounds=PATIENCE,
        random_state=job.random_state,
        n_jobs=job.threads,
    )
    encoder = zero_one(job, fill=False).fit(job.frame(job.train))
    train, validation, test = (encoder.transform(job.frame(part)) for part in job.parts)
    given = [(validation, job.target(job.validation))]
    return fitted(model, test, train, job.target(job.train), eval_set=given, verbose=False)


def lightgbm(job: Job) -> Fitted:
    import lightgbm

    kind = lightgbm.LGBMRegressor if job.regression else lightgbm.LGBMClassifier
    model = kind(
        n_estimators=MOST_TREES, learning_rate=RATE, random_state=job.random_state, n_jobs=job.threads, verbose=-1
    )
    train, validation, test = map(job.categories, job.parts)
    stop = [lightgbm.early_stopping(PATIENCE, verbose=False)]
    given = [(validation, job.target(job.validation))]
    return fitted(model, test, train, job.target(job.train), eval_set=given, callbacks=stop)


def catboost(job: Job) -> Fitted:
    import catboost

    kind = catboost.CatBoostRegressor if job.regression else catboost.CatBoostClassifier
    model = kind(
        iterations=MOST_TREES,
        early_stopping_rounds=PATIENCE,
        cat_features=job.categorical,
        random_seed=job.random_state,
        thread_count=job.threads,
        verbose=False,
        allow_writing_files=False,
    )
    train, validation, test = map(job.frame, job.parts)
    return fitted(model, test, train, job.target(job.train), eval_set=(validation, job.target(job.validation)))


def neural_peer(name: str, job: Job) -> Fitted:
    """Fit a network of pytabkit in a process of its own: PyTorch and TensorFlow do not go well in one."""
    arrays = {}
    medians = job.frame(job.train).drop(columns=job.categorical).median()
    for part, table in zip(("train", "validation", "test"), job.parts, strict=True):
        X = job.categories(table)
        numbers = X.drop(columns=job.categorical).fillna(medians).fillna(0)
        arrays[f"{part}_numbers"] = numbers.to_numpy(np.float32)
        arrays[f"{part}_codes"] = np.array([X[c].cat.codes for c in job.categorical]).reshape(-1, len(X)).T
        arrays[f"{part}_y"] = job.target(table)
    task = "regression" if job.regression else "two classes" if len(job.classes) == 2 else "classes"
    with tempfile.TemporaryDirectory() as scratch:
        given, results = Path(scratch) / "given.npz", Path(scratch) / "results.npz"
        np.savez(given, **arrays)
        facts = [name, task, job.random_state, job.threads, given, results]
        command = [sys.executable, str(PEER), *map(str, facts)]
        process = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)  # noqa: S603
        if process.returncode:
            raise RuntimeError(process.stderr.strip()[-400:])
        with np.load(results) as found:
            return found["predicted"], float(found["seconds"])


def hybrid(preset: str, job: Job, **settings: Any) -> Fitted:
    """Fit a preset, with settings of its own; where it trains several networks, each leaves other rows out."""
    kind = pg.HybridRegressor if job.regression else pg.HybridClassifier
    model: Any = kind(preset=preset, random_state=job.random_state, **settings)
    train, validation = job.train, job.validation
    if model.settings()["n_networks"] > 1:
        return fitted(model, job.test.X, pd.concat([train.X, validation.X]), pd.concat([train.y, validation.y]))
    return fitted(model, job.test.X, train.X, train.y, validation_data=(validation.X, validation.y))


@dataclass(frozen=True)
class Model:
    """What fits it, and the package that this needs."""

    fit: Callable[[Job], Fitted]
    package: str = "permgrad"

    @property
    def installed(self) -> bool:
        """Whether the package is there."""
        return importlib.util.find_spec(self.package) is not None

    def __call__(self, job: Job) -> Fitted:
        """Fit and predict, without the packages' own warnings."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            predicted, seconds = self.fit(job)
        return np.asarray(predicted, float).reshape(len(job.test), -1), seconds


MODELS = {
    "linear": Model(linear, "sklearn"),
    "forest": Model(forest, "sklearn"),
    "hist": Model(hist, "sklearn"),
    "xgboost": Model(xgboost, "xgboost"),
    "lightgbm": Model(lightgbm, "lightgbm"),
    "catboost": Model(catboost, "catboost"),
    "realmlp": Model(partial(neural_peer, "RealMLP_TD"), "pytabkit"),
    "tabm": Model(partial(neural_peer, "TabM_D"), "pytabkit"),
    **{f"permgrad {preset}": Model(partial(hybrid, preset)) for preset in ("published", "fast", "default", "best")},
}


def model_named(name: str) -> Model:
    """Return a model by its name; one of permgrad's may be followed by settings.

    ``"permgrad default ensemble_size=1 scaling=min-max"`` shows what two settings of the preset are worth.

    Raises
    ------
    argparse.ArgumentTypeError
        If there is no such model.
    """
    first = name.split()
    known = " ".join(first[:2]) if first[:1] == ["permgrad"] else name
    settings = dict(part.partition("=")[::2] for part in first[2:]) if known != name else {}
    if known not in MODELS or not all(settings.values()):
        raise argparse.ArgumentTypeError(f"no model {name!r}; there are {', '.join(MODELS)}")
    if not settings:
        return MODELS[known]
    values = {key: yaml.safe_load(value) for key, value in settings.items()}
    return Model(partial(hybrid, first[1], **values))
