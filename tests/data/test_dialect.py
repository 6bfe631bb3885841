from __future__ import annotations

import itertools

import pytest

import permgrad as pg
from permgrad.data._dialect import BLANKS, Dialect, first_row, guess_dialect

SEPARATORS = {",": ",", ";": ";", "\t": "\t", "|": "|", " ": BLANKS}
ENCODINGS = {"utf-8": "utf-8", "utf-8-sig": "utf-8-sig", "utf-16": "utf-16", "latin-1": "cp1252", "cp1252": "cp1252"}


def lines(sep: str, decimal: str, header: bool, apart: str = "") -> str:
    """A table of a number, a city and a whole number, a hundred rows."""
    rows = [["größe", "city", "n"]] if header else []
    rows += [[f"{i}{decimal}{i % 7}", ["Zürich", "Århus"][i % 2], f"{apart}{i}{apart}"] for i in range(100)]
    return (
        "\n".join(sep.join(f'"{cell}"' if sep in cell and sep != " " else cell for cell in row) for row in rows) + "\n"
    )


@pytest.mark.parametrize(
    ("sep", "decimal", "encoding", "header"),
    [*itertools.product(SEPARATORS, ".,", ENCODINGS, (True, False))],
)
def test_what_a_file_is_written_in_is_guessed(sep, decimal, encoding, header):
    content = lines(sep, decimal, header).encode(encoding)
    expected = Dialect(SEPARATORS[sep], decimal, ENCODINGS[encoding], header)
    assert guess_dialect(content) == expected
    assert guess_dialect(content[: len(content) // 2 * 2 - 101]) == expected  # cut within a line, perhaps a letter


def test_what_is_given_is_not_guessed():
    content = lines(",", ".", True).encode()
    given = {"sep": ";", "decimal": ",", "encoding": "latin-1", "header": False}
    assert guess_dialect(content, **given) == Dialect(";", ",", "latin-1", False)
    assert guess_dialect(content, sep="tab").sep == "\t"
    assert guess_dialect(content, sep="blanks").sep == BLANKS


HEADERS = {
    "names": ("a,b\n1,x\n2,y\n", True),
    "values": ("3,z\n1,x\n2,y\n", False),
    "dates above dates": ("2020-01-01,z\n2020-01-02,x\n", False),
    "text alone cannot tell": ("u,z\nv,x\n", True),
    "columns that are numbered": ("0,1,2\n.5,1.5,2\n1,3,4\n", True),
    "years": ("name,2019,2020\nu,1,3\nv,3,4\n", True),
    "a number above text": ("1,b\nx,2\ny,3\n", True),
    "values twice": ("1,2,2\n.5,1.5,2\n1,3,4\n", False),
    "one line": ("a,b\n", True),
}


@pytest.mark.parametrize("case", HEADERS)
def test_whether_the_first_line_names_columns(case):
    text, header = HEADERS[case]
    assert guess_dialect(text.encode()).header == header
    assert guess_dialect(text.encode(), known=[text.split(",")[0]]).header


def test_separators_within_quotes_and_text_part_nothing():
    text = 'name,note\n"a, b","x; y; z"\n"c, d","u; v; w"\n'
    assert guess_dialect(text.encode()).sep == ","
    assert guess_dialect(b"a;b\n1,5;2,5\n2,5;3,5\n") == Dialect(";", ",")
    assert guess_dialect(b"only\n1\n2\n").sep == ","


@pytest.mark.parametrize(
    ("text", "decimal"),
    [
        ("a;b\n1.234;x\n2.345;y\n", "."),
        ("a;b\n1,234;x\n2,345;y\n", ","),
        ("a;b;c\n1,234;x;0.5\n2,345;y;1.5\n", "."),
        ("a;b;c\n1.234;x;0,5\n2.345;y;1,5\n", ","),
        ('a,b\n"1,5",x\n"2,5",y\n', ","),
        ('a,b\n"1,234",x\n"2,345",y\n', "."),
    ],
)
def test_decimal_marks(text, decimal):
    assert guess_dialect(text.encode()).decimal == decimal


def test_a_known_name_says_what_parts_fields():
    ragged = b"a;b;y\n1;2\n1,5;2;3;4\n3\n"
    assert guess_dialect(ragged).sep == ","
    assert guess_dialect(ragged, known=["y"]).sep == ";"
    assert guess_dialect(b"a,b\n1,2\n", known=["y"]).sep == ","


def test_a_byte_of_zero_is_no_utf_16():
    assert guess_dialect(b"a,b\n1,\x002\n3,4\n").encoding == "utf-8"


def test_comments_before_the_header():
    content = b"# made by hand\n# in 2020\na;b\n1;2\n"
    dialect = guess_dialect(content)
    assert (dialect.skipped, dialect.sep, dialect.header) == (2, ";", True)
    assert first_row(content, dialect) == ["a", "b"]
    assert str(dialect) == "';'-separated, 2 lines of comment"


def test_a_dialect_says_what_is_not_plain():
    assert str(Dialect()) == ""
    said = "tab-separated, decimal comma, cp1252, no header: columns are x0, x1, ..."
    assert str(Dialect("\t", ",", "cp1252", False)) == said


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sep": "::"}, "sep must be one character, 'tab' or 'blanks', got '::'"),
        ({"decimal": ";"}, "decimal must be '.' or ',', got ';'"),
        ({"encoding": "klingon"}, "no encoding 'klingon'"),
    ],
)
def test_what_cannot_be(given, message):
    with pytest.raises(pg.PermGradError, match=message):
        guess_dialect(b"a,b\n1,2\n", **given)
