"""The hybrid network (HyNN): an MLP on the row, a CNN on its image, a head on both.

rows (batch, n_features) ─ scale ─┬─ [embedding] ─ [Dense → BatchNorm → Dropout]* ───────────┬─ head ─ prediction
                                  └─ image ─ [Conv → BatchNorm → MaxPool → Dropout]* ─ Flatten ┘

Architecture after the published PermGrad notebooks. The image is a layer, so the model takes raw
rows; without one of its branches it is the published MLP-only or CNN-only control. Beyond what is published, the
scaling may be by rank, each column may be embedded for the tabular branch, and the MLP and the head may be a batch
ensemble (`permgrad.layers.batch_ensemble`): the CNN then computes one code for all its networks, which
meet it in a sum.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from permgrad.backend import keras
from permgrad.errors import PermGradError, listing
from permgrad.images.layout import FeatureLayout
from permgrad.layers.batch_ensemble import EnsembleDense, EnsembleHeads, EnsembleMean
from permgrad.layers.embeddings import Periodic, PiecewiseLinear
from permgrad.layers.image import FeatureImage
from permgrad.layers.quantile import QuantileScale
from permgrad.layers.scaling import MinMaxScale

Branch = Literal["tabular", "image"]
BATCH_NORM_MOMENTUM = 0.9
"""Keras's 0.99 needs hundreds of steps to follow the data: too slow for the few batches of a small table."""
BRANCHES: tuple[Branch, ...] = ("tabular", "image")
SCALINGS = {"min-max": MinMaxScale, "quantile": QuantileScale}
EMBEDDINGS = ("none", "piecewise", "periodic")
ROWS_PER_CALL = 1024


