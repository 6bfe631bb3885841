"""Probes: shuffled copies of a table's columns, known by their names to whoever ranks them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from permgrad.data.probes import probes_among


@pytest.fixture
def table(rng):
    X = pd.DataFrame(
        {"a": rng.normal(size=60), "kind": rng.choice(["u", "v"], 60), "when": ["3.1.2020", "4.1.2020"] * 30}
    )
    X.loc[:2, "a"] = np.nan
    return pg.Table(X, pd.Series(rng.normal(size=60), name="y"), task="regression")


def test_probes_are_shuffled_copies_of_all_columns(table):
    wider = table.with_probes(5, random_state=3)
    assert len(wider.probes) == 5
    assert wider.features == [*table.features, *wider.probes]
    assert set(wider.probes[:3]) == {"probe of a", "probe of kind", "probe of when"}
    assert all(name.startswith("probe 2 of ") for name in wider.probes[3:])
    for column in table.features:
        probe = wider.X[f"probe of {column}"]
        assert probe.dtype == table.X[column].dtype
        assert sorted(map(str, probe)) == sorted(map(str, table.X[column]))
        assert not probe.equals(table.X[column])
    assert table.probes == []
    assert "probes" not in table.notes


def test_the_same_seed_draws_the_same(table):
    assert table.with_probes(2).sha256 == table.with_probes(2).sha256
    assert table.with_probes(2).sha256 != table.with_probes(2, random_state=1).sha256


def test_parts_know_their_probes_and_further_rows_are_read_alike(table):
    wider = table.with_probes(3)
    train, _, test = wider.split()
    assert train.probes == test.probes == wider.probes
    text = test.X.assign(**{"probe of when": ["3.1.2020"] * len(test)})
    assert train.more_rows((text, test.y)).X["probe of when"].dtype == wider.X["when"].dtype


def test_names_tell_probes():
    assert probes_among(["a", "probe of a", "probe 2 of a", "probe of b", "probe x of a", "proof of a"]) == [
        "probe of a",
        "probe 2 of a",
    ]


def test_what_cannot_be_drawn_is_refused(table):
    with pytest.raises(pg.PermGradError, match="at least one probe, got n_probes=0"):
        table.with_probes(0)
    with pytest.raises(pg.PermGradError, match="named like them"):
        table.with_probes(3).with_probes(3)
