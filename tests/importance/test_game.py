"""The game against its definition: every coalition, every donor; and networks whose answer is known."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import permgrad as pg
from permgrad.backend import keras
from permgrad.importance.bootstrap import Bootstrap
from permgrad.importance.game._tally import Tally
from permgrad.importance.game._views import NetworkView
from permgrad.importance.game.play import DONORS, Batch, Game
from permgrad.importance.network._inputs import Inputs
from permgrad.importance.network._target import Target
from permgrad.importance.permuting.permutation import positions_in
from permgrad.importance.shapley import shapley_values
from permgrad.metrics.task import Task
from tests.oracle import plain_loss, predicted, two_input_model

layers = keras.layers


def plain_worths(model, X, y, players):
    """The loss of each coalition of (feature, branch), of the mean prediction over all rows as donors."""
    both, n = two_input_model(model), len(X)
    rows, donors = np.repeat(np.arange(n), n), np.tile(np.arange(n), n)
    worth = {}
    for size in range(len(players) + 1):
        for on in map(frozenset, combinations(range(len(players)), size)):
            seen = {"tabular": X[donors].copy(), "image": X[donors].copy()}
            for feature, kind in (players[i] for i in on):
                seen[kind][:, feature] = X[rows, feature]
            mean = predicted(both, [seen["tabular"], seen["image"]]).reshape(n, n, -1).mean(axis=1)
            worth[on] = -float(plain_loss(y, mean).mean())
    return worth


@pytest.fixture
def telling(random_hybrid):
    """A hybrid with random weights whose predictions differ widely from row to row, for each task."""

    def build(task):
        model = random_hybrid(task, 3 if task == "classification" else 1, fresh=True)
        for layer in model.layers:
            if isinstance(layer, layers.Dense):
                layer.kernel.assign(3 * layer.kernel)
        return model

    return build


def answered(model, X):
    """Return the target that the model expects."""
    p = predicted(model, X)
    return p.argmax(axis=1) if p.shape[1] > 1 else p[:, 0]


@pytest.mark.parametrize("task", [pytest.param("classification", marks=pytest.mark.slow), "regression"])
def test_scores_are_the_shapley_values_of_all_coalitions(task, telling, layout, rng, monkeypatch):
    monkeypatch.setattr("permgrad.importance.game.play.OF_ROWS", 0)  # so few rows leave much open
    monkeypatch.setattr("permgrad.importance.game.play.DONORS", 32)  # so sure a network: few are off by a twentieth
    model = telling(task)
    X = rng.normal(size=(24, 6)).astype(np.float32)
    X[:, 3:] = 0.5  # six players that vary: 64 coalitions
    y = answered(model, X)
    ranking = pg.rank_features(
        model, X, y, layout=layout, formula="game", end_to_end=False, budget=pg.Budget(tolerance=0.02)
    )
    players = [(f, kind) for f in range(3) for kind in ("tabular", "image")]
    worth = plain_worths(model, X, y, players)
    values = shapley_values(worth, len(players)).reshape(3, 2)
    total = ranking.settings["total"]
    np.testing.assert_allclose(ranking.scores[:3], values.sum(axis=1), atol=0.05 * abs(total))
    for b, kind in enumerate(("tabular", "image")):
        np.testing.assert_allclose(ranking.components[kind].scores[:3], values[:, b], atol=0.05 * abs(total))
    np.testing.assert_array_equal(ranking.scores[3:], 0)
    alone = [worth[frozenset(i for i, (f, _) in enumerate(players) if f == g)] - worth[frozenset()] for g in range(3)]
    np.testing.assert_allclose(ranking.components["first_in"].scores[:3], alone, atol=0.15 * abs(total))


@pytest.mark.backend
def test_scores_add_up_to_what_the_network_saves_over_its_mean_prediction(telling, layout, rng):
    model, X = telling("classification"), rng.random((60, 6)).astype(np.float32)
    y = answered(model, X)
    ranking = pg.rank_features(
        model, X, y, layout=layout, formula="game", end_to_end=False, budget=pg.Budget(tolerance=0.1)
    )
    p = predicted(model, X).astype(float)
    mean = np.broadcast_to(p.mean(axis=0), p.shape)
    saved = plain_loss(y, mean).mean() - plain_loss(y, p).mean()
    assert ranking.settings["total"] == pytest.approx(saved, rel=1e-5)
    assert ranking.scores.sum() == pytest.approx(saved, rel=1e-5)
    assert sum(ranking.branch_weights.values()) == pytest.approx(1)
    parts = ranking.components["tabular"].scores + ranking.components["image"].scores
    np.testing.assert_allclose(parts, ranking.scores, atol=1e-9)
    of_class = ranking.class_scores @ (np.bincount(y, minlength=3) / len(y))
    np.testing.assert_allclose(of_class, ranking.scores, rtol=1e-2, atol=1e-3)
    assert 0.9 < ranking.settings["completeness"] < 1.1
    assert (ranking.method, ranking.settings["formula"]) == ("shapley", "game")


def opposed(sign):
    """A network that adds x0 and x1 on the way of the table, and ``sign * x1`` on the way of the image."""
    x = keras.Input((3,))
    table = layers.Dense(1, use_bias=False, name="table")(x)
    pixels = layers.Reshape((1, 3, 1))(x)
    image = layers.Dense(1, use_bias=False, name="image")(layers.Flatten()(pixels))
    model = keras.Model(x, layers.Add()([table, image]))
    model.get_layer("table").set_weights([np.array([[1.0], [1.0], [0.0]])])
    model.get_layer("image").set_weights([np.array([[0.0], [sign], [0.0]])])
    return model


@pytest.fixture
def wide_layout():
    return pg.FeatureLayout(("x0", "x1", "x2"), np.zeros(3, int), np.arange(3), (1, 3), np.zeros(3), np.ones(3), "hand")


@pytest.mark.backend
def test_what_two_branches_cancel_is_worth_nothing(wide_layout, rng):
    X = rng.normal(size=(400, 3)).astype(np.float32)
    y = X[:, 0] + 0.1 * rng.normal(size=400)
    ranking = pg.rank_features(opposed(-1.0), X, y, layout=wide_layout, formula="game")
    assert ranking.select(1) == ["x0"]
    np.testing.assert_allclose(ranking.scores[1:], 0, atol=0.03)
    assert ranking.scores[0] == pytest.approx(ranking.settings["total"], rel=0.03)


def test_a_linear_network_has_the_values_of_a_closed_form(wide_layout, rng):
    """y = x0 + 2 x1 of independent columns: each saves its coefficient squared times its variance."""
    X = rng.normal(size=(2000, 3)).astype(np.float32)
    y = X[:, 0] + 2 * X[:, 1]
    ranking = pg.rank_features(opposed(1.0), X, y, layout=wide_layout, formula="game")
    np.testing.assert_allclose(ranking.scores, [1, 4, 0], atol=0.25)
    assert (ranking.low <= [1, 4, 0]).all()
    assert (ranking.high >= [1, 4, 0]).all()
    assert ranking.components["image"].scores[1] == pytest.approx(2, abs=0.25)
    assert ranking.scores[2] == 0 == ranking.high[2]
    # Last in is the plain permutation: twice the variance.
    np.testing.assert_allclose(ranking.components["end_to_end"].scores, [2, 8, 0], atol=0.5)


def test_groups_are_players(wide_layout, rng):
    X = rng.normal(size=(300, 3)).astype(np.float32)
    y = X[:, 0] + 2 * X[:, 1]
    groups = {"pair": [0, 2], "other": [1]}
    ranking = pg.rank_features(opposed(1.0), X, y, layout=wide_layout, formula="game", groups=groups)
    np.testing.assert_allclose(ranking.scores, [1, 4], atol=0.6)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.5, 0.03])
def test_confident_networks_are_not_biased_by_few_donors(share, rng):
    """-log of a mean of few probabilities is above that of the mean of all; so few donors hold hardly a rare class."""
    x = keras.Input((4,))
    model = keras.Model(x, layers.Dense(2, "softmax", name="out")(x))
    X = rng.normal(size=(500, 4)).astype(np.float32)
    weights = np.outer([2.0, 2.0, 1.0, 0.0], [-2, 2])
    bias = -np.quantile(X @ weights[:, 1], 1 - share)
    model.get_layer("out").set_weights([weights, np.array([-bias, bias])])
    y = predicted(model, X).argmax(axis=1)
    assert y.mean() == pytest.approx(share, abs=0.01)
    ranking = pg.rank_features(model, X, y, formula="game")
    assert abs(ranking.settings["completeness"] - 1) < 0.06
    assert ranking.scores.sum() == pytest.approx(ranking.settings["total"], rel=1e-6)


class FarTooSure:
    """Says 0.999 of the class that two of three columns tell, and is wrong for each fifth row."""

    classes_ = np.array([0, 1])

    def predict_proba(self, X):
        p = np.where(X[:, 0] + X[:, 1] > 0, 0.999, 0.001)
        return np.stack([1 - p, p], axis=1)


@pytest.mark.filterwarnings("ignore:this model")
def test_what_few_donors_miss_of_the_total_is_no_features_loss(rng):
    """They miss a share of it here; scores add up to it all the same, and are nearer to those of many donors."""
    X = rng.normal(size=(100, 3))
    y = np.where(np.arange(100) % 5 == 0, X[:, 0] + X[:, 1] < 0, X[:, 0] + X[:, 1] > 0).astype(int)
    ranking = pg.rank_features(FarTooSure(), X, y, n_repeats=1, budget=pg.Budget(tolerance=0.05))
    total = ranking.settings["total"]
    assert total == pytest.approx(np.log(2) + 0.8 * np.log(0.999) + 0.2 * np.log(0.001), rel=0.05)
    assert abs(ranking.settings["completeness"] - 1) > 0.1
    assert ranking.scores.sum() == pytest.approx(total, rel=1e-6)
    assert ranking.scores[2] == 0


def test_scores_that_do_not_add_up_are_not_said_to():
    from permgrad.importance.game.finishing import sum_sentence, unfinished_sentence

    assert sum_sentence({"total": 0.25, "sum": 0.2501}).endswith("mean prediction, 0.25")
    assert sum_sentence({"total": 0.25, "sum": 0.47}).startswith("scores add up to 0.47, not to the loss")
    assert sum_sentence({}) is None
    assert unfinished_sentence({}) is None
    assert "28 of 250 rows" in unfinished_sentence({"finished": False, "n_rows": 28, "rows_to_walk": 250})


def test_time_limit_and_checkpoint(telling, layout, rng, tmp_path):
    model, X = telling("classification"), rng.random((40, 6)).astype(np.float32)
    y = answered(model, X)
    options = {"layout": layout, "formula": "game", "end_to_end": False}
    short = pg.Budget(tolerance=0.09)
    whole = pg.rank_features(model, X, y, **options, budget=short)
    budget = pg.Budget(timeout=1e-9, checkpoint=tmp_path / "kept.npz")
    with pytest.warns(UserWarning, match="ended the ranking before it was finished: .* are of 14 of 40 rows"):
        part = pg.rank_features(model, X, y, **options, budget=budget)
    assert (part.settings["rounds"], part.settings["finished"], part.settings["n_rows"]) == (0, False, 14)
    assert part.settings["error"] > 0
    assert part.scores.sum() == pytest.approx(part.settings["total"], rel=1e-6)
    assert sum(part.branch_weights.values()) == pytest.approx(1)
    resumed = pg.rank_features(
        model, X, y, **options, budget=pg.Budget(checkpoint=tmp_path / "kept.npz", tolerance=0.09)
    )
    np.testing.assert_allclose(resumed.scores, whole.scores, rtol=1e-6)
    with pytest.raises(pg.PermGradError, match="another data"):
        pg.rank_features(model, X + 0.1, y, **options, budget=pg.Budget(checkpoint=tmp_path / "kept.npz"))


@pytest.mark.slow
def test_where_the_game_takes_too_long_permutation_alone_is_the_headline(random_hybrid, layout, rng, monkeypatch):
    monkeypatch.setattr("permgrad.importance.rank.QUICK_GAME", 1)
    model, X, y = random_hybrid("classification", 3), rng.random((40, 6)).astype(np.float32), rng.integers(0, 3, 40)
    ranking = pg.rank_features(model, X, y, layout=layout)
    assert (ranking.method, ranking.settings["formula"]) == ("end_to_end", "last in")
    asked = pg.rank_features(model, X, y, layout=layout, formula="game")
    assert asked.method == "shapley"


@pytest.mark.parametrize("formula", ["game", "fused", "published"])
def test_formulas_have_names(formula, random_hybrid, layout, rng):
    model, X, y = random_hybrid("classification", 3), rng.random((40, 6)).astype(np.float32), rng.integers(0, 3, 40)
    ranking = pg.rank_features(model, X, y, layout=layout, formula=formula)
    assert ranking.method == ("shapley" if formula == "game" else "permgrad")
    with pytest.raises(pg.PermGradError, match="one of 'game', 'last in', 'fused', 'published', got 'other'"):
        pg.rank_features(model, X, y, layout=layout, formula="other")


@pytest.mark.slow
@pytest.mark.parametrize("branch", ["tabular", "image"])
def test_one_branch_plays_alone(branch, random_hybrid, layout, rng):
    model, X = random_hybrid("regression", 1, (branch,)), rng.random((40, 6)).astype(np.float32)
    ranking = pg.rank_features(model, X, predicted(model, X)[:, 0], layout=layout)
    assert ranking.method == "shapley"
    assert ranking.branch_weights == {branch: pytest.approx(1)}
    assert list(ranking.components) == ["first_in", "permutation" if branch == "tabular" else "image_permutation"]


@pytest.mark.filterwarnings("ignore:this network's")
def test_branches_of_a_network_that_has_learned_nothing_count_alike(random_hybrid, layout, rng):
    model, X, y = random_hybrid("classification", 3), rng.random((80, 6)), rng.integers(0, 3, 80)
    ranking = pg.rank_features(model, X, y, layout=layout, end_to_end=False, budget=pg.Budget(tolerance=0.5))
    assert not ranking.learned
    assert ranking.branch_weights == {"tabular": 0.5, "image": 0.5}
    assert set(ranking.settings["distrusted_branch_weights"]) == {"tabular", "image"}


@pytest.mark.backend
@pytest.mark.parametrize("width", [1, 3])
def test_logits_are_worth_what_their_probabilities_are(width, rng):
    """Answers are averaged over donors as probabilities, whatever the network's last step is."""
    x = keras.Input((4,))
    logits = layers.Dense(width, name="logits")(x)
    said = layers.Activation("softmax" if width > 1 else "sigmoid")(logits)
    X = rng.normal(size=(80, 4)).astype(np.float32)
    behind, before = keras.Model(x, said), keras.Model(x, logits)
    y = rng.integers(0, 3, 80) if width > 1 else rng.integers(0, 2, 80)
    options = {"formula": "game", "task": "classification", "budget": pg.Budget(tolerance=0.2)}
    first, second = (pg.rank_features(model, X, y, **options) for model in (behind, before))
    np.testing.assert_allclose(first.scores, second.scores, rtol=1e-4, atol=1e-6)
    assert first.settings["total"] == pytest.approx(second.settings["total"], rel=1e-4)


