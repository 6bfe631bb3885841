"""Wide tables: a network held at given rows but for some columns, and cumulative masking; against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

import permgrad as pg
from permgrad.importance.masking import masking_counts, masking_curve
from permgrad.importance.network.partial_model import PartialModel
from permgrad.models.wide import WideConfig, build_wide_mlp
from permgrad.parallel import workers


@pytest.fixture
def network(rng):
    """A network of 30 columns with weights in BatchNorm and gates that are not their first ones, and rows."""
    X = rng.normal(size=(40, 30)).astype(np.float32)
    model = build_wide_mlp(WideConfig((16, 8, 4), gate_penalty=0.1, random_state=1), X, 3)
    for variable in model.variables:
        if "moving" in variable.name or variable.name in ("gate", "gamma", "beta"):
            variable.assign(rng.uniform(0.5, 2, variable.shape))
    return model, X, rng.integers(0, 3, 40)


def test_the_published_order_of_layers(network):
    names = [type(layer).__name__ for layer in network[0].layers]
    hidden = ["Dense", "ReLU", "BatchNormalization"] * 2 + ["Dense", "ReLU"]
    assert names == ["InputLayer", "MinMaxScale", "Selector", *hidden, "Dense", "Softmax"]


def test_held_columns_predict_what_the_whole_network_does(network, rng):
    model, X, _ = network
    columns = np.array([28, 3, 7])
    held = PartialModel(model, X, columns, classes=["a", "b", "c"])
    changed = np.concatenate([X, X])
    changed[:, columns] = rng.normal(size=(80, 3))
    expected = model.predict(changed, verbose=0)
    np.testing.assert_allclose(held.predict_proba(changed[:, columns]), expected, atol=1e-5)
    assert (held.predict(changed[:, columns]) == np.array(["a", "b", "c"])[expected.argmax(axis=1)]).all()
    with pytest.raises(pg.PermGradError, match="expected 40 rows, or copies of all, of 3 columns"):
        held.predict_proba(X[:39, :3])


def test_accuracy_of_shuffled_columns_is_that_of_a_plain_loop(network):
    model, X, y = network
    columns = np.array([1, 20])
    ranking = pg.score_importance(PartialModel(model, X, columns), X[:, columns], y, n_repeats=2, random_state=5)
    accuracy = lambda rows: (model.predict(rows, verbose=0).argmax(axis=1) == y).mean()  # noqa: E731
    for place, column in enumerate(columns):
        falls = []
        for repeat in range(2):
            shuffled = X.copy()
            shuffled[:, column] = X[np.random.default_rng([5, place, repeat]).permutation(40), column]
            falls.append(accuracy(X) - accuracy(shuffled))
        assert ranking.scores[place] == pytest.approx(np.mean(falls), abs=1e-9)


def test_masking_is_that_of_a_plain_loop(network, rng):
    model, X, y = network
    order, values = rng.permutation(30), X.mean(axis=0)
    curve = masking_curve(model, X, y, order, values=values, first="masked")
    assert curve["masked"].tolist() == [0, 1, 2, 5, 10, 20, 30] == masking_counts(30)
    for row in curve.itertuples():
        masked = X.copy()
        for column in order[: row.masked]:
            masked[:, column] = values[column]
        p = model.predict(masked, verbose=0)
        assert row.accuracy == pytest.approx((p.argmax(axis=1) == y).mean())
        assert row.loss == pytest.approx(-np.log(p[np.arange(40), y]).mean(), rel=1e-4)


@pytest.mark.parametrize("change", [{"order": np.arange(29)}, {"order": np.zeros(30, int)}, {"counts": [31]}])
def test_masking_of_what_is_not_there(network, change):
    model, X, y = network
    given = {"order": np.arange(30), **change}
    with pytest.raises(pg.PermGradError, match="each of the 30 columns once|between 0 and 30"):
        masking_curve(model, X, y, **given)


def test_bad_sizes():
    for wrong in ({"hidden_units": ()}, {"hidden_units": (4, 0)}, {"gate_penalty": -1.0}, {"random_state": -1}):
        with pytest.raises(pg.PermGradError, match="must be"):
            WideConfig(**wrong)


@pytest.mark.slow
@pytest.mark.parametrize(("via", "conditional"), [("both", False), ("tabular", True)])
def test_two_processes_measure_what_one_measures(random_hybrid, layout, rng, tmp_path, via, conditional):
    X, y = rng.random((60, 6), np.float32), rng.integers(2, size=60)
    model = random_hybrid("classification", 2)
    given = {"via": via, "layout": layout, "n_repeats": 2, "conditional": conditional}
    given |= {"sample_weight": rng.integers(1, 3, 60), "row_groups": np.arange(60) // 2}
    budget = pg.Budget(checkpoint=tmp_path / "kept.npz")
    one = pg.permutation_importance(model, X, y, **given)
    two = pg.permutation_importance(model, X, y, **given, n_jobs=2, budget=budget)
    assert (two.features, two.pending) == (one.features, ())
    for name in ("scores", "std", "class_scores", "low", "high", "rank_low", "rank_high", "p_values"):
        np.testing.assert_allclose(getattr(two, name), getattr(one, name), rtol=1e-4, atol=1e-7)
    again = pg.permutation_importance(model, X, y, **given, budget=budget)  # from what the processes measured
    np.testing.assert_array_equal(again.scores[1:], two.scores[1:])


def test_processes_begin_unasked_only_where_they_pay(random_hybrid, rng, monkeypatch):
    asked = []
    monkeypatch.setattr("permgrad.importance.permuting._processes.run", lambda *given: asked.append(given) or iter(()))
    X, y = rng.random((40, 6), np.float32), rng.integers(2, size=40)
    model = random_hybrid("classification", 2, ("tabular",))
    with workers(2):
        pg.permutation_importance(model, X, y, n_repeats=1)
        assert asked == []
        monkeypatch.setattr("permgrad.importance.permuting._processes.PAYS_FROM", 6 * 40)
        pg.permutation_importance(model, X, y, n_repeats=1)
        assert len(asked) == 1
        pg.permutation_importance(model, X, y, n_repeats=1, n_jobs=1)
        assert len(asked) == 1
