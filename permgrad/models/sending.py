"""A network as the content of a ``.keras`` file: what one process hands to another, without pickle."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from permgrad.backend import keras, quiet_start

FILE = "network.keras"


def save_network(network: Any, path: Path) -> None:
    """Write a network into a ``.keras`` file, without the optimizer's state."""
    with quiet_start():
        # A model built anew from the same tensors is not compiled.
        keras.Model(network.inputs, network.outputs).save(path)


def network_to_bytes(network: Any) -> bytes:
    """Return the content of the file that `save_network` writes."""
    with tempfile.TemporaryDirectory() as directory:
        save_network(network, Path(directory) / FILE)
        return (Path(directory) / FILE).read_bytes()


def network_from_bytes(content: bytes) -> Any:
    """Return the network of `network_to_bytes`; Keras's ValueError or TypeError where it has unknown layers."""
    with tempfile.TemporaryDirectory() as directory, quiet_start():
        (Path(directory) / FILE).write_bytes(content)
        return keras.models.load_model(Path(directory) / FILE, compile=False)
