"""Tuning by the published protocol against `pg.tune`: wall time to a network as good, on one budget of trials.

(a) is what the published notebooks do: every trial trains for all its epochs, in batches of 32, without pruning,
and writes a checkpoint at each epoch that is the best so far. (b) is `pg.tune` as it is. Both search the published
space of the hybrid network with TPE and the same seed, on the same rows of HELOC, in a process each, one after the
other. The time that counts is from the start of the study to the end of the first trial whose validation
loss is at least as low as (a)'s best.

    python -m benchmarks.tuning [--rows 1000] [--epochs 20] [--trials 20] [--random-states 3]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import optuna

import permgrad as pg
from permgrad.backend import keras
from permgrad.tuning.spaces import hybrid


def part_of_heloc(rows: int) -> pg.Table:
    table = pg.load_dataset("heloc")
    return table.take(np.random.default_rng(0).permutation(len(table))[:rows])


def published(table: pg.Table, n_trials: int, epochs: int, random_state: int, directory: Path) -> optuna.Study:
    train, val, _ = table.split()

    def objective(trial: optuna.Trial) -> float:
        checkpoint = keras.callbacks.ModelCheckpoint(
            directory / f"best_{trial.number}.keras", monitor="val_loss", save_best_only=True
        )
        estimator = pg.HybridClassifier(**hybrid(trial), epochs=epochs, patience=epochs)
        estimator.fit(train.X, train.y, validation_data=(val.X, val.y), callbacks=[checkpoint])
        return estimator.loss(val.X, val.y)

    study = optuna.create_study(
        storage=f"sqlite:///{directory}/study.db", sampler=optuna.samplers.TPESampler(seed=random_state)
    )
    study.optimize(objective, n_trials=n_trials)
    return study


def ours(table: pg.Table, n_trials: int, epochs: int, random_state: int, directory: Path) -> optuna.Study:
    return pg.tune(
        table, n_trials=n_trials, settings={"epochs": epochs}, random_state=random_state, out=directory / "results"
    ).study


def trials(protocol: str, options: argparse.Namespace, random_state: int) -> list[dict[str, float]]:
    """Run one protocol in a process of its own; return the end (seconds), value and state of each trial."""
    given = [f"--{name}={getattr(options, name)}" for name in ("rows", "epochs", "trials")]
    command = [
        sys.executable,
        "-m",
        "benchmarks.tuning",
        f"--run={protocol}",
        f"--run-random-state={random_state}",
        *given,
    ]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1])  # noqa: S603


def run(options: argparse.Namespace) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table = part_of_heloc(options.rows)
    with tempfile.TemporaryDirectory() as directory:
        began = datetime.now()
        protocol = published if options.run == "published" else ours
        study = protocol(table, options.trials, options.epochs, options.run_random_state, Path(directory))
        ends = [
            {"end": (trial.datetime_complete - began).total_seconds(), "value": trial.value, "state": trial.state.name}
            for trial in study.trials
        ]
    print(json.dumps(ends))


def compare(options: argparse.Namespace) -> None:
    print(f"HELOC, {options.rows} rows, {options.trials} trials of at most {options.epochs} epochs")
    print("seed  published: best  reached      all  ours: best  as good      all  ratio")
    ratios = []
    for random_state in range(options.random_states):
        a, b = (
            sorted(trials(protocol, options, random_state), key=lambda trial: trial["end"])
            for protocol in ("published", "ours")
        )
        complete = [trial for trial in b if trial["state"] == "COMPLETE"]
        best = min(trial["value"] for trial in a)
        reached = next(trial["end"] for trial in a if trial["value"] == best)
        as_good = next((trial["end"] for trial in complete if trial["value"] <= best), float("inf"))
        ratios.append(as_good / reached)
        ours_best = min(trial["value"] for trial in complete)
        line = f"{random_state:>4}  {best:>15.5f} {reached:>6.0f} s {a[-1]['end']:>6.0f} s"
        print(f"{line}  {ours_best:>10.5f} {as_good:>6.0f} s {b[-1]['end']:>6.0f} s  {ratios[-1]:>5.2f}", flush=True)
    print(f"median ratio of wall time to (a)'s best loss: {statistics.median(ratios):.2f}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"rows": 1000, "epochs": 20, "trials": 20, "random-states": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--run", choices=["published", "ours"], help=argparse.SUPPRESS)
    parser.add_argument("--run-random-state", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    run(options) if options.run else compare(options)


if __name__ == "__main__":
    main()
