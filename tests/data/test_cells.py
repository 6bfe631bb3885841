"""Cells from ``.h5ad`` files: sparse, dense and left on disk; batches, normalisation and variable genes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import permgrad as pg
from permgrad.data.cells import Cells, cells_of, read_cells
from permgrad.data.on_disk import SPAN, RowsOnDisk
from permgrad.training import batches as batching
from permgrad.training.batches import Batches, InOrder, mixed_order, moments, ranges

anndata = pytest.importorskip("anndata")


@pytest.fixture(scope="module")
def counts():
    return pg.toy.single_cells(700, 60, n_classes=3, n_markers=6, program_size=4)


@pytest.fixture(scope="module")
def files(counts, tmp_path_factory):
    """The same counts, by row, dense and by column; one cell's class is not known."""
    directory = tmp_path_factory.mktemp("cells")
    obs = pd.DataFrame({"kind": pd.Categorical([None, *counts.y[1:]])}, [f"c{i}" for i in range(700)])
    var = pd.DataFrame(index=list(counts.features))
    forms = {"csr": counts.X, "dense": counts.X.toarray(), "csc": counts.X.tocsc()}
    for name, X in forms.items():
        anndata.AnnData(X, obs, var).write_h5ad(directory / f"{name}.h5ad", compression="gzip")
    return directory


@pytest.mark.parametrize("backed", [False, True])
@pytest.mark.parametrize("form", ["csr", "dense"])
def test_every_form_has_the_same_rows(files, counts, form, backed, rng):
    cells = read_cells(files / f"{form}.h5ad", "kind", on_disk=backed)
    assert len(cells) == 699
    assert cells.features == counts.features
    assert cells.y.tolist() == counts.y[1:].tolist()
    assert sparse.issparse(cells.X[:2]) == (form == "csr")
    rows = rng.permutation(699)[:300]
    panel = cells.take(rows).only(["x7", "x3"])
    found = batching.dense(panel.X[np.array([5, 5, 0])])  # a row may be asked for twice
    np.testing.assert_array_equal(found, counts.X.toarray()[1:][rows[[5, 5, 0]]][:, [7, 3]])
    assert panel.y.tolist() == counts.y[1:][rows].tolist()
    mask = cells.y == "type_1"
    np.testing.assert_array_equal(batching.dense(cells.take(mask).X[:]), counts.X.toarray()[1:][mask])


def test_matrices_by_column_are_read_in_memory_alone(files, counts):
    np.testing.assert_array_equal(read_cells(files / "csc.h5ad", "kind").X.toarray(), counts.X.toarray()[1:])
    with pytest.raises(pg.PermGradError, match="stored by column"):
        read_cells(files / "csc.h5ad", "kind", on_disk=True)


def test_what_cannot_be_read(files, tmp_path):
    (tmp_path / "broken.h5ad").write_text("no such thing")
    with pytest.raises(pg.PermGradError, match="no such file"):
        read_cells(tmp_path / "absent.h5ad", "kind")
    with pytest.raises(pg.PermGradError, match=r"is not a readable \.h5ad file"):
        read_cells(tmp_path / "broken.h5ad", "kind")
    (tmp_path / "cells.csv").write_text("x1,kind\n1,a\n")
    with pytest.raises(pg.FileFormatError, match=r"expected an \.h5ad file of cells, got .*cells\.csv"):
        read_cells(tmp_path / "cells.csv", "kind")
    with pytest.raises(pg.PermGradError, match="no column 'class' in obs; its columns are 'kind'"):
        read_cells(files / "csr.h5ad", "class")
    cells = read_cells(files / "csr.h5ad", "kind")
    with pytest.raises(pg.PermGradError, match="no such gene: 'TP53'"):
        cells.only(["x1", "TP53"])
    with pytest.raises(pg.PermGradError, match="these occur twice: 'a'"):
        Cells(np.ones((2, 2)), np.array(["u", "v"]), ("a", "a"))
    with pytest.raises(pg.PermGradError, match="a row for each of 3 labels"):
        Cells(np.ones((2, 2)), np.array(["u", "v", "u"]), ("a", "b"))


