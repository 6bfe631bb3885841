"""Files that are complete or absent: everything is written beside its place, then renamed into it."""

from __future__ import annotations

import json
import math
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from permgrad.errors import FileFormatError, PermGradError, listing, reading

SAVE_AGAIN = "save it again with permgrad"


def flush(path: Path) -> None:
    """Have a file on the disk itself, so that a power cut after its renaming does not leave it empty."""
    if path.is_file():
        with path.open("rb") as file:
            os.fsync(file.fileno())


@contextmanager
def new_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path that is renamed to `path` when the block ends without an error."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.part")
    _sweep(path.parent)
    try:
        yield temporary
        flush(temporary)
        temporary.replace(path)
    except OSError as error:
        raise PermGradError(f"cannot write {path}: {error.strerror}; choose a writable path") from error
    finally:
        temporary.unlink(missing_ok=True)


@lru_cache
def _sweep(directory: Path) -> None:
    """Remove, once, what processes of this machine began to write in a directory and died over."""
    import psutil

    ours = re.compile(rf"\..+\.{re.escape(socket.gethostname())}\.(\d+)\.part")
    for left in directory.iterdir() if directory.is_dir() else ():
        name = ours.fullmatch(left.name)
        if name and not psutil.pid_exists(int(name[1])):
            left.unlink(missing_ok=True)


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
    with reading(path, "a JSON file", SAVE_AGAIN):
        content = json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=_no_number)
    actual = content.get("kind") if isinstance(content, dict) else type(content).__name__
    if actual != kind:
        raise FileFormatError(f"expected a file of kind {kind!r} at {path}, got {listing([actual])}")
    return content


def _no_number(name: str) -> None:
    raise PermGradError(f"{name} is not a JSON number")
