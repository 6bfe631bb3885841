"""Columns to look at where rows are few: planted ones are found, and what says nothing is left out."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest

import permgrad as pg
from permgrad.backend import keras
from permgrad.estimators import _screening as screening
from permgrad.estimators._screening import relevant_features, worth_screening
from permgrad.models.screening import MOST_INPUTS, N_BINS, build_screen, embedding
from permgrad.training.batches import Batches


@pytest.mark.parametrize(
    ("n_rows", "n_features", "expected"),
    [
        (199, 12, False),
        (220, 7, False),
        (512, 8, False),  # 64 rows for each
        (511, 8, True),
        (6400, 100, False),
        (6399, 100, True),
        (20_000, 1000, True),
        (20_001, 1000, False),
        (200, 1000, True),
        (200, 1001, False),
        (10**6, 10, False),
    ],
)
def test_where_it_is_worth_its_time(n_rows, n_features, expected):
    assert worth_screening(n_rows, n_features) is expected


def planted(problem, n_rows: int, n_features: int, random_state: int = 1):
    """Return training rows, deciding rows and what is relevant."""
    table = problem(n_rows + n_rows // 4, n_features, random_state=random_state)
    X = table.X.to_numpy(np.float32)
    y = np.searchsorted(table.classes, table.y)
    relevant = {table.X.columns.get_loc(name) for name in table.notes["relevant"]}
    return (X[:n_rows], y[:n_rows]), (X[n_rows:], y[n_rows:]), relevant


@pytest.mark.slow
def test_both_columns_of_xor_are_found_among_twenty():
    """Neither tells anything alone."""
    train, deciding, relevant = planted(pg.toy.xor, 400, 20)
    found = relevant_features(train, deciding, np.arange(20), list(range(20)), task="classification", random_state=0)
    assert found is not None
    assert relevant <= set(np.flatnonzero(found.relevant))
    assert found.relevant.sum() <= 4
    assert not found.redundant.any()


@pytest.mark.slow
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_columns_of_one_category_are_one_feature_and_copies_are_kept(task, rng):
    """Feature 0 is three 0/1 columns; feature 2 is a copy of 1; the others are noise."""
    kind, X = rng.integers(0, 3, 500), rng.normal(size=(500, 24)).astype(np.float32)
    X[:, :3] = np.eye(3)[kind]
    X[:, 4] = X[:, 3]
    value = 2.0 * (kind == 1) + X[:, 3] + 0.3 * rng.normal(size=500)
    y = (value > 0.6).astype(int) if task == "classification" else value
    owners = np.array([0, 0, 0, 1, 2, *range(3, 22)])
    found = relevant_features(
        (X[:400], y[:400]), (X[400:], y[400:]), owners, list(range(3, 24)), task=task, random_state=0
    )
    assert found is not None
    assert found.relevant.shape == (22,)
    assert found.relevant[:3].all()
    assert found.relevant[3:].sum() <= 2
    assert np.flatnonzero(found.redundant).tolist() == [1, 2]


@pytest.mark.slow
def test_a_pair_that_others_mask_is_found():
    """A network with 64 columns finds the xor and the sum, and misses the ring's two columns, also among the others."""
    problem = functools.partial(pg.toy.ring_xor_sum, cut_points="published")
    train, deciding, relevant = planted(problem, 666, 64, random_state=102)
    found = relevant_features(train, deciding, np.arange(64), list(range(64)), task="classification", random_state=102)
    assert found is not None
    assert set(np.flatnonzero(found.relevant)) == relevant


class Played:
    """A screen whose tests and trainings are written down beforehand.

    Of each test, the features that it finds; of each training (rises of open features, loss, learned). Trainings are
    told by the features that are allowed, and behind a bar those known.
    """

    def __init__(self, *answers, tests=()):
        self.answers, self.tests, self.asked = list(answers), list(tests), []
        self.nothing, self.waves, self.better = self._run({}, 1.0, False), None, True

    def __call__(self, *_):
        return self

    def _run(self, rises, loss, learned, known=()):
        is_open = np.isin(np.arange(6), [*rises, *known])
        rises = np.array([rises.get(i, 0.0) for i in range(6)])
        return screening._Run(is_open, rises, np.array([loss]), np.zeros((1, 1)), learned)

    def train(self, allowed, known=None):
        already = np.flatnonzero((known or self.nothing).open)
        told = "".join(map(str, np.flatnonzero(allowed)))
        self.asked.append(f"{told}|{''.join(map(str, already))}" if len(already) else told)
        return self._run(*self.answers.pop(0), already)

    def unexplained(self, residuals, functions, known):
        return np.isin(np.arange(6), self.tests.pop(0) if self.tests else []) & ~known

    sufficient = screening._Screen.sufficient
    with_missed = screening._Screen.with_missed
    refined = screening._Screen.refined

    def with_repeats(self, features):
        return features

    def better_without_others(self, features):
        self.asked.append("better?")
        return self.better

    def redundant(self, features):
        return features & (np.arange(6) == 4)


