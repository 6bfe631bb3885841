"""Files of cells larger than the memory that they may take.

    python -m benchmarks.out_of_core [--rows 1000000] [--genes 2000] [--directory DIR]
    python -m benchmarks.out_of_core --panel [--rows 38000] [--genes 38000] [--directory DIR]

The file is generated chunk by chunk. The first command then trains the selector network for one epoch, in a process of
its own, on rows that stay on disk, and prints the most memory it held, TensorFlow included, beside what the rows would
take in memory, sparse and dense. Above 2 GB it fails.

The second runs `permgrad panel` on counts, once on 2,000 variable genes and once on all, with two short trainings each,
and prints its most memory, its processor time, and how many of the planted markers are in the panel. Above 4 GB it
fails.
"""

from __future__ import annotations

import argparse
import json
import os
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

LIMIT, PANEL_LIMIT = 2e9, 4e9
CLASSES = 20
MARKERS = 5
PER_CELL, PANEL_PER_CELL = 100, 3000
"""Counts of a cell, drawn with replacement: about 95 genes, 5 % of 2,000; or about 2,600 genes, 7 % of 38,000."""
ON_MARKERS, PANEL_ON_MARKERS = 0.1, 0.01
"""Share of a cell's counts on its class's own markers. Ten per cent of 3,000 would make them the 100 strongest genes,
which are compared with each other alone: by dispersion, none of them would stand out."""
CHUNK = 2_000_000
"""Counts that are drawn at a time."""
SEED = 0
PANEL = ("--target", "type", "--counts", "--n-trainings", "2", "--steps", "150")
"""Of each run of `permgrad panel`; it is the memory that is measured, and more trainings would take no more."""


def chunks(y: np.ndarray, n_genes: int, per_cell: int, on_markers: float) -> Iterator[sparse.csr_matrix]:
    """Yield counts of cells whose class y says; a share of them falls on the class's own markers, g0, g1, ..."""
    rng = np.random.default_rng([SEED, 1])
    cumulated = np.cumsum(rng.lognormal(0, 1, n_genes))
    n_rows = CHUNK // per_cell
    for start in range(0, len(y), n_rows):
        own = y[start : start + n_rows, None]
        genes = np.searchsorted(cumulated, rng.random((len(own), per_cell)) * cumulated[-1])
        marked = rng.random(genes.shape) < on_markers
        genes = np.where(marked, own * MARKERS + rng.integers(MARKERS, size=genes.shape), genes)
        ones = np.ones(genes.size, np.float32)
        pointers = np.arange(0, genes.size + 1, per_cell)
        counts = sparse.csr_matrix((ones, genes.ravel(), pointers), shape=(len(own), n_genes))
        counts.sum_duplicates()
        yield counts


def generate(path: Path, n_rows: int, n_genes: int, *, panel: bool) -> None:
    """Write the file, of counts for a panel and of their logarithms otherwise; print its size and the time it took."""
    begun = time.perf_counter()
    y = np.random.default_rng([SEED, 0]).integers(CLASSES, size=n_rows)
    obs = pd.DataFrame({"type": pd.Categorical([f"type_{c}" for c in y])}, np.arange(n_rows).astype(str))
    var = pd.DataFrame(index=[f"g{i}" for i in range(n_genes)])
    counts = chunks(y, n_genes, *((PANEL_PER_CELL, PANEL_ON_MARKERS) if panel else (PER_CELL, ON_MARKERS)))
    write_chunks(path, counts if panel else (each.log1p() for each in counts), obs, var)
    seconds, size = time.perf_counter() - begun, path.stat().st_size
    print(f"{n_rows:,} × {n_genes:,}: {size / 1e9:.2f} GB on disk, generated in {seconds:.0f} s", flush=True)


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
    return in_bytes(resource.getrusage(resource.RUSAGE_SELF))


def in_bytes(usage: resource.struct_rusage) -> float:
    """Return the most bytes that were held: Linux counts them in KiB."""
    return float(usage.ru_maxrss) * (1 if sys.platform == "darwin" else 1024)


def measure_epoch(path: Path, n_rows: int, n_genes: int) -> float:
    """Train for an epoch in a process of its own; print what it took, and return the most bytes."""
    command = [sys.executable, "-m", "benchmarks.out_of_core", "--train", str(path)]
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
    measured = json.loads(process.stdout.splitlines()[-1])
    print(
        f"one epoch: {measured['seconds']:.0f} s, accuracy {measured['accuracy']:.3f} on cells not seen; at most"
        f" {measured['peak'] / 1e9:.2f} GB, of which {measured['before'] / 1e9:.2f} GB before the first row"
        f" (all rows in memory: {path.stat().st_size / 1e9:.2f} GB sparse, {4 * n_rows * n_genes / 1e9:.2f} GB dense)"
    )
    return float(measured["peak"])


def measure_panel(path: Path, name: str, *options: str) -> float:
    """Choose a panel in a process of its own; print what it took and found, and return the most bytes."""
    out = path.parent / "panel"
    command = [sys.executable, "-m", "permgrad", "panel", str(path), "--out", str(out), "--overwrite"]
    process = subprocess.Popen([*command, *PANEL, *options], stdout=subprocess.PIPE, text=True)  # noqa: S603
    said = process.stdout.read() if process.stdout else ""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"permgrad panel ended with {process.returncode}")
    markers = {f"g{i}" for i in range(CLASSES * MARKERS)}
    n_found = len(markers & {*(out / "panel.txt").read_text(encoding="utf-8").split()})
    print(
        f"{name}: at most {in_bytes(usage) / 1e9:.2f} GB, {usage.ru_utime + usage.ru_stime:.0f} processor seconds;"
        f" {n_found} of {len(markers)} markers in the panel\n{said}",
        flush=True,
    )
    return in_bytes(usage)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--panel", action="store_true", help="choose panels, in place of an epoch")
    parser.add_argument("--rows", type=int, help="by default 1,000,000; with --panel 38,000")
    parser.add_argument("--genes", type=int, help="by default 2,000; with --panel 38,000")
    parser.add_argument("--directory", type=Path, help="where the file goes; by default a temporary directory")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.train:
        print(json.dumps(train(options.train)))
        return
    n_rows, n_genes = options.rows or (38_000 if options.panel else 1_000_000), options.genes
    n_genes = n_genes or (38_000 if options.panel else 2000)
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        path = Path(directory) / "cells.h5ad"
        generate(path, n_rows, n_genes, panel=options.panel)
        if options.panel:
            variable = measure_panel(path, "2,000 variable genes", "--genes", "2000")
            most, limit = max(variable, measure_panel(path, "all genes")), PANEL_LIMIT
        else:
            most, limit = measure_epoch(path, n_rows, n_genes), LIMIT
    if most > limit:
        sys.exit(f"more than {limit / 1e9:g} GB")


if __name__ == "__main__":
    main()
