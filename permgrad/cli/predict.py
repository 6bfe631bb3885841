"""``permgrad predict``: what the network of a results directory says of the rows of a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from permgrad.cli._options import Number

if TYPE_CHECKING:
    import pandas as pd


@click.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.argument("file")
@click.option("--out", type=click.Path(path_type=Path), help="CSV file to write.  [default: FILE.predictions.csv]")
@click.option(
    "--keep",
    multiple=True,
    metavar="COL",
    help="A column of FILE to copy to the output, such as an id; may be repeated.",
)
@click.option(
    "--coverage",
    type=Number(0, 1, min_open=True, max_open=True),
    default=0.9,
    show_default=True,
    help="Coverage of intervals: the share of rows whose target should lie in its interval. For numeric targets.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
def predict(
    results: Path, file: str, out: Path | None, keep: tuple[str, ...], coverage: float, overwrite: bool
) -> None:
    """Predict the rows of FILE with the network in RESULTS, a directory that `permgrad rank` or `tune` wrote.

    FILE has the columns of the ranked table, in any order, and is read in the same way; additional columns are
    ignored. If FILE also has the target, the command prints scores. The CSV file has a row for each row of FILE: its
    number, the prediction, and each class's probability or, for a numeric target, the ends of an interval.
    """
    import permgrad as pg
    from permgrad.data.reading import name_of
    from permgrad.files import new_file
    from permgrad.report.predictions import INTERVAL, prediction_table
    from permgrad.report.reading import ranked_data, results_and_rows

    out = out or Path(f"{name_of(file)}.predictions.csv")
    if out.exists() and not overwrite:
        raise pg.PermGradError(f"{out} exists; pass --overwrite to replace it, or another --out")
    known, (estimator, frame) = ranked_data(results), results_and_rows(results, file)
    found = prediction_table(estimator, frame, keep=keep, coverage=coverage)
    with new_file(out) as part:
        found.to_csv(part, index=False)
    _show(found, frame, known, estimator)
    if known["task"] == "regression" and INTERVAL[0] not in found:
        click.echo(f"no intervals: too few validation rows for a coverage of {coverage:g}")
    click.echo(f"\n{len(found):,} predictions in {out}")


def _show(found: pd.DataFrame, frame: pd.DataFrame, known: dict[str, Any], estimator: Any) -> None:
    """Print the first rows, what is predicted of all, and how right it is where the target is there."""
    click.echo(found.head(5).to_string(index=False))
    if known["task"] == "classification":
        shares = found["prediction"].value_counts(normalize=True)
        click.echo("predicted: " + ", ".join(f"{label} {share:.0%}" for label, share in shares.items()))
    else:
        numbers = found["prediction"]
        click.echo(f"predicted: {numbers.min():g} to {numbers.max():g}, mean {numbers.mean():g}")
    if known["target"] in frame:
        click.echo(_how_right(found, frame[known["target"]], known, estimator))


def _how_right(found: pd.DataFrame, target: pd.Series, known: dict[str, Any], estimator: Any) -> str:
    """Return the scores of predictions as a line, or why there are none."""
    import numpy as np

    from permgrad.data._kinds import numbers_of
    from permgrad.metrics.scores import classification_scores, regression_scores

    answered = target.notna().to_numpy()
    given = f"{known['target']!r} is there in {answered.sum():,} rows"
    if known["task"] == "regression":
        try:
            y = numbers_of(target[answered], None)
        except (TypeError, ValueError):
            return f"{given}, but not as numbers: no scores"
        scores = regression_scores(y, found["prediction"].to_numpy()[answered]) if len(y) > 1 else {}
    else:
        labels = target[answered].to_numpy()
        strange = sorted(set(map(str, labels)) - set(map(str, estimator.classes_)))
        if strange:
            return f"{given}, with labels that are no class of the network ({', '.join(strange[:5])}): no scores"
        by_text = {str(label): label for label in estimator.classes_}
        probabilities = found[[f"p[{label}]" for label in estimator.classes_]].to_numpy()[answered]
        y = np.array([by_text[str(label)] for label in labels])
        scores = classification_scores(y, probabilities, estimator.classes_) if len(y) else {}
    if len(found) == known.get("rows"):
        given += f"; if these are the {len(found):,} rows that were ranked, most of them trained the network"
    return f"{given}: " + ", ".join(f"{name} {value:.4g}" for name, value in scores.items())
