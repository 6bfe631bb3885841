"""What the study found so far: tables (CSV), pictures (PNG) and ``report.md``, small enough to be kept."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from permgrad.files import new_file
from permgrad.markdown import markdown

from .found import Ensembles, Found, read_found
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


def write_report(study: Any, order: tuple[str, ...], out: Path, to: Path) -> None:
    """Write every table and picture of the results in `out` into `to`, and ``report.md``.

    Data sets come in `order`.
    """
    found = read_found(out, order, study.level, study.ensembles)
    to.mkdir(parents=True, exist_ok=True)
    tables = make_tables(found)
    for name, table in tables.items():
        if len(table):
            _write(to / f"{name}.csv", table.to_csv(index=False, float_format=f"%.{DIGITS}g"))
    drawn = pictures(found, tables["scores"], tables["layouts"], tables["recall"])
    names = []
    for name, figure in drawn:
        names.append(name)
        with new_file(to / f"{name}.png") as path:
            _save_small(figure, path, None if name.startswith("sample") else COLOURS)
    _write(to / "report.md", "\n\n".join(_text(found, tables, names, study.ensembles)) + "\n")


def make_tables(found: Sequence[Found]) -> dict[str, pd.DataFrame]:
    """Return every table of the report by its name; those without results are empty."""
    rankings = {f"ranking_{one.name}": ranking_table(one) for one in found if one.permgrad}
    return {
        "scores": score_table(found),
        "target": target_table(found),
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
    found: Sequence[Found], tables: Mapping[str, pd.DataFrame], pictures: Sequence[str], ensembles: Ensembles
) -> Iterator[str]:
    yield "# Hybrid networks on tables: PermGrad's five data sets"
    yield _data(found)
    yield from _scores(found, tables, ensembles)
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
            "what is missing": one.note,
        }
        for one in found
    ]
    seed = found[0].settings["split_seed"]
    return (
        f"One split of each table, 60/20/20 with seed {seed}, stratified for classification; every score is of the test"
        " rows. **(part)**: only a part of the data set's rows was at hand, in this and in every table below.\n\n"
        + markdown(pd.DataFrame(rows))
    )


def _scores(found: Sequence[Found], tables: Mapping[str, pd.DataFrame], ensembles: Ensembles) -> Iterator[str]:
    scores, target = tables["scores"], tables["target"]
    if not len(scores):
        return
    yield "## Networks beside baselines"
    yield (
        f"Mean over seeds with {found[0].level:.0%} interval (Student's), which tells how much chance in training moves"
        " a model, not how much other test rows would. Baselines have their defaults; XGBoost, LightGBM and CatBoost do"
        " not draw anything at random by default, or hardly. RealMLP and TabM stop early by the validation rows, as the"
        " networks do. `trials`: of the network's tuning."
    )
    for name, members in ensembles.items():
        if any(name in one.ensembles for one in found):
            yield f"**{name}**: the mean of what {', '.join(members)} predict, seed by seed."
    for one in found:
        yield f"### {one.label}\n\n{_beside(one, scores[scores['dataset'] == one.label])}"
    if len(target):
        yield (
            "### Against the best baseline of the same run\n\nThe best by its test score, which favours baselines."
            " Interval of the difference: over test rows, paired. Reached: at least as good."
        )
        yield markdown(target)
    if len(tables["averages"]):
        yield (
            "### Seeds together\n\nThe score of the mean of all seeds' predictions, beside"
            " the mean of their single scores; for baselines too."
        )
        yield markdown(tables["averages"])


def _beside(one: Found, scores: pd.DataFrame) -> str:
    shown = list(SCORES[one.data["task"]])
    cells = scores.assign(cell=[_with_interval(row) for row in scores.to_dict("records")])
    about = ["kind", "model", "seeds", "trials"]
    wide = cells.pivot_table(index=about, columns="score", values="cell", aggfunc="first", sort=False, dropna=False)
    wide = wide.dropna(how="all").reset_index()[[*about, *shown]]
    wide["kind"] = wide["kind"].str.cat(["tuned" if kind == "network" else "" for kind in wide["kind"]], sep=" ")
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
    if pd.isna(row["low"]) or row["low"] == row["high"]:
        return f"{row['mean']:.4f}"
    return f"{row['mean']:.4f} [{row['low']:.4f}, {row['high']:.4f}]"


def _tuning(tables: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    if len(tables["tuning"]):
        yield "## Tuning"
        yield (
            "By validation loss, over the published space (`beyond`: over a space of its own), but for ranges that were"
            " `narrowed`: what that leaves out takes hours without a GPU. The published runs took 75 trials for"
            " regression and 50 for classification. `trials` counts complete and pruned ones."
        )
        yield markdown(tables["tuning"])


def _formulas(found: Sequence[Found], tables: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    formulas = tables["formulas"]
    if not len(formulas):
        return
    yield "## PermGrad by both formulas, on the same network"
    yield (
        "Agreement: Spearman's correlation with permuting each raw column through both branches at once, which is all"
        " that the network relies on. `published`: the weights that the published run reports, of another network."
    )
    yield markdown(formulas, 3)
    if len(tables["puma"]):
        yield "Puma: by how much the squared error rises when a column of the row (not of the image) is permuted."
        yield markdown(tables["puma"], 3)
    for one in found:
        for formula, ranking in explained_rankings(one).items():
            shown = ranking.table[["feature", "score", "low", "high"]].head(10)
            yield f"### {one.label}, {formula} formula (trials: {one.trials})\n\n{markdown(shown, 4)}"


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
            "The tuned network trained again with each. Rank correlations are with the network of the same seed that"
            " has the layout it was tuned with; what another seed alone changes stands in the table above."
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
            "Spearman's correlation of a class's size with its saliency, the sum of its scores over all features. With"
            " six or seven classes, chance alone gives ±0.8 one time in twenty."
        )
        yield markdown(tables["saliency"], 3)


def _save_small(figure: Figure, path: Path, colours: int | None) -> None:
    """Write a picture as PNG; a palette takes a third of the room, but breaks a colour bar into bands."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI)
    image = Image.open(drawn).convert("RGB")
    small = image.quantize(colours, dither=Image.Dither.NONE) if colours else image
    small.save(path, "PNG", optimize=True)


def _write(path: Path, text: str) -> None:
    with new_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
