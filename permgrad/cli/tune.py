"""``permgrad tune``: tune a network on a table, and rank its columns by the best one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from permgrad.cli._options import MANY, PRESETS, SECONDS, check_class_weight, shared_options
from permgrad.cli._shown import show_study
from permgrad.cli._signals import stop_by_interrupt
from permgrad.cli._tables import load_table, show_split, show_table, take_reading


@click.command()
@shared_options
@click.option(
    "--preset",
    type=click.Choice([name for name in PRESETS if name != "best"]),  # of which each trial would train five
    help="Preset for settings that the space does not search.  [default: published; for your own space: default]",
)
@click.option(
    "--space",
    default="hybrid",
    show_default=True,
    help="What to search: hybrid, mlp, cnn, batch_ensemble, or FILE.py:FUNCTION.",
)
@click.option(
    "--ranges",
    multiple=True,
    metavar="NAME=LOW,HIGH",
    help="Narrower limits, or fewer choices, of one of the space's parameters; may be repeated.",
)
@click.option(
    "--metric",
    multiple=True,
    default=["loss"],
    show_default=True,
    help="Objective on the validation rows: loss, parameters or a score; given twice, two objectives.",
)
@click.option(
    "--n-trials", type=click.IntRange(1, MANY), default=75, show_default=True, help="Total number of finished trials."
)
@click.option("--timeout", type=SECONDS, metavar="S", help="Seconds after which no further trial is started.")
@click.option(
    "--n-workers", type=click.IntRange(1, 1000), default=1, show_default=True, help="Processes on this machine."
)
@click.option(
    "--storage",
    metavar="URL",
    help="Storage of the study: sqlite:, postgresql:, journal: or grpc:.  [default: OUT/study.db]",
)
@click.option("--study-name", help="Name in the storage.  [default: the table's]")
@click.option(
    "--keep", type=click.IntRange(1, 1000), default=3, show_default=True, help="Number of best networks to keep."
)
@click.option(
    "--constraints",
    multiple=True,
    metavar="NAME=LIMIT",
    help="What the best network must keep within: parameters, seconds, loss, calibration_error or a score; may be"
    " repeated. The most, of a score that is better when higher the least.",
)
@click.option(
    "--terminate",
    type=click.IntRange(1, MANY),
    metavar="N",
    help="End when N trials in a row gained no more than the best value's standard error.",
)
@click.option(
    "--sampler", default="tpe", show_default=True, help="Method that suggests trials: tpe, random, nsgaii, gp or cmaes."
)
@click.option(
    "--pruner",
    default="halving",
    show_default=True,
    help="Method that stops hopeless trials: halving, hyperband, median or none.",
)
def tune(
    table: str,
    target: str | None,
    task: Any,
    out: Path | None,
    space: str,
    ranges: tuple[str, ...],
    metric: tuple[str, ...],
    n_trials: int,
    timeout: float | None,
    n_workers: int,
    storage: str | None,
    study_name: str | None,
    keep: int,
    constraints: tuple[str, ...],
    terminate: int | None,
    sampler: str,
    pruner: str,
    random_state: int,
    split_random_state: int,
    **settings: Any,  # the other options are the estimator's settings, by name
) -> None:
    """Tune a network on TABLE, then rank the columns by the best network.

    TABLE is a data set's name (see `permgrad datasets`) or a file, as for `permgrad rank`. Run the command again to
    resume the study until it has its trials; machines that run it with the same --storage share the work.
    """
    from permgrad.tuning.api import tune as run

    data = load_table(table, target, task, take_reading(settings))
    show_table(data)
    show_split(data, split_random_state)
    check_class_weight(settings["class_weight"], data.task)
    stop_by_interrupt()
    objectives: Any = metric[0] if len(metric) == 1 else metric
    result = run(
        data,
        space,
        ranges=dict(map(read_range, ranges)),
        settings={name: value for name, value in settings.items() if value is not None},
        metric=objectives,
        n_trials=n_trials,
        timeout=timeout,
        n_workers=n_workers,
        out=out,
        storage=storage,
        study_name=study_name,
        keep=keep,
        constraints=dict(map(read_limit, constraints)),
        terminate=terminate,
        sampler=sampler,
        pruner=pruner,
        random_state=random_state,
        split_random_state=split_random_state,
        verbose=True,
    )
    show_study(result, n_trials)


def read_range(text: str) -> tuple[str, list[Any]]:
    """Read ``base_filters=8,32`` or ``optimizer=adam``."""
    name, equals, values = text.partition("=")
    if not (name and equals and values):
        raise click.BadParameter(f"must be NAME=LOW,HIGH or NAME=CHOICE,CHOICE, got {text!r}", param_hint="--ranges")
    return name, [_number(value) for value in values.split(",")]


def read_limit(text: str) -> tuple[str, float]:
    """Read ``parameters=5000``."""
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise click.BadParameter(f"must be NAME=NUMBER, got {text!r}", param_hint="--constraints") from None


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
