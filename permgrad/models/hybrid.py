"""The hybrid network (HyNN): an MLP on the row, a CNN on its image, a head on both.

rows (batch, n_features) ─ [mask] ─┬─ scale ─ [embedding] ─ [Dense → Dropout]* ──────────────────┬─ head ─ prediction
                                   └─ scale ─ image ─ [Conv → MaxPool → Dropout]* ─ Flatten ─ [gate] ┘

Architecture after the published PermGrad notebooks: one scaling to [0, 1] in front of both branches, BatchNorm behind
each block, branches that meet in a concatenation. The image is a layer, so the model takes raw rows; without one of its
branches it is the published MLP-only or CNN-only control.

Beyond what is published, the tabular branch may standardise its columns and have bins beside them; the MLP and the head
may be a batch ensemble (`permgrad.layers.batch_ensemble`): the CNN then computes one code for all its networks. With a
gated image the branches meet in a sum, and the image's part is multiplied by one number that starts at 0. A small
vision transformer may stand in place of the CNN. Columns may be masked, and logits divided by a temperature.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from permgrad.backend import keras
from permgrad.errors import PermGradError, listing
from permgrad.images.layout import FeatureLayout
from permgrad.layers.batch_ensemble import EnsembleDense, EnsembleHeads, EnsembleMean
from permgrad.layers.embeddings import NumberBins, Periodic, PiecewiseLinear
from permgrad.layers.image import FeatureImage
from permgrad.layers.quantile import QuantileScale
from permgrad.layers.scaling import MinMaxScale, Standardise
from permgrad.layers.selectors import BranchGate, ColumnMask
from permgrad.layers.swap_noise import SwapNoise
from permgrad.layers.temperature import Temperature
from permgrad.models.vision_transformer import transform

Branch = Literal["tabular", "image"]
BATCH_NORM_MOMENTUM = 0.9
"""Keras's 0.99 needs hundreds of steps to follow the data: too slow for the few batches of a small table."""
BRANCHES: tuple[Branch, ...] = ("tabular", "image")
SCALINGS: dict[str, Any] = {"min-max": MinMaxScale, "quantile": QuantileScale, "standard": Standardise}
EMBEDDINGS = ("none", "piecewise", "periodic", "bins")
DOWNSAMPLINGS = ("max_pool", "stride")
IMAGE_NETWORKS = ("cnn", "vit")
ROWS_PER_CALL = 1024
LEAST_BINS = 4
MOST_BINS = 512
"""Of all columns together: what a row becomes should stay a few times its image."""
SWAP_RATE = 0.5
"""Of swap noise. With 0.8 training stops early, before all columns are used."""


