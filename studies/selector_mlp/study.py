"""Gene panels with a feature-selection layer: the 100 or 200 genes that tell cell types apart.

    python -m studies.selector_mlp [--dataset worm] [--fast] [--set network.epochs=20] [--out results/selector_mlp]

The published study trains plain MLPs and MLPs behind a layer that weighs each gene, with three penalties on its
weights; masks all but the best genes of each ranking; counts which genes the rankings share; crops to the best 200 and
100 and trains anew. This one does the same on every data set named, several times each, with linear SVMs as baselines.
Beyond it: stochastic gates, and a path from dense to sparse in one training, against L1 on one curve of panel sizes;
panels of the genes that are chosen most often over twenty trainings, with their accuracy and its interval; on planted
cells, how many of the planted markers each ranking finds.

Every training's result is kept in ``<data set>/units/``: stopped and started again, the study goes on from there. More
trainings, panel sizes and data sets can be asked for later; any other change needs another directory.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import click
import numpy as np
from pydantic import Field, model_validator
from scipy import sparse
from tqdm.auto import tqdm

import permgrad as pg
from permgrad.data.preprocessing import log_normalise, variable_genes
from permgrad.training.config import choose_precision
from studies.kit.settings import Settings, read_settings
from studies.kit.steps import cached_step, check_same_study

if __package__:
    from studies.selector_mlp import networks
    from studies.selector_mlp.report import write_report
    from studies.selector_mlp.tables import rankings_of
else:  # run as a script: its own directory is what Python looks in
    from selector_mlp_parts import networks
    from selector_mlp_parts.report import write_report
    from selector_mlp_parts.tables import rankings_of

HERE = Path(__file__).parent
KIND = "permgrad.study.selector_mlp"
FAST = (
    "genes=300",
    "generated.n_cells=1200",
    "generated.n_genes=400",
    "generated.n_classes=5",
    "generated.n_markers=20",
    "generated.program_size=20",
    "split.caps=[150, 50, 100]",
    "network.hidden_units=[64, 32]",
    "network.batch_size=32",
    "network.learning_rate=1e-2",
    "network.epochs=12",
    "network.alpha=0.01",
    "beyond.narrowing_epochs=8",
    "beyond.sizes=[150, 80, 40, 20, 10]",
    "beyond.epochs_per_size=1",
    "trainings.n=2",
    "masking={step: 20, random_orders: 2}",
    "crop.sizes=[20]",
    "curve=[40, 10]",
    "panels={size: 20, trainings: 3, conditions: [stochastic]}",
)
"""Few cells, genes, epochs and trainings: a look, in two or three minutes."""
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
AtLeast0 = Annotated[float, Field(ge=0)]


class Source(Settings):
    """One data set."""

    file: str
    target: str


class Generated(Settings):
    """See `permgrad.toy.single_cells`."""

    n_cells: Count
    n_genes: Count
    n_classes: Count
    n_markers: Count
    n_programs: Annotated[int, Field(ge=0)]
    program_size: Count
    fold: Positive
    random_state: Seed


class Split(Settings):
    """Cells of one class in each part, at most."""

    caps: tuple[Count, Count, Count]
    random_state: Seed


class Network(Settings):
    """All networks and their training."""

    hidden_units: tuple[Count, ...]
    alpha: AtLeast0
    noise: AtLeast0
    dropout: AtLeast0
    learning_rate: Positive
    weight_decay: AtLeast0
    batch_size: Count
    epochs: Count
    precision: str


class Beyond(Settings):
    """What stochastic gates and the path have of their own."""

    stochastic_alpha: AtLeast0
    narrowing_alpha: AtLeast0
    narrowing_epochs: Count
    epochs_per_size: Count
    sizes: tuple[Count, ...]


class Svm(Settings):
    """Both linear SVMs."""

    C: Positive


class Trainings(Settings):
    """How often each network is trained."""

    n: Annotated[int, Field(ge=2)]
    first_seed: Seed


class Masking(Settings):
    """Of the curves over all genes."""

    step: Count
    random_orders: Annotated[int, Field(ge=2)]


class Crop(Settings):
    """Panels on which every ranking's network is trained anew."""

    sizes: Annotated[tuple[Count, ...], Field(min_length=1)]
    step: Count
    rankings: Annotated[tuple[str, ...], Field(min_length=2)]


