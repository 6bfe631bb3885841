"""One epoch on a file larger than the memory that it may take: 1,000,000 cells × 2,000 genes, sparse, on disk.

    python -m benchmarks.out_of_core [--rows 1000000] [--genes 2000] [--directory DIR]

The file is generated chunk by chunk; then a process of its own trains the selector network for one epoch and prints
the most memory it held, TensorFlow included, beside what the rows would take in memory, sparse and dense. Above 2 GB
it fails.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from permgrad.data.cells import write_chunks

LIMIT = 2e9
CLASSES = 20
MARKERS = 5
PER_CELL = 100
"""Counts of a cell, drawn with replacement: about 95 genes, 5 % of 2,000."""
CHUNK = 20_000
SEED = 0


def chunks(y: np.ndarray, n_genes: int) -> Iterator[sparse.csr_matrix]:
    """Yield counts of cells whose class y says; a tenth of the counts fall on the class's own markers."""
    rng = np.random.default_rng([SEED, 1])
    cumulated = np.cumsum(rng.lognormal(0, 1, n_genes))
    for start in range(0, len(y), CHUNK):
        own = y[start : start + CHUNK, None]
        genes = np.searchsorted(cumulated, rng.random((len(own), PER_CELL)) * cumulated[-1])
        marked = rng.random(genes.shape) < 0.1
        genes = np.where(marked, own * MARKERS + rng.integers(MARKERS, size=genes.shape), genes)
        ones = np.ones(genes.size, np.float32)
        pointers = np.arange(0, genes.size + 1, PER_CELL)
        counts = sparse.csr_matrix((ones, genes.ravel(), pointers), shape=(len(own), n_genes))
        counts.sum_duplicates()
        counts.data = np.log1p(counts.data)
        yield counts


def generate(path: Path, n_rows: int, n_genes: int) -> float:
    """Write the file; return the seconds it took."""
    begun = time.perf_counter()
    y = np.random.default_rng([SEED, 0]).integers(CLASSES, size=n_rows)
    obs = pd.DataFrame({"type": pd.Categorical([f"type_{c}" for c in y])}, np.arange(n_rows).astype(str))
    var = pd.DataFrame(index=[f"g{i}" for i in range(n_genes)])
    write_chunks(path, chunks(y, n_genes), obs, var)
    return time.perf_counter() - begun


def train(path: Path) -> dict[str, float]:
    """Train for one epoch, rows left on disk; score on the last 20,000 cells."""
    import permgrad as pg

    cells = pg.read_cells(path, "type", on_disk=True)
    n_test = min(20_000, len(cells) // 5)
    rows = np.arange(len(cells))
    before = peak()
    begun = time.perf_counter()
    model = pg.SelectorClassifier(epochs=1, learning_rate=1e-3).fit(cells.take(rows[:-n_test]))
    seconds = time.perf_counter() - begun
    test = cells.take(rows[-n_test:])
    accuracy = float((model.predict(test) == test.y).mean())
    return {"seconds": seconds, "accuracy": accuracy, "peak": peak(), "before": before}


def peak() -> float:
    """Return the most bytes that this process has held."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(most) * (1 if sys.platform == "darwin" else 1024)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--directory", type=Path, help="where the file goes; by default a temporary directory")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.train:
        print(json.dumps(train(options.train)))
        return
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        path = Path(directory) / "cells.h5ad"
        seconds = generate(path, options.rows, options.genes)
        size = path.stat().st_size
        print(f"{options.rows:,} × {options.genes:,}: {size / 1e9:.2f} GB on disk, generated in {seconds:.0f} s")
        command = [sys.executable, "-m", "benchmarks.out_of_core", "--train", str(path)]
        process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
    measured = json.loads(process.stdout.splitlines()[-1])
    print(
        f"one epoch: {measured['seconds']:.0f} s, accuracy {measured['accuracy']:.3f} on cells not seen; at most"
        f" {measured['peak'] / 1e9:.2f} GB, of which {measured['before'] / 1e9:.2f} GB before the first row"
        f" (all rows in memory: {size / 1e9:.2f} GB sparse, {4 * options.rows * options.genes / 1e9:.2f} GB dense)"
    )
    if measured["peak"] > LIMIT:
        sys.exit(f"more than {LIMIT / 1e9:g} GB")


if __name__ == "__main__":
    main()
