"""Gene panels with a feature-selection layer: the 100 or 200 genes that tell cell types apart.

    python -m studies.selector_mlp [--dataset worm] [--fast] [--set network.epochs=20] [--out results/selector_mlp]

The published study trains plain MLPs and MLPs behind a layer that weighs each gene, with three penalties on its
weights; masks all but the best genes of each ranking; counts which genes the rankings share; crops to the best 200 and
100 and trains anew. This one does the same on every data set named, several times each, with linear SVMs as baselines.
Beyond it: stochastic gates, and a path from dense to sparse in one training, against L1 on one curve of panel sizes;
panels of the genes that are chosen most often over twenty trainings, with their accuracy and its interval; on planted
cells, how many of the planted markers each ranking has among its best.

Every training's result is a cached step: stopped and started again, the study goes on from there. More trainings, panel
sizes and data sets can be asked for later; any other change needs another directory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

import permgrad as pg
from permgrad.backend import keras
from permgrad.data.preprocessing import log_normalise, variable_genes
from permgrad.training.config import choose_precision
from studies.kit import Study, Workspace
from studies.kit.data import find_data
from studies.kit.workspace import Apart, Step
from studies.selector_mlp import steps
from studies.selector_mlp.conditions import SVMS
from studies.selector_mlp.networks import Parts
from studies.selector_mlp.pictures import pictures
from studies.selector_mlp.results import (
    Results,
    crop_step,
    panel_step,
    ranking_alone_step,
    ranking_step,
    referee_step,
)
from studies.selector_mlp.settings import FAST, PanelSettings
from studies.selector_mlp.tables import tables

SHOWN_GENES = 40


def load_cells(settings: PanelSettings, dataset: str) -> pg.Cells:
    """Return a data set's cells: counts of all genes."""
    source = settings.datasets[dataset]
    if source.file == "generated":
        return pg.toy.single_cells(**settings.generated.model_dump())
    advice = f"say where it is (--set datasets.{dataset}.file=PATH), or choose another data set (--dataset)"
    return pg.read_cells(find_data(source.file, advice), source.target)


def prepare(settings: PanelSettings, cells: pg.Cells) -> Parts:
    """Normalise each cell, split, and take the genes that vary among the training cells."""
    rows = pg.capped_split(cells.y, settings.split.caps, random_state=settings.split.random_state)
    logarithms = log_normalise(cells)
    genes = variable_genes(logarithms.take(rows[0]), settings.genes)
    largest = max(*settings.panel_sizes, settings.panels.size)
    if largest >= len(genes):
        raise pg.PermGradError(f"a panel must have fewer genes than the {len(genes)} that there are, got {largest}")
    variable = logarithms.only(genes)
    return {name: variable.take(part) for name, part in zip(("train", "validation", "test"), rows, strict=True)}


def plan(settings: PanelSettings, parts: Parts) -> dict[str, Step]:
    """Return all steps in the order in which they are done; later ones take genes from the rankings of earlier ones."""
    planned = {ranking_step(name, 0): _step(steps.rank_by_svm, settings, parts, name) for name in SVMS}
    for seed in settings.seeds:
        for condition in settings.conditions:
            planned[ranking_step(condition, seed)] = _step(steps.rank_by_network, settings, parts, condition, seed)
        for k in settings.crop.sizes:
            for ranking in settings.crop.rankings:
                planned[crop_step(ranking, seed, k)] = _on_best(
                    partial(steps.train_on_panel, settings, parts, ranking), parts, ranking, seed, k
                )
        for k in settings.panel_sizes:
            for scheme in settings.sparse:
                if crop_step(scheme, seed, k) not in planned:
                    planned[referee_step(scheme, seed, k)] = _on_best(
                        partial(steps.train_referee, settings, parts), parts, scheme, seed, k
                    )
    for scheme in settings.panels.conditions:
        for seed in sorted({*settings.panel_seeds} - {*settings.seeds}):
            planned[ranking_alone_step(scheme, seed)] = _step(steps.rank_only, settings, parts, scheme, seed)
        planned[panel_step(settings, scheme)] = _panel(settings, parts, scheme)
    return planned


def _step(work: Callable[..., dict[str, Any]], *arguments: Any) -> Step:
    """Return a step that needs none before it."""
    return Apart(_afresh, work, *arguments)


def _on_best(work: Callable[..., dict[str, Any]], parts: Parts, ranking: str, seed: int, k: int) -> Step:
    """Return a step that trains on a ranking's k best genes."""
    return lambda earlier: _afresh(work, Results("", parts, earlier).best(ranking, seed, k), seed)


def _panel(settings: PanelSettings, parts: Parts, scheme: str) -> Step:
    """Return the step of a panel over reseeded trainings."""
    return lambda earlier: _afresh(
        steps.choose_panel, settings, parts, Results("", parts, earlier).rankings(scheme, settings.panel_seeds)
    )


def _afresh(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    keras.utils.clear_session()
    return work(*arguments)


def run(settings: PanelSettings, workspace: Workspace, *, dataset: str) -> Results:
    """Study one data set, or do what is left of it."""
    cells = load_cells(settings, dataset)
    workspace.check_same({"settings": fixed(settings), "cells": fingerprint(cells)})
    parts = prepare(settings, cells)
    return Results(dataset, parts, workspace.run(plan(settings, parts)))


def fixed(settings: PanelSettings) -> dict[str, Any]:
    """Return the settings that may not change in a directory; more trainings and sizes may be asked for."""
    content = settings.model_dump(
        mode="json",
        exclude={
            "datasets": True,
            "conditions": True,
            "generated": True,
            "curve": True,
            "panels": True,
            "trainings": {"n"},
            "crop": {"sizes", "rankings"},
        },
    )
    content["network"]["precision"] = choose_precision(settings.network.precision)
    if settings.network.steps is None:  # results from before there was this setting go on
        del content["network"]["steps"]
    return content


def fingerprint(cells: pg.Cells) -> str:
    """Return a SHA-256 of cells in memory: counts, labels and names of genes."""
    X = sparse.csr_matrix(cells.X)
    digest = hashlib.sha256(json.dumps([cells.y.tolist(), cells.features]).encode())
    for values, kind in ((X.data, "<f4"), (X.indices, "<i8"), (X.indptr, "<i8")):
        digest.update(np.ascontiguousarray(values, kind))
    return digest.hexdigest()


def facts(settings: PanelSettings, results: Results, tables: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the report says of the cells, and each panel's first genes as text."""
    genes = tables["panel_genes"].assign(
        text=[f"{row.gene} ({row.frequency:.0%})" for row in tables["panel_genes"].itertuples()]
    )
    features = {*results.parts["train"].features}
    return {
        "rarest": int(np.unique(results.parts["test"].y, return_counts=True)[1].min()),
        "minutes": sum(step["step_seconds"] for step in results.steps.values()) / 60,
        "panel_texts": {
            scheme: ", ".join(rows["text"].head(SHOWN_GENES)) + (", ..." if len(rows) > SHOWN_GENES else "")
            for scheme, rows in genes.groupby("scheme", sort=False)
        },
        "markers_there": sum(marker in features for marker in results.markers),
    }


STUDY = Study(
    name="selector_mlp",
    directory=Path(__file__).parent,
    help="Choose gene panels by networks with a feature-selection layer, and say what the panels are worth.",
    settings=PanelSettings,
    fast=FAST,
    fast_help="Few cells, genes, networks and trainings: a look, in two minutes.",
    run=run,
    tables=tables,
    pictures=pictures,
    facts=facts,
    datasets=lambda settings: list(settings.datasets),
)
main = STUDY.command()
