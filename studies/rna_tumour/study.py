"""Tumour type from 20,531 genes: a wide MLP with an L1 penalty, and which genes it relies on, by five methods.

    python -m studies.rna_tumour [--source generated] [--set importance.trainings=3] [--fast] [--out DIR]

The published study trains a network of 108 million weights with six factors of its penalty, sums each gene's weights
to the first layer, once and averaged over trainings, and shuffles the 1,000 heaviest genes: accuracy never falls. This
one does the same, and then shuffles every gene, by the loss; shuffles groups of correlated genes together; masks ever
more of the best; and says on which genes first-layer sums, both permutations, a selector layer and an F test agree,
over several trainings. On a generated table, it says which planted genes and groups each method found.

Every training's result is a cached step: stopped and started again, the study goes on from there. More trainings
and penalties, names of genes and other counts of best ones can be asked for later; any other change needs another
directory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

import permgrad as pg
from permgrad.data.expression import read_expression, rename_columns
from permgrad.errors import reading
from permgrad.training.config import choose_precision
from studies.kit import Setting, Settings, Study, Workspace
from studies.kit.settings import Count, NotNegative, Positive, Seed
from studies.kit.workspace import Apart, Step
from studies.kit.writing import write_tables
from studies.rna_tumour import networks
from studies.rna_tumour.pictures import pictures
from studies.rna_tumour.tables import Results, every_score, facts, penalty_step, tables

FAST = (
    "data.generated.n_genes=2000",
    "data.generated.n_others=5",
    "data.generated.n_copies=20",
    "network.hidden_units=[256, 64, 32, 10]",
    "network.epochs=15",
    "selector.epochs=15",
    "importance.trainings=3",
    "importance.heaviest=200",
)


class Generated(Settings):
    """See `permgrad.toy.gene_expression`."""

    n_rows: Count
    n_genes: Count
    n_markers: Count
    n_others: Annotated[int, Field(ge=0)]
    n_copies: Annotated[int, Field(ge=0)]
    random_state: Seed


class Data(Settings):
    """Where the table comes from."""

    source: str
    target: str
    names: str | None
    smallest_class: Annotated[int, Field(ge=5)]
    generated: Generated

    @model_validator(mode="after")
    def _plants_are_known_by_number(self) -> Data:
        if self.names and self.source == "generated":
            raise ValueError("names are for genes that exist; those of the generated table are known by number")
        return self


class Split(Settings):
    """Shares of the rows: train, validation, test."""

    sizes: tuple[Positive, Positive, Positive]
    random_state: Seed


class Network(Settings):
    """The wide MLP and its training."""

    hidden_units: tuple[Count, ...]
    learning_rate: Positive
    l2: NotNegative
    batch_size: Count
    epochs: Count
    precision: Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"]


class Sweep(Settings):
    """Factors of the penalty."""

    penalties: Annotated[tuple[NotNegative, ...], Field(min_length=1)]
    sampled: Count


class Importance(Settings):
    """How genes are ranked."""

    penalty: Positive
    trainings: Annotated[int, Field(ge=2)]
    first_seed: Seed
    heaviest: Count
    repeats: Count
    group_repeats: Count
    correlation: Annotated[float, Field(gt=0, lt=1)]


class Selector(Settings):
    """The small network with a gate for each gene."""

    hidden_units: tuple[Count, ...]
    gate_penalty: NotNegative
    epochs: Count


class RnaTumour(Settings):
    """All settings; see study.yaml."""

    data: Data
    split: Split
    network: Network
    sweep: Sweep
    importance: Importance
    selector: Selector
    best: Annotated[tuple[Count, ...], Field(min_length=1)]

    @property
    def seeds(self) -> range:
        """Seeds of the trainings that rank genes."""
        return range(self.importance.first_seed, self.importance.first_seed + self.importance.trainings)


def load_table(data: Data) -> pg.Table:
    """Return the table without classes too small to be split; ``notes["left_out"]`` has their sizes."""
    if data.source == "generated":
        return pg.toy.gene_expression(**data.generated.model_dump())
    if data.source == "uci":
        table = pg.load_dataset("rna_tumour")
    elif data.source.endswith(".npz"):
        table = read_npz(Path(data.source), data.target)
    else:
        table = read_expression(data.source, target=data.target, verbose=True, name=Path(data.source).name)
    sizes = table.y.value_counts()
    small = sizes[sizes < data.smallest_class]
    large = table.take(np.flatnonzero(~table.y.isin(small.index)))
    notes = {**table.notes, "left_out": {str(label): int(size) for label, size in small.items()}}
    return pg.Table(large.X, large.y, task="classification", name=table.name, notes=notes)


def read_npz(path: Path, target: str) -> pg.Table:
    """Read arrays X (n_samples, n_genes) and y (n_samples,) from a file without pickled objects."""
    with (
        reading(path, "an .npz file with arrays X and y"),
        path.open("rb") as stream,
        np.load(stream, allow_pickle=False) as file,
    ):
        X, y = file["X"].astype(np.float32), file["y"].astype(str)
    if X.ndim != 2 or y.shape != X.shape[:1] or not np.isfinite(X).all():
        raise pg.PermGradError(
            f"{path}: X must be finite numbers (n_samples, n_genes) and y (n_samples,), got {X.shape} and {y.shape},"
            f" {np.size(X) - np.isfinite(X).sum()} numbers not finite"
        )
    names = [f"gene_{i}" for i in range(X.shape[1])]
    return pg.Table(pd.DataFrame(X, columns=names), pd.Series(y, name=target), task="classification", name=path.stem)


def split(table: pg.Table, settings: RnaTumour) -> networks.Parts:
    """Split the rows; X in float32, y as class numbers."""
    classes = np.array(table.classes)
    parts = table.split(settings.split.sizes, random_state=settings.split.random_state)
    return {
        name: networks.Rows(rows.X.to_numpy(np.float32), np.searchsorted(classes, rows.y.to_numpy()))
        for name, rows in zip(("train", "validation", "test"), parts, strict=True)
    }


def check_same(settings: RnaTumour, table: pg.Table, workspace: Workspace) -> None:
    """Refuse a directory whose results were made otherwise: by other settings, another table, another precision.

    Trainings and penalties may become more, and what only the report shows may change.
    """
    depends = settings.model_dump(mode="json")
    depends["network"]["precision"] = choose_precision(settings.network.precision)
    del depends["best"], depends["sweep"]["penalties"], depends["importance"]["trainings"], depends["data"]
    workspace.check_same({"settings": depends, "sha256": table.sha256})


def run(settings: RnaTumour, workspace: Workspace) -> Results:
    """Group genes, test them one by one, train the wide network several times, then once for each penalty.

    Every gene's score, which is much, is written into the results' directory, not the report's.
    """
    table = load_table(settings.data)
    if min(settings.best) >= len(table.features):
        raise pg.PermGradError(
            f"best must have a count below that of the genes, {len(table.features)}: {settings.best}"
        )
    parts = split(table, settings)
    check_same(settings, table, workspace)  # genes go by their numbers: whatever their names, the results are the same
    if settings.data.names:
        table = rename_columns(table, settings.data.names)
    first: dict[str, Step] = {
        "groups": Apart(networks.cluster, settings, parts),
        "anova": Apart(networks.anova, parts),
    }
    known = workspace.run(first)
    steps: dict[str, Step] = {
        f"seed_{random_state}": Apart(networks.measure, settings, parts, random_state, known)
        for random_state in settings.seeds
    }
    for penalty in settings.sweep.penalties:
        steps.setdefault(penalty_step(settings, penalty), Apart(networks.sweep, settings, parts, penalty))
    results = Results(table, {name: len(rows.y) for name, rows in parts.items()}, known | workspace.run(steps))
    write_tables(workspace.out, {"scores": every_score(results)})
    return results


STUDY = Study(
    name="rna_tumour",
    directory=Path(__file__).parent,
    help="Train the wide network, and say which genes it relies on, by five methods.",
    settings=RnaTumour,
    fast=FAST,
    fast_help="A narrow network, three trainings, of the generated table fewer genes: a look, in a minute or two.",
    run=run,
    tables=tables,
    pictures=pictures,
    facts=facts,
)
main = STUDY.command(Setting("--source", "data.source", "uci, generated, a directory or an .npz file."))
