"""Pictures of single rows: colour at columns' pixels alone, captions of the row's own values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import permgrad as pg
from permgrad import plotting
from permgrad.report import row_heat as module
from permgrad.report.row_heat import row_heat


@pytest.fixture(scope="module")
def hybrid():
    """A hybrid of mixed columns with random weights, and its table."""
    import pandas as pd

    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {"age": rng.normal(50, 9, 60), "dose": rng.normal(size=60), "sex": rng.choice(["m", "w", "x"], 60)}
    )
    X.loc[:9, "age"] = np.nan
    settings = {"preset": "published", "image_size": 8, "dense_units": (8,), "n_conv_layers": 1, "base_filters": 4}
    model = pg.HybridClassifier(**settings, head_units=(8,), epochs=1, validation_fraction=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("permgrad.estimators._table.fit_network", lambda *rows, **settings: ({"loss": [0.0]}, 1))
        return model.fit(X, np.where(X["sex"] == "w", "yes", "no")), X


def test_values_are_the_images_part_of_shapley_values_towards_the_answer(hybrid):
    model, X = hybrid
    heat = row_heat(model, X.iloc[:5], X)
    drawn = np.sort(np.random.default_rng(0).permutation(60)[: module.BACKGROUND])
    known = model.explain_rows(X.iloc[:5], X.iloc[drawn], of="yes", random_state=0).by_branch["image"]
    sign = np.where(model.predict(X.iloc[:5]) == "yes", 1, -1)
    np.testing.assert_allclose(heat.values, known * sign[:, None], atol=1e-9)
    assert heat.unit == "log-odds of the predicted class"
    assert heat.caption(0).endswith(
        f"In all, the image adds {heat.values[0].sum():+.2g} and the table {heat.sums[0, 1]:+.2g}."
    )


@pytest.mark.parametrize("most", [module.MOST_ANSWERS, 0])
def test_colour_is_at_the_rows_own_pixels_and_nowhere_else(hybrid, monkeypatch, most):
    monkeypatch.setattr(module, "MOST_ANSWERS", most)
    model, X = hybrid
    heat = row_heat(model, X.iloc[:12], X)
    assert heat.method == (module.SHAPLEY if most else module.GRADIENT)
    names = list(model.encoder_.get_feature_names_out())
    for row in (0, 11):  # an age that is missing, and one that is not
        told = {names[i] for i in np.flatnonzero(~np.isnan(heat.pixels[row]))}
        gap = {"age=(missing)"} if row == 0 else set()
        assert told == {"age", "dose", f"sex={X['sex'].iloc[row]}", *gap}
        at = names.index("dose")
        assert heat.pixels[row, at] == heat.values[row, 1]
    layout = model.layout_
    drawn = plotting.pixel_overlay(layout, heat.pixels[11])
    scale = len(drawn) // layout.shape[0]
    small = drawn[::scale, ::scale].astype(int)
    coloured = np.ptp(small, axis=2) > 0
    told = np.flatnonzero(np.abs(np.nan_to_num(heat.pixels[11])) > 0.02 * np.nanmax(np.abs(heat.pixels[11])))
    assert set(np.flatnonzero(coloured)) <= set(layout.pixels[~np.isnan(heat.pixels[11])])
    assert set(layout.pixels[told]) <= set(np.flatnonzero(coloured))


def test_captions_are_of_the_rows_own_values(hybrid):
    model, X = hybrid
    heat = row_heat(model, X.iloc[:12], X)
    said = " ".join(map(heat.caption, range(12)))
    assert "age = missing" in said
    assert f"age = {X['age'].iloc[11]:.4g}" in said
    assert f"sex = {X['sex'].iloc[11]}" in said
    assert "For this answer: " in said
    other = replace(heat, values=-heat.values)
    assert other.caption(11).startswith("Against it: sex = ")


def test_where_nothing_speaks_it_says_why(hybrid):
    model, X = hybrid
    alike = X.iloc[[20] * 20]
    assert "it adds as much as to the rows that it is compared with" in row_heat(model, alike.iloc[:1], alike).caption(
        0
    )
    empty = alike.assign(age=np.nan, dose=np.nan, sex=None)
    with pytest.warns(UserWarning, match="not seen in training"):
        assert "all of its values are missing" in row_heat(model, empty.iloc[:1], empty).caption(0)
