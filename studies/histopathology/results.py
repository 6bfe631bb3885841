"""What the steps of the histopathology study gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import permgrad as pg
from permgrad.patches.predicting import probability

Training = Mapping[str, Any]
"""What `Trainer.train` returns."""


@dataclass(frozen=True, eq=False)
class Heat:
    """Grad-CAM maps of some validation patches.

    Attributes
    ----------
    rows : ndarray of shape (n,)
        Which validation patches.
    images : ndarray of shape (n, height, width, 3)
    maps : ndarray of shape (n, height, width)
    kinds : dict of str to ndarray
        Rows that are shown, see `notable_patches`.
    sampled : ndarray of shape (n,), bool
        Which of the rows were drawn at random, for the mean shares of heat.
    """

    rows: np.ndarray
    images: np.ndarray
    maps: np.ndarray
    kinds: Mapping[str, np.ndarray]
    sampled: np.ndarray


@dataclass(frozen=True, eq=False)
class Results:
    """Results of one directory of patches.

    Attributes
    ----------
    check : PatchCheck
    validation : Patches
    comparison : dict of str to Training
        The baseline with each backbone, and the small CNN.
    grid : list of Training
        Each with ``params``.
    failed : int
        Trainings of backbones and the grid that diverged.
    longer : Training
        The grid's best combination, trained longer.
    variants : dict of str to Training
        It with one thing changed.
    fold_rows : list of ndarray
        Which of all patches each fold evaluates on.
    folds : dict of str to list of Training
        "small CNN" and "best": one training a fold.
    forests : list of dict
        One a fold.
    submitted : str
        Which of `folds` predicts the test patches: the one with the higher mean AUC.
    predictions : list of dict
        Of the test patches, one a fold; empty without test patches.
    heat : Heat
    """

    check: pg.PatchCheck
    validation: pg.Patches
    comparison: Mapping[str, Training]
    grid: list[Training]
    failed: int
    longer: Training
    variants: Mapping[str, Training]
    fold_rows: list[np.ndarray]
    folds: Mapping[str, list[Training]]
    forests: list[Mapping[str, Any]]
    submitted: str
    predictions: list[Mapping[str, Any]]
    heat: Heat

    def minutes(self) -> float:
        """Return how long all steps took together; a recipe that comes twice was trained once."""
        trainings = [*self.comparison.values(), *self.grid, self.longer, *self.variants.values()]
        trainings += [training for each in self.folds.values() for training in each]
        steps = [*{each["network"]: each for each in trainings}.values(), *self.forests, *self.predictions]
        return sum(step["step_seconds"] for step in steps) / 60


def mean_probability(prediction: Mapping[str, Any], symmetries: int = 1) -> np.ndarray:
    """Return probabilities, (n,), of ``logits``: of the patches as they are, or the mean over their symmetries."""
    return probability(np.array(prediction["logits"])[:, :symmetries]).mean(axis=1)


def submission(results: Results) -> tuple[tuple[str, ...], np.ndarray]:
    """Return ids of all test patches and probabilities: the mean over the folds' networks and eight symmetries.

    A patch that cannot be read gets the share of positives among the labelled ones.
    """
    ids, prior = results.check.test_ids, float(np.mean(results.check.train.y))
    by_network = [
        dict(zip(each["ids"], mean_probability(each, 8).tolist(), strict=True)) for each in results.predictions
    ]
    return ids, np.array([np.mean([known.get(name, prior) for known in by_network]) for name in ids])
