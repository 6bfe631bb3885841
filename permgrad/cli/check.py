"""``permgrad check``: look at a table before anything is trained on it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from permgrad.cli._options import SEED, TABLE, TARGET, TASK, SettingsApart, reading_options
from permgrad.cli._tables import load_table, show_split, show_table, take_reading

if TYPE_CHECKING:
    from permgrad.data.checkup import TableCheck

BARS = "▁▂▃▄▅▆▇█"
SHOWN = 60
MOST_LETTERS = 24


@click.command(cls=SettingsApart)
@TABLE
@TARGET
@TASK
@reading_options
@click.option(
    "--split-random-state", type=SEED, default=42, show_default=True, help="Seed for the split that is compared."
)
def check(table: str, target: str | None, task: Any, split_random_state: int, **reading: Any) -> None:
    """Check TABLE before you train on it. It takes seconds.

    The output starts with each column's kind, missing and distinct values, histogram, and how well the column alone
    predicts the target. Then it lists problems, and what to do about each: columns that predict the target almost
    alone, duplicates, identifiers, small classes, test rows that differ from the training rows. TABLE is as for
    `permgrad rank`.
    """
    data = load_table(table, target, task, take_reading(reading))
    show_table(data)
    show_split(data, split_random_state)
    show_check(data.check(random_state=split_random_state))


def show_check(check: TableCheck) -> None:
    """Print a table's columns, and its findings."""
    shown = check.table.head(SHOWN)
    text = shown.assign(
        column=_left([_cut(name) for name in shown["column"]]),
        kind=_left(shown["kind"]),
        low=[_cut(value) for value in shown["low"]],
        high=[_cut(value) for value in shown["high"]],
        histogram=_left([bars(check.histograms.get(name, ())) for name in shown["column"]]),
        alone=["" if value != value else f"{value:.2f}" for value in shown["alone"]],  # NaN: not measured
    )[["column", "kind", "missing", "distinct", "low", "high", "histogram", "alone"]]
    click.echo()
    width = shutil.get_terminal_size((160, 24)).columns
    click.echo(
        text.rename(columns={"alone": f"{check.score} alone"}).to_string(
            index=False, line_width=max(width, 80), justify="left"
        )
    )
    if len(check.table) > SHOWN:
        click.echo(f"... and {len(check.table) - SHOWN:,} more columns")
    show_findings(check)


def show_findings(check: TableCheck) -> None:
    """Print the problems of a table, and what to do about them."""
    if not check.findings:
        click.echo("\nno problems found in this table")
        return
    click.echo(f"\n{len(check.findings)} findings:\n" if len(check.findings) > 1 else "\n1 finding:\n")
    for finding in check.findings:
        click.echo(f"  {finding.text}\n    → {finding.advice}")


def bars(counts: tuple[int, ...]) -> str:
    """Return a histogram as bars of text; an empty bin is a blank."""
    most = max(counts, default=0)
    return "".join(BARS[max(0, -(-len(BARS) * count // most) - 1)] if count else " " for count in counts)


def _left(texts: Iterable[str]) -> list[str]:
    """Return texts of equal length, so that they stand on the left."""
    texts = list(texts)
    return [text.ljust(max(map(len, texts))) for text in texts]


def _cut(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 1]}…"
