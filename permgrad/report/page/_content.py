"""What the page says in words: the question, facts about the data, what numbers mean and do not mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from permgrad.data.probes import probes_among
from permgrad.data.streamed import StreamedTable
from permgrad.data.table import Table
from permgrad.importance.game.finishing import adds_up
from permgrad.importance.permuting.conditional import ROWS_PER_PREDICTOR
from permgrad.importance.probes import probe_sentence
from permgrad.importance.ranking import FeatureRanking
from permgrad.importance.recipe import scope_sentence
from permgrad.plotting import method_title
from permgrad.report.page._tables import number, percent
from permgrad.report.results import Results

SCORE_MEANINGS = {
    "accuracy": "share of test rows whose class is predicted correctly",
    "balanced_accuracy": "the same, with equal weight for every class",
    "precision": "of the rows predicted to be a class, the share that is; mean over classes",
    "recall": "of a class’s rows, the share that is predicted as it; mean over classes",
    "f1": "harmonic mean of precision and recall; mean over classes",
    "auc": "area under the ROC curve; 0.5 is guessing, 1 perfect",
    "log_loss": "mean cross-entropy; 0 is perfect",
    "r2": "share of the variance explained; predicting the mean gives 0",
    "rmse": "root of the mean squared error, in the target’s unit",
    "mae": "mean absolute error, in the target’s unit",
    "mape": "mean absolute error as a share of the true value",
}
SCORE_NAMES = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "auc": "AUC",
    "log_loss": "Log loss",
    "r2": "R²",
    "rmse": "RMSE",
    "mae": "MAE",
    "mape": "MAPE",
}
NOTES = {"note": "Note", "source": "Source", "license": "Licence", "citation": "Citation"}
"""Facts of `Table.notes` that the page shows."""
MAX_LISTED = 12


def question(table: Table, scope: str = "this network") -> str:
    """Say in one sentence what was asked."""
    n = len(table.features) - len(probes_among(table.features))
    aim = f"predict {table.y.name}"
    if table.classes:
        aim = f"tell the {len(table.classes)} classes of {table.y.name} apart"
    who = "do these networks" if "networks" in scope else f"does {scope}"
    return f"Which of {number(n)} columns {who} rely on to {aim}?"


def data_facts(results: Results) -> dict[str, str]:
    """Return what is known about the table: label → text."""
    settings, table = results.ranking.settings, results.whole
    notes, n_test, n_probes = table.notes, settings["test_rows"], len(probes_among(table.features))
    target = f"{table.y.name}, {table.task}"
    if table.classes:
        counts = [f"{label}: {number(int(n))}" for label, n in table.y.value_counts().items()]
        target += f" ({_cut(counts)})"
    else:
        target += f" ({number(float(table.y.min()))} to {number(float(table.y.max()))})"
    return {
        "Table": table.name,
        "Rows": f"{number(len(table))}: all of them test rows"
        if results.foreign is not None
        else f"{number(len(table))}: {number(len(table) - n_test)} to train and validate, {number(n_test)} to test"
        f" ({_split(settings, table)})",
        "Columns": number(len(table.features) - n_probes),
        **({"Probes": f"{number(n_probes)}, shuffled copies of columns"} if n_probes else {}),
        "Target": target,
        "Missing values": _missing(results),
        **{label: str(notes[key]) for key, label in NOTES.items() if notes.get(key)},
        **_identity(settings["data"]),
    }


def drawn_from(results: Results) -> str:
    """Say how rows were drawn, where those at hand are not all rows of the table."""
    return "" if results.in_files is None else ", drawn at random from those trained on"


def _identity(data: dict[str, Any]) -> dict[str, str]:
    """Return what tells the table from others."""
    files = data.get("files")
    if not files:
        return {"SHA-256": data["sha256"]}
    names = [Path(path).name for path in files]
    return {"Files": _cut(names)}


def _split(settings: dict[str, Any], table: Table | StreamedTable) -> str:
    """Say how rows were split."""
    at_random = f"split with random state {settings['split_random_state']}"
    known = {"files"} if isinstance(table, StreamedTable) else {*table.facts.known()} - {"weights"}
    return str(settings.get("split", at_random)) if known else at_random


def trivial(test: Table) -> tuple[str, float] | None:
    """Return a score's name and what a constant answer achieves in it on the test rows."""
    if test.task == "regression":
        return "r2", 0.0
    return "accuracy", float(test.y.value_counts(normalize=True).max())


def calibration(ranking: FeatureRanking, classes: Sequence[Any]) -> list[str]:
    """Say how well probabilities of classes are calibrated, or intervals cover."""
    known = ranking.settings.get("calibration") or {}
    if "ece" in known:
        within = known["ece"] <= known["ece_calibrated_most"]
        of = "the likeliest class" if len(classes) > 2 else str(classes[1])
        return [
            f"Calibration error: {percent(known['ece'], 1)}, the mean gap between the probability that the network"
            f" gives {of} and the share of such rows in which that is true (in bins of equally many rows). A"
            f" perfectly calibrated network would show {percent(known['ece_calibrated'], 1)} on average on so few rows,"
            f" and seldom above {percent(known['ece_calibrated_most'], 1)}: "
            + ("there is no evidence of miscalibration." if within else "do not take its probabilities literally.")
        ]
    if "inside" in known:
        return [
            f"Of the test rows, {percent(known['inside'], 1)} are inside the network’s"
            f" {percent(known['coverage'])} intervals."
        ]
    return []


