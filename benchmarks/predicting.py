"""Predicting a table's rows, against the network's compiled call on rows that are encoded already."""

from __future__ import annotations

import numpy as np
import pandas as pd

import permgrad as pg
from benchmarks.measure import Peak, Row, first_and_later, largest_difference
from permgrad.backend import compiled, keras

N_ROWS, N_COLUMNS, AT_A_TIME = 10_000, 20, 1000


def predict() -> Row:
    """`predict_proba` of 10,000 rows with a column of text, by an MLP; 'other' is the bare network."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.random((N_ROWS, N_COLUMNS)), columns=[f"x{i}" for i in range(N_COLUMNS)])
    X["level"] = rng.choice(list("abcd"), N_ROWS)
    estimator = pg.MLPClassifier(epochs=1).fit(X[:1000], X["x0"][:1000] > 0.5)
    with Peak() as peak:
        predicted, first, later = first_and_later(lambda: estimator.predict_proba(X))
    encoded, network = estimator.encoder_.encode(X), estimator.network_
    call = compiled(lambda rows: network(rows, training=False), network)

    def bare() -> np.ndarray:
        parts = [call(encoded[i : i + AT_A_TIME]) for i in range(0, N_ROWS, AT_A_TIME)]
        return np.concatenate([keras.ops.convert_to_numpy(part) for part in parts])

    expected, _, other = first_and_later(bare)
    return Row(
        f"predict_proba of {N_ROWS:,} rows / the bare network",
        later,
        first,
        other,
        "≥ 0.5",
        difference=largest_difference(predicted, expected),
        memory=peak.megabytes,
        note="beside the network: checking and encoding the table; Keras's own predict takes a second the first time",
    )


ROWS = [predict]
