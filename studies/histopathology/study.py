"""Metastasis in pathology patches: transfer learning, what it gains over training from scratch, and where it looks.

    python -m studies.histopathology [--data DIR] [--from-scratch] [--set baseline.epochs=3] [--fast] [--out DIR]

The published study fine-tunes backbones that were pretrained on ImageNet on Kaggle's 96 × 96 patches, compares them,
tries a grid of settings and trains the best of them longer. This one does the same; then changes one thing at a time of
the best; validates it, a small network from scratch and a random forest on colour and texture in k folds; averages
networks, and the eight symmetries of a square; shows by Grad-CAM where the network looks; and writes the submission.

Every training is a cached step: stopped and started again, the study goes on from there. Other recipes and a larger
grid can be asked for later; another split and other patches need another directory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, train_test_split

import permgrad as pg
from permgrad.data._splitting import holdout
from permgrad.data.rows import RowFacts
from permgrad.estimators.saving import versions
from permgrad.patches.heat import notable_patches, patch_heat
from permgrad.patches.predicting import write_submission
from permgrad.training.config import choose_precision
from studies.histopathology.forest import forest_probability
from studies.histopathology.grid import search
from studies.histopathology.pictures import check_pictures, pictures
from studies.histopathology.recipes import Recipe
from studies.histopathology.results import Heat, Results, Training, mean_probability, submission
from studies.histopathology.settings import FAST, FROM_SCRATCH, PatchSettings
from studies.histopathology.tables import FOREST, NAMES, check_tables, tables
from studies.histopathology.trainings import Part, Trainer
from studies.kit import Preset, Setting, Study, Workspace
from studies.kit.data import find_data
from studies.kit.writing import write_pictures, write_tables

HEAT_SAMPLE = 200
"""Validation patches over which the shares of heat are averaged."""
Rows = tuple[np.ndarray, np.ndarray]
"""Of the patches that are trained on, and of those that are evaluated."""


def check_data(settings: PatchSettings, *, verbose: bool = False) -> pg.PatchCheck:
    """Read all patches, and say which can be used."""
    data = settings.data
    directory = find_data(
        data.directory,
        "say where the patches are (--data DIR): train_labels.csv, train/ and test/, in the layout of Kaggle's"
        " Histopathologic Cancer Detection",
    )
    return pg.check_patches(
        directory,
        groups=data.groups,
        strict=data.strict,
        at_most=data.at_most,
        random_state=data.random_state,
        workers=settings.workers,
        verbose=verbose,
    )


def fixed(settings: PatchSettings) -> dict[str, Any]:
    """Return the settings that may not change in a directory."""
    return {
        "precision": choose_precision(settings.precision),
        "random_state": settings.random_state,
        "data": settings.data.model_dump(include={"at_most", "validation", "random_state"})
        | ({"groups": settings.data.groups} if settings.data.groups else {}),
        "folds": settings.folds.model_dump(mode="json"),
    }


def check_backbones(settings: PatchSettings, patch_shape: tuple[int, int, int]) -> None:
    """Build each network once: names and weights that are missing are known before hours of training."""
    for recipe in {(r.backbone, r.weights, r.image_size): r for r in settings.recipes()}.values():
        try:
            recipe.network(patch_shape, "float32", 0)
        except pg.PermGradError as error:
            hint = "; here: --set weight_files.NAME=FILE, or --from-scratch" if recipe.weights == "imagenet" else ""
            raise pg.PermGradError(f"{error}{hint}") from error


def split(settings: PatchSettings, patches: pg.Patches) -> tuple[Rows, list[Rows]]:
    """Split the patches, stratified: into training and validation; and into folds. Whole groups, where they are known.

    Raises
    ------
    PermGradError
        If some part would have fewer than two patches of a class, or if patches are not square.
    """
    if patches.shape[0] != patches.shape[1]:
        raise pg.PermGradError(f"eight symmetries need square patches, these are of {patches.shape[:2]} pixels")
    rows, y, groups, data = np.arange(len(patches)), patches.y, patches.groups, settings.data
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    folds = kind(settings.folds.n, shuffle=True, random_state=settings.folds.random_state)
    try:
        if groups is None:
            first = train_test_split(rows, test_size=data.validation, stratify=y, random_state=data.random_state)
        else:
            first = holdout(
                pd.Series(y), RowFacts.of(len(y), groups=groups), data.validation, data.random_state, classes=True
            )
        parts = [tuple(map(np.sort, first)), *folds.split(rows, y, groups)]
    except ValueError as error:
        raise pg.PermGradError(f"{len(patches)} patches cannot be split: {error}") from error
    for _, evaluated in parts:
        counts = np.bincount(patches.y[evaluated], minlength=2)
        if counts.min() < 2:
            raise pg.PermGradError(
                f"a part for evaluation would have {counts[0]} patches of label 0 and {counts[1]} of label 1, two of"
                " each are needed: take more patches, a larger share for validation or fewer folds"
            )
    return parts[0], parts[1:]


def run(settings: PatchSettings, workspace: Workspace) -> Results:
    """Do the study, or do what is left of it. What is known of the patches is written before anything is trained."""
    check = check_data(settings, verbose=workspace.verbose)
    if workspace.verbose:
        click.echo(check)
    workspace.check_same({"settings": fixed(settings), "patches": check.sha256})
    write_tables(workspace.report, check_tables(check))
    write_pictures(workspace.report, check_pictures(check))
    (train, validation), folds = split(settings, check.train)
    check_backbones(settings, check.train.shape)
    precision = choose_precision(settings.precision)
    trainer = Trainer(workspace, precision, settings.random_state, settings.workers, n_steps(settings, check))
    part = Part("split", check.train.take(train), check.train.take(validation))

    backbones = search_trials(
        trainer, part, "backbones", {"backbone": [*settings.comparison.backbones]}, settings.changed
    )
    grid = search_trials(trainer, part, "grid", settings.grid.space, settings.combination)
    best = max(grid, key=lambda training: training["auc"])["params"]
    longest = settings.longest(best)
    longer = trainer.train(longest, part, keep=True)
    trainings, forests = cross_validate(settings, trainer, check, folds, {"small CNN": settings.small, "best": longest})
    submitted = max(trainings, key=lambda name: np.mean([each["auc"] for each in trainings[name]]))
    results = Results(
        check=check,
        validation=part.evaluated,
        comparison={
            **{training["params"]["backbone"]: training for training in backbones},
            "small CNN": trainer.train(settings.small, part),
        },
        grid=grid,
        failed=n_trials(settings) - len(backbones) - len(grid),
        longer=longer,
        variants={
            name: trainer.train(settings.longest(best, changes), part) for name, changes in settings.variants.items()
        },
        fold_rows=[evaluated for _, evaluated in folds],
        folds=trainings,
        forests=forests,
        submitted=submitted,
        predictions=[trainer.predict(each["network"], check) for each in trainings[submitted]] if check.test else [],
        heat=compute_heat(trainer, longer, part.evaluated, settings.shown),
    )
    if results.predictions:
        write_submission(workspace.out / "submission.csv", *submission(results), column=settings.submission_column)
    return results


def n_trials(settings: PatchSettings) -> int:
    """Return how many backbones and combinations of the grid there are."""
    return len(settings.comparison.backbones) + math.prod(map(len, settings.grid.space.values()))


def n_steps(settings: PatchSettings, check: pg.PatchCheck) -> int:
    """Return how many steps there are, if no two are of one recipe."""
    a_fold = 4 if check.test else 3  # small CNN, the grid's best, a forest; predictions
    return n_trials(settings) + 2 + len(settings.variants) + a_fold * settings.folds.n


def search_trials(
    trainer: Trainer,
    part: Part,
    name: str,
    space: dict[str, list[Any]],
    recipe: Callable[[dict[str, Any]], Recipe],
) -> list[dict[str, Any]]:
    """Train every combination as a trial of an Optuna study in ``study.db``; see `search`."""
    first = recipe({key: values[0] for key, values in space.items()})
    depends = {"split": part.name, "first": first.key(trainer.random_state, trainer.precision)}
    return search(trainer.workspace.out, name, space, depends, lambda params: trainer.train(recipe(params), part))


def cross_validate(
    settings: PatchSettings, trainer: Trainer, check: pg.PatchCheck, folds: list[Rows], recipes: dict[str, Recipe]
) -> tuple[dict[str, list[Training]], list[dict[str, Any]]]:
    """Train networks and a forest on the same folds: each recipe's trainings, and the forests."""
    patches = check.train
    trainings: dict[str, list[Training]] = {name: [] for name in recipes}
    forests = []
    statistics = cache(lambda: trainer.statistics(check))  # only where a forest has to be fitted
    for i, (train, evaluated) in enumerate(folds):
        part = Part(f"fold {i} of {settings.folds.n}", patches.take(train), patches.take(evaluated))
        for name, recipe in recipes.items():
            trainings[name].append(trainer.train(recipe, part, keep=True))

        def forest(train: np.ndarray = train, evaluated: np.ndarray = evaluated) -> np.ndarray:
            known = (statistics()[train], patches.y[train])
            return forest_probability(known, statistics()[evaluated], settings.forest_trees, trainer.random_state)

        name = f"forests/{settings.forest_trees}_trees_fold_{i}"
        forests.append(trainer.classify(name, patches.y[evaluated], forest))
    return trainings, forests


