"""Measures in each level of a column, against those of its rows alone; a planted column that only one level uses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss, r2_score, root_mean_squared_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import permgrad as pg
from permgrad.evaluation.by_level import ALL


@dataclass
class Switch:
    """Predicts column a in some rows, and column b in the others."""

    def predict(self, X):
        return np.where(X["site"] == "p", X["a"], X["b"]).astype(float)


@pytest.fixture
def rows(rng):
    X = pd.DataFrame({"a": rng.normal(size=240), "b": rng.normal(size=240)})
    X["site"] = rng.choice(["p", "q", None], 240, p=[0.5, 0.45, 0.05])
    noise = np.where(X["site"] == "q", 1.0, 0.1) * rng.normal(size=240)
    return X, pd.Series(Switch().predict(X) + noise, name="y")


def test_numbers_are_those_of_the_levels_rows(rows):
    X, y = rows
    found = pg.by_level(Switch(), X, y, by="site")
    assert found.table["level"].tolist() == [ALL, "p", "q", "(missing)"]
    for _, row in found.table.iterrows():
        level = row["level"]
        at = {ALL: X["site"] != "", "(missing)": X["site"].isna()}.get(level, X["site"] == level)
        said = Switch().predict(X[at])
        assert row["rows"] == at.sum()
        assert row["rmse"] == pytest.approx(root_mean_squared_error(y[at], said))
        assert row["r2"] == pytest.approx(r2_score(y[at], said))
        assert row["rmse_low"] <= row["rmse"] <= row["rmse_high"]
        assert row["few"] == (at.sum() < 30)
    known = pg.rank_features(Switch(), X[X["site"] == "p"], y[X["site"] == "p"].to_numpy())
    np.testing.assert_array_equal(found.rankings["p"].scores, known.scores)
    wide = found.scores().set_index("feature")
    assert wide.loc["b", "p"] == 0 < wide.loc["a", "p"]
    assert wide.loc["a", "q"] == 0 < wide.loc["b", "q"]
    by = found.table.set_index("level")
    assert by.loc["p", "rmse_high"] < by.loc["q", "rmse_low"]


def test_classes_have_accuracy_and_log_loss_and_numbers_are_parted_in_quarters(rows):
    X, y = rows[0][["a", "b"]], np.where(rows[1] > 0, "yes", "no")
    model = LogisticRegression().fit(X, y)
    found = pg.by_level(model, X, y, by="a", n_repeats=1)
    assert found.measures == ("accuracy", "log_loss")
    assert found.table["rows"].tolist() == [240, 60, 60, 60, 60]
    low = X["a"] <= X["a"].quantile(0.25)
    row = found.table.iloc[1]
    assert row["accuracy"] == pytest.approx(accuracy_score(y[low], model.predict(X[low])))
    assert row["log_loss"] == pytest.approx(log_loss(y[low], model.predict_proba(X[low])))
    labels = np.where(low, "low", "other")
    np.testing.assert_allclose(
        pg.by_level(model, X, y, by=labels, n_repeats=1).table["log_loss"].iloc[1], row["log_loss"]
    )


@pytest.mark.filterwarnings("ignore:intervals and p-values rest on 9 groups")
def test_rows_weigh_and_groups_are_drawn_together(rows):
    X, y = rows
    weights = np.random.default_rng(1).integers(1, 3, len(X))
    at = np.repeat(np.arange(len(X)), weights)
    known = {"by": "site", "formula": None, "n_repeats": 1}
    weighed = pg.by_level(Switch(), pg.Table(X, y, "regression", weights=weights), **known)
    repeated = pg.by_level(Switch(), X.iloc[at], y.iloc[at], **known)
    np.testing.assert_allclose(weighed.table["rmse"], repeated.table["rmse"])
    np.testing.assert_allclose(weighed.table["r2"], repeated.table["r2"])
    four = np.repeat(np.arange(len(X)), 4)
    grouped = pg.by_level(Switch(), pg.Table(X.iloc[four], y.iloc[four], "regression", groups=four), **known).table
    alone = pg.by_level(Switch(), X, y, **known).table
    wide = [(table["rmse_high"] - table["rmse_low"]).iloc[0] for table in (grouped, alone)]
    assert wide[0] == pytest.approx(wide[1], rel=0.35)


def test_files_picture_and_html(rows, tmp_path):
    X, y = rows
    found = pg.by_level(Switch(), X, y, by=X["site"].fillna("<b>").rename("<i>"), n_repeats=1)
    found.write(tmp_path)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "by.csv"), found.table)
    again = pg.ByLevel.load(tmp_path / "by.json")
    assert (again.by, again.to_dict()) == (found.by, found.to_dict())
    pd.testing.assert_frame_equal(again.table, found.table)
    pd.testing.assert_frame_equal(again.importance, found.importance)
    (tmp_path / "by.json").write_text('{"kind": "permgrad.ByLevel"}')
    with pytest.raises(pg.FileFormatError, match=r"by\.json"):
        pg.ByLevel.load(tmp_path / "by.json")
    assert (tmp_path / "by.png").stat().st_size > 1000
    assert len(pd.read_csv(tmp_path / "by_importance.csv")) == 3 * len(found.rankings)
    assert "<b>" not in found._repr_html_()


def test_few_rows_are_not_ranked_and_bad_input(rows):
    X, y = rows
    labels = np.where(np.arange(240) < 5, "few", "many")
    found = pg.by_level(Switch(), X, y, by=labels, n_repeats=1)
    assert set(found.rankings) == {ALL, "many"}
    for by, said in {"z": "no column 'z' to group the rows by", "same": "column 'same' has a single value"}.items():
        with pytest.raises(pg.PermGradError, match=said):
            pg.by_level(Switch(), X.assign(same=1), y, by=by)
    with pytest.raises(pg.PermGradError, match="a label for each of 240 rows, got 3"):
        pg.by_level(Switch(), X, y, by=[1, 2, 3])
    with pytest.raises(pg.PermGradError, match="y is needed"):
        pg.by_level(Switch(), X, by="site")
    model = make_pipeline(FunctionTransformer(lambda X: X[["a", "b"]]), LogisticRegression()).fit(X, y > 0)
    with pytest.raises(pg.PermGradError, match="labels that the model does not know: 'x'"):
        pg.by_level(model, X, ["x"] * 240, by="site")
