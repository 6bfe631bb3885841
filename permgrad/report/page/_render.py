"""The page from its values, which a results directory keeps: no network and no table are needed to draw it again."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from permgrad.errors import PermGradError
from permgrad.files import read_json, write_text
from permgrad.plotting import method_title
from permgrad.report.page._script import script_values
from permgrad.report.page._tables import number
from permgrad.report.trained import check_trained

FILE = "page.json"
KIND = "permgrad.Page"
PAGE = "report.html"
PARTS = {
    "ranking": "Ranking",
    "rows": "Rows",
    "performance": "Performance",
    "by": "By level",
    "checkup": "Check-up",
    "referee": "Referee",
    "again": "How to get it again",
}
"""Of the page: the section's id, and its name; that of levels is there where a column was asked for."""


def render(values: dict[str, Any], directory: Path, *, live: bool = False) -> str:
    """Return the page as HTML, given what `page_values` returned and the directory that holds its pictures.

    A `live` page asks the server that it comes from what the network says of changed rows.

    Raises
    ------
    PermGradError
        If a picture is not there.
    """
    environment = Environment(
        loader=PackageLoader("permgrad", "report/page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "title": method_title}
    template = environment.get_template("template.html")
    pictures = {name: _picture(directory / f"{name}.png") for name in values["pictures"]}
    parts = {id: name for id, name in PARTS.items() if id != "by"}
    if values["by"] is not None:
        parts = {**PARTS, "by": values["by"]["tab"]}
    return template.render(
        {**values, "pictures": pictures, "parts": parts, **script_values(values["asked"], live=live)}
    )


def _picture(path: Path) -> str:
    try:
        return source(path.read_bytes())
    except OSError as error:
        raise PermGradError(f"the page shows {path}, which cannot be read: {error.strerror}; rank again") from error


def source(data: bytes) -> str:
    """Return the bytes of a PNG file as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def write_page(directory: Path, values: dict[str, Any]) -> None:
    """Write ``page.json`` and ``report.html`` into a results directory that holds the page's pictures."""
    content = json.dumps({"kind": KIND, **values}, allow_nan=False, separators=(",", ":"))
    write_text(directory / FILE, content + "\n")
    write_text(directory / PAGE, render(values, directory))


def draw_again(results: Path) -> str:
    """Return the page of a results directory as HTML, from its ``page.json`` and its pictures.

    Raises
    ------
    FileFormatError
        If it is damaged.
    PermGradError
        If the directory has no page, or lacks a picture.
    """
    return render(read_page(results), results)


def read_page(results: Path) -> dict[str, Any]:
    """Read the values that a results directory's page is rendered from; raises as `draw_again`."""
    if not (results / FILE).exists():
        check_trained(results)
        raise PermGradError(f"{results} has no {FILE}, which permgrad rank and tune write for their page; rank again")
    return read_json(results / FILE, kind=KIND)
