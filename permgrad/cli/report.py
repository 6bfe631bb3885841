"""``permgrad report``: the page of a results directory, drawn again."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="An HTML file.  [default: report.html in RESULTS]")
@click.option("--open", "open_browser", is_flag=True, help="Open it in a browser.")
def report(results: Path, out: Path | None, open_browser: bool) -> None:
    """Draw the page of RESULTS, a directory of `permgrad rank` or `tune`, anew.

    All that the page shows is in RESULTS/page.json: neither the table nor the network is read.
    """
    from permgrad.files import write_text
    from permgrad.report.page._render import PAGE, draw_again

    out = out or results / PAGE
    write_text(out, draw_again(results))
    click.echo(f"{out}")
    if open_browser:
        click.launch(out.resolve().as_uri())
