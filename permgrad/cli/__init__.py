"""The command line: a file for each command.

Only click is imported before a command runs, so that ``permgrad --help`` answers at once.
"""

from __future__ import annotations

import sys
import warnings

import click

from permgrad import __version__
from permgrad.cli._notes import forget_notes, show_warning
from permgrad.cli.check import check
from permgrad.cli.compare import compare
from permgrad.cli.dashboard import dashboard
from permgrad.cli.datasets import datasets
from permgrad.cli.evaluate import evaluate
from permgrad.cli.explain import explain
from permgrad.cli.export import export
from permgrad.cli.merge import merge
from permgrad.cli.panel import panel
from permgrad.cli.predict import predict
from permgrad.cli.rank import rank
from permgrad.cli.report import report
from permgrad.cli.serve import serve
from permgrad.cli.tune import tune


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def cli() -> None:
    """Hybrid neural networks on tables, and a feature ranking that you can defend."""


for command in (
    check,
    rank,
    merge,
    predict,
    explain,
    compare,
    evaluate,
    report,
    serve,
    export,
    tune,
    panel,
    dashboard,
    datasets,
):
    cli.add_command(command)


def _pattern_hint(error: click.ClickException) -> str:
    """Say how to name several files, where a shell may have made many words of a pattern."""
    context = getattr(error, "ctx", None)
    takes_table = context is not None and any(param.name == "table" for param in context.command.params)
    if not takes_table or not error.format_message().startswith("Got unexpected extra argument"):
        return ""
    return "; to read several files as one table, quote their pattern, such as 'part-*.parquet'"


def main() -> None:
    """Run the command line: 0 on success, 2 with one line for bad input, 130 when interrupted."""
    forget_notes()
    warnings.showwarning = show_warning
    try:
        cli(standalone_mode=False)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        help_option = f"; see {context.command_path} --help" if context else ""
        click.echo(f"permgrad: {error.format_message().rstrip('.')}{_pattern_hint(error)}{help_option}", err=True)
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        study = sys.argv[1:2] == ["tune"]
        click.echo(f"interrupted; {'the same command goes on' if study else 'nothing was written'}", err=True)
        sys.exit(130)
    except Exception as error:
        from permgrad.errors import PermGradError

        if not isinstance(error, PermGradError):
            raise
        click.echo(f"permgrad: {error}", err=True)
        sys.exit(2)