def screened_by(played, monkeypatch, n_rows=119):
    monkeypatch.setattr(screening, "_Screen", played)
    monkeypatch.setattr(screening, "unexplained", played.unexplained)
    rows = np.zeros((n_rows, 6))
    return relevant_features((rows, None), (None, None), np.arange(6), [], task="regression", random_state=0)


NOTHING = ({}, 1.0, False)


@pytest.mark.parametrize(
    ("tests", "answers", "asked", "expected"),
    [
        ([], [NOTHING], "012345", None),
        (  # four open, two of them needed; without the others the loss is hardly worse; the rest tells nothing
            [],
            [({0: 3, 1: -1, 2: 3, 3: -0.1}, 0.5, True), ({0: 3, 2: 3}, 0.505, True), NOTHING, NOTHING],
            "012345 02 1345|02 1345",
            [0, 2],
        ),
        (  # without two of the three the loss is worse by more than 0.01: all three stay
            [],
            [({0: 3, 1: -1, 2: -1}, 0.5, True), ({0: 3}, 0.52, True), NOTHING, NOTHING],
            "012345 0 345|012 345",
            [0, 1, 2],
        ),
        (  # one that may do some good goes if the loss is no worse without it
            [],
            [({0: 3, 1: 0.5, 2: 3}, 0.5, True), ({0: 3, 2: 3}, 0.5, True), NOTHING, NOTHING],
            "012345 02 1345|02 1345",
            [0, 2],
        ),
        (  # and stays if it is
            [],
            [({0: 3, 1: 0.5, 2: 3}, 0.5, True), ({0: 3, 2: 3}, 0.505, True), NOTHING, NOTHING],
            "012345 02 345|012 345",
            [0, 1, 2],
        ),
        (  # a copy, which adds nothing to what it copies, is found without it; a third round finds nothing
            [],
            [({1: 3}, 0.5, True), NOTHING, ({4: 3}, 0.6, True), NOTHING],
            "012345 02345|1 02345 0235",
            [1, 4],
        ),
        (  # all tell something: no mask
            [],
            [({0: 3, 1: 3, 2: 3}, 0.5, True), NOTHING, ({3: 3, 4: 3, 5: 3}, 0.5, True)],
            "012345 345|012 345",
            [0, 1, 2, 3, 4, 5],
        ),
        (  # tests find a pair, and another in what the first leaves; the network finds nothing more
            [[1, 3], [2, 4], []],
            [({1: 3, 3: 0}, 0.5, True), ({1: 3, 2: -1, 3: 0, 4: 0}, 0.55, True), NOTHING, NOTHING],
            "13 1234 05|1234 05",
            [1, 2, 3, 4],
        ),
        (  # the network, given what tests find, finds more: this is refined, the rest is not; tests then find another
            [[1], [], [5]],
            [
                ({1: 3}, 0.5, True),
                ({1: 0, 2: 3, 3: -1, 4: 3}, 0.3, True),
                ({1: 0, 2: 3, 4: 3}, 0.3, True),
                ({1: 0, 2: 3, 4: 3, 5: 3}, 0.2, True),
                NOTHING,
                NOTHING,
            ],
            "1 02345|1 124|1 1245 03|1245 03",
            [1, 2, 4, 5],
        ),
        ([[3]], [NOTHING, NOTHING], "3 012345", None),  # a network does not learn what a test found by chance
        ([[0, 1, 2, 3, 4, 5]], [({}, 0.5, True)], "012345", [0, 1, 2, 3, 4, 5]),
    ],
    ids=[
        "nothing",
        "refined",
        "worse",
        "doubtful",
        "of use",
        "copies",
        "all",
        "missed",
        "beyond",
        "by chance",
        "tested",
    ],
)
def test_rounds_by_hand(tests, answers, asked, expected, monkeypatch):
    played = Played(*answers, tests=tests)
    found = screened_by(played, monkeypatch)
    assert " ".join(played.asked) == asked
    assert played.answers == []
    assert (None if found is None else np.flatnonzero(found.relevant).tolist()) == expected
    assert found is None or np.flatnonzero(found.redundant).tolist() == [i for i in expected if i == 4]


