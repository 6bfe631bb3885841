"""The site: `make docs` builds it into results/site. Neither the build nor a page loads anything from the network.

The source directory is the repository's root, so that a link between two files is the same on the disk, wherever the
repository is shown, and on the site.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent / "extensions")]

import permgrad  # noqa: E402 - the one of this repository

project = "permgrad"
version = release = permgrad.__version__
copyright = "the authors of permgrad; Apache-2.0"
root_doc = "docs/index"
include_patterns = [
    "docs/**/*.md",
    "docs/*.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "datasets/README.md",
    "notebooks/*.ipynb",
    "studies/results/**/*.md",
]
exclude_patterns = [".venv", "results", "permgrad", "tests", "benchmarks", "dist", ".*"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "numpydoc",
    "public_names",
    "notebook_pages",
    "command_line",
    "presets_table",
    "no_network",
]
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "attrs_inline"]
suppress_warnings = ["myst.header"]  # notebooks and reports may begin below the first level

default_role = "py:obj"  # a name in backticks in a docstring is a link, where it is known
autodoc_typehints = "none"  # numpydoc has the types, in words
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
toc_object_entries_show_parents = "hide"
add_module_names = False
python_maximum_signature_line_length = 100

html_theme = "pydata_sphinx_theme"
html_title = "permgrad"
html_extra_path = ["site_root"]
html_static_path = ["static"]
html_css_files = ["permgrad.css"]
html_sidebars = {"docs/index": [], "docs/start": []}
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "show_prev_next": False,
    "navbar_align": "left",
    "header_links_before_dropdown": 8,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
