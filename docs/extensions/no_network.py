"""No page loads anything from the network: no script, style, font or picture. Links may lead there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

LOADS = re.compile(
    r"""<(?:script|img|iframe|video|source)\b[^>]*\bsrc=["'](?:https?:)?//[^"']*"""
    r"""|<link\b[^>]*rel=["'](?:stylesheet|preload|preconnect|icon)["'][^>]*href=["'](?:https?:)?//[^"']*"""
    r"""|@import\s+url\(["']?https?://[^)]*|url\(["']?https?://[^)]*"""
)


def check(app: Sphinx, error: Exception | None) -> None:
    """Raise for the first page or style that does."""
    if error is not None or app.builder.format != "html":
        return
    for path in sorted(Path(app.outdir).rglob("*")):
        if path.suffix in (".html", ".css"):
            found = LOADS.search(path.read_text(encoding="utf-8"))
            if found:
                raise ExtensionError(f"{path} loads from the network: {found[0][:200]}")


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx."""
    app.connect("build-finished", check)
    return {"parallel_read_safe": True}
