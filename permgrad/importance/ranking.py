"""The one result type: what an explainer found about each feature."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from permgrad.errors import FileFormatError, PermGradError
from permgrad.files import new_file, plain, read_json, write_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KIND = "permgrad.FeatureRanking"
_ARRAYS = ("scores", "std", "class_scores")


@dataclass(frozen=True, eq=False)
class FeatureRanking:
    """Scores of the features of a table; higher means that the model relies on the feature more.

    Attributes
    ----------
    features : tuple of str
        The table's columns, in its order.
    scores : ndarray of shape (n_features,), float64
    std : ndarray of shape (n_features,) or None
        Standard deviation of the score over repeats (ddof 1), where there are repeats.
    class_scores : ndarray of shape (n_features, n_classes) or None
    classes : tuple of str or None
    method : str
        "permutation", "grad_cam", "permgrad", ...
    components : dict of FeatureRanking
        What this ranking was fused from.
    branch_weights : dict of float or None
        Share of each branch in the fusion.
    unused : tuple of str
        Columns that never vary, or no part of the network sees: they rank last.
    pending : tuple of str
        Features that a time limit left out: their score, 0, means nothing, and they rank after those measured.
    settings : dict
        Everything needed to repeat the result: method options, seed, versions, hash of the data.
    """

    features: tuple[str, ...]
    scores: np.ndarray
    std: np.ndarray | None = None
    class_scores: np.ndarray | None = None
    classes: tuple[str, ...] | None = None
    method: str = ""
    components: dict[str, FeatureRanking] = field(default_factory=dict)
    branch_weights: dict[str, float] | None = None
    unused: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in _ARRAYS:
            values = getattr(self, name)
            if values is not None:
                values = np.asarray(values, float)
                values.flags.writeable = False
                object.__setattr__(self, name, values)
                if len(values) != len(self.features) or not np.isfinite(values).all():
                    raise PermGradError(f"{name} must be a finite number for each of {len(self.features)} features")
        if (self.class_scores is None) != (self.classes is None):
            raise PermGradError("class_scores and classes must be given together")
        if self.class_scores is not None and self.class_scores.shape[1:] != (len(self.classes or ()),):
            raise PermGradError(f"class_scores must have one column for each of the classes {self.classes}")

    @property
    def order(self) -> np.ndarray:
        """Feature numbers, best first; equal scores keep the table's order; pending, then unused columns come last."""
        return np.lexsort((-self.scores, np.isin(self.features, self.pending), np.isin(self.features, self.unused)))

    @property
    def table(self) -> pd.DataFrame:
        """One row per feature, best first.

        Columns: ``feature``, ``score``, its ``std`` where known; each component's score under its name, with
        ``<name>_std`` where known; then ``score_<class>`` and ``<component>_<class>`` for each class; last,
        if features are pending, ``measured``.
        """
        columns: dict[str, Any] = {"feature": self.features, "score": self.scores}
        if self.std is not None:
            columns["std"] = self.std
        for name, part in self.components.items():
            columns[name] = part.scores
            if part.std is not None:
                columns[f"{name}_std"] = part.std
        for name, part in {"score": self, **self.components}.items():
            for c, label in enumerate(part.classes or ()):
                columns[f"{name}_{label}"] = part.class_scores[:, c]  # type: ignore[index]
        if self.pending:
            columns["measured"] = ~np.isin(self.features, self.pending)
        return pd.DataFrame(columns).iloc[self.order].reset_index(drop=True)

    def top(self, k: int) -> list[str]:
        """Return the names of the `k` best features, best first."""
        return [self.features[i] for i in self.order[:k]]

    def with_unused(self, features: Sequence[str]) -> FeatureRanking:
        """Return the ranking of all of `features`, in this order; those not in it get 0 and rank last."""
        position = {name: i for i, name in enumerate(self.features)}
        at = [position.get(name, -1) for name in features]

        def expand(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else np.concatenate([values, np.zeros_like(values[:1])])[at]

        arrays: dict[str, Any] = {name: expand(getattr(self, name)) for name in _ARRAYS}
        return replace(
            self,
            **arrays,
            features=tuple(features),
            components={name: part.with_unused(features) for name, part in self.components.items()},
            unused=tuple(name for name in features if name not in position),
        )

    def plot(self, top: int = 10) -> Figure:
        """Draw the best features as horizontal bars, stacked by class where there are classes."""
        from permgrad.plotting import plot_ranking

        return plot_ranking(self, top=top)

    def save(self, path: str | Path) -> None:
        """Write to ``.json`` or ``.parquet``; `load` gives back an equal ranking."""
        path = Path(path)
        if path.suffix == ".json":
            write_json(path, self.to_dict())
        elif path.suffix == ".parquet":
            _write_parquet(path, self.to_dict())
        else:
            raise PermGradError(f"a ranking is saved as .json or .parquet, got {path.name!r}")

    @classmethod
    def load(cls, path: str | Path) -> FeatureRanking:
        """Read what `save` wrote.

        Raises
        ------
        FileFormatError
            If the file is absent, damaged, or no ranking.
        """
        content = _read_parquet(path) if Path(path).suffix == ".parquet" else read_json(path, kind=KIND)
        try:
            return cls.from_dict(content)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise FileFormatError(f"{path} is a damaged ranking: {error!r}; save it again with permgrad") from error

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers, ready for JSON."""
        return {
            "kind": KIND,
            "method": self.method,
            "features": list(self.features),
            **{name: None if (values := getattr(self, name)) is None else values.tolist() for name in _ARRAYS},
            "classes": None if self.classes is None else list(self.classes),
            "branch_weights": self.branch_weights,
            "unused": list(self.unused),
            "pending": list(self.pending),
            "settings": plain(self.settings),
            "components": {name: part.to_dict() for name, part in self.components.items()},
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> FeatureRanking:
        """Build the ranking that `to_dict` described."""
        return cls(
            features=tuple(content["features"]),
            **{name: content[name] for name in _ARRAYS},
            classes=None if content["classes"] is None else tuple(content["classes"]),
            method=content["method"],
            components={name: cls.from_dict(part) for name, part in content["components"].items()},
            branch_weights=content["branch_weights"],
            unused=tuple(content["unused"]),
            pending=tuple(content["pending"]),
            settings=content["settings"],
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FeatureRanking) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.features, self.method, self.scores.tobytes()))

    def __repr__(self) -> str:
        left = f" ({len(self.pending)} pending)" if self.pending else ""
        return f"FeatureRanking({self.method!r}, {len(self.features)} features{left}, best: {', '.join(self.top(3))})"


def _columns(content: dict[str, Any], prefix: str = "") -> Iterator[tuple[dict[str, Any], str, str]]:
    """Walk the per-feature lists of a ranking's dict: (holder, key, column name)."""
    for key in ("features", *_ARRAYS):
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
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise FileFormatError(f"{path} is absent or no Parquet file: {error}") from error
    metadata = (table.schema.metadata or {}).get(KIND.encode())
    if metadata is None:
        raise FileFormatError(f"expected a ranking saved by permgrad at {path}, found another Parquet file")
    try:
        content: dict[str, Any] = json.loads(metadata)
        for holder, key, column in list(_columns(content)):
            holder[key] = table[column].to_pylist()
    except (KeyError, TypeError, ValueError) as error:
        raise FileFormatError(f"{path} is a damaged ranking: {error!r}; save it again with permgrad") from error
    return content
