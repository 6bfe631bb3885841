"""Evidence for rankings: how the game stands beside what else there is, and why the fused formula is what it is.

    python -m benchmarks.referee compare [--random-states 2] [--problems puma8nh additive] [--out DIR] [--fast]
    python -m benchmarks.referee choices [--random-states 2] [--problems ...] [--out DIR] [--fast]

`compare` trains one network of the preset `default` for each problem and seed, on at most `--max-rows` rows: half of
them train it, a tenth ends the training. Of the rest one half ranks the columns, the other judges the rankings.
`choices` trains networks of the preset `published`, and ranks the columns by every combination of image attribution,
read-out, baseline of the ablation, branch weights and scale; it ranks and judges on the same test rows.

Figures, all of rows that were not trained on: *deletion*, the area between the curves of the network's loss as features
are replaced, most relevant first less least relevant first, divided by what replacing all adds to the loss
(0: chance), averaged over marginal and conditional replacement; *retrain*, the score (accuracy, R²) of scikit-learn's
MLPs trained without the best quarter and the best half of the columns, averaged (lower: better), and its standard
deviation over trainings; *found*, the share of the relevant columns among the best, where they are known (Puma's theta2
and theta3, whose published permutation scores are forty times the next; the planted tables').
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import permgrad as pg
from permgrad.data import toy
from permgrad.evaluation.baselines import BASELINES, baseline_rankings
from permgrad.evaluation.curves import deletion_curves
from permgrad.evaluation.explained import ExplainedModel, halves
from permgrad.evaluation.retraining import remove_and_retrain
from permgrad.evaluation.time_limit import TimeLimit
from permgrad.files import new_file

PROBLEMS = {
    "heloc": lambda random_state: pg.load_dataset("heloc"),
    "dengue": lambda random_state: pg.load_dataset("dengue"),
    "puma8nh": lambda random_state: pg.load_dataset("puma8nh"),
    "additive": lambda random_state: toy.additive(1500, 20, random_state, task="classification"),
    "correlated nulls": lambda random_state: toy.correlated_nulls(1500, 4, 8, 0.8, random_state),
    "ring+xor+sum": lambda random_state: toy.ring_xor_sum(3000, 12, random_state),
    "breast cancer": lambda random_state: pg.load_dataset("breast_cancer"),
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
GAME = "the game (the score)"
RANDOM = "random order"
MEASURES = {"deletion": "max", "retrain": "min", "found": "max"}
MLP_EPOCHS = 100
TRAININGS = 3

FAST: dict[str, Any] = {
    "preset": "published",
    "epochs": 2,
    "dense_units": (8,),
    "head_units": (8,),
    "base_filters": 2,
    "n_conv_layers": 1,
}
"""To see that it runs; the figures mean nothing."""


def trained(
    problem: str,
    random_state: int,
    settings: Mapping[str, Any],
    sizes: tuple[float, float, float] = (0.6, 0.2, 0.2),
    max_rows: int | None = None,
) -> ExplainedModel:
    """Train a hybrid network on a problem, split into train, validation and test; its ranking is left empty."""
    table = PROBLEMS[problem](random_state)
    if max_rows is not None and len(table) > max_rows:
        table = table.take(np.random.default_rng([random_state, 3]).permutation(len(table))[:max_rows])
    train, val, test = table.split(sizes, random_state=42 + random_state)
    kind = pg.HybridClassifier if table.task == "classification" else pg.HybridRegressor
    model = kind(**{"random_state": random_state, **settings})
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
    """Rank the columns by the game, by what it is made of, by both formulas, and by what else there is."""
    X, y = explained.test.X, explained.test.y
    game = explained.estimator.rank_features(X, y, end_to_end=True, formula="game")
    of_network = {
        name: explained.estimator.rank_features(X, y, end_to_end=False, formula=name) for name in ("fused", "published")
    }
    names = [name for name in BASELINES if name != "mlp_permutation"]  # it would train one more network
    peers = baseline_rankings(explained, TimeLimit(), names)
    return {
        GAME: game,
        "last in (end-to-end permutation)": game.components["end_to_end"],
        "first in": game.components["first_in"],
        "fused formula": of_network["fused"],
        "published formula": of_network["published"],
        "SHAP (TreeSHAP of a random forest)": peers["tree_shap"],
        "random forest (impurity)": peers["random_forest"],
        "mutual information": peers["mutual_information"],
        RANDOM: peers["random"],
    }


def deletion(
    explained: ExplainedModel, ranked: Mapping[str, pg.FeatureRanking], max_rows: int
) -> tuple[pd.Series, float]:
    """Measure each ranking by deletion, those of one order once; and twenty random orders, on average."""
    orders = {name: tuple(ranking.order) for name, ranking in ranked.items()}
    once = {order: name for name, order in orders.items()}
    distinct = {name: ranked[name] for name in once.values()}
    _, areas, chance = deletion_curves(
        explained, distinct, TimeLimit(), replacements=REPLACEMENTS, n_draws=2, n_points=11, max_rows=max_rows
    )
    by_name = areas.groupby("ranking")["normalised"].mean()
    growth = (areas["difference"] / areas["normalised"]).groupby(areas["replacement"]).mean()  # the same for all
    by_chance = (chance.set_index("replacement")["mean"] / growth).mean()
    return pd.Series({name: by_name[once[order]] for name, order in orders.items()}), float(by_chance)


def found(explained: ExplainedModel, problem: str, ranking: pg.FeatureRanking) -> float:
    relevant = explained.test.notes.get("relevant", RELEVANT.get(problem))
    return float("nan") if relevant is None else toy.recall(ranking, relevant)


def choices(problem: str, random_state: int, options: argparse.Namespace) -> pd.DataFrame:
    explained = trained(problem, random_state, {"preset": "published", **options.settings})
    ranked = {tuple(choice.values()): ranking for choice, ranking in fusions(explained)}
    areas, _ = deletion(explained, {str(key): ranking for key, ranking in ranked.items()}, 400)
    rows = [
        {
            **dict(zip(CHOICES, key, strict=True)),
            "deletion": areas[str(key)],
            "found": found(explained, problem, ranking),
        }
        for key, ranking in ranked.items()
    ]
    return pd.DataFrame(rows).assign(problem=problem, random_state=random_state)


def compare(problem: str, random_state: int, options: argparse.Namespace) -> pd.DataFrame:
    explained = trained(problem, random_state, options.settings, (0.5, 0.1, 0.4), options.max_rows)
    ranked_on, judged_on = halves(explained)
    ranked = rankings(ranked_on)
    areas, by_chance = deletion(judged_on, ranked, 1000)
    areas[RANDOM] = by_chance
    retrained = retrain(judged_on, ranked)
    rows = [
        {
            "ranking": name,
            "deletion": areas[name],
            **retrained.loc[name],
            "found": found(explained, problem, ranking),
        }
        for name, ranking in ranked.items()
    ]
    score = explained.estimator.score(judged_on.test.X, judged_on.test.y)
    return pd.DataFrame(rows).assign(score=score, problem=problem, random_state=random_state)


def retrain(explained: ExplainedModel, ranked: Mapping[str, pg.FeatureRanking]) -> pd.DataFrame:
    """Return the mean score and its standard deviation over trainings of networks that are not ours, and quick."""
    kind = MLPClassifier if explained.classification else MLPRegressor
    scores = {}
    for seed in range(TRAININGS):
        model = make_pipeline(StandardScaler(), kind(hidden_layer_sizes=(64,), max_iter=MLP_EPOCHS, random_state=seed))
        trained = remove_and_retrain(explained, ranked, TimeLimit(), retrain_with=model, shares=(0.25, 0.5))
        scores[seed] = trained[trained["removed"] > 0].groupby("ranking")["score"].mean()  # over both shares
    of_trainings = pd.DataFrame(scores)
    return pd.DataFrame({"retrain": of_trainings.mean(axis=1), "spread": of_trainings.std(axis=1)})


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
    columns = [
        (p, m) for p in problems for m in ("deletion", "found") if table.loc[table["problem"] == p, m].notna().any()
    ]
    if header:
        print(f"| {' | '.join(['' for _ in names])} | {' | '.join(f'{p}: {m}' for p, m in columns)} |")
        print(f"|{' --- |' * (len(names) + len(columns))}")
    values = [table.loc[table["problem"] == p, m].mean() for p, m in columns]
    print(f"| {' | '.join(names)} | {' | '.join(f'{value:.2f}' for value in values)} |")


def print_comparison(table: pd.DataFrame) -> None:
    """Print each measure by problem, the best in bold, and how far the game's deletion is ahead of the others'."""
    for measure, better in MEASURES.items():
        known = table.dropna(subset=measure)
        if known.empty:
            continue
        cells = known.groupby(["ranking", "problem"], sort=False)[measure].mean().unstack()
        cells["mean"] = cells.mean(axis=1)
        spread = f", ± {known['spread'].mean():.3f} from training to training" if measure == "retrain" else ""
        print(f"\n| {measure}{spread} | {' | '.join(cells)} |\n|{' --- |' * (1 + cells.shape[1])}")
        best = cells.round(2).agg(better)
        for name, row in cells.round(2).iterrows():
            values = [f"**{value:.2f}**" if value == best[p] else f"{value:.2f}" for p, value in row.items()]
            print(f"| {name} | {' | '.join(values)} |")
    _print_lead(table)
    scores = table.groupby("problem", sort=False)["score"].mean()
    print("\nThe networks' accuracy or R²: " + ", ".join(f"{p} {score:.2f}" for p, score in scores.items()))


def _print_lead(table: pd.DataFrame) -> None:
    """Print what the game's deletion has over each other ranking's: means of problems, and their standard error."""
    by_seed = table.pivot(index=["problem", "random_state"], columns="ranking", values="deletion")
    print("\n| deletion of the game less that of | mean | of problems and seeds, ahead in |\n| --- | --- | --- |")
    for name in dict.fromkeys(table["ranking"]):
        if name != GAME:
            lead = by_seed[GAME] - by_seed[name]
            of_problems = lead.groupby("problem").mean()
            error = of_problems.std() / np.sqrt(len(of_problems))
            print(f"| {name} | {of_problems.mean():+.3f} ± {error:.3f} | {(lead > 0).sum()} of {len(lead)} |")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["compare", "choices"])
    parser.add_argument("--random-states", type=int, default=2)
    parser.add_argument("--problems", nargs="+", choices=list(PROBLEMS), default=list(PROBLEMS))
    parser.add_argument("--max-rows", type=int, default=4000, help="of each table that `compare` uses")
    parser.add_argument("--out", type=Path, help="keep each problem's and seed's figures here, and go on from them")
    parser.add_argument("--fast", action="store_true", help="tiny networks: only whether it runs")
    options: Any = parser.parse_args(arguments)
    options.settings = FAST if options.fast else {}
    work = {"choices": choices, "compare": compare}[options.what]
    parts = []
    for problem, random_state in itertools.product(options.problems, range(options.random_states)):
        asked = f"{options.what}-{problem.replace(' ', '_')}-{random_state}-{options.max_rows}{'-fast' * options.fast}"
        file = options.out and options.out / f"{asked}.csv"
        if file and file.exists():
            parts.append(pd.read_csv(file))
            continue
        parts.append(work(problem, random_state, options))
        if file:
            options.out.mkdir(parents=True, exist_ok=True)
            with new_file(file) as whole:
                parts[-1].to_csv(whole, index=False)
        print(
            f"{problem}, seed {random_state}: {time.process_time():.0f} s of processor time so far",
            file=sys.stderr,
            flush=True,
        )
    table = pd.concat(parts)
    (print_choices if options.what == "choices" else print_comparison)(table)


if __name__ == "__main__":
    main()
