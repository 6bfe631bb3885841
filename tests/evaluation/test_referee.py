from __future__ import annotations

import html
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

import permgrad as pg
from permgrad.evaluation._tables import SCHEMAS, evaluation_table
from permgrad.evaluation.baselines import BASELINES
from permgrad.evaluation.explained import ExplainedModel
from tests.conftest import SMALL
from tests.evaluation.conftest import teach, untrained

pytestmark = pytest.mark.xdist_group("referee")
TABLES = (*SCHEMAS, "agreement", "summary")


@pytest.fixture(scope="module")
def numeric():
    """A fused network on six numbers that knows that ``b`` and ``d`` decide the target."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(500, 6)), columns=list("abcdef"))
    table = pg.Table(X, 3 * X["b"] - 2 * X["d"], task="regression")
    parts = [table.take(rows) for rows in np.split(np.arange(500), [300, 400])]
    model = untrained(pg.HybridRegressor(**SMALL, epochs=2, learning_rate=2e-2), parts[0])
    span = parts[0].X.max() - parts[0].X.min()
    teach(model.network_, span.to_numpy() * [0, 3, 0, -2, 0, 0] / model.network_.get_layer("prediction").scale)
    return model, *parts


@pytest.fixture(scope="module")
def evaluation(numeric):
    """Every part of it; each network is trained for two epochs."""
    model, train, val, test = numeric
    ranking = model.rank_features(test.X, test.y, n_repeats=2, formula="fused")
    return pg.evaluate_ranking(
        model,
        ranking,
        train,
        test,
        validation_data=(val.X, val.y),
        n_trainings=2,
        retrain_with=LinearRegression(),
        random_state=1,
    )


@pytest.mark.slow
def test_the_ranking_stands_beside_its_components_and_others(evaluation):
    assert tuple(evaluation.rankings) == ("permgrad", "permutation", "gradient_input", "end_to_end", *BASELINES)
    assert evaluation.tested == "permgrad"
    assert evaluation.left_out == ()
    assert set(evaluation.areas["ranking"]) == set(evaluation.retrain["ranking"]) == set(evaluation.rankings)
    assert set(evaluation.settings["seconds"]) == {"baselines", "curves", "retrain", "sanity", "stability"}
    assert evaluation.settings["random_state"] == 1
    assert "shap" in evaluation.settings["versions"]


@pytest.mark.slow
def test_what_is_planted_wins(evaluation):
    summary = evaluation.summary.set_index("ranking")
    assert set(evaluation.rankings["permutation"].select(2)) == {"b", "d"}
    assert summary.loc["permutation", "deletion_mean"] > summary.loc["random", "deletion_mean"]
    assert summary.loc["permutation", "retrain"] < summary.loc["random", "retrain"] - 0.3
    assert evaluation.summary["ranking"].iloc[-1] in ("random", "mutual_information")


@pytest.mark.slow
def test_agreement_is_spearmans(evaluation):
    a, b = (pd.Series(evaluation.rankings[name].scores) for name in ("random_forest", "random"))
    assert evaluation.agreement.loc["random_forest", "random"] == pytest.approx(a.corr(b, method="spearman"))
    np.testing.assert_allclose(np.diag(evaluation.agreement), 1)
    assert (
        evaluation.summary.set_index("ranking").loc["random", "spearman"]
        == evaluation.agreement.loc["permgrad", "random"]
    )


@pytest.mark.slow
def test_what_is_explained_again_is_explained_alike(evaluation):
    """The ranking under test has two repeats, so has the MLP's."""
    assert evaluation.rankings["mlp_permutation"].settings["n_repeats"] == 2


@pytest.mark.slow
def test_saved_and_loaded(evaluation, tmp_path):
    evaluation.save(tmp_path / "e")
    loaded = pg.RankingEvaluation.load(tmp_path / "e")
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(loaded, name), getattr(evaluation, name), check_exact=True)
    for name in ("rankings", "stability", "settings", "left_out", "losses"):
        assert getattr(loaded, name) == getattr(evaluation, name)
    assert (tmp_path / "e" / "losses.txt").read_text().splitlines() == list(evaluation.losses)
    with pytest.raises(pg.PermGradError, match="exists already"):
        evaluation.save(tmp_path / "e")


@pytest.mark.slow
def test_a_damaged_directory(evaluation, tmp_path):
    evaluation.save(tmp_path / "e")
    (tmp_path / "e" / "areas.csv").write_text("nothing\n1\n")
    with pytest.raises(pg.FileFormatError, match="areas.csv is damaged, or is not a table of areas$"):
        pg.RankingEvaluation.load(tmp_path / "e")
    with pytest.raises(pg.FileFormatError, match="cannot read"):
        pg.RankingEvaluation.load(tmp_path / "absent")


def test_time_limit_leaves_out_and_names(numeric, tmp_path):
    model, train, _, test = numeric
    ranking = pg.FeatureRanking(tuple("abcdef"), np.arange(6.0))
    evaluation = pg.evaluate_ranking(model, {"NA": ranking, "007": ranking}, train, test, timeout=0)
    assert tuple(evaluation.rankings) == ("NA", "007")
    parts = [name.split(": ")[0] for name in evaluation.left_out]
    assert list(dict.fromkeys(parts)) == ["baselines", "curves", "retrain", "sanity", "stability"]
    assert "stability: seeds 1" in evaluation.left_out
    assert evaluation.losses == ()
    assert evaluation.summary["place"].isna().all()
    evaluation.save(tmp_path / "e")
    loaded = pg.RankingEvaluation.load(tmp_path / "e")
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(loaded, name), getattr(evaluation, name), check_exact=True)


