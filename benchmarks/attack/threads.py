"""The same seed on one core and on all of them, with other settings of threads: the same ranking."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.attack.outcome import Outcomes

TOLERANCE = 1e-6
RUN = """
import os, sys
cores = int(sys.argv.pop(1))
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
from permgrad.cli import main
main()
"""
CASES = (
    (1, {}),
    (1000, {}),
    (1000, {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}),
    (1000, {"OMP_NUM_THREADS": "7", "TF_NUM_INTRAOP_THREADS": "7"}),
)
"""Cores at most, and environment variables."""


def attack_threads(directory: Path) -> Iterator[Outcomes]:
    """Rank a table's columns in each of these ways, and compare every number of ``ranking.json`` with the first's."""
    outcomes, first = Outcomes("the same seed, other cores and threads"), None
    for i, (cores, variables) in enumerate(CASES):
        out = directory / f"out_{i}"
        arguments = ["rank", "breast_cancer", "--out", str(out), "--epochs", "10", "--n-repeats", "2"]
        subprocess.run(  # noqa: S603 - our own code
            [sys.executable, "-c", RUN, str(cores), *arguments],
            env={**os.environ, **variables},
            capture_output=True,
            check=True,
        )
        numbers = np.array(list(_numbers(json.loads((out / "ranking.json").read_text()))))
        first = numbers if first is None else first
        same = numbers.shape == first.shape and np.abs(numbers - first).max() <= TOLERANCE
        outcomes.add("the same" if same else "another result", f"{cores} cores, {variables}")
    yield outcomes


def _numbers(content: Any) -> Iterator[float]:
    if isinstance(content, dict):
        for value in content.values():
            yield from _numbers(value)
    elif isinstance(content, list):
        for value in content:
            yield from _numbers(value)
    elif isinstance(content, (int, float)) and not isinstance(content, bool):
        yield float(content)
