"""How the command line ends: exit codes, and one line for what went wrong."""

from __future__ import annotations

import gzip

import pytest


def test_what_is_no_error_of_ours_is_not_hidden(command, monkeypatch):
    def broken():
        raise ZeroDivisionError

    monkeypatch.setattr("permgrad.data.datasets.list_datasets", broken)
    with pytest.raises(ZeroDivisionError):
        command("datasets")


@pytest.mark.parametrize(("name", "ending"), [("tune", "the same command goes on"), ("rank", "nothing was written")])
def test_an_interrupt_is_said_and_is_130(name, ending, command, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("permgrad.data.datasets.load_dataset", interrupt)
    ran = command(name, "iris")
    assert (ran.code, ran.stderr) == (130, f"\ninterrupted; {ending}\n")  # on a line of its own


def test_a_truncated_archive_is_no_interrupt(tmp_path, command):
    path = tmp_path / "cut.csv.gz"
    path.write_bytes(gzip.compress(b"a,b,y\n" + b"1,2,0\n" * 4000)[:60])
    ran = command("rank", path, "--target", "y", "--out", tmp_path / "out")
    assert ran.code == 2
    assert ran.stderr.count("\n") == 1
    assert "cut.csv.gz is damaged" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rank", "part-0.parquet", "part-1.parquet"], "to read several files as one table, quote their pattern"),
        (("--bogus",), "No such option '--bogus'"),
        (("t.csv", "--timeout", "nan"), "'nan' is not a finite number"),
        (("t.csv", "--learning-rate", "inf"), "'--learning-rate'"),
        (("t.csv", "--n-repeats", 10**12), "'--n-repeats'"),
        (("t.csv", "--image-size", 100_000), "'--image-size'"),
        (("t.csv", "--image-size", "broad"), "'broad' is not a whole number from 1 to 1024, or compact or wide"),
        (("t.csv", "--patience", 0), "'0' is not a whole number from 1 to 1000000000, or auto"),
        (("t.csv", "--batch-size", "1.5"), "'--batch-size'"),
        (("t.csv", "--dense-units", "64,"), "'64,' is not one or more sizes from 1 to 65536 such as 128,64, or none"),
        (("t.csv", "--head-units", "0"), "'--head-units'"),
        (("t.csv", "--dropout", 1), "'--dropout'"),
        (("t.csv", "--preset", "worst"), "'worst' is not one of 'default', 'fast', 'best', 'published'"),
        (("t.csv", "--random-state", 2**40), "'--random-state'"),
        (("http://localhost/t.csv", "--target", "y"), "is a URL; download the file"),
    ],
)
def test_what_cannot_be_meant_is_told_in_one_line_before_any_work(arguments, message, command):
    ran = command("rank", *arguments)
    assert ran.code == 2
    assert message in ran.stderr
    assert ran.stderr.count("\n") == 1
