"""Tumour type from 20,531 genes: a wide MLP with an L1 penalty, and which genes it relies on, by five methods.

    python -m studies.rna_tumour [--source generated] [--set importance.trainings=3] [--fast] [--out DIR]

The published study trains a network of 108 million weights with six factors of its penalty, sums each gene's weights
to the first layer, once and averaged over trainings, and shuffles the 1,000 heaviest genes: accuracy never falls. This
one does the same, and then shuffles every gene, by the loss; shuffles groups of correlated genes together; masks ever
more of the best; and says on which genes first-layer sums, both permutations, a selector layer and an F test agree,
over several trainings. On a generated table, it says which planted genes and groups each method found.

Every training's result is kept in ``units/``: stopped and started again, the study goes on from there. More trainings
and penalties, names of genes and other counts of best ones can be asked for later; any other change needs another
directory.
"""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import click
import numpy as np
import pandas as pd
from pydantic import Field, model_validator
from tqdm.auto import tqdm

import permgrad as pg
from permgrad.data.expression import read_expression, rename_columns
from permgrad.training.config import choose_precision
from studies.kit.settings import Settings, read_settings
from studies.kit.steps import cached_step, check_same_study

if __package__:
    from studies.rna_tumour import networks
    from studies.rna_tumour.report import facts, write_report
    from studies.rna_tumour.tables import penalty_unit_name
else:  # run as a script: its own directory is what Python looks in
    from rna_tumour_parts import networks
    from rna_tumour_parts.report import facts, write_report
    from rna_tumour_parts.tables import penalty_unit_name

HERE = Path(__file__).parent
KIND = "permgrad.study.rna_tumour"
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
"""A narrow network, few trainings; of the generated table, fewer genes: a look, in a minute or two."""
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]


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
    l2: Annotated[float, Field(ge=0)]
    batch_size: Count
    epochs: Count
    precision: Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"]


class Sweep(Settings):
    """Factors of the penalty."""

    penalties: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1)]
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
    gate_penalty: Annotated[float, Field(ge=0)]
    epochs: Count


class Study(Settings):
    """All settings; see rna_tumour.yaml."""

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
    kept_rows = table.take(np.flatnonzero(~table.y.isin(small.index)))
    notes = {**table.notes, "left_out": {str(label): int(size) for label, size in small.items()}}
    return pg.Table(kept_rows.X, kept_rows.y, task="classification", name=table.name, notes=notes)


def read_npz(path: Path, target: str) -> pg.Table:
    """Read arrays X (n_samples, n_genes) and y (n_samples,) from a file without pickled objects."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            X, y = file["X"].astype(np.float32), file["y"].astype(str)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise pg.PermGradError(f"{path} must be an .npz file with arrays X and y: {error}") from error
    if X.ndim != 2 or y.shape != X.shape[:1] or not np.isfinite(X).all():
        raise pg.PermGradError(
            f"{path}: X must be finite numbers (n_samples, n_genes) and y (n_samples,), got {X.shape} and {y.shape},"
            f" {np.size(X) - np.isfinite(X).sum()} numbers not finite"
        )
    names = [f"gene_{i}" for i in range(X.shape[1])]
    return pg.Table(pd.DataFrame(X, columns=names), pd.Series(y, name=target), task="classification", name=path.stem)


def split(table: pg.Table, study: Study) -> networks.Parts:
    """Split the rows; X in float32, y as class numbers."""
    classes = np.array(table.classes)
    parts = table.split(study.split.sizes, random_state=study.split.random_state)
    return {
        name: networks.Rows(rows.X.to_numpy(np.float32), np.searchsorted(classes, rows.y.to_numpy()))
        for name, rows in zip(("train", "validation", "test"), parts, strict=True)
    }


def check_same(study: Study, table: pg.Table, out: Path) -> None:
    """Refuse a directory whose results were made otherwise: by other settings, another table, another precision.

    Trainings and penalties may become more, and what only the report shows may change.
    """
    settings = study.model_dump(mode="json")
    settings["network"]["precision"] = choose_precision(study.network.precision)
    del settings["best"], settings["sweep"]["penalties"], settings["importance"]["trainings"], settings["data"]
    check_same_study(out / "units" / "study.json", KIND, {"settings": settings, "sha256": table.sha256})


def run(study: Study, out: Path, *, verbose: bool = False) -> dict[str, Any]:
    """Do the study, or what is left of it; return the table, the parts' sizes, and all units by name."""
    table = load_table(study.data)
    if min(study.best) >= len(table.features):
        raise pg.PermGradError(f"best must have a count below that of the genes, {len(table.features)}: {study.best}")
    parts = split(table, study)
    check_same(study, table, out)  # genes go by their numbers: whatever they are called, the results are the same
    if study.data.names:
        table = rename_columns(table, study.data.names)
    units = out / "units"
    done: dict[str, Any] = {}

    def training(random_state: int) -> dict[str, Any]:
        groups = {f"group {i}": columns for i, columns in enumerate(done["groups"]["groups"])}
        closer = random_state == study.importance.first_seed
        wide = networks.measure_wide(study, parts, random_state, groups, done["anova"]["anova"], closer=closer)
        return wide | networks.measure_selector(study, parts, random_state)

    steps: dict[str, Callable[[], dict[str, Any]]] = {
        "groups": lambda: networks.cluster(study, parts),
        "anova": lambda: networks.anova(parts),
    }
    steps |= {
        f"seed_{random_state}": lambda random_state=random_state: training(random_state) for random_state in study.seeds
    }
    for penalty in study.sweep.penalties:
        steps.setdefault(
            penalty_unit_name(study, penalty), lambda penalty=penalty: networks.sweep(study, parts, penalty)
        )
    with tqdm(steps.items(), desc="tumour study", unit="unit", disable=not verbose) as progress:
        for name, work in progress:
            progress.set_postfix_str(name)
            done[name] = cached_step(units / f"{name}.json", KIND, lambda work=work: _timed(work))
    return {"table": table, "parts": {name: len(rows.y) for name, rows in parts.items()}, **done}


def _timed(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    begun = time.perf_counter()
    found = work()
    return {**found, "all_seconds": time.perf_counter() - begun}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--source", help="uci, generated, a directory or an .npz file: --set data.source.")
@click.option("--config", type=click.Path(path_type=Path), default=HERE / "study.yaml", help="Settings (YAML).")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one, such as network.epochs=5.")
@click.option("--fast", is_flag=True, help="A narrow network, three trainings: a look, in a minute or two.")
@click.option("--out", type=click.Path(path_type=Path), help="results/rna_tumour; rna_tumour_fast with --fast.")
@click.option("--report", type=click.Path(path_type=Path), help="Where tables and pictures go; by default --out.")
def main(
    source: str | None, config: Path, overrides: tuple[str, ...], fast: bool, out: Path | None, report: Path | None
) -> None:
    """Train the wide network, and say which genes it relies on, by five methods."""
    out = out or Path("results/rna_tumour_fast" if fast else "results/rna_tumour")
    try:
        given = (f"data.source={source}",) if source else ()
        study = read_settings(Study, config, [*(FAST if fast else ()), *given, *overrides])
        done = run(study, out, verbose=True)
        write_report(study, done, out, report)
    except pg.PermGradError as error:
        raise click.ClickException(str(error)) from error
    click.echo(facts(study, done))
    click.echo(f"{report or out}/report.md, and the tables and pictures that it is made of")


if __name__ == "__main__":
    main()
