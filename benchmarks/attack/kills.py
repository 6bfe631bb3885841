"""Processes killed at any moment and at each renaming: results are whole or absent, and nothing is left behind."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import permgrad as pg
from benchmarks.attack.outcome import Outcomes
from permgrad.directories import MANIFEST, new_directory
from permgrad.errors import PermGradError

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
"""
"""Put before a program, has it die at its renaming number `step`."""
COMMAND = "from permgrad.cli import main; main()"
PERMUTATION = """
import sys
from pathlib import Path
import numpy as np
import permgrad as pg
from permgrad.importance.permuting import _checkpoint
_checkpoint.SECONDS_BETWEEN = 0
from permgrad.backend import keras
keras.utils.set_random_seed(0)
place = Path(sys.argv[1])
row = keras.Input((200,))
x = keras.layers.Dense(256, "relu")(keras.layers.Dense(256, "relu")(row))
model = keras.Model(row, keras.layers.Dense(2, "softmax")(x))
X = np.random.default_rng(0).normal(size=(2000, 200)).astype("float32")
budget = pg.Budget(checkpoint=place / "kept.npz", max_memory=20_000_000)
ranking = pg.permutation_importance(model, X, (X[:, 0] > 0).astype(int), n_repeats=5, budget=budget)
ranking.save(place / "ranking.json")
"""
STEPS = """
import sys, time
from functools import partial
from pathlib import Path
from studies.kit import Workspace
place = Path(sys.argv[1])
def work(i, before):
    time.sleep(0.1)
    return {"value": i + sum(result["value"] for result in before.values())}
steps = {f"step_{i}": partial(work, i) for i in range(8)}
workspace = Workspace(place / "out", place / "report", "attack")
with workspace.locked():
    results = workspace.run(steps)
(place / "done").write_text(str(results["step_7"]["value"]))
"""


@dataclass(frozen=True)
class Target:
    """A program that is killed, and what must hold after each kill and after a following run.

    Attributes
    ----------
    name : str
    program : str
    arguments : sequence of str
    check : callable
        Says what is wrong after a kill: "" for nothing.
    finished : callable
        The same after a run that was not killed.
    """

    name: str
    program: str
    arguments: Sequence[str]
    check: Callable[[], str]
    finished: Callable[[], str]


def run(program: str, arguments: Sequence[str], kill_after: float | None = None, number: int = signal.SIGKILL) -> int:
    """Run a program in a process of its own, killed after so many seconds, and return its exit code."""
    with subprocess.Popen(  # noqa: S603 - our own code
        [sys.executable, "-c", program, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            return process.wait(timeout=kill_after)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            return process.wait()


def killed(target: Target, n_random: int, rng: np.random.Generator) -> Iterator[Outcomes]:
    """Kill a target at each renaming and at random moments; then let it finish."""
    begun = time.monotonic()
    run(target.program, target.arguments)
    seconds = time.monotonic() - begun
    target.check()
    outcomes = Outcomes(f"{target.name}, killed at a renaming")
    for step in range(1, 100):
        if run(DYING + target.program, [str(step), *target.arguments]) != 9:
            break
        outcomes.add(target.check() or "whole", f"at renaming {step}")
    yield outcomes
    outcomes = Outcomes(f"{target.name}, killed at a moment")
    for moment in rng.uniform(0.4, 1.0, n_random) * seconds:
        number = int(rng.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGHUP]))
        run(target.program, target.arguments, kill_after=float(moment), number=number)
        outcomes.add(target.check() or "whole", f"signal {number} after {moment:.1f} s")
    yield outcomes
    outcomes = Outcomes(f"{target.name}, run again after that")
    run(target.program, target.arguments)
    outcomes.add(target.finished() or "whole")
    yield outcomes


