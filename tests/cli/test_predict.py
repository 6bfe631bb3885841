"""`permgrad predict`: rows of a file in, a file of predictions out."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from permgrad.report.predictions import model_columns


@pytest.fixture
def rows(csv):
    return pd.read_csv(csv)


def test_each_row_is_predicted_as_by_the_estimator_in_python(command, ranked, rows, tmp_path):
    shuffled = rows[["y", "same", "kind", "twin", "c", "b", "a"]].assign(extra=range(len(rows)))
    shuffled.to_csv(tmp_path / "new.csv", index=False)
    done = command("predict", ranked.out, tmp_path / "new.csv", "--out", tmp_path / "said.csv", "--keep", "extra")
    assert done.code == 0, done.stderr
    found = pd.read_csv(tmp_path / "said.csv")
    estimator = pg.load(ranked.out / "model")
    X = rows[list(estimator.encoder_.features_)]
    assert found.columns.tolist() == ["row", "extra", "prediction", "p[high]", "p[low]"]
    assert found["row"].tolist() == list(range(1, len(rows) + 1))
    np.testing.assert_allclose(found[["p[high]", "p[low]"]], estimator.predict_proba(X), atol=1e-6)
    assert found["prediction"].tolist() == estimator.predict(X).tolist()
    accuracy = (found["prediction"] == rows["y"]).mean()
    assert "'y' is there in 120 rows; if these are the 120 rows that were ranked, most of them trained" in done.stdout
    assert f": accuracy {accuracy:.4g}" in done.stdout
    assert "120 predictions in" in done.stdout


def test_without_the_target_and_with_new_levels_and_gaps(command, ranked, rows, tmp_path):
    changed = rows.drop(columns="y").assign(kind="never seen")
    changed.loc[:4, "a"] = np.nan
    changed.to_csv(tmp_path / "new.csv", index=False, sep=";")
    done = command("predict", ranked.out, tmp_path / "new.csv", "--out", tmp_path / "said.csv")
    assert done.code == 0, done.stderr
    assert done.stderr.count("not seen in training") == 1
    assert "is there in" not in done.stdout
    assert pd.read_csv(tmp_path / "said.csv").notna().all(axis=None)


def test_what_cannot_be_done_is_one_line(command, ranked, rows, tmp_path):
    rows.drop(columns=["a", "kind"]).to_csv(tmp_path / "few.csv", index=False)
    rows.assign(y="other").to_csv(tmp_path / "strange.csv", index=False)
    out = tmp_path / "said.csv"
    lacking = command("predict", ranked.out, tmp_path / "few.csv", "--out", out)
    assert lacking.code == 2
    assert "the rows lack 2 of the 6 columns that the network was fitted on: 'a', 'kind'" in lacking.stderr
    assert not out.exists()
    unkept = command("predict", ranked.out, tmp_path / "strange.csv", "--out", out, "--keep", "id")
    assert "no column 'id' to keep" in unkept.stderr
    strange = command("predict", ranked.out, tmp_path / "strange.csv", "--out", out)
    assert "labels that are no class of the network (other): no scores" in strange.stdout
    again = command("predict", ranked.out, tmp_path / "strange.csv", "--out", out)
    assert again.code == 2
    assert "pass --overwrite to replace it" in again.stderr
    nowhere = command("predict", tmp_path / "nowhere", tmp_path / "strange.csv", "--out", tmp_path / "x.csv")
    assert nowhere.code == 2
    assert "nowhere" in nowhere.stderr


def test_a_network_trained_with_probes_says_why_it_predicts_no_other_rows():
    estimator = SimpleNamespace(encoder_=SimpleNamespace(features_=("age", "sex", "probe of age")))
    with pytest.raises(pg.PermGradError, match=r"trained with probes \('probe of age'\).*without --probes"):
        model_columns(estimator, pd.DataFrame({"age": [1], "sex": [0]}))