@pytest.mark.parametrize("kind", ["class", "logits", "shares of sigmoids", "shares of a softmax", "values"])
def test_slopes_are_the_losses_differences(kind, rng):
    shares = rng.dirichlet(np.ones(3), 5)
    y, task, selected = {
        "class": (np.array([0, 1, 1, 0, 2]), Task(3, "softmax", n_classes=3), rng.uniform(0.1, 0.9, (5, 1))),
        "logits": (np.array([0, 1, 1, 0, 2]), Task(3, "softmax", True, 3), -rng.uniform(0.1, 2, (5, 1))),
        "shares of sigmoids": (shares, Task(3, "sigmoid", True), rng.normal(size=(5, 3))),
        "shares of a softmax": (shares, Task(3, "softmax", True), rng.normal(size=(5, 3))),
        "values": (shares, Task(3), rng.normal(size=(5, 3))),
    }[kind]
    target, rows = Target(y, task, ("a", "b", "c") if task.n_classes else None), np.arange(5)
    said = target.said(selected)
    for k in range(said.shape[1]):
        step = 1e-5 * (np.arange(said.shape[1]) == k)
        rise = (target.losses_said(rows, said + step) - target.losses_said(rows, said - step)) / 2e-5
        np.testing.assert_allclose(target.slopes(rows, said)[:, k], rise, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(target.losses_said(rows, said), target.selected_losses(rows, selected), rtol=1e-5)


def test_any_model_plays_the_same_game(rng):
    """A Keras network seen from outside has the values that it has from inside: same orders, same donors."""
    x = keras.Input((3,))
    model = keras.Model(x, layers.Dense(2, "softmax")(layers.Dense(8, "tanh")(x)))
    model.set_weights([2 * rng.normal(size=weight.shape) for weight in model.get_weights()])
    X = rng.normal(size=(90, 3)).astype(np.float32)
    y = predicted(model, X).argmax(axis=1)

    class Outside(ClassifierMixin, BaseEstimator):
        classes_ = np.array([0, 1])

        def fit(self, X, y):
            return self

        def predict_proba(self, X):
            return predicted(model, np.asarray(X, np.float32))

    options = {"formula": "game", "budget": pg.Budget(tolerance=0.2)}
    inside = pg.rank_features(model, X, y, **options)
    for rows in (X, pd.DataFrame(X, columns=["f0", "f1", "f2"])):
        outside = pg.rank_features(Outside(), rows, y, **options)
        np.testing.assert_allclose(outside.scores, inside.scores, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(outside.low, inside.low, rtol=1e-3, atol=1e-4)
        assert outside.branch_weights is None
        assert list(outside.components) == ["first_in", "permutation"]


def test_a_forest_of_mixed_columns_is_ranked_by_the_game(rng):
    X = pd.DataFrame({"a": rng.normal(size=300), "kind": rng.choice(["u", "v"], 300), "noise": rng.normal(size=300)})
    y = X["a"] + 2.0 * (X["kind"] == "v")
    encode = ColumnTransformer([("kind", OneHotEncoder(), ["kind"])], remainder="passthrough")
    forest = make_pipeline(encode, RandomForestRegressor(20, random_state=0)).fit(X, y)
    ranking = pg.rank_features(forest, X, y, budget=pg.Budget(tolerance=0.1))
    assert ranking.method == "shapley"
    np.testing.assert_allclose(ranking.scores, [1, 1, 0], atol=0.25)
    assert pg.rank_features(forest, X, y, groups={"both": ["a", "kind"]}).select(1) == ["both"]


@pytest.mark.filterwarnings("ignore:this network's")
def test_a_network_that_always_says_the_same_is_worth_nothing(rng):
    x = keras.Input((3,))
    model = keras.Model(x, layers.Dense(1, kernel_initializer="zeros")(x))
    ranking = pg.rank_features(model, rng.normal(size=(40, 3)), rng.normal(size=40), formula="game")
    assert (ranking.scores.tolist(), ranking.settings["total"]) == ([0, 0, 0], 0)
    again = pg.FeatureRanking.from_dict(ranking.to_dict())
    assert again.branch_weights == {"tabular": 1.0}


def test_what_donors_give_by_chance_alone_widens_nothing(rng):
    """Of 400 rows' donors each gives 50 times: in one player by chance, in the other ten times what chance leaves."""
    given = np.stack([rng.normal(size=(400, 50)), rng.normal(size=(400, 50)) + 10 * rng.normal(size=(400, 1))])
    tally = Tally.empty(2, 1, 0, 1, 400)
    tally.giving[:, 0, 0], tally.uses[:, 0, 0] = given.sum(axis=2), (given**2).sum(axis=(1, 2))
    tally.walks += 1
    bootstrap = Bootstrap(
        np.arange(400), np.ones(400), np.zeros(400, int), rng.multinomial(400, np.ones(400) / 400, 2000)
    )
    spread = tally.replicates(bootstrap)[:, :, 0].std(axis=0)
    assert spread[0] < 0.5 * np.sqrt(50 / 400)
    np.testing.assert_allclose(spread[1], 50 * 10 / np.sqrt(400), rtol=0.15)


def test_what_donors_give_is_the_derivative_of_the_loss(rng):
    """Of a mean prediction over all rows: how its loss moves by each of them, whatever class is rare.

    Eight donors' own mean moves otherwise: uncorrected, the rare class gives 1.6 times what it should.
    """
    x = keras.Input((2,))
    model = keras.Model(x, layers.Dense(3, "softmax")(x))
    said = rng.dirichlet([3, 3, 1], 60)
    y = (rng.random((60, 1)) > np.cumsum(said, axis=1)[:, :-1]).sum(axis=1)
    data = Inputs.of(model, rng.normal(size=(60, 2)).astype(np.float32), shared=True)
    positions = {branch: [np.array([0]), np.array([1])] for branch in data.cut.branches}
    game = Game(NetworkView(data, Target.of(y, data), positions, n_steps=480), random_state=0)
    n_draws, found, losses = 3000, np.zeros(60), 0.0
    for _ in range(n_draws):
        batch = Batch(game, np.arange(60), rng)
        truth = np.repeat(y[game.rows], DONORS)  # the game is told of the true class's probability alone
        seen = batch.loss(said[game.rows[batch.donors], truth][None, :, None])
        found += np.bincount(game.rows[batch.donors], seen.pull.ravel(), 60) / n_draws
        losses += seen.losses.mean() / n_draws
    mean = said.mean(axis=0)
    expected = 1 - np.mean(said[:, y] / mean[y], axis=1)
    by_class = [[values[y == c].mean() for c in range(3)] for values in (found, expected)]
    np.testing.assert_allclose(losses, -np.log(mean[y]).mean(), atol=0.003)
    np.testing.assert_allclose(*by_class, atol=0.003)
    assert np.corrcoef(found, expected)[0, 1] > 0.9


@pytest.mark.slow
@pytest.mark.backend
@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("anew", [False, True])
def test_all_steps_at_once_are_the_steps_one_by_one(task, anew, telling, layout, rng, monkeypatch):
    """A branch with a first Dense layer and a CNN; few pairs to a call, and a last call that is not full."""
    model, X = telling(task), rng.random((20, 6)).astype(np.float32)
    data = Inputs.of(model, X, shared=True)
    target = Target.of(answered(model, X), data)
    columns = [np.array([0, 4]), *(np.array([i]) for i in (1, 2, 3, 5))]
    positions = {b: [positions_in(data, b, each, layout) for each in columns] for b in data.cut.branches}
    view = NetworkView(data, target, positions, n_steps=10)
    assert view.at_once
    order = [view.players[i] for i in rng.permutation(len(view.players))]
    steps = [[(f, 0), (f, 1)] for f in range(5)] if anew else [[player] for player in order]
    rows, donors = np.repeat(np.arange(10), 2), rng.integers(0, 20, 20)
    whole = list(view.walk(rows, donors, steps, anew=anew))
    monkeypatch.setattr("permgrad.importance.game._at_once.MOST_FLOATS", 6 * 11 * view.walker.widest)
    parts = list(view.walk(rows, donors, steps, anew=anew))
    view.at_once = False
    single = list(view.walk(rows, donors, steps, anew=anew))
    assert len(whole) == len(single) == len(steps) + 1
    np.testing.assert_allclose(whole, single, atol=1e-5)
    np.testing.assert_allclose(parts, single, atol=1e-5)
    assert np.ptp(np.array(single), axis=0).max() > 0.01
