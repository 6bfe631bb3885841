"""A model card: what a saved network is, what it was trained on, how good it is and what it must not be used for.

References
----------
Mitchell et al., Model Cards for Model Reporting (FAT* 2019).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from permgrad.data.cells import Cells
from permgrad.data.encoding import ColumnEncoder
from permgrad.data.streamed import StreamedTable
from permgrad.data.table import Table
from permgrad.files import write_text

FILE = "README.md"
MOST_COLUMNS, MOST_LEVELS = 100, 8
"""Columns of the card's table, and levels of a category that it names."""
COVERAGE = 0.9
KEEP_OUT = ("random_state", "verbose", "n_jobs", "devices")
"""Settings that say nothing of the network."""
SCORED = {
    "loss": {"classification": "cross-entropy", "regression": "squared error over the target's training variance"},
    "accuracy": {"classification": "accuracy"},
    "mae": {"regression": "mean absolute error"},
}
"""What training logs, with what it is for each task."""


@dataclass(frozen=True)
class ColumnSeen:
    """What training saw of a column.

    Attributes
    ----------
    name, kind : str
    seen : str
        Its range, or its levels; "" where it is unknown.
    missing : int
        Training rows without a value.
    """

    name: str
    kind: str = "number"
    seen: str = ""
    missing: int = 0


def rows_given(data: Any, target: pd.Series, *, n_validation: int, apart: bool) -> dict[str, Any]:
    """Return what `NetworkEstimator.trained_on_` says of the rows that a fit got."""
    return {
        "name": data.name if isinstance(data, (Table, Cells, StreamedTable)) else None,
        "target": None if target.name is None else str(target.name),
        "rows": len(target),
        "validation": n_validation,
        "apart": apart,
        "sha256": data.sha256 if isinstance(data, Table) else None,
    }


def columns_of(encoder: ColumnEncoder) -> list[ColumnSeen]:
    """Return what an encoder learned of each column, in their order."""
    return [ColumnSeen(name, *_kind_and_values(encoder, name), _missing(encoder, name)) for name in encoder.features_]


def value_range(low: float, high: float) -> str:
    """Say from where to where values go."""
    return f"{low:.6g} to {high:.6g}"


def write_card(estimator: Any, directory: Path, versions: Mapping[str, str], origin: Mapping[str, Any]) -> None:
    """Write the card of a fitted estimator into an existing directory.

    Parameters
    ----------
    estimator : NetworkEstimator
    directory : Path
    versions : mapping of str to str
        Of libraries.
    origin : mapping
        What is known of its test, under the names of a ranking's ``settings``: ``data``, ``split``, ``test_rows``,
        ``test_scores``, ``calibration``, ``verdict``. Empty where there was no test.
    """
    environment = Environment(
        loader=PackageLoader("permgrad", "estimators"),
        autoescape=False,  # noqa: S701 (Markdown: `text` escapes what comes from a table)
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["text"] = escaped
    template = environment.get_template("card.md.j2")
    known = {"calibration": {}, **origin} if origin else {}
    write_text(directory / FILE, template.render(**_content(estimator), versions=versions, origin=known))


def escaped(value: Any) -> str:
    """Return a value as text of one line in which Markdown and HTML find no marks of theirs."""
    return re.sub(r"([\\`*_{}\[\]<>#|~$&])", r"\\\1", " ".join(str(value).split()))


def _content(estimator: Any) -> dict[str, Any]:
    """Return what the template shows of an estimator alone."""
    columns, n_networks = estimator._columns_seen(), len(estimator.networks_)
    return {
        "kind": type(estimator).__name__,
        "task": estimator._task,
        "classes": [str(label) for label in getattr(estimator, "classes_", ())],
        "trained_on": estimator.trained_on_,
        "columns": columns[:MOST_COLUMNS],
        "n_columns": len(columns),
        "n_networks": n_networks,
        "n_parameters": sum(network.count_params() for network in estimator.networks_),
        "branches": _branches(estimator),
        "settings": _settings(estimator),
        "logged": _logged(estimator),
        "temperatures": _temperatures(estimator),
        "half_width": estimator.half_width(COVERAGE) if hasattr(estimator, "half_width") else None,
        "coverage": COVERAGE,
        "random_state": estimator.random_state_,
    }


def _kind_and_values(encoder: ColumnEncoder, name: str) -> tuple[str, str]:
    if name in encoder.left_out_:
        return "left out", encoder.left_out_[name]
    if name in encoder.constant_:
        return "left out", "it does not vary, or each of its levels is too rare"
    if name in encoder.ordinals_:
        return "ordered category", _listed(encoder.ordinals_[name])
    if name in encoder.dates_:
        return "date", " to ".join(end.replace("T00:00:00", "") for end in encoder.ranges_[name])
    if name in encoder.categories_:
        pooled = [level for levels in encoder.pools_.get(name, {}).values() for level in levels]
        return "category", _listed([*encoder.categories_[name], *pooled])
    return "number", value_range(*encoder.ranges_[name]) if name in encoder.ranges_ else "one value, or none"


def _missing(encoder: ColumnEncoder, name: str) -> int:
    return encoder.missing_.get(name, 0)


def _listed(levels: Any) -> str:
    more = len(levels) - MOST_LEVELS
    return ", ".join(levels[:MOST_LEVELS]) + (f" and {more:,} more" if more > 0 else "")


def _branches(estimator: Any) -> tuple[str, ...]:
    branches = getattr(estimator, "branches", ())
    return (branches,) if isinstance(branches, str) else tuple(branches)


def _settings(estimator: Any) -> dict[str, Any]:
    settings = estimator.all_settings() if hasattr(estimator, "all_settings") else estimator.get_params()
    return {name: value for name, value in settings.items() if name not in KEEP_OUT}


def _logged(estimator: Any) -> list[tuple[str, str, float]]:
    """Return what training logged of the kept weights: of which rows, what it is, and its value."""
    kept = getattr(estimator, "kept_epoch_", 0) - 1  # the last one, where no other is kept
    history = estimator.history_
    return [
        (rows, what, history[f"{prefix}{name}"][kept])
        for prefix, rows in (("", "training"), ("val_", "validation"))
        for name, tasks in SCORED.items()
        if f"{prefix}{name}" in history and (what := tasks.get(estimator._task))
    ]


def _temperatures(estimator: Any) -> list[float]:
    """Return the temperature of each network that has one."""
    layers = [layer for network in estimator.networks_ for layer in network.layers if layer.name == "temperature"]
    return [float(np.asarray(layer.temperature)) for layer in layers]
