"""Frozen networks under a linear head: how foundation models of pathology are judged, and what few patches allow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from permgrad.backend import keras
from permgrad.errors import PermGradError, listing, reading
from permgrad.layers.temperature import Temperature, fit_temperature
from permgrad.models.backbones import MEAN, STD, backbone_names, make_backbone, scale_input
from permgrad.patches.files import Patches, check_labelled
from permgrad.patches.predicting import ends_in_logit, predict_logits, probability
from permgrad.patches.reading import PatchBatches

PENALTIES = tuple(np.logspace(-4, 2, 7).tolist())
"""Inverse strengths of the linear head's L2 penalty, from which cross-validation chooses."""
PIXELS = ("0-255", "0-1", "-1-1", "imagenet")
"""How the network of a file may expect its pixels."""


def frozen_backbone(
    source: str | Path,
    *,
    weights: str | Path = "imagenet",
    patch_shape: tuple[int, int, int] = (96, 96, 3),
    image_size: int | None = 224,
    pixels: str = "0-255",
) -> Any:
    """Return a network that turns patches into vectors: a known backbone or a network from a file, averaged over space.

    Parameters
    ----------
    source : str or path
        A name that `permgrad.backbone_classifier` knows, or a ``.keras`` file. The file may hold any Keras model with
        one image input of three channels.
    weights : str or path
        Weights of a known backbone; see `permgrad.backbone_classifier`.
    patch_shape : (int, int, int)
    image_size : int, optional
        Patches are resized to this height and width in pixels; None leaves them as they are.
    pixels : {"0-255", "0-1", "-1-1", "imagenet"}
        For a file: how its network expects pixels. "imagenet" means values in [0, 1], less ImageNet's mean, divided by
        its standard deviation. Known backbones get what they expect.

    Returns
    -------
    keras.Model
        Pixels from 0 to 255, (batch, height, width, 3) → (batch, n_numbers), float32. Feature maps are averaged over
        space, and tokens over their sequence.

    Raises
    ------
    PermGradError
        If a file cannot be read or holds another kind of network; see also `permgrad.backbone_classifier`.

    Examples
    --------
    >>> frozen = pg.frozen_backbone("SmallCNN", weights="random", patch_shape=(32, 32, 3), image_size=None)
    >>> frozen.input_shape
    (None, 32, 32, 3)
    """
    if pixels not in PIXELS:
        raise PermGradError(f"pixels must be one of {listing(PIXELS)}, got {pixels!r}")
    shape = patch_shape if image_size is None else (image_size, image_size, 3)
    inputs = x = keras.Input(patch_shape, name="pixels")
    if shape != patch_shape:
        x = keras.layers.Resizing(*shape[:2], dtype="float32", name="resize")(x)
    if str(source) in backbone_names():
        x = make_backbone(str(source), weights, shape)(scale_input(x, str(source)))
    else:
        x = _load(Path(source), shape)(_scaled(x, pixels))
    if len(x.shape) == 4:
        x = keras.layers.GlobalAveragePooling2D(dtype="float32", name="mean")(x)
    elif len(x.shape) == 3:
        x = keras.layers.GlobalAveragePooling1D(dtype="float32", name="mean")(x)
    model = keras.Model(inputs, x, name="frozen")
    model.trainable = False
    return model


def _scaled(x: Any, pixels: str) -> Any:
    if pixels == "imagenet":
        return keras.layers.Normalization(mean=255 * MEAN, variance=(255 * STD) ** 2, dtype="float32")(x)
    scale, offset = {"0-255": (1.0, 0.0), "0-1": (1 / 255, 0.0), "-1-1": (1 / 127.5, -1.0)}[pixels]
    return keras.layers.Rescaling(scale, offset, dtype="float32")(x)


def _load(path: Path, shape: tuple[int, int, int]) -> Any:
    if not path.is_file():
        raise PermGradError(f"there is no backbone and no file {path}; backbones are {listing(backbone_names(), 99)}")
    with reading(path, "a .keras file of a network for images"):
        model = keras.saving.load_model(path, compile=False)
        given = [tuple(each.shape[1:]) for each in model.inputs]
        fits = (
            len(given) == 1 and len(given[0]) == 3 and all(a in (None, b) for a, b in zip(given[0], shape, strict=True))
        )
        if not fits or len(model.outputs) != 1:
            raise PermGradError(f"expected a network with one image of {shape} and one output; its inputs are {given}")
    return model


