"""``permgrad explain``: what each column adds to the network's answer to one row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from permgrad.cli._options import SEED


@click.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.argument("file")
@click.option(
    "--row", type=click.IntRange(1), required=True, help="Row of FILE to explain, counted from 1 without the header."
)
@click.option("--of", "label", metavar="CLASS", help="The class to explain.  [default: the one predicted]")
@click.option("--top", type=click.IntRange(1, 1000), default=10, show_default=True, help="Number of columns to show.")
@click.option("--out", type=click.Path(path_type=Path), help="Picture to write (.png, .svg, .pdf).")
@click.option("--random-state", type=SEED, default=0, show_default=True, help="Seed for the orders of the columns.")
def explain(
    results: Path, file: str, row: int, label: str | None, top: int, out: Path | None, random_state: int
) -> None:
    """Explain a prediction: what each column adds, for one row of FILE.

    RESULTS is a directory that `permgrad rank` or `tune` wrote. The command prints what each column adds to the
    network's prediction, compared with the mean prediction for 64 test rows: in log-odds of a class, or in the
    target's unit. FILE is read as the ranked table was; its columns may be in any order.
    """
    from permgrad.errors import PermGradError
    from permgrad.files import new_file
    from permgrad.report.background import read_background
    from permgrad.report.predictions import model_columns
    from permgrad.report.reading import results_and_rows

    estimator, frame = results_and_rows(results, file)
    if row > len(frame):
        raise PermGradError(f"{file} has {len(frame):,} rows, there is no row {row:,}")
    one = model_columns(estimator, frame).iloc[[row - 1]]
    found = estimator.explain_rows(
        one, read_background(results), of=_label(estimator, one, label), random_state=random_state
    )
    table = found.row(0)
    click.echo(f"row {row:,} of {file}: {_answer(estimator, one)}")
    click.echo(f"explained: {found.unit(0)}, {found.base[0]:.3f} on average, {found.outputs[0]:.3f} here\n")
    click.echo(table.head(top).round(3).to_string(index=False))
    if len(table) > top:
        click.echo(f"... and {len(table) - top} more columns, together {table['adds'].iloc[top:].sum():+.3f}")
    if out is not None:
        with new_file(out) as part:
            found.plot(0, top).savefig(part, dpi=150, format=out.suffix.lstrip(".") or "png")
        click.echo(f"\npicture in {out}")


def _label(estimator: Any, one: Any, label: str | None) -> Any:
    """Return the class to explain, as the estimator names it; None for regression."""
    from permgrad.errors import PermGradError, listing

    if not hasattr(estimator, "classes_"):
        if label is not None:
            raise PermGradError("--of is for classes, this network predicts a number; leave it out")
        return None
    if label is None:
        return estimator.predict(one)[0]
    by_text = {str(known): known for known in estimator.classes_}
    if label not in by_text:
        raise PermGradError(f"--of must be one of the classes {listing(by_text)}, got {label!r}")
    return by_text[label]


def _answer(estimator: Any, one: Any) -> str:
    if not hasattr(estimator, "classes_"):
        return f"{estimator.predict(one)[0]:g}"
    p = estimator.predict_proba(one)[0]
    return ", ".join(f"{label} {share:.1%}" for label, share in zip(estimator.classes_, p, strict=True))
