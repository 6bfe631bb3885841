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
        "age=(missing)",
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
        "age": ["age", "age=(missing)"],
        "colour": ["colour=blue", "colour=green", "colour=red"],
        "smoker": ["smoker=False", "smoker=True"],
        "site": ["site=(missing)", "site=A", "site=B"],
        "dose": ["dose"],
    }
    assert encoder.constant_ == ("same", "empty")
    assert encoder.n_numbers_ == len(encoder.numeric_) == 2


def test_values_by_hand(encoder, mixed_frame):
    encoded = pd.DataFrame(encoder.transform(mixed_frame), columns=encoder.get_feature_names_out())
    assert encoded.to_numpy().dtype == np.float32
    median = np.float32(mixed_frame["age"].median())
    assert (encoded["age"][:7] == median).all()
    np.testing.assert_array_equal(encoded["age"][7:], mixed_frame["age"][7:].astype(np.float32))
    np.testing.assert_array_equal(encoded["age=(missing)"], mixed_frame["age"].isna())
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


def test_mixed_objects_keep_their_own_texts():
    """1, 1.0 and True are equal to Python; a gap is a level, called as a text may be."""
    mixed = [1, True, 1.0, "1", None, "(missing)", np.nan, "True"]
    encoder = pg.ColumnEncoder().fit(pd.DataFrame({"c": pd.Series(mixed, dtype=object)}))
    assert encoder.categories_ == {"c": ("(missing)", "1", "1.0", "True")}
    for order in (mixed, mixed[::-1]):
        encoded = encoder.transform(pd.DataFrame({"c": pd.Series(order, dtype=object)}))
        expected = [["(missing)", "1", "1.0", "True"].index("(missing)" if pd.isna(x) else str(x)) for x in order]
        np.testing.assert_array_equal(encoded, np.eye(4)[expected])


def counts_of(kind: str) -> dict[str, int]:
    """Training rows of each level."""
    if kind == "40 levels":
        return {f"c{i:02d}": 40 - i for i in range(40)}
    if kind == "gaps among rare ones":
        return {**{f"c{i:02d}": 9 for i in range(35)}, "(missing)": 2, "once": 1}
    # 100 of 9 rows and more are kept; the others are in 1 to 8
    return {
        f"c{i:03d}": count for i, count in enumerate([1000] + [9 + i % 5 for i in range(99)] + [1, 2, 3, 4, 7, 8] * 9)
    }


def column_of(counts: dict[str, int]) -> pd.Series:
    rows = [level for level, count in counts.items() for _ in range(count)]
    order = np.random.default_rng(0).permutation(len(rows))
    return pd.Series(rows, dtype=object).iloc[order].reset_index(drop=True).replace("(missing)", None)


def plain_name(level: str | None, counts: dict[str, int]) -> str:
    """Say which 0/1 column a level belongs to, the slow and obvious way."""
    level = "(missing)" if level is None else level
    ordered = sorted(counts, key=lambda other: (-counts[other], other))
    if level in ordered[:100] and counts[level] >= 4:
        return level
    count = counts.get(level, 0)
    for least, most in ((0, 3), (4, 7), (8, 15), (16, 31)):
        if least <= count <= most:
            return f"(in {max(1, least)}-{most} rows)"
    raise AssertionError(count)


@pytest.mark.parametrize("kind", ["40 levels", "gaps among rare ones", "more than 100 frequent ones"])
def test_levels_are_kept_apart_or_pooled_by_frequency(kind):
    counts = counts_of(kind)
    column = column_of(counts)
    with pytest.warns(UserWarning, match=f"'c' has {len(counts)} categories; the .* are pooled by frequency"):
        encoder = pg.ColumnEncoder().fit(pd.DataFrame({"c": column}))
    restored = pg.ColumnEncoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    rows = pd.DataFrame({"c": [*column, "never seen", None]})
    expected = [plain_name(level, counts) for level in rows["c"]]
    for one in (encoder, restored):
        encoded = one.transform(rows)  # and no warning: what was not seen is as rare as can be
        names = one.get_feature_names_out()
        assert (encoded.sum(axis=1) == 1).all()
        assert [f"c={name}" for name in expected] == names[encoded.argmax(axis=1)].tolist()
    kept = [name for name in dict.fromkeys(expected) if not name.startswith("(in ")]
    assert encoder.categories_ == {"c": tuple(sorted(kept))}
    assert len(kept) == {"40 levels": 37, "gaps among rare ones": 35}.get(kind, 100)
    assert next(iter(encoder.pools_["c"])) == "(in 1-3 rows)"
    assert encoder.pools_["c"]["(in 1-3 rows)"] == ()


