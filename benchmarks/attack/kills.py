"""Processes killed at any moment and at each renaming: results are whole or absent, and nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

import permgrad as pg
from benchmarks.attack.outcome import Outcomes
from permgrad.directories import MANIFEST

DYING = """
import os, sys
step, count = int(sys.argv.pop(1)), 0
def dying(rename):
    def renamed(*arguments, **keywords):
        global count
        count += 1
        if count == step:
            os._exit(9)
        return rename(*arguments, **keywords)
    return renamed
os.rename, os.replace = dying(os.rename), dying(os.replace)
from permgrad.cli import main
main()
"""
"""A command that dies at its renaming number `step`."""
PLAIN = "from permgrad.cli import main; main()"


def write_table(path: Path) -> None:
    """Write the small table that commands are given."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(80, 3)), columns=["a", "b", "c"])
    frame.assign(y=np.where(frame.a > 0, "p", "q")).to_csv(path, index=False)


def rank_arguments(directory: Path) -> list[str]:
    """Return the arguments of a run that takes seconds."""
    table, out = directory / "t.csv", directory / "out"
    return [
        *("rank", str(table), "--target", "y", "--out", str(out), "--overwrite"),
        *("--branches", "tabular", "--epochs", "1", "--n-repeats", "1"),
    ]


def is_whole(out: Path) -> bool:
    """Tell whether a results directory holds every file that its manifest lists, and a ranking that loads."""
    names = json.loads((out / MANIFEST).read_text())["files"]
    pg.FeatureRanking.load(out / "ranking.json")
    return all((out / name).exists() for name in names)


def state(directory: Path, had: bool) -> str:
    """Say how `directory` was left by a process that died."""
    out = directory / "out"
    if not out.exists():
        return "results gone" if had else "whole"
    return "whole" if is_whole(out) else "half written"


def leftovers(directory: Path) -> list[str]:
    """Return what lies in the directory beside the table, the results and a file of the user's."""
    return sorted({path.name for path in directory.iterdir()} - {"t.csv", "out", "mine.txt"})


def run(code: str, arguments: Sequence[str], kill_after: float | None = None, number: int = signal.SIGKILL) -> int:
    """Run a command in a process of its own, killed after so many seconds, and return its exit code."""
    with subprocess.Popen(  # noqa: S603 - our own code
        [sys.executable, "-c", code, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            return process.wait(timeout=kill_after)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            return process.wait()


def attack_rank(directory: Path, n_random: int, random_state: int = 0) -> list[Outcomes]:
    """Kill `permgrad rank --overwrite` at each renaming and at random moments."""
    write_table(directory / "t.csv")
    (directory / "mine.txt").write_text("mine")
    arguments = rank_arguments(directory)
    begun = time.monotonic()
    run(PLAIN, arguments)
    seconds = time.monotonic() - begun
    renamings, moments = Outcomes("rank killed at a renaming"), Outcomes("rank killed at a moment")
    for step in range(1, 200):
        if run(DYING, [str(step), *arguments]) != 9:
            break
        renamings.add(state(directory, had=True), f"at renaming {step}")
    rng = np.random.default_rng(random_state)
    for moment in rng.uniform(0.3, 1.0, n_random) * seconds:
        number = int(rng.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGHUP]))
        run(PLAIN, arguments, kill_after=float(moment), number=number)
        moments.add(state(directory, had=True), f"signal {number} after {moment:.1f} s")
    after = Outcomes("after a following run")
    run(PLAIN, arguments)
    after.add("left behind" if leftovers(directory) else "whole", leftovers(directory))
    mine = (directory / "mine.txt").read_text() == "mine"
    after.add("whole" if mine else "a user's file is gone")
    return [renamings, moments, after]


def attack_two_runs(directory: Path) -> Outcomes:
    """Begin two runs to one new place: one of them gets it, the other says so."""
    write_table(directory / "t.csv")
    outcomes, arguments = Outcomes("two runs to one place"), rank_arguments(directory)
    both = [
        subprocess.Popen(  # noqa: S603 - our own code
            [sys.executable, "-c", PLAIN, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    errors = [process.communicate()[1] for process in both]
    codes = sorted(process.returncode for process in both)
    told = any("is writing" in error for error in errors)
    good = codes == [0, 2] and told and is_whole(directory / "out") and not leftovers(directory)
    outcomes.add("as asked" if good else "not one of two", f"{codes} {errors}")
    return outcomes


def memory_over(n: int) -> tuple[Outcomes, float]:
    """Fit and rank `n` times in this process; return how many MB it grew by from the tenth time on."""
    import psutil

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(80, 4)), rng.integers(0, 2, 80)
    process, sizes = psutil.Process(os.getpid()), []
    for i in range(n):
        model = pg.HybridClassifier(dense_units=(4,), n_conv_layers=1, base_filters=2, epochs=1, random_state=i)
        model.fit(X, y).rank_features(X, y, n_repeats=1)
        sizes.append(process.memory_info().rss / 1e6)
    grown = sizes[-1] - sizes[min(9, n - 1)]
    outcomes = Outcomes(f"{n} fits and rankings in one process: {grown:.0f} MB more after the tenth")
    outcomes.add("as asked" if grown <= 50 else "memory grows", " ".join(f"{size:.0f}" for size in sizes))
    return outcomes, grown
