"""What `rank` and `tune` have in common: the table, and settings of the network that are not tuned."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import click


class Number(click.FloatRange):
    """A finite number in a range; click's own takes nan and inf."""

    name = "number"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Return the number."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


SECONDS = Number(0, 1e9)
MANY = 10**9
SEED = click.IntRange(0, 2**32 - 1)
LAYOUTS = ["tinto", "igtd", "deepinsight", "fotomics", "refined"]
PRECISIONS = ["auto", "float32", "mixed_float16", "mixed_bfloat16"]
SHARED = [
    click.argument("table"),
    click.option("--target", help="Column to predict. A file needs it; a data set has one already."),
    click.option(
        "--task", type=click.Choice(["regression", "classification"]), help="What to do.  [default: by the target]"
    ),
    click.option("--out", type=click.Path(path_type=Path), help="Results directory.  [default: results/TABLE]"),
    click.option(
        "--layout", type=click.Choice(LAYOUTS), default="tinto", show_default=True, help="Which pixel shows a column."
    ),
    click.option(
        "--image-size", type=click.IntRange(1, 1024), help="Height and width of the image.  [default: by columns]"
    ),
    click.option(
        "--unique/--no-unique",
        default=True,
        show_default=True,
        help="A pixel for each column; without it columns may share one, as in the published layout.",
    ),
    click.option(
        "--epochs",
        type=click.IntRange(1, 10**6),
        help="Epochs of training at most.  [default: 150; of tuning 70, regression 200]",
    ),
    click.option("--class-weight", type=click.Choice(["balanced"]), help="Weigh rare classes up in training."),
    click.option(
        "--precision", type=click.Choice(PRECISIONS), default="auto", show_default=True, help="Numbers of the network."
    ),
    click.option("--random-state", type=SEED, default=0, show_default=True, help="Of everything but the split."),
    click.option(
        "--split-random-state",
        type=SEED,
        default=42,
        show_default=True,
        help="Of the split into 60 % training, 20 % validation and 20 % test rows.",
    ),
]


def shared_options(command: Any) -> Any:
    """Add the options that `rank` and `tune` share to a command."""
    return functools.reduce(lambda decorated, option: option(decorated), reversed(SHARED), command)


def check_class_weight(class_weight: str | None, task: str | None) -> None:
    """Raise where class weights are asked for without classes."""
    from permgrad.errors import PermGradError

    if class_weight and task == "regression":
        raise PermGradError("--class-weight is for classification; the task here is regression")
