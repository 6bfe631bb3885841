"""Every notebook runs from top to bottom, in time, and is small enough to keep."""

from __future__ import annotations

import resource
import warnings
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
MAX_PROCESSOR_SECONDS = 120
"""A minute on two cores, however busy the machine is with something else."""
MAX_BYTES = 1_000_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_kept_with_its_outputs_and_small(path):
    import nbformat

    assert path.stat().st_size < MAX_BYTES
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    assert not any(output.output_type == "error" for cell in cells for output in cell.outputs)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_in_time(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Jupyter's own
        import nbformat
        from nbclient import NotebookClient

        notebook = nbformat.read(path, as_version=4)
        before = _processor_seconds()
        NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(path.parent)}}).execute()
    assert _processor_seconds() - before < MAX_PROCESSOR_SECONDS


def _processor_seconds() -> float:
    """Return what the processes that this one started and waited for have used, such as a notebook's kernel."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
