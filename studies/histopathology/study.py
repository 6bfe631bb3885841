"""Metastasis in pathology patches: transfer learning, what it gains over training from scratch, and where it looks.

    python -m studies.histopathology [--data DIR] [--from-scratch] [--set baseline.epochs=3] [--fast] [--out DIR]

The published study fine-tunes backbones that were pretrained on ImageNet on Kaggle's 96 × 96 patches, compares them,
tries a grid of settings and trains the best of them longer. This one does the same; then changes one thing at a time of
the best; validates it, a small network from scratch and a random forest on colour and texture in k folds; averages
networks, and the eight symmetries of a square; shows by Grad-CAM where the network looks; and writes the submission.

Every training's result is kept in ``units/``: stopped and started again, the study goes on from there. Other recipes
and a larger grid can be asked for later; another split and other patches need another directory.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import click
import numpy as np
from filelock import FileLock, Timeout
from pydantic import Field, model_validator
from sklearn.model_selection import StratifiedKFold, train_test_split
from tqdm.auto import tqdm

import permgrad as pg
from permgrad.patches.files import Patches
from permgrad.patches.heat import notable_patches, patch_heat
from permgrad.patches.predicting import probability
from permgrad.training.config import choose_precision
from studies.kit.settings import Settings, read_settings
from studies.kit.steps import check_same_study

if __package__:
    from studies.histopathology.grid import search
    from studies.histopathology.recipes import Changes, Count, Grid, Recipe
    from studies.histopathology.report import facts, write_checks, write_report
    from studies.histopathology.trainings import KIND, Bench
else:  # run as a script: its own directory is what Python looks in
    from histopathology_parts.grid import search
    from histopathology_parts.recipes import Changes, Count, Grid, Recipe
    from histopathology_parts.report import facts, write_checks, write_report
    from histopathology_parts.trainings import KIND, Bench

HERE = Path(__file__).parent
HEAT_SAMPLE = 200
"""Validation patches over which the shares of heat are averaged."""
FROM_SCRATCH = (
    "baseline.weights=random",
    "baseline.image_size=null",
    "baseline.learning_rate=1e-3",
    "baseline.epochs=5",
    "grid.changes={backbone: SmallCNN, epochs: 6, batch_size: 32, weight_decay: 1e-3}",
    "grid.learning_rate=[1e-3, 3e-3]",
    "longer.epochs=15",
    "variants.larger inputs={image_size: 128}",
)
"""No pretrained weights, patches at their own size: what about a thousand patches teach, in an hour on two cores."""
FAST = (
    *FROM_SCRATCH,
    "data.at_most=300",
    "comparison.backbones=[SmallCNN]",
    "grid.changes={backbone: SmallCNN, epochs: 2, batch_size: 32}",
    "grid.dropout=[0.2]",
    "grid.schedule=[cosine]",
    "longer.epochs=4",
    "variants={balanced sampling: {sampling: balanced}}",
    "small_cnn.epochs=4",
    "folds.n=3",
    "forest_trees=100",
)
"""Small networks, few epochs: a look, in a minute or two."""


class Data(Settings):
    """Where the patches are, and which of them validate."""

    directory: str
    at_most: Annotated[int, Field(ge=20)] | None
    strict: bool
    validation: Annotated[float, Field(gt=0, lt=1)]
    random_state: Annotated[int, Field(ge=0)]


class Comparison(Settings):
    """The baseline with each of these backbones."""

    backbones: Annotated[tuple[str, ...], Field(min_length=1)]


class Longer(Settings):
    """The grid's best combination, trained for so long."""

    epochs: Count


class Folds(Settings):
    """Cross-validation of all labelled patches."""

    n: Annotated[int, Field(ge=2)]
    random_state: Annotated[int, Field(ge=0)]


