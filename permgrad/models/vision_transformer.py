"""A small vision transformer on a row's image, in place of convolutions.

image ─ squares of pixels → tokens ─ [+ places] ─ [norm → attention + ─ norm → Dense → Dense +]* ─ norm ─ mean of tokens
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from permgrad.backend import keras
from permgrad.layers.positions import PositionEmbedding

WIDTH_PER_FILTER = 4
"""Numbers of a token for each of the first convolution's filters: about as many weights as the convolutions have."""
N_HEADS = 4
WIDER = 2
"""Times the width: the Dense layer within a block."""
MOST_TOKENS = 12
"""Of a side: attention looks at each pair of tokens."""


def square_size(shape: tuple[int, int]) -> int:
    """Return the side of the squares that an image is parted into, in pixels: 2, or more of an image above 24."""
    return max(2, math.ceil(max(shape) / MOST_TOKENS))


def token_width(base_filters: int) -> int:
    """Return how many numbers a token has: a multiple of the number of heads."""
    return WIDTH_PER_FILTER * base_filters


def transform(
    image: Any, *, depth: int, base_filters: int, dropout: float, precision: str, seeds: Iterator[int]
) -> Any:
    """Build the branch.

    Parameters
    ----------
    image : KerasTensor
        (batch, height, width, 1).
    depth : int
        Transformer blocks.
    base_filters : int
        See `token_width`.
    dropout : float
        Behind attention and behind the Dense layers of each block.
    precision : str
        Keras dtype policy.
    seeds : iterator of int

    Returns
    -------
    KerasTensor
        (batch, width): the mean of the tokens.

    References
    ----------
    Dosovitskiy et al., An Image is Worth 16 × 16 Words, ICLR (2021); normalisation comes before each part, as there.
    """
    layers, size, width = keras.layers, square_size(image.shape[1:3]), token_width(base_filters)

    def glorot() -> Any:
        return keras.initializers.GlorotUniform(seed=next(seeds))

    tokens = layers.Conv2D(
        width, size, strides=size, padding="same", kernel_initializer=glorot(), dtype=precision, name="squares"
    )(image)
    x = layers.Reshape((-1, width), dtype=precision, name="tokens")(tokens)
    x = PositionEmbedding(next(seeds), dtype=precision, name="places")(x)
    for i in range(depth):
        normed = layers.LayerNormalization(dtype=precision, name=f"norm_{i}a")(x)
        attention = layers.MultiHeadAttention(
            N_HEADS,
            width // N_HEADS,
            kernel_initializer=glorot(),
            seed=next(seeds),
            dtype=precision,
            name=f"attention_{i}",
        )
        seen = layers.Dropout(dropout, seed=next(seeds), dtype=precision)(attention(normed, normed))
        x = layers.Add(dtype=precision, name=f"add_{i}a")([x, seen])
        normed = layers.LayerNormalization(dtype=precision, name=f"norm_{i}b")(x)
        inner = layers.Dense(
            WIDER * width, activation="gelu", kernel_initializer=glorot(), dtype=precision, name=f"wide_{i}"
        )(normed)
        inner = layers.Dense(width, kernel_initializer=glorot(), dtype=precision, name=f"narrow_{i}")(inner)
        inner = layers.Dropout(dropout, seed=next(seeds), dtype=precision)(inner)
        x = layers.Add(dtype=precision, name=f"add_{i}b")([x, inner])
    x = layers.LayerNormalization(dtype=precision, name="norm")(x)
    return layers.GlobalAveragePooling1D(dtype=precision, name="mean")(x)
