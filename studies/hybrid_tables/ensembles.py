"""Several networks of the study as one: the mean of what they predict. Nothing is trained here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from studies.hybrid_tables.networks import BySeed, Evaluation, evaluate_predictions


def average_by_seed(facts: Mapping[str, Any], networks: Sequence[BySeed]) -> BySeed:
    """Average the networks of each seed that all of them were trained with.

    Parameters
    ----------
    facts : mapping
        ``task`` and ``truth``.
    networks : sequence of mappings
        Seed → evaluation, of each network.
    """
    common = sorted(set.intersection(*(set(by_seed) for by_seed in networks)))
    return {seed: average(facts, [by_seed[seed] for by_seed in networks]) for seed in common}


def average(facts: Mapping[str, Any], evaluations: Iterable[Evaluation]) -> Evaluation:
    """Evaluate the mean of several models' predictions; for classification, of their probabilities."""
    predictions = "predicted" if facts["task"] == "regression" else "probabilities"
    mean = np.mean([each[predictions] for each in evaluations], axis=0)
    return evaluate_predictions(facts["task"], np.asarray(facts["truth"]), mean)
