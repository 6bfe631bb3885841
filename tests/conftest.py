"""What many tests share: small tables, a hand-made layout, and networks with random weights."""

from __future__ import annotations

import gc
import os
import shutil

if "PYTEST_XDIST_WORKER" in os.environ:  # a worker for each core: threads of its own would take turns with the other's
    for name in ("OMP_NUM_THREADS", "PERMGRAD_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(name, "1")

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

import permgrad as pg

mpl.use("Agg")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SMALL = {
    "preset": "published",
    "image_size": 8,
    "dense_units": (16,),
    "n_conv_layers": 1,
    "base_filters": 4,
    "head_units": (16,),
}
"""A network that fits in about a second; the default one takes longer to be traced."""

FAST_CHECKS = {
    "check_classifiers_regression_target",
    "check_complex_data",
    "check_dataframe_column_names_consistency",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_estimators_unfitted",
    "check_fit2d_1sample",
    "check_n_features_in_after_fitting",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
}
"""scikit-learn's checks that fit a network once or not at all."""

LONG = {
    "test_a_batch_ensemble_finds_a_planted_feature",
    "test_a_job_in_the_background_of_a_script_is_stopped_and_its_trials_wait",
    "test_a_small_network_from_end_to_end",
    "test_a_table_by_blocks",
    "test_bins_find_a_ring_among_noise",
    "test_every_family_is_built",
    "test_evidence_is_kept_and_printed",
    "test_every_precision_is_measured",
    "test_imagenets_network_and_its_file_are_one",
    "test_intervals_cover_what_the_recipe_gives_on_average",
    "test_intervals_hold_the_true_importance",
    "test_memory_does_not_grow_from_trial_to_trial",
    "test_null_features_are_flagged_in_one_of_twenty_at_most",
    "test_planted_problems_are_measured_once",
    "test_rows_explained_beside_shap",
    "test_several_networks_are_ranked_put_to_the_test_and_told_of",
    "test_the_referees_trainings_are_the_same_in_two_processes",
    "test_training_is_that_of_a_penalty_in_the_loss",
    "test_two_processes_measure_what_one_measures",
    "test_two_shards_of_columns_are_the_whole_run",
    "test_two_workers_on_postgresql_one_killed_meet_the_total_exactly",
    "test_workers_stop_when_the_process_that_began_them_is_killed",
}
"""Slow tests of fifteen seconds and more that say again, at length, what a shorter one says: before a release."""
LONGEST = {
    "test_it_runs_in_time",
}
"""Tests of a minute and more: begun last, one would run while the other worker has nothing left to do."""
LONG_FIXTURES = {"ranked", "trained_selectors", "tuned", "wide"}
"""Fixtures that train several networks, or run a whole command: what hangs on them is slow."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests of long fixtures slow, and those of scikit-learn that fit many networks; begin with the longest."""
    items.sort(key=lambda item: item.name.split("[")[0] not in LONGEST)
    for item in items:
        if LONG_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.xdist_group(item.path.parent.name))
        if {item.name.split("@")[0], item.name.split("[")[0]} & LONG:
            item.add_marker(pytest.mark.long)
    _mark_checks(items)


def _mark_checks(items: list[pytest.Item]) -> None:
    """Mark scikit-learn's other checks of networks slow: they come as parameters of one test.

    Networks are trained once, not again on rows that are read-only or float32: other checks fit a step on such rows.
    """
    for item in list(items):
        if getattr(item, "originalname", "") != "test_scikit_learns_checks":
            continue
        check = item.callspec.params["check"]
        if not hasattr(item.callspec.params["estimator"], "epochs") or check.func.__name__ in FAST_CHECKS:
            continue
        if check.func.__name__.endswith("_train") and check.keywords:
            items.remove(item)
        item.add_marker(pytest.mark.slow)
        if isinstance(item.callspec.params["estimator"], pg.HybridRegressor | pg.MLPClassifier | pg.SelectorClassifier):
            item.add_marker(pytest.mark.long)  # they are fitted as the hybrid classifier is


def pytest_collection_finish() -> None:
    """What is imported stays: TINTOlib and Keras collect garbage often, and need not look through all of TensorFlow."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def mixed_frame(rng: np.random.Generator) -> pd.DataFrame:
    """120 rows with every kind of column, gaps, a constant and an empty column."""
    n = 120
    age = rng.normal(50, 10, n)
    age[:7] = np.nan
    return pd.DataFrame(
        {
            "age": age,
            "colour": rng.choice(["red", "green", "blue"], n),
            "smoker": rng.random(n) < 0.5,
            "site": pd.Categorical(np.where(rng.random(n) < 0.1, None, rng.choice(["A", "B"], n))),
            "same": 3.0,
            "empty": np.nan,
            "dose": rng.integers(0, 5, n),
        }
    )


@pytest.fixture(scope="session")
def layout() -> pg.FeatureLayout:
    """Six features in 8 × 8 pixels, none on the diagonal, no two mirror images of each other."""
    rows, cols = np.array([0, 1, 5, 2, 7, 4], np.int32), np.array([3, 6, 1, 5, 2, 0], np.int32)
    names = tuple(f"f{i}" for i in range(6))
    return pg.FeatureLayout(names, rows, cols, (8, 8), np.zeros(6), np.ones(6), "by hand")


@pytest.fixture(scope="session")
def random_hybrid(layout: pg.FeatureLayout):
    """Return a hybrid of the layout's six features whose weights, BatchNorm's too, are random.

    Tests share it, and what is compiled for it; who changes it asks for a ``fresh`` one.
    """
    from permgrad.models.hybrid import HybridConfig, build_hybrid

    shared: dict[tuple, object] = {}

    def build(task: str, n_outputs: int, branches: tuple[str, ...] = ("tabular", "image")):
        config = HybridConfig(branches=branches, dense_units=(12, 8), n_conv_layers=2, base_filters=4, head_units=(10,))
        scale = {"target_mean": 3.0, "target_std": 2.0} if task == "regression" else {}
        model = build_hybrid(config, 6, n_outputs, layout=layout, task=task, **scale)
        generator = np.random.default_rng(1)
        for layer in model.layers:
            if layer.name.startswith("batch_normalization"):
                gamma, beta, mean, variance = layer.get_weights()
                noise = generator.normal(size=(3, *gamma.shape)) * 0.3
                layer.set_weights([gamma + noise[0], beta + noise[1], mean + noise[2], variance * 1.5])
        return model

    def get(*kind, fresh: bool = False):
        if fresh or kind not in shared:
            model = build(*kind)
            return model if fresh else shared.setdefault(kind, model)
        return shared[kind]

    return get


@pytest.fixture(scope="session")
def browser():
    """Return a real browser, one for all tests of a process: its driver cannot be begun twice."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no driver: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("no browser: apt install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()
