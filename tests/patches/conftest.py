"""Small directories of drawn patches."""

from __future__ import annotations

from pathlib import Path

import pytest

import permgrad as pg
from permgrad.patches.planted import write_planted_patches


@pytest.fixture(scope="session")
def directory(tmp_path_factory) -> Path:
    """40 labelled patches and 6 others, of 48 × 48 pixels."""
    path = tmp_path_factory.mktemp("patches")
    write_planted_patches(path, 40, 6, size=48)
    return path


@pytest.fixture(scope="session")
def patches(directory) -> pg.Patches:
    return pg.check_patches(directory).train
