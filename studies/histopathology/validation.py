"""What else can classify the patches, in the study's folds, and whether the probabilities hold what they say.

    python -m studies.histopathology.validation [--data DIR] [--from-scratch] [--group FILE] [--out DIR]

Beside the study's small CNN and its forest: the same CNN on patches of normalised stain, and the backbone of the
baseline, which is not trained, under a linear head. Areas have intervals over whole slides, where these are known. A
network's logits are divided by one temperature, which is fitted on the other folds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import log_loss

import permgrad as pg
from permgrad.layers.temperature import fit_temperature
from permgrad.metrics.calibration import calibrated_error
from permgrad.metrics.roc import auc_interval
from permgrad.training.config import choose_precision
from studies.histopathology.results import mean_probability
from studies.histopathology.settings import FAST, FROM_SCRATCH, PatchSettings
from studies.histopathology.study import Rows, check_data, cross_validate, fixed, split
from studies.histopathology.tables import FOREST, Said, folds
from studies.histopathology.trainings import Trainer
from studies.kit import Preset, Setting, Study, Workspace

SMALL, STAIN, FROZEN = "small CNN", "small CNN, normalised stain", "frozen backbone, linear head"


@dataclass(frozen=True, eq=False)
class Validation:
    """What the models say of all labelled patches, each by networks of the other folds.

    Attributes
    ----------
    patches : Patches
    rows : list of ndarray
        Which patches each fold evaluates on.
    said : dict of str to list of ndarray
    minutes : float
        That all steps took.
    """

    patches: pg.Patches
    rows: list[np.ndarray]
    said: Said
    minutes: float


def run(settings: PatchSettings, workspace: Workspace) -> Validation:
    """Train what is left to train in the study's folds."""
    check = check_data(settings, verbose=workspace.verbose)
    workspace.check_same({"settings": fixed(settings), "patches": check.sha256})
    parts = split(settings, check.train)[1]
    trainer = Trainer(
        workspace, choose_precision(settings.precision), settings.random_state, settings.workers, 4 * len(parts)
    )
    recipes = {SMALL: settings.small, STAIN: settings.small.but({"normalised_stain": True})}
    trainings, forests = cross_validate(settings, trainer, check, parts, recipes)
    others = {FROZEN: linear_heads(settings, trainer, check, parts), FOREST: forests}
    said: Said = {name: [mean_probability(each) for each in networks] for name, networks in trainings.items()}
    said |= {name: [np.array(each["probabilities"]) for each in steps] for name, steps in others.items()}
    steps = [step for each in (*trainings.values(), *others.values()) for step in each]
    return Validation(check.train, [at for _, at in parts], said, sum(step["step_seconds"] for step in steps) / 60)


def linear_heads(
    settings: PatchSettings, trainer: Trainer, check: pg.PatchCheck, parts: list[Rows]
) -> list[dict[str, Any]]:
    """Fit a linear head in each fold, on vectors of the baseline's backbone."""
    y, groups, recipe = check.train.y, check.train.groups, settings.baseline
    vectors = trainer.embeddings(check, recipe)
    key = recipe.key(check.sha256)
    heads = []
    for i, (train, evaluated) in enumerate(parts):

        def head(train: np.ndarray = train, evaluated: np.ndarray = evaluated) -> np.ndarray:
            known = None if groups is None else groups[train]
            model = pg.linear_head(vectors[train], y[train], groups=known, random_state=trainer.random_state)
            return model.predict_proba(vectors[evaluated])[:, 1]

        heads.append(trainer.classify(f"heads/{key}_fold_{i}_of_{len(parts)}", y[evaluated], head))
    return heads


def tables(settings: PatchSettings, results: Validation) -> dict[str, pd.DataFrame]:
    """Return every table by its name."""
    pairs = [*combinations(results.said, 2)]
    summary, differences = folds(results.patches.y, results.rows, results.said, pairs)
    areas = pooled_areas(results.patches, results.rows, results.said)
    return {
        "validation": summary.drop(columns="pooled"),
        "validation_areas": areas,
        "validation_differences": differences,
        "calibration": calibration(results.patches.y, results.rows, results.said),
    }


