"""What the study found so far: tables (CSV), pictures (PNG) and ``report.md``, small enough to be kept."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from permgrad.files import new_file, write_text
from studies.kit.markdown import markdown

from .found import Found, read_found
from .pictures import pictures
from .tables import (
    LEADERBOARD,
    SCORES,
    average_table,
    explained_rankings,
    formula_table,
    layout_table,
    misread_table,
    mistake_table,
    puma_table,
    ranking_table,
    recall_table,
    saliency_table,
    score_table,
    target_table,
    tuning_table,
)

DPI = 65
COLOURS = 96
DIGITS = 6
"""Significant ones, in CSV files."""
FEWEST_SEEDS = 3
"""From which on an interval is shown: that of two is as wide as the scale."""
PUBLISHED_SPACES = ("hybrid", "mlp", "cnn")
CLASSES_ONLY = "Columns with AUC: the area under the ROC curve, of the network and of the baseline that is best by it."


def write_report(study: Any, order: tuple[str, ...], out: Path, to: Path) -> None:
    """Write every table and picture of the results in `out` into `to`, and ``report.md``.

    Data sets come in `order`.
    """
    found = read_found(out, order, study.level, study.ensembles)
    to.mkdir(parents=True, exist_ok=True)
    beyond = [name for name, network in study.networks.items() if network.space not in PUBLISHED_SPACES]
    tables = make_tables(found, [*beyond, *study.ensembles])
    for name, table in tables.items():
        if len(table):
            write_text(to / f"{name}.csv", table.to_csv(index=False, float_format=f"%.{DIGITS}g"))
    drawn = pictures(found, tables["scores"], tables["layouts"], tables["recall"], [*beyond, *study.ensembles])
    names = []
    for name, figure in drawn:
        names.append(name)
        with new_file(to / f"{name}.png") as path:
            _save_small(figure, path, None if name.startswith("sample") else COLOURS)
    write_text(to / "report.md", "\n\n".join(_text(found, tables, names, study)) + "\n")


def make_tables(found: Sequence[Found], ours: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Return every table of the report by its name; those without results are empty.

    `ours`: the networks and ensembles that are to reach the best baseline.
    """
    target = target_table(found)
    rankings = {f"ranking_{one.name}": ranking_table(one) for one in found if one.permgrad}
    return {
        "scores": score_table(found),
        "target": target[target["network"].isin(ours)] if len(target) else target,
        "published_networks": target[~target["network"].isin(ours)] if len(target) else target,
        "averages": average_table(found),
        "tuning": tuning_table(found),
        "formulas": formula_table(found),
        "puma": puma_table(found),
        "misread": misread_table(found),
        "mistakes": mistake_table(found),
        "layouts": layout_table(found),
        "recall": recall_table(found),
        "saliency": saliency_table(found),
        **rankings,
    }


def _text(
    found: Sequence[Found], tables: Mapping[str, pd.DataFrame], pictures: Sequence[str], study: Any
) -> Iterator[str]:
    yield "# Hybrid networks on tables: PermGrad's five data sets"
    yield _data(found)
    yield from _scores(found, tables, study)
    yield from _tuning(tables)
    yield from _formulas(found, tables)
    yield from _mistakes(tables)
    yield from _layouts(tables)
    yield from _imbalance(tables)
    yield "## Pictures"
    yield "\n\n".join(f"![{name.replace('_', ' ')}]({name}.png)" for name in pictures)


def _data(found: Sequence[Found]) -> str:
    rows = [
        {
            "dataset": one.label,
            "features": one.data["features"],
            **{part: one.data[part] for part in ("train", "validation", "test")},
            "most epochs": one.settings["tuning"]["epochs"][one.data["task"]],
            "seeds of networks": max((len(units) for units in one.networks.values()), default=0),
            "what is missing": one.note,
        }
        for one in found
    ]
    seed = found[0].settings["split_random_state"]
    return (
        f"One split of each table, 60/20/20 with seed {seed}, stratified for classification; every score is of the test"
        " rows. **(part)**: only a part of the data set's rows was at hand, in this and in every table below.\n\n"
        + markdown(pd.DataFrame(rows))
    )


