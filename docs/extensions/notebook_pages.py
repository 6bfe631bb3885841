"""Notebooks as pages, with the outputs that they were committed with; nothing is executed."""

from __future__ import annotations

import json
import re
from typing import Any

from docutils import nodes
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.application import Sphinx

LONGEST = 40
"""Lines of an output that are shown."""


class NotebookParser(MystParser):
    """Read a notebook as the Markdown page that it amounts to."""

    supported = ("ipynb",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        """Parse the notebook's cells and outputs."""
        super().parse(as_markdown(inputstring), document)


def as_markdown(notebook: str) -> str:
    """Return a notebook's cells and outputs as Markdown."""
    return "\n\n".join(_cell(cell) for cell in json.loads(notebook)["cells"]) + "\n"


def _cell(cell: dict[str, Any]) -> str:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return source
    return "\n\n".join([f"```python\n{source}\n```", *filter(None, map(_output, cell["outputs"]))])


def _output(output: dict[str, Any]) -> str:
    """Return a picture, a table or text; what goes to stderr is left out."""
    data = output.get("data", {})
    if "image/png" in data:
        picture = "".join(data["image/png"]).replace("\n", "")
        return f'<img alt="What the cell draws" src="data:image/png;base64,{picture}">'
    if "text/html" in data:
        html = re.sub(r"<style.*?</style>", "", "".join(data["text/html"]), flags=re.DOTALL)
        return "<div>" + re.sub(r"\s*\n\s*", "", html) + "</div>"
    text = "".join(data.get("text/plain", output.get("text", "")))
    if not text.strip() or output.get("name") == "stderr":
        return ""
    lines = text.rstrip().splitlines()
    return "\n".join(["```text", *lines[:LONGEST], *(["…"] if len(lines) > LONGEST else []), "```"])


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx."""
    app.add_source_suffix(".ipynb", "ipynb")
    app.add_source_parser(NotebookParser)
    return {"parallel_read_safe": True}
