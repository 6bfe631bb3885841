"""What runs in the page, and the policy that lets it run and nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from typing import Any

SCRIPTS = ("vega/vega.min.js", "report.js")
"""Inside the page, in this order."""
LIVE = "live.js"
"""Inside a page that is served, too."""


def script_values(asked: dict[str, Any], *, live: bool) -> dict[str, Any]:
    """Return the template's values of scripts: their sources, what they know, and the page's security policy.

    Parameters
    ----------
    asked : dict
        What the page can be asked, ready for JSON; may hold any text of the table.
    live : bool
        Whether it is served, and may ask its server.
    """
    here = files("permgrad") / "report" / "page"
    sources = [here.joinpath(name).read_text(encoding="utf-8") for name in (*SCRIPTS, *([LIVE] if live else []))]
    hashes = [base64.b64encode(hashlib.sha256(source.encode()).digest()).decode() for source in sources]
    policy = "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; style-src 'unsafe-inline'; "
    policy += "connect-src 'self'; " if live else ""
    policy += "script-src " + " ".join(f"'sha256-{each}'" for each in hashes)
    return {"scripts": sources, "policy": policy, "asked_json": as_script(asked)}


def as_script(content: Any) -> str:
    """Return JSON that stays inside its ``<script>``: no ``<`` ends it, or begins a comment."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e")