def _scores(found: Sequence[Found], tables: Mapping[str, pd.DataFrame], study: Any) -> Iterator[str]:
    scores = tables["scores"]
    if not len(scores):
        return
    yield "## Networks beside baselines"
    yield (
        f"Mean over seeds with {found[0].level:.0%} interval (Student's), which tells how much chance in training moves"
        " a model, not how much other test rows would; for fewer than three seeds there is none. Baselines have their"
        " defaults; with these, XGBoost and LightGBM draw nothing at random. The neural peers (RealMLP, TabM)"
        " stop early by the validation rows, as the networks do. `trials`: of the network's tuning; which of them was"
        " the best, and whether it is one of the settings that tuning starts from, is in the table of tuning below."
    )
    yield from _target(found, tables)
    for name, members in study.ensembles.items():
        if any(name in one.ensembles for one in found):
            yield f"**{name}**: the mean of what {', '.join(members)} predict, seed by seed."
    for one in found:
        yield f"### {one.label}\n\n{_beside(one, scores[scores['dataset'] == one.label])}"
    if len(tables["averages"]):
        yield (
            "### Seeds together\n\nThe score of the mean of all seeds' predictions, beside"
            " the mean of their single scores; for baselines too."
        )
        yield markdown(tables["averages"])


def _target(found: Sequence[Found], tables: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    target = tables["target"]
    if not len(target):
        return
    explained = found[0].explained
    yield (
        "### Is the best baseline reached?\n\nNetworks beyond the published ones, and ensembles, against the best"
        " baseline of the same run: the best by its test score, which favours baselines. *Reached*: at least as good in"
        " the mean over seeds; *within noise*: the interval over test rows of the paired difference has zero in it."
        f" *Above {explained}*: the difference to the published network, likewise. {CLASSES_ONLY}"
    )
    level = f"[{found[0].level:.0%}]"
    short = target[["dataset", "network", "seeds", "score", "network's", "best baseline", "baseline's", "its seeds"]]
    above = f"above {explained}"
    short = short.assign(
        **{
            f"difference {level}": [_interval(*row) for row in target[["difference", "low", "high"]].to_numpy()],
            "verdict": target["verdict"],
        }
    )
    if above in target:
        ends = target[[above, f"{above}, low", f"{above}, high"]].to_numpy(float)
        short[f"{above} {level}"] = [_interval(*row) for row in ends]
    yield markdown(short.join(target.filter(like="AUC").drop(columns="AUC difference", errors="ignore")))
    if len(tables["published_networks"]):
        yield "The same of the published networks is in `published_networks.csv`."


def _interval(value: float, low: float, high: float) -> str:
    return "" if pd.isna(value) else f"{value:+.4f} [{low:+.4f}, {high:+.4f}]"


def _beside(one: Found, scores: pd.DataFrame) -> str:
    shown = list(SCORES[one.data["task"]])
    cells = scores.assign(cell=[_with_interval(row) for row in scores.to_dict("records")])
    about = ["kind", "model", "seeds", "trials"]
    wide = cells.pivot_table(index=about, columns="score", values="cell", aggfunc="first", sort=False, dropna=False)
    wide = wide.dropna(how="all").reset_index()[[*about, *shown]]
    best = scores[scores["score"] == shown[0]].set_index("model")["mean"]
    wide = wide.iloc[wide["model"].map(best).argsort(kind="stable")[::-1]]
    board = LEADERBOARD[LEADERBOARD["dataset"] == one.name]
    text = markdown(wide)
    if len(board):
        text += (
            "\n\nPublic leaderboard of the image library, on *another split* and all of the data set's rows: "
            + "; ".join(
                f"{row['model']} accuracy {row['accuracy']:.4f}" + (f", AUC {row['auc']:.4f}" if row["auc"] > 0 else "")
                for row in board.to_dict("records")
            )
            + "."
        )
    return text


def _with_interval(row: Mapping[str, Any]) -> str:
    mean, low, high = (f"{row[name]:.4f}" for name in ("mean", "low", "high"))
    return mean if row["seeds"] < FEWEST_SEEDS or low == high else f"{mean} [{low}, {high}]"


def _tuning(tables: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    if len(tables["tuning"]):
        yield "## Tuning"
        yield (
            "By validation loss, over the published spaces (and `batch_ensemble`, for what goes beyond), but for ranges"
            " that were `narrowed`: what that leaves out takes hours without a GPU. The published runs took 75 trials"
            " for regression and 50 for classification. `trials` counts complete and pruned ones. `a start`: whether"
            " the best trial is one of those that every tuning starts from. Where it says yes, the search itself has"
            " found nothing better yet, and the network has those settings."
        )
        yield markdown(tables["tuning"])


def _formulas(found: Sequence[Found], tables: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    formulas = tables["formulas"]
    if not len(formulas):
        return
    yield "## PermGrad by both formulas, on the same network"
    yield (
        "Agreement: Spearman's correlation with permuting each raw column through both branches at once, which is all"
        " that the network relies on. `published: row`, `published: image`: the branches' weights that the published"
        " run reports, of another network."
    )
    yield markdown(formulas, 3)
    if len(tables["puma"]):
        yield (
            "Puma: by how much the squared error rises when a column of the row (not of the image) is permuted, with"
            " its interval over test rows and repeats; beside it, the published rise, of another network."
        )
        yield markdown(tables["puma"], 3)
    for one in found:
        for formula, ranking in explained_rankings(one).items():
            shown = ranking.table[["feature", "score", "low", "high"]].head(10)
            level = f"{found[0].level:.0%} interval over test rows and repeats"
            yield f"### {one.label}, {formula} formula ({level}; trials: {one.trials})\n\n{markdown(shown, 4)}"


def _mistakes(tables: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    if len(tables["misread"]):
        yield "## What each corrected mistake changed"
        yield (
            "Mistakes of the published code, made on purpose. **Of reading**: one and the same network, the published"
            " formula. Rank correlations of the mistaken with the corrected reading: of the heat at the features'"
            " pixels, of the fused ranking, of the fused ranking of each class (mean over classes); then how well"
            " either ranking agrees with permuting each raw column through both branches. What the image weighs says"
            " how much of the ranking the heat can change."
        )
        yield markdown(tables["misread"], 3)
    if len(tables["mistakes"]):
        yield (
            "**Of training**: the same network trained from the same seed with the mistake. `difference`: of the score,"
            " mistaken less corrected, with its interval over test rows. Rank correlations with the corrected network's"
            " ranking include what chance in training changes: the last row of each data set is the yardstick."
        )
        yield markdown(tables["mistakes"], 3)


def _layouts(tables: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    layouts = tables["layouts"]
    if len(layouts):
        yield "## Layouts and image sizes"
        yield (
            "The tuned network trained again with each; `mean` is of the score, over seeds. Rank correlations are with"
            " the network of the same seed that has the layout it was tuned with; what another seed alone changes"
            " stands in the last row of each data set in the table of mistakes."
        )
        yield markdown(layouts, 3)


def _imbalance(tables: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    recalls = tables["recall"]
    if not len(recalls):
        return
    yield "## Class imbalance"
    for dataset, rows in recalls.groupby("dataset", sort=False):
        sizes = dict(zip(rows["class"], rows["training rows"], strict=True))
        names = {label: f"{label} ({size})" for label, size in sizes.items()}
        wide = rows.assign(**{"class": rows["class"].map(names)}).pivot_table(
            index=["model", "seeds", "accuracy", "balanced accuracy"], columns="class", values="recall", sort=False
        )
        yield f"### {dataset}: recall of each class (training rows)\n\n{markdown(wide.reset_index(), 3)}"
    if len(tables["saliency"]):
        yield (
            "Spearman's correlation of a class's size with its saliency, the sum of its scores over all features; `p`"
            " over all orders of the classes. With six or seven classes, only correlations of about ±0.8 and more are"
            " more than chance."
        )
        yield markdown(tables["saliency"], 3)


def _save_small(figure: Figure, path: Path, colours: int | None) -> None:
    """Write a picture as PNG; a palette takes a third of the room, but breaks a colour bar into bands."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI)
    image = Image.open(drawn).convert("RGB")
    small = image.quantize(colours, dither=Image.Dither.NONE) if colours else image
    small.save(path, "PNG", optimize=True)
