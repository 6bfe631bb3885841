"""`tune`: a table in, a tuned network and its ranking out."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from permgrad.data.table import Table
from permgrad.errors import PermGradError, listing
from permgrad.estimators.hybrid import HybridClassifier, HybridRegressor
from permgrad.files import plain
from permgrad.metrics.scores import SCORES
from permgrad.training.config import EPOCHS
from permgrad.tuning._directory import begin, check_directory
from permgrad.tuning._job import Job
from permgrad.tuning._pool import run_pool
from permgrad.tuning._progress import Progress
from permgrad.tuning._worker import Worker
from permgrad.tuning._writing import write_study
from permgrad.tuning.constraints import PARAMETERS, check_constraints
from permgrad.tuning.objective import Objective
from permgrad.tuning.ranges import Narrowed, narrowed
from permgrad.tuning.result import TuneResult
from permgrad.tuning.spaces import FIRST, Space, as_space, describe
from permgrad.tuning.strategy import make_pruner, make_sampler
from permgrad.tuning.study import finished, queue_forgotten, quiet_optuna


def tune(
    table: Table,
    space: str | Space = "hybrid",
    *,
    ranges: Mapping[str, Sequence[Any]] | None = None,
    settings: Mapping[str, Any] | None = None,
    metric: str | tuple[str, str] = "loss",
    n_trials: int = 75,
    timeout: float | None = None,
    n_workers: int = 1,
    out: str | Path | None = None,
    storage: str | None = None,
    study_name: str | None = None,
    keep: int = 3,
    constraints: Mapping[str, float] | None = None,
    terminate: int | None = None,
    rank: bool = True,
    sampler: str = "tpe",
    pruner: str = "halving",
    random_state: int = 0,
    split_random_state: int = 42,
    verbose: bool = False,
) -> TuneResult:
    """Tune a network on a table, and rank the table's columns by the best network.

    Another call with the same `out` (or `storage` and `study_name`) resumes the study: trials whose process died are
    tried again; once there are `n_trials`, nothing runs. Other processes and machines that call it with the same
    `storage` take part.

    Parameters
    ----------
    table : Table
        Split 60/20/20: networks are fitted on the first part, compared on the second; the ranking and the test
        scores are of the third.
    space : {"hybrid", "mlp", "cnn", "batch_ensemble"} or callable
        The published search spaces; hybrids with embeddings of columns, scaling by rank and a batch ensemble; or a
        function ``config = space(trial)`` that returns settings of `HybridClassifier` or `HybridRegressor`.
    ranges : mapping, optional
        Narrower than the space's own, where its largest networks would take too long:
        ``{"base_filters": (8, 32)}`` has the lowest and highest value of a number, ``{"optimizer": ["adam"]}`` the
        choices that stay.
    settings : mapping, optional
        Of the estimator, where the space does not decide: ``{"epochs": 30, "class_weight": "balanced"}``. A preset
        given here goes before the built-in spaces' ("published").
    metric : str or pair of str
        The objective on the validation rows: "loss" (what training minimises), "parameters" (the network's
        size), or a score of `permgrad.metrics.scores.scores` such as "auc" or "r2". A pair makes two objectives.
    n_trials : int
        Total number of finished (complete or pruned) trials of the study, including earlier ones. Failed trials are
        recorded with their reason and do not count.
    timeout : float, optional
        Seconds after which no trial is started; running trials are finished.
    n_workers : int
        Processes on this machine. One runs in this process.
    out : path, optional
        Results directory, by default ``results/<table's name>``.
    storage : str, optional
        ``sqlite:///FILE`` (by default ``study.db`` in `out`), ``postgresql://...``, ``journal:///FILE`` or
        ``grpc://HOST:PORT``.
    study_name : str, optional
        By default the table's name.
    keep : int
        Number of best trials whose networks stay on disk; with two objectives, those on the Pareto front stay.
    constraints : mapping, optional
        What a trial must keep within to be the best: ``{"parameters": 50_000, "seconds": 60, "auc": 0.8}``. Of
        "parameters", "seconds" (of the fit, on the machine that ran it), "loss", "calibration_error" (of classes, see
        `permgrad.expected_calibration_error`) and scores, all on the validation rows: the most that it may be; of a
        score that is better when higher, the least. A network that is too large is not trained, one that takes too
        long is stopped.
    terminate : int, optional
        End the study before `n_trials` when this many finished trials in a row have bettered the best value by no
        more than its standard error over the validation rows. Of one objective alone.
    rank : bool
        Rank the columns by the best network, and write its results and their page. Otherwise only the study's own
        tables and pictures are written: for who wants `TuneResult.best_model` alone.
    sampler : {"tpe", "random", "nsgaii", "gp", "cmaes"}
        Who suggests trials. "random" and "cmaes" do so without regard to constraints.
    pruner : {"halving", "hyperband", "median", "none"}
        Stops hopeless trials, by their validation metric after each epoch. It has no effect with two objectives.
    random_state : int
        Of suggestions, weights, row order and permutations.
    split_random_state : int
        Of the split into three parts.
    verbose : bool
        Show progress.

    Returns
    -------
    TuneResult

    Raises
    ------
    PermGradError
        If the study exists with another table, space, objective, constraint or setting; if trial after trial fails, or
        no trial meets the constraints; if settings are out of range, or ranges out of the space.

    Warns
    -----
    UserWarning
        If there are constraints, and the sampler is "cmaes".

    Examples
    --------
    >>> def space(trial):
    ...     return {"branches": "tabular", "dense_units": (trial.suggest_int("units", 2, 8),), "head_units": (4,)}
    >>> result = pg.tune(table, space, n_trials=2, out="tuned", settings={"epochs": 1}, pruner="none")
    >>> len(result.trials), sorted(result.best_params)
    (2, ['units'])
    """
    for name, number in (("n_trials", n_trials), ("n_workers", n_workers), ("keep", keep)):
        if number < 1:
            raise PermGradError(f"{name} must be at least 1, got {number}")
    metrics = _metrics(metric, table)
    _check_terminate(terminate, metrics)
    train, val, test = table.split(random_state=split_random_state)
    objective = Objective(
        train,
        val,
        _space(space, ranges),
        metrics,
        _settings(settings, table, random_state),
        check_constraints(constraints, str(table.task)),
    )
    directory = Path(out or Path("results") / table.name).resolve()
    job = Job(
        url=f"sqlite:///{directory / 'study.db'}" if storage is None else storage,
        name=study_name or table.name,
        objective=objective,
        identity=_identity(table, objective, split_random_state),
        directory=directory,
        n_trials=n_trials,
        deadline=None if timeout is None else time.time() + timeout,
        sampler=sampler,
        pruner=pruner,
        random_state=random_state,
        keep=keep,
        terminate=terminate,
        rank=rank,
    )
    _check_job(job)
    with quiet_optuna(), Progress(begin(job), n_trials, verbose) as progress:
        run_trials(job, progress, n_workers)
        progress.show("drawing")
        return write_study(job, progress.study, table, test)


def _check_job(job: Job) -> None:
    """Raise for what would fail only when trials run: the sampler, the pruner, and the directory."""
    make_sampler(job.sampler, job.random_state)
    make_pruner(job.pruner, job.epochs, job.steps_per_epoch)
    check_directory(job)
    if job.objective.constraints and job.sampler == "cmaes":
        warnings.warn(
            "sampler 'cmaes' suggests trials without regard to constraints; those beyond them are left out all the"
            " same. To have them regarded, choose tpe, gp or nsgaii",
            UserWarning,
            stacklevel=3,
        )


def _check_terminate(terminate: int | None, metrics: tuple[str, ...]) -> None:
    if terminate is not None and terminate < 1:
        raise PermGradError(f"terminate must be at least 1, or None, got {terminate}")
    if terminate is not None and len(metrics) > 1:
        raise PermGradError("terminate is for one objective: of two, no value is the best; leave it out")


def run_trials(job: Job, progress: Progress, n_workers: int = 1) -> None:
    """Run trials until the study has its total; the first of a new study are the space's own first ones."""
    study, space = progress.study, job.objective.space
    queue_forgotten(study)
    if not study.get_trials(deepcopy=False):
        for params in next((trials for known, trials in FIRST.items() if known is space.space), ()):
            study.enqueue_trial(space.within(params))
    if len(finished(study)) >= job.n_trials:
        return
    if n_workers == 1:
        Worker(job, progress.say, progress.show).run()
    else:
        run_pool(job, n_workers, progress.say, progress.show)


