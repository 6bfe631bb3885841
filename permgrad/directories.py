"""Directories of results: whole at every moment, by one writer at a time, and never somebody else's files.

A directory that we wrote lists its files in ``manifest.json``. It is replaced only where it holds nothing else. What
is being written lies beside it, in ``.<name>.writing``, which names its process: another run finds the place taken,
or takes over from a process that is dead.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from permgrad.errors import FileFormatError, PermGradError, listing
from permgrad.files import flush, read_json, write_json

MANIFEST = "manifest.json"
KIND = "permgrad.Manifest"
OWNER = "owner.json"
OWNER_KIND = "permgrad.Owner"
STUDY_FILE = "study.json"
"""A directory that holds this has a study in it, which is never replaced."""
STUDY_SUMMARY = "tuning.json"
"""What a study came to, written last, beside the files that its manifest lists."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
"""What the operating system says of a disk that takes no more."""
EXCHANGE = 2
"""Flag of Linux's ``renameat2``: both names exist before and after."""
CURRENT = -100
"""``AT_FDCWD``: paths are not relative to an open directory."""


@contextmanager
def new_directory(
    path: str | Path, *, overwrite: bool = False, protected: Iterable[str | Path] = (), needs: int = 0
) -> Iterator[Path]:
    """Yield an empty directory that becomes `path` when the block ends without an error.

    Entering the block already fails where `path` cannot be written, exists, or is being written by another process, so
    that long work inside it is not lost at its end. A directory that is overwritten stays until the new one is whole;
    then both change places at once, where the system can do that.

    Parameters
    ----------
    path : path
    overwrite : bool
        Replace a directory that permgrad wrote.
    protected : paths
        Files and directories that are in use, such as the table that is read: no directory that holds one of them is
        replaced. Nor is the working directory.
    needs : int
        Bytes that will be written, about; so many must be free.

    Raises
    ------
    PermGradError
        If `path` exists and `overwrite` is false, is a file, holds files that permgrad did not write, holds something
        protected, is being written by another process, or cannot be written; if the disk has too little space.
    """
    path = Path(path).resolve()
    _check_replaceable(path, overwrite, protected)
    made = _make_parents(path)
    try:
        _check_space(path, needs)
        with _claimed(path) as place:
            _check_replaceable(path, overwrite, protected)
            staging = place / "new"
            staging.mkdir()
            try:
                yield staging
                _finish(staging)
            except OSError as error:
                if error.errno not in FULL:
                    raise
                raise PermGradError(
                    f"cannot write {path}: {error.strerror}; make room, or choose another disk"
                ) from error
            _put(staging, path, overwrite, protected)
    finally:
        for parent in made:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()


def is_study(path: Path) -> bool:
    """Tell whether tuning made the directory `path`."""
    return (path / STUDY_FILE).is_file()


def move_into(source: Path, directory: Path) -> None:
    """Rename everything in `source` to its name in `directory`, and add it to the manifest there.

    What we wrote there before is replaced, each file by a whole one.

    Raises
    ------
    PermGradError
        Before anything is moved, if a name is taken by a file that permgrad did not write.
    """
    new, known = _files(source), _written(directory) or set()
    taken = sorted(name for name in new if name not in known and (directory / name).exists())
    if taken:
        raise PermGradError(f"{directory} holds files that permgrad did not write: {listing(taken)}; move them away")
    write_json(directory / MANIFEST, {"kind": KIND, "files": sorted(known | new)})
    for name in sorted(new):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).replace(directory / name)


def _check_replaceable(path: Path, overwrite: bool, protected: Iterable[str | Path]) -> None:
    """Raise unless `path` is absent, empty, or may be replaced."""
    if path.exists() and not path.is_dir():
        raise PermGradError(f"expected a directory at {path}, found a file; choose another path")
    if path in (Path.cwd(), *Path.cwd().parents):
        raise PermGradError(
            f"{path} is the working directory, or one above it, and is kept; choose a directory of its own"
        )
    if not path.is_dir() or not any(path.iterdir()):
        return
    if not overwrite:
        raise PermGradError(f"{path} exists already and is kept; choose another path, or overwrite it (--overwrite)")
    if is_study(path):
        raise PermGradError(f"{path} holds a tuning study and is kept; choose another path, or remove it yourself")
    inside = [str(one) for one in protected if path in (Path(one).resolve(), *Path(one).resolve().parents)]
    if inside:
        raise PermGradError(f"{path} holds {listing(inside)}, which is in use, and is kept; choose another path")
    foreign = _foreign(path)
    if foreign:
        raise PermGradError(
            f"{path} holds files that permgrad did not write, and is kept: {listing(foreign)}; choose another path, or"
            " move them"
        )


