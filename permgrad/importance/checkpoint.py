"""Long work that can be stopped: what is done is kept in a file, and taken up again by the same work only."""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from permgrad.backend import keras
from permgrad.errors import FileFormatError, PermGradError
from permgrad.files import new_file, plain
from permgrad.importance.inputs import Inputs

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
        try:
            with np.load(self.path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            theirs = json.loads(str(arrays.pop("work")))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise FileFormatError(f"{self.path} is no checkpoint of permgrad's ({error}); choose another") from error
        ours = json.loads(self.work)
        differing = sorted(key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key))
        if differing:
            raise PermGradError(
                f"the checkpoint {self.path} was written with another {', '.join(differing)}; remove it to begin anew,"
                " or choose another path"
            )
        return arrays

    def write(self, *, now: bool = False, **arrays: np.ndarray) -> None:
        """Keep these arrays, if the last time is long enough ago."""
        if self.path is None or not (now or time.monotonic() - self._written > SECONDS_BETWEEN):
            return
        with new_file(self.path) as temporary, temporary.open("wb") as file:
            np.savez(file, work=np.array(self.work), **arrays)  # type: ignore[arg-type]
        self._written = time.monotonic()


def fingerprint(data: Inputs, y: np.ndarray) -> dict[str, str]:
    """Return SHA-256 sums of the model (its structure and weights) and of the data."""
    model = hashlib.sha256()
    for layer in data.cut.model.layers:
        # Without its name, which depends on what else the process has built.
        settings = {key: value for key, value in layer.get_config().items() if key != "name"}
        model.update(f"{type(layer).__name__} {json.dumps(plain(settings), sort_keys=True, default=str)}".encode())
    for weight in data.cut.model.variables:
        model.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).data)
    table = hashlib.sha256(np.ascontiguousarray(y).data)
    for array in data.arrays:
        for rows in data.blocks(array.width):
            table.update(np.ascontiguousarray(array[rows]).data)
    return {"model": model.hexdigest(), "data": table.hexdigest()}
