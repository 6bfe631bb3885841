"""``permgrad dashboard``: a study in Optuna's dashboard."""

from __future__ import annotations

from pathlib import Path

import click

from permgrad.cli._serving import serve_until_interrupted


@click.command()
@click.argument("results", type=click.Path(path_type=Path), required=False)
@click.option("--storage", metavar="URL", help="Show the studies in this storage, with the artifacts in RESULTS.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Port; 0 takes any free one.",
)
@click.option("--open", "open_browser", is_flag=True, help="Open it in a browser.")
def dashboard(results: Path | None, storage: str | None, port: int, open_browser: bool) -> None:
    """Show the study in RESULTS (a directory of `permgrad tune`) in Optuna's dashboard, on this machine only."""
    from permgrad.tuning.dashboard import make_server

    serve_until_interrupted(*make_server(results, storage, port), open_browser)
