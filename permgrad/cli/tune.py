"""``permgrad tune``: tune a network on a table, and rank its columns by the best one."""

from __future__ import annotations

import signal
from typing import Any

import click

from permgrad.cli.options import no_classes, shared_options
from permgrad.cli.shown import show_study
from permgrad.cli.tables import load_table


@click.command()
@shared_options
@click.option("--trials", type=click.IntRange(1), default=75, show_default=True, help="Finished trials, in all.")
@click.option(
    "--space", default="hybrid", show_default=True, help="hybrid, mlp, cnn, batch_ensemble, or FILE.py:FUNCTION."
)
@click.option("--range", "ranges", multiple=True, metavar="NAME=LOW,HIGH", help="Narrower than the space's own.")
@click.option("--metric", multiple=True, default=["loss"], show_default=True, help="Twice for two objectives.")
@click.option("--storage", metavar="URL", help="sqlite:, postgresql:, journal: or grpc:.  [default: OUT/study.db]")
@click.option("--name", help="Of the study.  [default: the table's]")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes on this machine.")
@click.option("--timeout", type=click.FloatRange(0), metavar="S", help="Seconds after which no trial is begun.")
@click.option("--sampler", default="tpe", show_default=True, help="tpe, random, nsgaii, gp or cmaes.")
@click.option("--pruner", default="halving", show_default=True, help="halving, hyperband, median or none.")
@click.option("--keep", type=click.IntRange(1), default=3, show_default=True, help="Best networks to keep on disk.")
def tune(
    table: str,
    target: str | None,
    task: Any,
    trials: int,
    ranges: tuple[str, ...],
    metric: tuple[str, ...],
    **options: Any,
) -> None:
    """Tune a network on TABLE, then rank its columns by the best one.

    TABLE is a data set's name (see `permgrad datasets`), a CSV file or a Parquet file. Run again, the study goes
    on until it has its trials; run on other machines with the same --storage, they share the work.
    """
    from permgrad.tuning.api import tune as run

    data = load_table(table, target, task)
    click.echo(f"{data.name}: {len(data)} rows × {len(data.features)} features, {data.task}")
    # Clusters end a job by SIGTERM; what a script begins in the background ignores SIGINT.
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, signal.default_int_handler)
    settings = {
        "layout": options.pop("layout"),
        "image_size": options.pop("size"),
        "unique": not options.pop("shared_pixels"),
        "epochs": options.pop("epochs"),
        "precision": options.pop("precision"),
    }
    balance = options.pop("class_weight")
    if balance and data.task == "regression":
        raise no_classes()
    if balance:
        settings["class_weight"] = balance
    chosen: Any = metric[0] if len(metric) == 1 else metric
    narrower = dict(map(_range, ranges))
    result = run(data, n_trials=trials, ranges=narrower, metric=chosen, verbose=True, **options, **settings)
    show_study(result, trials)


def _range(text: str) -> tuple[str, list[Any]]:
    """Read ``base_filters=8,32`` or ``optimizer=adam``."""
    name, equals, values = text.partition("=")
    if not (name and equals and values):
        raise click.BadParameter(f"must be NAME=LOW,HIGH or NAME=CHOICE,CHOICE, got {text!r}", param_hint="--range")
    return name, [_number(value) for value in values.split(",")]


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
