"""What a panel keeps of the variation beside the classes: planted programs, and scikit-learn's own regression."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

import permgrad as pg


@pytest.fixture(scope="module")
def parts():
    """Three programs of ten columns each that vary together, whatever the class, and ten columns of noise."""
    rng = np.random.default_rng(0)
    programs = np.repeat(rng.normal(size=(400, 3)), 10, axis=1) * 2
    X = np.column_stack([programs, np.zeros((400, 10))]) + 0.3 * rng.normal(size=(400, 40)) + 5
    cells = pg.Cells(X.astype(np.float32), np.repeat(["u", "v"], 200), tuple(f"g{i}" for i in range(40)))
    order = rng.permutation(400)
    return cells.take(order[:250]), cells.take(order[250:])


def test_one_column_of_each_program_keeps_most(parts):
    good = pg.panel_variation(["g0", "g10", "g20"], *parts)
    poor = pg.panel_variation(["g0", "g1", "g2"], *parts)
    none = pg.panel_variation(["g30", "g31", "g32"], *parts)
    assert good.best > good.explained > 0.9
    assert poor.explained == pytest.approx(1 / 3, abs=0.06)
    assert abs(none.explained) < 0.05
    assert good.neighbours > 0.4 > poor.neighbours > none.neighbours
    assert none.neighbours == pytest.approx(15 / 149, abs=0.03)  # as any rows would be
    assert poor.by_chance < good.explained
    assert repr(good).startswith("PanelVariation(3 columns: 0.9")


def test_as_regression_and_components_say(parts):
    """Plainly: a regression of all columns on the panel's; reconstructions from components; R² weighed by variance."""
    train, test = (part.X.astype(float) for part in parts)
    found = pg.panel_variation(["g3", "g15", "g33"], *parts)
    at = [3, 15, 33]
    predicted = LinearRegression().fit(train[:, at], train).predict(test[:, at])
    assert found.explained == pytest.approx(r2_score(test, predicted, multioutput="variance_weighted"), abs=1e-4)
    components = PCA(3).fit(train)
    back = components.inverse_transform(components.transform(test))
    assert found.best == pytest.approx(r2_score(test, back, multioutput="variance_weighted"), abs=1e-4)


def test_all_columns_keep_all(parts):
    every = pg.panel_variation(parts[0].features, *parts)
    assert every.explained == pytest.approx(1)
    assert every.neighbours == pytest.approx(1)
    assert every.by_chance == pytest.approx(1)


def test_of_many_columns_those_that_vary_most_count(parts):
    """Noise varies least: the thirty columns of the programs are left, and the panel's own."""
    panel = ["g3", "g35"]
    names = [name for i, name in enumerate(parts[0].features) if i < 30 or name in panel]
    few = pg.panel_variation(panel, *parts, most_columns=30)
    assert repr(few) == repr(pg.panel_variation(panel, *(part.only(names) for part in parts)))
    assert repr(few) != repr(pg.panel_variation(panel, *parts))


def test_what_cannot_be_measured(parts):
    train, test = parts
    with pytest.raises(pg.PermGradError, match="no such gene: 'z'"):
        pg.panel_variation(["z"], train, test)
    with pytest.raises(pg.PermGradError, match="expected columns"):
        pg.panel_variation(["g0"], train, test.only(["g0", "g1"]))
    with pytest.raises(pg.PermGradError, match="more test rows than neighbours"):
        pg.panel_variation(["g0"], train, test.take(np.arange(10)))