@pytest.mark.parametrize("dtype", [object, "string", "category"])
def test_text_of_any_dtype_is_encoded_alike(dtype):
    counts = counts_of("gaps among rare ones")
    frame = pd.DataFrame({"c": column_of(counts)})
    with pytest.warns(UserWarning, match="pooled"):
        encoder = pg.ColumnEncoder().fit(frame.astype(dtype))
    with pytest.warns(UserWarning, match="pooled"):
        plain = pg.ColumnEncoder().fit(frame)
    assert encoder.to_dict() == plain.to_dict()
    np.testing.assert_array_equal(encoder.transform(frame.astype(dtype)), plain.transform(frame))


def test_few_levels_are_kept_however_rare():
    frame = pd.DataFrame({"c": [f"c{i:02d}" for i in range(30)]})
    np.testing.assert_array_equal(pg.ColumnEncoder().fit_transform(frame), np.eye(30))


def test_levels_that_are_all_rare_tell_nothing():
    frame = pd.DataFrame({"id": [f"person {i // 2}" for i in range(120)], "x": range(120)})
    with pytest.warns(UserWarning, match="no information in 'id': each level is too rare"):
        encoder = pg.ColumnEncoder().fit(frame)
    assert (encoder.constant_, list(encoder.groups_)) == (("id",), ["x"])
    with pytest.raises(pg.PermGradError, match="no column varies in these 120 rows, or each level is too rare: 'id'"):
        pg.ColumnEncoder().fit(frame[["id"]])


SIZES = ["none", "small", "medium", "large", "huge"]


@pytest.fixture
def sizes() -> pd.DataFrame:
    """Sixty ordered categories, six of them missing; one level never occurs, and the alphabet is another order."""
    rows = [*SIZES[:4] * 12, *["large"] * 6, *[None] * 6]
    return pd.DataFrame({"size": pd.Categorical(rows, SIZES, ordered=True), "x": np.arange(60.0)})


def test_an_ordered_category_is_the_position_of_its_level(sizes):
    encoder = pg.ColumnEncoder().fit(sizes)
    assert encoder.get_feature_names_out().tolist() == ["size", "x", "size=(missing)"]
    assert {name: at.tolist() for name, at in encoder.groups_.items()} == {"size": [0, 2], "x": [1]}
    assert encoder.ordinals_ == {"size": tuple(SIZES)}
    positions = [SIZES.index(level) for level in sizes["size"].dropna()]
    filled = [SIZES.index(level) if isinstance(level, str) else np.median(positions) for level in sizes["size"]]
    encoded = encoder.transform(sizes)
    np.testing.assert_array_equal(encoded[:, 0], filled)
    np.testing.assert_array_equal(encoded[:, 2], sizes["size"].isna())


@pytest.mark.parametrize(
    "change",
    [
        lambda size: size.astype(object),
        lambda size: size.astype("string"),
        lambda size: pd.Series(pd.Categorical(size, sorted(SIZES))),
        lambda size: pd.Series(pd.Categorical(size, [*SIZES[::-1], "gigantic"], ordered=True)),
    ],
)
def test_levels_of_later_rows_are_known_by_name(change, sizes):
    encoder = pg.ColumnEncoder().fit(sizes)
    restored = pg.ColumnEncoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    later = sizes.assign(size=change(sizes["size"]))
    for one in (encoder, restored):
        np.testing.assert_array_equal(one.transform(later), encoder.transform(sizes))


