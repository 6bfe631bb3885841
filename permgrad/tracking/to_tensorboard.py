"""A record → event files for TensorBoard, with a run for each trial of a study."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from permgrad.directories import new_directory
from permgrad.errors import require
from permgrad.tracking.record import Record, record_of

if TYPE_CHECKING:
    from permgrad.importance.ranking import FeatureRanking
    from permgrad.tuning.result import TuneResult

SHOWN = 50
"""Number of columns that the text of the ranking shows."""


def log_to_tensorboard(
    results: str | Path | FeatureRanking | TuneResult,
    log_dir: str | Path,
    *,
    overwrite: bool = False,
    storage: str | None = None,
) -> Path:
    """Write results as TensorBoard's event files: curves and scores, settings, the ranking and the pictures.

    Each trial of a tuning study is a run in a subdirectory. The tab "HParams" compares the settings and scores of all
    trials. Nothing is trained or read again.

    Parameters
    ----------
    results : path, FeatureRanking or TuneResult
        A directory of `permgrad rank` or `permgrad tune`, a ranking alone, or the result of `permgrad.tune`.
    log_dir : path
        A new directory, one level or more below the directory that you give to ``tensorboard --logdir``.
    overwrite : bool
        Replace a directory that this function wrote.
    storage : str, optional
        URL of the study's storage, if the study's directory does not hold it; see `permgrad.tune`.

    Returns
    -------
    Path
        The directory of the event files.

    Raises
    ------
    PermGradError
        If TensorBoard is not installed; if there are no results, or they are damaged; if `log_dir` exists already or
        cannot be written.

    Notes
    -----
    The names are those of `permgrad.log_to_mlflow`. For curves during training, see `permgrad.TensorBoard`.

    Examples
    --------
    >>> pg.log_to_tensorboard(ranking, "logs").name
    'logs'
    """
    require("tensorboard", "writing TensorBoard's files", "tensorboard")
    record = record_of(results, storage)
    log_dir = Path(log_dir)
    with new_directory(log_dir, overwrite=overwrite) as staging:
        _write(record, staging)
        for trial in record.trials:
            _write(trial, staging / trial.name.replace(" ", "_"))
    return log_dir


def _write(record: Record, directory: Path) -> None:
    from permgrad.backend import quiet_start

    with quiet_start():
        import tensorflow as tf
        from tensorboard.plugins.hparams import api as hparams
    with _writer(tf, directory):
        hparams.hparams({name: _plain(value) for name, value in record.params.items()}, trial_id=record.name)
        for name, value in record.scores.items():
            tf.summary.scalar(name, value, step=0)
        for name, values in record.curves.items():
            for epoch, value in enumerate(values, 1):
                tf.summary.scalar(name, value, step=epoch)
        for name, text in record.tags.items():
            tf.summary.text(name, text, step=0)
        if record.ranking is not None:
            tf.summary.text("ranking", _markdown(record.ranking.table.head(SHOWN)), step=0)
        for name, path in record.files.items():
            if path.suffix == ".png":
                picture = tf.io.decode_png(path.read_bytes(), channels=3)[None]
                tf.summary.image(f"pictures/{name.removesuffix('.png')}", picture, step=0)


@contextmanager
def _writer(tf: Any, directory: Path) -> Iterator[None]:
    writer = tf.summary.create_file_writer(str(directory))
    with writer.as_default():
        yield
    writer.close()


def _plain(value: Any) -> bool | float | str:
    """Return a setting in a type that TensorBoard accepts."""
    return value if isinstance(value, (bool, int, float, str)) else str(value)


def _markdown(table: pd.DataFrame) -> str:
    """Return a table as Markdown, which TensorBoard's texts show."""
    head = [str(name) for name in table.columns]
    rows = [[f"{value:.4g}" if isinstance(value, float) else str(value) for value in row] for row in table.to_numpy()]
    safe = [[cell.replace("|", r"\|") for cell in row] for row in [head, ["---"] * len(head), *rows]]
    return "\n".join(f"| {' | '.join(row)} |" for row in safe)
