"""How the command line ends: exit codes, and one line for what went wrong."""

from __future__ import annotations

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
