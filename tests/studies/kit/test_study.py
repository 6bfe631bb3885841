"""The command, resumed work and the report, once for all studies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click
import pandas as pd
import pytest
from click.testing import CliRunner
from filelock import FileLock
from PIL import Image

from studies.kit import Preset, Setting, Study


def invoke(study: Study, *arguments: str, options: tuple[click.Option, ...] = ()) -> str:
    invoked = CliRunner().invoke(study.command(*options), list(arguments), catch_exceptions=False)
    assert invoked.exit_code == 0, invoked.output
    return invoked.output


def refuse(study: Study, *arguments: str, options: tuple[click.Option, ...] = ()) -> str:
    invoked = CliRunner().invoke(study.command(*options), list(arguments), catch_exceptions=False)
    assert invoked.exit_code == 1
    return invoked.output


def files(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


def test_the_command_writes_steps_tables_pictures_and_the_report(toy, tmp_path):
    out, report = tmp_path / "out", tmp_path / "report"
    output = invoke(toy, "--out", str(out), "--report", str(report))
    assert files(out) == {".lock", "steps/study.json", "steps/a.json", "steps/b.json"}
    assert files(report) == {"sums.csv", "line.png", "report.md"}
    assert "The largest sum is 7.0, of 2 letters.\n" in output
    assert f"{report}/report.md" in output
    assert pd.read_csv(report / "sums.csv")["sum"].tolist() == [7, 7]
    with Image.open(report / "line.png") as picture:
        assert picture.size == (120, 120)
    assert (report / "report.md").read_text() == (
        "# Sums of 3 rows\n\nThe largest sum is 7.0,\nof 2 letters.\n\n"
        "| letter | sum |\n| --- | --- |\n| a | 7.0 |\n| b | 7.0 |\n\n![line](line.png)\n"
    )


def test_stopped_and_started_again_it_does_what_is_left(toy, log, tmp_path):
    log.stop_at = "b"
    with pytest.raises(KeyboardInterrupt):
        toy.run(toy.read(), toy.workspace(tmp_path))
    log.stop_at = ""
    first = toy.run(toy.read(), toy.workspace(tmp_path))
    assert toy.run(toy.read(), toy.workspace(tmp_path)) == first
    assert log == ["a", "b"]
    assert list(toy.run(toy.read(["letters=[a, c]"]), toy.workspace(tmp_path))) == ["a", "c"]
    assert log == ["a", "b", "c"]


def test_a_step_sees_the_results_of_those_before_it(toy, tmp_path):
    steps = {"one": lambda _: {"n": 1}, "two": lambda results: {"n": results["one"]["n"] + 1}}
    results = toy.workspace(tmp_path).run(steps)
    assert [each["n"] for each in results.values()] == [1, 2]
    assert all(0 <= each["step_seconds"] < 10 for each in results.values())


def test_settings_come_from_the_file_then_presets_then_fast_then_options_then_set(toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = (
        Setting("--rows", "rows", "Rows.", type=int),
        Preset("--long", ["rows=9"], "Many rows."),
    )
    report = Path("results/toy_fast/report.md")
    invoke(toy, "--fast", options=options)
    assert "Sums of 2 rows" in report.read_text()
    for arguments, rows in ((["--rows", "5"], 5), (["--long"], 2), (["--long", "--set", "rows=7"], 7)):
        out = f"out_{rows}"
        invoke(toy, *arguments, "--fast", "--out", out, options=options)
        assert f"Sums of {rows} rows" in Path(out, "report.md").read_text()
    invoke(toy, "--long", "--out", "long", options=options)
    assert "Sums of 9 rows" in Path("long/report.md").read_text()
    config = tmp_path / "other.yaml"
    config.write_text("{rows: 1, factor: 1, letters: [z]}")
    invoke(toy, "--config", str(config))
    assert "| z | 1.0 |" in Path("results/toy/report.md").read_text()


def test_a_flag_may_stand_for_one_setting(toy, tmp_path):
    option = Setting("--double", "factor", "Twice.", is_flag=True)
    invoke(toy, "--out", str(tmp_path / "without"), options=(option,))
    output = refuse(toy, "--double", "--out", str(tmp_path / "with"), options=(option,))
    assert "factor: input should be a valid number, got True" in output


def test_other_options_go_to_the_run(toy, log, tmp_path):
    invoke(toy, "--part", "x", "--out", str(tmp_path), options=(click.Option(["--part"]),))
    assert log == ["part=x", "a", "b"]


def test_data_sets_have_results_and_a_report_each(toy, log, tmp_path):
    several = replace(toy, datasets=lambda settings: ("first", "second"))
    invoke(several, "--out", str(tmp_path / "all"), "--report", str(tmp_path / "report"))
    assert log == ["dataset=first", "a", "b", "dataset=second", "a", "b"]
    assert {"first/report.md", "second/report.md"} <= files(tmp_path / "report")
    invoke(several, "--dataset", "second", "--out", str(tmp_path / "one"))
    assert {path.name for path in (tmp_path / "one").iterdir()} == {"second"}
    message = refuse(several, "--dataset", "third", "--out", str(tmp_path / "none"))
    assert "no data set 'third' among those of the settings: first, second" in message


def test_errors_are_one_line(toy, tmp_path):
    out = tmp_path / "out"
    for arguments, message in {
        ("--set", "row=3"): "row: unknown key",
        ("--config", str(tmp_path / "no.yaml")): "cannot read ",
    }.items():
        output = refuse(toy, *arguments, "--out", str(out))
        assert message in output
        assert len(output.strip().splitlines()) == 1
        assert not out.exists()
    assert "rows must not be negative" in refuse(toy, "--set", "rows=-1", "--out", str(out))
    invoke(toy, "--out", str(out))
    assert "other settings: factor was 2.0, now 3.0; choose" in refuse(toy, "--set", "factor=3", "--out", str(out))
    (out / "steps" / "a.json").write_text('{"kind": "permgr')
    assert "a.json is damaged" in refuse(toy, "--out", str(out))
    with FileLock(out / ".lock"):
        assert "another process is at work" in refuse(toy, "--out", str(out))
    (tmp_path / "file").write_text("")
    assert "is a file; results need a directory" in refuse(toy, "--out", str(tmp_path / "file"))


def test_a_name_that_the_template_lacks_is_an_error(toy, tmp_path):
    results = toy.run(toy.read(), toy.workspace(tmp_path))
    with pytest.raises(TypeError, match="StrictUndefined"):
        replace(toy, facts=lambda *given: {}).write_report(toy.read(), results, tmp_path)


def test_help_names_every_option(toy):
    output = invoke(toy, "-h", options=(Setting("--rows", "rows", "Rows.", type=int),))
    for text in ("Sum.", "--config", "--set", "--fast", "Two rows.", "--out", "--report", "Short for --set rows."):
        assert text in output
