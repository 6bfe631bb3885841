"""Two pools of features, one MLP, selection by permutation, and whether any of it beats noise.

    python studies/breast_cancer.py --out results/breast_cancer [--config FILE] [--set network.dropout=0.3] [--fast]

On one stratified split, an MLP is trained on each of two pools of features, the table's own and one with products and
ratios; features whose permutation costs enough validation accuracy are selected, and the same MLP is trained on those
of both pools together. Then what one split of 114 test rows cannot tell: the same in repeated cross-validation, the
selection inside each fold, beside logistic regression, a random forest and the hybrid network.

Every training's result is kept in ``units/``; stopped and started again, the study goes on from there. More seeds or
repeats of the folds can be asked for later; any other change of settings needs another directory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import click
import numpy as np
import pandas as pd
from pydantic import Field, field_validator
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import classification_report
from sklearn.model_selection import RepeatedStratifiedKFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm.auto import tqdm

import permgrad as pg
from studies.kit.settings import Settings, read_settings
from studies.kit.steps import cached_step, check_same_study

if __package__:
    from studies.breast_cancer.report import write_report
else:  # run as a script: its own directory is what Python looks in
    from breast_cancer_report import write_report

HERE = Path(__file__).parent
KIND = "permgrad.breast_cancer"
FAST = (
    "published.seeds=2",
    "cross_validation.folds=3",
    "cross_validation.repeats=1",
    "selection.repeats=10",
    "others.trees=100",
    "others.hybrid_epochs=20",
)
"""A look, in two minutes."""
Share = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]


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
    learning_rate: Annotated[float, Field(gt=0)]
    l2: Annotated[float, Field(ge=0)]
    clip_norm: Annotated[float, Field(gt=0)] | None
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


class Others(Settings):
    """What the MLP is compared with."""

    trees: Count
    hybrid_epochs: Count
    permgrad_repeats: Count


class Study(Settings):
    """All settings; see breast_cancer.yaml."""

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
        """What every model is judged by."""
        return ("accuracy", f"recall[{self.positive}]", "roc_auc")


Parts = Mapping[str, pg.Table]
"""train, validation and test rows of one pool."""


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


def make_pools(raw: Parts, study: Study) -> dict[str, Parts]:
    """Return both pools' parts; each row of the second is computed from the same row of the first."""
    recipe = pg.DerivedColumns(study.engineered.products, study.engineered.ratios, study.engineered.keep)
    recipe.fit(raw["train"].X)
    derived = {part: pg.Table(recipe.transform(rows.X), rows.y, name=rows.name) for part, rows in raw.items()}
    return {"raw": raw, "engineered": derived}


def split(table: pg.Table, study: Study) -> Parts:
    """Set test rows apart, then validation rows of the rest, both stratified."""
    rest, test = _two(table, np.arange(len(table)), study.split.test, study.split.random_state)
    train, validation = _two(table, rest, study.split.validation, study.split.random_state)
    return {"train": table.take(train), "validation": table.take(validation), "test": table.take(test)}


def _two(table: pg.Table, rows: np.ndarray, share: float, random_state: int) -> tuple[np.ndarray, np.ndarray]:
    first, second = train_test_split(rows, test_size=share, random_state=random_state, stratify=table.y[rows])
    return first, second


def load_pools(study: Study, out: Path) -> dict[str, Parts]:
    """Return both pools of the published split, from their files; written first if they are absent."""
    pools = make_pools(split(load_table(), study), study)
    found = {}
    for name, parts in pools.items():
        paths = {f"data.{name}.{part}": out / getattr(getattr(study.data, name), part) for part in parts}
        read = pg.read_or_write_splits(paths, {f"data.{name}.{part}": rows for part, rows in parts.items()})
        found[name] = {key.rpartition(".")[2]: rows for key, rows in read.items()}
    for part, rows in found["raw"].items():
        if not rows.y.equals(found["engineered"][part].y):
            raise pg.PermGradError(f"data.raw.{part} and data.engineered.{part} must hold the same rows, in one order")
    return found


def train(parts: Parts, study: Study, random_state: int, *, watch: bool = False) -> tuple[pg.MLPClassifier, list[Any]]:
    """Train the MLP; with `watch`, return what it scored on train and validation rows after each epoch."""
    model = pg.MLPClassifier(**study.network.model_dump(), random_state=random_state)
    rows = {part: (parts[part].X, parts[part].y) for part in ("train", "validation")}
    epochs = pg.EpochScores([f"recall[{study.positive}]", "neg_log_loss"], rows, estimator=model)
    chosen_by = rows["validation"] if study.network.keep == "best" else None
    model.fit(*rows["train"], validation_data=chosen_by, callbacks=[epochs] if watch else [])
    return model, epochs.table.to_dict("records")


def rank(model: Any, validation: pg.Table, study: Study) -> pg.FeatureRanking:
    """Rank a pool's features by what permuting them costs on the validation rows."""
    selection = study.selection
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


def judge(model: Any, parts: Parts, study: Study) -> dict[str, Any]:
    """Return the scores of a fitted model, and its reports by class, on validation and test rows."""
    found = {}
    for part in ("validation", "test"):
        X, y = parts[part].X, parts[part].y
        predicted = model.predict(X)
        found[part] = {
            "scores": {name: float(pg.get_scorer(name)(model, X, y)) for name in study.scores},
            "report": classification_report(y, predicted, digits=4, zero_division=0),
            "predicted": predicted.tolist(),
        }
    return found


