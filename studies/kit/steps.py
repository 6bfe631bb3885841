"""Cached steps of long work: each one's result is a JSON file, so what was stopped goes on where it was."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from permgrad.errors import PermGradError
from permgrad.files import plain, read_json, write_json


def cached_step(path: str | Path, kind: str, work: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """Return the result of `work`, computed if its file is absent and read if it is there.

    Parameters
    ----------
    path : path
        The step's file; its directory is made if it is absent.
    kind : str
        Entry ``"kind"`` of the file, which a file that is read must have.
    work : callable
        Only called if there is no file.

    Returns
    -------
    dict
        As JSON has it, also the first time: what is computed and what is read cannot differ.

    Raises
    ------
    FileFormatError
        If the file is damaged, or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"kind": kind, **work()})
    return read_json(path, kind=kind)


def timed(work: Callable[..., Mapping[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Return the result of ``work(*arguments)`` with ``step_seconds``, what it took on the wall's clock."""
    begun = time.perf_counter()
    result = work(*arguments)
    return {**result, "step_seconds": time.perf_counter() - begun}


def check_same_study(path: str | Path, kind: str, now: Mapping[str, Any]) -> None:
    """Write what a study's results depend on beside them; refuse a directory whose results depend on something else.

    Parameters
    ----------
    path : path
        The file that says it; its directory is the study's.
    kind : str
        As for `cached_step`.
    now : mapping
        Settings, and hashes of the data. Leave out what may change from run to run, such as how many repeats there are.

    Raises
    ------
    PermGradError
        Naming the first difference.
    """
    path = Path(path)
    before = _flat(cached_step(path, kind, lambda: now))
    wanted = _flat(plain(now))
    changed = next((key for key, value in wanted.items() if key not in before or before[key] != value), None)
    if changed:
        old = f"was {before[changed]!r}" if changed in before else "was not given"
        raise PermGradError(
            f"{path.parent} holds results of other settings: {changed.removeprefix('settings.')} {old}, now"
            f" {wanted[changed]!r}; choose another directory"
        )


def _flat(content: Any, key: str = "") -> dict[str, Any]:
    if not isinstance(content, Mapping):
        return {key: content}
    return {name: value for k, part in content.items() for name, value in _flat(part, f"{key}.{k}".lstrip(".")).items()}
