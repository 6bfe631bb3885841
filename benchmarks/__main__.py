"""Time this project beside others and print one table; each row is a ratio from one run, in a process of its own.

python -m benchmarks [ROW ...]

Seconds; "first" includes compilation for a network not seen before, "later" is the median of further calls
(the genes' one call includes it). "floor" is the time of the arithmetic alone, at the rate at which this
machine multiplies two 2048 × 2048 float32 matrices. "differ": from the plain loop, over its largest score.
"MB": peak memory over that of the model and the table.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from importlib import import_module

MODULES = ("importance", "images", "growth", "penalty")


def main() -> None:
    if sys.argv[1:2] == ["--row"]:
        module, name = sys.argv[2].split(".")
        functions = {function.__name__: function for function in import_module(f"benchmarks.{module}").ROWS}
        print(json.dumps(dataclasses.asdict(functions[name]())))
        return
    from benchmarks.measure import Row

    chosen = sys.argv[1:]
    rows = [f"{module}.{f.__name__}" for module in MODULES for f in import_module(f"benchmarks.{module}").ROWS]
    unknown = [name for name in chosen if not any(row.endswith(f".{name}") for row in rows)]
    if unknown:
        sys.exit(f"no such row: {', '.join(unknown)}; there are {', '.join(row.split('.')[1] for row in rows)}")
    print(Row.HEADER, flush=True)
    failed = []
    for row in rows:
        if chosen and row.split(".")[1] not in chosen:
            continue
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "benchmarks", "--row", row], stdout=subprocess.PIPE, text=True, check=False
        )
        if done.returncode:
            failed.append(row)
        else:
            print(Row(**json.loads(done.stdout.splitlines()[-1])), flush=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
