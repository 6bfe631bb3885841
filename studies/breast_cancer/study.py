"""Two pools of features, one MLP, selection by permutation, and whether any of it beats noise.

    python -m studies.breast_cancer [--fast] [--set network.dropout=0.3] [--out results/breast_cancer]

On one stratified split, an MLP is trained on each of two pools of features, the table's own and one with products and
ratios; features whose permutation costs enough validation accuracy are selected, and the same MLP is trained on those
of both pools together. Then what one split of 114 test rows cannot tell: the same in repeated cross-validation, the
selection inside each fold, beside logistic regression, a random forest and two hybrid networks: the published one, and
that of the default settings.

Every training's result is a cached step: stopped and started again, the study goes on from there. More seeds or
repeats of the folds can be asked for later; any other change of settings needs another directory.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field, field_validator
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import check_scoring, classification_report
from sklearn.model_selection import RepeatedStratifiedKFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import permgrad as pg
from studies.breast_cancer.pictures import pictures
from studies.breast_cancer.tables import Parts, Results, facts, tables
from studies.kit import Settings, Study, Workspace
from studies.kit.settings import Count, Positive, Seed
from studies.kit.workspace import Apart, Step

FAST = (
    "published.seeds=2",
    "cross_validation.folds=3",
    "cross_validation.repeats=1",
    "selection.repeats=10",
    "others.trees=100",
    "others.hybrid_epochs={published: 20, default: 20}",
)
Share = Annotated[float, Field(gt=0, lt=1)]


class Files(Settings):
    """Where a pool's rows are."""

    train: Path
    validation: Path
    test: Path


class Data(Settings):
    """The files of both pools."""

    raw: Files
    engineered: Files


class Split(Settings):
    """How they are made if they are absent."""

    test: Share
    validation: Share
    random_state: Seed


class Engineered(Settings):
    """See `permgrad.DerivedColumns`."""

    keep: tuple[str, ...]
    products: dict[str, tuple[str, ...]]
    ratios: dict[str, tuple[str, str]]


class Network(Settings):
    """See `permgrad.MLPClassifier`."""

    hidden_units: tuple[Count, ...]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    scaling: Literal["standard", "power"]
    learning_rate: Positive
    l2: Annotated[float, Field(ge=0)]
    clip_norm: Positive | None
    batch_size: Count
    epochs: Count
    keep: Literal["last", "best"]
    precision: Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"]
    class_weight: Literal["balanced"] | None


class Thresholds(Settings):
    """What a feature's permutation must cost to be selected."""

    raw: float
    engineered: float


class Selection(Settings):
    """See `permgrad.score_importance`."""

    scoring: str
    repeats: Count
    random_state: Seed
    threshold: Thresholds
    at_least: Count

    @field_validator("scoring")
    @classmethod
    def _is_known(cls, scoring: str) -> str:
        pg.get_scorer(scoring)  # raises now, not after the first training
        return scoring


class Published(Settings):
    """Trainings on the one split."""

    seeds: Count
    first_seed: Seed


class CrossValidation(Settings):
    """Repeated and stratified."""

    folds: Annotated[int, Field(ge=2)]
    repeats: Count
    random_state: Seed

    def splitter(self) -> RepeatedStratifiedKFold:
        """Return what splits the rows into folds."""
        return RepeatedStratifiedKFold(n_splits=self.folds, n_repeats=self.repeats, random_state=self.random_state)


class HybridEpochs(Settings):
    """How long a hybrid network of each preset is trained at most."""

    published: Count
    default: Count


class Others(Settings):
    """What the MLP is compared with."""

    trees: Count
    hybrid_epochs: HybridEpochs
    permgrad_repeats: Count


class BreastCancer(Settings):
    """All settings; see study.yaml."""

    data: Data
    split: Split
    positive: Literal["malignant", "benign"]
    engineered: Engineered
    network: Network
    selection: Selection
    published: Published
    cross_validation: CrossValidation
    others: Others
    level: Share

    @property
    def scores(self) -> tuple[str, ...]:
        """Scorers of every model."""
        return ("accuracy", f"recall[{self.positive}]", "roc_auc")

    @property
    def seeds(self) -> range:
        """Random states of the trainings on the one split."""
        return range(self.published.first_seed, self.published.first_seed + self.published.seeds)


def load_table() -> pg.Table:
    """Return the data with short column names: "mean area", "area error" and "worst area" end in _mean, _se, _worst."""
    table = pg.load_dataset("breast_cancer")
    names = {name: _short(name) for name in table.features}
    return pg.Table(table.X.rename(columns=names), table.y, name=table.name, notes=table.notes)


def _short(name: str) -> str:
    name = name.replace("fractal dimension", "fractal_dimension")
    if name.endswith(" error"):
        return f"{name.removesuffix(' error')}_se"
    kind, feature = name.split(" ", 1)
    return f"{feature}_{kind}"