def test_a_name_that_is_no_level_is_taken_for_missing(sizes):
    encoder = pg.ColumnEncoder().fit(sizes)
    with pytest.warns(UserWarning, match="'size' holds 'tiny', none of its levels, 'none', .*; treated as missing"):
        encoded = encoder.transform(sizes.assign(size="tiny"))
    np.testing.assert_array_equal(encoded[:, [0, 2]], [[encoder.medians_[0], 1]] * 60)


def test_a_level_that_is_called_as_gaps_are():
    levels = ["(missing)", "b", "a"]
    frame = pd.DataFrame({"c": pd.Categorical([*levels * 4, None, None], levels, ordered=True)})
    encoded = pg.ColumnEncoder().fit_transform(frame)
    np.testing.assert_array_equal(encoded[:, 0], [*[0, 1, 2] * 4, 1, 1])


def test_an_ordered_category_travels_through_a_table(sizes, tmp_path):
    sizes["y"] = np.arange(60) % 7 / 7
    sizes.to_parquet(tmp_path / "t.parquet")
    table = pg.Table.from_file(tmp_path / "t.parquet", "y")
    more = table.more_rows((sizes[["size", "x"]], sizes["y"]))
    part = table.take(np.arange(60)[::-1])
    encoder = pg.ColumnEncoder().fit(part)
    assert encoder.ordinals_ == {"size": tuple(SIZES)}
    for rows in (table, more, part.take(np.arange(60)[::-1])):
        np.testing.assert_array_equal(encoder.transform(rows), encoder.transform(sizes[["size", "x"]]))


def test_levels_that_are_the_same_as_text():
    column = pd.Categorical([1, "1"], [1, "1"], ordered=True)
    with pytest.raises(pg.PermGradError, match="levels of 'c' are the same as text"):
        pg.ColumnEncoder().fit(pd.DataFrame({"c": column}))


@pytest.mark.parametrize(
    ("n_rows", "n_gaps", "told"), [(100, 4, False), (100, 5, True), (601, 6, False), (600, 6, True)]
)
def test_the_network_is_told_of_gaps_that_are_not_few(n_rows, n_gaps, told):
    column = np.arange(float(n_rows))
    column[:n_gaps] = np.nan
    encoder = pg.ColumnEncoder().fit(pd.DataFrame({"a": column}))
    assert encoder.get_feature_names_out().tolist() == ["a", "a=(missing)"][: 1 + told]
    encoded = encoder.transform(pd.DataFrame({"a": column}))
    np.testing.assert_array_equal(encoded[:, 1:], np.isnan(column)[:, None][:, :told])


def test_gaps_beside_a_single_value_are_all_there_is_to_tell(mixed_frame):
    frame = mixed_frame[["dose"]].assign(ever=np.where(np.arange(120) % 3, np.nan, 1.0))
    encoder = pg.ColumnEncoder().fit(frame)
    assert encoder.get_feature_names_out().tolist() == ["dose", "ever=(missing)"]
    assert (encoder.numeric_, encoder.gaps_, encoder.constant_) == (("dose",), ("ever",), ())
    np.testing.assert_array_equal(encoder.transform(frame), np.c_[frame["dose"], frame["ever"].isna()])


