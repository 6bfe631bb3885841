"""``permgrad serve``: the page of a results directory, and its network to answer what-if questions."""

from __future__ import annotations

from pathlib import Path

import click

from permgrad.cli._serving import serve_until_interrupted


@click.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default="any free one")
@click.option("--open", "open_browser", is_flag=True, help="Open it in a browser.")
def serve(results: Path, port: int, open_browser: bool) -> None:
    """Serve the page of RESULTS, a directory that `permgrad rank` or `tune` wrote, on this machine only.

    For several changes at once, the network itself then computes the what-if predictions, which the page alone can only
    approximate. The address contains a random token; requests without it are refused.
    """
    from permgrad.report.serving import results_server

    serve_until_interrupted(*results_server(results, port), open_browser)
