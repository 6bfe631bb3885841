"""A classifier of image patches around a known network.

pixels ─ [resize] ─ [augment] ─ scale ─ backbone ─ mean over space ─ dropout ─ Dense: a logit
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from permgrad.backend import keras
from permgrad.errors import PermGradError
from permgrad.layers.augmentation import Augmentation
from permgrad.layers.stain import ReinhardNormalization
from permgrad.models.backbones import make_backbone, scale_input
from permgrad.training.config import choose_precision


def backbone_classifier(
    name: str = "EfficientNetB0",
    *,
    weights: str | Path = "imagenet",
    patch_shape: tuple[int, int, int] = (96, 96, 3),
    image_size: int | None = 224,
    dropout: float = 0.2,
    augmentation: Augmentation | None = None,
    stain: ReinhardNormalization | None = None,
    precision: str = "auto",
    random_state: int = 0,
) -> Any:
    """Build a network that classifies patches into two classes, on a known backbone.

    Parameters
    ----------
    name : str
        A function of `keras.applications` ("EfficientNetB0", "EfficientNetB2", "EfficientNetV2B0", "ResNet50V2", ...),
        "ResNet18" (of KerasHub: ``pip install 'permgrad[hub]'``), or "SmallCNN", which is made for few patches and has
        no pretrained weights.
    weights : str or path
        "imagenet": pretrained, from Keras's cache (``~/.keras``; KerasHub's is Kaggle's), downloaded once; a weight
        file of the network without its head (``.weights.h5``, or Keras's own ``..._notop.h5``); or "random".
    patch_shape : (int, int, int)
        Height, width and 3 channels of the patches.
    image_size : int, optional
        Patches are enlarged to so many pixels in height and width; None leaves them as they are.
    dropout : float
        Share of the features that are dropped in training.
    augmentation : Augmentation, optional
        Random changes in training.
    stain : ReinhardNormalization, optional
        Normalises the colours of each patch, before augmentation; in training and in predicting alike.
    precision : {"auto", "float32", "mixed_float16", "mixed_bfloat16"}
        Of the backbone; scaling and head compute in float32. "auto" is mixed on an accelerator.
    random_state : int
        Of random weights, dropout and augmentation.

    Returns
    -------
    keras.Model
        Pixels from 0 to 255, (batch, height, width, 3), red first, of any number type → the logit of the positive
        class, (batch, 1), float32. Its layer "backbone" is what `permgrad.patches.training.unfreeze` takes apart. It is
        saved and loaded as any Keras model (``network.save("network.keras")``, `keras.saving.load_model`), where this
        module was imported before.

    Raises
    ------
    PermGradError
        See `permgrad.models.backbones.make_backbone`; and for numbers out of range.

    Examples
    --------
    >>> network = pg.backbone_classifier("SmallCNN", weights="random", patch_shape=(32, 32, 3), image_size=None)
    >>> network.input_shape, network.output_shape
    ((None, 32, 32, 3), (None, 1))
    """
    if not 0 <= dropout < 1:
        raise PermGradError(f"dropout must be in [0, 1), got {dropout}")
    if len(patch_shape) != 3 or patch_shape[2] != 3:
        raise PermGradError(f"patch_shape must be (height, width, 3), got {patch_shape}")
    if image_size is not None and image_size < 32:
        raise PermGradError(f"image_size must be at least 32 pixels, or None, got {image_size}")
    seeds = np.random.default_rng(random_state).integers(2**31, size=4).tolist()
    shape = patch_shape if image_size is None else (image_size, image_size, 3)
    backbone = make_backbone(name, weights, shape, precision=choose_precision(precision), random_state=seeds[0])
    inputs = x = keras.Input(patch_shape, name="pixels")
    if shape != patch_shape:
        x = keras.layers.Resizing(*shape[:2], dtype="float32", name="resize")(x)
    for layer in (*([stain] if stain else ()), *(augmentation.layers(seeds[1]) if augmentation else ())):
        x = layer(x)
    x = backbone(scale_input(x, name))  # (batch, h, w, channels)
    x = keras.layers.GlobalAveragePooling2D(dtype="float32", name="pool")(x)
    x = keras.layers.Dropout(dropout, seed=seeds[2], dtype="float32", name="dropout")(x)
    initial = keras.initializers.GlorotUniform(seed=seeds[3])
    logit = keras.layers.Dense(1, kernel_initializer=initial, dtype="float32", name="logit")(x)
    return keras.Model(inputs, logit, name=name)
