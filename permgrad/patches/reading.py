"""Batches of patches, read and decoded by several workers while the network computes."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np

from permgrad.backend import keras
from permgrad.errors import PermGradError
from permgrad.patches.files import Patches, check_labelled

N_SYMMETRIES = 8
Sampling = Literal["plain", "balanced"]


class PatchBatches(keras.utils.PyDataset):
    """Batches of pixels, uint8 (batch, height, width, 3), read from their files as they are needed.

    Several threads read ahead (OpenCV decodes outside of Python's lock), and batches come in order.

    Parameters
    ----------
    patches : Patches
    batch_size : int
    order : ndarray of int, optional
        Rows in the order in which they come, see `epoch_order`; all, as they are, by default.
    labelled : bool
        Give labels too, float32 (batch, 1), and weights if there are.
    positive_weight : float, optional
        Weight of a positive patch in the loss; a negative one has 1.
    symmetries : {1, 8}
        With 8, each patch comes eight times (see `symmetric`), and a batch has so many times as many rows.
    workers : int, optional
        Threads that read; by default one a core.
    """

    def __init__(
        self,
        patches: Patches,
        batch_size: int,
        *,
        order: np.ndarray | None = None,
        labelled: bool = False,
        positive_weight: float | None = None,
        symmetries: int = 1,
        workers: int | None = None,
    ) -> None:
        self.patches, self.batch_size, self.symmetries = patches, batch_size, symmetries
        self.order = np.arange(len(patches)) if order is None else order
        # A single batch has nothing to be read ahead of, and Keras takes 0.1 s to dismiss threads.
        workers = (workers or os.cpu_count() or 1) if len(self) > 1 else 1
        super().__init__(workers=workers, max_queue_size=2 * workers)
        self.labelled, self.positive_weight = labelled, positive_weight
        self.failure: PermGradError | None = None

    def __len__(self) -> int:
        return math.ceil(len(self.order) / self.batch_size)

    def __getitem__(self, batch: int) -> tuple[np.ndarray, ...]:
        rows = self.order[batch * self.batch_size : (batch + 1) * self.batch_size]
        try:
            images = self.patches.pixels(rows)
        except PermGradError as error:
            self.failure = error
            raise
        if self.symmetries > 1:
            images = np.concatenate([symmetric(images, i) for i in range(self.symmetries)])
        if not self.labelled:
            return (images,)
        y = self.patches.y[rows].astype(np.float32)[:, None]  # type: ignore[index]
        if self.positive_weight is None:
            return images, y
        return images, y, np.where(y[:, 0] == 1, np.float32(self.positive_weight), np.float32(1))

    @contextmanager
    def own_errors(self) -> Iterator[None]:
        """Have an error of reading come out of the block as it was raised: a worker's is wrapped by the backend."""
        try:
            yield
        except Exception:
            if self.failure is None:
                raise
            raise self.failure from None


def symmetric(images: np.ndarray, number: int) -> np.ndarray:
    """Turn images by ``number % 4`` quarters counter-clockwise, from 4 on after a flip left to right.

    Parameters
    ----------
    images : ndarray of shape (n, size, size, ...)
    number : int
        0 to 7: the eight symmetries of a square; 0 leaves the images as they are.
    """
    if images.shape[1] != images.shape[2]:
        raise PermGradError(
            f"only square patches have eight symmetries, these are {images.shape[1]} × {images.shape[2]}"
        )
    flipped = images[:, :, ::-1] if number >= 4 else images
    return np.rot90(flipped, number % 4, axes=(1, 2))


def epoch_order(patches: Patches, epoch: int, random_state: int, sampling: Sampling = "plain") -> np.ndarray:
    """Draw the rows of one epoch, in order: as many as there are patches.

    Parameters
    ----------
    patches : Patches
    epoch, random_state : int
        The same numbers give the same order, so a training can begin at any epoch.
    sampling : {"plain", "balanced"}
        "plain": each patch once. "balanced": both classes make up half of the epoch; each patch of a class comes as
        often as any other of it, but for one time.

    Returns
    -------
    ndarray of shape (n_patches,), int
    """
    rng = np.random.default_rng([random_state, epoch])
    if sampling == "plain":
        return rng.permutation(len(patches))
    if sampling != "balanced":
        raise PermGradError(f"sampling must be 'plain' or 'balanced', got {sampling!r}")
    y = check_labelled(patches, "balanced sampling")
    positive = len(y) // 2
    drawn = [_dealt(np.flatnonzero(y == c), n, rng) for c, n in ((0, len(y) - positive), (1, positive))]
    return rng.permutation(np.concatenate(drawn))


def _dealt(rows: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Deal `n` of the rows, all of them before any comes again."""
    rounds: list[Any] = [rng.permutation(rows) for _ in range(math.ceil(n / len(rows)))]
    return np.concatenate(rounds)[:n]
