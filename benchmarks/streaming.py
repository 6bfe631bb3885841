"""A table larger than the memory it may take, in Parquet files: fitted, scored and ranked within 4 GB.

    python -m benchmarks.streaming [--rows 1_000_000] [--epochs 2] [--tolerance 0.02] [--directory DIR]

Part files of 50 columns are generated; then a process of its own fits a hybrid network, scores all test rows and ranks
the columns. Printed are times, the most memory that it held, TensorFlow included, and how far the same rows in memory
lead elsewhere: a network trained on them in the same order, and the ranking. Above the limit, or where either differs,
it fails. ``--rows 20_000_000`` takes 8 GB of disk, and would take as much in memory several times over.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.out_of_core import peak

LIMIT = 4e9
NUMBERS, CATEGORIES = 45, 5
PART, GROUP = 500_000, 100_000
COMPARED, RANKED = 20_000, 200
SAME_NETWORK, SAME_RANKING = 1e-4, 1e-6
SEED = 0


def part(number: int, n_rows: int) -> pd.DataFrame:
    """Return the rows of one file: 45 numbers, of which four tell the label, and 5 categories, of which one does."""
    rng = np.random.default_rng([SEED, number])
    values = rng.standard_normal((n_rows, NUMBERS))
    frame = pd.DataFrame(values, columns=[f"x{i}" for i in range(NUMBERS)])
    levels = np.array(list("abcdefghij"))
    for i in range(CATEGORIES):
        frame[f"kind{i}"] = pd.Categorical.from_codes(rng.integers(10, size=n_rows), levels)
    told = values[:, 0] + values[:, 1] * values[:, 2] + np.sin(2 * values[:, 3]) + (frame["kind0"].cat.codes > 6)
    frame["y"] = np.where(told + 0.3 * rng.standard_normal(n_rows) > 0, "yes", "no")
    return frame


def generate(directory: Path, n_rows: int) -> None:
    """Write the part files."""
    for number, start in enumerate(range(0, n_rows, PART)):
        frame = part(number, min(PART, n_rows - start))
        frame.to_parquet(directory / f"part-{number:03}.parquet", row_group_size=GROUP, index=False)


def measure(directory: Path, epochs: int, tolerance: float) -> dict[str, float]:
    """Fit, score and rank by blocks; then compare with the same rows in memory."""
    import permgrad as pg
    from permgrad.metrics.scores import scores

    measured: dict[str, float] = {"before": peak()}
    begun = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal begun
        measured[name] = time.perf_counter() - begun
        begun = time.perf_counter()

    train, val, test = pg.StreamedTable.from_files(directory, "y").split()
    lap("target")
    model = pg.HybridClassifier(preset="fast", epochs=epochs).fit(train, validation_data=val)
    lap("fit")
    tested = scores(model, test)
    lap("score")
    ranking = model.rank_features(test, budget=pg.Budget(tolerance=tolerance), verbose=False)
    lap("rank")
    measured |= {"peak": peak(), "train": len(train), "test": len(test), "accuracy": tested["accuracy"]}
    measured |= {"drawn": ranking.settings["drawn"]["rows"], "reached": ranking.settings["drawn"]["reached"]}
    measured["found"] = len({"x0", "x1", "x2", "x3", "kind0"} & set(ranking.select(5)))
    return measured | {"network": network_apart(model, train), "ranking": ranking_apart(model, test)}


def network_apart(model: Any, train: Any) -> float:
    """Return the largest difference of two networks' weights, one trained by blocks, one on the same rows in memory."""
    from permgrad.backend import keras
    from permgrad.data.in_files import RowsInFiles
    from permgrad.training.config import TrainingConfig
    from permgrad.training.fit import fit_network

    few = train.take(np.arange(min(COMPARED, len(train))))
    frame = pd.read_parquet(few.X.files.paths[0])  # which holds all of them
    encoded = model.encoder_.transform(frame[few.features].iloc[few.X.rows])

    class InMemory(RowsInFiles):
        def __getitem__(self, at: Any) -> np.ndarray:
            return encoded[at]

    y = few.y.cat.codes.to_numpy(int)
    config = TrainingConfig(epochs=1, batch_size=256, schedule="constant", keep="last")
    weights = []
    for kind in (RowsInFiles, InMemory):
        network = keras.models.clone_model(model.network_)
        network.set_weights(model.network_.get_weights())
        rows = kind(few.X.files, few.features, few.X.rows, model.encoder_)
        fit_network(network, (rows, y), None, config, task="classification")
        weights.append(network.get_weights())
    return float(max(np.abs(one - other).max() for one, other in zip(*weights, strict=True)))


def ranking_apart(model: Any, test: Any) -> float:
    """Return the largest difference of a score, ranked by blocks and on the same rows in memory."""
    few = test.take(np.arange(min(RANKED, len(test))))
    known: dict[str, Any] = {"end_to_end": False, "random_state": 0, "verbose": False}
    X, y = few.draw(len(few), 0)
    streamed, in_memory = model.rank_features(few, **known), model.rank_features(X, y, **known)
    return float(np.abs(streamed.scores - in_memory.scores).max())


def report(measured: dict[str, float], size: float, n_rows: int) -> None:
    """Print what was measured."""
    print(
        f"target read {measured['target']:.0f} s, fitted on {measured['train']:,} rows {measured['fit']:.0f} s,"
        f" scored on {measured['test']:,} {measured['score']:.0f} s (accuracy {measured['accuracy']:.3f}),"
        f" ranked on {measured['drawn']:,} {measured['rank']:.0f} s (±{measured['reached']:.1%} of the total;"
        f" {measured['found']} of the 5 columns that tell anything come first)"
    )
    whole = 8 * n_rows * (NUMBERS + CATEGORIES)
    print(
        f"at most {measured['peak'] / 1e9:.2f} GB, of which {measured['before'] / 1e9:.2f} GB before the first row"
        f" (files {size / 1e9:.2f} GB; the values in memory {whole / 1e9:.2f} GB)"
    )
    print(
        f"the same rows in memory: weights differ by {measured['network']:.1e} at most, scores by"
        f" {measured['ranking']:.1e}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--tolerance", type=float, default=0.02)
    parser.add_argument("--directory", type=Path, help="where the files go; by default a temporary directory")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        print(json.dumps(measure(options.measure, options.epochs, options.tolerance)))
        return
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        begun = time.perf_counter()
        generate(Path(directory), options.rows)
        size = sum(path.stat().st_size for path in Path(directory).iterdir())
        print(f"{options.rows:,} × {NUMBERS + CATEGORIES} generated in {time.perf_counter() - begun:.0f} s", flush=True)
        command = [sys.executable, "-m", "benchmarks.streaming", "--measure", directory]
        command += ["--epochs", str(options.epochs), "--tolerance", str(options.tolerance)]
        process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
    measured = json.loads(process.stdout.splitlines()[-1])
    report(measured, size, options.rows)
    if measured["peak"] > LIMIT or measured["network"] > SAME_NETWORK or measured["ranking"] > SAME_RANKING:
        sys.exit(f"more than {LIMIT / 1e9:g} GB, or figures that differ from those in memory")


if __name__ == "__main__":
    main()
