"""What `rank` and `tune` have in common: the table, and what of the network is not tuned."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import click

METHODS = ["tinto", "igtd", "deepinsight", "fotomics", "refined"]


PRECISIONS = ["auto", "float32", "mixed_float16", "mixed_bfloat16"]


SHARED = [
    click.argument("table"),
    click.option("--target", help="Column to predict; needed for a file, known for a data set."),
    click.option("--out", type=click.Path(path_type=Path), help="Results directory.  [default: results/<name>]"),
    click.option("--task", type=click.Choice(["regression", "classification"]), help="By default inferred."),
    click.option("--layout", type=click.Choice(METHODS), default="tinto", show_default=True),
    click.option("--size", type=click.IntRange(1), help="Height and width of the image.  [default: by features]"),
    click.option("--shared-pixels", is_flag=True, help="Let features share pixels, as the published layout does."),
    click.option("--epochs", type=click.IntRange(1), help="At most.  [default: 70; regression 200]"),
    click.option("--class-weight", type=click.Choice(["balanced"]), help="Weigh rare classes up in training."),
    click.option("--precision", type=click.Choice(PRECISIONS), default="auto", show_default=True),
    click.option("--random-state", type=click.IntRange(0), default=0, show_default=True, help="Of all but the split."),
    click.option(
        "--split-random-state", type=click.IntRange(0), default=42, show_default=True, help="Of the 60/20/20 split."
    ),
]
"""What `rank` and `tune` have in common: the table, and what of the network is not tuned."""


def shared_options(command: Any) -> Any:
    """Add the options that `rank` and `tune` share to a command."""
    return functools.reduce(lambda decorated, option: option(decorated), reversed(SHARED), command)


def no_classes() -> Exception:
    """Return the error of class weights for regression."""
    from permgrad.errors import PermGradError

    return PermGradError("--class-weight is for classification; the task here is regression")