@dataclass(frozen=True)
class HybridConfig:
    """Size and kind of a hybrid network.

    Attributes
    ----------
    branches : tuple of {"tabular", "image"}
        Both for the hybrid, one for a control.
    scaling : {"min-max", "quantile", "standard"}
        How each column is scaled: to [0, 1] in front of both branches, linearly, as published, or by its rank among the
        training rows, see `QuantileScale`; or standardised for the tabular branch (`Standardise`) and linearly brought
        to [0, 1] for the image.
    embedding : {"none", "piecewise", "periodic", "bins"}
        What the tabular branch makes of each scaled column, see `PiecewiseLinear`, `Periodic` and `NumberBins`; "none",
        as published. The image always shows the scaled value itself.
    embedding_size : int
        Bins of each column, or frequencies of a periodic embedding. Of "bins" fewer where columns are many: 512 in
        all, but at least 4 each.
    ensemble_size : int
        1: Dense layers, as published. More: a batch ensemble of that many networks, tabular branch and head.
    dense_units : tuple of int
        Dense layers of the tabular branch.
    image_network : {"cnn", "vit"}
        What looks at the image: convolutions, as published, or a small vision transformer, see
        `permgrad.models.vision_transformer`.
    n_conv_layers : int
        Convolution blocks, each of which halves the image; of "vit", transformer blocks.
    downsampling : {"max_pool", "stride"}
        How: by a max-pooling behind each convolution, as published, or by a convolution at every other pixel, which
        takes a quarter of the time.
    base_filters : int
        Filters of the first block, doubled in each further one; of "vit", a quarter of a token's width.
    head_units : tuple of int
        Dense layers after the branches have met.
    dropout : float
        After every block and Dense layer.
    batch_norm : bool
        Whether Dense layers and convolutions are followed by BatchNorm, as published.
    gated_image : bool
        Whether the branches meet in a sum to which the image's part is added by a gate that starts closed; else they
        meet in a concatenation, as published (of a batch ensemble: in a sum without a gate).
    zero_output : bool
        Whether the last layer's weights start at 0, so that the network begins with the mean's, or the classes'
        frequencies, rather than a guess.
    calibrated : bool
        Whether classes' logits are divided by a temperature, see `Temperature`.
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
    image_network: str = "cnn"
    n_conv_layers: int = 2
    downsampling: str = "max_pool"
    base_filters: int = 16
    head_units: tuple[int, ...] = (64,)
    dropout: float = 0.2
    batch_norm: bool = True
    gated_image: bool = False
    zero_output: bool = False
    calibrated: bool = False
    precision: str = "float32"
    random_state: int = 0

    def __post_init__(self) -> None:
        if not self.branches or not set(self.branches) <= set(BRANCHES):
            raise PermGradError(f"branches must be 'tabular', 'image' or both, got {self.branches!r}")
        named = {"scaling": tuple(SCALINGS), "embedding": EMBEDDINGS, "downsampling": DOWNSAMPLINGS}
        named |= {"image_network": IMAGE_NETWORKS}
        for name, choices in named.items():
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
    numbers: Sequence[int] | None = None,
    mask: np.ndarray | None = None,
    swapped: np.ndarray | None = None,
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
    numbers : sequence of int, optional
        Columns that ``embedding="bins"`` puts bins beside, ascending; by default all.
    mask : ndarray of bool, shape (n_features,), optional
        Columns that the network is to look at; all others are 0 to it.
    swapped : ndarray of int, shape (n_features,), optional
        Bundles of columns that `SwapNoise` replaces in training.
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
    seen = rows if mask is None else ColumnMask(mask, name="mask")(rows)
    if swapped is not None:
        seen = SwapNoise(swapped, SWAP_RATE, random_state=config.random_state, name="swap")(seen)
    scaled = in_image = SCALINGS[config.scaling](name="scale")(seen) if "tabular" in config.branches else None
    if "image" in config.branches and (scaled is None or config.scaling == "standard"):
        of_image = MinMaxScale if config.scaling == "standard" else SCALINGS[config.scaling]
        in_image = of_image(name="scale_image" if "tabular" in config.branches else "scale")(seen)
    codes = []
    if "tabular" in config.branches:
        numbers = range(n_features) if numbers is None else numbers
        codes.append(block.dense(block.embedding(scaled, numbers), config.dense_units, "tabular"))
    if "image" in config.branches:
        if layout is None or len(layout.features) != n_features:
            raise PermGradError(f"an image branch needs a layout of the {n_features} features")
        codes.append(block.image_code(FeatureImage.from_layout(layout, name="image")(in_image)))
    # The activation is a layer of its own, so that explainers can read the logits before it saturates.
    if config.ensemble_size > 1:
        logits = block.mean(block.summing_head(codes, n_outputs), task)
    elif config.gated_image and len(codes) > 1:
        logits = block.summing_head(codes, n_outputs)
    else:
        logits = block.head(codes, n_outputs)
    if task == "classification":
        logits = Temperature(name="temperature")(logits) if config.calibrated else logits
        output = keras.layers.Softmax(dtype="float32", name="probabilities")(logits)
    else:
        output = keras.layers.Rescaling(target_std, target_mean, dtype="float32", name="prediction")(logits)
    return keras.Model(rows, output, name="hybrid" if len(codes) > 1 else config.branches[0])


def adapt(network: Any, rows: np.ndarray, class_shares: np.ndarray | None = None) -> None:
    """Fit what training rows alone decide: scales, bins, and where the network starts.

    Parameters
    ----------
    network : keras.Model
        From `build_hybrid`.
    rows : ndarray of shape (n_rows, n_features), float32
    class_shares : ndarray of shape (n_classes,), optional
        Of the training rows: what a network whose last layer is 0 starts with.
    """
    layers: dict[str, Any] = {layer.name: layer for layer in network.layers}
    if "mask" in layers:
        rows = rows * layers["mask"].columnwise_scale()
    for scale in (layers[name] for name in ("scale", "scale_image") if name in layers):
        scale.adapt(rows)
    embedding = next((layer for layer in network.layers if isinstance(layer, (PiecewiseLinear, NumberBins))), None)
    if embedding is not None:
        blocks = (rows[i : i + ROWS_PER_CALL] for i in range(0, len(rows), ROWS_PER_CALL))
        embedding.adapt(np.concatenate([keras.ops.convert_to_numpy(layers["scale"](block)) for block in blocks]))
    last = layers["ensemble_logits" if "ensemble_logits" in layers else "logits"]
    if class_shares is not None:
        last.bias.assign(np.broadcast_to(np.log(class_shares), last.bias.shape))


class _Blocks:
    """The repeated blocks, with a seed of its own for every layer."""

    def __init__(self, config: HybridConfig) -> None:
        self.config = config
        self._seeds = _seeds(config.random_state)

    def embedding(self, x: Any, numbers: Sequence[int]) -> Any:
        size = self.config.embedding_size
        if self.config.embedding == "bins":
            few = max(LEAST_BINS, min(size, MOST_BINS // max(1, len(numbers))))
            return NumberBins(numbers, few, name="embedding")(x) if len(numbers) else x
        if self.config.embedding == "piecewise":
            return PiecewiseLinear(size, name="embedding")(x)
        if self.config.embedding == "periodic":
            return Periodic(size, random_state=next(self._seeds), name="embedding")(x)
        return x

    def dense(self, x: Any, sizes: tuple[int, ...], name: str) -> Any:
        for i, units in enumerate(sizes):
            x = self._after(self._layer(units, f"{name}_{i}", "relu", spread=name == "tabular" and i == 0)(x))
        return x

    def image_code(self, image: Any) -> Any:
        config = self.config
        if config.image_network == "vit":
            shared: Any = {"dropout": config.dropout, "precision": config.precision, "seeds": self._seeds}
            return transform(image, depth=config.n_conv_layers, base_filters=config.base_filters, **shared)
        _check_depth(image.shape[1:3], config.n_conv_layers)
        return self.convolutions(image)

    def convolutions(self, x: Any) -> Any:
        pooled = self.config.downsampling == "max_pool"
        for i in range(self.config.n_conv_layers):
            layer = keras.layers.Conv2D(
                self.config.base_filters * 2**i,
                3,
                strides=1 if pooled else 2,
                padding="same",
                activation="relu",
                kernel_initializer=self._he_normal(),
                dtype=self.config.precision,
                name=f"conv_{i}",
            )
            x = self._normalise(layer(x))
            x = keras.layers.MaxPooling2D(2, dtype=self.config.precision)(x) if pooled else x
            x = self._dropout(x, None if pooled else (None, 1, 1, None))  # whole maps: far fewer random numbers
        return keras.layers.Flatten(dtype=self.config.precision)(x)

    def head(self, codes: list[Any], n_outputs: int) -> Any:
        """Return the logits (batch, n_outputs) of branches that meet in a concatenation."""
        x = keras.layers.Concatenate(dtype=self.config.precision, name="meet")(codes) if len(codes) > 1 else codes[0]
        x = self.dense(x, self.config.head_units, "head")
        return self._logits(n_outputs)(x)

    def summing_head(self, codes: list[Any], n_outputs: int) -> Any:
        """Return the logits (batch, n_outputs), or each network's (batch, ensemble_size, n_outputs).

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
        if config.ensemble_size > 1:
            x = EnsembleHeads(
                n_outputs,
                config.ensemble_size,
                random_state=next(self._seeds),
                zero=config.zero_output,
                name="ensemble_logits",
            )(x)
        else:
            x = self._logits(n_outputs)(x)
        return x if config.head_units else self._meet(x, codes[1:], units, "float32")

    def _logits(self, n_outputs: int) -> Any:
        kernel = "zeros" if self.config.zero_output else self._he_normal()
        return keras.layers.Dense(n_outputs, kernel_initializer=kernel, dtype="float32", name="logits")

    def mean(self, logits: Any, task: str) -> Any:
        return EnsembleMean("probabilities" if task == "classification" else "values", name="logits")(logits)

    def _meet(self, of_each: Any, image: list[Any], units: int, precision: str) -> Any:
        if not image:
            return of_each
        shared = keras.layers.Dense(
            units, use_bias=False, kernel_initializer=self._he_normal(), dtype=precision, name="image_code"
        )(image[0])
        if self.config.gated_image:
            shared = BranchGate(dtype=precision, name="image_gate")(shared)
        several = self.config.ensemble_size > 1
        for_each = keras.layers.Reshape((1, units), dtype=precision)(shared) if several else shared
        return keras.layers.Add(dtype=precision, name="meet")([of_each, for_each])

    def _layer(self, units: int, name: str, activation: str | None, *, spread: bool) -> Any:
        keywords = {"activation": activation, "dtype": self.config.precision, "name": name}
        if self.config.ensemble_size > 1:
            return EnsembleDense(
                units, self.config.ensemble_size, spread=spread, random_state=next(self._seeds), **keywords
            )
        return keras.layers.Dense(units, kernel_initializer=self._he_normal(), **keywords)

    def _after(self, x: Any) -> Any:
        # The networks of a batch ensemble drop the same units: they differ enough, and it takes no time.
        return self._dropout(self._normalise(x), (None, 1, None) if len(x.shape) == 3 else None)

    def _he_normal(self) -> Any:
        return keras.initializers.HeNormal(seed=next(self._seeds))

    def _normalise(self, x: Any) -> Any:
        if not self.config.batch_norm:
            return x
        return keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, dtype=self.config.precision)(x)

    def _dropout(self, x: Any, shape: tuple[int | None, ...] | None = None) -> Any:
        return keras.layers.Dropout(
            self.config.dropout, noise_shape=shape, seed=next(self._seeds), dtype=self.config.precision
        )(x)


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
