"""The page of the command line: what each command says with ``--help``, word for word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from permgrad.cli import cli

if TYPE_CHECKING:  # tests read this file where the site is not built
    from sphinx.application import Sphinx

PAGE = "docs/reference/command-line"
MARK = "<!-- what the commands say -->"
WIDTH = 100


def put_help(app: Sphinx, page: str, source: list[str]) -> None:
    """Put the help texts where the page has its mark."""
    if page == PAGE:
        source[0] = source[0].replace(MARK, help_texts())


def help_texts() -> str:
    """Return a section for each command."""
    return "\n\n".join(f"## permgrad {name}\n\n```text\n{help_of(name)}\n```" for name in cli.commands)


def help_of(name: str) -> str:
    """Return a command's help, as it is printed."""
    command = cli.commands[name]
    context = click.Context(command, info_name=f"permgrad {name}", max_content_width=WIDTH, terminal_width=WIDTH)
    return command.get_help(context)


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx."""
    app.connect("source-read", put_help)
    return {"parallel_read_safe": True}