def test_what_a_set_repeats_is_kept_with_it_and_not_looked_for_again(monkeypatch):
    played = Played(({1: 3}, 0.5, True), NOTHING, ({4: 3}, 0.6, True), NOTHING)
    played.with_repeats = lambda features: features | (np.arange(6) == np.flatnonzero(features)[0] + 1)
    found = screened_by(played, monkeypatch)
    assert found is not None
    assert played.asked == ["012345", "02345|1", "0345", "03"]
    assert np.flatnonzero(found.relevant).tolist() == [1, 2, 4, 5]


@pytest.mark.parametrize("better", [False, True])
def test_with_twenty_rows_a_feature_the_others_are_masked_only_if_this_is_better(better, monkeypatch):
    for n_rows in (119, 120):
        played = Played(({0: 3}, 0.5, True), NOTHING, NOTHING, tests=[[0]])
        played.better = better
        found = screened_by(played, monkeypatch, n_rows)
        assert ("better?" in played.asked) == (n_rows == 120)
        assert (found is None) == (n_rows == 120 and not better)


@pytest.mark.parametrize(("gain", "expected"), [(0.21, True), (0.19, False)])
def test_better_is_two_standard_errors(gain, expected):
    """Of 100 rows whose gains have a standard deviation of 1."""
    screen = object.__new__(screening._Screen)
    none = np.zeros(3)
    screen.nothing = screening._Run(none > 0, none, none, none, False)
    losses = {3: gain + np.tile([-1.0, 1.0], 50), 1: np.zeros(100)}
    screen.train = lambda allowed, known: replace(screen.nothing, losses=losses[int(known.open.sum())])
    assert screen.better_without_others(np.arange(3) == 1) is expected


def test_after_the_last_round_the_rest_is_kept(monkeypatch):
    """After the first and two more rounds, each of which finds one of six features, the others still tell something."""
    monkeypatch.setattr(screening, "MOST_ROUNDS", 2)
    answers = [({i: 3}, 0.5, True) for i in range(3)]
    found = screened_by(Played(answers[0], NOTHING, *answers[1:]), monkeypatch)
    assert found is not None
    assert found.relevant.all()


@pytest.mark.slow
def test_known_features_are_open_and_what_is_learned_goes_beyond_them(rng):
    """Feature 0 tells all: given it, feature 1, which tells half, adds nothing; alone it does."""
    X = rng.normal(size=(500, 3)).astype(np.float32)
    X[:, 1] += X[:, 0]
    y = (X[:, 0] > 0).astype(int)
    screen = screening._Screen(
        (X[:400], y[:400]), (X[400:], y[400:]), np.arange(3), [0, 1, 2], "classification", random_state=0
    )
    first = np.arange(3) == 0
    known = screen.train(first)
    assert known.learned
    more = screen.train(~first, known)
    assert more.open[0]
    assert screen.gates.gate.numpy()[0] > 8
    assert not more.learned
    alone = screen.train(np.arange(3) == 1)
    assert alone.learned
    assert not alone.open[0]


def test_a_rise_is_the_loss_that_a_permutation_adds_in_its_standard_errors():
    """Two inputs, one feature each; the loss is the first input's square, so the second's permutation adds nothing."""
    screen = object.__new__(screening._Screen)
    screen.rows, screen.owners, screen.random_state, screen.runs = (
        np.array([[0.0, 5], [0, 1], [4, 2]]),
        np.arange(2),
        0,
        1,
    )
    screen.model = type("Model", (), {"predict_on_batch": staticmethod(lambda rows: rows[:, :1])})()
    screen._losses = lambda output: output[:, 0] ** 2
    losses = screen.rows[:, 0] ** 2
    rng, rise = np.random.default_rng([0, 1]), np.zeros(3)
    for _ in range(screening.REPEATS):
        rise += (screen.rows[rng.permutation(3), 0] ** 2 - losses) / screening.REPEATS
    rises = screen._rises(np.array([True, True]), losses)
    assert rises[0] == pytest.approx(rise.mean() / (rise.std() / np.sqrt(3)), abs=1e-12)
    assert rises[1] == 0