def _check_space(path: Path, needs: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if free < needs:
        raise PermGradError(
            f"results need about {needs / 1e6:,.0f} MB, the disk of {path} has {free / 1e6:,.0f} MB left; make room,"
            " or choose another disk"
        )


def _files(directory: Path) -> set[str]:
    """Return the names of all files below, and of directories without any; the manifest is not among them."""
    inside = [
        path for path in directory.rglob("*") if path.is_symlink() or not path.is_dir() or not any(path.iterdir())
    ]
    return {path.relative_to(directory).as_posix() for path in inside} - {MANIFEST}


def _written(directory: Path) -> set[str] | None:
    """Return the names that the manifest lists; None without a manifest."""
    if not (directory / MANIFEST).is_file():
        return None
    try:
        return set(read_json(directory / MANIFEST, kind=KIND)["files"])
    except (FileFormatError, KeyError, TypeError):
        return None  # a manifest that cannot be read vouches for nothing


def _foreign(directory: Path) -> list[str]:
    """Return the names of files that we did not write."""
    written = _written(directory)
    if written is None and (directory / MANIFEST).exists():
        return sorted({*_files(directory), MANIFEST})
    return sorted(_files(directory) - (written or set()))


def _make_parents(path: Path) -> list[Path]:
    """Make the directories above, and return those made, the lowest first."""
    absent = [parent for parent in path.parents if not parent.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PermGradError(f"cannot write to {path}: {error.strerror}; choose a writable directory") from error
    return absent


def _finish(staging: Path) -> None:
    """Write the manifest, and have all files on the disk itself."""
    write_json(staging / MANIFEST, {"kind": KIND, "files": sorted(_files(staging))})
    staging.chmod(0o777 & ~_umask())
    for written in staging.rglob("*"):
        flush(written)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# One writer at a time.


@contextmanager
def _claimed(path: Path) -> Iterator[Path]:
    """Yield the place beside `path` where this process alone writes."""
    place = path.with_name(f".{path.name}.writing")
    _sweep(path)
    try:
        mine = Path(tempfile.mkdtemp(prefix=f".{path.name}.{os.getpid()}-", dir=path.parent))
    except OSError as error:
        raise PermGradError(f"cannot write to {path}: {error.strerror}; choose a writable directory") from error
    try:
        write_json(mine / OWNER, {"kind": OWNER_KIND, **_this_process()})
        _claim(mine, place, path)
        yield place
    finally:
        shutil.rmtree(mine if mine.exists() else place, ignore_errors=True)


def _claim(mine: Path, place: Path, path: Path) -> None:
    while True:
        try:
            return os.rename(mine, place)  # fails where `place` is: it is never empty
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        owner = _owner(place)
        if owner is not None and _is_alive(owner):
            raise PermGradError(
                f"process {owner['pid']} on {owner['host']} is writing {path}; wait for it, or choose another path"
            )
        _take_over(place, path)


def _take_over(place: Path, path: Path) -> None:
    """Clear what a dead process left; what it had begun to replace without an exchange is put back."""
    dead = place.with_name(f"{place.name}-{os.getpid()}")
    try:
        place.rename(dead)  # of two that find it dead, one gets it
    except FileNotFoundError:
        return
    _clear(dead, path)


def _clear(dead: Path, path: Path) -> None:
    old = dead / "old"
    if old.is_dir() and not path.exists():
        old.rename(path)
    for version in (dead / "new", old):
        if _written(version) is not None:
            _keep_foreign(version, path)
    shutil.rmtree(dead, ignore_errors=True)


def _sweep(path: Path) -> None:
    """Remove what dead processes left beside `path` before or after they had their turn."""
    ours = re.compile(re.escape(f".{path.name}.") + r"(?:writing-)?(\d+)(?:-\w+)?")
    for left in path.parent.iterdir():
        name = ours.fullmatch(left.name)
        if name and not _is_alive(_owner(left) or {"pid": int(name[1])}):
            _clear(left, path)


def _owner(place: Path) -> dict[str, Any] | None:
    """Return the process that a place names; None where there is none, or none any more."""
    try:
        return read_json(place / OWNER, kind=OWNER_KIND)
    except FileFormatError:
        return None


def _this_process() -> dict[str, Any]:
    import psutil

    return {"pid": os.getpid(), "created": psutil.Process().create_time(), "host": socket.gethostname()}


def _is_alive(owner: dict[str, Any]) -> bool:
    """Tell whether a process is still there; of another machine's, nothing is known, so it counts as alive."""
    import psutil

    here = socket.gethostname()
    if owner.get("host", here) != here:
        return True
    try:
        created = psutil.Process(owner["pid"]).create_time()
        return abs(created - owner.get("created", created)) < 1
    except psutil.NoSuchProcess:
        return False


# From beside it into its place.


def _put(staging: Path, path: Path, overwrite: bool, protected: Iterable[str | Path]) -> None:
    """Rename `staging` to `path`; where the place was taken meanwhile, to a free name beside it."""
    try:
        _check_replaceable(path, overwrite, protected)
        if path.is_dir() and any(path.iterdir()):
            _exchange(staging, path)
            _keep_foreign(staging if staging.is_dir() else staging.with_name("old"), path)
        else:
            os.rename(staging, path)
    except (OSError, PermGradError) as error:
        kept = next(other for i in range(1, 1000) if not (other := path.with_name(f"{path.name}-{i}")).exists())
        if staging.is_dir():
            staging.rename(kept)
        reason = error.strerror if isinstance(error, OSError) else error
        raise PermGradError(f"{reason}; the new results are in {kept}") from error


def _exchange(staging: Path, path: Path) -> None:
    """Let two directories change places: at once where Linux's ``renameat2`` is there, else one after the other."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if os.name == "posix" else None
    if rename is not None:
        paths = (CURRENT, os.fsencode(staging), CURRENT, os.fsencode(path))
        if rename(*paths, EXCHANGE) == 0:
            return
        if ctypes.get_errno() not in (errno.EINVAL, errno.ENOSYS):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    os.rename(path, staging.with_name("old"))  # a death here is mended by the next run, see `_take_over`
    os.rename(staging, path)


def _keep_foreign(old: Path, path: Path) -> None:
    """Bring files that somebody put into a directory while it was being replaced to its successor."""
    for name in _foreign(old) if old.is_dir() else ():
        target = path / name
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            os.rename(old / name, target)
