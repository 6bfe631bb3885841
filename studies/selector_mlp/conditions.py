"""The networks and linear SVMs that rank genes, by their names in tables and settings."""

from __future__ import annotations

from typing import Any

CONDITIONS: dict[str, dict[str, Any]] = {
    "MLP, bare": {"selector": "none", "noise": 0.0, "dropout": 0.0},
    "MLP, noise": {"selector": "none", "dropout": 0.0},
    "MLP, dropout": {"selector": "none", "noise": 0.0},
    "MLP": {"selector": "none"},
    "MLP, batch norm": {"selector": "none", "batch_norm": True},
    "selector": {"penalty": None},
    "selector L1": {"penalty": "l1"},
    "selector L2": {"penalty": "l2"},
    "clamped L1": {"selector": "clamped", "penalty": "l1"},
    "selector L1/L2": {"penalty": "l1/l2"},
    "stochastic": {"selector": "stochastic"},
    "narrowing": {"selector": "narrowing", "penalty": "l1"},
    "selector, from ones": {"penalty": None, "start": "ones"},
    "selector L1, from ones": {"penalty": "l1", "start": "ones"},
    "selector L2, from ones": {"penalty": "l2", "start": "ones"},
}
"""Arguments of `permgrad.SelectorClassifier`; noise and dropout are on unless they are named. The last six are beyond
the published ones; those from ones are trained only where settings name them. New ones go to the end: seeds depend on
the order."""
REFEREE = "MLP"
"""The network by which the panels of all rankings are compared; its own ranking is the one that others are held to."""
SVMS = {"SVM L1": "l1", "SVM L2": "l2"}
"""Penalties of linear SVMs. Their solver draws nothing: one ranking each, whatever the seed."""
SPARSE = ("selector L1", "stochastic", "narrowing")
"""Which are compared at every size of a panel."""


def network_on_panel(condition: str) -> str:
    """Return the condition of a network that is trained on a panel: what a path leaves at its end is a plain MLP."""
    return REFEREE if condition == "narrowing" else condition


def is_selector(ranking: str) -> bool:
    """Tell selectors from plain MLPs and SVMs."""
    return CONDITIONS.get(ranking, {"selector": "none"}).get("selector") != "none"
