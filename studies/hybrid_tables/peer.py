"""Fit a neural peer of pytabkit on arrays, in a process of its own: ``python peer.py KIND SEED IN.npz OUT.npz``.

TensorFlow and PyTorch each bring an LLVM; where both are in one process, the second to start ends it.
"""

from __future__ import annotations

import importlib
import sys

import numpy as np


def main(kind: str, random_state: int, given: str, predictions: str) -> None:
    """Fit on training rows, stop by validation rows; write what is predicted of these and of test rows."""
    data = np.load(given)
    model = getattr(importlib.import_module("pytabkit"), kind)(random_state=random_state, device="cpu", verbosity=0)
    model.fit(data["train_X"], data["train_y"], X_val=data["validation_X"], y_val=data["validation_y"])
    predict = model.predict_proba if kind.endswith("_Classifier") else model.predict
    np.savez(predictions, **{part: predict(data[f"{part}_X"]) for part in ("validation", "test")})


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