def verdict(ranking: FeatureRanking, test: Table) -> tuple[str, bool]:
    """Say how the network compares with a constant answer, and whether it is better."""
    name, level = trivial(test)  # type: ignore[misc]
    reached = ranking.settings["test_scores"][name]
    if test.task == "regression":
        constant = "Predicting the mean of the test rows for all of them would give R² = 0"
    else:
        constant = f"Always predicting “{test.y.mode().iloc[0]}” would be right in {percent(level, 1)} of the test rows"
    if reached > level:
        return f"{constant}; the network reaches {_score(name, reached)}.", True
    said = f"{constant}; the network reaches {_score(name, reached)} and is no better."
    if ranking.settings.get("learned") and ranking.learned:  # it knows how likely rows are, if not which is likelier
        return (
            f"{said} Its {'probabilities are' if test.task != 'regression' else 'loss is'} better than chance.",
            True,
        )
    return (
        f"{said} The network has learned nothing useful, so its ranking says nothing about the table.",
        False,
    )


def meaning(ranking: FeatureRanking) -> list[str]:
    """Say in a few sentences what the scores are and what they are not."""
    return [_definition(ranking), *_uncertainty(ranking)]


def _definition(ranking: FeatureRanking) -> str:
    if ranking.method == "shapley":
        return _worth(ranking)
    if ranking.method != "permgrad":
        return EXPLAINERS.get(ranking.method, f"A column’s score is that of the method {ranking.method}.")
    fused = " and ".join(method_title(name) for name in ranking.components if name not in BESIDE)
    weights = " and ".join(
        f"{percent(weight)} to the {branch} branch" for branch, weight in ranking.trusted_weights.items()
    )
    weights = (
        f"ablation gives {weights}"
        if weights
        else "both get equal weights, as ablation of a network at chance is noise"
    )
    whole = " Scores are shares: over all columns they add up to 1." if np.isclose(ranking.scores.sum(), 1) else ""
    return (
        "A column’s score says how much this network relies on the column, in both of its branches: the one that reads"
        f" the row and the one that reads the row’s image. It is fused from {fused};"
        f" {weights}.{whole}"
    )


def _worth(ranking: FeatureRanking) -> str:
    """Say what a Shapley value of the loss is, and what the branches are worth."""
    total, error, found = (ranking.settings.get(name) for name in ("total", "error", "sum"))
    ends = ranking.settings.get("branch_intervals", {})
    shares = " and ".join(
        f"the {branch} branch {percent(weight)}"
        + (f" ({percent(ends[branch][0])} to {percent(ends[branch][1])})" if branch in ends else "")
        for branch, weight in ranking.trusted_weights.items()
    )
    saved = "the loss that the network saves, compared with its mean prediction."
    added = f" All scores add up to {number(total)}: {saved}"
    if not adds_up(ranking.settings):
        added = f" All scores add up to {number(found)}, not to {number(total)}, {saved}"
    return (
        "A column’s score is the loss that the network saves by seeing the column, averaged over all orders in which"
        " columns can be revealed to either branch; hidden columns take values from other rows (a Shapley value)."
        " A column that the network ignores scores 0; a column that misleads it scores below 0."
        + (added if total is not None else "")
        + (f" Of it, {shares}." if len(ranking.trusted_weights) > 1 else "")
        + (
            f" The sampling error of scores is up to {percent(error, 1)} of it, as not all orders were tried."
            if error
            else ""
        )
        + " First in is what the column saves on its own; last in is what is lost when it alone is permuted. If first"
        " in is large and last in is small, other columns carry the same information."
    )


BESIDE = ("end_to_end", "conditional")
"""Components that stand beside the fused score and are no part of it."""
EXPLAINERS = {
    "end_to_end": "A column’s score is the increase of the network’s loss on the test rows when the column is permuted"
    " among them, in both branches at once (last in). With so many columns and rows, Shapley values would take long, or"
    " they were not asked for.",
    "permutation": "A column’s score is the increase of the network’s loss on the test rows when the column is permuted"
    " among them, so that it no longer carries information about the row.",
    "grad_cam": "A column’s score is the Grad-CAM heat at its pixel, averaged over the test rows.",
    "layer_cam": "A column’s score is the LayerCAM heat at its pixel, averaged over the test rows.",
    "gradient_input": "A column’s score is the size of gradient × value at its pixel, relative to the largest in the"
    " row’s image, averaged over the test rows.",
}


