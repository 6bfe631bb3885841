"""Files that are complete or absent: everything is written beside its place, then renamed into it."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from permgrad.errors import FileFormatError, PermGradError

RESULT_FILES = ("ranking.json", "estimator.json", "evaluation.json")
"""A directory that holds one of these was written by permgrad."""
STUDY_FILE = "study.json"
"""A directory that holds this has a study in it, which is never replaced."""


@contextmanager
def new_directory(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty directory that becomes `path` when the block ends without an error.

    Entering the block already fails where `path` cannot be written or exists, so that long work
    inside it is not lost at its end. A directory that is overwritten stays until the new one is whole.

    Raises
    ------
    PermGradError
        If `path` exists and `overwrite` is false, is a file or a directory of somebody else's files, or
        cannot be written.
    """
    path = Path(path).resolve()
    _check_replaceable(path, overwrite)
    made_parent = not path.parent.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    except OSError as error:
        raise PermGradError(f"cannot write to {path}: {error.strerror}; choose a writable directory") from error
    try:
        yield staging
        staging.chmod(0o777 & ~_umask())
        for written in staging.rglob("*"):
            _flush(written)
        _swap(staging, path)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if made_parent and not any(path.parent.iterdir()):
            path.parent.rmdir()


def _check_replaceable(path: Path, overwrite: bool) -> None:
    if path.exists() and not path.is_dir():
        raise PermGradError(f"expected a directory at {path}, found a file; choose another path")
    if not path.is_dir() or not any(path.iterdir()):
        return
    if not overwrite:
        raise PermGradError(f"{path} exists already and is kept; choose another path, or overwrite it (--overwrite)")
    if is_study(path):
        raise PermGradError(f"{path} holds a tuning study and is kept; choose another path, or remove it yourself")
    if not any((path / name).is_file() for name in RESULT_FILES):
        raise PermGradError(f"{path} holds other files than permgrad's results and is kept; choose another path")


def is_study(path: Path) -> bool:
    """Tell whether tuning made the directory `path`."""
    return (path / STUDY_FILE).is_file()


def _flush(path: Path) -> None:
    """Have a file on the disk itself, so that a power cut after its renaming does not leave it empty."""
    if path.is_file():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _swap(staging: Path, path: Path) -> None:
    """Rename `staging` to `path`; what stood there goes only when the new one is in its place."""
    old = Path(tempfile.mkdtemp(prefix=f".{path.name}-old-", dir=path.parent)) / "replaced"
    try:
        if path.exists():
            path.rename(old)
        staging.rename(path)
    except OSError as error:
        if old.exists() and not path.exists():
            old.rename(path)
        raise PermGradError(f"cannot put results at {path}: {error.strerror}; choose another path") from error
    finally:
        shutil.rmtree(old.parent, ignore_errors=True)


def move_into(source: Path, directory: Path) -> None:
    """Rename everything in `source` to its name in `directory`; what stood there is replaced, each by a whole one."""
    for path in source.iterdir():
        if path.is_dir():
            _swap(path, directory / path.name)
        else:
            path.replace(directory / path.name)


@contextmanager
def new_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path that is renamed to `path` when the block ends without an error."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
    except OSError as error:
        raise PermGradError(f"cannot write {path}: {error.strerror}; choose a writable path") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file whole, see `new_file`."""
    with new_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def plain(content: Any) -> Any:
    """Return `content` as JSON has it: text keys, lists, Python numbers; null for NaN and infinity."""
    if isinstance(content, Mapping):
        return {str(key): plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [plain(value) for value in content]
    if isinstance(content, (np.generic, np.ndarray)):
        return plain(content.tolist())
    return None if isinstance(content, float) and not math.isfinite(content) else content


def write_json(path: str | Path, content: dict[str, Any]) -> None:
    """Write `content` as strict JSON (see `plain`), whole or not at all."""
    write_text(path, json.dumps(plain(content), indent=1, allow_nan=False) + "\n")


def read_json(path: str | Path, *, kind: str) -> dict[str, Any]:
    """Read a JSON file whose ``"kind"`` entry must be `kind`.

    Raises
    ------
    FileFormatError
        If the file is absent, no JSON, or of another kind.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise FileFormatError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise FileFormatError(f"{path} is damaged or no JSON file ({error}); save it again with permgrad") from error
    actual = content.get("kind") if isinstance(content, dict) else type(content).__name__
    if actual != kind:
        raise FileFormatError(f"expected a file of kind {kind!r} at {path}, got {actual!r}")
    return content
