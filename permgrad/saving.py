"""A fitted estimator ⇄ a directory: ``network.keras`` and ``estimator.json``. No pickle."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from permgrad.backend import NAME as BACKEND
from permgrad.backend import keras, quiet_start
from permgrad.errors import FileFormatError
from permgrad.estimators import HybridClassifier, HybridRegressor
from permgrad.files import read_json, write_json
from permgrad.mlp import MLPClassifier
from permgrad.selector_classifier import SelectorClassifier

KIND = "permgrad.Estimator"
NETWORK = "network.keras"
KINDS: tuple[Any, ...] = (HybridClassifier, HybridRegressor, MLPClassifier, SelectorClassifier)


def write_estimator(estimator: Any, directory: Path) -> None:
    """Write a fitted estimator's files into an existing directory; `load` reads them."""
    write_network(estimator.network_, directory)
    content = {
        "kind": KIND,
        "class": type(estimator).__name__,
        "params": _params_to_json(estimator.get_params()),
        "versions": versions(),
        **estimator.state_to_dict(),
    }
    write_json(directory / "estimator.json", content)


def write_network(network: Any, directory: Path) -> None:
    """Write ``network.keras`` into an existing directory, without the optimizer's state."""
    with quiet_start():
        # A model built anew from the same tensors is not compiled.
        keras.Model(network.inputs, network.outputs).save(directory / NETWORK)


def read_network(directory: Path) -> Any:
    """Load what `write_network` wrote."""
    with quiet_start():
        return keras.models.load_model(directory / NETWORK, compile=False)


def load(directory: str | Path) -> HybridClassifier | HybridRegressor | MLPClassifier | SelectorClassifier:
    """Read an estimator that its `save` wrote.

    Raises
    ------
    FileFormatError
        If the directory is absent, damaged, or not one of permgrad's.
    """
    directory = Path(directory)
    content = read_json(directory / "estimator.json", kind=KIND)
    kinds = {kind.__name__: kind for kind in KINDS}
    if content.get("class") not in kinds:
        raise FileFormatError(f"{directory} holds an estimator of unknown class {content.get('class')!r}")
    try:
        estimator = kinds[content["class"]](**_params_from_json(content["params"]))
        estimator.restore_state(content, read_network(directory))
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise FileFormatError(f"{directory} is damaged ({error}); save the estimator again") from error
    return estimator


def versions() -> dict[str, str]:
    """Return the versions of Python, permgrad and what its numbers depend on."""
    names = ("permgrad", "keras", BACKEND, "numpy", "pandas", "scikit-learn", "TINTOlib", "optuna")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def _params_to_json(params: dict[str, Any]) -> dict[str, Any]:
    weight = params.get("class_weight")
    pairs = {"class_weight": list(map(list, weight.items()))} if isinstance(weight, Mapping) else {}
    return {**params, **pairs}  # a dict's keys would become text


def _params_from_json(params: dict[str, Any]) -> dict[str, Any]:
    restored = {name: tuple(value) if isinstance(value, list) else value for name, value in params.items()}
    if isinstance(restored.get("class_weight"), tuple):
        restored["class_weight"] = dict(restored["class_weight"])
    return restored
