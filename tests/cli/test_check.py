from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from permgrad.cli._options import COLUMN_KINDS
from permgrad.cli.check import BARS, bars
from permgrad.data._kinds import KINDS


@pytest.fixture(scope="module")
def messy(tmp_path_factory):
    """A table as people have them: semicolons, decimal commas, an identifier, gaps, a column known too late."""
    rng = np.random.default_rng(0)
    spend = rng.gamma(2, 700, 200)
    frame = pd.DataFrame({"id": [f"C{i}" for i in range(200)], "spend": spend.round(2), "zip": rng.integers(0, 5, 200)})
    frame["v"] = np.where(rng.random(200) < 0.2, "?", rng.normal(size=200).round(2).astype(str))
    frame["v"] = frame["v"].str.replace(".", ",")
    frame["churn"] = np.where(np.log(spend) + rng.normal(size=200) > 7, "yes", "no")
    frame["left"] = np.where(frame["churn"] == "yes", "gone", "here")
    path = tmp_path_factory.mktemp("messy") / "messy.csv"
    frame.to_csv(path, index=False, sep=";", decimal=",")
    return path


def test_what_is_printed(messy, command):
    ran = command("check", messy, "--target", "churn")
    assert (ran.code, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    assert lines[0] == "messy: 200 rows × 5 features, classification"
    assert "  read as ';'-separated, decimal comma" in lines
    assert "  classification: 'churn' holds labels of 2 kinds" in lines
    (v,) = [line.split() for line in lines if line.startswith("v ")]
    assert v[1:3] == ["number", str((pd.read_csv(messy, sep=";")["v"] == "?").sum())]
    assert any(letter in BARS for letter in "".join(v))
    assert "2 findings:" in lines
    at = lines.index("  'left' tells 'churn' almost alone (AUC 1.000)")
    assert lines[at + 1].strip().startswith("→ if it is known only with the target")
    assert any("'id' is an identifier" in line for line in lines)


def test_what_is_told_of_the_table(messy, command):
    told = ["--sep", ";", "--decimal", ",", "--encoding", "utf-8", "--header", "--na", "0", "--task", "classification"]
    ran = command("check", messy, "--target", "churn", *told, "--drop", "left", "--as", "zip=category", "--as", "id=id")
    assert ran.code == 0
    lines = ran.stdout.splitlines()
    assert lines[0] == "messy: 200 rows × 3 features, classification"
    (kind,) = [line.split()[1] for line in lines if line.startswith("zip ")]
    assert kind == "category"
    assert lines[-1] == "no problems found in this table"


def test_classes_of_few_rows(tmp_path, command):
    frame = pd.DataFrame({"a": np.arange(40.0), "y": [*["u"] * 20, *["v"] * 14, *"www", *"zzz"]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert "2 classes have fewer than 5 rows: 'w', 'z'" in command("check", tmp_path / "t.csv", "--target", "y").stdout
    merged = command("check", tmp_path / "t.csv", "--target", "y", "--rare", "merge")
    assert "  merged into the class 'other': 'w', 'z', of fewer than 5 rows each" in merged.stdout
    dropped = command("check", tmp_path / "t.csv", "--target", "y", "--rare", "drop")
    assert dropped.stdout.startswith("t: 34 rows")


BAD = {
    "a kind that is none": (
        ["--as", "zip=colour"],
        "'zip=colour' is not COL=KIND, where KIND is one of number, category",
    ),
    "no column": (["--drop", "nothing"], "no column 'nothing' to drop; there are 'id', 'spend'"),
    "no sheet": (["--sheet", "1"], "a sheet is of an Excel file"),
    "a separator of two letters": (["--sep", "::"], "sep must be one character"),
    "no header, and a name": (["--no-header"], "target column 'churn' is not in the table: its first line looks like"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(case, messy, command):
    options, message = BAD[case]
    refused = command("check", messy, "--target", "churn", *options)
    assert refused.code == 2
    assert message in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_a_data_set_by_its_name(command):
    ran = command("check", "iris", "--drop", "sepal width (cm)")
    assert ran.stdout.startswith("iris: 150 rows × 3 features, classification")
    refused = command("check", "iris", "--sep", ";")
    assert "--sep is for files; leave it out for the data set 'iris'" in refused.stderr


def test_kinds_of_the_command_line_are_those_of_the_table():
    assert COLUMN_KINDS == KINDS


@pytest.mark.parametrize(
    ("counts", "text"),
    [((), ""), ((0, 0), "  "), ((8, 4, 1, 0), "█▄▁ "), ((1000, 1), "█▁"), (tuple(range(1, 9)), BARS)],
)
def test_bars(counts, text):
    assert bars(counts) == text


def test_no_network_is_needed(messy):
    """The check-up takes seconds: nothing that trains is imported for it."""
    code = (
        "import sys; from permgrad.cli import cli\n"
        "cli(['check', sys.argv[1], '--target', 'churn'], standalone_mode=False)\n"
        "assert not {'keras', 'tensorflow', 'jax'} & set(sys.modules), 'imported'"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, str(messy)], capture_output=True, text=True, env={**os.environ, "PYTHONUTF8": "1"}
    )
    assert process.returncode == 0, process.stderr


def test_in_python(messy):
    check = pg.Table.from_file(messy, "churn").check()
    assert isinstance(check, pg.TableCheck)
    assert [found.kind for found in check.findings] == ["leak", "identifier"]
    assert str(check.findings[0]) == f"{check.findings[0].text}: {check.findings[0].advice}"