def make_pools(raw: Parts, settings: BreastCancer) -> dict[str, Parts]:
    """Return both pools' parts; each row of the second is computed from the same row of the first."""
    recipe = pg.DerivedColumns(settings.engineered.products, settings.engineered.ratios, settings.engineered.keep)
    recipe.fit(raw["train"].X)
    derived = {part: pg.Table(recipe.transform(rows.X), rows.y, name=rows.name) for part, rows in raw.items()}
    return {"raw": raw, "engineered": derived}


def split(table: pg.Table, settings: BreastCancer) -> Parts:
    """Set test rows apart, then validation rows of the rest, both stratified."""
    rest, test = _two(table, np.arange(len(table)), settings.split.test, settings.split.random_state)
    train, validation = _two(table, rest, settings.split.validation, settings.split.random_state)
    return {"train": table.take(train), "validation": table.take(validation), "test": table.take(test)}


def _two(table: pg.Table, rows: np.ndarray, share: float, random_state: int) -> tuple[np.ndarray, np.ndarray]:
    first, second = train_test_split(rows, test_size=share, random_state=random_state, stratify=table.y[rows])
    return first, second


def load_pools(settings: BreastCancer, out: Path) -> dict[str, Parts]:
    """Return both pools of the published split, from their files; written first if they are absent."""
    pools = make_pools(split(load_table(), settings), settings)
    read = {}
    for name, parts in pools.items():
        paths = {f"data.{name}.{part}": out / getattr(getattr(settings.data, name), part) for part in parts}
        files = pg.read_or_write_splits(paths, {f"data.{name}.{part}": rows for part, rows in parts.items()})
        read[name] = {key.rpartition(".")[2]: rows for key, rows in files.items()}
    for part, rows in read["raw"].items():
        if not rows.y.equals(read["engineered"][part].y):
            raise pg.PermGradError(f"data.raw.{part} and data.engineered.{part} must hold the same rows, in one order")
    return read


def train(
    parts: Parts, settings: BreastCancer, random_state: int, *, watch: bool = False
) -> tuple[pg.MLPClassifier, list[Any]]:
    """Train the MLP; with `watch`, return what it scored on train and validation rows after each epoch."""
    model = pg.MLPClassifier(**settings.network.model_dump(), random_state=random_state)
    rows = {part: (parts[part].X, parts[part].y) for part in ("train", "validation")}
    epochs = pg.EpochScores([f"recall[{settings.positive}]", "neg_log_loss"], rows, estimator=model)
    chosen_by = rows["validation"] if settings.network.keep == "best" else None
    model.fit(*rows["train"], validation_data=chosen_by, callbacks=[epochs] if watch else [])
    return model, epochs.table.to_dict("records")


def rank(model: Any, validation: pg.Table, settings: BreastCancer) -> pg.FeatureRanking:
    """Rank a pool's features by what permuting them costs on the validation rows."""
    selection = settings.selection
    return pg.score_importance(
        model,
        validation.X,
        validation.y,
        scoring=selection.scoring,
        n_repeats=selection.repeats,
        random_state=selection.random_state,
    )


def select(ranking: pg.FeatureRanking, threshold: float, at_least: int) -> list[str]:
    """Return the features above the threshold, or so many of the best if fewer are."""
    above = ranking.select(threshold=threshold)
    return above if len(above) >= at_least else ranking.select(at_least)


def unite(pools: Mapping[str, Parts], selected: Mapping[str, list[str]]) -> Parts:
    """Return the parts of the selected features of both pools; one that is in both is taken once."""
    taken = [(pool, name) for pool, names in selected.items() for name in names]
    homes = {name: pool for pool, name in reversed(taken)}
    names = list(dict.fromkeys(name for _, name in taken))
    return {
        part: pg.Table(pd.DataFrame({name: pools[homes[name]][part].X[name] for name in names}), rows.y, name=rows.name)
        for part, rows in pools["raw"].items()
    }


def evaluate(model: Any, parts: Parts, settings: BreastCancer) -> dict[str, Any]:
    """Return a fitted model's scores, its report by class and its predictions, of validation and test rows."""
    scorers = {name: pg.get_scorer(name) for name in settings.scores}
    score, evaluated = check_scoring(model, scoring=scorers), {}
    for part in ("validation", "test"):
        X, y = parts[part].X, parts[part].y
        predicted = model.predict(X)
        evaluated[part] = {
            "scores": {name: float(value) for name, value in score(model, X, y).items()},
            "classes": classification_report(y, predicted, output_dict=True, zero_division=0),
            "predicted": predicted.tolist(),
        }
    return evaluated