def compute_heat(trainer: Trainer, training: Training, patches: pg.Patches, k: int) -> Heat:
    """Compute the heat of the patches that are shown, `k` of each kind, and of 200 at random for the shares of it."""
    shown = notable_patches(patches.y, mean_probability(training), k)
    sample = np.random.default_rng(trainer.random_state).permutation(len(patches))[:HEAT_SAMPLE]
    rows = np.unique(np.concatenate([sample, *shown.values()]))
    images = patches.pixels(rows)
    maps = patch_heat(trainer.load(training["network"]), images)
    return Heat(rows, images, maps, shown, np.isin(rows, sample))


def facts(settings: PatchSettings, results: Results, tables: Mapping[str, Any]) -> dict[str, Any]:
    """Return what else the report names."""
    auc = tables["folds"].set_index("name")["auc"]
    predictions = results.predictions
    images, seconds = (sum(each[what] for each in predictions) for what in ("images", "seconds"))
    return {
        "auc": {"small": auc[NAMES["small CNN"]], "best": auc[NAMES["best"]], "forest": auc[FOREST]},
        "best": Recipe.model_validate(results.longer["recipe"], strict=False),
        "minutes": results.minutes(),
        "submitted": NAMES[results.submitted],
        "predicted_images": images,
        "images_per_second": images / seconds if predictions else 0.0,
        "versions": versions(),
    }


STUDY = Study(
    name="histopathology",
    directory=Path(__file__).parent,
    help="Tell metastasis in pathology patches: backbones, a grid, folds, ensembles, and where the network looks.",
    settings=PatchSettings,
    fast=FAST,
    fast_help="From scratch, 160 patches, small networks and few epochs: a look, in two minutes.",
    run=run,
    tables=tables,
    pictures=pictures,
    facts=facts,
)
main = STUDY.command(
    Setting("--data", "data.directory", "Directory with train_labels.csv, train/ and test/."),
    Preset("--from-scratch", FROM_SCRATCH, "No pretrained weights, few patches: within an hour on two cores."),
    Setting(
        "--group", "data.groups", "Slides or patients: a CSV file (id, group), or 'slide' or 'patient', read from ids."
    ),
    Setting("--strict", "data.strict", "Stop where a patch has to be left out.", is_flag=True),
    Setting("--random-state", "random_state", "Of networks, order and augmentation.", type=int),
)
