"""Options of `rank` and `tune`: the table, what both ask of the network, and each setting of it by its own name."""

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


class NumberOr(click.ParamType):
    """A whole number from `least` to `most`, or one of some words."""

    name = "number"

    def __init__(self, least: int, most: int, *words: str) -> None:
        self.least, self.most, self.words = least, most, words

    def convert(self, value: Any, param: Any, ctx: Any) -> int | str:
        """Return the number, or the word."""
        if value in self.words:
            return value
        try:
            number = int(value)
        except ValueError:
            number = self.least - 1
        if not self.least <= number <= self.most:
            words = " or ".join(self.words)
            self.fail(f"{value!r} is not a whole number from {self.least} to {self.most}, or {words}.", param, ctx)
        return number

    def get_metavar(self, param: Any, ctx: Any = None) -> str:
        """Return what the help shows for the value."""
        return "|".join(["N", *self.words])


class Sizes(click.ParamType):
    """One or more sizes of layers, parted by commas, or "none"."""

    name = "sizes"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        """Return the sizes."""
        if isinstance(value, tuple) or value == "none":
            return () if value == "none" else value
        try:
            sizes = tuple(int(size) for size in value.split(","))
        except ValueError:
            sizes = (0,)
        if not all(1 <= size <= LARGEST_LAYER for size in sizes):
            self.fail(
                f"{value!r} is not one or more sizes from 1 to {LARGEST_LAYER} such as 128,64, or none.", param, ctx
            )
        return sizes

    def get_metavar(self, param: Any, ctx: Any = None) -> str:
        """Return what the help shows for the value."""
        return "N,N,...|none"


class ColumnKind(click.ParamType):
    """What a column is, as in ``zip=category``."""

    name = "column's kind"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, str]:
        """Return the column's name and its kind."""
        if isinstance(value, tuple):
            return value
        column, equals, kind = value.rpartition("=")
        if not (column and equals and kind in COLUMN_KINDS):
            self.fail(f"{value!r} is not COL=KIND, where KIND is one of {', '.join(COLUMN_KINDS)}.", param, ctx)
        return column, kind

    def get_metavar(self, param: Any, ctx: Any = None) -> str:
        """Return what the help shows for the value."""
        return f"COL={'|'.join(COLUMN_KINDS)}"


class OfTable(click.Option):
    """An option that says how a table is read."""


COLUMN_KINDS = ("number", "category", "date", "text", "id")
SECONDS = Number(0, 1e9)
MANY = 10**9
LARGEST_LAYER = 2**16
SEED = click.IntRange(0, 2**32 - 1)
LAYOUTS = ["tinto", "igtd", "deepinsight", "fotomics", "refined"]
PRESETS = ["default", "fast", "best", "published"]
PRECISIONS = ["auto", "float32", "mixed_float16", "mixed_bfloat16"]
_of_table = functools.partial(click.option, cls=OfTable)
READING = [
    _of_table("--sep", metavar="C", help="Separator of fields: a character, tab or blanks.  [default: guessed]"),
    _of_table("--decimal", type=click.Choice([".", ","]), help="Decimal mark.  [default: guessed]"),
    _of_table("--encoding", metavar="NAME", help="Text encoding, such as latin-1.  [default: guessed]"),
    _of_table(
        "--header/--no-header", default=None, help="Whether the first line holds column names.  [default: guessed]"
    ),
    _of_table("--na", multiple=True, metavar="TEXT", help="Further text that means a missing value; may be repeated."),
    _of_table("--sheet", metavar="NAME", help="Excel sheet: a name, or a number from 0.  [default: the first]"),
    _of_table("--drop", multiple=True, metavar="COL", help="Column to leave out; may be repeated."),
    _of_table("--as", "kinds", multiple=True, type=ColumnKind(), help="Kind of a column; may be repeated."),
    _of_table(
        "--group",
        metavar="COL",
        help="Column of groups: rows with the same value belong together (a patient). No group is on both sides of a"
        " split, and intervals resample groups. Not a feature.",
    ),
    _of_table(
        "--time",
        metavar="COL",
        help="Column of dates or numbers: the latest rows are the test rows, the latest rows before those decide when"
        " training stops. A feature, unless you drop it.",
    ),
    _of_table("--weight", metavar="COL", help="Column of weights: how many rows each row stands for. Not a feature."),
    _of_table("--split", metavar="COL", help="Column with train, validation or test for each row. Not a feature."),
    _of_table("--test", metavar="FILE", help="Another file with the same columns; all of its rows are test rows."),
    _of_table(
        "--rare",
        type=click.Choice(["error", "merge", "drop"]),
        default="error",
        show_default=True,
        help="What to do with classes of fewer than 5 rows: refuse them, merge them into one class, or leave them out.",
    ),
]
"""How a file's table is read, and what becomes of its columns and classes."""
workers_option = click.option(
    "--workers",
    type=click.IntRange(1, 1000),
    metavar="N",
    help="Processes for steps that train several networks, each on one thread.  [default: only this process]",
)
OUT = click.option("--out", type=click.Path(path_type=Path), help="Results directory.  [default: results/TABLE]")
TABLE = click.argument("table")
TARGET = click.option("--target", help="Column to predict. A file needs it; a data set has one already.")
TASK = click.option(
    "--task", type=click.Choice(["regression", "classification"]), help="What to predict.  [default: by the target]"
)
SHARED = [
    TABLE,
    TARGET,
    TASK,
    *READING,
    OUT,
    click.option(
        "--layout",
        type=click.Choice(LAYOUTS),
        default="tinto",
        show_default=True,
        help="How columns are placed in the image.",
    ),
    click.option(
        "--image-size",
        type=NumberOr(1, 1024, "compact", "wide"),
        help="Height and width of the image; compact and wide depend on the number of columns.  [default: the"
        " preset's]",
    ),
    click.option(
        "--unique/--no-unique",
        default=True,
        show_default=True,
        help="Give each column its own pixel, or let columns share pixels as in the published layout.",
    ),
    click.option(
        "--epochs",
        type=click.IntRange(1, 10**6),
        help="Maximum number of epochs.  [default: the preset's; for tuning 70, for regression 200]",
    ),
    click.option("--class-weight", type=click.Choice(["balanced"]), help="Give rare classes more weight in training."),
    click.option(
        "--precision", type=click.Choice(PRECISIONS), default="auto", show_default=True, help="Numeric precision."
    ),
    click.option("--random-state", type=SEED, default=0, show_default=True, help="Seed for everything but the split."),
    click.option(
        "--split-random-state",
        type=SEED,
        default=42,
        show_default=True,
        help="Seed for a random split into 60 % training, 20 % validation and 20 % test rows.",
    ),
]


