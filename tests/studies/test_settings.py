"""Every study's settings can be read, and every value can be given on the command line."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

STUDIES = ("breast_cancer", "histopathology", "hybrid_tables", "rna_tumour", "selector_mlp")


def leaves(content: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(content, dict) and content:
        for name, part in content.items():
            yield from leaves(part, f"{key}.{name}".lstrip("."))
    else:
        yield key, content


@pytest.mark.parametrize("name", STUDIES)
def test_every_value_can_be_given_on_the_command_line(name):
    study = importlib.import_module(f"studies.{name}.study").STUDY
    assert study.name == name
    default = study.read()
    for key, value in leaves(yaml.safe_load((study.directory / "study.yaml").read_text())):
        text = yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()
        assert study.read([f"{key}={text}"]) == default, key
    assert study.read(study.fast) != default
