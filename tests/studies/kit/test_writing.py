from __future__ import annotations

import numpy as np
import pandas as pd
from PIL import Image

from permgrad.plotting.style import new_figure
from studies.kit import Picture
from studies.kit.writing import write_tables


def test_tables_have_so_many_significant_digits(tmp_path):
    write_tables(tmp_path, {"t": pd.DataFrame({"x": [1 / 3], "n": [12345678]}), "empty": pd.DataFrame()}, 3)
    assert (tmp_path / "t.csv").read_text() == "x,n\n0.333,12345678\n"
    assert not (tmp_path / "empty.csv").exists()
    write_tables(tmp_path, {"t": pd.DataFrame({"x": [1 / 3]})})
    assert pd.read_csv(tmp_path / "t.csv", float_precision="round_trip")["x"][0] == 1 / 3


def test_a_palette_makes_a_picture_small(tmp_path):
    figure = new_figure((2.0, 1.0))
    figure.subplots().imshow(np.random.default_rng(0).normal(size=(40, 80)))
    Picture(figure, dpi=50).write(tmp_path / "all.png")
    Picture(figure, dpi=50, colours=16).write(tmp_path / "few.png")
    with Image.open(tmp_path / "all.png") as whole, Image.open(tmp_path / "few.png") as few:
        assert whole.size == few.size == (100, 50)
        assert few.mode == "P"
        assert len(few.getcolors()) <= 16
    assert (tmp_path / "few.png").stat().st_size < (tmp_path / "all.png").stat().st_size