def three_networks(
    pools: Mapping[str, Parts], study: Study, random_state: int, *, watch: bool = False
) -> dict[str, Any]:
    """Train on each pool, select, and train on what was selected of both. Test rows are only judged on."""
    found: dict[str, Any] = {}
    for name, parts in pools.items():
        model, epochs = train(parts, study, random_state, watch=watch)
        ranking = rank(model, parts["validation"], study)
        selected = select(ranking, getattr(study.selection.threshold, name), study.selection.at_least)
        found[name] = {"features": parts["train"].features, "epochs": epochs, **judge(model, parts, study)}
        found[name] |= {"ranking": ranking.to_dict(), "selected": selected}
    combined = unite(pools, {name: found[name]["selected"] for name in pools})
    model, epochs = train(combined, study, random_state, watch=watch)
    found["combined"] = {"features": combined["train"].features, "epochs": epochs, **judge(model, combined, study)}
    return found


def fit_hybrid(parts: Parts, study: Study, random_state: int) -> pg.HybridClassifier:
    """Train the hybrid network; validation rows decide when it stops."""
    validation = (parts["validation"].X, parts["validation"].y)
    model = pg.HybridClassifier(
        random_state=random_state, epochs=study.others.hybrid_epochs, precision=study.network.precision
    )
    return model.fit(parts["train"].X, parts["train"].y, validation_data=validation)


def other_models(parts: Parts, study: Study, random_state: int) -> dict[str, Any]:
    """Fit what the MLP is compared with, on the same training rows of the raw pool."""
    X, y = parts["train"].X, parts["train"].y
    return {
        "logistic regression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(X, y),
        "random forest": RandomForestClassifier(study.others.trees, random_state=random_state).fit(X, y),
        "hybrid": fit_hybrid(parts, study, random_state),
    }


def one_fold(table: pg.Table, rest: np.ndarray, test: np.ndarray, study: Study, random_state: int) -> dict[str, Any]:
    """Train, select and train again inside one fold; its test rows judge all six models."""
    train_rows, validation = _two(table, rest, study.split.validation, random_state)
    rows = {"train": train_rows, "validation": validation, "test": test}
    pools = make_pools({part: table.take(at) for part, at in rows.items()}, study)
    found = three_networks(pools, study, random_state)
    others = other_models(pools["raw"], study, random_state)
    judged = {**found, **{name: judge(model, pools["raw"], study) for name, model in others.items()}}
    return {
        "scores": {name: each["test"]["scores"] for name, each in judged.items()},
        "selected": {name: found[name]["selected"] for name in pools},
    }


def permgrad_ranking(parts: Parts, study: Study, random_state: int) -> dict[str, Any]:
    """Rank the raw pool by PermGrad on the validation rows, the rows that the MLP's features are ranked on."""
    model = fit_hybrid(parts, study, random_state)
    X, y = parts["validation"].X, parts["validation"].y
    ranking = model.rank_features(
        X, y, n_repeats=study.others.permgrad_repeats, random_state=random_state, verbose=False
    )
    return {"ranking": ranking.to_dict(), **judge(model, parts, study)}


def check_same(study: Study, pools: Mapping[str, Parts], out: Path) -> None:
    """Refuse a directory whose results were made by other settings; seeds and repeats may become more."""
    settings = study.model_dump(mode="json")
    for growing, key in (("published", "seeds"), ("cross_validation", "repeats")):
        del settings[growing][key]
    hashes = {name: {part: rows.sha256 for part, rows in parts.items()} for name, parts in pools.items()}
    check_same_study(out / "units" / "study.json", KIND, {"settings": settings, "sha256": hashes})


def run(study: Study, out: Path, *, verbose: bool = False) -> dict[str, Any]:
    """Do the study, or what is left of it, and return its units: ``seeds``, ``folds`` and ``permgrad``."""
    pools, table, units = load_pools(study, out), load_table(), out / "units"
    check_same(study, pools, out)
    seeds = range(study.published.first_seed, study.published.first_seed + study.published.seeds)
    cv = study.cross_validation
    folds = RepeatedStratifiedKFold(n_splits=cv.folds, n_repeats=cv.repeats, random_state=cv.random_state)
    steps: dict[str, Callable[[], dict[str, Any]]] = {
        f"seed_{random_state}": lambda random_state=random_state: three_networks(pools, study, random_state, watch=True)
        for random_state in seeds
    }
    steps["permgrad"] = lambda: permgrad_ranking(pools["raw"], study, seeds[0])
    for i, (rest, test) in enumerate(folds.split(table.X, table.y)):
        steps[f"fold_{i:03}"] = lambda i=i, rest=rest, test=test: one_fold(
            table, rest, test, study, cv.random_state + i
        )
    done = {
        name: cached_step(units / f"{name}.json", KIND, work)
        for name, work in tqdm(steps.items(), desc="breast cancer", unit="unit", disable=not verbose)
    }
    return {
        "pools": pools,
        "seeds": {random_state: done[f"seed_{random_state}"] for random_state in seeds},
        "permgrad": done["permgrad"],
        "folds": [unit for name, unit in done.items() if name.startswith("fold_")],
    }


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", type=click.Path(path_type=Path), default=HERE / "study.yaml", help="Settings (YAML).")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one, such as network.dropout=0.3.")
@click.option("--fast", is_flag=True, help="Few seeds and folds: a look, in two minutes.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("results/breast_cancer"), show_default=True)
def main(config: Path, overrides: tuple[str, ...], fast: bool, out: Path) -> None:
    """Train on two pools of features and on what is selected of both, and tell differences from noise."""
    try:
        study = read_settings(Study, config, [*(FAST if fast else ()), *overrides])
        done = run(study, out, verbose=True)
        write_report(study, done, out)
    except pg.PermGradError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{out}/report.md, and the tables and pictures that it is made of")


if __name__ == "__main__":
    main()
