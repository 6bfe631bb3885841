"""The hybrid network (HyNN): an MLP on the row, a CNN on its image, a head on both.

rows (batch, n_features) ─ scale ─┬─ [bins] ─ [Dense → BatchNorm → Dropout]* ────────────────┬─ head ─ prediction
                                  └─ image ─ [Conv → BatchNorm → MaxPool → Dropout]* ─ Flatten ┘

Architecture after the published PermGrad notebooks. The image is a layer, so the model takes raw
rows; without one of its branches it is the published MLP-only or CNN-only control.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from permgrad.backend import keras
from permgrad.errors import PermGradError
from permgrad.layers import FeatureImage, MinMaxScale, PiecewiseLinear
from permgrad.layout import FeatureLayout

Branch = Literal["tabular", "image"]
BATCH_NORM_MOMENTUM = 0.9
"""Keras's 0.99 needs hundreds of steps to follow the data: too slow for the few batches of a small table."""
BRANCHES: tuple[Branch, ...] = ("tabular", "image")


@dataclass(frozen=True)
class HybridConfig:
    """Size and kind of a hybrid network.

    Attributes
    ----------
    branches : tuple of {"tabular", "image"}
        Both for the hybrid, one for a control.
    n_bins : int
        Bins over which each scaled column is spread for the tabular branch, see `PiecewiseLinear`; 0: none, as
        published. The image always shows the scaled value itself.
    dense_units : tuple of int
        Dense layers of the tabular branch.
    n_conv_layers : int
        Convolution blocks; each halves the image.
    base_filters : int
        Filters of the first block, doubled in each further one.
    head_units : tuple of int
        Dense layers after the branches have met.
    dropout : float
        After every block and Dense layer.
    precision : str
        Keras dtype policy of the hidden layers: "float32", "mixed_float16" or "mixed_bfloat16".
        Scaling, image and output stay in float32.
    seed : int
        Of the initial weights and of dropout.
    """

    branches: tuple[Branch, ...] = BRANCHES
    n_bins: int = 0
    dense_units: tuple[int, ...] = (128, 64)
    n_conv_layers: int = 2
    base_filters: int = 16
    head_units: tuple[int, ...] = (64,)
    dropout: float = 0.2
    precision: str = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.branches or not set(self.branches) <= set(BRANCHES):
            raise PermGradError(f"branches must be 'tabular', 'image' or both, got {self.branches!r}")
        sizes = (*self.dense_units, *self.head_units, self.n_conv_layers, self.base_filters)
        if min(sizes) < 1:
            raise PermGradError(f"layer sizes and counts must be at least 1, got {sizes}")
        if self.n_bins != 0 and self.n_bins < 2:
            raise PermGradError(f"n_bins must be 0 (none) or at least 2, got {self.n_bins}")
        if self.seed < 0:
            raise PermGradError(f"seed must be at least 0, got {self.seed}")
        if not 0 <= self.dropout < 1:
            raise PermGradError(f"dropout must be in [0, 1), got {self.dropout}")


def build_hybrid(
    config: HybridConfig,
    n_features: int,
    n_outputs: int,
    *,
    layout: FeatureLayout | None = None,
    task: Literal["regression", "classification"],
    target_mean: float = 0.0,
    target_std: float = 1.0,
) -> Any:
    """Build the network; its scaling is set afterwards from training rows (layer ``"scale"``).

    Parameters
    ----------
    config : HybridConfig
    n_features, n_outputs : int
        Width of the rows; 1 for regression, else the number of classes.
    layout : FeatureLayout, optional
        Where the image branch draws each of the `n_features`; only needed with an image branch.
    task : {"regression", "classification"}
        Linear output, or softmax over the classes.
    target_mean, target_std : float
        For regression, what turns the last layer's standardised output into the target's unit.

    Returns
    -------
    keras.Model
        (batch, n_features) → (batch, n_outputs), float32.

    Raises
    ------
    PermGradError
        If the layout is missing or of other features, or its image is too small to be halved
        `n_conv_layers` times.
    """
    block = _Blocks(config)
    rows = keras.Input((n_features,), name="features")
    scaled = MinMaxScale(name="scale")(rows)
    codes = []
    if "tabular" in config.branches:
        numbers = PiecewiseLinear(config.n_bins, name="bins")(scaled) if config.n_bins else scaled
        codes.append(block.dense(numbers, config.dense_units, "tabular"))
    if "image" in config.branches:
        if layout is None or len(layout.features) != n_features:
            raise PermGradError(f"an image branch needs a layout of the {n_features} features")
        _check_depth(layout.shape, config.n_conv_layers)
        codes.append(block.convolutions(FeatureImage.from_layout(layout, name="image")(scaled)))
    x = keras.layers.Concatenate(dtype=config.precision, name="meet")(codes) if len(codes) > 1 else codes[0]
    x = block.dense(x, config.head_units, "head")
    # The activation is a layer of its own, so that explainers can read the logits before it saturates.
    x = keras.layers.Dense(n_outputs, kernel_initializer=block.he_normal(), dtype="float32", name="logits")(x)
    if task == "classification":
        output = keras.layers.Softmax(dtype="float32", name="probabilities")(x)
    else:
        output = keras.layers.Rescaling(target_std, target_mean, dtype="float32", name="prediction")(x)
    return keras.Model(rows, output, name="hybrid" if len(codes) > 1 else config.branches[0])


class _Blocks:
    """The repeated blocks, with a seed of its own for every layer."""

    def __init__(self, config: HybridConfig) -> None:
        self.config = config
        self._seeds = _seeds(config.seed)

    def he_normal(self) -> Any:
        return keras.initializers.HeNormal(seed=next(self._seeds))

    def dense(self, x: Any, sizes: tuple[int, ...], name: str) -> Any:
        for i, units in enumerate(sizes):
            layer = keras.layers.Dense(
                units, "relu", kernel_initializer=self.he_normal(), dtype=self.config.precision, name=f"{name}_{i}"
            )
            x = self._dropout(self._normalise(layer(x)))
        return x

    def convolutions(self, x: Any) -> Any:
        for i in range(self.config.n_conv_layers):
            layer = keras.layers.Conv2D(
                self.config.base_filters * 2**i,
                3,
                padding="same",
                activation="relu",
                kernel_initializer=self.he_normal(),
                dtype=self.config.precision,
                name=f"conv_{i}",
            )
            x = self._normalise(layer(x))
            x = self._dropout(keras.layers.MaxPooling2D(2, dtype=self.config.precision)(x))
        return keras.layers.Flatten(dtype=self.config.precision)(x)

    def _normalise(self, x: Any) -> Any:
        return keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, dtype=self.config.precision)(x)

    def _dropout(self, x: Any) -> Any:
        return keras.layers.Dropout(self.config.dropout, seed=next(self._seeds), dtype=self.config.precision)(x)


def _seeds(seed: int) -> Iterator[int]:
    generator = np.random.default_rng(seed)
    while True:
        yield int(generator.integers(2**31))


def _check_depth(shape: tuple[int, int], n_conv_layers: int) -> None:
    if min(shape) < 2**n_conv_layers:
        raise PermGradError(
            f"{n_conv_layers} convolution blocks halve the image as often and need at least {2**n_conv_layers} pixels "
            f"a side, got {shape[0]} × {shape[1]}; use fewer blocks or a larger image"
        )