def _uncertainty(ranking: FeatureRanking) -> list[str]:
    said = []
    table = ranking.table
    if {"low", "high"} <= set(table):
        said.append(
            f"{scope_sentence(ranking)} Do not rank columns against each other if their intervals overlap widely."
        )
    probes = probe_sentence(ranking)
    said += [] if probes is None else [f"{probes} The grey band shows the probes’ intervals."]
    said += _tested(ranking)
    if ranking.unused:
        said.append(
            "These columns never vary; the network does not use them, and they rank last:"
            f" {_cut(list(ranking.unused))}."
        )
    if ranking.pending:
        said.append(
            f"The time limit left out {number(len(ranking.pending))} of {number(len(ranking.features))} columns; they"
            " were not measured and rank after the others."
        )
    return said


def _tested(ranking: FeatureRanking) -> list[str]:
    """Say which hypothesis p-values test, and what a q-value bounds, where it was shown to."""
    conditional = ranking.components.get("conditional")
    networks = max(ranking.settings.get(name, 1) for name in ("n_networks", "trainings"))
    doubled = f" (twice the median of {networks} networks’ p-values)" if networks > 1 else ""
    if conditional is None:
        if "p" not in ranking.table:
            return []
        return [
            f"p{doubled} tests whether {ranking.scope} gains by the column, on rows like these; q is p after the"
            " Benjamini–Hochberg correction for the number of columns. A network also gains by columns that merely"
            " correlate with relevant ones: a small value does not prove that the column adds information. Conditional"
            " permutation tests that."
        ]
    said = [
        "Conditional permutation shuffles a column only among rows that the other columns cannot tell apart as to"
        f" it. Its p{doubled} tests whether the column adds information about the target beyond the other columns; q is"
        " p after the Benjamini–Hochberg correction for the number of columns."
    ]
    badly = conditional.settings.get("untold") or {}
    few = conditional.settings["n_rows"] < ROWS_PER_PREDICTOR * len(ranking.features)
    if few:
        said.append(
            "There are few rows for so many columns: dependences among columns may be missed, and p be too small."
        )
    if badly:
        said.append(
            "Dependence of these columns, or of the target, on the other columns was learned badly, and p is the"
            f" larger for it; rank them on more rows: {_cut(list(badly))}."
        )
    return said


def limits(ranking: FeatureRanking, evaluation: Any) -> list[str]:
    """List what the page does not say."""
    said = [
        "Scores do not show causes. They describe what this network uses to predict; whether changing a column"
        " would change the outcome is another question, and needs another study.",
        "A low score does not prove that a column is uninformative. Columns that carry the same information share"
        " their score, and the network may use one instead of another.",
        f"{_trained(ranking)} Another training or another network may rely on other columns"
        + (": see the stability above." if getattr(evaluation, "stability", None) else "."),
    ]
    if {"grad_cam", "layer_cam"} & set(ranking.components):
        said.append(
            "Heat maps of the image branch are coarse: one cell of the map covers several pixels, and so"
            " several columns."
        )
    return said


def _trained(ranking: FeatureRanking) -> str:
    n, trainings = ranking.settings.get("n_networks", 1), ranking.settings.get("trainings", 1)
    if trainings > 1:
        return f"The ranking covers {trainings} trainings of one recipe; the network on this page is the first of them."
    return (
        "It describes one network, trained once on one split." if n == 1 else f"It describes {n} networks of one split."
    )


def agreement(ranking: FeatureRanking) -> dict[str, float]:
    """Return the rank correlation of the score with each component, known ones only."""
    correlations = ranking.settings.get("agreement") or {}
    return {name: float(value) for name, value in correlations.items() if value is not None and np.isfinite(value)}


def agreement_verdict(value: float, method: str) -> str:
    """Say what the correlation with end-to-end permutation means for the reader."""
    if value >= 0.8:
        return "The score and the plain experiment order the columns in much the same way."
    if value >= 0.5:
        return "The score and the plain experiment order the columns similarly, but not equally: compare both."
    if method == "shapley":
        return (
            "The score and the plain experiment order the columns differently: columns that carry the same information"
            " share a score, and the network hardly misses a single one. First in says what each saves on its own."
        )
    return "The score and the plain experiment order the columns differently: trust neither without the other."


def _missing(results: Results) -> str:
    counts, drawn = results.table.X.isna().sum(), drawn_from(results)
    of_rows = f" of {number(len(results.table))} rows{drawn}" if drawn else ""
    counts = counts[counts > 0].sort_values(ascending=False, kind="stable")
    if counts.empty:
        return f"none{of_rows}"
    listed = [f"{name}: {number(int(n))}" for name, n in counts.items()]
    return (
        f"{number(int(counts.sum()))} in {number(len(counts))} of the columns{of_rows} ({_cut(listed)}); filled with"
        " the training rows’ median, or a category of their own"
    )


def _cut(names: list[str]) -> str:
    more = len(names) - MAX_LISTED
    return ", ".join(names[:MAX_LISTED]) + (f" and {number(more)} more" if more > 0 else "")


def _score(name: str, value: float) -> str:
    return f"R² = {number(value)}" if name == "r2" else percent(value, 1)
