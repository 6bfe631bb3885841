"""Notes that a command prints while it works, each once; the page shows them too."""

from __future__ import annotations

from typing import Any

import click

_printed: dict[str, None] = {}


def forget_notes() -> None:
    """Begin anew, as a command does."""
    _printed.clear()


def notes_printed() -> tuple[str, ...]:
    """Return the notes since the command began, in order."""
    return tuple(_printed)


def show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Print permgrad's warnings as one line; those of libraries about themselves are not the user's concern."""
    if category is UserWarning and str(message) not in _printed:  # each step that encodes rows would say the same
        _printed[str(message)] = None
        click.echo(f"note: {message}", err=True)