def embed_patches(model: Any, patches: Patches, *, batch_size: int = 64, workers: int | None = None) -> np.ndarray:
    """Return the vectors into which a frozen network turns patches.

    Parameters
    ----------
    model : keras.Model
        See `frozen_backbone`.
    patches : Patches
    batch_size : int
    workers : int, optional
        Number of threads that read files.

    Returns
    -------
    ndarray of shape (n_patches, n_numbers), float32

    Examples
    --------
    >>> frozen = pg.frozen_backbone("SmallCNN", weights="random", patch_shape=(32, 32, 3), image_size=None)
    >>> len(pg.embed_patches(frozen, patches))
    24
    """
    if not len(patches):
        raise PermGradError("there are no patches to embed")
    batches = PatchBatches(patches, batch_size, workers=workers)
    with batches.own_errors():
        return np.asarray(model.predict(batches, verbose=0), np.float32)


def linear_head(
    embeddings: np.ndarray, y: Any, *, groups: Any = None, penalties: Sequence[float] = PENALTIES, random_state: int = 0
) -> Any:
    """Fit a logistic regression on embeddings. Cross-validation chooses its penalty.

    Parameters
    ----------
    embeddings : ndarray of shape (n_patches, n_numbers)
        Embeddings of the training patches.
    y : array of shape (n_patches,)
        0 or 1.
    groups : array of shape (n_patches,), optional
        Slides or patients; each is on one side of every fold.
    penalties : sequence of float
        Inverse strengths of the penalty to try.
    random_state : int
        Seed of the folds.

    Returns
    -------
    sklearn.model_selection.GridSearchCV
        Fitted. Embeddings are standardised; the L2 penalty is that with the lowest log loss over at most five folds.
        ``predict_proba(...)[:, 1]`` is the probability of a positive patch.

    Raises
    ------
    PermGradError
        If a class has too few patches, or groups, for two folds.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(40, 3))
    >>> head = pg.linear_head(X, (X[:, 0] > 0).astype(int))
    >>> head.predict_proba(X).shape
    (40, 2)
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    y = np.asarray(y)
    groups = np.arange(len(y)) if groups is None else np.asarray(groups)
    if len(embeddings) != len(y) or len(groups) != len(y):
        raise PermGradError(
            f"expected a label and a group for each of {len(embeddings)} patches, got {len(y)} and {len(groups)}"
        )
    of_class = [len(np.unique(groups[y == label])) for label in np.unique(y)]
    if len(of_class) != 2 or min(of_class) < 2:
        raise PermGradError("expected two classes, each in at least two groups (or patches, if there are no groups)")
    folds = StratifiedGroupKFold(min(5, *of_class), shuffle=True, random_state=random_state)
    parts = list(folds.split(embeddings, y, groups))
    parts = [(fit, held) for fit, held in parts if len(np.unique(y[fit])) == len(np.unique(y[held])) == 2]
    if not parts:
        raise PermGradError("no fold has both classes on both sides; give more groups that hold both classes")
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    grid = {"logisticregression__C": list(penalties)}
    return GridSearchCV(model, grid, scoring="neg_log_loss", cv=parts).fit(embeddings, y)


def calibrate_patches(model: Any, patches: Patches, *, batch_size: int = 256, workers: int | None = None) -> Any:
    """Return a classifier whose probabilities are calibrated by one number, which is fitted on other patches.

    Parameters
    ----------
    model : keras.Model
        See `permgrad.backbone_classifier`. The model must end in a logit. It is not changed.
    patches : Patches
        Labelled patches that were used neither for training nor for testing. If patches have groups, use other slides
        too.
    batch_size : int
    workers : int, optional

    Returns
    -------
    keras.Model
        The logit divided by a temperature (`permgrad.layers.temperature.fit_temperature`). The order of patches, and so
        the AUC, does not change. The new model shares its weights with `model`.

    Raises
    ------
    PermGradError
        If a class is missing, or the model ends in a sigmoid.

    Examples
    --------
    >>> calm = pg.calibrate_patches(patch_network, patches)
    >>> calm.output_shape
    (None, 1)
    """
    y = check_labelled(patches, "calibration")
    if not ends_in_logit(model):
        raise PermGradError("expected a classifier that ends in a logit; this one ends in a sigmoid, leave that out")
    positive = probability(predict_logits(model, patches, batch_size=batch_size, workers=workers)[:, 0])
    layer = Temperature(name="temperature")
    calibrated = keras.Model(model.inputs[0], layer(model.outputs[0]), name=model.name)
    layer.temperature.assign(fit_temperature(np.column_stack([1 - positive, positive]), y.astype(int)))
    return calibrated
