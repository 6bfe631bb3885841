"""Options of a study's command that change its settings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click


class Setting(click.Option):
    """One setting as an option of its own: ``--trials 30`` for ``--set tuning.trials=30``.

    Parameters
    ----------
    flag : str
    key : str
        The setting's dotted key.
    help : str
    **named
        Of `click.Option`, such as type or is_flag.
    """

    def __init__(self, flag: str, key: str, help: str, **named: Any) -> None:
        super().__init__([flag], help=f"{help} Short for --set {key}.", default=None, **named)
        self.key = key

    def overrides(self, value: Any) -> list[str]:
        """Return the changes of settings that the option's value stands for."""
        return [] if value is None else [f"{self.key}={json.dumps(value)}"]


class Preset(click.Option):
    """A flag that stands for several changes of settings, such as ``--fast``.

    Parameters
    ----------
    flag : str
    changes : sequence of str
        "<dotted key>=<value>" each.
    help : str
    """

    def __init__(self, flag: str, changes: Sequence[str], help: str) -> None:
        super().__init__([flag], is_flag=True, help=help)
        self.changes = tuple(changes)

    def overrides(self, value: Any) -> list[str]:
        """Return the changes, if the flag is set."""
        return [*self.changes] if value else []
