"""The directive ``{public}``, a list of public names whose docstrings follow; and `pg.Table` in a text is a link."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.application import Sphinx

import permgrad as pg

KEPT = re.compile(r"(^ *```.*?^ *```|^#.*?$|\[[^\]\n]*\]\([^)\n]*\))", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"`pg\.(\w+)([^`\n]*)`")
OPTIONS = {"class": ("members", "inherited-members"), "module": ("members",), "function": (), "data": ()}


class Public(Directive):
    """Names of permgrad, one a line."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return what autodoc makes of each name."""
        found = nodes.container()
        for name in filter(None, map(str.strip, self.content)):
            kind = _kind(getattr(pg, name))
            full = getattr(pg, name).__name__ if kind == "module" else f"permgrad.{name}"
            text = ["", f".. auto{kind}:: {full}", *(f"   :{option}:" for option in OPTIONS[kind]), ""]
            self.state.nested_parse(_as_rst(text), self.content_offset, found)
        return found.children


def _as_rst(lines: list[str]) -> StringList:
    """Pages are Markdown; docstrings are not."""
    return StringList(["```{eval-rst}", *lines, "```"], source="public names")


def _kind(thing: Any) -> str:
    if isinstance(thing, type):
        return "class"
    if callable(thing):
        return "function"
    return "module" if type(thing).__name__ == "module" else "data"


def skip_others(app: Sphinx, what: str, name: str, thing: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what a class inherits of scikit-learn or Keras."""
    thing = getattr(thing, "fget", None) or getattr(thing, "__func__", thing)
    module = getattr(thing, "__module__", None) or "permgrad"
    return True if not str(module).startswith("permgrad") else None


def link_names(app: Sphinx, page: str, source: list[str]) -> None:
    """Make links of public names outside code blocks, headings and links."""
    if page.startswith("docs/"):
        parts = KEPT.split(source[0])
        source[0] = "".join(part if i % 2 else NAME.sub(_linked, part) for i, part in enumerate(parts))


def _linked(match: re.Match[str]) -> str:
    known = match[1] in pg.__all__ and match[1] != "toy"
    return f"{{py:obj}}`pg.{match[1]}{match[2]} <permgrad.{match[1]}>`" if known else match[0]


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx."""
    app.add_directive("public", Public)
    app.connect("autodoc-skip-member", skip_others)
    app.connect("source-read", link_names)
    return {"parallel_read_safe": True}
