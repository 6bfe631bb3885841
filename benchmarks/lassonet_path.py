"""LassoNet's path in a process of its own: PyTorch's compiler and TensorFlow's cannot be loaded in one.

    python -m benchmarks.lassonet_path CELLS.npz SCORES.npy

Reads training and validation cells; writes each gene's importance: the penalty at which it leaves the path, inf for
those that never leave.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np


def main() -> None:
    from lassonet import LassoNetClassifier

    source, target = sys.argv[1:]
    with np.load(source, allow_pickle=False) as given:
        coarse: dict[str, Any] = {"n_iters": (100, 10), "path_multiplier": 1.1}
        chosen = coarse if given["coarse"] else {"path_multiplier": 1.02}
        model = LassoNetClassifier(
            hidden_dims=(128, 64), M=10, torch_seed=int(given["random_state"]), verbose=0, **chosen
        )
        model.path(given["X"], given["y"], X_val=given["X_val"], y_val=given["y_val"])
    np.save(target, model.feature_importances_.numpy())


if __name__ == "__main__":
    main()
