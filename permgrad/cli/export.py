"""``permgrad export``: results to MLflow or TensorBoard."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.option("--mlflow", "experiment", metavar="EXPERIMENT", help="Log a run to this MLflow experiment.")
@click.option(
    "--tracking-uri",
    metavar="URI",
    help="MLflow's server, or sqlite:///FILE.  [default: the environment's MLFLOW_TRACKING_URI, or sqlite:///mlflow.db]",
)
@click.option(
    "--tensorboard", "log_dir", type=click.Path(path_type=Path), metavar="DIR", help="Write TensorBoard's files to DIR."
)
@click.option("--overwrite", is_flag=True, help="Replace an existing DIR, if it holds nothing else.")
@click.option("--storage", metavar="URL", help="Storage of the study, if it is not in RESULTS.")
def export(
    results: Path,
    experiment: str | None,
    tracking_uri: str | None,
    log_dir: Path | None,
    overwrite: bool,
    storage: str | None,
) -> None:
    """Export RESULTS, a directory that `permgrad rank` or `tune` wrote, to MLflow or TensorBoard.

    The export has settings, scores, learning curves, the ranking, pictures and the page; each trial of a study is a run
    of its own. The page includes the test rows that it shows.
    """
    if experiment is None and log_dir is None:
        raise click.UsageError("where to? give --mlflow EXPERIMENT, --tensorboard DIR, or both")
    if experiment is not None:
        from permgrad.tracking.to_mlflow import log_to_mlflow, use_experiment

        place = use_experiment(experiment, tracking_uri)
        click.echo(f"run {log_to_mlflow(results, storage=storage)} at {place}, experiment {experiment!r}")
    if log_dir is not None:
        from permgrad.tracking.to_tensorboard import log_to_tensorboard

        log_to_tensorboard(results, log_dir, overwrite=overwrite, storage=storage)
        click.echo(f"to look at it: tensorboard --logdir {log_dir.parent}")
