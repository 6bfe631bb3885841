"""Drawn patches whose label is known to depend on one thing: large nuclei in the middle."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from permgrad.errors import PermGradError
from permgrad.files import new_file
from permgrad.patches.checks import LABELS

GLASS, STROMA = (243, 240, 244), (222, 160, 198)
SMALL, LARGE = (92, 60, 130), (128, 84, 158)
"""Colours of small and large nuclei; red first."""


def write_planted_patches(
    directory: str | Path, n_train: int = 48, n_test: int = 12, *, size: int = 96, random_state: int = 0
) -> np.ndarray:
    """Draw patches in the layout that `permgrad.patches.checks.check_patches` reads.

    Each patch is pink tissue with small dark nuclei all over, a part of it bare glass. A positive one has, within the
    third in its middle, three to six nuclei that are twice as large and paler; nothing else differs.

    Parameters
    ----------
    directory : path
        Made if it is absent: ``train_labels.csv``, ``train/`` and ``test/``.
    n_train, n_test : int
        Every second training patch is positive.
    size : int
        Height and width in pixels.
    random_state : int

    Returns
    -------
    ndarray of shape (n_test,), int8
        The labels of the test patches, in the order of their names: the directory does not have them.
    """
    if n_train < 4 or n_test < 0 or size < 32:
        raise PermGradError(
            f"needs 4 patches to train on and 32 pixels, got n_train={n_train}, n_test={n_test}, size={size}"
        )
    directory = Path(directory)
    labels = {"train": np.arange(n_train) % 2, "test": np.arange(n_test) % 2}
    labelled: dict[str, list[tuple[str, int]]] = {}
    for part, y in labels.items():
        (directory / part).mkdir(parents=True, exist_ok=True)
        names = [
            hashlib.sha1(f"{random_state} {part} {i}".encode(), usedforsecurity=False).hexdigest()
            for i in range(len(y))
        ]
        labelled[part] = list(zip(names, y.tolist(), strict=True))
        for i, (name, label) in enumerate(labelled[part]):
            image = draw_patch(np.random.default_rng([random_state, part == "test", i]), bool(label), size)
            _, content = cv2.imencode(".tif", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
            with new_file(directory / part / f"{name}.tif") as path:
                path.write_bytes(content.tobytes())
    with new_file(directory / LABELS) as path:
        pd.DataFrame(labelled["train"], columns=["id", "label"]).to_csv(path, index=False)
    return np.array([label for _, label in sorted(labelled["test"])], np.int8)


def draw_patch(rng: np.random.Generator, positive: bool, size: int = 96) -> np.ndarray:
    """Draw one patch: uint8, (size, size, 3), red first."""
    image = np.empty((size, size, 3), np.uint8)
    image[:] = np.clip(np.array(STROMA) + rng.normal(0, 8, 3), 0, 255)
    for at in rng.uniform(0, size, (int(rng.integers(20, 50) * (size / 96) ** 2), 2)):
        _nucleus(image, at, rng.uniform(2, 3) * size / 96, SMALL, rng)
    glass = rng.uniform(0, size / 4)  # along one edge, any of four
    image[: int(glass)] = GLASS
    image = np.ascontiguousarray(np.rot90(image, int(rng.integers(4))))
    if positive:
        for at in rng.uniform(size * 0.37, size * 0.63, (int(rng.integers(3, 7)), 2)):
            _nucleus(image, at, rng.uniform(4.5, 6) * size / 96, LARGE, rng)
    noise = rng.normal(0, 5, image.shape)
    return np.clip(cv2.GaussianBlur(image, (3, 3), 0) + noise, 0, 255).astype(np.uint8)


def _nucleus(
    image: np.ndarray, at: np.ndarray, radius: float, colour: tuple[int, ...], rng: np.random.Generator
) -> None:
    axes = (max(1, round(radius * rng.uniform(0.8, 1.2))), max(1, round(radius)))
    shade = (np.array(colour) + rng.normal(0, 8, 3)).clip(0, 255)
    cv2.ellipse(image, (int(at[0]), int(at[1])), axes, rng.uniform(0, 180), 0, 360, shade.tolist(), -1, cv2.LINE_AA)
