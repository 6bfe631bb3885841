"""Rows to images: the layer inside the network against TINTOlib's files, written and read back."""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

import permgrad as pg
from benchmarks.measure import Peak, Row, first_and_later, timed
from permgrad.backend import compiled, keras
from permgrad.layers.image import FeatureImage

N_ROWS = 2000


def tinto_files() -> Row:
    """TINTOlib's TINTO draws each row into a PNG, which training reads back."""
    from TINTOlib.tinto import TINTO

    frame = pg.load_dataset("breast_cancer").X
    X = frame.to_numpy(np.float32)
    X = np.resize((X - X.min(axis=0)) / np.ptp(X, axis=0), (N_ROWS, X.shape[1]))
    layout = pg.fit_layout(pd.DataFrame(X, columns=frame.columns), size=20)
    layer = FeatureImage.from_layout(layout)
    draw = compiled(lambda rows: layer(rows), layer)
    with Peak() as peak:
        images, first, later = first_and_later(lambda: keras.ops.convert_to_numpy(draw(X)))
    assert images.shape == (N_ROWS, 20, 20, 1)
    data = pd.DataFrame(X, columns=frame.columns).assign(target=0)
    with tempfile.TemporaryDirectory() as directory, Peak() as other_peak:
        tinto = TINTO(pixels=20, problem="classification", blur=False, random_seed=1)
        tinto.fit(data)

        def write_and_read() -> list[np.ndarray]:
            tinto.transform(data, directory)
            files = sorted(Path(directory).rglob("*.png"))
            return [cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in files]

        drawn, other = timed(write_and_read)
    assert len(drawn) == N_ROWS
    assert drawn[0] is not None
    return Row(
        f"{N_ROWS:,} rows to 20 × 20 images / TINTOlib's files",
        later,
        first,
        other,
        "≥ 100",
        memory=peak.megabytes,
        other_memory=other_peak.megabytes,
        note=f"{N_ROWS / later:,.0f} against {N_ROWS / other:,.0f} images a second",
    )


ROWS = [tinto_files]