NOISE = np.array([[0, 0.001, 0.05, 0], [0.001, 0, -0.05, 0], [-0.001, -0.001, 0, 0]])
"""Of each seed and ranking: "good" is surely below "mine", "alike" is not."""


def by_hand() -> pg.RankingEvaluation:
    """Three rankings with made-up measures."""
    rankings = {name: pg.FeatureRanking(("x", "y"), np.array([2.0, 1.0])) for name in ("mine", "good", "alike", "bad")}
    areas = [
        {"ranking": name, "replacement": way, "difference": value, "std_error": 0.01, "better_p": p}
        for way in ("mean", "marginal")
        for name, value, p in (
            ("mine", 0.2, 1.0),
            ("good", 0.3, 0.01),
            ("alike", 0.21, 0.03 if way == "mean" else 0.4),  # twice 0.03 by Holm, as "good" is better
            ("bad", 0.1, 0.99),
        )
    ]
    chance = [
        {"ranking": "random", "replacement": way, "mean": 0.0, "low": -high, "high": high}
        for way, high in (("mean", 0.15), ("marginal", 0.25))
    ]
    retrain = [
        {
            "ranking": name,
            "share": k / 2,
            "removed": k,
            "kept": 2 - k,
            "seed": seed,
            "loss": 1.0,
            "score": score + noise,
        }
        for k, scores in ((0, (0.9, 0.9, 0.9, 0.9)), (1, (0.63, 0.61, 0.625, 0.7)))
        for seed in range(3)
        for name, score, noise in zip(rankings, scores, NOISE[seed] * (k > 0), strict=True)
    ]
    # Time ran out before the others had this many removed: it counts for none.
    retrain.append({"ranking": "mine", "share": 0.9, "removed": 2, "kept": 0, "seed": 0, "loss": 1.0, "score": -5.0})
    sanity = [
        {"test": test, "step": step, "layers": "none", "ranking": "mine", "spearman": value}
        for test, step, value in (("weights", 0, 1.0), ("weights", 1, 0.9), ("weights", 2, 0.1), ("labels", 1, 0.8))
    ]
    return pg.RankingEvaluation(
        rankings,
        evaluation_table("curves", []),
        evaluation_table("areas", areas),
        evaluation_table("chance", chance),
        evaluation_table("retrain", retrain),
        evaluation_table("sanity", sanity),
        pd.DataFrame(),
    )


def test_losses_by_hand():
    assert by_hand().losses == (
        "deletion (mean): mine 0.2 ± 0.01, behind good 0.3 ± 0.01",
        "deletion (marginal): mine 0.2 ± 0.01, behind good 0.3 ± 0.01",
        "deletion (marginal): mine 0.2 ± 0.01 is no better than chance, of whose orders 90 % are between -0.25 and"
        " 0.25",
        "remove-and-retrain (lower is better): mine 0.630 ± 0.001, behind good 0.610 ± 0.001",
        "sanity (shuffled labels): Spearman with the ranking of the trained network is still 0.80",
    )


def test_summary_by_hand():
    summary = by_hand().summary
    assert summary["ranking"].tolist() == ["good", "alike", "mine", "bad"]
    assert summary["place"].tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(summary["retrain"], [0.61, 0.625, 0.63, 0.7])


def test_bad_input(numeric):
    model, train, _, test = numeric
    ranking = pg.FeatureRanking(tuple("abcdef"), np.arange(6.0), method="mine")
    for estimator, given, options, message in (
        (LinearRegression(), ranking, {}, "expected a HybridClassifier"),
        (pg.HybridRegressor(), ranking, {}, "not fitted"),
        (model, ranking, {"parts": ("curves", "luck")}, "parts must be some of"),
        (model, ranking, {"n_trainings": 1}, "at least two trainings"),
        (model, {}, {}, "at least one ranking"),
        (model, {"random": ranking}, {}, "'random' is the name of a ranking to compare with"),
        (
            model,
            ranking,
            {"validation_data": test.X},
            r"validation_data must be a pair \(X, y\) or a Table, got DataFrame",
        ),
        (model, ranking, {"validation_data": (test.X, test.y[:3])}, "a target for each row, got 100 rows and 3"),
        (
            model,
            ranking,
            {"validation_data": (test.X[["a"]], test.y)},
            "validation_data must have the expected columns",
        ),
        (model, pg.FeatureRanking(("a",), np.ones(1)), {}, "absent: 'b', 'c', 'd', 'e' and 1 more|absent: 'b'"),
    ):
        with pytest.raises(pg.PermGradError, match=message):
            pg.evaluate_ranking(estimator, given, train, test, **options)


@pytest.mark.slow
def test_strict_json(evaluation, tmp_path):
    evaluation.save(tmp_path / "e")
    content = json.loads(
        (tmp_path / "e" / "evaluation.json").read_text(), parse_constant=lambda name: pytest.fail(name)
    )
    assert content["kind"] == "permgrad.RankingEvaluation"


def test_what_is_explained_again_goes_by_the_name_of_the_ranking_under_test():
    part = pg.FeatureRanking(("a", "b"), [1.0, 2.0], method="permutation")
    whole = replace(part, method="permgrad", components={"permutation": part})
    assert list(ExplainedModel(None, whole, None, None, name="mine").named(whole)) == ["mine", "permutation"]
    assert list(ExplainedModel(None, part, None, None, name="mine").named(whole)) == ["permgrad", "permutation"]


def test_a_notebook_shows_the_summary_and_where_it_loses():
    evaluation = by_hand()
    shown = evaluation._repr_html_()
    assert all(html.escape(loss) in shown for loss in evaluation.losses)
    pd.testing.assert_frame_equal(evaluation.table, evaluation.summary)
    assert evaluation.plot().axes