def attack_all(directory: Path, n: int, random_state: int = 0) -> Iterator[Outcomes]:
    """Kill each target, a quarter of `n` times at random moments; then other people's files, and two runs at once."""
    rng = np.random.default_rng(random_state)
    for make in (_rank, _tune, _permutation, _study):
        place = directory / make.__name__.strip("_")
        place.mkdir()
        yield from killed(make(place), n // 4, rng)
    yield foreign_files(directory, rng)
    place = directory / "two"
    place.mkdir()
    yield two_runs(place)


def _rank(place: Path) -> Target:
    table, out = _table(place), place / "out"
    (place / "mine.txt").write_text("mine")
    arguments = [
        *("rank", str(table), "--target", "y", "--out", str(out), "--overwrite"),
        *("--branches", "tabular", "--epochs", "1", "--n-repeats", "1"),
    ]

    def check() -> str:
        if not out.exists():
            return "results gone"
        return "" if _is_whole(out) else "half written"

    def finished() -> str:
        left = sorted({path.name for path in place.iterdir()} - {"t.csv", "out", "mine.txt"})
        mine = (place / "mine.txt").read_text() == "mine"
        return check() or (f"left behind: {left}" if left else "" if mine else "a user's file is gone")

    return Target("`permgrad rank --overwrite`", COMMAND, arguments, check, finished)


def _tune(place: Path) -> Target:
    table, out, n_trials = _table(place), place / "out", 3
    arguments = [
        *("tune", str(table), "--target", "y", "--out", str(out), "--space", "mlp"),
        *("--n-trials", str(n_trials), "--epochs", "2"),
    ]

    def check() -> str:
        if not (out / "study.db").exists():
            return ""
        import optuna

        from permgrad.tuning.storage import open_storage

        storage = open_storage(f"sqlite:///{out / 'study.db'}", create=False)
        names = optuna.get_all_study_names(storage)
        trials = optuna.load_study(study_name=names[0], storage=storage).trials if names else []
        numbers = [trial.number for trial in trials]
        ended = sum(trial.state.name in ("COMPLETE", "PRUNED") for trial in trials)
        wrong = len(set(numbers)) < len(numbers) or ended > n_trials
        if ended == n_trials and (out / "tuning.json").exists():
            storage.remove_session()
            shutil.rmtree(out)  # or the next run would have nothing to do
        return "a trial is counted twice" if wrong else ""

    def finished() -> str:
        content = json.loads((out / "tuning.json").read_text()) if (out / "tuning.json").exists() else {}
        left = [path.name for path in out.rglob(".*") if not path.name.endswith(".lock")]
        wrong = content.get("finished") != n_trials
        return check() or ("trials are lost" if wrong else f"left behind: {left}" if left else "")

    return Target("`permgrad tune`", COMMAND, arguments, check, finished)


def _permutation(place: Path) -> Target:
    whole: list[str] = []

    def check() -> str:
        path = place / "ranking.json"
        if path.exists():
            whole.append(str(pg.FeatureRanking.load(path).scores.round(6).tolist()))
            path.unlink()
        return "another result" if len(set(whole)) > 1 else ""

    def finished() -> str:
        left = [path.name for path in place.iterdir() if path.name.startswith(".")]
        return check() or ("" if whole else "no result") or (f"left behind: {left}" if left else "")

    return Target("a permutation with a checkpoint", PERMUTATION, [str(place)], check, finished)


def _study(place: Path) -> Target:
    def check() -> str:
        for path in (place / "out" / "steps").glob("*.json"):
            json.loads(path.read_text())
        done = place / "done"
        wrong = done.exists() and done.read_text() != "127"
        for path in (done, *(place / "out" / "steps").glob("step_[4-7].json")):
            path.unlink(missing_ok=True)  # or the next run would have nothing to do
        return "another result" if wrong else ""

    def finished() -> str:
        left = [path.name for path in (place / "out").rglob(".*") if path.name != ".lock"]
        missing = not (place / "done").exists()
        return check() or ("no result" if missing else "") or (f"left behind: {left}" if left else "")

    return Target("steps of a study", STEPS, [str(place)], check, finished)


def foreign_files(directory: Path, rng: np.random.Generator, n: int = 200) -> Outcomes:
    """Overwrite directories in which other people's files lie at random among ours."""
    outcomes = Outcomes("a directory with other people's files, overwritten")
    for i in range(n):
        out = directory / f"foreign_{i}"
        with new_directory(out) as staging:
            _write(staging, "old")
        foreign = {}
        for k in range(int(rng.integers(0, 4))):
            name = ["thesis.txt", "model/mine.txt", ".hidden", "deep/er/x", "ranking.json.bak"][int(rng.integers(5))]
            path = out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"mine {k}")
            foreign[path] = f"mine {k}"
        try:
            with new_directory(out, overwrite=True) as staging:
                _write(staging, "new")
        except PermGradError:
            replaced = False
        else:
            replaced = True
        lost = any(not path.exists() or path.read_text() != text for path, text in foreign.items())
        expected = "new" if replaced else "old"
        whole = (out / "ranking.json").read_text() == (out / "model" / "network").read_text() == expected
        outcomes.add(
            "a user's file is gone" if lost else "whole" if whole and replaced != bool(foreign) else "half", out
        )
    return outcomes


def two_runs(place: Path) -> Outcomes:
    """Begin two runs to one new place: one of them gets it, the other says so."""
    target, outcomes = _rank(place), Outcomes("two runs to one place")
    both = [
        subprocess.Popen(  # noqa: S603 - our own code
            [sys.executable, "-c", COMMAND, *target.arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    errors = [process.communicate()[1] for process in both]
    told = any("is writing" in error for error in errors)
    codes = sorted(process.returncode for process in both)
    good = codes == [0, 2] and told and not target.finished()
    outcomes.add("as asked" if good else "not one of two", f"{codes} {errors}")
    return outcomes


def _table(place: Path) -> Path:
    """Write the small table that commands are given."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(80, 3)), columns=["a", "b", "c"])
    frame.assign(y=np.where(frame.a > 0, "p", "q")).to_csv(place / "t.csv", index=False)
    return place / "t.csv"


def _is_whole(out: Path) -> bool:
    """Tell whether a results directory holds every file that its manifest lists, and a ranking that loads."""
    names = json.loads((out / MANIFEST).read_text())["files"]
    pg.FeatureRanking.load(out / "ranking.json")
    return all((out / name).exists() for name in names)


def _write(staging: Path, text: str) -> None:
    (staging / "model").mkdir()
    for name in ("ranking.json", "model/network"):
        (staging / name).write_text(text)