class Study(Settings):
    """All settings; see histopathology.yaml."""

    data: Data
    baseline: Recipe
    weight_files: dict[str, str]
    precision: str
    random_state: Annotated[int, Field(ge=0)]
    workers: Count | None
    comparison: Comparison
    grid: Grid
    longer: Longer
    variants: dict[str, Changes]
    small_cnn: Changes
    folds: Folds
    forest_trees: Count
    shown: Count
    submission_column: str

    @model_validator(mode="after")
    def _every_recipe_is_one(self) -> Study:
        """Find mistakes before hours of training."""
        cell = self.grid.first
        makes: dict[str, Callable[[], Any]] = {
            "comparison": lambda: [*map(self.with_backbone, self.comparison.backbones)],
            "grid.changes": lambda: self.longest(cell),
            "small_cnn": lambda: self.small,
        }
        for name, changes in self.variants.items():
            makes[f"variants.{name}"] = lambda changes=changes: self.longest(cell, changes)
        for part, make in makes.items():
            try:
                make()
            except ValueError as error:
                raise ValueError(f"{part}: {error}") from error
        return self

    @property
    def small(self) -> Recipe:
        """The small network from random weights."""
        return self.changed(self.small_cnn)

    def with_backbone(self, name: str) -> Recipe:
        """Return the baseline with another backbone."""
        return self.changed({"backbone": name})

    def cell(self, params: dict[str, Any]) -> Recipe:
        """Return the recipe of a combination of the grid."""
        return self.changed({**self.grid.changes, **params})

    def longest(self, params: dict[str, Any], changes: Changes | None = None) -> Recipe:
        """Return that of a combination, trained longer, with changes."""
        return self.changed({**self.grid.changes, **params, "epochs": self.longer.epochs}, changes or {})

    def changed(self, *changes: Changes) -> Recipe:
        """Return the baseline with changes; a weight file takes the place of what would be downloaded."""
        recipe = self.baseline
        for each in changes:
            recipe = recipe.but(each)
        file = self.weight_files.get(recipe.backbone)
        return recipe.but({"weights": file}) if file and recipe.weights == "imagenet" else recipe


def find_directory(name: str) -> Path:
    """Return the directory of the patches: as it is given, or in the one that PERMGRAD_DATA names."""
    places = [Path(name), Path(os.environ.get("PERMGRAD_DATA", ".")) / name]
    found = next((path for path in places if path.is_dir()), None)
    if found is None:
        raise pg.PermGradError(
            f"there is no directory {name}, neither here nor in the one that PERMGRAD_DATA names; say where the"
            " patches are (--data DIR): train_labels.csv, train/ and test/, in the layout of Kaggle's Histopathologic"
            " Cancer Detection"
        )
    return found


def check_data(study: Study, *, verbose: bool = False) -> pg.PatchCheck:
    """Read all patches, and say which can be used."""
    data = study.data
    given: Any = {
        "strict": data.strict,
        "at_most": data.at_most,
        "random_state": data.random_state,
        "workers": study.workers,
    }
    return pg.check_patches(find_directory(data.directory), **given, verbose=verbose)


def check_same(study: Study, check: pg.PatchCheck, out: Path) -> None:
    """Refuse a directory whose results are of other patches, or of another split."""
    settings = {
        "precision": choose_precision(study.precision),
        "random_state": study.random_state,
        "data": study.data.model_dump(include={"at_most", "validation", "random_state"}),
        "folds": study.folds.model_dump(mode="json"),
    }
    check_same_study(out / "units" / "study.json", KIND, {"settings": settings, "patches": check.sha256})


def check_backbones(study: Study, patch_shape: tuple[int, int, int]) -> None:
    """Build each network once: names and weights that are missing are known before hours of training."""
    recipes = [*map(study.with_backbone, study.comparison.backbones), study.cell(study.grid.first), study.small]
    recipes += [study.longest(study.grid.first, changes) for changes in study.variants.values()]
    for recipe in {(r.backbone, r.weights, r.image_size): r for r in recipes}.values():
        try:
            recipe.network(patch_shape, "float32", 0)
        except pg.PermGradError as error:
            hint = "; here: --set weight_files.NAME=FILE, or --from-scratch" if recipe.weights == "imagenet" else ""
            raise pg.PermGradError(f"{error}{hint}") from error


Rows = tuple[np.ndarray, np.ndarray]
"""Of the patches that are trained on, and of those that are judged."""


