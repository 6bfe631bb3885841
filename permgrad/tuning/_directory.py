"""A study's results directory: its own, and nobody else's."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

import optuna

from permgrad.directories import STUDY_FILE, is_study
from permgrad.errors import PermGradError
from permgrad.files import read_json, write_json
from permgrad.tuning._job import Job
from permgrad.tuning.storage import STUDY_KIND, hide_password

SUBDIRECTORIES = ("trials", "artifacts")
"""Directories of a study, made before its marker is written."""


def check_directory(job: Job) -> None:
    """Raise unless the results directory can be made, is empty, or is of the same study in the same storage."""
    directory = job.directory
    if set(str(directory)) & set("?{}"):
        raise PermGradError(f"a results directory's path may not hold any of ? {{ }}, got {directory}; choose another")
    if is_study(directory):
        known = read_json(directory / STUDY_FILE, kind=STUDY_KIND)
        if {**known, **_marker(job)} != known:
            raise PermGradError(
                f"{directory} belongs to study {known['study']!r} in {known['storage']}, not of {job.name!r} in"
                f" {hide_password(job.url)}; choose another directory (out)"
            )
    elif directory.is_dir() and _foreign(job):
        raise PermGradError(
            f"{directory} holds files that do not belong to a study, and is kept; choose another directory (out)"
        )


def begin(job: Job) -> optuna.Study:
    """Open the study, and make its results directory."""
    directories = (job.networks, job.artifacts)
    made = [path for one in directories for path in (one, *one.parents) if not path.exists()]
    try:
        for directory in directories:
            directory.mkdir(parents=True, exist_ok=True)
        study = job.open()[0]
        if not is_study(job.directory):
            write_json(job.directory / STUDY_FILE, _marker(job))
    except OSError as error:
        _remove_empty(made)
        raise PermGradError(
            f"cannot write to {job.directory}: {error.strerror}; choose a writable directory (out)"
        ) from error
    except PermGradError:
        _remove_empty(made)
        raise
    return study


def _remove_empty(directories: list[Path]) -> None:
    """Remove those of the directories that are there and empty, the deepest first."""
    for directory in sorted(set(directories), key=lambda path: -len(path.parts)):
        if directory.is_dir() and not any(directory.iterdir()):
            directory.rmdir()


def _marker(job: Job) -> dict[str, str]:
    return {"kind": STUDY_KIND, "study": job.name, "storage": hide_password(job.url)}


def _foreign(job: Job) -> set[str]:
    """Name the files of a results directory without a marker that are no study's."""
    found = set(os.listdir(job.directory)) - {*SUBDIRECTORIES, *_own_files(job)}
    # A process that died while it wrote the marker left a part of it, which is removed when that is written.
    return {name for name in found if not (name.startswith(f".{STUDY_FILE}.") and name.endswith(".part"))}


def _own_files(job: Job) -> set[str]:
    """Name files of the study's storage, which may lie in its results directory before anything else does."""
    file = urlsplit(job.url).path.rsplit("/", 1)[-1]
    return {file, f"{file}-journal", f"{file}.lock"}
