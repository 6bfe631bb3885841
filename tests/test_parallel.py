"""Work side by side: results in order, once each, equal to those of a plain loop, whatever does it."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
from joblib._parallel_backends import LokyBackend
from sklearn.linear_model import LinearRegression

import permgrad as pg
from permgrad.parallel import count_workers, run, workers
from tests.conftest import SMALL

THREADS = "PERMGRAD_THREADS"
TINY = {**SMALL, "branches": ("tabular",), "epochs": 2, "n_networks": 2}


@pytest.fixture
def same_threads(monkeypatch):
    """Workers have as many of TensorFlow's threads as this process."""
    from permgrad.backend import N_THREADS

    monkeypatch.setenv(THREADS, os.environ.get(THREADS, str(N_THREADS)))


# Lambdas are sent by value: a process that only knows them need not import this file, and TensorFlow with it.
square = lambda x: x * x  # noqa: E731
told = lambda name: (os.environ.get(name), os.getpid())  # noqa: E731
nested = lambda x: (os.getpid(), list(run(square, ((x,), (x + 1,)), 2)))  # noqa: E731


def test_without_workers_jobs_are_done_here_one_by_one_as_they_are_asked_for():
    taken = []

    def jobs():
        for x in range(4):
            taken.append(x)
            yield (x,)

    results = run(square, jobs())
    assert next(results) == 0
    assert taken == [0]
    assert list(results) == [1, 4, 9]
    assert count_workers() == 1


def test_it_is_joblibs_to_say_how_many_and_threads_are_none():
    with workers(3):
        assert count_workers() == 3
    with joblib.parallel_config(backend="threading", n_jobs=3):
        assert count_workers() == 1
    with workers(None):
        assert count_workers() == 1


@pytest.mark.parametrize("n_jobs", [0, "two", 1.5])
def test_no_number_of_processes(n_jobs):
    with pytest.raises(pg.PermGradError, match="n_jobs must be a number of processes, or -1 for one a core"):
        run(square, [], n_jobs)


def test_processes_give_results_in_order_with_warnings_and_errors_and_are_told_of_threads(monkeypatch):
    monkeypatch.setenv(THREADS, "3")
    assert list(run(square, ((x,) for x in range(5)), 2)) == [0, 1, 4, 9, 16]
    assert {threads for threads, _ in run(told, [(THREADS,)] * 3, 2)} == {"3"}
    with monkeypatch.context() as patch:  # as of Ray's
        patch.setattr(LokyBackend, "supports_return_generator", False)
        assert list(run(square, ((x,) for x in range(5)), 2)) == [0, 1, 4, 9, 16]
    (pid, inner), _ = run(nested, [(2,), (3,)], 2)
    assert (pid != os.getpid(), inner) == (True, [4, 9])
    with pytest.raises(pg.PermGradError, match="cannot be sent to a process"):
        list(run(square, [(threading.Lock(),)], 2))
    inverse = lambda x: warnings.warn(f"job {x}", UserWarning, stacklevel=1) or 1 / x  # noqa: E731
    results = run(inverse, ((x,) for x in (1, 2, 0)), 2)
    with pytest.warns(UserWarning, match="job 1"):
        assert next(results) == 1
    with pytest.warns(UserWarning, match="job 2"):
        assert next(results) == 0.5
    with pytest.warns(UserWarning, match="job 0"), pytest.raises(ZeroDivisionError):
        next(results)


