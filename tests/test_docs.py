"""README and the site: what they show runs, what they name is there, and what there is they name."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import permgrad as pg
from permgrad import cli
from permgrad.estimators.presets import PRESETS

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
REFERENCE = DOCS / "reference"
MAX_PROCESSOR_SECONDS = 90
"""Of all pages together; each may take the share that the longest took, and a little more."""
MAX_README_LINES = 170


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(path), flags=re.DOTALL | re.MULTILINE)


def commands(path: Path) -> Iterator[list[str]]:
    """Yield each line of a page's shell blocks, as words, comments left out."""
    for block in blocks(path, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words:
                yield words


def page_name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture
def hardly_trained(monkeypatch, tmp_path):
    """Make networks small and train them for a moment, end the game after few rounds, write into a fresh directory."""
    monkeypatch.chdir(tmp_path)
    small = {"epochs": 2, "dense_units": (16,), "head_units": (8,), "n_conv_layers": 1, "base_filters": 2}
    plain = {"ensemble_size": 1, "embedding": "none", "screening": False, "n_networks": 1}
    for preset in PRESETS.values():
        for setting, value in {**small, **plain}.items():
            monkeypatch.setitem(preset, setting, value)
    monkeypatch.setattr("permgrad.importance.game.play.MOST_ROUNDS", 2)
    write_passengers(tmp_path / "titanic.csv")


def write_passengers(path: Path) -> None:
    """Write a small table with the columns that the page of the Titanic names."""
    rng = np.random.default_rng(0)
    n = 120
    sex = rng.choice(["male", "female"], n)
    frame = pd.DataFrame({"pclass": rng.integers(1, 4, n), "sex": sex, "age": rng.uniform(1, 80, n).round(1)})
    frame["survived"] = (rng.random(n) < np.where(sex == "female", 0.8, 0.2)).astype(int)
    frame["alive"] = np.where(frame.survived == 1, "yes", "no")
    for name in ("class", "embark_town", "deck"):
        frame[name] = rng.choice(["A", "B", "C"], n)
    frame.to_csv(path, index=False)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=page_name)
def test_every_example_runs(page, hardly_trained):
    """As they stand, but that networks are hardly trained; a page's blocks share their names."""
    names: dict[str, object] = {}
    before = time.process_time()
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), names)  # noqa: S102 - our own text
    assert time.process_time() - before < MAX_PROCESSOR_SECONDS / 4


@pytest.mark.slow
def test_the_commands_of_the_first_page_run(hardly_trained):
    lines = [words for words in commands(DOCS / "start.md") if words[0] == "permgrad"]
    assert [words[1] for words in lines] == ["check", "rank", "predict", "explain"]
    for words in lines:
        ran = CliRunner().invoke(cli.cli, words[1:], catch_exceptions=False)
        assert ran.exit_code == 0, ran.output
    assert Path("results/titanic/report.html").is_file()


def test_commands_that_are_shown_exist():
    """Commands of permgrad with their options, targets of make, modules that Python runs."""
    targets = set(re.findall(r"^([\w-]+):", text_of(ROOT / "Makefile"), flags=re.MULTILINE))
    shown = [(page_name(page), words) for page in PAGES for words in commands(page)]
    assert {words[1] for _, words in shown if words[0] == "permgrad"} == set(cli.cli.commands)
    for page, words in shown:
        if words[0] == "permgrad":
            command = cli.cli.commands[words[1]]
            command.make_parser(click.Context(command)).parse_args(words[2:])  # raises for an unknown option
        if words[0] == "make":
            assert {word for word in words[1:] if "=" not in word} <= targets, (page, words)
        if words[:2] == ["python", "-m"] and words[2].startswith(("studies", "benchmarks")):
            place = ROOT.joinpath(*words[2].split("."))
            assert (place / "__main__.py").is_file() or place.with_suffix(".py").is_file(), (page, words)


def test_options_within_sentences_exist():
    known = {
        option
        for command in cli.cli.commands.values()
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    of_others = ("studies", "make ", "pip ", "--set ", "--source", "--from-scratch", "--fast", "--strict", "--dataset")
    others = re.compile("|".join((r"python -m (?!permgrad)", "--rows", *of_others)))
    for page in [README, *sorted((DOCS / "how-to").glob("*.md")), *sorted((DOCS / "explanation").glob("*.md"))]:
        for span in re.findall(r"`(--[a-z][^`]*|permgrad [^`]*)`", text_of(page)):
            if not others.search(span):
                assert set(re.findall(r"--[a-z][\w-]*", span)) <= known | {"--help"}, (page.name, span)


def test_the_readme_is_short_and_whole():
    text = text_of(README)
    assert len(text.splitlines()) <= MAX_README_LINES
    assert "_TABLE" not in text
    for link in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", text):
        assert (ROOT / link).exists(), link


def test_every_public_name_stands_in_the_reference_once():
    named = [line for page in REFERENCE.glob("*.md") for block in blocks(page, r"\{public\}") for line in block.split()]
    assert sorted(named) == sorted(set(pg.__all__) - {"__version__"})


def test_every_option_stands_on_the_command_line_page(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS / "extensions"))
    import command_line

    assert command_line.MARK in text_of(ROOT / f"{command_line.PAGE}.md")
    text = command_line.help_texts()
    for name, command in cli.cli.commands.items():
        assert f"## permgrad {name}\n" in text
        for parameter in command.params:
            assert parameter.param_type_name == "argument" or max(parameter.opts, key=len) in text, parameter.name


def test_every_setting_stands_in_the_table_of_presets(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS / "extensions"))
    import presets_table

    assert presets_table.MARK in text_of(ROOT / f"{presets_table.PAGE}.md")
    assert all(f"`{setting}`" in presets_table.preset_table() for setting in PRESETS["default"])


def test_every_data_set_has_its_source_and_licence():
    text = text_of(REFERENCE / "datasets.md")
    for card in pg.list_datasets().itertuples():
        assert f"`{card.name}`" in text
        assert card.license.split(";")[0] in text


def test_a_link_from_a_page_leads_somewhere():
    """The build checks what is a page of the site; this checks it in a second, and headings too."""
    for page in PAGES:
        for link, anchor in re.findall(
            r"\]\(([^)#:\s]*)(#[\w-]+)?\)", re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL)
        ):
            target = (page.parent / link) if link else page
            assert target.exists(), (page_name(page), link)
            if anchor and target.suffix == ".md":
                assert anchor[1:] in anchors(target), (page_name(page), link, anchor)


def anchors(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", text_of(path), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
