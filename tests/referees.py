"""An evaluation written by hand: two rankings, two replacements, few points."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd

RANKINGS = ("permgrad", "random_forest")


def evaluation() -> SimpleNamespace:
    """Return what `permgrad.evaluate_ranking` would, as far as pictures and page read it."""
    half = {
        ("permgrad", "zero", "most"): 0.5,
        ("permgrad", "zero", "least"): 0.2,
        ("random_forest", "zero", "most"): 0.4,
        ("random_forest", "zero", "least"): 0.3,
        ("permgrad", "mean", "most"): 0.6,
        ("permgrad", "mean", "least"): 0.2,
        ("random_forest", "mean", "most"): 0.7,
        ("random_forest", "mean", "least"): 0.1,
    }
    curves = [
        {"ranking": name, "replacement": way, "curve": curve, "order": order, "share": share, "loss": loss}
        for (name, way, order), middle in half.items()
        for curve in ("deletion", "insertion")
        for share, loss in ((1.0, 1.0), (0.0, 0.1), (0.5, middle if curve == "deletion" else 99.0))
    ]
    retrain = [("permgrad", 0.0, 0.9), ("permgrad", 0.5, 0.6), ("random_forest", 0.0, 0.9), ("random_forest", 0.5, 0.7)]
    sanity = [("weights", 0, "none", 1.0), ("weights", 1, "head", 0.2), ("labels", 1, "none", -0.1)]
    stable = SimpleNamespace(nogueira=0.8, nogueira_interval=(0.6, 0.95), overlap=0.75, spearman=0.7)
    return SimpleNamespace(
        curves=pd.DataFrame(curves),
        areas=pd.DataFrame({"ranking": RANKINGS, "replacement": "zero", "difference": [0.3, 0.1]}),
        retrain=pd.DataFrame(retrain, columns=["ranking", "share", "score"]),
        sanity=pd.DataFrame(sanity, columns=["test", "step", "layers", "spearman"]).assign(ranking="permgrad"),
        agreement=pd.DataFrame([[1, 0.25], [np.nan, 1]], index=RANKINGS, columns=RANKINGS),
        stability={"seeds": {"permgrad": stable}, "bootstrap rows": {"permgrad": stable}},
        summary=pd.DataFrame({"ranking": RANKINGS, "deletion_zero": [0.3125, 0.125], "spearman": [1.0, np.nan]}),
        losses=("deletion (mean): random_forest 0.6 > permgrad 0.4",),
        left_out=("retrain: share 0.7",),
    )