class Panels(Settings):
    """Panels over reseeded trainings."""

    size: Count
    trainings: Annotated[int, Field(ge=2)]
    conditions: Annotated[tuple[str, ...], Field(min_length=1)]


class Study(Settings):
    """All settings; see selector_mlp.yaml."""

    datasets: dict[str, Source]
    genes: Count
    conditions: tuple[str, ...]
    generated: Generated
    split: Split
    network: Network
    beyond: Beyond
    svm: Svm
    trainings: Trainings
    masking: Masking
    crop: Crop
    curve: tuple[Count, ...]
    panels: Panels

    @model_validator(mode="after")
    def _names_are_known(self) -> Study:
        unknown = sorted({*self.conditions} - {*networks.CONDITIONS})
        if unknown:
            raise ValueError(f"there is no {unknown[0]!r} among {', '.join(networks.CONDITIONS)}")
        if not {*self.crop.rankings} <= {*self.conditions, *networks.SVMS}:
            raise ValueError(f"crop.rankings must be among conditions, or {', '.join(networks.SVMS)}")
        if not {*self.panels.conditions} <= {*self.conditions}:
            raise ValueError("panels.conditions must be among conditions")
        if not networks.sparse(self):
            raise ValueError(f"conditions must hold one of {', '.join(networks.SPARSE)}")
        if networks.REFEREE not in self.conditions or networks.REFEREE not in self.crop.rankings:
            raise ValueError(f"conditions and crop.rankings must hold {networks.REFEREE!r}, which others are held to")
        return self

    @property
    def seeds(self) -> range:
        """Seeds of the trainings that are compared."""
        return range(self.trainings.first_seed, self.trainings.first_seed + self.trainings.n)

    @property
    def panel_seeds(self) -> range:
        """Seeds of the trainings that panels are chosen by."""
        return range(self.trainings.first_seed, self.trainings.first_seed + self.panels.trainings)


def load_cells(study: Study, name: str) -> pg.Cells:
    """Return a data set's cells: counts of all genes."""
    if name not in study.datasets:
        raise pg.PermGradError(f"no data set {name!r} among those of the settings: {', '.join(study.datasets)}")
    source = study.datasets[name]
    if source.file == "generated":
        return pg.toy.single_cells(**study.generated.model_dump())
    places = [Path(os.environ.get("PERMGRAD_DATA", ".")) / source.file, Path(source.file)]
    found = next((path for path in places if path.is_file()), None)
    if found is None:
        raise pg.PermGradError(
            f"there is no such file as {source.file}, neither here nor in the directory that PERMGRAD_DATA names; say"
            f" where it is (--set datasets.{name}.file=PATH), or choose another data set (--dataset)"
        )
    return pg.read_cells(found, source.target)


def prepare(study: Study, cells: pg.Cells) -> networks.Parts:
    """Normalise each cell, split, and take the genes that vary among the training cells."""
    parts = pg.capped_split(cells.y, study.split.caps, random_state=study.split.random_state)
    logarithms = log_normalise(cells)
    genes = variable_genes(logarithms.take(parts[0]), study.genes)
    largest = max(*study.crop.sizes, *study.curve, study.panels.size)
    if largest >= len(genes):
        raise pg.PermGradError(f"a panel must have fewer genes than the {len(genes)} that there are, got {largest}")
    seen = logarithms.only(genes)
    return {name: seen.take(rows) for name, rows in zip(("train", "validation", "test"), parts, strict=True)}


def check_same(study: Study, cells: pg.Cells, out: Path) -> None:
    """Refuse a directory whose results were made by other settings; more trainings and sizes may be asked for."""
    settings = study.model_dump(mode="json")
    settings["network"]["precision"] = choose_precision(study.network.precision)
    for name in ("datasets", "conditions", "generated", "trainings", "curve", "panels"):
        del settings[name]
    del settings["crop"]["sizes"], settings["crop"]["rankings"]
    first = {"first_seed": study.trainings.first_seed}
    now = {"settings": {**settings, **first}, "cells": fingerprint(cells)}
    check_same_study(out / "units" / "study.json", KIND, now)


