"""Whatever is in a file, reading it ends in a result or in one line that names the file."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import permgrad as pg
from benchmarks.attack import mutations
from permgrad.errors import FileFormatError, PermGradError, reading

QUICK = (
    "t.csv",
    "t.csv.gz",
    "t.parquet",
    "ranking.json",
    "ranking.parquet",
    "by.json",
    "data.csv",
    "labels.csv",
    "estimator.json",
)
QUICK += ("a study's settings", "a study's step")
SLOW = ("cells.h5ad", "network.keras", "checkpoint")
ODD = [
    b"",
    b"1e400",
    b"-1",
    b"null",
    b"NaN",
    b"[" * 3000,
    b"{}",
    b'"',
    b"\x00",
    b"9" * 400,
    b"\xff\xfe",
    b"!!x ",
    b",,,",
    b"\n",
]


@pytest.fixture(scope="session")
def loaded(tmp_path_factory):
    """A file of every kind that is read, with its content."""
    kinds = dict(mutations.samples(tmp_path_factory.mktemp("loaded")))
    return {name: (kind, kind.file.read_bytes()) for name, kind in kinds.items()}


def test_every_kind_is_tried(loaded):
    assert set(loaded) == {*QUICK, *SLOW}
    for kind, _ in loaded.values():
        kind.load()


def told(load):
    """Return the error of ours that reading ends in, if it does."""
    try:
        load()
    except PermGradError as error:
        return error


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_a_damaged_file_is_one_line_that_names_it(name, loaded):
    kind, whole = loaded[name]

    @settings(
        max_examples=40,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        database=None,
        phases=(Phase.generate,),
    )
    @given(
        place=st.floats(0, 1),
        left_out=st.integers(0, 200),
        put_in=st.one_of(st.sampled_from(ODD), st.binary(max_size=64)),
        cut=st.booleans(),
    )
    def damaged(place, left_out, put_in, cut):
        at = int(place * len(whole))
        kind.file.write_bytes(whole[:at] + put_in + (b"" if cut else whole[at + left_out :]))
        said = told(kind.load)
        assert said is None or "\n" not in str(said)
        named = any(str(path) in str(said) for path in (kind.file, kind.file.parent))
        assert named or not isinstance(said, FileFormatError)  # a table may be read, and then be of no use

    try:
        damaged()
    finally:
        kind.file.write_bytes(whole)


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (FileNotFoundError(2, "No such file or directory"), "cannot read a.txt: No such file or directory"),
        (OSError("not a gzip file\nat all"), "a.txt is damaged, or is not a list; write it again"),
        (EOFError("Compressed file ended"), r"a.txt is damaged, or is not a list \(it ends too early\)"),
        (KeyError("x"), r"a.txt is damaged, or is not a list \('x' is missing\)"),
        (RecursionError(), "nested too deeply"),
        (MemoryError(), "more memory than there is"),
        (ZeroDivisionError("line\nline"), "a.txt is damaged, or is not a list; write it again"),
        (pg.PermGradError("a must be 1"), "a.txt: a must be 1"),
        (pg.FileFormatError("b.txt is damaged"), "^b.txt is damaged$"),
    ],
)
def test_what_a_reader_raises_becomes_one_line(raised, message):
    with pytest.raises(pg.FileFormatError, match=message) as error, reading("a.txt", "a list", "write it again"):
        raise raised
    assert "\n" not in str(error.value)
    assert raised in (error.value.__cause__, error.value)


def test_an_interrupt_is_none_of_the_files_faults():
    with pytest.raises(KeyboardInterrupt), reading("a.txt", "a list"):
        raise KeyboardInterrupt


def test_a_file_with_a_long_wrong_name_is_told_in_short(tmp_path):
    path = tmp_path / "r.json"
    path.write_text('{"kind": "' + "x" * 5000 + '"}')
    with pytest.raises(pg.FileFormatError) as error:
        pg.FeatureRanking.load(path)
    assert len(str(error.value)) < 500
