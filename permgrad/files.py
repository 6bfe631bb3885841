"""Files that are complete or absent: everything is written beside its place, then renamed into it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from permgrad.errors import FileFormatError, PermGradError


@contextmanager
def new_directory(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty directory that becomes `path` when the block ends without an error.

    Entering the block already fails where `path` cannot be written or exists, so that long work
    inside it is not lost at its end. A directory that is overwritten stays until the new one is whole.

    Raises
    ------
    PermGradError
        If `path` exists and `overwrite` is false, is a file, or cannot be written.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise PermGradError(f"expected a directory at {path}, found a file; choose another path")
    if path.is_dir() and any(path.iterdir()) and not overwrite:
        raise PermGradError(f"{path} exists already and is kept; choose another path, or overwrite it (--overwrite)")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    except OSError as error:
        raise PermGradError(f"cannot write to {path}: {error.strerror}; choose a writable directory") from error
    try:
        yield staging
        staging.chmod(0o777 & ~_umask())
        _swap(staging, path)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _swap(staging: Path, path: Path) -> None:
    if not path.exists():
        staging.rename(path)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{path.name}-old-", dir=path.parent))
    path.rename(old / "replaced")
    staging.rename(path)
    shutil.rmtree(old)


@contextmanager
def new_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path that is renamed to `path` when the block ends without an error."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise PermGradError(f"cannot write {path}: {error.strerror}; choose a writable path") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | Path, content: dict[str, Any]) -> None:
    """Write `content` as strict JSON (NaN and infinity are refused), whole or not at all."""
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    with new_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


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
    found = content.get("kind") if isinstance(content, dict) else type(content).__name__
    if found != kind:
        raise FileFormatError(f"expected a file of kind {kind!r} at {path}, found {found!r}")
    return content