def test_a_set_repeats_what_a_regression_on_its_columns_and_bins_predicts(rng):
    """Of features 0 and 1, which are alike; the shares of the others' variance that their difference tells are planted.

    Feature 2 bends, 7 never varies, 8 and 9 have two columns each, all behind are noise.
    """
    shares = np.array([1.0, 1.0, 1.0, 1.0, 0.9, 0.7, 0.0, 0.0, 0.5, 0.9, *[0.0] * 390])
    owners = np.array([*range(8), 8, 8, *range(9, 400), 9])
    of_columns = np.array([*shares[:8], 1.0, 0.0, 1.0, *shares[10:], 0.8])
    z, noise = rng.normal(size=(1200, 2)), rng.normal(size=(1200, len(owners)))
    X = np.sqrt(of_columns) * z[:, :1] + np.sqrt(1 - of_columns) * noise
    X[:, :2], X[:, 2], X[:, 7] = z[:, 1:] + [0.05, -0.05] * z[:, :1], np.abs(z[:, 1]), 0
    embedded = keras.ops.convert_to_numpy(embedding(X[:900].astype(np.float32), [0, 1])(X))
    screen = object.__new__(screening._Screen)
    screen.X, screen.rows, screen.n_columns = embedded[:900], embedded[900:], len(owners)
    screen.owners = np.concatenate([owners, np.repeat([0, 1], N_BINS)])
    found = screen.with_repeats(np.arange(400) < 2)
    assert found.tolist() == (shares > screening.REPEATED).tolist()

    given = np.column_stack([embedded[:, screen.owners < 2], np.ones(len(X))])
    weights = np.linalg.lstsq(given[:900], embedded[:900, : len(owners)], rcond=None)[0]
    columns = embedded[900:, : len(owners)]
    left, spread = ((columns - given[900:] @ weights) ** 2).mean(axis=0), columns.var(axis=0)
    for feature in np.flatnonzero(np.arange(400) != 7):
        explained = 1 - left[owners == feature].sum() / spread[owners == feature].sum()
        assert explained == pytest.approx(shares[feature], abs=0.12)


def test_redundant_is_what_a_regression_on_the_other_kept_columns_predicts(rng):
    """Features: 0 and 1, their sum and a noisier one, a number alone, a category and its copy, a constant, noise."""
    z, kind = rng.normal(size=(60, 3)), np.eye(3)[rng.integers(0, 3, 60)]
    noisy = z[:, 0] + z[:, 1] + 2.0 * rng.normal(size=60)
    X = np.column_stack([z[:, :2], z[:, 0] + z[:, 1], noisy, z[:, 2], kind, kind, np.zeros(60), rng.normal(size=60)])
    owners = np.array([0, 1, 2, 3, 4, 5, 5, 5, 6, 6, 6, 7, 8])
    screen = object.__new__(screening._Screen)
    screen.X = ((X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-9)).astype(np.float32)
    screen.owners, screen.n_columns = owners, len(owners)
    features = np.arange(9) != 8
    found = screen.redundant(features)
    assert np.flatnonzero(found).tolist() == [0, 1, 2, 5, 6]
    assert not screen.redundant(np.arange(9) < 2).any()
    for feature in range(7):
        own, others = screen.X[:, owners == feature], screen.X[:, (owners != feature) & (owners < 8)]
        left = own - others @ np.linalg.lstsq(others, own, rcond=None)[0]
        share = (left**2).sum() / 48 / ((own**2).sum() / 60)  # 12 columns are kept
        assert found[feature] == (share <= 1 - screening.REPLACEABLE)
    screen.X = screen.X[:12]
    assert not screen.redundant(features).any()


def test_steps_between_two_looks_follow_orders(rng):
    """Batches of a 10-row table: three of each order, the fourth begins the next."""
    X, y = np.arange(11.0)[:, None], np.arange(11)
    steps = screening._Steps(X, y, batch_size=3, random_state=4)
    assert len(steps) == screening.STEPS_PER_CHECK
    found = [steps[i][1].tolist() for i in range(7)]
    plain, expected = Batches(X, y, batch_size=3, random_state=4, drop_last=True), []
    for _ in range(3):
        expected += [plain[i][1].tolist() for i in range(3)]
        plain.on_epoch_end()
    assert found == expected[:7]


