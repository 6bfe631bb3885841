"""The table of presets: each setting of the network, and what each preset makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from permgrad.estimators.presets import PRESETS

if TYPE_CHECKING:  # tests read this file where the site is not built
    from sphinx.application import Sphinx

PAGE = "docs/reference/settings"
MARK = "<!-- what the presets decide -->"


def put_table(app: Sphinx, page: str, source: list[str]) -> None:
    """Put the table where the page has its mark."""
    if page == PAGE:
        source[0] = source[0].replace(MARK, preset_table())


def preset_table() -> str:
    """Return a row for each setting; values that differ from the default preset's are bold."""
    lines = [f"| setting | {' | '.join(f'`{name}`' for name in PRESETS)} |", f"| --- |{' --- |' * len(PRESETS)}"]
    for setting, usual in PRESETS["default"].items():
        values = [preset[setting] for preset in PRESETS.values()]
        lines.append(f"| `{setting}` | {' | '.join(_shown(value, value != usual) for value in values)} |")
    return "\n".join(lines)


def _shown(value: Any, bold: bool) -> str:
    if isinstance(value, dict):
        text = ", ".join(f"{number} for {name}" for name, number in value.items())
    else:
        text = ", ".join(map(str, value)) if isinstance(value, tuple) else f"{value}"
    return f"**{text}**" if bold else text


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx."""
    app.connect("source-read", put_table)
    return {"parallel_read_safe": True}
