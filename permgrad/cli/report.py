"""``permgrad report``: the page of a results directory, drawn again."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="HTML file to write.  [default: report.html in RESULTS]")
@click.option("--open", "open_browser", is_flag=True, help="Open it in a browser.")
def report(results: Path, out: Path | None, open_browser: bool) -> None:
    """Write the page of RESULTS again, a directory that `permgrad rank` or `tune` wrote.

    Everything that the page shows is in RESULTS/page.json. The command reads neither the table nor the network.
    """
    from permgrad.files import write_text
    from permgrad.report.page._render import PAGE, draw_again

    out = out or results / PAGE
    write_text(out, draw_again(results))
    click.echo(f"{out}")
    if open_browser:
        click.launch(out.resolve().as_uri())