def test_a_number_and_its_gaps_are_permuted_together(rng):
    """Permuting the raw column and encoding it again is what the importance must equal."""
    from permgrad.backend import keras

    frame = pd.DataFrame({"a": rng.normal(size=80), "b": rng.normal(size=80), "c": rng.choice(["x", "y"], 80)})
    frame.loc[frame.index % 4 == 0, "a"] = np.nan
    encoder = pg.ColumnEncoder().fit(frame)
    encoded, y = encoder.transform(frame), rng.normal(size=80).astype(np.float32)
    network = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4, "relu"), keras.layers.Dense(1)])
    cut = keras.Model(network.inputs, network.outputs)
    ranking = pg.permutation_importance(cut, encoded, y, groups=encoder.groups_, n_repeats=1, random_state=3)
    order = np.random.default_rng([3, 0, 0]).permutation(80)
    shuffled = encoder.transform(frame.assign(a=frame["a"].to_numpy()[order]))
    losses = [np.mean((network.predict(rows, verbose=0)[:, 0] - y) ** 2) for rows in (shuffled, encoded)]
    assert ranking.features == ("a", "b", "c")
    assert ranking.scores[0] == pytest.approx(losses[0] - losses[1], rel=1e-4)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"features": "age"}, "lists of names"),
        ({"features": ["age"]}, "knows each of its columns"),
        ({"numeric": ["age", "age"]}, "differ"),
        ({"medians": [1.0]}, "a median and an offset for each"),
        ({"medians": [1.0, float("nan"), 2.0, 0.0, 0.0, 0.0]}, "finite numbers"),
        ({"ranges": {}}, "the lowest and the highest"),
        ({"ranges": {"age": [None, 3.0]}}, "the lowest and the highest"),
        ({"ordinals": {"zip": ["a"]}}, "of one kind"),
        ({"gaps": ["zip"]}, "of one kind"),
        ({"gaps": ["other"]}, "knows each of its columns"),
        ({"categories": {"zip": [1, 2]}}, "lists of names"),
        ({"categories": {}}, "of one kind"),
        ({"categories": {"zip": ["z0"]}, "pools": {}}, "two 0/1 columns or more"),
        ({"pools": {"zip": {}}}, "two 0/1 columns or more"),
        ({"pools": {"zip": {"(in 1-3 rows)": ["a"]}}}, "rarest pool lists no level"),
        ({"pools": {"zip": {"(in 1-3 rows)": [], "(in 4-7 rows)": ["z0"]}}}, "differ"),
        ({"constant": []}, "knows each of its columns"),
        ({"missing": {"other": 3}}, "of its own columns"),
        ({"rules": {"other": ["number", "."]}}, "of its own columns"),
        ({"rules": {"age": ["word", "."]}}, "read as numbers or dates"),
        ({"left_out": {"age": "?"}}, "of its own columns"),
        ({"dates": {}}, "a median and an offset for each"),
        ({"dates": {"day": ["days", "century", "month"]}}, "some of 'days', 'year'"),
        ({"origins": {}}, "a first day"),
    ],
)
def test_damaged_descriptions(damage, message, sizes):
    day = pd.date_range("2020-01-01", periods=60)
    frame = sizes.assign(age=sizes["x"] ** 2, same=1, day=day, zip=[f"z{max(0, i - 20)}" for i in range(60)])
    with pytest.warns(UserWarning, match=r"pooled|no information"):
        content = pg.ColumnEncoder().fit(frame).to_dict()
    pg.ColumnEncoder.from_dict(content)
    with pytest.raises(pg.PermGradError, match=message):
        pg.ColumnEncoder.from_dict({**content, **damage})
    for key in damage:
        for wrong in (None, 3):
            with pytest.raises((pg.PermGradError, TypeError, AttributeError)):
                pg.ColumnEncoder.from_dict({**content, key: wrong})
        with pytest.raises(KeyError):
            pg.ColumnEncoder.from_dict({other: content[other] for other in content if other != key})


def test_column_that_changed_its_kind(encoder, mixed_frame):
    with pytest.raises(pg.PermGradError, match="other values in 'age'"):
        encoder.transform(mixed_frame.assign(age="old"))


def test_nothing_varies():
    with pytest.raises(pg.PermGradError, match="no column varies in these 3 rows"):
        pg.ColumnEncoder().fit(pd.DataFrame({"a": [1, 1, 1], "b": [None, None, None]}))


def test_value_beyond_float32():
    frame = pd.DataFrame({"a": [1e300, 1.0]})
    with pytest.raises(pg.PermGradError, match="too large for dtype"):
        pg.ColumnEncoder().fit(frame).transform(frame)