def split(study: Study, patches: Patches) -> tuple[Rows, list[Rows]]:
    """Split the patches, stratified: into training and validation; and into folds.

    Raises
    ------
    PermGradError
        If some part would have fewer than two patches of a class, or if patches are not square.
    """
    if patches.shape[0] != patches.shape[1]:
        raise pg.PermGradError(f"eight symmetries need square patches, these are of {patches.shape[:2]} pixels")
    rows = np.arange(len(patches))
    folds = StratifiedKFold(study.folds.n, shuffle=True, random_state=study.folds.random_state)
    try:
        train, validation = train_test_split(
            rows, test_size=study.data.validation, stratify=patches.y, random_state=study.data.random_state
        )
        parts = [(np.sort(train), np.sort(validation)), *folds.split(rows, patches.y)]
    except ValueError as error:
        raise pg.PermGradError(f"{len(patches)} patches cannot be split: {error}") from error
    for _, judged in parts:
        counts = np.bincount(patches.y[judged], minlength=2)  # type: ignore[index]
        if counts.min() < 2:
            raise pg.PermGradError(
                f"a part that is judged would have {counts[0]} patches of label 0 and {counts[1]} of label 1, two of"
                " each are needed: take more patches, a larger share for validation or fewer folds"
            )
    return parts[0], parts[1:]