def pooled_areas(patches: pg.Patches, rows: list[np.ndarray], said: Said) -> pd.DataFrame:
    """Return the AUC of all patches at once, with its interval over slides, or over patches where none are known."""
    order = np.concatenate(rows)
    groups = None if patches.groups is None else patches.groups[order]
    areas = {
        name: auc_interval(patches.y[order], np.concatenate(each), groups=groups)._asdict()
        for name, each in said.items()
    }
    return pd.DataFrame([{"name": name, **area} for name, area in areas.items()])


def calibration(y: np.ndarray, rows: list[np.ndarray], said: Said) -> pd.DataFrame:
    """Return log loss and calibration error of each model, as it is and with a temperature fitted on the other folds.

    Parameters
    ----------
    y : ndarray of shape (n_patches,)
        0 or 1.
    rows : list of ndarray
        Which patches each fold evaluates on.
    said : dict of str to list of ndarray

    Returns
    -------
    DataFrame
        ``name``; ``log_loss``, ``error``: expected calibration error in bins of equally many patches; ``if_true``: its
        mean, were these very probabilities true; ``temperature``: the mean over folds; ``log_loss_after``,
        ``error_after``. A fold's temperature is fitted on what the models of the other folds say of their own patches.
    """
    order = np.concatenate(rows)
    table = []
    for name, each in said.items():
        temperatures = [
            fit_temperature(two_columns(np.concatenate(_without(each, i))), y[np.concatenate(_without(rows, i))])
            for i in range(len(rows))
        ]
        cooled = [at_temperature(p, t) for p, t in zip(each, temperatures, strict=True)]
        before, after = (two_columns(np.concatenate(values)) for values in (each, cooled))
        table.append(
            {
                "name": name,
                "log_loss": log_loss(y[order], before),
                "error": pg.expected_calibration_error(y[order], before),
                "if_true": calibrated_error(before)[0],
                "temperature": float(np.mean(temperatures)),
                "log_loss_after": log_loss(y[order], after),
                "error_after": pg.expected_calibration_error(y[order], after),
            }
        )
    return pd.DataFrame(table)


def _without(parts: list[np.ndarray], i: int) -> list[np.ndarray]:
    return [part for j, part in enumerate(parts) if j != i]


def two_columns(positive: np.ndarray) -> np.ndarray:
    """Return the probabilities of both classes, (n, 2)."""
    return np.column_stack([1 - positive, positive])


def at_temperature(positive: np.ndarray, temperature: float) -> np.ndarray:
    """Return probabilities whose logits are divided by a temperature."""
    powers = two_columns(positive).clip(1e-30) ** (1 / temperature)
    return powers[:, 1] / powers.sum(axis=1)


def facts(settings: PatchSettings, results: Validation, tables: Mapping[str, Any]) -> dict[str, Any]:
    """Return what else the report names."""
    groups = results.patches.groups
    return {"n_slides": None if groups is None else len(np.unique(groups)), "frozen": settings.baseline}


STUDY = Study(
    name="histopathology_validation",
    directory=Path(__file__).parent,
    template="validation.md.j2",
    help="Cross-validate what else can classify the patches: normalised stain, a frozen backbone; and calibration.",
    settings=PatchSettings,
    fast=FAST,
    fast_help="From scratch, 160 patches, few epochs: a look.",
    run=run,
    tables=tables,
    pictures=lambda settings, results, tables: {},
    facts=facts,
)

if __name__ == "__main__":
    STUDY.command(
        Setting("--data", "data.directory", "Directory with train_labels.csv and train/."),
        Preset("--from-scratch", FROM_SCRATCH, "No pretrained weights, few patches."),
        Setting("--group", "data.groups", "Slides or patients: a CSV file (id, group), or how ids name them."),
    )()
