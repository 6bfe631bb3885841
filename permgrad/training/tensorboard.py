"""Keras's TensorBoard callback, with a run for each network that it is given to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from permgrad.backend import keras
from permgrad.errors import require


class TensorBoard(keras.callbacks.TensorBoard):
    """Write the curves of a training as it goes, each network's to a directory of its own.

    An estimator may train several networks, one after the other (``n_networks``, an average of estimators): Keras's own
    callback writes the curves of all to one directory, where they are drawn as one line that goes back and forth.

    Parameters
    ----------
    log_dir : path
        ``network_1``, ``network_2``, ... are made in it, in the order of training.
    **options
        See `keras.callbacks.TensorBoard`.

    Raises
    ------
    PermGradError
        If TensorBoard is not installed.

    Examples
    --------
    >>> board = pg.TensorBoard("logs")
    >>> small = pg.HybridClassifier(preset="fast", branches="tabular", dense_units=(4,), epochs=1)
    >>> small = small.fit(train, callbacks=[board])
    """

    def __init__(self, log_dir: str | Path, **options: Any) -> None:
        require("tensorboard", "the TensorBoard callback", "tensorboard")
        super().__init__(log_dir=str(log_dir), **options)
        self._root, self._networks = Path(log_dir), 0

    def set_model(self, model: Any) -> None:
        """Begin a network's directory; Keras calls this once for each training."""
        self._networks += 1
        self.log_dir = str(self._root / f"network_{self._networks}")
        super().set_model(model)
