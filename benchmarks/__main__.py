"""Time this project beside others and print one table; each row is a ratio from one run, in a process of its own.

python -m benchmarks [ROW ...]

Seconds; "first" includes compilation for a network not seen before, "later" is the median of further calls
(the genes' one call includes it). What would take long is timed on some columns and reckoned for all, as the notes say;
genes_every times all (ten minutes), and penalty_mixed is for an accelerator.
"floor" is the time of the arithmetic alone, at the rate at which this machine multiplies two 2048 × 2048 float32
matrices. "differ": from the plain loop, over its largest score. "MB": peak memory over that of the model and the table.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from benchmarks.measure import Row

MODULES = ("importance", "windows", "images", "predicting", "growth", "penalty")


def row_functions(kinds: Sequence[str] = ("ROWS", "LONG")) -> dict[str, Callable[[], Row]]:
    """Return what measures each row, by its name; `LONG` ones are measured where they are named only."""
    modules = [import_module(f"benchmarks.{module}") for module in MODULES]
    return {row.__name__: row for module in modules for kind in kinds for row in getattr(module, kind, [])}


def main(arguments: Sequence[str] | None = None) -> None:
    functions = row_functions()
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "rows",
        nargs="*",
        metavar="ROW",
        help=f"by default all but {', '.join(row_functions(['LONG']))}: {', '.join(functions)}",
    )
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # one row, as JSON
    options = parser.parse_args(arguments)
    unknown = [name for name in options.rows if name not in functions]
    if unknown:
        sys.exit(f"no such row: {', '.join(unknown)}; there are {', '.join(functions)}")
    if options.here:
        print(json.dumps(dataclasses.asdict(functions[options.rows[0]]())))
    else:
        print_table(options.rows or list(row_functions(["ROWS"])))


def print_table(names: Sequence[str]) -> None:
    print(Row.HEADER, flush=True)
    failed = []
    for name in names:
        process = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "benchmarks", "--here", name], stdout=subprocess.PIPE, text=True, check=False
        )
        if process.returncode:
            failed.append(name)
        else:
            print(Row(**json.loads(process.stdout.splitlines()[-1])), flush=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
