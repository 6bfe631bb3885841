"""Odd values of options, and odd tables, on the command line: each is told in one line, before any work."""

from __future__ import annotations

import contextlib
import io
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.attack.outcome import Outcomes
from permgrad import cli

ODD = (
    "nan",
    "inf",
    "-1",
    "1e400",
    "1000000000000",
    "0",
    "",
    "x",
    "--",
    "../..",
    "\x00",
    "1;ls",
    "None",
    "[1]",
    "9" * 500,
)
OPTIONS = {
    "rank": (
        "epochs",
        "image-size",
        "batch-size",
        "learning-rate",
        "n-repeats",
        "timeout",
        "random-state",
        "layout",
        "task",
    ),
    "tune": ("n-trials", "timeout", "n-workers", "storage", "metric", "ranges", "space", "sampler", "pruner", "keep"),
    "dashboard": ("port", "storage"),
}
TAKEN = {("tune", "timeout", "0"), ("rank", "random-state", "0")}
"""Values that are odd and right."""
TABLES = {
    "lists.parquet": pd.DataFrame({"a": [[1], [2]] * 20, "b": range(40)}),
    "bytes.parquet": pd.DataFrame({"a": [b"1", b"2"] * 20, "b": range(40)}),
    "huge.csv": pd.DataFrame({"a": range(40), "y": np.arange(40) * 1e200}),
    "tiny.csv": pd.DataFrame({"a": range(40), "y": np.arange(40) * 1e-200}),
    "infinite.csv": pd.DataFrame({"a": [np.inf, 1] * 20}),
    "empty.csv": pd.DataFrame(),
    "rows.csv": pd.DataFrame({"a": [], "b": []}),
}
SECONDS = 20.0
"""Training would take longer than being told."""


def run(arguments: Sequence[str]) -> tuple[int, str]:
    """Run a command in this process: its exit code, and what it says on standard error."""
    said, before = io.StringIO(), sys.argv
    sys.argv = ["permgrad", *arguments]
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            cli.main()
    except SystemExit as end:
        return int(end.code or 0), said.getvalue()
    except BaseException as error:
        return 1, f"Traceback: {type(error).__name__}: {error}"
    finally:
        sys.argv = before
    return 0, said.getvalue()


def outcome(arguments: Sequence[str]) -> tuple[str, str]:
    """Say how a command that cannot succeed ended."""
    begun = time.monotonic()
    code, said = run(arguments)
    lines = [line for line in said.strip().splitlines() if not line.startswith("note: ")]
    if code == 2 and len(lines) == 1 and time.monotonic() - begun < SECONDS:
        return "refused in one line", ""
    return (
        "raw error" if code == 1 else "not told before work" if code in (0, 2) else "interrupted"
    ), f"{arguments} {said}"


def attack_options(directory: Path) -> Iterator[Outcomes]:
    """Give each option each odd value; then tables of odd cells."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(60, 3)), columns=["a", "b", "c"])
    table, out = directory / "t.csv", directory / "out"
    frame.assign(y=np.where(frame.a > 0, "p", "q")).to_csv(table, index=False)
    before = set(directory.iterdir())
    for command, names in OPTIONS.items():
        outcomes = Outcomes(f"odd values of options of `{command}`")
        out = directory / f"out of {command}"
        given = [] if command == "dashboard" else [str(table), "--target", "y", "--out", str(out)]
        for name in names:
            for value in ODD:
                if (command, name, value) not in TAKEN:
                    outcomes.add(*outcome([command, *given, f"--{name}={value}"]))
        left = set(directory.iterdir()) - before
        outcomes.add("left behind" if left else "as asked", left)
        yield outcomes
    outcomes = Outcomes("odd tables, paths and URLs")
    for name, odd in TABLES.items():
        path = directory / name
        odd.to_parquet(path) if path.suffix == ".parquet" else odd.to_csv(path, index=False)
        outcomes.add(*outcome(["rank", str(path), "--target", "y" if "y" in odd else "b", "--out", str(out)]))
    for path in (
        "http://localhost/t.csv",
        "s3://bucket/t.parquet",
        "/dev/null",
        str(directory),
        "no.csv",
        "",
        "no such",
    ):
        outcomes.add(*outcome(["rank", path, "--target", "y", "--out", str(out)]))
    yield outcomes
