"""Results that are written; or, where they cannot be, the ranking that is kept elsewhere."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from permgrad.cli._shown import show_ranking

if TYPE_CHECKING:
    from permgrad.importance.ranking import FeatureRanking
    from permgrad.report.results import Results


def write_or_keep(directory: Path, results: Results) -> FeatureRanking:
    """Write results; if that fails, such as for a full disk, keep the ranking, which is what took the time."""
    from permgrad.errors import PermGradError
    from permgrad.report.directory import write_results

    try:
        return write_results(directory, results)
    except (OSError, PermGradError):
        _rescue(results.with_settings().ranking)
        raise


def _rescue(ranking: FeatureRanking) -> None:
    """Show a ranking that cannot be written where it should be, and keep it where there is room."""
    from permgrad.errors import PermGradError

    show_ranking(ranking)
    kept = Path(tempfile.mkdtemp(prefix="permgrad-")) / "ranking.json"
    try:
        ranking.save(kept)
    except PermGradError as error:
        click.echo(f"the ranking could not be kept: {error}", err=True)
    else:
        click.echo(f"the ranking is kept in {kept}", err=True)
