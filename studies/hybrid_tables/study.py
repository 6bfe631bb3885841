"""The hybrid network and PermGrad on their five data sets, beside trees, boosted trees and neural peers.

    python -m studies.hybrid_tables --dataset heloc --trials 30 [--set seeds=3] [--fast] [--out results/hybrid_tables]

For each data set, on one 60/20/20 split: the hybrid network, an MLP alone and a CNN alone are tuned over the published
search space, and each one's best trial is trained again with several seeds, beside the presets of the hybrid network
and baselines, all as they come. The best hybrid network is ranked by PermGrad, by the published formula and by this
project's; it is trained again with each mistake of the published code, with other layouts and image sizes, and with
balanced classes.

Every training is a cached step, and tuning an Optuna study of its own: stopped and started again, the study goes on
from there. More trials, seeds, networks, presets, baselines and layouts can be asked for later; any other change of
settings needs another directory. Whatever is there by then is reported, of all data sets in the directory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import pandas as pd
from sklearn.base import clone

import permgrad as pg
from studies.hybrid_tables import baselines, mistakes, networks, ranking_tables, score_tables
from studies.hybrid_tables.pictures import pictures
from studies.hybrid_tables.results import Results, read_results
from studies.hybrid_tables.settings import HybridSettings
from studies.hybrid_tables.shown import facts
from studies.kit import Apart, Setting, Study, Workspace
from studies.kit.workspace import Step

DATASETS = ("puma8nh", "heloc", "dengue", "gas_drift", "covertype")
PARTS = ("baselines", "networks", "presets", "permgrad", "mistakes", "layouts", "imbalance")
GROWING = {"seeds", "networks", "presets", "ensembles", "baselines", "layouts", "mistakes", "level"}
"""Settings of which more may be asked for later; `permgrad.tune` watches over those of tuning, layouts over theirs."""
FAST = (
    "rows=1000",
    "seeds=2",
    "tuning.trials=1",
    "tuning.epochs.regression=5",
    "tuning.epochs.classification=5",
    "baselines=[random forest, extra trees]",
    "presets=[fast]",
    "layouts.kinds={TINTO faithful: {layout: tinto, unique: false}, IGTD: {layout: igtd, unique: true}}",
    "layouts.sizes=[20]",
    "permgrad_repeats=2",
)
Steps = dict[str, Step]
"""By the names under which their results are cached."""


class Tuned(NamedTuple):
    """A network's best trial, and where the steps that follow from it are cached: a better trial has another place."""

    model: Any
    place: str