def test_only_the_rows_asked_for_are_read():
    read = []

    class Watched:
        shape = (10_000, 3)

        def __getitem__(self, rows):
            read.append((rows.start, rows.stop))
            return np.arange(rows.start, rows.stop)[:, None] * np.ones((1, 3))

    rows = RowsOnDisk(Watched())[np.array([9_000, 10, 12, 40])]
    assert rows[:, 0].tolist() == [9000, 10, 12, 40]
    assert read == [(10, 41), (9000, 9001)]
    assert RowsOnDisk(Watched())[np.arange(0)].shape == (0, 3)
    read.clear()
    thin = np.arange(0, 10_000, 50)
    assert RowsOnDisk(Watched())[thin][:, 0].tolist() == thin.tolist()
    assert max(stop - start for start, stop in read) <= SPAN  # rows near each other, of all the file: not all at once


@pytest.mark.parametrize(("n_rows", "batch_size"), [(1000, 32), (2000, 48), (130, 256)])
def test_a_file_is_dealt_out_whole_in_mixed_order(n_rows, batch_size, monkeypatch):
    """Every row once an epoch, each beside its own label; not in the order of the file; another order next time."""
    monkeypatch.setattr(batching, "BUFFER_ROWS", 500)
    monkeypatch.setattr(batching, "BLOCK_ROWS", 64)
    X = sparse.csr_matrix(np.arange(1, n_rows + 1, dtype=np.float32)[:, None])
    dealt = []
    data = Batches(RowsOnDisk(X), np.arange(n_rows), batch_size=batch_size, random_state=3)
    for _ in range(2):
        rows = [data[i] for i in range(len(data))]
        assert all(isinstance(x, np.ndarray) and len(x) <= batch_size for x, _ in rows)
        np.testing.assert_array_equal(
            np.concatenate([x[:, 0] - 1 for x, _ in rows]), np.concatenate([y for _, y in rows])
        )
        dealt.append(np.concatenate([y for _, y in rows]))
        assert sorted(dealt[-1]) == list(range(n_rows))
        data.on_epoch_end()
    assert dealt[0].tolist() != dealt[1].tolist()
    assert abs(np.corrcoef(dealt[0], np.arange(n_rows))[0, 1]) < 0.5
    again = Batches(RowsOnDisk(X), np.arange(n_rows), batch_size=batch_size, random_state=3)
    assert np.concatenate([again[i][1] for i in range(len(again))]).tolist() == dealt[0].tolist()


def test_a_buffer_is_read_once(monkeypatch):
    monkeypatch.setattr(batching, "BUFFER_ROWS", 320)
    reads = []
    monkeypatch.setattr(RowsOnDisk, "__getitem__", lambda self, rows: reads.append(len(rows)) or self.dataset[rows])
    data = Batches(RowsOnDisk(np.ones((1000, 2), np.float32)), np.zeros(1000, int), batch_size=32, random_state=0)
    for i in range(len(data)):
        data[i]
    assert reads == [320, 320, 320, 40]


def test_blocks_are_mixed():
    order = mixed_order(10_000, 4096, np.random.default_rng(0))
    assert sorted(order) == list(range(10_000))
    first = order[:4096] // batching.BLOCK_ROWS
    assert len(set(first)) == 16 + (order[:4096] >= 9984).any()  # whole blocks, mixed within the buffer
    assert np.abs(np.diff(first)).mean() > 5


def test_sparse_rows_stay_sparse_until_the_batch(counts):
    data = Batches(counts.X, np.zeros(700, int), batch_size=64, random_state=0)
    assert data.X is counts.X
    assert isinstance(data[0][0], np.ndarray)
    assert data[0][0].dtype == np.float32
    inorder = InOrder(counts.X, np.arange(700), batch_size=300)
    np.testing.assert_array_equal(np.concatenate([inorder[i][0] for i in range(3)]), counts.X.toarray())
    assert inorder[2][1].tolist() == list(range(600, 700))


