"""Files of rankings: their plain content as JSON, or as a Parquet table with a column for each list of numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from permgrad.errors import FileFormatError, PermGradError, reading
from permgrad.files import SAVE_AGAIN, new_file, read_json, write_json

KIND = "permgrad.FeatureRanking"
ARRAYS = ("scores", "std", "class_scores", "low", "high", "rank_low", "rank_high", "p_values", "q_values")
"""Fields of a ranking that hold a number, or several, for each feature."""


def write_ranking(path: str | Path, content: dict[str, Any]) -> None:
    """Write the content of a ranking to ``.json`` or ``.parquet``."""
    path = Path(path)
    if path.suffix == ".json":
        write_json(path, content)
    elif path.suffix == ".parquet":
        _write_parquet(path, content)
    else:
        raise PermGradError(f"a ranking is saved as .json or .parquet, got {path.name!r}")


def read_ranking(path: str | Path) -> dict[str, Any]:
    """Read what `write_ranking` wrote."""
    return _read_parquet(path) if Path(path).suffix == ".parquet" else read_json(path, kind=KIND)


def _columns(content: dict[str, Any], prefix: str = "") -> Iterator[tuple[dict[str, Any], str, str]]:
    """Walk the per-feature lists of a ranking's dict: (holder, key, column name)."""
    for key in ("features", *ARRAYS):
        if content[key] is not None:
            yield content, key, f"{prefix}{key}"
    for name, part in content["components"].items():
        yield from _columns(part, f"{prefix}{name}/")


def _write_parquet(path: Path, content: dict[str, Any]) -> None:
    """Write per-feature lists as columns, everything else as JSON in the schema's metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    lists = {column: holder[key] for holder, key, column in _columns(content)}
    for holder, key, column in list(_columns(content)):
        holder[key] = {"column": column}
    table = pa.table(lists).replace_schema_metadata({KIND: json.dumps(content, allow_nan=False)})
    with new_file(path) as temporary:
        pq.write_table(table, temporary)


def _read_parquet(path: str | Path) -> dict[str, Any]:
    import pyarrow.parquet as pq

    with reading(path, "a ranking saved by permgrad", SAVE_AGAIN):
        table = pq.read_table(path)
        metadata = (table.schema.metadata or {}).get(KIND.encode())
        if metadata is None:
            raise FileFormatError(f"expected a ranking saved by permgrad at {path}, found another Parquet file")
        content: dict[str, Any] = json.loads(metadata)
        for holder, key, column in list(_columns(content)):
            holder[key] = table[column].to_pylist()
    return content
