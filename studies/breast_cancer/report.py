"""What the breast cancer study found: tables (CSV), pictures (PNG) and a report that tells differences from noise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import permgrad as pg
from permgrad import plotting
from permgrad.evaluation.comparison import WITHIN_NOISE
from permgrad.evaluation.stability import nogueira
from permgrad.files import new_file, write_text
from studies.kit.markdown import markdown

GOALS = {"accuracy": 0.98, "recall": 0.97}
"""Of the medians over seeds on the one split, for each pool."""
SHOWN = 15
"""Features in the pictures and in the report's tables."""


def seed_scores(done: Mapping[str, Any]) -> pd.DataFrame:
    """Return one row for each seed and network on the one split: how many features, and its scores."""
    rows = [
        {"random_state": random_state, "network": name, "features": len(found["features"])}
        | {
            f"{part} {score}": value
            for part in ("validation", "test")
            for score, value in found[part]["scores"].items()
        }
        for random_state, unit in done["seeds"].items()
        for name, found in _networks(unit)
    ]
    return pd.DataFrame(rows)


def _networks(unit: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    return [(name, found) for name, found in unit.items() if name != "kind"]


def fold_scores(done: Mapping[str, Any]) -> pd.DataFrame:
    """Return one row for each fold, model and score."""
    return pd.DataFrame(
        {"fold": i, "model": model, "score": score, "value": value}
        for i, fold in enumerate(done["folds"])
        for model, scores in fold["scores"].items()
        for score, value in scores.items()
    )


def comparisons(scores: pd.DataFrame, n_folds: int, level: float) -> dict[str, pg.Comparison]:
    """Compare the models by each score, over the folds."""
    found = {}
    for score, rows in scores.groupby("score", sort=False):
        values = {model: part["value"].to_numpy() for model, part in rows.groupby("model", sort=False)}
        found[str(score)] = pg.compare_models(values, test_share=1 / n_folds, level=level, bounds=(0, 1))
    return found


def goals_in_folds(folds: pd.DataFrame, positive: str) -> pd.DataFrame:
    """Return in how many folds each model reaches each goal: what the choice of the one split decides."""
    goals = {"accuracy": GOALS["accuracy"], f"recall[{positive}]": GOALS["recall"]}
    values = folds.pivot_table(index="fold", columns=["score", "model"], values="value", sort=False)
    reached = {f"{score} ≥ {goal:g}": (values[score] >= goal).sum() for score, goal in goals.items()}
    both = (values["accuracy"] >= GOALS["accuracy"]) & (values[f"recall[{positive}]"] >= GOALS["recall"])
    return pd.DataFrame({**reached, "both": both.sum()}).reset_index()


def chosen(done: Mapping[str, Any], pool: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Return how often each feature of a pool was selected over the folds, and the choices (n_folds, n_features)."""
    features = done["pools"][pool]["train"].features
    choices = np.array([np.isin(features, fold["selected"][pool]) for fold in done["folds"]])
    table = pd.DataFrame(
        {"pool": pool, "feature": features, "folds": choices.sum(axis=0), "share": choices.mean(axis=0)}
    )
    return table.sort_values("share", ascending=False, kind="stable", ignore_index=True), choices


def hard_rows(done: Mapping[str, Any]) -> pd.DataFrame:
    """Return the test rows of the one split that any network got wrong, with how many seeds of each network did."""
    truth = done["pools"]["raw"]["test"].y.to_numpy()
    wrong: dict[str, np.ndarray] = {}
    for unit in done["seeds"].values():
        for name, found in _networks(unit):
            misses = np.array(found["test"]["predicted"]) != truth
            wrong[name] = wrong.get(name, np.zeros(len(truth), int)) + misses
    table = pd.DataFrame({"test row": range(len(truth)), "class": truth, **wrong})
    order = table[list(wrong)].sum(axis=1).sort_values(ascending=False, kind="stable").index
    return table.loc[order][lambda rows: rows[list(wrong)].any(axis=1)].reset_index(drop=True)


def rankings_side_by_side(done: Mapping[str, Any]) -> tuple[pd.DataFrame, float]:
    """Return the raw pool's features as hybrid (PermGrad) and MLP (permutation) rank them; Spearman's rho."""
    hybrid = pg.FeatureRanking.from_dict(done["permgrad"]["ranking"])
    first = next(iter(done["seeds"].values()))
    mlp = pg.FeatureRanking.from_dict(first["raw"]["ranking"])
    place = {name: i for i, name in enumerate(mlp.table["feature"], 1)}
    falls = dict(zip(mlp.features, mlp.scores, strict=True))
    names = {"feature": "feature", "score": "PermGrad", "low": "PermGrad low", "high": "PermGrad high"}
    known = hybrid.table
    table = known[[name for name in names if name in known]].rename(columns=names)
    table.insert(1, "PermGrad rank", range(1, len(table) + 1))
    table["MLP rank"] = table["feature"].map(place)
    table["MLP permutation"] = table["feature"].map(falls)
    return table, hybrid.agreement(mlp)


def write_report(study: Any, done: Mapping[str, Any], out: Path) -> None:
    """Write every table and picture into `out`, and ``report.md``."""
    seeds, folds = seed_scores(done), fold_scores(done)
    compared = comparisons(folds, study.cross_validation.folds, study.level)
    frequencies = {pool: chosen(done, pool) for pool in done["pools"]}
    beside, agreement = rankings_side_by_side(done)
    summary, pairs = _stacked(compared, "summary"), _stacked(compared, "pairs")
    tables = {
        "seeds": seeds,
        "folds": folds,
        "comparison": summary,
        "pairs": pairs,
        "goals": goals_in_folds(folds, study.positive),
        "selected": pd.concat([table for table, _ in frequencies.values()]),
        "rankings": beside,
        "hard_rows": hard_rows(done),
    }
    first = next(iter(done["seeds"].values()))
    for name, found in _networks(first):
        tables[f"epochs_{name}"] = pd.DataFrame(found["epochs"])
        if "ranking" in found:
            tables[f"permutation_{name}"] = pg.FeatureRanking.from_dict(found["ranking"]).table
        for part in ("validation", "test"):
            write_text(out / f"report_{name}_{part}.txt", found[part]["report"])
    for name, table in tables.items():
        write_text(out / f"{name}.csv", table.to_csv(index=False))
    for name, figure in pictures(study, done, compared).items():
        with new_file(out / f"{name}.png") as path:
            figure.savefig(path, format="png", dpi=120)
    text = _text(study, done, seeds, compared, tables["goals"], frequencies, beside, agreement)
    write_text(out / "report.md", text)


def pictures(study: Any, done: Mapping[str, Any], compared: Mapping[str, pg.Comparison]) -> dict[str, Figure]:
    """Draw the first seed's learning curves, permutation importance and confusion, the hybrid's ranking, the folds."""
    first = next(iter(done["seeds"].values()))
    truth = done["pools"]["raw"]["test"].y
    figures = {}
    for name, found in _networks(first):
        figures[f"epochs_{name}"] = plotting.plot_epoch_scores(pd.DataFrame(found["epochs"]), title=f"{name} features")
        figures[f"confusion_{name}"] = plotting.plot_confusion(truth, found["test"]["predicted"], sorted(set(truth)))
        if "ranking" in found:
            figure = plotting.plot_scores(pg.FeatureRanking.from_dict(found["ranking"]), top=SHOWN)
            threshold = getattr(study.selection.threshold, name)
            figure.axes[0].axvline(threshold, color="grey", linestyle=":", label=f"threshold {threshold:g}")
            figure.axes[0].legend()
            figures[f"permutation_{name}"] = figure
    hybrid = pg.FeatureRanking.from_dict(done["permgrad"]["ranking"])
    figures["permgrad"] = plotting.plot_ranking(hybrid, top=SHOWN)
    figures["comparison"] = plotting.plot_comparison({score: each.summary for score, each in compared.items()})
    return figures


def _stacked(compared: Mapping[str, pg.Comparison], part: str) -> pd.DataFrame:
    frames = [getattr(comparison, part).assign(score=score) for score, comparison in compared.items()]
    table = pd.concat(frames, ignore_index=True)
    return table[["score", *(name for name in table if name != "score")]]


def _text(
    study: Any,
    done: Mapping[str, Any],
    seeds: pd.DataFrame,
    compared: Mapping[str, pg.Comparison],
    goals: pd.DataFrame,
    frequencies: Mapping[str, tuple[pd.DataFrame, np.ndarray]],
    beside: pd.DataFrame,
    agreement: float,
) -> str:
    sections = [
        "# Two feature pools for breast cancer",
        *_one_split(study, done, seeds),
        *_cross_validation(study, done, compared, goals),
        *_stability(done, frequencies),
        "## PermGrad beside the MLP's permutation",
        "The raw pool's features, ranked on the same validation rows: by PermGrad for the hybrid network (score with"
        f" 95 % interval), and by what their permutation costs the MLP ({study.selection.scoring}). Spearman's"
        f" correlation of the scores: {agreement:.2f}.",
        markdown(beside.head(SHOWN), 4),
    ]
    return "\n\n".join(sections) + "\n"


def _one_split(study: Any, done: Mapping[str, Any], seeds: pd.DataFrame) -> list[str]:
    first, unit = next(iter(done["seeds"].items()))
    test = done["pools"]["raw"]["test"]
    recall = f"recall[{study.positive}]"
    shown = seeds.drop(columns=["validation roc_auc"])
    numbers = [name for name in shown if name not in ("random_state", "network")]
    medians = shown.groupby("network", sort=False)[numbers].median().reset_index()
    medians["features"] = [f"{n:g}" for n in medians["features"]]
    ranges = shown.groupby("network", sort=False)[["test accuracy", f"test {recall}"]].agg(["min", "max"])
    ranges.columns = [f"{name}, {end}" for name, end in ranges.columns]
    lines = []
    for row in medians[medians["network"] != "combined"].to_dict("records"):
        for score, goal in (
            (f"test {name}", goal) for name, goal in zip(("accuracy", recall), GOALS.values(), strict=True)
        ):
            word = "met" if row[score] >= goal else "MISSED"
            lines.append(f"- {row['network']}, {score}: median {row[score]:.4f}, goal {goal:.2f}: {word}")
    selected = [f"- {pool}: {', '.join(unit[pool]['selected'])}" for pool in done["pools"]]
    n_positive = int((test.y == study.positive).sum())
    return [
        "## One split",
        f"{len(done['pools']['raw']['train'])} training, {len(done['pools']['raw']['validation'])} validation and"
        f" {len(test)} test rows. One test row is {1 / len(test):.4f} of accuracy, one {study.positive} test row"
        f" {1 / n_positive:.4f} of its recall: differences of a few rows say nothing.",
        f"### Seed {first}",
        markdown(shown[shown["random_state"] == first].drop(columns="random_state"), 4),
        f"Selected by permutation ({study.selection.scoring} on validation rows, {study.selection.repeats} repeats):"
        f" all above the threshold, {study.selection.at_least} of each pool at least.",
        "\n".join(selected),
        f"### Medians over {len(done['seeds'])} seeds",
        markdown(medians, 4),
        markdown(ranges.reset_index(), 4),
        "\n".join(lines),
        f"Test rows (from 0) by how many of the {len(done['seeds'])} seeds got them wrong:",
        markdown(hard_rows(done).head(8)),
    ]


def _cross_validation(
    study: Any, done: Mapping[str, Any], compared: Mapping[str, pg.Comparison], goals: pd.DataFrame
) -> list[str]:
    cv, n_folds = study.cross_validation, len(done["folds"])
    cells = {}
    for score, each in compared.items():
        ends = zip(each.summary["mean"], each.summary["low"], each.summary["high"], strict=True)
        cells[score] = [f"{mean:.4f} [{low:.4f}, {high:.4f}]" for mean, low, high in ends]
    models = next(iter(compared.values())).summary["model"]
    pairs = _stacked(compared, "pairs")
    noise = pairs["verdict"] == WITHIN_NOISE
    verdict = f"**Of {len(pairs)} differences, {noise.sum()} are within noise" + (
        ": none is told apart.**" if noise.all() else f". The others: {_sentences(pairs[~noise])}.**"
    )
    return [
        "## Cross-validation",
        f"{cv.repeats} × {cv.folds} stratified folds ({n_folds} in all); scaling, selection and early stopping see the"
        f" training part of each fold only. Mean over folds with {study.level:.0%} interval; intervals and paired tests"
        " correct for folds that share training rows (Nadeau & Bengio), adjusted p-values also for the number of pairs"
        " (Holm, within each score). A model *is* higher if the adjusted one is small, *may be* if only the plain one.",
        markdown(pd.DataFrame({"model": models, **cells})),
        verdict,
        f"Of the {n_folds} folds' test parts, each about as large as that of the one split, so many reach the goals:",
        markdown(goals),
        markdown(pairs, 4),
    ]


def _sentences(real: pd.DataFrame) -> str:
    return "; ".join(
        f"{row['verdict']} than {row['second'] if row['difference'] > 0 else row['first']} in {row['score']}"
        f" (by {abs(row['difference']):.3f}, p = {row['p']:.3f}, adjusted {row['p_adjusted']:.3f})"
        for row in real.to_dict("records")
    )


def _stability(done: Mapping[str, Any], frequencies: Mapping[str, tuple[pd.DataFrame, np.ndarray]]) -> list[str]:
    found = [
        "## How often each feature is selected",
        "Share of the folds in which a feature was selected. Nogueira's index is 1 where every fold selects the same,"
        " and 0 where it selects at random.",
    ]
    for pool, (table, choices) in frequencies.items():
        index, variance = nogueira(choices) if 0 < choices.mean() < 1 and len(choices) > 1 else (float("nan"), 0.0)
        margin = 1.96 * float(np.sqrt(variance))
        sizes = choices.sum(axis=1)
        found.append(
            f"{pool}: {sizes.min()} to {sizes.max()} features are selected (median {np.median(sizes):g});"
            f" Nogueira's index {index:.2f} [{index - margin:.2f}, {index + margin:.2f}]."
        )
        found.append(markdown(table[table["folds"] > 0].drop(columns="pool").head(SHOWN), 2))
    return found