class Setting(click.Option):
    """An option that stands in for what a preset decides."""


_setting = functools.partial(click.option, cls=Setting)
SETTINGS = [
    _setting("--scaling", type=click.Choice(["standard", "min-max", "quantile"]), help="How columns are scaled."),
    _setting(
        "--embedding",
        type=click.Choice(["bins", "piecewise", "periodic", "none"]),
        help="How each column enters the tabular branch: with bins, as bins only, as waves or as it is.",
    ),
    _setting("--embedding-size", type=click.IntRange(2, 1024), help="Number of bins, or of waves, for each column."),
    _setting(
        "--ensemble-size", type=click.IntRange(1, 1024), help="Networks in a batch ensemble, which share one CNN."
    ),
    _setting("--dense-units", type=Sizes(), help="Sizes of the tabular branch's Dense layers."),
    _setting(
        "--image-network",
        type=click.Choice(["cnn", "vit"]),
        help="What looks at the image: convolutions, or a vision transformer.",
    ),
    _setting("--n-conv-layers", type=click.IntRange(1, 10), help="Number of convolutions; each halves the image."),
    _setting("--downsampling", type=click.Choice(["stride", "max_pool"]), help="How a convolution halves the image."),
    _setting(
        "--base-filters",
        type=click.IntRange(1, LARGEST_LAYER),
        help="Filters of the first convolution; each further one has twice as many.",
    ),
    _setting("--head-units", type=Sizes(), help="Sizes of the Dense layers after the branches meet."),
    _setting("--dropout", type=Number(0, 1, max_open=True), help="Share of units dropped in training."),
    _setting("--batch-norm/--no-batch-norm", default=None, help="Batch normalisation after each layer."),
    _setting("--gated-image/--no-gated-image", default=None, help="Start with a closed gate on the image branch."),
    _setting(
        "--zero-output/--no-zero-output", default=None, help="Start by predicting the mean, or the class frequencies."
    ),
    _setting("--calibrated/--no-calibrated", default=None, help="Calibrate probabilities on the validation rows."),
    _setting("--screening/--no-screening", default=None, help="If rows are few, mask the columns that do not help."),
    _setting(
        "--n-networks",
        type=click.IntRange(1, 1000),
        help="Networks to average. Several networks share the training and validation rows; each leaves out another"
        " part.",
    ),
    _setting("--learning-rate", type=Number(0, 1000, min_open=True), help="Peak of the schedule."),
    _setting("--schedule", type=click.Choice(["constant", "one_cycle", "cosine"]), help="Learning-rate schedule."),
    _setting("--optimizer", type=click.Choice(["adamw", "adam"]), help="Optimizer."),
    _setting("--weight-decay", type=Number(0, 1000), help="Weight decay; only for adamw."),
    _setting("--batch-size", type=NumberOr(1, MANY, "auto"), help="Rows in a training step."),
    _setting(
        "--patience",
        type=NumberOr(1, MANY, "auto"),
        help="Epochs without a better validation loss after which training stops.",
    ),
]
"""What a preset decides, beside the image's size and the epochs; the default of each is the preset's."""


class SettingsApart(click.Command):
    """A command whose help lists how the table is read, and settings of the network, under headings of their own."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options."""
        options = [parameter for parameter in self.get_params(ctx) if isinstance(parameter, click.Option)]
        headings: dict[type, str] = {
            click.Option: "Options",
            OfTable: "How the table is read",
            Setting: "Settings of the network, by default the preset's",
        }
        for kind, heading in headings.items():
            records = [option.get_help_record(ctx) for option in options if type(option) is kind]
            shown = [record for record in records if record is not None]
            if shown:
                with formatter.section(heading):
                    formatter.write_dl(shown)


def shared_options(command: Any) -> Any:
    """Add the options that `rank` and `tune` share to a command."""
    return _decorated(command, SHARED)


def reading_options(command: Any) -> Any:
    """Add the options that say how a table is read to a command."""
    return _decorated(command, READING)


def settings_options(command: Any) -> Any:
    """Add an option for each setting that a preset decides, but for those that `shared_options` adds."""
    return _decorated(command, SETTINGS)


def _decorated(command: Any, options: list[Any]) -> Any:
    return functools.reduce(lambda decorated, option: option(decorated), reversed(options), command)


def check_class_weight(class_weight: str | None, task: str | None) -> None:
    """Raise where class weights are asked for without classes."""
    from permgrad.errors import PermGradError

    if class_weight and task == "regression":
        raise PermGradError("--class-weight is for classification; the task here is regression")
