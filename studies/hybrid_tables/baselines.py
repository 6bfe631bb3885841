"""What the networks are compared with: trees, boosted trees and two neural peers, each with its defaults."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import permgrad as pg
from studies.hybrid_tables.networks import Evaluation, Parts, evaluate

PEER = Path(__file__).with_name("peer.py")


@dataclass(frozen=True)
class Baseline:
    """Estimators of another package.

    Attributes
    ----------
    module, classifier, regressor : str
    settings : dict
        What has nothing to do with the model: threads, silence.
    """

    module: str
    classifier: str
    regressor: str
    settings: dict[str, Any] = field(default_factory=dict)


def _of(module: str, name: str, **settings: Any) -> Baseline:
    return Baseline(module, f"{name}Classifier", f"{name}Regressor", settings)


BASELINES = {
    "random forest": _of("sklearn.ensemble", "RandomForest", n_jobs=-1),
    "extra trees": _of("sklearn.ensemble", "ExtraTrees", n_jobs=-1),
    "bagging": _of("sklearn.ensemble", "Bagging"),
    "XGBoost": _of("xgboost", "XGB"),
    "LightGBM": _of("lightgbm", "LGBM", verbose=-1),
    "CatBoost": _of("catboost", "CatBoost", verbose=False, allow_writing_files=False),
    "RealMLP": _of("pytabkit", "RealMLP_TD_"),
    "TabM": _of("pytabkit", "TabM_D_"),
}
"""The last five come with ``pip install 'permgrad[studies]'``."""


def check_installed(names: tuple[str, ...]) -> None:
    """Raise `PermGradError` unless the packages of these baselines are there."""
    for name in names:
        module = BASELINES[name].module
        if importlib.util.find_spec(module) is None:
            raise pg.PermGradError(
                f"baselines: {name} needs the package {module}; pip install 'permgrad[studies]', or leave it out with"
                ' --set baselines="[random forest, extra trees, bagging]"'
            )


def fit_baseline(name: str, parts: Parts, random_state: int) -> Any:
    """Fit a baseline on the training rows; classes must be the numbers 0, 1, ...

    Only the neural peers are shown the validation rows: they stop by them, as the networks do.

    Returns
    -------
    What predicts validation and test rows.
    """
    baseline, train = BASELINES[name], parts["train"]
    kind = baseline.classifier if train.task == "classification" else baseline.regressor
    if baseline.module == "pytabkit":
        return _fit_peer(kind, parts, random_state)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # their own
        model = getattr(importlib.import_module(baseline.module), kind)(random_state=random_state, **baseline.settings)
        return model.fit(train.X, train.y.to_numpy())


def fit_and_evaluate(name: str, parts: Parts, random_state: int) -> Evaluation:
    """Fit a baseline on the training rows and evaluate it; see `fit_baseline` and `evaluate`."""
    return evaluate(fit_baseline(name, parts, random_state), parts)


class Predictions:
    """What a model that is gone predicted of some rows, as an estimator."""

    def __init__(self, known: list[tuple[Any, np.ndarray]], classes: np.ndarray | None) -> None:
        self.known, self.classes_ = known, classes

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return what was predicted of exactly these rows."""
        for rows, predicted in self.known:
            if rows is X:
                return predicted
        raise pg.PermGradError(
            "a peer predicts validation and test rows alone, the very tables that it was fitted beside"
        )

    def predict(self, X: Any) -> np.ndarray:
        """Return the likeliest class, or the number predicted."""
        predicted = self.predict_proba(X)
        return predicted.ravel() if self.classes_ is None else self.classes_[predicted.argmax(axis=1)]


def _fit_peer(kind: str, parts: Parts, random_state: int) -> Predictions:
    arrays = {f"{part}_X": rows.X.to_numpy(np.float32) for part, rows in parts.items()}
    arrays |= {f"{part}_y": rows.y.to_numpy() for part, rows in parts.items() if part != "test"}
    with tempfile.TemporaryDirectory() as scratch:
        given, predictions = Path(scratch) / "given.npz", Path(scratch) / "predictions.npz"
        np.savez(given, **arrays)
        # -P: or modules beside the script would hide those of the standard library
        command = [sys.executable, "-P", str(PEER), kind, str(random_state), str(given), str(predictions)]
        process = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)  # noqa: S603
        if process.returncode:
            raise pg.PermGradError(f"{kind} failed: {process.stderr.strip()[-400:]}")
        with np.load(predictions) as predicted:
            known = [(parts[part].X, predicted[part]) for part in ("validation", "test")]
    train = parts["train"]
    return Predictions(known, np.unique(train.y) if train.task == "classification" else None)
