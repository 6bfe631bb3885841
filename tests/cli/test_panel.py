"""``permgrad panel``: from files of cells to a panel, with what it must and must not have."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import permgrad as pg

anndata = pytest.importorskip("anndata")
pytest.importorskip("scanpy")


@pytest.fixture(scope="module")
def counts():
    return pg.toy.single_cells(500, 30, n_classes=2, n_markers=4, n_programs=1, program_size=5, fold=8)


def written(path, cells, genes=slice(None), form=sparse.csr_matrix):
    var = pd.DataFrame(index=list(np.array(cells.features)[genes]))
    obs = pd.DataFrame({"type": cells.y}, index=[str(i) for i in range(len(cells))])
    anndata.AnnData(X=form(cells.X[:, genes]), obs=obs, var=var).write_h5ad(path)
    return path


FEW = ["--counts", "--steps", "30", "--n-trainings", "2"]


@pytest.mark.slow
def test_a_panel_of_two_files(command, counts, tmp_path):
    """Included genes are in it, those excluded are not, nor those that one of the files has not."""
    files = [written(tmp_path / "a.h5ad", counts), written(tmp_path / "b.h5ad", counts, slice(0, 25))]
    relevant = [gene for gene in counts.notes["relevant"] if gene in counts.features[:25]]
    (tmp_path / "have.txt").write_text(f"{counts.notes['programs'][0]}\n\n")
    asked = ["--k", "6", "--include", tmp_path / "have.txt", "--exclude", f"{relevant[0]},{counts.features[26]}"]
    done = command("panel", *files, "--target", "type", "--out", tmp_path / "out", *asked, *FEW, "--redundancy", "0.95")
    assert done.code == 0, done.stderr
    panel = (tmp_path / "out" / "panel.txt").read_text().splitlines()
    assert len(panel) == 6
    assert panel[0] == counts.notes["programs"][0]
    assert set(panel) <= set(counts.features[:25]) - {relevant[0]}
    assert set(relevant[1:]) <= set(panel)
    table = pd.read_csv(tmp_path / "out" / "panel.csv", keep_default_na=False)
    assert table.columns.tolist() == ["feature", "frequency", "mean_rank", "like"]
    assert "Panel(k=6, 1 included, 4 trainings" in done.stdout
    assert (
        done.stdout.count("mean per-class accuracy PanelScore(") == done.stdout.count("PanelVariation(6 columns") == 2
    )


def test_what_cannot_be_is_one_line(command, counts, tmp_path):
    file = written(tmp_path / "a.h5ad", counts)
    for options, said in {
        ("--exclude", "absent"): "exclude must name columns; there is no 'absent'",
        ("--include", "absent"): "include must name columns; there is no 'absent'",
        ("--k", "30"): "less than the number of columns, 30",
        ("--expression-range", "3", "1"): "expression_range must be (lowest, highest)",
        ("--exclude", ","): "expected names with commas",
    }.items():
        done = command("panel", file, "--target", "type", "--out", tmp_path / "out", *FEW, *options)
        assert done.code == 2
        assert said in done.stderr
        assert "\n" not in done.stderr.strip()
        assert not (tmp_path / "out").exists()


def test_variable_genes_are_of_any_file(counts, tmp_path):
    """And genes that are to be in the panel stay, though they hardly vary."""
    from permgrad.cli.panel import _read

    files = (written(tmp_path / "a.h5ad", counts), written(tmp_path / "b.h5ad", counts))
    dull = [gene for gene in counts.features if gene not in (*counts.notes["relevant"], *counts.notes["programs"])]
    train, test = _read(
        files, {"target": "type", "counts": True, "genes": 8, "include": dull, "exclude": (), "random_state": 0}
    )
    assert train[0].features == train[1].features == test[0].features
    assert set(dull) <= set(train[0].features)
    assert 8 <= len(train[0].features) <= 8 + len(dull)
    assert (len(train[0]), len(test[0])) == pytest.approx((400, 100), abs=3)


def test_rows_left_on_disk_and_rows_in_memory_give_the_same(counts, tmp_path):
    """A matrix stored by column is read as a whole, one by row only where it is wanted: the same cells, bit by bit."""
    from permgrad.cli.panel import _read

    given = {"target": "type", "counts": True, "genes": 12, "include": ("x29",), "exclude": (), "random_state": 0}
    forms = {"row": sparse.csr_matrix, "column": sparse.csc_matrix}
    parts = {
        name: [part for (part,) in _read((written(tmp_path / f"{name}.h5ad", counts, form=form),), given)]
        for name, form in forms.items()
    }
    for left, whole in zip(parts["row"], parts["column"], strict=True):
        assert left.features == whole.features
        assert left.y.tolist() == whole.y.tolist()
        assert sparse.issparse(left.X)
        np.testing.assert_array_equal(left.X.toarray(), whole.X.toarray())
