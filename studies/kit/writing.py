"""Tables as CSV, pictures as PNG, and the report: a Jinja template filled in."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure
from PIL import Image

from permgrad.files import new_file, write_text
from studies.kit.markdown import markdown

DPI = 120


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure and how it becomes a PNG file.

    Attributes
    ----------
    figure : Figure
    dpi : int
    colours : int, optional
        Of a palette, which takes a third of the room, but breaks a colour bar into bands; None: all colours.
    """

    figure: Figure
    dpi: int = DPI
    colours: int | None = None

    def write(self, path: Path) -> None:
        """Write the PNG file."""
        drawn = io.BytesIO()
        self.figure.savefig(drawn, format="png", dpi=self.dpi)
        if self.colours:
            image = Image.open(drawn).convert("RGB").quantize(self.colours, dither=Image.Dither.NONE)
            drawn = io.BytesIO()
            image.save(drawn, "PNG", optimize=True)
        with new_file(path) as temporary:
            temporary.write_bytes(drawn.getvalue())


def write_tables(directory: Path, tables: Mapping[str, pd.DataFrame], digits: int | None = None) -> None:
    """Write ``<name>.csv`` of each table that has columns; floats with so many significant digits, by default all."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        if len(table.columns):
            text = table.to_csv(index=False, float_format=f"%.{digits}g" if digits else None)
            write_text(directory / f"{name}.csv", text)


def write_pictures(directory: Path, pictures: Mapping[str, Figure | Picture]) -> None:
    """Write ``<name>.png`` of each picture."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        (picture if isinstance(picture, Picture) else Picture(picture)).write(directory / f"{name}.png")


class Report:
    """A Jinja template that is filled in with one study's results.

    Filters beside Jinja's own: ``table`` (Markdown of a data frame: ``{{ tables.scores | table(digits=3) }}``),
    ``number`` (`format`: ``{{ rows | number(",") }}``). A name that is not given is an error, not an empty text.

    Parameters
    ----------
    template : Path
    **values
        What the template may name.
    """

    def __init__(self, template: Path, **values: Any) -> None:
        environment = Environment(  # Markdown, not HTML: nothing is escaped
            loader=FileSystemLoader(template.parent),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            autoescape=False,  # noqa: S701
        )
        environment.filters |= {"table": markdown, "number": format}
        self._template = environment.get_template(template.name)
        self._values = values

    def text(self) -> str:
        """Return the whole report; of empty lines, no two in a row."""
        return _tidy(self._template.render(self._values))

    def summary(self) -> str:
        """Return the template's block ``summary`` alone, on one line; empty if it has none."""
        block = self._template.blocks.get("summary")
        text = "".join(block(self._template.new_context(self._values))) if block else ""
        return " ".join(text.split())


def _tidy(text: str) -> str:
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
