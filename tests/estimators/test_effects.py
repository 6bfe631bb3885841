"""Effects of a table's columns on an estimator's network, which is not trained."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit

import permgrad as pg


@pytest.mark.backend
def test_a_networks_columns_move_as_the_table_has_them(mixed_frame, trainings):
    """What is replaced in the encoded rows is what encoding the replaced table gives."""
    mixed_frame["seen"] = (pd.Timestamp("2021-05-01") + pd.to_timedelta(np.arange(120), unit="D")).astype(str)
    y = np.where(mixed_frame["colour"] == "red", "red", "no")
    model = pg.HybridClassifier(preset="fast", branches="tabular", validation_fraction=0)
    with pytest.warns(UserWarning, match="no information"):
        model.fit(mixed_frame, y)
    found = model.effects(mixed_frame, kind="pdp", n_points=3)
    assert [column.name for column in found.columns] == ["age", "colour", "smoker", "site", "dose", "seen"]
    for name, values in {"age": None, "colour": ["blue", "green", "red"], "seen": None}.items():
        effect = found[name]
        assert values is None or list(effect.values) == values
        for value, said in zip(effect.values, effect.effect, strict=True):
            changed = mixed_frame.assign(**{name: np.nan if value == "(missing)" else value})
            p = model.predict_proba(changed)[:, 1].astype(float)
            assert said == pytest.approx(logit(p).mean(), abs=1e-4)
    assert np.isnan(found["age"].values[-1])
    assert model.effects(mixed_frame, ["same"])["same"].effect.tolist() == [0]
    known = pg.effects(model, mixed_frame, kind="pdp", n_points=3)
    assert known.to_dict() == found.to_dict()
    averaged = pg.AveragedClassifier.of([model, model]).effects(mixed_frame, ["dose"])
    np.testing.assert_allclose(averaged["dose"].effect, model.effects(mixed_frame, ["dose"])["dose"].effect, atol=1e-5)