class Experiment:
    """The study of one data set.

    Parameters
    ----------
    name : str
    settings : HybridSettings
    workspace : Workspace
        Of this data set.
    """

    def __init__(self, name: str, settings: HybridSettings, workspace: Workspace) -> None:
        self.settings, self.workspace = settings, workspace
        self.table = load_table(name, settings)
        train, validation, test = self.table.split(random_state=settings.split_random_state)
        self.parts = {"train": train, "validation": validation, "test": test}
        self._tuned: dict[str, Tuned] = {}
        fixed = {key: value for key, value in settings.model_dump(mode="json").items() if key not in GROWING}
        del fixed["tuning"]["trials"]
        workspace.check_same({"settings": fixed, "facts": self.facts(), "note": self.note()})

    def facts(self) -> dict[str, Any]:
        """Return what tables need to know of the data: class numbers, or numbers, of the test rows as ``truth``."""
        test, train = self.parts["test"], self.parts["train"]
        known = {"sha256": self.table.sha256, "task": test.task, "features": len(test.features)}
        known |= {part: len(rows) for part, rows in self.parts.items()}
        if test.task == "regression":
            return {**known, "truth": [float(f"{value:.6g}") for value in test.y]}
        classes = np.unique(train.y)
        sizes = {str(label): int((train.y == label).sum()) for label in classes}
        return {**known, "class_sizes": sizes, "truth": np.searchsorted(classes, test.y)}

    def note(self) -> str:
        """Say what is missing of the table."""
        drawn = "" if self.settings.rows is None else f"{len(self.table)} rows drawn at random"
        return "; ".join(filter(None, [self.table.notes.get("note", ""), drawn]))

    def run(self, parts: Sequence[str]) -> None:
        """Do what is left of some parts of the study."""
        steps: dict[str, Callable[[], Steps]] = {
            "baselines": self.baselines,
            "networks": self.networks,
            "presets": self.presets,
            "permgrad": self.permgrad,
            "mistakes": self.mistakes,
            "layouts": self.layouts,
            "imbalance": self.imbalance,
        }
        for part in parts:
            self.workspace.run(steps[part]())

    def baselines(self) -> Steps:
        """Fit each baseline with each seed."""
        parts = networks.numbered(self.parts)
        return {
            f"baselines/{name}/seed_{seed}": Apart(baselines.fit_and_evaluate, name, parts, seed)
            for seed in self.settings.all_seeds
            for name in self.settings.baselines
        }

    def networks(self) -> Steps:
        """Train each network's best trial again with each seed."""
        return {
            f"{self.tuned(name).place}/seed_{seed}": self._train(name, random_state=seed)
            for seed in self.settings.all_seeds
            for name in self.settings.networks
        }

    def presets(self) -> Steps:
        """Train the network of each preset with each seed, as it comes."""
        return {
            f"presets/{name}/seed_{seed}": Apart(networks.train_preset, name, self.parts, seed)
            for seed in self.settings.all_seeds
            for name in self.settings.presets
        }

    def permgrad(self) -> Steps:
        """Rank the explained network by both formulas."""
        tuned = self.tuned(self.settings.explained)
        return {f"{tuned.place}/permgrad": lambda _: networks.explain(tuned.model, self.parts, self._repeats)}

    def mistakes(self) -> Steps:
        """Misread the explained network, and train it again with each mistake."""
        tuned = self.tuned(self.settings.explained)
        given = self.parts, self._repeats
        steps: Steps = {
            "corrected": lambda _: networks.measure(tuned.model, *given),
            "misread": lambda _: mistakes.misread(tuned.model, *given),
        }
        for name in mistakes.TRAININGS[str(self.table.task)]:
            if name in self.settings.mistakes:
                steps[name] = Apart(mistakes.retrain, name, clone(tuned.model), *given, every_row=self.table.X)
        return {f"{tuned.place}/mistakes/{name}": work for name, work in steps.items()}

    def layouts(self) -> Steps:
        """Train the explained network again with each layout in each size."""
        place, settings, steps = self.tuned(self.settings.explained).place, self.settings.layouts, {}
        for seed in self.settings.layout_seeds:
            for size in settings.sizes:
                for kind, layout in settings.kinds.items():
                    here = f"{place}/layouts/{kind} {size}"
                    self.workspace.check_same(layout.model_dump(), name=f"{here}/layout")
                    changes = {"random_state": seed, "image_size": size, **layout.model_dump()}
                    steps[f"{here}/seed_{seed}"] = self._with_layout(changes)
        return steps

    def _with_layout(self, changes: dict[str, Any]) -> Step:
        tuned = self.tuned(self.settings.explained).model
        reason = networks.too_small(tuned, changes["image_size"], unique=changes["unique"])
        if reason:
            return lambda _: {"impossible": reason}
        return self._train(self.settings.explained, **changes)

    def imbalance(self) -> Steps:
        """Train the explained network again with balanced classes, if there are more than two."""
        if len(self.table.classes or ()) <= 2:
            return {}
        name = self.settings.explained
        return {
            f"{self.tuned(name).place}/balanced_{seed}": self._train(name, random_state=seed, class_weight="balanced")
            for seed in self.settings.all_seeds
        }

    @property
    def _repeats(self) -> int:
        return self.settings.permgrad_repeats

    def _train(self, name: str, **changes: Any) -> Step:
        """Return the step of a network's best trial with another seed or other settings; its own is trained already."""
        best = self.tuned(name).model
        if changes == {"random_state": best.random_state}:
            return lambda _: networks.measure(best, self.parts, self._repeats)
        return Apart(networks.train_and_measure, clone(best), self.parts, self._repeats, **changes)

    def tuned(self, name: str) -> Tuned:
        """Tune a network, or go on with it, and write down how its tuning went."""
        if name not in self._tuned:
            tuning, network = self.settings.tuning, self.settings.networks[name]
            pruner = network.pruner or tuning.pruner
            result = pg.tune(
                self.table,
                network.space,
                ranges=network.ranges,
                n_trials=network.trials or tuning.trials,
                out=self.workspace.out / "tuning" / name,
                sampler=tuning.sampler,
                pruner=pruner,
                random_state=tuning.random_state,
                split_random_state=self.settings.split_random_state,
                keep=1,
                rank=False,
                settings={"epochs": getattr(tuning.epochs, str(self.table.task)), **network.settings},
            )
            tried = networks.describe_tuning(result) | {"ranges": network.ranges, "pruner": pruner}
            self._tuned[name] = Tuned(result.best_model, f"networks/{name}/trial_{tried['best']:03}")
            self.workspace.step(f"{self._tuned[name].place}/tuning_{tried['trials']:03}", lambda: tried)
        return self._tuned[name]


