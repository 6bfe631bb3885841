"""Files that are loaded, with bytes changed: each mutation is refused in one line, or reads as what it says."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

import permgrad as pg
from benchmarks.attack.outcome import Outcomes, told
from permgrad.data.cells import read_cells, write_chunks
from permgrad.data.expression import read_expression
from permgrad.files import read_json, write_json
from studies.kit import Settings
from studies.kit.settings import read_settings


@dataclass(frozen=True)
class Loaded:
    """A file and what reads it.

    Attributes
    ----------
    file : Path
    load : callable
        Reads the file, or the directory that it lies in.
    share : float
        Of all mutations.
    """

    file: Path
    load: Callable[[], object]
    share: float


SETTINGS = """\
# of a study
name: table
rows: null
sizes: [10, 20, 30]
network: &shared {units: [64, 32], dropout: 2e-1, date: 2026-01-02}
"""


class _Network(Settings):
    units: tuple[int, ...]
    dropout: float
    date: str


class _Settings(Settings):
    name: str
    rows: int | None
    sizes: tuple[int, ...]
    network: _Network


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Return the bytes with one thing changed: cut, flipped, overwritten, left out, repeated, or mixed with text."""
    n = max(1, len(content))
    at, length = int(rng.integers(n)), int(rng.integers(1, 1 + min(64, n)))
    noise = rng.integers(0, 256, length, dtype=np.uint8).tobytes()
    odd = (
        b"1e400",
        b"-1",
        b"null",
        b"NaN",
        b"[[[[",
        b"{}",
        b'"',
        b"\x00",
        b"9" * 400,
        b"\xff\xfe",
        b"[" * 5000,
        b"!!x ",
        b"&a [*a]",
    )
    changes = (
        content[:at],
        content[:at] + bytes([content[at] ^ (1 << int(rng.integers(8)))]) + content[at + 1 :] if content else b"",
        content[:at] + noise + content[at + length :],
        content[:at] + content[at + length :],
        content[:at] + content[at : at + length] * 2 + content[at + length :],
        content[:at] + odd[int(rng.integers(len(odd)))] + content[at + int(rng.integers(0, 5)) :],
    )
    return changes[int(rng.integers(len(changes)))]


def samples(directory: Path) -> Iterator[tuple[str, Loaded]]:
    """Write a file of each kind that is loaded, and yield it by name."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=60), "b": rng.normal(size=60), "c": rng.choice(["x", "y"], 60)})
    frame["y"] = np.where(frame.a > 0, "p", "q")
    text = frame.to_csv(index=False).encode()
    for name, content in (("t.csv", text), ("t.csv.gz", gzip.compress(text))):
        path = directory / name
        path.write_bytes(content)
        yield name, Loaded(path, lambda path=path: pg.Table.from_file(path, "y"), 0.12)  # type: ignore[misc]
    frame.to_parquet(directory / "t.parquet")
    yield (
        "t.parquet",
        Loaded(directory / "t.parquet", lambda: pg.Table.from_file(directory / "t.parquet", "y"), 0.12),
    )
    X, y = frame[["a", "b", "c"]], frame["y"]
    small = pg.HybridClassifier(preset="published", branches=("tabular",), dense_units=(4,), epochs=1)
    model = small.fit(X, y)
    ranking = model.rank_features(X, y, n_repeats=1)
    for suffix in ("json", "parquet"):
        path = directory / f"ranking.{suffix}"
        ranking.save(path)
        yield f"ranking.{suffix}", Loaded(path, lambda path=path: pg.FeatureRanking.load(path).table, 0.14)  # type: ignore[misc]
    pg.by_level(model, X, y, by="c", ranking=ranking, n_repeats=1).write_tables(directory)
    yield "by.json", Loaded(directory / "by.json", lambda: pg.ByLevel.load(directory / "by.json").differences(), 0.1)
    genes = pd.DataFrame(rng.normal(size=(60, 5)), columns=list("ABCDE")).rename_axis("sample")
    genes.to_csv(directory / "data.csv")
    pd.DataFrame({"sample": genes.index, "Class": frame["y"]}).to_csv(directory / "labels.csv", index=False)
    for name in ("data.csv", "labels.csv"):
        yield name, Loaded(directory / name, lambda: read_expression(directory), 0.08)
    path, obs = directory / "cells.h5ad", frame[["y"]].set_axis([f"cell_{i}" for i in range(60)])
    write_chunks(path, [sparse.csr_matrix(rng.poisson(1, (60, 5)))], obs, pd.DataFrame(index=list("ABCDE")))
    yield "cells.h5ad", Loaded(path, lambda: read_cells(directory / "cells.h5ad", "y"), 0.04)
    path = directory / "settings.yaml"
    path.write_text(SETTINGS)
    yield "a study's settings", Loaded(path, lambda: read_settings(_Settings, directory / "settings.yaml"), 0.14)
    path = directory / "step.json"
    write_json(path, {"kind": "step", "value": 1.5, "list": [1, 2, 3]})
    yield "a study's step", Loaded(path, lambda: read_json(directory / "step.json", kind="step"), 0.06)
    model.save(directory / "model")
    for name, share in (("estimator.json", 0.14), ("network.keras", 0.04)):
        yield name, Loaded(directory / "model" / name, lambda: pg.load(directory / "model").predict(X), share)
    checkpoint = directory / "work.npz"
    budget = pg.Budget(checkpoint=checkpoint)
    model.rank_features(X, y, n_repeats=1, budget=budget)
    yield (
        "checkpoint",
        Loaded(checkpoint, lambda: model.rank_features(X, y, n_repeats=1, budget=budget).to_dict(), 0.05),
    )


def attack_files(directory: Path, n: int, random_state: int = 0) -> Iterator[Outcomes]:
    """Load `n` mutations in all of the files that permgrad reads."""
    kinds = list(samples(directory))
    total = sum(loaded.share for _, loaded in kinds)
    for number, (name, loaded) in enumerate(kinds):
        outcomes = Outcomes(f"mutations of {name}")
        rng = np.random.default_rng([random_state, number])
        whole = loaded.file.read_bytes()
        expected = loaded.load() if name == "checkpoint" else None
        for _ in range(max(1, round(n * loaded.share / total))):
            content = mutated(whole, rng)
            loaded.file.write_bytes(content)
            try:
                result = loaded.load()
            except Exception as error:
                outcomes.add(told(error), f"{type(error).__name__}: {error}")
            else:
                # Text that reads differently is another file, not a damaged one; a checkpoint must not change results.
                same = expected is None or result == expected
                outcomes.add("as asked" if expected is None else "the same" if same else "another result", content[:60])
        loaded.file.write_bytes(whole)
        yield outcomes
    shutil.rmtree(directory / "model")
