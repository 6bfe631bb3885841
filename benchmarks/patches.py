"""Images per second that are decoded, trained and predicted, and which of them is the limit.

    python -m benchmarks.patches [--data DIR] [--backbones SmallCNN EfficientNetB0] [--image-size 224]

Decoding: files into pixels, by one thread, and by one a core. Training and predicting: from pixels in memory, which is
what the network alone can do, and from files, as they are used. Where files cost nothing, both are alike: workers read
ahead while the network computes. Without --data, on drawn patches. Weights are random: speed does not depend on them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import permgrad as pg
from permgrad.backend import has_accelerator, keras
from permgrad.patches.files import read_patch
from permgrad.patches.planted import write_planted_patches
from permgrad.patches.predicting import predict_logits
from permgrad.patches.reading import PatchBatches

REPEATS = 3
ENOUGH = 0.9
"""Of the network's own rate: what training from files must reach for the network to be the limit."""


@dataclass(frozen=True, eq=False)
class InMemory(pg.Patches):
    """Patches whose pixels were read before."""

    images: np.ndarray | None = None

    def pixels(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Return them."""
        return self.images[:] if rows is None else self.images[rows]  # type: ignore[index]


def per_second(work: Callable[[], object], images: int) -> float:
    """Return images per second: the median of repeats, after one that does not count."""
    work()
    seconds = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return images / statistics.median(seconds)


def decoding(patches: pg.Patches) -> dict[str, float]:
    """Return the rates of reading, by threads, and of batches put together."""

    def read(threads: int) -> None:
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(read_patch, patches.files, chunksize=64):
                pass

    def batches() -> None:
        made = PatchBatches(patches, 64)
        with ThreadPoolExecutor(made.workers) as pool:
            for _ in pool.map(made.__getitem__, range(len(made))):
                pass

    cores = os.cpu_count() or 1
    rates = {f"decoded, {n} thread{'s' * (n > 1)}": per_second(lambda n=n: read(n), len(patches)) for n in (1, cores)}
    return {**rates, f"decoded into batches, {cores} threads": per_second(batches, len(patches))}


def networks(name: str, size: int | None, files: pg.Patches, memory: InMemory, batch_size: int) -> dict[str, float]:
    """Return the rates of one backbone."""
    model = pg.backbone_classifier(
        name, weights="random", patch_shape=files.shape, image_size=size, augmentation=pg.Augmentation()
    )
    given = pg.PatchTraining(epochs=1 + REPEATS, batch_size=batch_size)
    # Validation is not what is timed: one patch of each class.
    few = files.take(np.r_[np.flatnonzero(files.y == 0)[:1], np.flatnonzero(files.y == 1)[:1]])

    def trained(patches: pg.Patches) -> float:
        return float(pg.fit_patches(model, patches, few, given)["images_per_second"][1:].median())

    rates = {}
    for place, patches in (("memory", memory), ("files", files)):
        rates[f"trained from {place}"] = trained(patches)
        rates[f"predicted from {place}"] = per_second(lambda p=patches: predict_logits(model, p), len(files))
    return rates


def limit(decoded: float, rates: dict[str, float], what: str) -> str:
    """Say which is the limit of training or predicting."""
    alone = rates[f"{what} from memory"]
    share = rates[f"{what} from files"] / alone
    if decoded < alone:
        return f"reading is the limit, {share:.0%} of what the network could do"
    spare = f"reading alone could do {decoded / alone:.3g} times as many"
    if share >= ENOUGH:
        return f"the network is the limit, at {share:.0%} of its own rate; {spare}"
    return f"the network is the limit, but loses {1 - share:.0%} to the reading beside it; {spare}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="train_labels.csv and train/; by default drawn patches")
    parser.add_argument("--backbones", nargs="+", default=["SmallCNN", "EfficientNetB0"])
    parser.add_argument("--image-size", type=int, help="by default the patches' own")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        if options.data is None:
            write_planted_patches(directory, options.images, 0)
        check = pg.check_patches(options.data or directory)
        files = check.train.take(range(min(options.images, len(check.train))))
        memory = InMemory(files.ids, files.files, files.shape, files.y, images=files.pixels())
        where = "an accelerator" if has_accelerator() else f"{os.cpu_count()} cores"
        print(f"{len(files)} patches of {files.shape[0]} × {files.shape[1]}, {where}; images a second")
        rates = decoding(files)
        for name, rate in rates.items():
            print(f"{name:<40}{rate:>10,.0f}")
        for backbone in options.backbones:
            of_network = networks(backbone, options.image_size, files, memory, options.batch)
            print(f"\n{backbone}")
            for name, rate in of_network.items():
                print(f"{name:<40}{rate:>10,.0f}")
            for what in ("trained", "predicted"):
                print(f"{what}: {limit([*rates.values()][-1], of_network, what)}", flush=True)
            keras.utils.clear_session(free_memory=False)


if __name__ == "__main__":
    main()