def test_the_screen_begins_with_knowing_nothing(rng):
    """Standardised columns, bins beside the numbers; a last layer of zeros says the same of every row."""
    X = rng.normal(size=(30, 4)).astype(np.float32) * [1, 5, 1, 1] + 3
    X[:, 3] = X[:, 3] > 3
    embed = embedding(X, [0, 1, 2])
    rows = keras.ops.convert_to_numpy(embed(X))
    assert rows.shape == (30, 4 + 3 * N_BINS)
    np.testing.assert_allclose(rows[:, :3], (X[:, :3] - X[:, :3].mean(axis=0)) / X[:, :3].std(axis=0), atol=1e-4)
    np.testing.assert_array_equal(rows[:, 3], X[:, 3])
    screen = build_screen(
        np.array([0, 1, 1, 2]), [0, 1, 2], rows.shape[1], 3, task="classification", penalty=0.1, random_state=0
    )
    np.testing.assert_allclose(screen.predict(rows, verbose=0), 1 / 3, rtol=1e-6)
    assert screen.get_layer("gates").gate.shape == (3,)
    wide = np.zeros((2, MOST_INPUTS // N_BINS), np.float32)
    assert embedding(wide, list(range(wide.shape[1]))).output_shape == (None, wide.shape[1])


def screened(model, X, y, trainings, monkeypatch, answer):
    asked = []

    def look(train, deciding, owners, numbers, *, task, random_state, verbose):
        asked.append((train, deciding, owners.tolist(), numbers, task))
        return answer

    monkeypatch.setattr("permgrad.estimators._hybrid.relevant_features", look)
    model.fit(X, y)
    return asked


@pytest.mark.slow
def test_features_are_screened_where_rows_are_few_and_the_others_masked(rng, trainings, monkeypatch):
    """All 0/1 columns of a category belong to one feature; masked columns have no bins, and score exactly 0."""
    import pandas as pd

    X = pd.DataFrame(rng.normal(size=(260, 10))).add_prefix("n")
    X.insert(2, "kind", rng.choice(["p", "q", "r"], 260))
    y = (X["n0"] + rng.normal(size=260)).to_numpy()
    keep = np.zeros(11, bool)
    keep[[0, 2]] = True  # the first number, and the category, which is encoded last
    settings = {"dense_units": (5,), "head_units": (4,), "n_conv_layers": 1, "base_filters": 2, "ensemble_size": 2}
    model = pg.HybridRegressor(**settings, zero_output=False)
    found = screening.Screened(keep, keep & (np.arange(11) == 2))
    ((train, deciding, owners, numbers, task),) = screened(model, X, y, trainings, monkeypatch, found)
    assert (len(train[0]), len(deciding[0]), task) == (208, 52, "regression")
    assert model.encoder_.get_feature_names_out()[-3:].tolist() == ["kind=p", "kind=q", "kind=r"]
    assert owners == [0, 1, *range(3, 11), 2, 2, 2]
    assert numbers == list(range(10))
    mask = model.network_.get_layer("mask")
    np.testing.assert_array_equal(mask.open, [True] + [False] * 9 + [True] * 3)
    assert model.network_.get_layer("embedding").numbers == [0]
    assert model.network_.get_layer("swap").bundles.tolist() == [-1] * 10 + [2] * 3
    model.network_.get_layer("image_gate").gate.assign(1.0)
    model.network_.get_layer("ensemble_logits").bias.assign(np.ones((2, 1)))
    ranking = model.rank_features(X, y, n_repeats=2, end_to_end=True)
    for part in (ranking, ranking.components["end_to_end"], ranking.components["tabular"]):
        scores = dict(zip(part.features, part.scores, strict=True))
        assert [feature for feature, score in scores.items() if score != 0] == ["n0", "kind"]


def test_nothing_is_screened_otherwise(rng, trainings, monkeypatch):
    """With rows enough, without rows that decide, or where it is not wanted; and where nothing was found."""
    X, y = rng.normal(size=(260, 12)), rng.normal(size=260)
    small = {"branches": "tabular", "dense_units": (3,), "head_units": (3,), "ensemble_size": 1}
    for settings, columns in (
        ({"screening": False}, 12),
        ({"validation_fraction": 0.0}, 12),
        ({}, 6),
        ({"preset": "published"}, 12),
        ({"preset": "fast"}, 12),
    ):
        model = pg.HybridRegressor(**small, **settings)
        assert screened(model, X[:, :columns], y, trainings, monkeypatch, None) == []
    everything = screening.Screened(np.ones(12, bool), np.zeros(12, bool))
    for answer in (None, everything):
        model = pg.HybridRegressor(**small)
        assert len(screened(model, X, y, trainings, monkeypatch, answer)) == 1
        assert not {"mask", "swap"} & {layer.name for layer in model.network_.layers}
