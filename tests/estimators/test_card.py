"""The model card beside a saved network: planted facts are found in it, and loading ignores it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

import permgrad as pg
from permgrad.estimators.saving import write_estimator

TINY = {"preset": "published", "branches": "tabular", "dense_units": (2,), "head_units": (2,)}
ODD = "a|b\n`c`"


@pytest.fixture
def planted() -> pg.Table:
    """20 rows of five columns of known range, one of them of an odd name; the target is the first one's sign."""
    number = np.linspace(-2.5, 7.5, 20)
    X = pd.DataFrame(
        {
            ODD: number,
            "colour": ["red", "blue"] * 10,
            "day": pd.date_range("2021-03-01", periods=20),
            "dose": pd.Categorical(["low", "high"] * 10, categories=["low", "high"], ordered=True),
            "same": 3,
        }
    )
    X.loc[4:6, ODD] = np.nan
    return pg.Table(X, pd.Series(np.where(number > 0, "yes", "no"), name="sick"), name="clinic_1")


def card_of(estimator, directory: Path) -> str:
    estimator.save(directory)
    return (directory / "README.md").read_text(encoding="utf-8")


def cells(card: str, *first: str) -> list[str]:
    """Return the cells of a table's row, given the first ones."""
    [row] = [line for line in card.splitlines() if line.startswith(f"| {' | '.join(first)} |")]
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]


@pytest.mark.filterwarnings("ignore:no information")
def test_a_card_says_what_was_planted(planted, trainings, tmp_path):
    classifier = pg.HybridClassifier(**TINY, random_state=5).fit(planted, validation_data=planted.take(np.arange(7)))
    card = card_of(classifier, tmp_path / "model")
    assert card.startswith("# HybridClassifier of clinic\\_1\n")
    assert "- **Classes**: no, yes\n" in card
    assert cells(card, "target") == ["target", "sick"]
    assert "| rows | 20 |" in card
    assert cells(card, "validation rows") == ["validation rows", "7 further rows"]
    assert cells(card, "SHA-256 of these rows")[1] == planted.sha256
    assert cells(card, r"a\|b \`c\`") == [r"a\|b \`c\`", "number", "-2.5 to 7.5", "3"]
    assert cells(card, "colour")[1:3] == ["category", "blue, red"]
    assert cells(card, "day")[1:3] == ["date", "2021-03-01 to 2021-03-20"]
    assert cells(card, "dose")[1:3] == ["ordered category", "low, high"]
    assert cells(card, "same")[1] == "left out"
    assert cells(card, "validation", "cross-entropy")[2] == "0"
    assert cells(card, r"dense\_units")[1] == "(2,)"
    assert cells(card, r"random\_state")[1] == "5"
    assert "Probabilities were not calibrated" in card
    assert f"- permgrad {pg.__version__}\n" in card


@pytest.mark.filterwarnings("ignore:no information")
def test_loading_ignores_the_card_and_knows_what_it_says(planted, trainings, tmp_path):
    classifier = pg.HybridClassifier(**TINY).fit(planted)
    card = card_of(classifier, tmp_path / "model")
    (tmp_path / "model" / "README.md").write_bytes(b"\xff")
    loaded = pg.load(tmp_path / "model")
    assert card_of(loaded, tmp_path / "again") == card
    np.testing.assert_array_equal(loaded.predict_proba(planted), classifier.predict_proba(planted))


def test_several_networks_of_a_number_with_intervals(trainings, tmp_path, rng):
    X = pd.DataFrame({"x": rng.normal(size=30)})
    regressor = pg.HybridRegressor(**TINY, n_networks=3).fit(X, 2 * X["x"])
    card = card_of(regressor, tmp_path / "model")
    assert cells(card, "table") == ["table", "table"]
    assert cells(card, "target") == ["target", "x"]
    assert cells(card, "validation rows")[1] == "each network left out about 10 of these rows"
    assert "**Networks**: 3" in card
    assert f"± {regressor.half_width(0.9):.4g}." in card


@pytest.mark.filterwarnings("ignore:no information")
def test_what_is_known_of_a_test_is_told(planted, trainings, tmp_path):
    classifier = pg.HybridClassifier(**TINY, calibrated=True).fit(planted)
    origin = {
        "data": {"name": "whole", "rows": 99, "sha256": "beef", "licence": "CC0"},
        "split": "at random",
        "test_rows": 12,
        "test_scores": {"auc": 0.875},
        "calibration": {"ece": 0.12, "ece_calibrated": 0.05},
        "verdict": "the network wins",
        "command": "permgrad rank whole.csv",
    }
    write_estimator(classifier, tmp_path, origin)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert cells(card, "test (12)") == ["test (12)", "auc", "0.875"]
    assert cells(card, "SHA-256 of the whole table")[1] == "beef"
    assert cells(card, "licence")[1] == "CC0"
    for said in ("the network wins", "calibration error is 0.120;", "`permgrad rank whole.csv`", "a temperature of "):
        assert said in card
    assert "No test scores" not in card


@pytest.mark.parametrize("sparse", [False, True])
def test_a_selectors_card(sparse, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "permgrad.estimators.selector.fit_network", lambda *_, **__: ({"loss": [0.5], "accuracy": [0.25]}, 1)
    )
    X = np.array([[0.0, 2.0], [3.0, 4.0], [-1.0, 0.0]], np.float32)
    selector = pg.SelectorClassifier(hidden_units=(2,)).fit(csr_matrix(X) if sparse else X, [0, 1, 1])
    card = card_of(selector, tmp_path / "model")
    assert cells(card, "x0")[1:3] == ["number", "-1 to 3"]
    assert cells(card, "x1")[1:3] == ["number", "0 to 4"]
    assert cells(card, "training", "cross-entropy") == ["training", "cross-entropy", "0.5"]
    assert cells(card, "validation rows")[1] == "none"
    assert cells(card, "SHA-256 of these rows")[1] == "not computed"
    assert card_of(pg.load(tmp_path / "model"), tmp_path / "again") == card
