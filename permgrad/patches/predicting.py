"""What a classifier says of patches, also over the eight symmetries of a square; and the file that hands it in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from permgrad.errors import PermGradError
from permgrad.files import write_text
from permgrad.metrics.losses import clipped
from permgrad.patches.files import Patches
from permgrad.patches.reading import N_SYMMETRIES, PatchBatches


def predict_logits(
    model: Any, patches: Patches, *, symmetries: int = 1, batch_size: int = 256, workers: int | None = None
) -> np.ndarray:
    """Return the logit of the positive class.

    Parameters
    ----------
    model : keras.Model
        See `permgrad.backbone_classifier`. One that ends in a sigmoid does as well.
    patches : Patches
        Read from their files as they are needed, each once.
    symmetries : {1, 8}
        8 predicts each patch turned and flipped in all ways, see `permgrad.patches.reading.symmetric`.
    batch_size : int
        Images that are predicted at a time.
    workers : int, optional
        Threads that read; by default one a core.

    Returns
    -------
    ndarray of shape (n_patches, symmetries), float32
    """
    if symmetries not in (1, N_SYMMETRIES):
        raise PermGradError(f"symmetries must be 1 or {N_SYMMETRIES}, got {symmetries}")
    if not len(patches):
        raise PermGradError("there are no patches to predict")
    size = max(1, batch_size // symmetries)
    batches = PatchBatches(patches, size, symmetries=symmetries, workers=workers)
    with batches.own_errors():
        logits = logits_of(model, model.predict(batches, verbose=0))
    # A batch is its patches once for each symmetry: (symmetry, patch) within it.
    starts = range(0, len(patches) * symmetries, size * symmetries)
    parts = [logits[start : start + size * symmetries].reshape(symmetries, -1).T for start in starts]
    return np.concatenate(parts)


def ends_in_logit(model: Any) -> bool:
    """Tell whether a classifier of two kinds says a logit; else a probability.

    Raises
    ------
    PermGradError
        If it says more than one number of a patch.
    """
    from permgrad.metrics.outputs import output_of  # Keras takes seconds to import

    output = output_of(model)
    if output.width != 1 or output.activation == "softmax":
        raise PermGradError(
            f"expected a classifier with one logit, got one with {output.width} outputs; let it end in a Dense layer"
            " with one unit"
        )
    return output.activation != "sigmoid"


def logits_of(model: Any, outputs: np.ndarray) -> np.ndarray:
    """Return the logits that a classifier's outputs, (n, 1), are or come from: (n,)."""
    from scipy.special import logit

    said = np.asarray(outputs)[:, 0]
    return said if ends_in_logit(model) else logit(clipped(said)).astype(np.float32)


def probability(logits: np.ndarray) -> np.ndarray:
    """Return ``1 / (1 + exp(-logit))``, of any shape, float64."""
    from scipy.special import expit

    return expit(np.asarray(logits, float))


def predict_patches(
    models: Any, patches: Patches, *, symmetries: int = 1, batch_size: int = 256, workers: int | None = None
) -> np.ndarray:
    """Return the probability of the positive class: the mean over networks and symmetries.

    Parameters
    ----------
    models : keras.Model or sequence of them
        One network, or an ensemble.
    patches, symmetries, batch_size, workers
        See `predict_logits`.

    Returns
    -------
    ndarray of shape (n_patches,), float64

    Examples
    --------
    >>> pg.predict_patches(patch_network, patches).shape
    (24,)
    """
    each = list(models) if isinstance(models, (list, tuple)) else [models]
    if not each:
        raise PermGradError("an ensemble needs at least one network")
    given: Any = {"symmetries": symmetries, "batch_size": batch_size, "workers": workers}
    logits = [predict_logits(model, patches, **given) for model in each]
    return np.mean([probability(one).mean(axis=1) for one in logits], axis=0)


def write_submission(
    path: str | Path, ids: Sequence[str], probabilities: Sequence[float] | np.ndarray, *, column: str = "label"
) -> None:
    """Write ids and probabilities as CSV, in the order given, whole or not at all.

    Parameters
    ----------
    path : path
    ids : sequence of str
    probabilities : sequence of float
        Of the positive class, within [0, 1]: what the competition scores is their order.
    column : str
        What their column is called; "label" is the competition's own name for it.

    Raises
    ------
    PermGradError
        If there are not as many of both, an id comes twice, or a number is no probability.

    Examples
    --------
    >>> pg.write_submission("submission.csv", ["a", "b"], [0.25, 0.75])
    >>> pd.read_csv("submission.csv")
      id  label
    0  a   0.25
    1  b   0.75
    """
    values = np.asarray(probabilities, float)
    if len(ids) != len(values) or len(set(ids)) != len(ids):
        raise PermGradError(f"each of {len(ids)} ids must come once, with its probability; got {len(values)} of them")
    if not ((values >= 0) & (values <= 1)).all():
        raise PermGradError("a submission holds probabilities from 0 to 1; some values are out of range, or missing")
    write_text(path, pd.DataFrame({"id": list(ids), column: values}).to_csv(index=False))