def test_an_error_of_what_makes_jobs_does_not_hang():
    def jobs():
        yield from [(x,) for x in range(3)]
        raise pg.PermGradError("no more of these")

    results = run(square, jobs(), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    with pytest.raises(pg.PermGradError, match="no more of these"):
        next(results)


@pytest.mark.slow
def test_a_worker_has_one_thread_unless_told_and_a_killed_one_is_told_of(monkeypatch):
    monkeypatch.delenv(THREADS, raising=False)
    joblib.externals.loky.get_reusable_executor().shutdown()  # those that were told otherwise
    assert {threads for threads, _ in run(told, [(THREADS,)] * 3, 2)} == {"1"}
    with pytest.raises(pg.PermGradError, match=r"a worker process was killed.*--workers"):
        list(run(lambda: os.kill(os.getpid(), signal.SIGKILL), [(), ()], 2))


@pytest.fixture(scope="module")
def table() -> pg.Table:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(100, 3)), columns=list("abc"))
    return pg.Table(X, 2 * X["a"] + X["b"] + rng.normal(size=100), task="regression")


@pytest.mark.slow
def test_two_processes_give_what_one_gives(table, same_threads):
    """A recipe's trainings, and the networks of one estimator: the same numbers to the last bit."""
    recipe = {"trainings": 2, "formula": "game"}
    estimator = pg.HybridRegressor(**{**TINY, "n_networks": 1})
    assert pg.rank_recipe(estimator, table, **recipe, n_jobs=2) == pg.rank_recipe(estimator, table, **recipe)
    here, there = (pg.HybridRegressor(**TINY, n_jobs=n_jobs).fit(table) for n_jobs in (1, 2))
    np.testing.assert_array_equal(here.predict(table.X), there.predict(table.X))
    np.testing.assert_array_equal(here.residuals_, there.residuals_)
    assert (here.history_, here.kept_epoch_) == (there.history_, there.kept_epoch_)
    ranked = {"formula": "game", "budget": pg.Budget(tolerance=0.1)}
    assert here.rank_features(table, **ranked) == there.rank_features(table, **ranked)
    several = [LinearRegression(), estimator]
    here, there = (pg.AveragedRegressor(several, n_jobs=n_jobs).fit(table.X, table.y) for n_jobs in (1, 2))
    np.testing.assert_array_equal(here.predict(table.X), there.predict(table.X))


@pytest.mark.slow
def test_the_referees_trainings_are_the_same_in_two_processes(table, same_threads):
    train, val, test = table.split()
    estimator = pg.HybridRegressor(**{**TINY, "n_networks": 1}).fit(train, validation_data=val)
    ranking = estimator.rank_features(test)
    given = {"validation_data": val, "parts": ("retrain", "stability"), "n_trainings": 2, "retrain_with": estimator}
    here, there = (pg.evaluate_ranking(estimator, ranking, train, test, **given, n_jobs=n) for n in (1, 2))
    pd.testing.assert_frame_equal(here.retrain, there.retrain)
    assert here.stability == there.stability


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Ray, about its own processes
def test_ray_gives_what_one_process_gives(table, same_threads):
    ray = pytest.importorskip("ray", reason="Ray's joblib backend: pip install ray")
    from ray.util.joblib import register_ray

    estimator, recipe = pg.HybridRegressor(**{**TINY, "n_networks": 1}), {"trainings": 2, "formula": "game"}
    expected = pg.rank_recipe(estimator, table, **recipe)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        register_ray()
        with joblib.parallel_config(backend="ray", n_jobs=2):
            assert pg.rank_recipe(estimator, table, **recipe) == expected
    finally:
        ray.shutdown()


@pytest.mark.slow
def test_a_dask_worker_dies_and_nothing_is_lost_or_given_twice(tmp_path):
    distributed = pytest.importorskip("distributed")
    died = tmp_path / "died"

    def dies_once(x):
        time.sleep(0.1)
        if x == 2 and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return x * x

    settings = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    with (
        warnings.catch_warnings(),
        distributed.LocalCluster(**settings) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        warnings.simplefilter("ignore")  # of distributed, about its own processes
        assert count_workers() == 2
        assert {pid for _, pid in run(told, [(THREADS,)] * 4)}.isdisjoint({os.getpid()})
        assert list(run(dies_once, ((x,) for x in range(6)))) == [0, 1, 4, 9, 16, 25]
    assert died.exists()
