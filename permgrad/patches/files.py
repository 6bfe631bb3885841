"""Image patches as ids, files and labels; pixels stay in their files until a batch is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from permgrad.data._splitting import holdout
from permgrad.data.rows import RowFacts
from permgrad.errors import PermGradError, listing


@dataclass(frozen=True, eq=False)
class Patches:
    """Patches, one a row.

    Attributes
    ----------
    ids : tuple of str
    files : tuple of Path
        One image file for each id.
    shape : (int, int, int)
        Height, width and 3 channels (red, green, blue), the same for all.
    y : ndarray of shape (n_patches,), int8, optional
        1 for positive, 0 for negative; None where it is not known.
    groups : ndarray of shape (n_patches,), optional
        The slide or patient of each; None where it is not known.

    Examples
    --------
    >>> patches.shape, len(patches.ids), sorted(set(patches.y.tolist()))
    ((32, 32, 3), 24, [0, 1])
    """

    ids: tuple[str, ...]
    files: tuple[Path, ...]
    shape: tuple[int, int, int]
    y: np.ndarray | None = None
    groups: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Sequence[int] | np.ndarray) -> Patches:
        """Return some of the patches, in the order of `rows`.

        Examples
        --------
        >>> len(patches.take([0, 2]).ids)
        2
        """
        rows = np.asarray(rows, int)
        ids, files = (tuple(values[row] for row in rows) for values in (self.ids, self.files))
        y, groups = (None if values is None else values[rows] for values in (self.y, self.groups))
        return Patches(ids, files, self.shape, y, groups)

    def split(self, share: float = 0.2, *, random_state: int = 0) -> tuple[Patches, Patches]:
        """Return patches to train on, and about that share of them to validate, each label's share kept.

        Whole groups, where groups are known: no slide or patient is on both sides.

        Raises
        ------
        PermGradError
            If there are no labels, or too few patches or groups.

        Examples
        --------
        >>> train, validation = patches.split(0.25)
        >>> len(train.ids), len(validation.ids)
        (18, 6)
        """
        y = pd.Series(check_labelled(self, "a split"))
        if not 0 < share < 1:
            raise PermGradError(f"share must be between 0 and 1, got {share}")
        facts = RowFacts() if self.groups is None else RowFacts.of(len(self), groups=self.groups)
        parts = holdout(y, facts, share, random_state, classes=True)
        return self.take(np.sort(parts[0])), self.take(np.sort(parts[1]))

    def pixels(self, rows: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
        """Read patches into memory: uint8, (n_rows, height, width, 3), red first.

        Raises
        ------
        PermGradError
            If a file cannot be read any more, or has changed its shape.

        Examples
        --------
        >>> patches.pixels([0, 1]).shape
        (2, 32, 32, 3)
        """
        rows = np.arange(len(self)) if rows is None else np.asarray(rows, int)
        images = np.empty((len(rows), *self.shape), np.uint8)
        for i, row in enumerate(rows):
            image = read_patch(self.files[row])
            if image.shape != self.shape:
                raise PermGradError(f"{self.files[row]}: expected an image of {self.shape}, found {image.shape}")
            images[i] = image
        return images


def read_patch(path: Path) -> np.ndarray:
    """Read one image file: uint8, (height, width, 3), red first.

    Raises
    ------
    PermGradError
        If there is no such file, it is damaged, or it is no colour image of 8 bits a channel.
    """
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise PermGradError(f"{path}: {error.strerror}") from error
    # As the file has it: told to give colour, OpenCV would quietly turn grey and 16 bits into it.
    image = cv2.imdecode(content, cv2.IMREAD_UNCHANGED) if content.size else None
    if image is None:
        raise PermGradError(f"{path}: this image cannot be read")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        channels = 1 if image.ndim == 2 else image.shape[2]
        raise PermGradError(f"{path}: expected three channels of 8 bits, found {channels} of {8 * image.itemsize}")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """Keep what OpenCV prints about damaged files off the terminal: they are listed by whoever reads them."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


def check_labelled(patches: Patches, what: str) -> np.ndarray:
    """Return the labels.

    Raises
    ------
    PermGradError
        If there are none, or they are all the same.
    """
    if patches.y is None:
        raise PermGradError(f"{what} needs patches with labels, these have none")
    labels = np.unique(patches.y).tolist()
    if labels != [0, 1]:
        raise PermGradError(f"{what} needs patches of both classes, 0 and 1; found {listing(labels) or 'no patch'}")
    return patches.y


def check_groups_apart(train: Patches, validation: Patches) -> None:
    """Raise if patches of one group are on both sides."""
    if train.groups is None or validation.groups is None:
        return
    both = sorted(set(train.groups.tolist()) & set(validation.groups.tolist()), key=str)
    if both:
        raise PermGradError(
            f"{len(both)} groups have patches to train and patches to validate on, such as {listing(both, 3)}; split by"
            " Patches.split"
        )
