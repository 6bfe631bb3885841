"""Time for a long piece of work: progress, a limit, and the names of what the limit left out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from tqdm.auto import tqdm

from permgrad.errors import PermGradError

T = TypeVar("T")


class TimeLimit:
    """A time limit over several parts of several steps.

    Parameters
    ----------
    timeout : float, optional
        Seconds after which no further step is begun.
    verbose : bool
        Show a progress bar for each part.

    Attributes
    ----------
    left_out : list of str
        Steps that were not begun: ``"part: step"``.
    seconds : dict
        What each part took.
    """

    def __init__(self, timeout: float | None = None, verbose: bool = False) -> None:
        if timeout is not None and timeout < 0:
            raise PermGradError(f"timeout must be a number of seconds, got {timeout}")
        self.verbose = verbose
        self.deadline = None if timeout is None else time.monotonic() + timeout
        self.left_out: list[str] = []
        self.seconds: dict[str, float] = {}

    @property
    def over(self) -> bool:
        """Whether the time is used up."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    def steps(self, part: str, items: Iterable[T], name: Callable[[T], Any] = str) -> Iterator[T]:
        """Walk the steps of a part while there is time; note down the others."""
        steps = list(items)
        with tqdm(total=len(steps), desc=part, unit="step", disable=not self.verbose) as bar:
            for step in steps:
                if self.over:
                    self.left_out.append(f"{part}: {name(step)}")
                    continue
                yield step
                bar.update()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Take the time of a part."""
        begun = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - begun, 2)
