"""Fit RealMLP or TabM on arrays: ``python neural_peer.py NAME TASK SEED THREADS IN.npz OUT.npz``.

For two classes, where the score is the area under the ROC curve, the best epoch is that of the lowest cross-entropy,
and labels are not smoothed; otherwise both are as by default (for accuracy).
"""

from __future__ import annotations

import importlib
import sys
import time
import warnings
from typing import Any

import numpy as np
import pandas as pd


def frame(data: Any, part: str) -> pd.DataFrame:
    numbers, codes = data[f"{part}_numbers"], data[f"{part}_codes"]
    X = pd.DataFrame(numbers, columns=[f"n{i}" for i in range(numbers.shape[1])])
    columns = {
        f"c{i}": pd.Categorical(column, range(-1, data["train_codes"].max() + 1)) for i, column in enumerate(codes.T)
    }
    return X.assign(**columns)


def main(name: str, task: str, random_state: str, threads: str, given: str, results: str) -> None:
    warnings.simplefilter("ignore")
    data = np.load(given)
    kind = f"{name}_{'Regressor' if task == 'regression' else 'Classifier'}"
    settings: dict[str, Any] = {"val_metric_name": "cross_entropy"} if task == "two classes" else {}
    if task == "two classes" and name.startswith("RealMLP"):
        settings["use_ls"] = False
    model = getattr(importlib.import_module("pytabkit"), kind)(
        random_state=int(random_state), n_threads=int(threads), device="cpu", verbosity=0, **settings
    )
    train, validation, test = (frame(data, part) for part in ("train", "validation", "test"))
    categorical = [column for column in train if column.startswith("c")]
    start = time.perf_counter()
    model.fit(train, data["train_y"], X_val=validation, y_val=data["validation_y"], cat_col_names=categorical)
    seconds = time.perf_counter() - start
    predict = model.predict if task == "regression" else model.predict_proba
    np.savez(results, predicted=predict(test), seconds=seconds)


if __name__ == "__main__":
    main(*sys.argv[1:])
