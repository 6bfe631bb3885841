"""What the histopathology study found: every table (CSV) and picture (PNG), ``report.md``, and ``submission.csv``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

import permgrad as pg
from permgrad.estimators.saving import versions
from permgrad.files import new_file, write_text
from permgrad.patches.predicting import write_submission
from studies.kit.markdown import markdown

from . import tables as t
from .pictures import check_pictures, pictures
from .recipes import Recipe

SHOWN_PROBLEMS = 20
PHOTOS, PHOTO_DPI, DPI = ("patches", "heat"), 80, 100
"""Tissue in PNG is large."""


def write_checks(check: pg.PatchCheck, report: Path) -> None:
    """Write what was found before training: ``problems.csv``, ``shapes.csv``, ``classes.csv`` and three pictures."""
    report.mkdir(parents=True, exist_ok=True)
    found = {"problems": check.problems, "shapes": check.shapes, "classes": check.classes}
    _write(report, found, check_pictures(check))


def write_report(study: Any, done: t.Done, out: Path, report: Path | None = None) -> None:
    """Write the submission into `out`; tables, pictures and ``report.md`` into `report` or `out`."""
    report = report or out
    summary, pairs = t.folds(done)
    tables = {
        "comparison": t.comparison(done),
        "grid": t.grid(done),
        "grid_effects": t.grid_effects(done),
        "variants": t.variants(done),
        "folds": summary,
        "fold_differences": pairs,
        "ensembles": t.ensembles(done),
        "heat": t.heat(done),
        "asked": t.asked(done, summary),
    }
    write_checks(done["check"], report)
    _write(report, tables, pictures(done, tables))
    if "test" in done:
        write_submission(out / "submission.csv", *t.submission(done), column=study.submission_column)
    write_text(report / "report.md", _text(study, done, tables))


def _write(report: Path, tables: Mapping[str, pd.DataFrame], figures: Mapping[str, Figure]) -> None:
    for name, table in tables.items():
        write_text(report / f"{name}.csv", table.to_csv(index=False))
    for name, figure in figures.items():
        with new_file(report / f"{name}.png") as path:
            figure.savefig(path, format="png", dpi=PHOTO_DPI if name in PHOTOS else DPI)


def facts(study: Any, done: t.Done) -> str:
    """Say what was done, and the figures that matter most."""
    summary = t.folds(done)[0].set_index("name")["auc"]
    return (
        f"{done['check']}.\n"
        f"Mean AUC over {study.folds.n} folds: small CNN {summary['small CNN']:.4f}, the grid's best"
        f" {summary[t.NAMES['best']]:.4f}, {t.FOREST} {summary[t.FOREST]:.4f}. All trainings took"
        f" {t.minutes(done):.1f} minutes."
    )


def _text(study: Any, done: t.Done, tables: Mapping[str, pd.DataFrame]) -> str:
    small, best = study.small, Recipe.model_validate(done["longer"]["recipe"], strict=False)
    sections = {
        "The patches": _patches(done["check"]),
        "Backbones": (
            f"The baseline with each backbone, and the small CNN, on {len(done['validation']):,} validation patches"
            f" (stratified, {study.data.validation:.0%}). The baseline: {_recipe(study.baseline)}. The small CNN:"
            f" {_recipe(small)}. {_INTERVALS}\n\n"
            f"{markdown(tables['comparison'])}\n\n![Backbones](comparison.png)\n\n![Learning](learning.png)"
        ),
        "The grid": (
            f"{_failed(done)}{len(done['grid'])} combinations for {best.backbone}, {_epochs(study.cell({}))} each, as"
            " trials of"
            f" an Optuna study in study.db, as the backbones are; `permgrad dashboard` shows both. {_EFFECTS}\n\n"
            f"{markdown(tables['grid'])}\n\n![Grid](grid.png)\n\n{markdown(tables['grid_effects'])}"
        ),
        "One thing changed": (
            f"The grid's best combination, trained longer: {_recipe(best)}; and the same with one thing changed."
            f" {_BESIDE}\n\n{markdown(tables['variants'])}\n\n![Variants](variants.png)\n\n"
            "![Learning](learning_variants.png)"
        ),
        "Folds": (
            f"{study.folds.n} folds of all {len(done['check'].train):,} patches. *small CNN* and *the grid's"
            f" best*: as above. {_FOLDS}\n\n{markdown(tables['folds'])}\n\n"
            f"{markdown(tables['fold_differences'])}\n\n![ROC curves](roc.png)"
        ),
        "Averaged": f"{_AVERAGED}\n\n{markdown(tables['ensembles'])}\n\n![Ensembles](ensembles.png)",
        "Where the network looks": f"{_HEAT}\n\n![Heat](heat.png)\n\n{markdown(tables['heat'])}",
        "The submission": _submission(study, done),
        "Published": f"{_PUBLISHED}\n\n{markdown(t.PUBLISHED)}",
        "What was asked": markdown(tables["asked"]),
        "Versions": ", ".join(f"{name} {number}" for name, number in versions().items()) + ".",
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    return f"# Metastasis in pathology patches\n\n{facts(study, done)}\n\n{body}\n"


def _failed(done: t.Done) -> str:
    failed = done["failed"]
    return f"{failed} trainings of backbones or the grid failed; `permgrad dashboard` says why. " if failed else ""


def _patches(check: pg.PatchCheck) -> str:
    problems = check.problems
    listed = "Nothing has to be left out." if problems.empty else markdown(problems.head(SHOWN_PROBLEMS))
    more = (
        f"\n\n(and {len(problems) - SHOWN_PROBLEMS:,} more, in problems.csv)" if len(problems) > SHOWN_PROBLEMS else ""
    )
    return (
        f"SHA-256 of ids, labels and pixels: `{check.sha256}`. Which slide a patch is from is not known: patches of one"
        " slide are likely on both sides of every split here, and figures for a new slide would be lower.\n\n"
        f"{listed}{more}\n\n{markdown(check.classes)}\n\n{markdown(check.shapes)}\n\n"
        "![Classes](classes.png)\n\n![Patches](patches.png)\n\n![Values of pixels](pixels.png)"
    )


def _epochs(recipe: Recipe) -> str:
    return "1 epoch" if recipe.epochs == 1 else f"{recipe.epochs} epochs"


def _recipe(recipe: Recipe) -> str:
    size = "patches as they are" if recipe.image_size is None else f"{recipe.image_size} × {recipe.image_size} pixels"
    weights = {"random": "random weights", "imagenet": "ImageNet's weights"}.get(recipe.weights, "weights from a file")
    changed = {k: v for k, v in recipe.augmentation.model_dump().items() if v}
    more = [
        "positives weighed" if recipe.positive_weight else "",
        f"{recipe.sampling} sampling" if recipe.sampling != "plain" else "",
        f"{recipe.unfreezing} backbone" if recipe.unfreezing != "free" else "",
    ]
    return (
        f"{recipe.backbone}, {weights}, {size}, {_epochs(recipe)} in batches of {recipe.batch_size},"
        f" {recipe.schedule.replace('_', '-')} rate of {recipe.learning_rate:g}, decay {recipe.weight_decay:g}, dropout"
        f" {recipe.dropout:g}, augmentation"
        f" {', '.join(f'{k} {v:g}' if v is not True else k for k, v in changed.items()) or 'none'}"
        f"{''.join(f', {text}' for text in more if text)}"
    )


_INTERVALS = (
    "AUC with DeLong's 95 % interval over the validation patches; it does not cover what another training would give."
    " *loss*: of the last epoch, augmented and weighed. *images_per_second*: trained, median of all epochs but the"
    " first, which begins with compiling."
)
_EFFECTS = (
    "The best of several is partly the luckiest: its AUC here is too good, and the intervals show how close the others"
    " are. Below, the mean over all combinations that share one value."
)
_BESIDE = (
    "*difference* from the first row, with DeLong's interval (*from*, *to*) and p-value on the same patches, p adjusted"
    " by Holm over the rows; one training each, so luck of the start is not told apart from the change."
)
_FOLDS = (
    "*eight-fold*: the mean over the eight symmetries of a square. The forest knows statistics of colours, gradients"
    " and Laplacians alone. *auc*: mean over folds with its 95 % interval (Nadeau and Bengio), *lowest*: of one fold,"
    " *pooled*: of all patches at once. The grid's best was chosen by patches that are in these folds too, so"
    " its figures are slightly too good. The small CNN's settings are those of the YAML file; they were set by hand,"
    " after a look at three folds of the patches that this study was written with."
)
_AVERAGED = (
    "Means of probabilities on the validation patches, beside the longer training (*it*) as it is; columns as above. No"
    " network of a fold is among them, for those have seen these patches."
)
_HEAT = (
    "Grad-CAM of the longer training's network on validation patches, at its last convolution, for the class that it"
    " says. Above each patch: its probability of tumour, and the true label. In the table, the mean share of the heat"
    " that lies on tissue (optical density of at least 0.15) and in the middle 32 × 32 pixels, whose tumour cells"
    " decide the label, beside their share of the area: a network that looked anywhere would have equal numbers. Up to"
    " 200 validation patches, by what the network says; *without_heat*: the share of maps that are empty."
)
_PUBLISHED = (
    "Validation AUC on the competition's 33,004 validation patches, from networks pretrained on ImageNet and 187,021"
    " training patches; test inference took 5 min 24 s for 57,458 patches, 177 a second. They cannot be compared with"
    " figures from fewer patches or random weights."
)


def _submission(study: Any, done: t.Done) -> str:
    if "test" not in done:
        return "There are no test patches."
    images = sum(unit["images"] for unit in done["test"])
    rate = images / sum(unit["seconds"] for unit in done["test"])
    return (
        f"submission.csv has the {len(done['check'].test_ids):,} files of the test directory in the order of their"
        f" names, with the probability of tumour: the mean over the {study.folds.n} networks of the folds of"
        f" {t.NAMES[done['submitted']]} (the higher mean AUC over folds) and eight symmetries. {images:,} images were"
        f" predicted, {rate:,.0f} a second."
    )
