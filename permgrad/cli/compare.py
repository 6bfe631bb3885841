"""``permgrad compare``: two rankings side by side."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Directory for comparison.csv and comparison.png.")
@click.option(
    "--top", type=click.IntRange(1, 1000), default=15, show_default=True, help="Number of the best columns to show."
)
@click.option("--overwrite", is_flag=True, help="Replace an existing directory, if it holds nothing else.")
def compare(first: Path, second: Path, out: Path | None, top: int, overwrite: bool) -> None:
    """Compare two rankings of the same columns: of two seeds, two formulas or two models.

    FIRST and SECOND are directories that `permgrad rank` or `tune` wrote, or files of rankings (.json, .parquet). The
    command prints each column's two ranks, how far it moved, and whether the scores differ by more than their
    intervals allow.
    """
    import permgrad as pg
    from permgrad.directories import new_directory
    from permgrad.files import new_file
    from permgrad.importance.two_rankings import UNIT

    rankings = [pg.FeatureRanking.load(path / "ranking.json" if path.is_dir() else path) for path in (first, second)]
    comparison = rankings[0].compare(rankings[1], _names(first, second))
    table = comparison.table
    click.echo(table.head(top).round(4).to_string(index=False))
    k = max(1, min(top, len(table) // 2))  # all columns are shared by any two rankings
    click.echo(
        f"\nof the {k} best, {comparison.shared(k)} are shared; Spearman's correlation {comparison.spearman:.2f}"
    )
    if "apart" in table:
        apart = table.loc[table["apart"], "feature"].tolist()
        click.echo(f"scores that differ by more than chance (95 %): {', '.join(apart) if apart else 'none'}")
    else:
        click.echo(comparison.note or "the scores have no intervals: whether they differ by chance is unknown")
    for name, (ours, theirs) in comparison.differing.items():
        if name not in UNIT:  # those are in the note
            click.echo(f"  {name}: {ours} and {theirs}")
    if out is not None:
        with new_directory(out, overwrite=overwrite) as staging:
            with new_file(staging / "comparison.csv") as part:
                table.to_csv(part, index=False)
            comparison.plot(top).savefig(staging / "comparison.png", dpi=150)
        click.echo(f"\ncomparison.csv and comparison.png in {out}/")


def _names(first: Path, second: Path) -> tuple[str, str]:
    """Return two names that tell the paths apart: their last parts that differ."""
    parts = zip(reversed(first.resolve().parts), reversed(second.resolve().parts), strict=False)
    ours, theirs = next(((a, b) for a, b in parts if a != b), ("first", "second"))
    return ours.removesuffix(".json"), theirs.removesuffix(".json")
