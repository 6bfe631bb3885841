"""Parts of the features, measured apart on several machines, as one: the files that kept them are put together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from permgrad.errors import PermGradError
from permgrad.importance.permuting._checkpoint import Checkpoint, read_checkpoint


def join(paths: Sequence[str | Path], out: str | Path) -> None:
    """Put the checkpoints of parts of the features together.

    The call that measured the parts (see `Budget.part`), with the file as its checkpoint and no part, then measures
    nothing anew, and returns the ranking of all.

    Parameters
    ----------
    paths : sequence of path
        Checkpoints of permutations of the same model, rows and settings.
    out : path

    Raises
    ------
    PermGradError
        If they belong to different work, or to a game.
    """
    read = [read_checkpoint(Path(path)) for path in paths]
    work, joined = read[0][0], {name: array.copy() for name, array in read[0][1].items()}
    for path, (theirs, arrays) in zip(paths, read, strict=True):
        differing = sorted(key for key in {*work, *theirs} if work.get(key) != theirs.get(key))
        if differing or "measured" not in arrays:
            what = f"another {', '.join(differing)} than {paths[0]}" if differing else "a game, which has no parts"
            raise PermGradError(f"{path} belongs to {what}; join only parts that the same call measured")
        new = arrays["measured"] & ~joined["measured"]
        for name, array in arrays.items():
            joined[name][new] = array[new]
    Checkpoint(out, work).write({name: np.asarray(array) for name, array in joined.items()}, now=True)
