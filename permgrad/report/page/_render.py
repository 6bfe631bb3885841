"""The page from its values, which a results directory keeps: no network and no table are needed to draw it again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from permgrad.errors import PermGradError
from permgrad.files import read_json, write_text
from permgrad.plotting import method_title
from permgrad.report.page._script import script_values
from permgrad.report.page._tables import number

FILE = "page.json"
KIND = "permgrad.Page"
PAGE = "report.html"
PARTS = {
    "ranking": "Ranking",
    "rows": "Rows",
    "performance": "Performance",
    "checkup": "Check-up",
    "referee": "Referee",
    "again": "How to get it again",
}
"""Of the page: the section's id, and its name."""


def render(values: dict[str, Any]) -> str:
    """Return the page as HTML, given what `page_values` returned."""
    environment = Environment(
        loader=PackageLoader("permgrad", "report/page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "title": method_title}
    template = environment.get_template("template.html")
    return template.render({**values, "parts": PARTS, **script_values(values["asked"])})


def write_page(directory: Path, values: dict[str, Any]) -> None:
    """Write ``page.json`` and ``report.html`` into a results directory."""
    content = json.dumps({"kind": KIND, **values}, allow_nan=False, separators=(",", ":"))
    write_text(directory / FILE, content + "\n")
    write_text(directory / PAGE, render(values))


def draw_again(results: Path) -> str:
    """Return the page of a results directory as HTML, from its ``page.json``.

    Raises
    ------
    FileFormatError
        If it is damaged.
    PermGradError
        If the directory has no page.
    """
    if not (results / FILE).exists():
        raise PermGradError(f"{results} has no {FILE}, which permgrad rank and tune write for their page; rank again")
    return render(read_json(results / FILE, kind=KIND))
