"""What the core does without: each extra's absence is one error that names it, and ranking asks for none."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from permgrad.estimators import saving

ROOT = Path(__file__).parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]


@pytest.fixture
def without(monkeypatch):
    """Have packages look as if they were not installed, and modules of ours not yet imported."""

    def hide(package: str) -> None:
        monkeypatch.setitem(sys.modules, package, None)
        for name in [name for name in sys.modules if name.startswith(("permgrad.tuning", "permgrad.tracking"))]:
            monkeypatch.delitem(sys.modules, name)

    return hide


@pytest.mark.parametrize(
    ("arguments", "package", "extra"),
    [
        (["tune", "iris"], "optuna", "tune"),
        (["tune", "iris"], "sqlalchemy", "tune"),
        (["dashboard", "results"], "optuna_dashboard", "tune"),
        (["export", "results", "--mlflow", "x"], "mlflow", "mlflow"),
        (["export", "results", "--tensorboard", "x"], "tensorboard", "tensorboard"),
        (["rank", "iris", "--evaluate", "--out", "here"], "shap", "shap"),
    ],
)
def test_a_command_without_its_extra_is_one_line_that_says_what_to_install(
    arguments, package, extra, without, command, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    without(package)
    refused = command(*arguments)
    assert refused.code == 2
    assert refused.stderr.splitlines()[-1].endswith(f"needs the package {package}: pip install 'permgrad[{extra}]'")
    assert "Traceback" not in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_versions_are_written_without_the_tuner(monkeypatch):
    assert "optuna" in saving.versions()
    known = saving.version

    def version(name: str) -> str:
        if name == "optuna":
            raise saving.PackageNotFoundError(name)
        return known(name)

    monkeypatch.setattr(saving, "version", version)
    assert {"permgrad", "keras", "numpy"} < set(saving.versions())
    assert "optuna" not in saving.versions()


def test_every_extra_that_an_error_names_is_one():
    named = set()
    for path in (ROOT / "permgrad").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        named |= {part.split("]")[0] for part in text.split("permgrad[")[1:]}
        named |= {part.split('"')[0] for part in text.split('require("')[1:]}
    assert {"tune", "shap", "mlflow", "tensorboard", "cells", "postgresql"} <= named
    assert named - {"extra", "{extra}"} <= set(EXTRAS)
