"""Panels over trainings: how often each column is chosen, and what a panel is worth."""

from __future__ import annotations

import numpy as np
import pytest

import permgrad as pg
from permgrad.evaluation import panels
from permgrad.evaluation.panels import bootstrap_score


def ranking(*order: str) -> pg.FeatureRanking:
    return pg.FeatureRanking(tuple("abcde"), np.array([len(order) - order.index(name) for name in "abcde"], float))


def test_frequencies_by_hand():
    panel = pg.panel_of([ranking(*"abcde"), ranking(*"acbde"), ranking(*"abdce"), ranking(*"bdeac")], k=2)
    frequency = dict(zip(panel.table["feature"], panel.table["frequency"], strict=True))
    assert frequency == {"a": 0.75, "b": 0.75, "c": 0.25, "d": 0.25, "e": 0.0}
    assert panel.features == ["a", "b"]  # of equal frequency: mean places 1.75 and 1.75, the table's first
    assert panel.table["feature"].tolist()[2:] == ["d", "c", "e"]  # mean places 3.25 and 3.5
    # Nogueira by its definition: variances of being chosen 4/3 * p(1-p), over those of random choices.
    p = np.array([0.75, 0.75, 0.25, 0.25, 0])
    assert panel.stability == pytest.approx(1 - (4 / 3 * p * (1 - p)).mean() / (0.4 * 0.6))
    low, high = panel.stability_interval
    assert low < panel.stability < high
    assert repr(panel).startswith("Panel(k=2, 4 trainings, 0 columns always chosen, Nogueira 0.17 [")


def test_equal_choices_are_stable():
    panel = pg.panel_of([ranking(*"abcde"), ranking(*"bacde")], k=2)
    assert panel.stability == pytest.approx(1)
    assert panel.table["frequency"].tolist() == [1, 1, 0, 0, 0]


def test_mean_and_interval_of_a_score():
    """Two classes, of 6 and 4 rows: the mean over classes by hand; the replicates drawn plainly."""
    y = np.repeat(["u", "v"], [6, 4])
    right = np.array([[1, 1, 0, 1, 1, 0, 1, 1, 1, 0], [1, 0, 0, 1, 1, 0, 1, 0, 1, 0], [1, 1, 0, 1, 0, 0, 1, 1, 0, 0]])
    score = bootstrap_score(right, y)
    assert score.by_training == pytest.approx(((4 / 6 + 3 / 4) / 2, (3 / 6 + 2 / 4) / 2, (3 / 6 + 2 / 4) / 2))
    assert score.mean == pytest.approx(np.mean(score.by_training))
    rng, replicates, wider = np.random.default_rng(1), np.zeros(20_000), 4.302653 / 1.959964 * np.sqrt(3 / 2)
    trainings = rng.integers(3, size=(20_000, 3))
    for label in "uv":
        rows = rng.choice(np.flatnonzero(y == label), (20_000, (y == label).sum()))
        share = right[:, rows].mean(axis=2).T  # (replicates, trainings)
        drawn = np.take_along_axis(share, trainings, axis=1).mean(axis=1)
        mean = share.mean(axis=1)
        replicates += (mean + wider * (drawn - mean)) / 2
    expected = np.clip(np.quantile(replicates, [0.025, 0.975]), 0, 1)
    np.testing.assert_allclose((score.low, score.high), expected, atol=0.03)


@pytest.mark.parametrize(("n_trainings", "ease", "spread"), [(8, 1.2, 0.2), (5, 0.2, 0.5), (2, 0.2, 0.5)])
def test_intervals_hold(rng, n_trainings, ease, spread, monkeypatch):
    """The true accuracy lies within 95 % intervals about as often as they say, whichever varies, rows or trainings."""
    monkeypatch.setattr(panels, "N_REPLICATES", 500)  # fewer draws, rougher ends
    y, n_right = np.repeat(np.arange(4), 60), 0
    grid = 1.0 + np.random.default_rng(0).normal(size=200_000) * np.sqrt(ease**2 + spread**2)
    true = (1 / (1 + np.exp(-grid))).mean()
    for random_state in range(100):
        logits = 1.0 + rng.normal(size=240) * ease + rng.normal(size=(n_trainings, 1)) * spread
        score = bootstrap_score(
            rng.random((n_trainings, 240)) < 1 / (1 + np.exp(-logits)), y, random_state=random_state
        )
        n_right += score.low <= true <= score.high
    assert n_right >= 90


def test_intervals_end_where_scores_do():
    """Always right: an interval of no width at 1. Differences may be below 0."""
    y = np.repeat(["u", "v"], 4)
    sure = bootstrap_score(np.ones((3, 8)), y)
    assert (sure.mean, sure.low, sure.high) == pytest.approx((1, 1, 1))
    assert sure.low <= sure.mean <= sure.high
    apart = bootstrap_score(np.array([[1] * 8, [0] * 8]), y)
    assert (apart.low, apart.high) == (0, 1)
    assert bootstrap_score(np.array([[1] * 8, [-1] * 8]), y).low == -1


@pytest.mark.slow
def test_planted_markers_are_chosen_and_suffice():
    cells = pg.toy.single_cells(700, 60, n_classes=3, n_markers=9, n_programs=2, program_size=10, fold=6)
    cells = pg.Cells(cells.X.log1p(), cells.y, cells.features, notes=cells.notes)
    train, _, test = (cells.take(rows) for rows in pg.capped_split(cells.y, (400, 30, 100)))
    model = pg.SelectorClassifier(hidden_units=(32,), epochs=15, batch_size=32, learning_rate=1e-2, alpha=0.01)
    panel = pg.choose_panel(model, train, k=9, n_trainings=2)
    assert panel.n_trainings == 2
    assert pg.toy.recall(panel.table["feature"].tolist(), cells.notes["relevant"], k=18) >= 0.9
    plain = model.__class__(**{**model.get_params(), "selector": "none"})
    good = pg.score_panel(plain, panel, train, test, n_trainings=2)
    bad = pg.score_panel(plain, cells.notes["programs"][:9], train, test, n_trainings=1)
    assert good.mean > bad.mean + 0.2
    assert good.low > bad.high
    assert repr(good) == f"PanelScore({good.mean:.4f} [{good.low:.4f}, {good.high:.4f}], 2 trainings)"


def test_what_cannot_be_scored():
    with pytest.raises(pg.PermGradError, match="a column for each label"):
        bootstrap_score(np.ones((2, 3)), np.array(["a", "b"]))
    with pytest.raises(pg.PermGradError, match="at least two rankings"):
        pg.panel_of([ranking(*"abcde")], 2)


def test_what_cannot_be_chosen_is_said_before_the_first_training():
    rows, y, model = np.ones((4, 3)), np.array([0, 1, 0, 1]), pg.SelectorClassifier()  # rows that cannot be fitted
    with pytest.raises(pg.PermGradError, match="n_trainings must be at least 2"):
        pg.choose_panel(model, rows, y, k=2, n_trainings=1)
    for X in (rows, pg.Cells(rows, y.astype(str), ("a", "b", "c"))):
        with pytest.raises(pg.PermGradError, match="less than the number of columns, 3, got 3"):
            pg.choose_panel(model, X, y, k=3)
