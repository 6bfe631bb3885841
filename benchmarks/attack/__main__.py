"""Attack what users rely on, print one table, and fail if anything was lost, raw, or left behind.

    python -m benchmarks.attack [--mutations 5000] [--kills 60] [--fits 100] [--random-state 0]

A quarter of an hour on two cores. What is attacked: files of every kind that is loaded, with bytes changed; odd values
of every option; `permgrad rank`, `permgrad tune`, a permutation with a checkpoint and the steps of a study, killed at
each renaming and at random moments; directories full of other people's files; two runs to one place; other cores and
threads; memory.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from benchmarks.attack import kills, memory, mutations, options, threads
from benchmarks.attack.outcome import Outcomes, show


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all attacks, and return 1 if one of them succeeded."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attack", description=str(__doc__).splitlines()[0])
    parser.add_argument("--mutations", type=int, default=5000, help="of files, in all")
    parser.add_argument(
        "--kills", type=int, default=60, help="at random moments, in all; those at renamings come on top"
    )
    parser.add_argument("--fits", type=int, default=100, help="fits and rankings in one process")
    parser.add_argument("--random-state", type=int, default=0)
    given = parser.parse_args(arguments)
    attacks: tuple[Callable[[Path], Iterable[Outcomes]], ...] = (
        lambda directory: mutations.attack_files(directory, given.mutations, given.random_state),
        options.attack_options,
        lambda directory: kills.attack_all(directory, given.kills, given.random_state),
        threads.attack_threads,
        lambda directory: memory.attack_memory(given.fits),
    )
    failed = False
    print("| what | attempts | how they ended |\n| --- | --- | --- |", flush=True)
    for attack in attacks:
        with tempfile.TemporaryDirectory() as scratch:
            for outcomes in attack(Path(scratch)):
                show(outcomes)
                failed |= outcomes.failed
    print("\nsomething was lost, raw or left behind" if failed else "\nnothing was lost, raw or left behind")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
