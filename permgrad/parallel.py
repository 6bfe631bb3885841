"""Independent pieces of work side by side, through joblib: on this machine's cores, or on a cluster's.

joblib decides where they run: ``n_jobs`` processes of this machine; or what ``joblib.parallel_config`` names,
``"dask"`` and ``"ray"`` among it. Everything in this package that is many trainings, or many columns, asks here.

A cluster's workers need this package, and one thread each (``LocalCluster(threads_per_worker=1)``)::

    with dask.distributed.Client("tcp://scheduler:8786"), joblib.parallel_config(backend="dask"):
        permgrad.rank_recipe(estimator, table, trainings=20)

Ray's backend is made known by ``ray.util.joblib.register_ray()``; then it is ``backend="ray", n_jobs=-1``.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from numbers import Integral
from typing import Any, TypeVar

import cloudpickle
import joblib

from permgrad.errors import PermGradError

T = TypeVar("T")
Done = tuple[Any, list[str], Exception | None]
"""What a worker hands back of a job: its result, its warnings, and what it raised."""
TOLD = ("KERAS_BACKEND", "PERMGRAD_THREADS", "TF_ENABLE_ONEDNN_OPTS")
"""Environment variables that decide how a network's numbers are rounded: a worker is told ours."""
OF_WORKERS = {"PERMGRAD_THREADS": "1", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
"""What holds in a worker unless it is told otherwise: processes share the cores, and a GPU's memory."""
READ_BY = "permgrad.backend"
"""The module that reads them, once."""


def run(function: Callable[..., T], jobs: Iterable[tuple[Any, ...]], n_jobs: int | None = None) -> Iterator[T]:
    """Call a function with the arguments of each job; return an iterator of the results, in the order of the jobs.

    Parameters
    ----------
    function : callable
    jobs : iterable of tuple
        Arguments: settings, arrays, seeds and unfitted estimators, which cloudpickle can send; never a live network.
        Taken one by one as workers are free (one after the other, each when the result before it has been taken, where
        there are no workers), so that what makes them can end early.
    n_jobs : int, optional
        Processes; -1 for one a core. By default what ``joblib.parallel_config`` says, and without it none: the jobs are
        done here, one after the other. So they are inside of a job, and where joblib is told to use threads, which
        would share TensorFlow's state.

    Returns
    -------
    iterator
        Warnings of a job are given here, before its result.

    Raises
    ------
    PermGradError
        For an `n_jobs` that is no number of processes; if a process is killed. (A Dask cluster gives the job to another
        worker.) What a job raises is raised as its result is taken.

    Notes
    -----
    TensorFlow has one thread in each process, unless ``PERMGRAD_THREADS`` says otherwise here, and two where there are
    no processes. It rounds differently in other numbers of threads, and so do other processors. With the same number
    (``PERMGRAD_THREADS=1``) and processors, results are equal, bit by bit, whatever engine and number of workers.
    """
    if count_workers(n_jobs) == 1:
        return (function(*job) for job in jobs)
    return _results(function, jobs, n_jobs)


def count_workers(n_jobs: int | None = None) -> int:
    """Return how many jobs `run` does at a time."""
    if n_jobs is not None and (not isinstance(n_jobs, Integral) or n_jobs == 0):
        raise PermGradError(f"n_jobs must be a number of processes, or -1 for one a core, got {n_jobs!r}")
    backend, _ = joblib.parallel.get_active_backend()
    return 1 if getattr(backend, "uses_threads", False) else int(joblib.effective_n_jobs(n_jobs))


def workers(n_jobs: int | None) -> AbstractContextManager[Any]:
    """Have what runs inside the block use so many processes; None leaves it as it is."""
    return nullcontext() if n_jobs is None else joblib.parallel_config(n_jobs=n_jobs)


def _results(function: Callable[..., T], jobs: Iterable[tuple[Any, ...]], n_jobs: int | None) -> Iterator[T]:
    from joblib.externals.loky.process_executor import BrokenProcessPool

    try:
        for result, notes, error in _done(_calls(function, jobs), n_jobs):
            for note in notes:
                warnings.warn(note, stacklevel=3)
            if error is not None:  # in its turn: what was done before is the caller's already
                raise error
            yield result
    except BrokenProcessPool as error:
        raise PermGradError(
            "a worker process was killed, as the operating system does where memory is short; use fewer processes"
            " (n_jobs, --workers)"
        ) from error


def _done(calls: Iterator[Any], n_jobs: int | None) -> Iterator[Done]:
    """Yield what workers hand back, in order. Jobs are taken when workers are free: a time limit may be over then."""
    backend, _ = joblib.parallel.get_active_backend()
    if getattr(backend, "supports_return_generator", False):
        yield from joblib.Parallel(n_jobs=n_jobs, return_as="generator", pre_dispatch="n_jobs", batch_size=1)(calls)
        return
    # Such as Ray's, which hands back all results of a call at once: a call for as many jobs as there are workers.
    at_a_time = count_workers(n_jobs)
    while part := list(islice(calls, at_a_time)):
        yield from joblib.Parallel(n_jobs=n_jobs, batch_size=1)(part)


def _calls(function: Callable[..., Any], jobs: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
    """Yield joblib's calls; an error on the way becomes a job's: joblib would wait forever for what fails here."""
    told = {name: os.environ[name] for name in TOLD if name in os.environ}
    if "keras" in sys.modules:
        told["KERAS_BACKEND"] = sys.modules["keras"].backend.backend()
    try:
        for job in jobs:
            # Sent as bytes: the function's module may import TensorFlow, which reads its settings then.
            yield joblib.delayed(_perform)(_as_bytes(function, job), told)
    except Exception as error:
        yield joblib.delayed(_failed)(error)


def _as_bytes(function: Callable[..., Any], job: tuple[Any, ...]) -> bytes:
    try:
        return cloudpickle.dumps((function, job))
    except Exception as error:  # of an open file, a lock, ...
        raise PermGradError(
            f"what is to be done cannot be sent to a process ({error}); do it here (n_jobs=1)"
        ) from error


def _perform(sent: bytes, told: dict[str, str]) -> Done:
    """Do a job in a worker."""
    if READ_BY not in sys.modules:
        for name, value in {**OF_WORKERS, **os.environ, **told}.items():
            os.environ[name] = value
    with joblib.parallel_config(backend="sequential", n_jobs=1), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        result, raised = None, None
        try:
            function, job = cloudpickle.loads(sent)
            result = function(*job)
        except Exception as error:
            error.add_note(f"in a worker process:\n{traceback.format_exc()}")
            raised = error
    return result, [str(warning.message) for warning in caught if warning.category is UserWarning], raised


def _failed(error: Exception) -> Done:
    return None, [], error
