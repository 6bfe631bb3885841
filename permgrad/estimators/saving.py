"""A fitted estimator ⇄ a directory: ``network.keras`` (or several) and ``estimator.json``. No pickle."""

from __future__ import annotations

import io
import platform
import tempfile
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from permgrad.backend import NAME as BACKEND
from permgrad.backend import keras, quiet_start
from permgrad.errors import reading
from permgrad.files import write_json
from permgrad.models.sending import save_network

KIND = "permgrad.Estimator"


def network_file(number: int = 0) -> str:
    """Return the name of a network's file, counted from 0: ``network.keras``, ``network_2.keras``, ..."""
    return f"network_{number + 1}.keras" if number else "network.keras"


def write_estimator(estimator: Any, directory: Path) -> None:
    """Write a fitted estimator's files into an existing directory; `load` reads them."""
    for number, network in enumerate(estimator.networks_):
        write_network(network, directory, number)
    content = {
        "kind": KIND,
        "class": type(estimator).__name__,
        "params": _params_to_json(estimator.get_params()),
        "versions": versions(),
        "networks": len(estimator.networks_),
        **estimator.state_to_dict(),
    }
    write_json(directory / "estimator.json", content)


def write_network(network: Any, directory: Path, number: int = 0) -> None:
    """Write a network into an existing directory, without the optimizer's state."""
    save_network(network, directory / network_file(number))


def read_network(directory: Path, number: int = 0) -> Any:
    """Load what `write_network` wrote."""
    path = directory / network_file(number)
    with quiet_start(), reading(path, "a network saved by permgrad", "save the estimator again"):
        return keras.models.load_model(path, compile=False)


def estimator_to_bytes(estimator: Any) -> bytes:
    """Return the files of `write_estimator` as a ZIP archive; `permgrad.estimators.loading.load_bytes` reads it."""
    content = io.BytesIO()
    with tempfile.TemporaryDirectory() as directory:
        write_estimator(estimator, Path(directory))
        with zipfile.ZipFile(content, "w") as packed:
            for path in sorted(Path(directory).iterdir()):
                packed.write(path, path.name)
    return content.getvalue()


def versions() -> dict[str, str]:
    """Return the versions of Python, permgrad and what its numbers depend on."""
    names = ("permgrad", "keras", BACKEND, "numpy", "pandas", "scikit-learn", "TINTOlib")
    known = {"python": platform.python_version(), **{name: version(name) for name in names}}
    with suppress(PackageNotFoundError):  # of the extra "tune"
        known["optuna"] = version("optuna")
    return known


def _params_to_json(params: dict[str, Any]) -> dict[str, Any]:
    # A dict's keys would become text; what a RandomState came to is saved as random_state_.
    weight, random_state = params.get("class_weight"), params["random_state"]
    pairs = {"class_weight": list(map(list, weight.items()))} if isinstance(weight, Mapping) else {}
    drawn = {"random_state": None} if isinstance(random_state, np.random.RandomState) else {}
    return {**params, **pairs, **drawn}
