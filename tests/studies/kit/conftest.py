"""A study of a moment: it sums numbers, one step a letter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import permgrad as pg
from permgrad.plotting.style import new_figure
from studies.kit import Settings, Study, Workspace

HERE = Path(__file__).parent / "toy"


class Toy(Settings):
    rows: int
    factor: float
    letters: tuple[str, ...]


class Log(list):
    """Letters, in the order in which they were worked on; at `stop_at`, the work is interrupted."""

    stop_at = ""

    def sum_of(self, settings: Toy, letter: str) -> dict[str, Any]:
        if letter == self.stop_at:
            raise KeyboardInterrupt
        self.append(letter)
        return {"sum": settings.factor * sum(range(settings.rows)) + len(letter)}


def tables(settings: Toy, results: dict[str, Any]) -> dict[str, pd.DataFrame]:
    sums = pd.DataFrame({"letter": list(results), "sum": [each["sum"] for each in results.values()]})
    return {"sums": sums, "nothing": pd.DataFrame()}


def pictures(settings: Toy, results: Any, tables: Any) -> dict[str, Any]:
    return {"line": new_figure((1.0, 1.0))}


def facts(settings: Toy, results: Any, tables: Any) -> dict[str, Any]:
    return {"largest": tables["sums"]["sum"].max()}


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def toy(log: Log) -> Study:
    def run(settings: Toy, workspace: Workspace, **given: Any) -> dict[str, Any]:
        if settings.rows < 0:
            raise pg.PermGradError("rows must not be negative")
        workspace.check_same({"settings": {"factor": settings.factor, "rows": settings.rows}})
        log.extend(f"{name}={value}" for name, value in given.items())
        return workspace.run({name: lambda _, name=name: log.sum_of(settings, name) for name in settings.letters})

    return Study("toy", HERE, "Sum.", Toy, ("rows=2",), "Two rows.", run, tables, pictures, facts)