def run(
    study: Study, check: pg.PatchCheck, out: Path, report: Path | None = None, *, verbose: bool = False
) -> dict[str, Any]:
    """Do the study, or do what is left of it; return the check of the patches and all units.

    What the check found is written into `report`, or `out`, before anything is trained.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with FileLock(out / ".lock", timeout=0):
            check_same(study, check, out)
            write_checks(check, report or out)
            return _run(study, check, out, verbose)
    except Timeout as error:
        raise pg.PermGradError(f"another process is at work in {out}; wait for it, or choose another --out") from error
    except FileExistsError as error:
        raise pg.PermGradError(f"{out} is a file; results need a directory, choose another --out") from error


def _run(study: Study, check: pg.PatchCheck, out: Path, verbose: bool) -> dict[str, Any]:
    (train_rows, validation_rows), folds = split(study, check.train)
    train, validation = check.train.take(train_rows), check.train.take(validation_rows)
    check_backbones(study, check.train.shape)
    bench = Bench(out, choose_precision(study.precision), study.random_state, study.workers)
    n_units = (
        len(study.comparison.backbones)
        + math.prod(map(len, study.grid.space.values()))
        + 2
        + len(study.variants)
        + 4 * study.folds.n
    )
    done: dict[str, Any] = {"check": check, "validation": validation}
    seen: set[str] = set()
    with tqdm(total=n_units, desc="histopathology", unit="unit", disable=not verbose) as progress:

        def unit(name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
            progress.set_postfix_str(name)
            found = work()
            progress.update(name not in seen)
            seen.add(name)
            return found

        def trained(name: str, recipe: Recipe, keep: bool = False) -> dict[str, Any]:
            return unit(name, lambda: bench.train(recipe, "split", train, validation, keep=keep, verbose=verbose))

        def searched(name: str, space: dict[str, list[Any]], recipe: Callable[[dict[str, Any]], Recipe]) -> list[Any]:
            one = recipe({key: values[0] for key, values in space.items()})
            depends = {"patches": check.sha256, "first": one.key(bench.random_state, bench.precision)}
            return search(out, name, space, depends, lambda cell: trained(described(cell), recipe(cell)))

        backbones = searched("backbones", {"backbone": [*study.comparison.backbones]}, study.changed)
        done["comparison"] = {cell["params"]["backbone"]: cell for cell in backbones}
        done["comparison"]["small CNN"] = trained("small CNN", study.small)
        done["grid"] = searched("grid", study.grid.space, study.cell)
        wanted = len(study.comparison.backbones) + math.prod(map(len, study.grid.space.values()))
        done["failed"] = wanted - len(backbones) - len(done["grid"])
        params = max(done["grid"], key=lambda cell: cell["auc"])["params"]
        longer = study.longest(params)
        done["longer"] = trained("longer", longer, keep=True)
        done["variants"] = {
            name: trained(name, study.longest(params, changes)) for name, changes in study.variants.items()
        }
        recipes = {"small CNN": study.small, "best": longer}
        done |= run_folds(study, check, folds, bench, recipes, unit, verbose=verbose)
        done["submitted"] = max(done["folds"], key=lambda name: np.mean([one["auc"] for one in done["folds"][name]]))
        if check.test is not None and len(check.test):
            keys = [one["network"] for one in done["folds"][done["submitted"]]]
            done["test"] = [
                unit(f"test patches, fold {i}", lambda key=key: bench.predict(key, check)) for i, key in enumerate(keys)
            ]
    done["shown"] = look(bench, done, study.shown)
    return done


def described(params: dict[str, Any]) -> str:
    """Return a combination as text."""
    return ", ".join(f"{key} {value}" for key, value in params.items())


def run_folds(
    study: Study,
    check: pg.PatchCheck,
    parts: list[Rows],
    bench: Bench,
    recipes: dict[str, Recipe],
    unit: Callable[[str, Callable[[], dict[str, Any]]], dict[str, Any]],
    *,
    verbose: bool,
) -> dict[str, Any]:
    """Cross-validate networks and a forest on the same folds: ``rows`` of each fold, and its units."""
    patches = check.train
    folds: dict[str, list[dict[str, Any]]] = {name: [] for name in recipes}
    forests = []
    statistics = cache(lambda: bench.statistics(check))  # only where a forest has to be fitted
    for i, (train, judged) in enumerate(parts):
        for name, recipe in recipes.items():
            rows = f"fold {i} of {study.folds.n}"
            work = lambda r=recipe, w=rows, t=train, j=judged: bench.train(  # noqa: E731 - made to be called at once
                r, w, patches.take(t), patches.take(j), keep=True, verbose=verbose
            )
            folds[name].append(unit(f"{name}, {rows}", work))
        fit = lambda i=i, t=train, j=judged: bench.forest(  # noqa: E731 - made to be called at once
            i, lambda: [(statistics()[part], patches.y[part]) for part in (t, j)], study.forest_trees
        )
        forests.append(unit(f"forest, fold {i}", fit))
    return {"rows": [judged.tolist() for _, judged in parts], "folds": folds, "forests": forests}


def look(bench: Bench, done: dict[str, Any], k: int) -> dict[str, Any]:
    """Compute the heat of the validation patches that are shown, and of 200 at random for the shares of it."""
    patches, unit = done["validation"], done["longer"]
    probabilities = probability(np.array(unit["logits"])[:, 0])
    shown = notable_patches(patches.y, probabilities, k)
    sample = np.random.default_rng(bench.random_state).permutation(len(patches))[:HEAT_SAMPLE]
    rows = np.unique(np.concatenate([sample, *shown.values()]))
    images = patches.pixels(rows)
    heat = patch_heat(bench.load(unit["network"]), images)
    return {
        "rows": rows,
        "images": images,
        "heat": heat,
        "kinds": shown,
        "sample": np.isin(rows, sample),
        "probabilities": probabilities,
    }


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--data", help="Directory with train_labels.csv, train/ and test/: --set data.directory.")
@click.option("--from-scratch", is_flag=True, help="No pretrained weights, few patches: within an hour on two cores.")
@click.option("--fast", is_flag=True, help="The same with small networks and few epochs: a look, in a minute or two.")
@click.option("--strict", is_flag=True, help="Stop where a patch has to be left out: --set data.strict=true.")
@click.option("--config", type=click.Path(path_type=Path), default=HERE / "study.yaml", help="Settings (YAML).")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one, such as baseline.epochs=3.")
@click.option("--random-state", type=int, help="Of networks, order and augmentation: --set seed.")
@click.option("--out", type=click.Path(path_type=Path), help="results/histopathology; histopathology_fast with --fast.")
@click.option("--report", type=click.Path(path_type=Path), help="Where tables and pictures go; by default --out.")
def main(
    data: str | None,
    from_scratch: bool,
    fast: bool,
    strict: bool,
    config: Path,
    overrides: tuple[str, ...],
    random_state: int | None,
    out: Path | None,
    report: Path | None,
) -> None:
    """Tell metastasis in pathology patches: backbones, a grid, folds, ensembles, and where the network looks."""
    out = out or Path("results/histopathology_fast" if fast else "results/histopathology")
    given = [f"data.directory={json.dumps(data)}"] if data else []
    given += ["data.strict=true"] if strict else []
    given += [] if random_state is None else [f"random_state={random_state}"]
    changes = FAST if fast else FROM_SCRATCH if from_scratch else ()
    try:
        study = read_settings(Study, config, [*changes, *given, *overrides])
        check = check_data(study, verbose=True)
        click.echo(check)
        done = run(study, check, out, report, verbose=True)
        write_report(study, done, out, report)
    except pg.PermGradError as error:
        raise click.ClickException(str(error)) from error
    click.echo(facts(study, done))
    click.echo(f"{report or out}/report.md, and the tables and pictures that it is made of")
    if "test" in done:
        click.echo(f"{out}/submission.csv: {len(done['check'].test_ids):,} test patches")


if __name__ == "__main__":
    main()
