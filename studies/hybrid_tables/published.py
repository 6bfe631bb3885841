"""Figures that others published of the five data sets, of other networks and splits."""

from __future__ import annotations

import numpy as np
import pandas as pd

LEADERBOARD = pd.DataFrame(
    [
        ("heloc", "XGBoost (its best tree)", 0.7315, 0.7922),
        ("heloc", "MLP", 0.7192, 0.7869),
        ("heloc", "CNN+MLP (its best)", 0.7233, 0.7844),
        ("dengue", "CatBoost", 0.7738, 0.8486),
        ("dengue", "MLP", 0.7525, 0.8265),
        ("dengue", "CNN+MLP", 0.7658, 0.8346),
        ("gas_drift", "CatBoost", 0.9948, np.nan),
        ("gas_drift", "MLP", 0.9902, np.nan),
        ("gas_drift", "CNN", 0.9956, np.nan),
        ("covertype", "MLP", 0.9631, np.nan),
        ("covertype", "CNN", 0.9649, np.nan),
        ("covertype", "CNN+MLP", 0.9629, np.nan),
        ("covertype", "ViT+MLP", 0.9705, np.nan),
    ],
    columns=["dataset", "model", "accuracy", "auc"],
)
"""The public leaderboard of the image library: the whole data sets, another split."""
BRANCH_WEIGHTS = {  # tabular, image
    "puma8nh": (2.3e-281, 1.0),
    "heloc": (0.461, 0.539),
    "dengue": (0.376, 0.624),
    "covertype": (0.438, 0.562),
    "gas_drift": (0.112, 0.888),
}
PUMA_INCREASES = {
    "theta3": 10.41,
    "theta2": 9.80,
    "thetad3": 0.228,
    "thetad2": 0.225,
    "thetad1": 0.211,
    "tau2": 0.160,
    "tau1": 0.104,
    "theta1": 0.048,
}
"""Rise of the squared error when the column is permuted."""