def three_networks(
    pools: Mapping[str, Parts], settings: BreastCancer, random_state: int, *, watch: bool = False
) -> dict[str, Any]:
    """Train on each pool, select, and train on what was selected of both. Test rows only say how good it is."""
    networks: dict[str, Any] = {}
    for name, parts in pools.items():
        model, epochs = train(parts, settings, random_state, watch=watch)
        ranking = rank(model, parts["validation"], settings)
        selected = select(ranking, getattr(settings.selection.threshold, name), settings.selection.at_least)
        networks[name] = {"features": parts["train"].features, "epochs": epochs, **evaluate(model, parts, settings)}
        networks[name] |= {"ranking": ranking.to_dict(), "selected": selected}
    combined = unite(pools, {name: networks[name]["selected"] for name in pools})
    model, epochs = train(combined, settings, random_state, watch=watch)
    features = combined["train"].features
    networks["combined"] = {"features": features, "epochs": epochs, **evaluate(model, combined, settings)}
    return networks


def fit_hybrid(parts: Parts, settings: BreastCancer, random_state: int, preset: str) -> pg.HybridClassifier:
    """Train the hybrid network of a preset; validation rows decide when it stops."""
    validation = (parts["validation"].X, parts["validation"].y)
    model = pg.HybridClassifier(
        preset=preset,
        random_state=random_state,
        epochs=getattr(settings.others.hybrid_epochs, preset),
        precision=settings.network.precision,
    )
    return model.fit(parts["train"].X, parts["train"].y, validation_data=validation)


def other_models(parts: Parts, settings: BreastCancer, random_state: int) -> dict[str, Any]:
    """Fit what the MLP is compared with, on the same training rows of the raw pool."""
    X, y = parts["train"].X, parts["train"].y
    return {
        "logistic regression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(X, y),
        "random forest": RandomForestClassifier(settings.others.trees, random_state=random_state).fit(X, y),
        "published hybrid": fit_hybrid(parts, settings, random_state, "published"),
        "default hybrid": fit_hybrid(parts, settings, random_state, "default"),
    }


def one_fold(
    table: pg.Table, rest: np.ndarray, test: np.ndarray, settings: BreastCancer, random_state: int
) -> dict[str, Any]:
    """Train, select and train again inside one fold; its test rows say how good all seven models are."""
    train_rows, validation = _two(table, rest, settings.split.validation, random_state)
    rows = {"train": train_rows, "validation": validation, "test": test}
    pools = make_pools({part: table.take(at) for part, at in rows.items()}, settings)
    networks = three_networks(pools, settings, random_state)
    others = other_models(pools["raw"], settings, random_state)
    models = {**networks, **{name: evaluate(model, pools["raw"], settings) for name, model in others.items()}}
    return {
        "scores": {name: each["test"]["scores"] for name, each in models.items()},
        "selected": {name: networks[name]["selected"] for name in pools},
    }


def permgrad_ranking(parts: Parts, settings: BreastCancer, random_state: int) -> dict[str, Any]:
    """Rank the raw pool by PermGrad on the validation rows, the rows that the MLP's features are ranked on."""
    model = fit_hybrid(parts, settings, random_state, "published")
    X, y = parts["validation"].X, parts["validation"].y
    ranking = model.rank_features(
        X,
        y,
        formula="fused",
        n_repeats=settings.others.permgrad_repeats,
        random_state=random_state,
        verbose=False,
    )
    return {"ranking": ranking.to_dict(), **evaluate(model, parts, settings)}


def check_same(settings: BreastCancer, pools: Mapping[str, Parts], workspace: Workspace) -> None:
    """Refuse a directory whose results were made by other settings; seeds and repeats may become more."""
    depends = settings.model_dump(mode="json")
    for growing, key in (("published", "seeds"), ("cross_validation", "repeats")):
        del depends[growing][key]
    hashes = {name: {part: rows.sha256 for part, rows in parts.items()} for name, parts in pools.items()}
    workspace.check_same({"settings": depends, "sha256": hashes})


def run(settings: BreastCancer, workspace: Workspace) -> Results:
    """Train all networks on the one split, rank by PermGrad, then do the same in each fold."""
    pools, table = load_pools(settings, workspace.out), load_table()
    check_same(settings, pools, workspace)
    cv, seeds = settings.cross_validation, settings.seeds
    folds = list(cv.splitter().split(table.X, table.y))
    steps: dict[str, Step] = {
        f"seed_{seed}": Apart(three_networks, pools, settings, seed, watch=True) for seed in seeds
    }
    steps["permgrad"] = Apart(permgrad_ranking, pools["raw"], settings, seeds[0])
    for i, rows in enumerate(folds):
        steps[f"fold_{i:03}"] = Apart(one_fold, table, *rows, settings, cv.random_state + i)
    results = workspace.run(steps)
    return Results(
        pools,
        {seed: results[f"seed_{seed}"] for seed in seeds},
        pg.FeatureRanking.from_dict(results["permgrad"]["ranking"]),
        [results[f"fold_{i:03}"] for i in range(len(folds))],
    )


STUDY = Study(
    name="breast_cancer",
    directory=Path(__file__).parent,
    help="Train on two pools of features and on what is selected of both, and tell differences from noise.",
    settings=BreastCancer,
    fast=FAST,
    fast_help="Few seeds and folds: a look, in two minutes.",
    run=run,
    tables=tables,
    pictures=pictures,
    facts=facts,
)
main = STUDY.command()
