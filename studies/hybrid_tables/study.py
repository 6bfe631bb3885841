"""The hybrid network and PermGrad on their five data sets, beside trees, boosted trees and neural peers.

    python -m studies.hybrid_tables --dataset heloc --trials 30 [--set seeds=3] [--fast] [--out results/hybrid_tables]

For each data set, on one 60/20/20 split: the hybrid network, an MLP alone and a CNN alone are tuned over the published
search space, and each one's best trial is trained again with several seeds, beside baselines with their defaults. The
best hybrid network is ranked by PermGrad, by the published formula and by this project's; it is trained again with
each mistake of the published code, with other layouts and image sizes, and with balanced classes.

Every training's result is kept in ``units/``, and tuning in an Optuna study of its own: stopped and started again, the
study goes on from there. More trials, seeds, networks, baselines and layouts can be asked for later; any other change
of settings needs another directory. Whatever is there by then is reported, of all data sets in the directory.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import click
import numpy as np
from pydantic import Field, field_validator, model_validator
from tqdm.auto import tqdm

import permgrad as pg
from studies.kit.settings import Settings, read_settings
from studies.kit.steps import cached_step, check_same_study

if __package__:
    from studies.hybrid_tables import baselines, mistakes, networks
    from studies.hybrid_tables.found import KIND
    from studies.hybrid_tables.report import write_report
else:  # run as a script: its own directory is what Python looks in
    from hybrid_parts import baselines, mistakes, networks
    from hybrid_parts.found import KIND
    from hybrid_parts.report import write_report

HERE = Path(__file__).parent
DATASETS = ("puma8nh", "heloc", "dengue", "gas_drift", "covertype")
PARTS = ("baselines", "networks", "permgrad", "mistakes", "layouts", "imbalance")
GROWING = {"seeds", "networks", "ensembles", "baselines", "layouts", "mistakes", "level"}
"""Settings of which more may be asked for later; `permgrad.tune` watches over those of tuning, layouts over theirs."""
FAST = (
    "rows=2000",
    "seeds=2",
    "tuning.trials=2",
    "tuning.epochs.regression=12",
    "tuning.epochs.classification=12",
    "baselines=[random forest, extra trees]",
    "layouts.sizes=[20]",
)
"""A look, in a few minutes for each data set."""
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(pattern=r"^\w[\w ,.+-]*$")]
"""Of a network or a layout; files are called by it."""
Steps = Iterator[tuple[str, Callable[[], Any]]]
"""What is to be done: a name, and what does it."""


class Network(Settings):
    """A search space of `permgrad.tune`, settings that all its trials share, and what else is its own."""

    space: str
    ranges: dict[str, tuple[Any, ...]] = Field(default_factory=dict)
    settings: dict[str, Any]
    trials: Count | None = None
    pruner: str | None = None


class Epochs(Settings):
    """At most."""

    regression: Count
    classification: Count


class Tuning(Settings):
    """See `permgrad.tune`."""

    trials: Count
    epochs: Epochs
    sampler: str
    pruner: str
    random_state: Seed


class Layout(Settings):
    """See `permgrad.fit_layout`."""

    layout: str
    unique: bool


class Layouts(Settings):
    """Each kind in each size."""

    kinds: dict[Name, Layout]
    sizes: tuple[Count, ...]
    seeds: Count


class Study(Settings):
    """All settings; see hybrid_tables.yaml."""

    split_random_state: Seed
    rows: Annotated[int, Field(ge=100)] | None
    first_seed: Seed
    seeds: Count
    networks: dict[Name, Network]
    ensembles: dict[Name, Annotated[tuple[str, ...], Field(min_length=2)]]
    tuning: Tuning
    baselines: tuple[str, ...]
    explained: str
    permgrad_repeats: Count
    mistakes: tuple[str, ...]
    layouts: Layouts
    level: Annotated[float, Field(gt=0, lt=1)]

    @field_validator("baselines")
    @classmethod
    def _are_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(set(names) - set(baselines.BASELINES))
        if unknown:
            raise ValueError(f"there is no baseline {unknown[0]!r}; there are {', '.join(baselines.BASELINES)}")
        return names

    @field_validator("mistakes")
    @classmethod
    def _can_be_made(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(set(names) - set(mistakes.TRAININGS["regression"]))
        if unknown:
            raise ValueError(f"there is no {unknown[0]!r}; there are {', '.join(mistakes.TRAININGS['regression'])}")
        return names

    @model_validator(mode="after")
    def _explains_a_network(self) -> Study:
        if self.explained not in self.networks:
            raise ValueError(f"explained must be one of networks, {', '.join(self.networks)}")
        return self

    @model_validator(mode="after")
    def _averages_networks(self) -> Study:
        for name, members in self.ensembles.items():
            unknown = sorted(set(members) - set(self.networks))
            if unknown:
                raise ValueError(f"ensembles.{name}: there is no network {unknown[0]!r}")
            if name in self.networks:
                raise ValueError(f"ensembles.{name}: there is a network of that name")
        return self

    @property
    def all_seeds(self) -> range:
        """Seeds of the repeated trainings."""
        return range(self.first_seed, self.first_seed + self.seeds)


class Dataset:
    """One table's part of the study, in a directory of its own."""

    def __init__(self, name: str, study: Study, out: Path) -> None:
        self.name, self.study, self.directory = name, study, out / name
        self._tuned: dict[str, pg.TuneResult] = {}
        self.table = load_table(name, study)
        train, validation, test = self.table.split(random_state=study.split_random_state)
        self.parts = {"train": train, "validation": validation, "test": test}
        settings = {key: value for key, value in study.model_dump(mode="json").items() if key not in GROWING}
        del settings["tuning"]["trials"]
        check_same_study(
            self.directory / "study.json", KIND, {"settings": settings, "data": self._facts(), "note": self.note}
        )

    @property
    def note(self) -> str:
        """What is missing of the table."""
        notes = [self.table.notes.get("note", "")]
        if self.study.rows is not None:
            notes.append(f"{len(self.table)} rows drawn at random")
        return "; ".join(filter(None, notes))

    def _facts(self) -> dict[str, Any]:
        test, train = self.parts["test"], self.parts["train"]
        facts = {"sha256": self.table.sha256, "task": test.task, "features": len(test.features)}
        facts |= {part: len(rows) for part, rows in self.parts.items()}
        if test.task == "regression":
            return {**facts, "truth": [float(f"{value:.6g}") for value in test.y]}
        classes = np.unique(train.y)
        sizes = {str(label): int((train.y == label).sum()) for label in classes}
        return {**facts, "class_sizes": sizes, "truth": np.searchsorted(classes, test.y)}

    def unit(self, place: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Do a part of the work, unless it is done."""
        return cached_step(self.directory / "units" / f"{place}.json", KIND, work)

    def tuned(self, name: str) -> pg.TuneResult:
        """Tune a network, or go on with it; what it found is kept for the report."""
        if name not in self._tuned:
            self._tuned[name] = self._tune(name)
        return self._tuned[name]

    def _tune(self, name: str) -> pg.TuneResult:
        tuning, network = self.study.tuning, self.study.networks[name]
        pruner = network.pruner or tuning.pruner
        result = pg.tune(
            self.table,
            network.space,
            ranges=network.ranges,
            n_trials=network.trials or tuning.trials,
            out=self.directory / "tuning" / name,
            sampler=tuning.sampler,
            pruner=pruner,
            random_state=tuning.random_state,
            split_random_state=self.study.split_random_state,
            keep=1,
            settings={"epochs": getattr(tuning.epochs, str(self.table.task)), **network.settings},
        )
        found = networks.describe_tuning(result) | {"ranges": network.ranges, "pruner": pruner}
        self.unit(f"networks/{name}/trial_{found['best']:03}/tuning_{found['trials']:03}", lambda: found)
        return result

    def place(self, name: str) -> str:
        """Say where what follows from a network's best trial is kept: a better trial has another place."""
        return f"networks/{name}/trial_{self.tuned(name).best_trial.number:03}"

    def steps(self, parts: tuple[str, ...]) -> Steps:
        """Yield what is to be done, in order."""
        every = {
            "baselines": self._baseline_steps,
            "networks": self._network_steps,
            "permgrad": self._permgrad_steps,
            "mistakes": self._mistake_steps,
            "layouts": self._layout_steps,
            "imbalance": self._imbalance_steps,
        }
        for part, steps in every.items():
            if part in parts:
                yield from steps()

    def _baseline_steps(self) -> Steps:
        parts = networks.numbered(self.parts)
        for random_state in self.study.all_seeds:
            for name in self.study.baselines:
                yield f"{name}, seed {random_state}", partial(self._baseline, name, random_state, parts)

    def _baseline(self, name: str, random_state: int, parts: networks.Parts) -> dict[str, Any]:
        place = f"baselines/{name}/seed_{random_state}"
        return self.unit(place, lambda: networks.judge(baselines.fit_baseline(name, parts, random_state), parts))

    def _network_steps(self) -> Steps:
        for name in self.study.networks:
            yield f"{name}, tuning", partial(self.tuned, name)
        for random_state in self.study.all_seeds:
            for name in self.study.networks:
                yield (
                    f"{name}, seed {random_state}",
                    partial(self._again, name, f"seed_{random_state}", random_state=random_state),
                )

    def _again(self, name: str, place: str, *, random_state: int, **changes: Any) -> dict[str, Any]:
        """Train a network's best trial again, with another seed or other settings."""
        best, repeats = self.tuned(name).best_model, self.study.permgrad_repeats

        def work() -> dict[str, Any]:
            if random_state == best.random_state and not changes:
                return networks.measure(best, self.parts, repeats)
            return networks.train_and_measure(best, self.parts, repeats, random_state=random_state, **changes)

        return self.unit(f"{self.place(name)}/{place}", work)

    def _permgrad_steps(self) -> Steps:
        yield "PermGrad", partial(self._explained, "permgrad", networks.explain)

    def _explained(self, place: str, work: Callable[..., dict[str, Any]]) -> dict[str, Any]:
        """Do what starts from the explained network: its best trial, the parts of the table, repeats."""
        model, repeats = self.tuned(self.study.explained).best_model, self.study.permgrad_repeats
        return self.unit(f"{self.place(self.study.explained)}/{place}", lambda: work(model, self.parts, repeats))

    def _mistake_steps(self) -> Steps:
        yield "corrected", partial(self._explained, "mistakes/corrected", networks.measure)
        yield "misread", partial(self._explained, "mistakes/misread", mistakes.misread)
        for name in mistakes.TRAININGS[str(self.table.task)]:
            if name not in self.study.mistakes:
                continue
            work = partial(mistakes.retrain, name, every_row=self.table.X)
            yield name, partial(self._explained, f"mistakes/{name}", work)

    def _layout_steps(self) -> Steps:
        layouts, first = self.study.layouts, self.study.first_seed
        for random_state in range(first, first + layouts.seeds):
            for size in layouts.sizes:
                for kind, layout in layouts.kinds.items():
                    changes = {"random_state": random_state, "image_size": size, **layout.model_dump()}
                    yield f"{kind} {size}, seed {random_state}", partial(self._with_layout, f"{kind} {size}", changes)

    def _with_layout(self, name: str, changes: dict[str, Any]) -> dict[str, Any]:
        explained, random_state = self.study.explained, changes["random_state"]
        place = f"layouts/{name}/seed_{random_state}"
        best = self.tuned(explained).best_model
        asked = {"layout": changes["layout"], "unique": changes["unique"]}
        check_same_study(self.directory / "units" / self.place(explained) / f"layouts/{name}/layout.json", KIND, asked)
        reason = networks.too_small(best, changes["image_size"], unique=changes["unique"])
        if reason:
            return self.unit(f"{self.place(explained)}/{place}", lambda: {"impossible": reason})
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*features share")
            return self._again(explained, place, **changes)

    def _imbalance_steps(self) -> Steps:
        if len(self.table.classes or ()) > 2:
            for random_state in self.study.all_seeds:
                work = partial(self._again, self.study.explained, f"balanced_{random_state}", random_state=random_state)
                yield f"balanced classes, seed {random_state}", partial(work, class_weight="balanced")


def load_table(name: str, study: Study) -> pg.Table:
    """Return a data set, or as many of its rows as are wanted."""
    table = pg.load_dataset(name)
    if study.rows is None or study.rows >= len(table):
        return table
    rows = np.random.default_rng(study.split_random_state).choice(len(table), study.rows, replace=False)
    return table.take(np.sort(rows))


def run(study: Study, names: tuple[str, ...], parts: tuple[str, ...], out: Path, *, verbose: bool = False) -> None:
    """Do the study on some data sets, or what is left of it."""
    if "baselines" in parts:
        baselines.check_installed(study.baselines)
    for name in names:
        steps = list(Dataset(name, study, out).steps(parts))
        with tqdm(steps, desc=name, unit="step", disable=not verbose) as progress:
            for step, work in progress:
                progress.set_postfix_str(step)
                work()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--dataset", "names", multiple=True, type=click.Choice(DATASETS), help="By default all five.")
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), help="By default all; may be repeated.")
@click.option("--trials", type=int, help="Of each tuning, in all: --set tuning.trials.")
@click.option("--config", type=click.Path(path_type=Path), default=HERE / "study.yaml", help="Settings (YAML).")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one, such as layouts.seeds=3.")
@click.option("--fast", is_flag=True, help="2,000 rows, two trials, few epochs: a look.")
@click.option("--out", type=click.Path(path_type=Path), help="results/hybrid_tables; hybrid_tables_fast with --fast.")
@click.option("--report", type=click.Path(path_type=Path), help="Where tables and pictures go; by default --out.")
@click.option("--report-only", is_flag=True, help="Do nothing but report what is there.")
def main(
    names: tuple[str, ...],
    parts: tuple[str, ...],
    trials: int | None,
    config: Path,
    overrides: tuple[str, ...],
    fast: bool,
    out: Path | None,
    report: Path | None,
    report_only: bool,
) -> None:
    """Tune, compare, rank, and measure what layouts and mistakes change, on the data sets of PermGrad."""
    out = out or Path("results/hybrid_tables_fast" if fast else "results/hybrid_tables")
    given: Mapping[str, Any] = {} if trials is None else {"tuning.trials": trials}
    try:
        settings = [*(FAST if fast else ()), *(f"{key}={value}" for key, value in given.items()), *overrides]
        study = read_settings(Study, config, settings)
        if not report_only:
            run(study, names or DATASETS, parts or PARTS, out, verbose=True)
        write_report(study, DATASETS, out, report or out)
    except pg.PermGradError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{report or out}/report.md, and the tables and pictures that it is made of")


if __name__ == "__main__":
    main()
