from __future__ import annotations

import re
from pathlib import Path

import pytest

import permgrad as pg
from permgrad.estimators.presets import PRESETS

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_every_example_runs(tmp_path, monkeypatch):
    """As they stand, but that networks are trained for a moment only, and the game ends after few rounds."""
    monkeypatch.chdir(tmp_path)
    for preset in PRESETS.values():
        monkeypatch.setitem(preset, "epochs", 3)
    monkeypatch.setattr("permgrad.importance.game.play.MOST_ROUNDS", 2)
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) >= 3
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)  # noqa: S102 - our own text
    assert names["published"].settings["fusion_scale"] == "min-max"
    assert names["fused"].scores.sum() > 0.99


def test_no_placeholder_is_left():
    assert "_TABLE" not in README


def test_every_public_name_is_mentioned():
    for name in pg.__all__:
        assert name == "__version__" or f"pg.{name}" in README or f"`{name}" in README, name


def test_every_data_set_has_its_source_and_licence():
    for card in pg.list_datasets().itertuples():
        assert f"`{card.name}`" in README
        assert card.license.split(";")[0] in README
