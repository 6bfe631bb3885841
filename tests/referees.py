"""An evaluation written by hand: two rankings, two replacements, few points."""

from __future__ import annotations

import numpy as np
import pandas as pd

import permgrad as pg
from permgrad.evaluation._tables import evaluation_table
from permgrad.evaluation.stability import rank_stability

RANKINGS = ("permgrad", "random_forest")


def evaluation() -> pg.RankingEvaluation:
    """Return what `permgrad.evaluate_ranking` would of four columns."""
    half = {
        ("permgrad", "marginal", "most"): 0.5,
        ("permgrad", "marginal", "least"): 0.2,
        ("random_forest", "marginal", "most"): 0.4,
        ("random_forest", "marginal", "least"): 0.3,
        ("permgrad", "mean", "most"): 0.6,
        ("permgrad", "mean", "least"): 0.2,
        ("random_forest", "mean", "most"): 0.7,
        ("random_forest", "mean", "least"): 0.1,
    }
    curves = [
        {
            "ranking": name,
            "replacement": way,
            "curve": curve,
            "order": order,
            "k": 2 * share,
            "share": share,
            "loss": loss,
        }
        for (name, way, order), middle in half.items()
        for curve in ("deletion", "insertion")
        for share, loss in ((1.0, 1.0), (0.0, 0.1), (0.5, middle if curve == "deletion" else 99.0))
    ]
    areas = [
        {
            "ranking": name,
            "replacement": way,
            "difference": value,
            "std_error": 0.01,
            "better_p": 0.5 - 0.49 * (value == 0.6),
        }
        for name, way, value in zip(
            RANKINGS * 2, ("marginal", "marginal", "mean", "mean"), (0.3, 0.1, 0.4, 0.6), strict=True
        )
    ]
    retrain = [
        {"ranking": name, "share": share, "removed": 2 * share, "kept": 2 - 2 * share, "seed": 0, "score": score}
        for name, share, score in (
            ("permgrad", 0.0, 0.9),
            ("permgrad", 0.5, 0.6),
            ("random_forest", 0.0, 0.9),
            ("random_forest", 0.5, 0.7),
        )
    ]
    sanity = [
        {"test": test, "step": step, "layers": layers, "ranking": "permgrad", "spearman": value}
        for test, step, layers, value in (
            ("weights", 0, "none", 1.0),
            ("weights", 1, "head", 0.2),
            ("labels", 1, "none", -0.1),
        )
    ]
    scores = ([3.0, 2, 1, 0], [3.0, 1, 2, 0], [2.0, 3, 1, 0])
    stable = rank_stability([pg.FeatureRanking(tuple("abcd"), np.array(one)) for one in scores], k=2)
    return pg.RankingEvaluation(
        rankings={name: pg.FeatureRanking(tuple("abcd"), np.arange(4.0)) for name in RANKINGS},
        curves=evaluation_table("curves", curves),
        areas=evaluation_table("areas", areas),
        chance=evaluation_table("chance", []),
        retrain=evaluation_table("retrain", retrain),
        sanity=evaluation_table("sanity", sanity),
        agreement=pd.DataFrame([[1, 0.25], [np.nan, 1]], index=RANKINGS, columns=RANKINGS),
        stability={"seeds": {"permgrad": stable}, "bootstrap rows": {"permgrad": stable}},
        left_out=("retrain: share 0.7",),
    )
