"""Scores of one fit, and what many of them say together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from permgrad.metrics.scores import classification_scores, regression_scores

BINS = 15
FIGURES = ("score", "accuracy", "loss", "ece", "seconds")


def scored(task: str, truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Score what is predicted of rows: numbers, or probabilities of the classes 0, 1, ... (n_rows, n_classes).

    Returns
    -------
    dict
        ``score``: R², the area under the ROC curve for two classes, accuracy for more; ``loss``: RMSE or log loss;
        for classes ``accuracy`` and ``ece``, see `calibration_error`; NaN otherwise.
    """
    if task == "regression":
        of = regression_scores(truth, predicted.ravel())
        return {"score": of["r2"], "accuracy": math.nan, "loss": of["rmse"], "ece": math.nan}
    predicted = predicted / predicted.sum(axis=1, keepdims=True)
    of = classification_scores(truth, predicted, np.arange(predicted.shape[1]))
    score = of.get("auc", math.nan) if predicted.shape[1] == 2 else of["accuracy"]
    ece = calibration_error(truth, predicted)
    return {"score": score, "accuracy": of["accuracy"], "loss": of["log_loss"], "ece": ece}


def calibration_error(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the expected calibration error of the likeliest class, in 15 bins of equal width.

    The mean over rows of a bin's distance between its accuracy and its mean probability; Guo et al., On calibration of
    modern neural networks (2017).
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    sums = (np.bincount(bins, weights=values, minlength=BINS) for values in (right, confidence))
    return float(np.abs(np.subtract(*sums)).sum() / len(truth))


def comparable(figures: pd.DataFrame) -> pd.DataFrame:
    """Return the tables' splits that every model has been measured on."""
    n_models = figures["model"].nunique()
    return figures[figures.groupby(["table", "split"])["model"].transform("nunique") == n_models]


def summary(scores: pd.DataFrame) -> pd.DataFrame:
    """Say how the models stand to each other.

    Parameters
    ----------
    scores : DataFrame
        A row for each table, a column for each model; higher is better.

    Returns
    -------
    DataFrame
        A row for each model: its mean rank (1: best; ties share the mean of their ranks), on how many tables no other
        is better, and its mean distance to the best model of each table.
    """
    best = scores.max(axis=1)
    return pd.DataFrame(
        {
            "mean rank": scores.rank(axis=1, ascending=False).mean(),
            "wins": scores.eq(best, axis=0).sum(),
            "mean distance": scores.rsub(best, axis=0).mean(),
        }
    )


def gains(figures: pd.DataFrame, whole: str) -> pd.DataFrame:
    """Say what each setting is worth: how much worse a model is that differs from `whole` by it.

    Both are compared on the same splits, and a table's score and loss are means over these. The interval is Student's,
    over tables: splits of one table share rows, so they are no independent trials.

    Parameters
    ----------
    figures : DataFrame
        A row for each fit: ``table``, ``split``, ``model``, ``score``, ``loss``.
    whole : str
        The model that has all settings; the others' names begin with it.

    Returns
    -------
    DataFrame
        For each of the others: by how much the score of `whole` is higher, and by what share its loss is lower (1 - its
        loss / the other's, as units differ), means over tables and half the widths of their 95 % intervals; on how many
        ``tables`` its loss is lower; and how many fits of each are compared.
    """
    fits = figures.set_index(["table", "split"])
    of_whole, lines = fits[fits["model"] == whole], {}
    for model, of in fits.groupby("model", sort=False):
        setting = str(model).removeprefix(f"{whole} ")
        if setting == model:
            continue
        pairs = of_whole.join(of, how="inner", rsuffix=" without")
        means = pairs.groupby("table")[["score", "score without", "loss", "loss without"]].mean()
        score, loss = means["score"] - means["score without"], 1 - means["loss"] / means["loss without"]
        spread = student.ppf(0.975, len(means) - 1) if len(means) > 1 else math.nan
        lines[setting] = {
            "score": score.mean(),
            "score ±": spread * score.sem(),
            "loss": loss.mean(),
            "loss ±": spread * loss.sem(),
            "lower": int((loss > 0).sum()),
            "tables": len(means),
            "fits": len(pairs),
        }
    return pd.DataFrame.from_dict(lines, orient="index")


def gains_report(figures: pd.DataFrame, whole: str) -> str:
    """Return `gains` as a Markdown table."""
    lines = [row("instead", "score, gain", "log loss or RMSE, lower by", "lower on", "fits"), row(*["---"] * 5)]
    for setting, of in gains(figures, whole).iterrows():
        score, loss = f"{of['score']:+.4f} ± {of['score ±']:.4f}", f"{of['loss']:+.1%} ± {of['loss ±']:.1%}"
        lines.append(row(setting, score, loss, f"{of['lower']:.0f} of {of['tables']:.0f}", f"{of['fits']:.0f}"))
    return "\n".join(lines)


def report(figures: pd.DataFrame, models: list[str], missing: list[str]) -> str:
    """Return a Markdown table: for each figure a row for each table and a column for each model; then `summary`."""
    both = comparable(figures)
    complete = list(dict.fromkeys(both["table"]))
    kept = pd.concat([both, figures[~figures["table"].isin(complete)]])
    columns = [model for model in models if model in set(figures["model"])]
    lines = [row("figure", "table", "splits", *columns, *missing), row(*["---"] * (3 + len(columns) + len(missing)))]
    absent = ["not installed"] * len(missing)
    scores = both.pivot_table("score", "table", "model", sort=False)
    for figure in FIGURES:
        for table in dict.fromkeys(figures["table"]):
            of = kept[kept["table"] == table]
            cells = of.groupby("model")[figure].mean().reindex(columns)
            if figure in of and cells.notna().any():
                name = of["score name" if figure == "score" else "loss name"].iloc[0]
                counts = of.groupby("model")["split"].nunique()
                splits = str(counts.min()) if table in complete else f"{counts.min()}-{counts.max()} *"
                shown = [number(cell, figure) for cell in cells]
                lines.append(row(name if figure in ("score", "loss") else figure, table, splits, *shown, *absent))
    if complete:
        for name, values in summary(scores[columns]).items():
            form = {"wins": "{:.0f}", "mean rank": "{:.2f}"}.get(str(name), "{:.4f}")
            lines.append(row(f"**{name}**", f"{len(complete)} tables", "", *map(form.format, values), *absent))
        losses = both.pivot_table("loss", "table", "model", sort=False)[columns]
        ranks = losses.rank(axis=1).mean().map("{:.2f}".format)
        lines.append(row("**mean rank of log loss or RMSE**", f"{len(complete)} tables", "", *ranks, *absent))
    lines += ["", f"Ranks, wins and distances are of the scores of {len(complete)} tables, means over splits."]
    if len(complete) < figures["table"].nunique():
        lines.append("* Not all models have a common split of this table: it does not count.")
    return "\n".join(lines)


def row(*cells: Any) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def number(value: float, figure: str) -> str:
    if math.isnan(value):
        return ""
    return f"{value:.1f}" if figure == "seconds" else f"{value:.4f}" if abs(value) < 100 else f"{value:.1f}"
