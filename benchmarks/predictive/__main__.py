"""How well the hybrid predicts, beside a linear model, a forest, boosted trees and two neural peers.

    python -m benchmarks.predictive --suite development --out results/predictive
    python -m benchmarks.predictive --table heloc --table my.csv:target --planted ring+xor --columns 128
    python -m benchmarks.predictive --suite other --models linear forest "permgrad default" --splits 1

Each table is parted 60/20/20 by the seeds 0, 1, ...; all models have their first split before any has its second. The
table printed has, for each of these, the mean over splits: the score (area under the ROC curve for two classes,
accuracy for more, R² for numbers), accuracy, log loss or RMSE, the calibration error, and seconds of the fit alone.
With --out each fit is one line of results.jsonl, and the same call goes on from there; --again measures anew.
One of permgrad's may be followed by settings, in one argument: "permgrad default ensemble_size=1".
With --against MODEL a second table has each other model's difference from it, with 95 % intervals over the splits. If
others are this one with a setting, a third says what each setting is worth, with intervals over tables.
See `models` for what each model is given, `tables` for the suites.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from threadpoolctl import threadpool_limits

import permgrad as pg
from benchmarks.predictive.models import MODELS, Job, model_named
from benchmarks.predictive.paired import gains_report, paired_report
from benchmarks.predictive.scores import report, scored
from benchmarks.predictive.tables import SUITES, Source, load, named, planted
from permgrad.data.toy import PROBLEMS
from permgrad.files import plain

KEY = ["sha256", "model", "split"]
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "PERMGRAD_THREADS")


class Results:
    """Lines of a file, one a fit, or only of this run where there is no file."""

    def __init__(self, directory: Path | None) -> None:
        self.path = directory and directory / "results.jsonl"
        self.rows: dict[tuple[Any, ...], dict[str, Any]] = {}
        if directory:
            directory.mkdir(parents=True, exist_ok=True)
        if self.path and self.path.exists():
            for line in self.path.read_bytes().split(b"\n"):
                self._keep(line)

    def _keep(self, line: bytes) -> None:
        try:
            result = json.loads(line)
            self.rows[tuple(result[name] for name in KEY)] = result
        except (ValueError, KeyError, TypeError):  # an empty line, or one that its process died over
            return

    def add(self, result: dict[str, Any]) -> None:
        """Keep a result, in one write; several processes may do so."""
        result = plain(result)
        self.rows[tuple(result[name] for name in KEY)] = result
        if self.path:
            torn = self.path.exists() and not self.path.read_bytes().endswith(b"\n")
            with self.path.open("ab", buffering=0) as file:
                file.write(b"\n" * torn + json.dumps(result, allow_nan=False).encode() + b"\n")
                os.fsync(file.fileno())


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """Have what is computed inside, and processes begun inside, take so many threads."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, str(threads)))
    try:
        with threadpool_limits(threads):
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def measure(table: pg.Table, name: str, split: int, threads: int) -> dict[str, Any]:
    """Fit one model on one split; return its line."""
    job = Job(*table.split(random_state=split), split, threads)
    with limited(threads):
        predicted, seconds = model_named(name)(job)
    regression = table.task == "regression"
    score = "R²" if regression else "AUC" if len(job.classes) == 2 else "accuracy"
    return {
        "table": table.name,
        "rows": len(table),
        "columns": len(table.features),
        "sha256": table.sha256[:16],
        "model": name,
        "split": split,
        "score name": score,
        "loss name": "RMSE" if regression else "log loss",
        **scored(table.task or "", job.target(job.test), predicted),
        "seconds": seconds,
        "threads": threads,
        "permgrad": pg.__version__,
    }