def load_table(name: str, settings: HybridSettings) -> pg.Table:
    """Return a data set, or as many of its rows as are wanted."""
    table = pg.load_dataset(name)
    if settings.rows is None or settings.rows >= len(table):
        return table
    rows = np.random.default_rng(settings.split_random_state).choice(len(table), settings.rows, replace=False)
    return table.take(np.sort(rows))


def run(
    settings: HybridSettings,
    workspace: Workspace,
    *,
    datasets: Sequence[str] = (),
    parts: Sequence[str] = (),
    report_only: bool = False,
) -> Results:
    """Do what is left of the study, of some data sets and parts or of all, and return all results that are there."""
    chosen = [part for part in PARTS if not parts or part in parts]
    if "baselines" in chosen and not report_only:
        baselines.check_installed(settings.baselines)
    for name in () if report_only else datasets or DATASETS:
        Experiment(name, settings, workspace.below(name)).run(chosen)
    return read_results(workspace, DATASETS, settings)


def tables(settings: HybridSettings, results: Results) -> dict[str, pd.DataFrame]:
    """Return every table of the report; those that nothing is known for are empty."""
    target = score_tables.target_table(results)
    contends = target["network"].isin(settings.contenders) if len(target) else []
    every = {
        "scores": score_tables.score_table(results),
        "target": target[contends],
        "published_networks": target[~contends] if len(target) else target,
        "averages": score_tables.average_table(results),
        "tuning": score_tables.tuning_table(results),
        "formulas": ranking_tables.formula_table(results),
        "puma": ranking_tables.puma_table(results),
        "misread": ranking_tables.misread_table(results),
        "mistakes": ranking_tables.mistake_table(results),
        "layouts": ranking_tables.layout_table(results),
        "recall": score_tables.recall_table(results),
        "saliency": ranking_tables.saliency_table(results),
        **{f"ranking_{each.name}": ranking_tables.ranking_table(each) for each in results if each.permgrad},
    }
    return {name: table if len(table) else pd.DataFrame() for name, table in every.items()}


STUDY = Study(
    name="hybrid_tables",
    directory=Path(__file__).parent,
    help="Tune, compare, rank, and measure what layouts and mistakes change, on the data sets of PermGrad.",
    settings=HybridSettings,
    fast=FAST,
    fast_help="1,000 rows, one trial, few epochs: a look, in two minutes for each data set.",
    run=run,
    tables=tables,
    pictures=pictures,
    facts=facts,
    digits=6,
)
main = STUDY.command(
    click.Option(["--dataset", "datasets"], multiple=True, type=click.Choice(DATASETS), help="By default all five."),
    click.Option(
        ["--part", "parts"], multiple=True, type=click.Choice(PARTS), help="May be given again; by default all."
    ),
    Setting("--trials", "tuning.trials", "Trials of each tuning, in all.", type=int),
    click.Option(["--report-only"], is_flag=True, help="Compute nothing; report what is there."),
)