@pytest.mark.parametrize("form", ["dense", "sparse", "backed"])
@pytest.mark.parametrize("limit", [("BUFFER_ROWS", 90), ("BLOCK_NUMBERS", 90 * 60)], ids=lambda limit: limit[0])
def test_moments_and_ranges_are_those_of_the_whole(form, counts, monkeypatch, limit):
    monkeypatch.setattr(batching, *limit)
    X = {"dense": counts.X.toarray(), "sparse": counts.X, "backed": RowsOnDisk(counts.X)}[form]
    mean, variance = moments(X)
    dense = counts.X.toarray().astype(float)
    np.testing.assert_allclose(mean, dense.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(variance, dense.var(axis=0), rtol=1e-9)
    assert [start for start, _ in batching.row_blocks(X)] == list(range(0, 700, 90))
    np.testing.assert_array_equal(ranges(X), np.column_stack([dense.min(axis=0), dense.max(axis=0)]))


class TestPreprocessing:
    @pytest.fixture(autouse=True)
    def _needs_scanpy(self):
        pytest.importorskip("scanpy")

    def test_normalisation_by_hand(self, counts):
        from permgrad.data.preprocessing import log_normalise

        before = counts.X.copy()
        dense = counts.X.toarray().astype(float)
        expected = np.log1p(1e4 * dense / np.maximum(dense.sum(axis=1, keepdims=True), 1))
        found = log_normalise(counts)
        assert sparse.issparse(found.X)
        np.testing.assert_allclose(found.X.toarray(), expected, rtol=1e-5)
        np.testing.assert_array_equal(counts.X.toarray(), before.toarray())
        flat = Cells(counts.X.toarray(), counts.y, counts.features)
        np.testing.assert_allclose(log_normalise(flat).X, expected, rtol=1e-5)
        with pytest.raises(pg.PermGradError, match="negative numbers"):
            log_normalise(Cells(-counts.X, counts.y, counts.features))

    @pytest.mark.parametrize("form", ["csr", "dense"])
    def test_rows_in_a_file_are_normalised_as_they_are_read(self, files, form, rng, monkeypatch):
        """Bit by bit as in memory: by all genes of a cell, though few are looked at; and whatever is read at once."""
        from permgrad.data import on_disk
        from permgrad.data.preprocessing import log_normalise

        monkeypatch.setattr(on_disk, "BLOCK_NUMBERS", 60 * 37)
        expected = log_normalise(read_cells(files / f"{form}.h5ad", "kind"))
        found = log_normalise(read_cells(files / f"{form}.h5ad", "kind", on_disk=True))
        for rows in (np.arange(699), rng.permutation(699)[:300], np.arange(0)):
            some, wanted = (each.take(rows).only(["x7", "x3"]) for each in (found, expected))
            assert isinstance(some.X, RowsOnDisk)
            read = some.in_memory()
            assert sparse.issparse(read.X) == (form == "csr")
            assert read.X.dtype == np.float32
            np.testing.assert_array_equal(batching.dense(read.X), batching.dense(wanted.X))
            assert read.y.tolist() == wanted.y.tolist()
        assert expected.in_memory() is expected

    def test_negative_numbers_of_a_file_are_found_when_read(self, counts):
        from permgrad.data.preprocessing import log_normalise

        cells = log_normalise(Cells(RowsOnDisk(-counts.X), counts.y, counts.features))
        with pytest.raises(pg.PermGradError, match="negative numbers"):
            cells.in_memory()

    def test_a_file_is_normalised_chunk_by_chunk(self, files, tmp_path):
        from permgrad.data.preprocessing import log_normalise, normalise_file

        normalise_file(files / "csr.h5ad", tmp_path / "out.h5ad", chunk_rows=150)
        found = read_cells(tmp_path / "out.h5ad", "kind", on_disk=True)
        expected = log_normalise(read_cells(files / "csr.h5ad", "kind"))
        np.testing.assert_allclose(found.X[:].toarray(), expected.X.toarray(), rtol=1e-6)
        assert found.features == expected.features
        assert found.y.tolist() == expected.y.tolist()
        with pytest.raises(pg.PermGradError, match="sparse matrix by rows"):
            normalise_file(files / "dense.h5ad", tmp_path / "no.h5ad")
        assert not (tmp_path / "no.h5ad").exists()

    def test_genes_that_vary_are_scanpys(self, counts, monkeypatch):
        import scanpy

        from permgrad.data import preprocessing
        from permgrad.data.preprocessing import log_normalise, variable_genes

        cells = log_normalise(counts)
        data = anndata.AnnData(cells.X.copy(), var=pd.DataFrame(index=list(cells.features)))
        data.uns["log1p"] = {"base": None}
        scanpy.pp.highly_variable_genes(data, n_top_genes=14)
        assert variable_genes(cells, 14) == data.var_names[data.var["highly_variable"]].tolist()
        assert variable_genes(cells, 60) == list(cells.features)
        some = np.sort(np.random.default_rng(1).choice(700, 300, replace=False))
        assert variable_genes(cells, 20, max_rows=300, random_state=1) == variable_genes(cells.take(some), 20)
        found = preprocessing._standardised_dispersion(*preprocessing._count_moments(cells.X))
        np.testing.assert_allclose(found, data.var["dispersions_norm"], rtol=1e-4, atol=1e-5)
        monkeypatch.setattr(preprocessing, "CHUNK_ROWS", 90)
        for X in (RowsOnDisk(cells.X), cells.X.toarray(), RowsOnDisk(cells.X.toarray())):
            assert variable_genes(Cells(X, cells.y, cells.features), 20) == variable_genes(cells, 20)

    def test_genes_that_never_vary_are_none_of_them(self):
        """Of three that do, eight are asked for; scanpy warns, and returns the three."""
        import scanpy

        from permgrad.data.preprocessing import variable_genes

        X = np.zeros((50, 10), np.float32)
        X[:, :3] = np.log1p(np.random.default_rng(0).poisson(3, (50, 3)))
        cells = Cells(X, np.repeat("a", 50), tuple(f"g{i}" for i in range(10)))
        data = anndata.AnnData(X.copy(), var=pd.DataFrame(index=list(cells.features)))
        data.uns["log1p"] = {"base": None}
        with pytest.warns(UserWarning, match="n_top_genes"):
            scanpy.pp.highly_variable_genes(data, n_top_genes=8)
        found = variable_genes(cells, 8)
        assert found == data.var_names[data.var["highly_variable"]].tolist() == ["g0", "g1", "g2"]


def test_planted_cells():
    """Markers are higher in their own class; programs vary more than most genes, and tell nothing."""
    cells = pg.toy.single_cells(4000, 400, random_state=1)
    X = cells.X.toarray()
    place = {name: i for i, name in enumerate(cells.features)}
    for label, markers in cells.notes["markers_of"].items():
        own = cells.y == label
        for name in markers:
            ratio = X[own, place[name]].mean() / X[~own, place[name]].mean()
            assert 2.5 < ratio < 6
    assert len(cells.notes["relevant"]) == 50 == len(set(cells.notes["relevant"]))
    programs = [place[name] for name in cells.notes["programs"]]
    planted = {*cells.notes["programs"], *cells.notes["relevant"]}
    others = [i for name, i in place.items() if name not in planted]
    assert np.median(X[:, programs].var(axis=0)) > 4 * np.median(X[:, others].var(axis=0))
    for label in cells.classes:
        ratio = X[cells.y == label][:, programs].mean() / X[:, programs].mean()
        assert 0.7 < ratio < 1.4
    again, other = pg.toy.single_cells(4000, 400, random_state=1), pg.toy.single_cells(50, 400, random_state=1, part=1)
    assert (again.X != cells.X).nnz == 0
    assert other.notes == cells.notes
    assert (cells.X[:50] != other.X).nnz > 0
    assert 0.02 < cells.X.nnz / X.size < 0.5
    with pytest.raises(pg.PermGradError, match="need as many genes"):
        pg.toy.single_cells(n_genes=100)
    with pytest.raises(pg.PermGradError, match="two classes"):
        pg.toy.single_cells(n_classes=1)


def test_anndata_in_memory(counts):
    data = anndata.AnnData(counts.X, pd.DataFrame({"kind": counts.y}, [str(i) for i in range(700)]))
    assert repr(cells_of(data, "kind", name="mine")) == "Cells('mine', 700 cells × 60 genes, sparse)"
