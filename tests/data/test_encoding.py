from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import permgrad as pg


@pytest.fixture
def encoder(mixed_frame) -> pg.ColumnEncoder:
    with pytest.warns(UserWarning, match="no information in 'same', 'empty'"):
        return pg.ColumnEncoder().fit(mixed_frame)


def test_columns_and_their_owners(encoder):
    assert encoder.get_feature_names_out().tolist() == [
        "age",
        "dose",
        "colour=blue",
        "colour=green",
        "colour=red",
        "smoker=False",
        "smoker=True",
        "site=(missing)",
        "site=A",
        "site=B",
    ]
    owned = {name: encoder.get_feature_names_out()[columns].tolist() for name, columns in encoder.groups_.items()}
    assert owned == {
        "age": ["age"],
        "colour": ["colour=blue", "colour=green", "colour=red"],
        "smoker": ["smoker=False", "smoker=True"],
        "site": ["site=(missing)", "site=A", "site=B"],
        "dose": ["dose"],
    }
    assert encoder.constant_ == ("same", "empty")


def test_values_by_hand(encoder, mixed_frame):
    encoded = pd.DataFrame(encoder.transform(mixed_frame), columns=encoder.get_feature_names_out())
    assert encoded.to_numpy().dtype == np.float32
    median = np.float32(mixed_frame["age"].median())
    assert (encoded["age"][:7] == median).all()
    np.testing.assert_array_equal(encoded["age"][7:], mixed_frame["age"][7:].astype(np.float32))
    np.testing.assert_array_equal(encoded["colour=red"], mixed_frame["colour"] == "red")
    np.testing.assert_array_equal(encoded["smoker=True"], mixed_frame["smoker"])
    np.testing.assert_array_equal(encoded["site=(missing)"], mixed_frame["site"].isna())
    assert encoder.missing_ == {"age": 7, "empty": 120, "site": int(mixed_frame["site"].isna().sum())}


def test_restored_from_json_encodes_alike(encoder, mixed_frame):
    restored = pg.ColumnEncoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    np.testing.assert_array_equal(restored.transform(mixed_frame), encoder.transform(mixed_frame))
    assert restored.get_feature_names_out().tolist() == encoder.get_feature_names_out().tolist()
    assert {k: v.tolist() for k, v in restored.groups_.items()} == {k: v.tolist() for k, v in encoder.groups_.items()}


@pytest.mark.parametrize(("column", "value"), [("colour", "violet"), ("smoker", None)])
def test_unseen_category_is_all_zero(column, value, encoder, mixed_frame):
    with pytest.warns(UserWarning, match=f"{column!r} holds .*, not seen in training"):
        encoded = encoder.set_output(transform="pandas").transform(mixed_frame.assign(**{column: value}))
    assert (encoded.filter(like=f"{column}=") == 0).all(axis=None)


def test_spread_that_float32_would_blur_is_kept():
    """Seconds of a day in 2023 differ by less than float32 can tell apart at 1.7e9."""
    frame = pd.DataFrame({"second": 1.7e9 + np.arange(100.0), "year": np.arange(1950.0, 2050)})
    encoder = pg.ColumnEncoder().fit(frame)
    encoded = encoder.transform(frame)
    np.testing.assert_array_equal(encoded[:, 0], np.arange(100.0) - 49.5)
    np.testing.assert_array_equal(encoded[:, 1], frame["year"])


def test_numbers_held_as_objects_and_nullable_numbers_are_numbers():
    objects = pd.DataFrame({"a": pd.Series([1, 2.5, None], dtype=object), "b": pd.array([None, 1, 2], dtype="Int64")})
    encoder = pg.ColumnEncoder().fit(objects)
    assert encoder.numeric_ == ("a", "b")
    np.testing.assert_array_equal(encoder.transform(objects), [[1, 1.5], [2.5, 1], [1.75, 2]])


def test_lists_in_cells():
    with pytest.raises(pg.PermGradError, match="expected one number, text or truth value in each cell"):
        pg.ColumnEncoder().fit(pd.DataFrame({"a": [[1], [2]]}))


def test_rare_categories_are_left_out():
    names = np.array([f"c{i:02d}" for i in range(40)])
    column = np.repeat(names, np.arange(40, 0, -1))
    with pytest.warns(UserWarning, match="'c' has 40 categories; the 30 most frequent"):
        encoder = pg.ColumnEncoder().fit(pd.DataFrame({"c": column}))
    assert encoder.categories_["c"] == tuple(names[:30])


def test_column_that_changed_its_kind(encoder, mixed_frame):
    with pytest.raises(pg.PermGradError, match="other values in 'age'"):
        encoder.transform(mixed_frame.assign(age="old"))


def test_dates_need_converting():
    frame = pd.DataFrame({"when": pd.date_range("2024-01-01", periods=5), "x": range(5)})
    with pytest.raises(pg.PermGradError, match="'when' is of type datetime64"):
        pg.ColumnEncoder().fit(frame)


def test_nothing_varies():
    with pytest.raises(pg.PermGradError, match="no column varies in these 3 rows"):
        pg.ColumnEncoder().fit(pd.DataFrame({"a": [1, 1, 1], "b": [None, None, None]}))


def test_value_beyond_float32():
    frame = pd.DataFrame({"a": [1e300, 1.0]})
    with pytest.raises(pg.PermGradError, match="too large for dtype"):
        pg.ColumnEncoder().fit(frame).transform(frame)
