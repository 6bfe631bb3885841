"""Where a study's data are."""

from __future__ import annotations

import os
from pathlib import Path

from permgrad.errors import PermGradError


def find_data(name: str, advice: str) -> Path:
    """Return the path of a file or directory: as it is given, or in the directory that PERMGRAD_DATA names.

    Raises
    ------
    PermGradError
        With `advice`, if it is in neither place.
    """
    places = (Path(name), Path(os.environ.get("PERMGRAD_DATA", ".")) / name)
    path = next((place for place in places if place.exists()), None)
    if path is None:
        raise PermGradError(f"there is no {name}, neither here nor in the directory that PERMGRAD_DATA names; {advice}")
    return path
