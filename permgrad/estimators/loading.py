"""A directory that an estimator's ``save`` wrote → the fitted estimator."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from permgrad.errors import FileFormatError, listing, reading
from permgrad.estimators.hybrid import HybridClassifier, HybridRegressor
from permgrad.estimators.mlp import MLPClassifier
from permgrad.estimators.saving import KIND, read_network
from permgrad.estimators.selector import SelectorClassifier
from permgrad.files import read_json

KINDS: tuple[Any, ...] = (HybridClassifier, HybridRegressor, MLPClassifier, SelectorClassifier)


def load(directory: str | Path) -> HybridClassifier | HybridRegressor | MLPClassifier | SelectorClassifier:
    """Read an estimator that its `save` wrote.

    Raises
    ------
    FileFormatError
        If the directory is absent, damaged, or not one of permgrad's.

    Examples
    --------
    >>> clf.save("model")
    >>> pg.load("model").classes_.tolist()
    ['setosa', 'versicolor', 'virginica']
    """
    directory = Path(directory)
    content = read_json(directory / "estimator.json", kind=KIND)
    kinds = {kind.__name__: kind for kind in KINDS}
    if content.get("class") not in kinds:
        raise FileFormatError(f"{directory} holds an estimator of unknown class {listing([content.get('class')])}")
    with reading(directory, "an estimator saved by permgrad", "save it again"):
        estimator = kinds[content["class"]](**_params_from_json(content["params"]))
        networks = [read_network(directory, number) for number in range(content["networks"])]
        estimator.restore_state(content, networks)
        return estimator


def load_bytes(content: bytes) -> Any:
    """Return the estimator that `estimator_to_bytes` packed."""
    with tempfile.TemporaryDirectory() as directory, zipfile.ZipFile(io.BytesIO(content)) as packed:
        packed.extractall(directory)
        return load(directory)


def _params_from_json(params: dict[str, Any]) -> dict[str, Any]:
    restored = {name: tuple(value) if isinstance(value, list) else value for name, value in params.items()}
    if isinstance(restored.get("class_weight"), tuple):
        restored["class_weight"] = dict(restored["class_weight"])
    return restored
