"""Where a study works: the directory of its cached steps, and that of its report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from permgrad.errors import PermGradError
from permgrad.parallel import count_workers, run
from studies.kit.steps import cached_step, check_same_study, timed

Step = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Takes the results of the steps before it by their names, returns its own."""


class Apart:
    """A step that needs none before it and holds no network, so that a process may do it: see `Workspace.run`.

    Parameters
    ----------
    work : callable
        Returns the step's result, given these arguments.
    """

    def __init__(self, work: Callable[..., Mapping[str, Any]], *arguments: Any, **named: Any) -> None:
        self.work = partial(work, *arguments, **named)

    def __call__(self, earlier: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the step's result."""
        return self.work()


@dataclass(frozen=True)
class Workspace:
    """Directories of one run of a study.

    Attributes
    ----------
    out : Path
        Results: ``steps/`` with a JSON file for each step, and what is too large for a report.
    report : Path
        Tables, pictures and ``report.md``.
    kind : str
        Of the steps' files.
    verbose : bool
        Show progress.
    """

    out: Path
    report: Path
    kind: str
    verbose: bool = False

    def below(self, name: str) -> Workspace:
        """Return the workspace of a part of the study, such as one data set: a directory below either one."""
        return replace(self, out=self.out / name, report=self.report / name)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out of `out`, which is made if it is absent.

        Raises
        ------
        PermGradError
            If another process is at work there, or a file is in its place.
        """
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            with FileLock(self.out / ".lock", timeout=0):
                yield
        except Timeout as error:
            raise PermGradError(
                f"another process is at work in {self.out}; wait for it, or choose another --out"
            ) from error
        except FileExistsError as error:
            raise PermGradError(f"{self.out} is a file; results need a directory, choose another --out") from error

    def check_same(self, now: Mapping[str, Any], name: str = "study") -> None:
        """Refuse `out` if its results depend on something else than `now`; see `check_same_study`."""
        check_same_study(self.out / "steps" / f"{name}.json", self.kind, now)

    def step(self, name: str, work: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """Return a step's result, computed at most once; see `cached_step`. A name with slashes makes directories."""
        return cached_step(self._file(name), self.kind, work)

    def run(self, steps: Mapping[str, Step]) -> dict[str, dict[str, Any]]:
        """Do what is left of the steps, in order; with workers, first those that stand `Apart`, side by side.

        Returns
        -------
        dict
            Every step's result by its name, each with ``step_seconds``.
        """
        self._do_apart(steps)
        results: dict[str, dict[str, Any]] = {}
        with tqdm(steps.items(), desc=self.out.name, unit="step", disable=not self.verbose) as progress:
            for name, work in progress:
                progress.set_postfix_str(name)
                results[name] = self.step(name, partial(timed, work, results))
        return results

    def _do_apart(self, steps: Mapping[str, Step]) -> None:
        apart = {self._file(name): step for name, step in steps.items() if isinstance(step, Apart)}
        left = {path: step for path, step in apart.items() if not path.is_file()}
        if count_workers() == 1 or len(left) < 2:
            return
        done = run(cached_step, ((path, self.kind, partial(timed, step, {})) for path, step in left.items()))
        shown: dict[str, Any] = {"desc": f"{self.out.name}, side by side", "unit": "step", "disable": not self.verbose}
        for _ in tqdm(done, total=len(left), **shown):
            pass  # each result is in its file

    def _file(self, name: str) -> Path:
        return self.out / "steps" / f"{name}.json"