def figures(options: argparse.Namespace) -> pd.DataFrame:
    """Measure what is asked for and not there yet; return the lines of all that is asked for."""
    results, names = Results(options.out), [name for name in options.models if model_named(name).installed]
    tables = {table.sha256[:16]: table for table in load(sources(options), options.max_rows)}
    wanted = [(sha256, name, split) for split, sha256, name in itertools.product(splits(options), tables, names)]
    for key in wanted:
        if key in results.rows and not options.again:
            continue
        sha256, name, split = key
        what = f"{tables[sha256].name}, {name}, split {split}"
        try:
            result = measure(tables[sha256], name, split, options.threads)
        except Exception as error:  # a model that cannot be fitted on one table ends no night's run
            print(f"{what} failed: {type(error).__name__}: {str(error)[:400]}", file=sys.stderr, flush=True)
            continue
        results.add(result)
        print(f"{what}: {result['score']:.4f}, {result['seconds']:.1f} s", file=sys.stderr, flush=True)
    found = [results.rows[key] for key in wanted if key in results.rows]
    frame = pd.DataFrame(found)
    if found:
        numbers = ["score", "accuracy", "loss", "ece", "seconds"]
        frame = frame.assign(table=frame["sha256"].map(lambda sha256: tables[sha256].name))
        frame[numbers] = frame[numbers].astype(float)
    return frame


def checked_model(name: str) -> str:
    """Return the name of a model as it is, or raise where there is none."""
    model_named(name)
    return name


def splits(options: argparse.Namespace) -> range:
    """Return the seeds of the splits."""
    return range(options.first_split, options.first_split + options.splits)


def sources(options: argparse.Namespace) -> dict[str, Source]:
    found: dict[str, Source] = {}
    for suite in options.suite:
        found |= SUITES[suite]
    found |= {given: partial(named, given) for given in options.table}
    for problem, columns in itertools.product(options.planted, options.columns):
        found[f"{problem} {columns}"] = partial(planted, problem, columns)
    return found


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what says which tables are measured, and how."""
    parser.add_argument("--suite", nargs="+", choices=SUITES, default=[], help="groups of tables")
    parser.add_argument(
        "--table",
        action="append",
        default=[],
        metavar="PATH:TARGET",
        help="or the name of a suite's table or a data set",
    )
    parser.add_argument("--planted", nargs="+", choices=PROBLEMS, type=str.lower, default=[])
    parser.add_argument("--columns", type=int, nargs="+", default=[128], help="of --planted")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--first-split", type=int, default=0, help="its seed; the studies have one split, of seed 42")
    parser.add_argument("--max-rows", type=int, default=10_000, help="of larger tables a part, drawn at random")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="a directory, for results.jsonl")
    parser.add_argument("--again", action="store_true", help="measure what is there too")


def checked_options(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse arguments, among them those of `add_options`."""
    options = parser.parse_args(arguments)
    if not (options.suite or options.table or options.planted):
        parser.error("give --suite, --table or --planted")
    return options


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    lines = (__doc__ or "").split("\n\n")
    parser = argparse.ArgumentParser(description=lines[0], epilog=lines[-1])
    add_options(parser)
    parser.add_argument("--models", nargs="+", type=checked_model, default=list(MODELS), metavar="MODEL")
    parser.add_argument("--against", type=checked_model, metavar="MODEL", help="one of --models")
    options = checked_options(parser, arguments)
    if options.against and options.against not in options.models:
        parser.error("--against takes one of --models")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    frame = figures(options)
    if frame.empty:
        sys.exit("nothing was measured")
    missing = [name for name in options.models if not model_named(name).installed]
    print(report(frame, options.models, missing))
    if options.against and options.splits > 1:
        print("\n" + paired_report(frame, options.against))
    if any(name.startswith(f"{options.against} ") for name in options.models):
        print(f"\nWhat {options.against} gains over itself with another setting:\n")
        print(gains_report(frame, options.against))
    if missing:
        print("What is not installed comes with: pip install 'permgrad[studies]'")
    print(f"Fitted with {', '.join(map(str, sorted(set(frame['threads']))))} thread(s).")


if __name__ == "__main__":
    main()