@dataclass(frozen=True)
class HybridConfig:
    """Size and kind of a hybrid network.

    Attributes
    ----------
    branches : tuple of {"tabular", "image"}
        Both for the hybrid, one for a control.
    scaling : {"min-max", "quantile"}
        How each column comes to [0, 1] in front of both branches: linearly, as published, or by its rank among the
        training rows, see `QuantileScale`.
    embedding : {"none", "piecewise", "periodic"}
        What the tabular branch makes of each scaled column, see `PiecewiseLinear` and `Periodic`; "none", as published.
        The image always shows the scaled value itself.
    embedding_size : int
        Bins of a piecewise embedding, or frequencies of a periodic one.
    ensemble_size : int
        1: Dense layers, as published. More: a batch ensemble of that many networks, tabular branch and head.
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
    batch_norm : bool
        Whether Dense layers and convolutions are followed by BatchNorm, as published.
    precision : str
        Keras dtype policy of the hidden layers: "float32", "mixed_float16" or "mixed_bfloat16".
        Scaling, image and output stay in float32.
    random_state : int
        Of the initial weights and of dropout.
    """

    branches: tuple[Branch, ...] = BRANCHES
    scaling: str = "min-max"
    embedding: str = "none"
    embedding_size: int = 16
    ensemble_size: int = 1
    dense_units: tuple[int, ...] = (128, 64)
    n_conv_layers: int = 2
    base_filters: int = 16
    head_units: tuple[int, ...] = (64,)
    dropout: float = 0.2
    batch_norm: bool = True
    precision: str = "float32"
    random_state: int = 0

    def __post_init__(self) -> None:
        if not self.branches or not set(self.branches) <= set(BRANCHES):
            raise PermGradError(f"branches must be 'tabular', 'image' or both, got {self.branches!r}")
        for name, choices in {"scaling": tuple(SCALINGS), "embedding": EMBEDDINGS}.items():
            if getattr(self, name) not in choices:
                raise PermGradError(f"{name} must be one of {listing(choices)}, got {getattr(self, name)!r}")
        sizes = (*self.dense_units, *self.head_units, self.n_conv_layers, self.base_filters, self.ensemble_size)
        if min(sizes) < 1:
            raise PermGradError(f"layer sizes and counts must be at least 1, got {sizes}")
        if self.embedding_size < 2:
            raise PermGradError(f"embedding_size must be at least 2, got {self.embedding_size}")
        if self.random_state < 0:
            raise PermGradError(f"random_state must be at least 0, got {self.random_state}")
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
    """Build the network; what it takes from training rows is set afterwards, by `adapt`.

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
    scaled = SCALINGS[config.scaling](name="scale")(rows)
    codes = []
    if "tabular" in config.branches:
        codes.append(block.dense(block.embedding(scaled), config.dense_units, "tabular"))
    if "image" in config.branches:
        if layout is None or len(layout.features) != n_features:
            raise PermGradError(f"an image branch needs a layout of the {n_features} features")
        _check_depth(layout.shape, config.n_conv_layers)
        codes.append(block.convolutions(FeatureImage.from_layout(layout, name="image")(scaled)))
    # The activation is a layer of its own, so that explainers can read the logits before it saturates.
    if config.ensemble_size > 1:
        logits = block.mean(block.ensemble_head(codes, n_outputs), task)
    else:
        logits = block.head(codes, n_outputs)
    if task == "classification":
        output = keras.layers.Softmax(dtype="float32", name="probabilities")(logits)
    else:
        output = keras.layers.Rescaling(target_std, target_mean, dtype="float32", name="prediction")(logits)
    return keras.Model(rows, output, name="hybrid" if len(codes) > 1 else config.branches[0])


def adapt(network: Any, rows: np.ndarray) -> None:
    """Fit the scaling, and bins where there are, on training rows (n_rows, n_features), float32."""
    scale = network.get_layer("scale")
    scale.adapt(rows)
    embedding = next((layer for layer in network.layers if isinstance(layer, PiecewiseLinear)), None)
    if embedding is not None:
        blocks = (rows[i : i + ROWS_PER_CALL] for i in range(0, len(rows), ROWS_PER_CALL))
        embedding.adapt(np.concatenate([keras.ops.convert_to_numpy(scale(block)) for block in blocks]))


class _Blocks:
    """The repeated blocks, with a seed of its own for every layer."""

    def __init__(self, config: HybridConfig) -> None:
        self.config = config
        self._seeds = _seeds(config.random_state)

    def embedding(self, x: Any) -> Any:
        size = self.config.embedding_size
        if self.config.embedding == "piecewise":
            return PiecewiseLinear(size, name="embedding")(x)
        if self.config.embedding == "periodic":
            return Periodic(size, random_state=next(self._seeds), name="embedding")(x)
        return x

    def dense(self, x: Any, sizes: tuple[int, ...], name: str) -> Any:
        for i, units in enumerate(sizes):
            x = self._after(self._layer(units, f"{name}_{i}", "relu", spread=name == "tabular" and i == 0)(x))
        return x

    def convolutions(self, x: Any) -> Any:
        for i in range(self.config.n_conv_layers):
            layer = keras.layers.Conv2D(
                self.config.base_filters * 2**i,
                3,
                padding="same",
                activation="relu",
                kernel_initializer=self._he_normal(),
                dtype=self.config.precision,
                name=f"conv_{i}",
            )
            x = self._normalise(layer(x))
            x = self._dropout(keras.layers.MaxPooling2D(2, dtype=self.config.precision)(x))
        return keras.layers.Flatten(dtype=self.config.precision)(x)

    def head(self, codes: list[Any], n_outputs: int) -> Any:
        """Return the logits (batch, n_outputs) of branches that meet in a concatenation."""
        x = keras.layers.Concatenate(dtype=self.config.precision, name="meet")(codes) if len(codes) > 1 else codes[0]
        x = self.dense(x, self.config.head_units, "head")
        return keras.layers.Dense(n_outputs, kernel_initializer=self._he_normal(), dtype="float32", name="logits")(x)

    def ensemble_head(self, codes: list[Any], n_outputs: int) -> Any:
        """Return each network's logits (batch, ensemble_size, n_outputs).

        The first layer behind two branches is a sum, as a Dense layer on their concatenation is: of what each network
        makes of its tabular code, and of one product of the image's code that all share.
        """
        config, x = self.config, codes[0]
        units = config.head_units[0] if config.head_units else n_outputs
        if config.head_units:
            first = "tabular" not in config.branches or not config.dense_units
            x = self._meet(self._layer(units, "head_0", None, spread=first)(x), codes[1:], units, config.precision)
            x = self._after(keras.layers.ReLU(dtype=config.precision)(x))
            x = self.dense(x, config.head_units[1:], "head_1")
        x = EnsembleHeads(n_outputs, config.ensemble_size, random_state=next(self._seeds), name="ensemble_logits")(x)
        return x if config.head_units else self._meet(x, codes[1:], units, "float32")

    def mean(self, logits: Any, task: str) -> Any:
        return EnsembleMean("probabilities" if task == "classification" else "values", name="logits")(logits)

    def _meet(self, of_each: Any, image: list[Any], units: int, precision: str) -> Any:
        if not image:
            return of_each
        shared = keras.layers.Dense(
            units, use_bias=False, kernel_initializer=self._he_normal(), dtype=precision, name="image_code"
        )(image[0])
        for_each = keras.layers.Reshape((1, units), dtype=precision)(shared)
        return keras.layers.Add(dtype=precision, name="meet")([of_each, for_each])

    def _layer(self, units: int, name: str, activation: str | None, *, spread: bool) -> Any:
        keywords = {"activation": activation, "dtype": self.config.precision, "name": name}
        if self.config.ensemble_size > 1:
            return EnsembleDense(
                units, self.config.ensemble_size, spread=spread, random_state=next(self._seeds), **keywords
            )
        return keras.layers.Dense(units, kernel_initializer=self._he_normal(), **keywords)

    def _after(self, x: Any) -> Any:
        return self._dropout(self._normalise(x))

    def _he_normal(self) -> Any:
        return keras.initializers.HeNormal(seed=next(self._seeds))

    def _normalise(self, x: Any) -> Any:
        if not self.config.batch_norm:
            return x
        return keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, dtype=self.config.precision)(x)

    def _dropout(self, x: Any) -> Any:
        return keras.layers.Dropout(self.config.dropout, seed=next(self._seeds), dtype=self.config.precision)(x)


def _seeds(random_state: int) -> Iterator[int]:
    generator = np.random.default_rng(random_state)
    while True:
        yield int(generator.integers(2**31))


def _check_depth(shape: tuple[int, int], n_conv_layers: int) -> None:
    if min(shape) < 2**n_conv_layers:
        raise PermGradError(
            f"{n_conv_layers} convolution blocks halve the image as often and need at least {2**n_conv_layers} pixels "
            f"a side, got {shape[0]} × {shape[1]}; use fewer blocks or a larger image"
        )