def fingerprint(cells: pg.Cells) -> str:
    """Return a SHA-256 of cells in memory: counts, labels and names of genes."""
    X = sparse.csr_matrix(cells.X)
    digest = hashlib.sha256(json.dumps([cells.y.tolist(), cells.features]).encode())
    for values, kind in ((X.data, "<f4"), (X.indices, "<i8"), (X.indptr, "<i8")):
        digest.update(np.ascontiguousarray(values, kind))
    return digest.hexdigest()


def run(study: Study, name: str, out: Path, *, verbose: bool = False) -> dict[str, Any]:
    """Study one data set, or do what is left of it; return the parts of its cells, and all units by name."""
    cells = load_cells(study, name)
    check_same(study, cells, out)
    parts = prepare(study, cells)
    done: dict[str, Any] = {"parts": parts}
    steps = plan(study, done, parts)
    with tqdm(steps.items(), desc=name, unit="unit", disable=not verbose) as progress:
        for unit, work in progress:
            progress.set_postfix_str(unit)
            path = out / "units" / f"{re.sub('[^a-z0-9]+', '_', unit.lower())}.json"
            done[unit] = cached_step(path, KIND, lambda work=work: networks.timed(work))
    return done


def plan(study: Study, done: dict[str, Any], parts: networks.Parts) -> dict[str, Callable[[], dict[str, Any]]]:
    """Return all units in the order in which they are done; later ones look up earlier ones in `done`."""

    def best(condition: str, random_state: int, k: int) -> list[str]:
        return rankings_of(done, condition, [random_state])[0].select(k)

    steps: dict[str, Callable[[], dict[str, Any]]] = {}
    for condition in networks.SVMS:
        steps[condition] = lambda c=condition: networks.train_svm(study, parts, c)
    for random_state in study.seeds:
        for condition in study.conditions:
            steps[f"{condition}, {random_state}"] = lambda c=condition, s=random_state: networks.train(
                study, parts, c, s
            )
        for k in study.crop.sizes:
            for condition in study.crop.rankings:
                steps[f"{condition}, {random_state}, best {k}"] = lambda c=condition, s=random_state, k=k: (
                    networks.crop(study, parts, c, best(c, s, k), s)
                )
        for k, condition in product(sorted({*study.curve, *study.crop.sizes}), networks.sparse(study)):
            if f"{condition}, {random_state}, best {k}" not in steps:
                steps[f"{condition}, {random_state}, size {k}"] = lambda c=condition, s=random_state, k=k: (
                    networks.retrain(study, parts, best(c, s, k), s)
                )
    for condition in study.panels.conditions:
        for random_state in sorted(set(study.panel_seeds) - set(study.seeds)):
            steps[f"{condition}, {random_state}, ranking"] = lambda c=condition, s=random_state: networks.rank_only(
                study, parts, c, s
            )
        steps[networks.panel_name(study, condition)] = lambda c=condition: networks.panel(
            study, parts, rankings_of(done, c, study.panel_seeds)
        )
    return steps


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--dataset", "names", multiple=True, help="One of the settings' data sets; may be given again; all.")
@click.option("--config", type=click.Path(path_type=Path), default=HERE / "study.yaml", help="Settings (YAML).")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one, such as network.epochs=5.")
@click.option("--fast", is_flag=True, help="Few cells, genes and trainings: a look, in minutes.")
@click.option("--out", type=click.Path(path_type=Path), help="results/selector_mlp; selector_mlp_fast with --fast.")
@click.option("--report", type=click.Path(path_type=Path), help="Where tables and pictures go; by default --out.")
def main(
    names: tuple[str, ...], config: Path, overrides: tuple[str, ...], fast: bool, out: Path | None, report: Path | None
) -> None:
    """Choose gene panels by networks with a feature-selection layer, and say what the panels are worth."""
    out = out or Path("results/selector_mlp_fast" if fast else "results/selector_mlp")
    try:
        study = read_settings(Study, config, [*(FAST if fast else ()), *overrides])
        for name in names or study.datasets:
            shown = (report or out) / name
            write_report(study, name, run(study, name, out / name, verbose=True), shown)
            click.echo(f"{shown}/report.md, and the tables and pictures that it is made of")
    except pg.PermGradError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
