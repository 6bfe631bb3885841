"""A fitted estimator ⇄ a directory: ``network.keras`` (or several), ``estimator.json`` and a card. No pickle."""

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
from permgrad.estimators._card import write_card
from permgrad.files import write_json
from permgrad.models.sending import save_network

KIND = "permgrad.Estimator"


def network_file(number: int = 0) -> str:
    """Return the name of a network's file, counted from 0: ``network.keras``, ``network_2.keras``, ..."""
    return f"network_{number + 1}.keras" if number else "network.keras"


def write_estimator(estimator: Any, directory: Path, origin: Mapping[str, Any] | None = None) -> None:
    """Write a fitted estimator's files and its model card into an existing directory; `load` reads the files.

    Parameters
    ----------
    estimator : NetworkEstimator
    directory : Path
    origin : mapping, optional
        What the card says of the test, see `write_card`.
    """
    write_fitted(estimator, directory)
    write_card(estimator, directory, versions(), origin or {})


def write_fitted(estimator: Any, directory: Path) -> None:
    """Write what `load` reads."""
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
    """Return the files of `write_fitted` as a ZIP archive; `permgrad.estimators.loading.load_bytes` reads it."""
    content = io.BytesIO()
    with tempfile.TemporaryDirectory() as directory:
        write_fitted(estimator, Path(directory))
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
