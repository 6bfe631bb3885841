"""Long work that can be stopped: results are kept in a file, and taken up again by the same work only."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from permgrad.backend import keras
from permgrad.errors import PermGradError, reading
from permgrad.files import new_file, plain
from permgrad.importance.network._inputs import Inputs

SECONDS_BETWEEN = 15.0


class Checkpoint:
    """A file of arrays (``.npz``) that belongs to one piece of work.

    Parameters
    ----------
    path : path, optional
        Without one nothing is kept.
    work : dict
        What the results depend on. A file of other work is refused.
    """

    def __init__(self, path: str | Path | None, work: dict[str, Any]) -> None:
        self.path = None if path is None else Path(path)
        if self.path is not None and not self.path.resolve().parent.is_dir():
            raise PermGradError(f"cannot keep a checkpoint at {self.path}: there is no such directory")
        self.work = json.dumps(plain(work), sort_keys=True)
        self._written = time.monotonic()

    def read(self) -> dict[str, np.ndarray] | None:
        """Return the arrays that were kept, None if there is no file.

        Raises
        ------
        FileFormatError
            If the file is no checkpoint, or one of other work.
        """
        if self.path is None or not self.path.exists():
            return None
        theirs, arrays = read_checkpoint(self.path)
        ours = json.loads(self.work)
        differing = sorted(key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key))
        if differing:
            raise PermGradError(
                f"the checkpoint {self.path} was written with another {', '.join(differing)}; remove it to begin anew,"
                " or choose another path"
            )
        return arrays

    def write(self, arrays: dict[str, np.ndarray], *, now: bool = False) -> None:
        """Keep these arrays, if the last time is long enough ago."""
        if self.path is None or not (now or time.monotonic() - self._written > SECONDS_BETWEEN):
            return
        content = {"work": np.array(self.work), **arrays}
        with new_file(self.path) as temporary, temporary.open("wb") as file:
            np.savez(file, digest=np.array(_digest(content)), **content)  # type: ignore[arg-type]
        self._written = time.monotonic()


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the work that a file belongs to, and its arrays.

    Raises
    ------
    FileFormatError
        If the file is no checkpoint, or damaged.
    """
    with reading(path, "a checkpoint of permgrad's", "remove it to begin anew, or choose another path"):
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        if str(arrays.pop("digest")) != _digest(arrays):
            raise PermGradError("its content is not what was written; remove it to begin anew")
        return json.loads(str(arrays.pop("work"))), arrays


def _digest(arrays: dict[str, np.ndarray]) -> str:
    """Return the SHA-256 sum of arrays with their names: a damaged file's sums of its parts may still be right."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(_bytes(array))
    return digest.hexdigest()


def fingerprint(data: Inputs, y: np.ndarray) -> dict[str, str]:
    """Return SHA-256 sums of the model (its structure and weights) and of the data."""
    model = hashlib.sha256()
    for layer in data.cut.model.layers:
        settings = json.dumps(plain(_nameless(layer.get_config())), sort_keys=True, default=str)
        model.update(f"{type(layer).__name__} {settings}".encode())
    for weight in data.cut.model.weights:  # without the states of dropout, which a saved model has not
        model.update(_bytes(keras.ops.convert_to_numpy(weight)))
    table = hashlib.sha256(_bytes(y))
    for array in data.arrays:
        for rows in data.blocks(array.width):
            table.update(_bytes(array[rows]))
    return {"model": model.hexdigest(), "data": table.hexdigest()}


def _nameless(settings: Any) -> Any:
    """Leave out names: Keras numbers layers by what else the process has built."""
    if isinstance(settings, dict):
        named = ("name", "build_config")
        return {
            key: _nameless(value)
            for key, value in settings.items()
            if key not in named and "inbound" not in key and "_layers" not in key
        }
    return [_nameless(value) for value in settings] if isinstance(settings, (list, tuple)) else settings


def _bytes(array: np.ndarray) -> Any:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
