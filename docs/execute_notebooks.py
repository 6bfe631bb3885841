"""Run notebooks from top to bottom and keep their outputs.

    python docs/execute_notebooks.py [notebooks/01_hybrid_tables.ipynb ...]

By default all of them. Times of cells are not kept: a second run of the same code changes nothing but what it measures.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from permgrad.files import write_text

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"


def main() -> None:
    for path in map(Path, sys.argv[1:] or sorted(NOTEBOOKS.glob("*.ipynb"))):
        notebook = nbformat.read(path, as_version=4)
        where = {"metadata": {"path": str(path.parent)}}
        NotebookClient(notebook, timeout=600, record_timing=False, resources=where).execute()
        write_text(path, nbformat.writes(notebook) + "\n")
        print(path, flush=True)


if __name__ == "__main__":
    main()
