"""Evidence for rankings: which choices of the fusion hold up, and how PermGrad stands beside what else there is.

    python -m benchmarks.referee choices [--random-states 2] [--problems puma8nh additive] [--out DIR] [--fast]
    python -m benchmarks.referee compare [--random-states 2] [--problems ...] [--out DIR] [--fast]

For each problem and seed one hybrid network of the estimator's default settings is trained. `choices` ranks its columns
by every combination of image attribution, read-out, baseline of the ablation, branch weights and scale; `compare`
sets the published formula and the default beside end-to-end permutation, SHAP, a random forest and chance.

Figures, all of rows that were not trained on: *deletion*, the area between the curves of the network's loss as features
are replaced, most relevant first less least relevant first, divided by what replacing all adds to the loss
(0: chance), averaged over marginal and conditional replacement; *retrain*, the score (accuracy, R²) of MLPs trained
without the best quarter and the best half of the columns, averaged (lower: better); *found*, the share of the relevant
columns among the best, where they are known (Puma's theta2 and theta3, whose published permutation scores are forty
times the next; the planted tables').
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import permgrad as pg
from permgrad.data import toy
from permgrad.evaluation.baselines import baseline_rankings
from permgrad.evaluation.curves import deletion_curves
from permgrad.evaluation.explained import ExplainedModel
from permgrad.evaluation.retraining import remove_and_retrain
from permgrad.evaluation.time_limit import TimeLimit

PROBLEMS = {
    "heloc": lambda random_state: pg.load_dataset("heloc"),
    "dengue": lambda random_state: pg.load_dataset("dengue"),
    "puma8nh": lambda random_state: pg.load_dataset("puma8nh"),
    "additive": lambda random_state: toy.additive(1500, 20, random_state, task="classification"),
    "correlated nulls": lambda random_state: toy.correlated_nulls(1500, 4, 8, 0.8, random_state),
    "ring+xor+sum": lambda random_state: toy.ring_xor_sum(3000, 12, random_state),
}
RELEVANT = {"puma8nh": ["theta2", "theta3"]}
ATTRIBUTIONS = {
    "grad_cam": ("grad_cam", "last"),
    "layer_cam": ("layer_cam", "last"),
    "layer_cam, first layer": ("layer_cam", "first"),
    "gradient_input": ("gradient_input", "last"),
}
CHOICES = {
    "attribution": list(ATTRIBUTIONS),
    "readout": ["cell", "bilinear"],
    "baseline": ["zero", "mean", "shuffled"],
    "weights": ["softmax", "shapley"],
    "fusion_scale": ["min-max", "share"],
}
REPLACEMENTS = ("marginal", "conditional")


FAST: dict[str, Any] = {
    "preset": "published",
    "epochs": 2,
    "dense_units": (8,),
    "head_units": (8,),
    "base_filters": 2,
    "n_conv_layers": 1,
}
"""To see that it runs; the figures mean nothing."""


def trained(problem: str, random_state: int, settings: Mapping[str, Any]) -> ExplainedModel:
    """Train the published hybrid on a problem; its ranking is left empty."""
    table = PROBLEMS[problem](random_state)
    train, val, test = table.split(random_state=42 + random_state)
    kind = pg.HybridClassifier if table.task == "classification" else pg.HybridRegressor
    model = kind(**{"preset": "published", "random_state": random_state, **settings})
    model.fit(train.X, train.y, validation_data=(val.X, val.y))
    nothing = pg.FeatureRanking(tuple(table.features), np.zeros(len(table.features)))
    return ExplainedModel(model, nothing, train, test, val, random_state)


def fusions(explained: ExplainedModel) -> Iterator[tuple[dict[str, str], pg.FeatureRanking]]:
    """Rank the columns by every combination of choices."""
    model, X, y = explained.estimator, explained.test.X, explained.test.y
    parts = {}
    for name, (attribution, layer) in ATTRIBUTIONS.items():
        for readout in CHOICES["readout"]:
            formula = pg.Formula(attribution=attribution, layer=layer, readout=readout)
            components = model.rank_features(X, y, formula=formula, end_to_end=False).components
            without = {"replicates": None, "class_replicates": None}
            parts[name, readout] = [replace(components[part], **without) for part in ("permutation", attribution)]
    for weights, baseline in itertools.product(CHOICES["weights"], CHOICES["baseline"]):
        share = pg.branch_weights(
            model.network_, explained.test_rows, explained.test_target, weights=weights, baseline=baseline
        )
        for (attribution, readout), scale in itertools.product(parts, CHOICES["fusion_scale"]):
            choice = (attribution, readout, baseline, weights, scale)
            fused = pg.fuse(*parts[attribution, readout], share, fusion_scale=scale)
            yield dict(zip(CHOICES, choice, strict=True)), fused.with_unused(explained.test.features)


def rankings(explained: ExplainedModel) -> dict[str, pg.FeatureRanking]:
    """Rank the columns by the game, by both formulas, and by what else there is."""
    X, y = explained.test.X, explained.test.y
    game = explained.estimator.rank_features(X, y, end_to_end=True, formula="game")
    fused = explained.estimator.rank_features(X, y, end_to_end=False, formula="fused")
    published = explained.estimator.rank_features(X, y, end_to_end=False, formula=pg.PUBLISHED)
    peers = baseline_rankings(explained, TimeLimit())
    return {
        "PermGrad, published formula": published,
        "PermGrad, fused": fused,
        "Shapley values of the loss (the game)": game,
        "end-to-end permutation": game.components["end_to_end"],
        "SHAP (TreeSHAP of a random forest)": peers["tree_shap"],
        "random forest (impurity)": peers["random_forest"],
        "random order": peers["random"],
    }


def deletion(explained: ExplainedModel, ranked: Mapping[str, pg.FeatureRanking], max_rows: int) -> pd.Series:
    """Measure each ranking by deletion; rankings of one order are measured once."""
    orders = {name: tuple(ranking.order) for name, ranking in ranked.items()}
    once = {order: name for name, order in orders.items()}
    distinct = {name: ranked[name] for name in once.values()}
    _, areas, _ = deletion_curves(
        explained, distinct, TimeLimit(), replacements=REPLACEMENTS, n_draws=2, n_points=11, max_rows=max_rows
    )
    by_name = areas.groupby("ranking")["normalised"].mean()
    return pd.Series({name: by_name[once[order]] for name, order in orders.items()})


def found(explained: ExplainedModel, problem: str, ranking: pg.FeatureRanking) -> float:
    relevant = explained.test.notes.get("relevant", RELEVANT.get(problem))
    return float("nan") if relevant is None else toy.recall(ranking, relevant)


def choices(problem: str, random_state: int, settings: Mapping[str, Any]) -> pd.DataFrame:
    explained = trained(problem, random_state, settings)
    ranked = {tuple(choice.values()): ranking for choice, ranking in fusions(explained)}
    areas = deletion(explained, {str(key): ranking for key, ranking in ranked.items()}, 400)
    rows = [
        {
            **dict(zip(CHOICES, key, strict=True)),
            "deletion": areas[str(key)],
            "found": found(explained, problem, ranking),
        }
        for key, ranking in ranked.items()
    ]
    return pd.DataFrame(rows).assign(problem=problem, random_state=random_state)


def compare(problem: str, random_state: int, settings: Mapping[str, Any]) -> pd.DataFrame:
    explained = trained(problem, random_state, settings)
    ranked = rankings(explained)
    areas = deletion(explained, ranked, 1000)
    retrained = remove_and_retrain(explained, ranked, TimeLimit(), shares=(0.25, 0.5))
    scores = retrained[retrained["removed"] > 0].groupby("ranking")["score"].mean()
    rows = [
        {"ranking": name, "deletion": areas[name], "retrain": scores[name], "found": found(explained, problem, ranking)}
        for name, ranking in ranked.items()
    ]
    return pd.DataFrame(rows).assign(problem=problem, random_state=random_state)


def print_choices(table: pd.DataFrame) -> None:
    """Print the mean of each option over all combinations of the others, then the best combinations."""
    problems = list(dict.fromkeys(table["problem"]))
    for choice, options in CHOICES.items():
        for option in options:
            _print_row([choice, option], table[table[choice] == option], problems, header=(choice, option) == _first())
    by = table.groupby(list(CHOICES), sort=False)[["deletion", "found"]].mean().assign(both=lambda t: t.mean(axis=1))
    published = tuple(pg.PUBLISHED.to_settings()[choice] for choice in CHOICES)
    best = by.sort_values("both", ascending=False)
    print("\nCombinations, by the mean of both figures over all problems: the best ones, and the published formula\n")
    print(f"| {' | '.join((*CHOICES, 'deletion', 'found'))} |\n|{' --- |' * (len(CHOICES) + 2)}")
    for choice, row in [*best.head(8).iterrows(), (published, by.loc[published])]:
        print(f"| {' | '.join(choice)} | {row['deletion']:.2f} | {row['found']:.2f} |")


def _first() -> tuple[str, str]:
    choice = next(iter(CHOICES))
    return choice, CHOICES[choice][0]


def _print_row(names: list[str], table: pd.DataFrame, problems: list[str], *, header: bool) -> None:
    measures = [m for m in ("deletion", "retrain", "found") if m in table]
    columns = [(p, m) for p in problems for m in measures if table.loc[table["problem"] == p, m].notna().any()]
    if header:
        print(f"| {' | '.join(['' for _ in names])} | {' | '.join(f'{p}: {m}' for p, m in columns)} |")
        print(f"|{' --- |' * (len(names) + len(columns))}")
    values = [table.loc[table["problem"] == p, m].mean() for p, m in columns]
    print(f"| {' | '.join(names)} | {' | '.join(f'{value:.2f}' for value in values)} |")


def print_comparison(table: pd.DataFrame) -> None:
    problems = list(dict.fromkeys(table["problem"]))
    for i, name in enumerate(dict.fromkeys(table["ranking"])):
        _print_row([name], table[table["ranking"] == name], problems, header=i == 0)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["choices", "compare"])
    parser.add_argument("--random-states", type=int, default=2)
    parser.add_argument("--problems", nargs="+", choices=list(PROBLEMS), default=list(PROBLEMS))
    parser.add_argument("--out", type=Path, help="keep each problem's and seed's figures here, and go on from them")
    parser.add_argument("--fast", action="store_true", help="tiny networks: only whether it runs")
    options: Any = parser.parse_args(arguments)
    settings = FAST if options.fast else {}
    work = {"choices": choices, "compare": compare}[options.what]
    parts = []
    for problem, random_state in itertools.product(options.problems, range(options.random_states)):
        file = options.out and options.out / f"{options.what}-{problem.replace(' ', '_')}-{random_state}.csv"
        if file and file.exists():
            parts.append(pd.read_csv(file))
            continue
        parts.append(work(problem, random_state, settings))
        if file:
            options.out.mkdir(parents=True, exist_ok=True)
            parts[-1].to_csv(file, index=False)
    table = pd.concat(parts)
    (print_choices if options.what == "choices" else print_comparison)(table)


if __name__ == "__main__":
    main()
