"""Slides and patients, read from the ids of patches."""

from __future__ import annotations

import re

from permgrad.errors import PermGradError, listing

KINDS_OF_GROUP = ("slide", "patient")
NAMES = (
    re.compile(r"(?P<slide>(?P<patient>patient_\d+)_node_\d+)(?!\d)", re.IGNORECASE),
    re.compile(r"(?P<slide>(?P<patient>TCGA-[A-Z0-9]{2}-[A-Z0-9]{4})(-[A-Z0-9]+)*)", re.IGNORECASE),
    re.compile(r"(?<![a-z])(?P<slide>(tumor|normal|test)_\d{3})(?!\d)", re.IGNORECASE),
)
"""Ids of Camelyon17, with patient and lymph node; barcodes of TCGA; ids of Camelyon16, which do not name patients."""


def group_of_id(name: str, kind: str = "slide") -> str | None:
    """Return the slide or patient that the id of a patch names.

    Parameters
    ----------
    name : str
        An id like those of Camelyon17 (``patient_004_node_4_x_3328_y_21792``), Camelyon16 (``tumor_001_3328_21792``) or
        TCGA (``TCGA-AB-1234-01Z-00-DX1_3328_21792``), with any text before or after it.
    kind : {"slide", "patient"}

    Returns
    -------
    str or None
        None if the id does not name one. Camelyon16 does not name patients.

    Examples
    --------
    >>> pg.group_of_id("TCGA-A1-A0SB-01Z-00-DX1_12_34", "patient")
    'TCGA-A1-A0SB'
    """
    if kind not in KINDS_OF_GROUP:
        raise PermGradError(f"kind must be one of {listing(KINDS_OF_GROUP)}, got {kind!r}")
    for pattern in NAMES:
        found = pattern.search(name)
        if found:
            return found.groupdict().get(kind)
    return None
