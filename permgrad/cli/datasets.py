"""``permgrad datasets``: the data sets that are known by name."""

from __future__ import annotations

import click


@click.command()
def datasets() -> None:
    """List the data sets that you can use by name."""
    from permgrad.data.datasets import list_datasets

    for card in list_datasets().itertuples():
        click.echo(f"{card.name:<14} {card.task:<15} {card.rows:>6} × {card.features:<4} {card.title}")
