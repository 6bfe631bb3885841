"""`tune`: a table in, a tuned network and its ranking out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from permgrad.data.table import Table
from permgrad.errors import PermGradError, listing
from permgrad.estimators.hybrid import HybridClassifier, HybridRegressor
from permgrad.files import plain
from permgrad.metrics.scores import SCORES
from permgrad.training.config import EPOCHS
from permgrad.tuning.directory import begin, check_directory
from permgrad.tuning.objective import PARAMETERS, Objective
from permgrad.tuning.pool import run_pool
from permgrad.tuning.progress import Progress
from permgrad.tuning.ranges import Narrowed, narrowed
from permgrad.tuning.results import TuneResult, write_study
from permgrad.tuning.spaces import FIRST, Space, as_space, describe
from permgrad.tuning.strategy import make_pruner, make_sampler
from permgrad.tuning.study import finished, queue_forgotten, quiet_optuna
from permgrad.tuning.worker import Job, Worker


def tune(
    table: Table,
    space: str | Space = "hybrid",
    *,
    ranges: Mapping[str, Sequence[Any]] | None = None,
    n_trials: int = 75,
    metric: str | tuple[str, str] = "loss",
    out: str | Path | None = None,
    storage: str | None = None,
    name: str | None = None,
    workers: int = 1,
    timeout: float | None = None,
    sampler: str = "tpe",
    pruner: str = "halving",
    keep: int = 3,
    random_state: int = 0,
    split_random_state: int = 42,
    verbose: bool = False,
    **settings: Any,
) -> TuneResult:
    """Tune a network on a table, and rank the table's columns by the best one.

    Called again, with the same `out` (or `storage` and `name`), the study goes on: trials whose process died are
    tried again, and when the total is met nothing is done. Other processes and machines that call it with the
    same `storage` take part.

    Parameters
    ----------
    table : Table
        Split 60/20/20: networks are fitted on the first part, compared on the second; the ranking and the test
        scores are of the third.
    space : {"hybrid", "mlp", "cnn", "batch_ensemble"} or callable
        The published search spaces; hybrids with embeddings of columns, scaling by rank and networks of a batch
        ensemble; or a function ``config = space(trial)`` that returns settings of
        `HybridClassifier` or `HybridRegressor`.
    ranges : mapping, optional
        Narrower than the space's own, where its largest networks would take too long:
        ``{"base_filters": (8, 32)}`` has the lowest and highest value of a number, ``{"optimizer": ["adam"]}`` the
        choices that stay.
    n_trials : int
        Finished (complete or pruned) trials that the study is to have in all, whatever ran before. Trials that
        fail are recorded with their reason and do not count.
    metric : str or pair of str
        What is optimised on the validation rows: "loss" (what training minimises), "parameters" (the network's
        size), or a score of `permgrad.evaluation.scores.scores` such as "auc" or "r2". A pair makes two objectives.
    out : path, optional
        Results directory, by default ``results/<table's name>``.
    storage : str, optional
        ``sqlite:///FILE`` (by default ``study.db`` in `out`), ``postgresql://...``, ``journal:///FILE`` or
        ``grpc://HOST:PORT``.
    name : str, optional
        Of the study; by default the table's.
    workers : int
        Processes on this machine. One runs in this process.
    timeout : float, optional
        Seconds after which no trial is begun; those that run are finished.
    sampler : {"tpe", "random", "nsgaii", "gp", "cmaes"}
    pruner : {"halving", "hyperband", "median", "none"}
        Stops hopeless trials by their validation metric after each epoch. Without effect with two objectives.
    keep : int
        Number of best trials whose networks stay on disk; with two objectives, those that no other beats stay.
    random_state : int
        Of suggestions, weights, row order and permutations.
    split_random_state : int
        Of the split into three parts.
    verbose : bool
        Show progress.
    **settings
        Of the estimator, where the space does not decide: ``epochs=30``, ``class_weight="balanced"``, ...

    Returns
    -------
    TuneResult

    Raises
    ------
    PermGradError
        If the study exists with another table, space, objective or setting; if trial after trial fails; for
        settings out of range, and ranges out of the space.
    """
    if workers < 1 or n_trials < 1 or keep < 1:
        raise PermGradError(f"n_trials, workers and keep must be at least 1, got {n_trials}, {workers} and {keep}")
    metrics = (metric,) if isinstance(metric, str) else tuple(metric)
    with quiet_optuna():
        within = narrowed(as_space(space), ranges or {})
    _check_metrics(metrics, table)
    train, val, test = table.split(random_state=split_random_state)
    settings = _checked(settings, table, random_state)
    directory = Path(out or Path("results") / table.name).resolve()
    job = Job(
        url=storage or f"sqlite:///{directory / 'study.db'}",
        name=name or table.name,
        objective=Objective(train, val, within, metrics, settings),
        identity=_identity(table, within, metrics, settings, split_random_state),
        directory=directory,
        n_trials=n_trials,
        deadline=None if timeout is None else time.time() + timeout,
        sampler=sampler,
        pruner=pruner,
        epochs=settings["epochs"],
        random_state=random_state,
        keep=keep,
    )
    make_sampler(sampler, random_state)
    make_pruner(pruner, settings["epochs"], job.steps_per_epoch)
    check_directory(job)
    with quiet_optuna(), Progress(begin(job), n_trials, verbose) as progress:
        study = progress.study
        queue_forgotten(study)
        if not study.get_trials(deepcopy=False):
            for params in next((trials for known, trials in FIRST.items() if known is within.space), ()):
                study.enqueue_trial(within.within(params))
        if len(finished(study)) < n_trials:
            if workers == 1:
                Worker(job, progress.say, progress.show).run()
            else:
                run_pool(job, workers, progress.say, progress.show)
        progress.show("drawing")
        return write_study(job, study, table, test)


def _check_metrics(metrics: tuple[str, ...], table: Table) -> None:
    known = ("loss", PARAMETERS, *SCORES[str(table.task)])
    if not 1 <= len(metrics) <= 2 or len(set(metrics)) < len(metrics) or not set(metrics) <= set(known):
        raise PermGradError(f"metric must be one or two of {listing(known, 20)} for {table.task}, got {metrics}")


def _checked(settings: dict[str, Any], table: Table, random_state: int) -> dict[str, Any]:
    """Return the estimator's settings with those that every trial shares; a wrong name fails here, not in trials."""
    kind = HybridClassifier if table.task == "classification" else HybridRegressor
    known = kind().get_params()
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise PermGradError(f"{kind.__name__} has no setting {listing(unknown)}; it has {listing(known, 30)}")
    given = settings.get("epochs")
    epochs = EPOCHS[str(table.task)] if given is None else given
    return kind(**{**settings, "epochs": epochs, "random_state": random_state}).get_params()


def _identity(
    table: Table, within: Narrowed, metrics: tuple[str, ...], settings: dict[str, Any], split_random_state: int
) -> dict[str, Any]:
    """Return what every process that takes part in the study must agree on."""
    return plain(
        {
            "table": {
                "name": table.name,
                "sha256": table.sha256,
                "rows": len(table),
                "features": len(table.features),
                "target": str(table.y.name),
                "task": table.task,
            },
            "space": {**describe(within.space), "ranges": dict(within.ranges)},
            "metric": list(metrics),
            "settings": {name: value for name, value in settings.items() if name != "verbose"},
            "split_random_state": split_random_state,
        }
    )