def _space(space: str | Space, ranges: Mapping[str, Sequence[Any]] | None) -> Narrowed:
    with quiet_optuna():
        return narrowed(as_space(space), ranges or {})


def _metrics(metric: str | tuple[str, str], table: Table) -> tuple[str, ...]:
    metrics = (metric,) if isinstance(metric, str) else tuple(metric)
    known = ("loss", PARAMETERS, *SCORES[str(table.task)])
    if not 1 <= len(metrics) <= 2 or len(set(metrics)) < len(metrics) or not set(metrics) <= set(known):
        raise PermGradError(f"metric must be one or two of {listing(known, 20)} for {table.task}, got {metrics}")
    return metrics


def _settings(settings: Mapping[str, Any] | None, table: Table, random_state: int) -> dict[str, Any]:
    """Return the estimator's settings with those that every trial shares; a wrong name fails here, not in trials."""
    settings = settings or {}
    kind = HybridClassifier if table.task == "classification" else HybridRegressor
    known = kind().get_params()
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise PermGradError(f"{kind.__name__} has no setting {listing(unknown)}; it has {listing(known, 30)}")
    epochs = settings.get("epochs") or EPOCHS[str(table.task)]
    shared = kind(**{**settings, "epochs": epochs, "random_state": random_state}).get_params()
    return shared if "preset" in settings else {name: value for name, value in shared.items() if name != "preset"}


def _identity(table: Table, objective: Objective, split_random_state: int) -> dict[str, Any]:
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
            "space": {**describe(objective.space.space), "ranges": dict(objective.space.ranges)},
            "metric": list(objective.metrics),
            "settings": {name: value for name, value in objective.settings.items() if name != "verbose"},
            "split_random_state": split_random_state,
            **({"constraints": objective.constraints} if objective.constraints else {}),
        }
    )
