"""Random changes of pathology patches in training, as Keras layers: flips, rotations, colour and stain.

They take and give images of 0 to 255, (batch, height, width, 3), red first, float32. Outside of training they do
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from permgrad.backend import keras
from permgrad.errors import PermGradError

ops = keras.ops
WHITE = 255.0
STAINS = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78))
"""Optical density of haematoxylin, eosin and DAB in red, green and blue (Ruifrok & Johnston, 2001)."""


@dataclass(frozen=True)
class Augmentation:
    """Random changes of patches, independent for each patch and each time that it is seen.

    Attributes
    ----------
    flips : bool
        Mirror left to right and top to bottom, each with probability 1/2.
    rotation : float
        Largest angle, in degrees, in both directions; the image is mirrored at its edges.
    brightness : float
        Largest value that is added or subtracted, as a share of 255.
    contrast : float
        Distances from each channel's mean are multiplied by at most 1 ± this.
    saturation : float
        Saturation is multiplied by at most 1 ± this.
    hue : float
        Largest shift, as a share of the colour circle; at most a half.
    stain : float
        See `StainJitter`; 0 leaves it as it is.

    Examples
    --------
    >>> pg.Augmentation(flips=True, rotation=0).flips
    True
    """

    flips: bool = True
    rotation: float = 90.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    stain: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.rotation <= 180:
            raise PermGradError(f"rotation must be between 0 and 180 degrees, got {self.rotation}")
        for name in ("brightness", "contrast", "saturation", "hue", "stain"):
            if not 0 <= getattr(self, name) < 1:
                raise PermGradError(f"{name} must be at least 0 and below 1, got {getattr(self, name)}")
        if self.hue > 0.5:
            raise PermGradError(f"hue must be at most 0.5, half of the colour circle, got {self.hue}")

    def layers(self, random_state: int = 0) -> list[Any]:
        """Return the layers, in order; each has its own generator, seeded by `random_state`.

        Examples
        --------
        >>> [type(layer).__name__ for layer in pg.Augmentation(rotation=0, stain=0.05).layers()]
        ['RandomFlip', 'RandomFlip', 'StainJitter']
        """
        seeds = iter(np.random.default_rng(random_state).integers(2**31, size=8).tolist())
        values = {"value_range": (0, 255), "dtype": "float32"}
        layers = keras.layers
        made: list[Any] = []
        if self.flips:  # two layers: Keras's "horizontal_and_vertical" tosses one coin for both
            made += [layers.RandomFlip(way, seed=next(seeds), dtype="float32") for way in ("horizontal", "vertical")]
        if self.rotation:
            share = self.rotation / 360
            made.append(layers.RandomRotation(share, fill_mode="reflect", seed=next(seeds), dtype="float32"))
        if self.stain:
            made.append(StainJitter(self.stain, random_state=next(seeds)))
        if self.brightness:
            made.append(layers.RandomBrightness(self.brightness, seed=next(seeds), **values))
        if self.contrast:  # of a single number, Keras only takes the way up
            both = (self.contrast, self.contrast)
            made.append(layers.RandomContrast(both, seed=next(seeds), **values))
        if self.saturation:  # Keras multiplies by x / (1 - x)
            around = tuple(f / (1 + f) for f in (1 - self.saturation, 1 + self.saturation))
            made.append(InRangeSaturation(around, seed=next(seeds), **values))
        if self.hue:
            made.append(layers.RandomHue(2 * self.hue, seed=next(seeds), **values))  # of half the circle
        return made


@keras.saving.register_keras_serializable("permgrad")
class InRangeSaturation(keras.layers.RandomSaturation):
    """Keras's `RandomSaturation`, whose values leave 0 to 255 where a colour is saturated already, cut off there."""

    def transform_images(self, images: Any, transformation: Any = None, training: bool = True) -> Any:
        """Change a batch."""
        return ops.clip(super().transform_images(images, transformation, training), *self.value_range)


@keras.saving.register_keras_serializable("permgrad")
class StainJitter(keras.layers.Layer):
    """Vary the stains of each patch in training: haematoxylin, eosin and the rest.

    An image of 0 to 255 becomes optical density, ``-log((x + 1) / 256)``, and that amounts of three stains. Each
    amount c becomes ``a * c + b``, with a uniform in ``1 ± strength`` and b uniform in ``± strength``, drawn for each
    patch and stain; then the way back, cut off at 0 and 255.

    Parameters
    ----------
    strength : float
        Between 0 and 1; the paper calls 0.05 light.
    random_state : int

    References
    ----------
    Tellez et al., Whole-Slide Mitosis Detection in H&E Breast Histology Using PHH3 as a Reference, IEEE TMI 37 (2018);
    the stains are those of Ruifrok & Johnston, Anal. Quant. Cytol. Histol. 23 (2001), each of length 1.

    Examples
    --------
    >>> jitter = pg.StainJitter(strength=0.05)
    >>> tuple(jitter(np.full((2, 4, 4, 3), 128.0), training=True).shape)
    (2, 4, 4, 3)
    """

    def __init__(self, strength: float = 0.05, random_state: int = 0, **keywords: Any) -> None:
        super().__init__(**{"dtype": "float32", **keywords})
        if not 0 < strength < 1:
            raise PermGradError(f"strength must be between 0 and 1, got {strength}")
        self.strength, self.random_state = float(strength), int(random_state)
        self.generator = keras.random.SeedGenerator(self.random_state)
        stains = np.array(STAINS)
        self.stains = (stains / np.linalg.norm(stains, axis=1, keepdims=True)).astype(np.float32)  # (stain, channel)
        self.amounts = np.linalg.inv(self.stains).astype(np.float32)  # (channel, stain)

    def call(self, images: Any, training: bool = False) -> Any:
        """Change a batch, in training."""
        if not training:
            return images
        drawn = (ops.shape(images)[0], 1, 1, 3)
        low, high = -self.strength, self.strength
        scale = 1 + keras.random.uniform(drawn, low, high, seed=self.generator)
        shift = keras.random.uniform(drawn, low, high, seed=self.generator)
        return self.restain(images, scale, shift)

    def restain(self, images: Any, scale: Any, shift: Any) -> Any:
        """Scale and shift the amount of each stain, of shapes that broadcast with (batch, height, width, 3).

        Examples
        --------
        >>> pixels = np.full((1, 2, 2, 3), 128.0, np.float32)
        >>> restained = np.asarray(pg.StainJitter().restain(pixels, 1.0, 0.0))
        >>> bool(np.allclose(restained, pixels, atol=0.01))
        True
        """
        density = -ops.log((images + 1) / (WHITE + 1))  # (batch, height, width, channel)
        amounts = ops.matmul(density, self.amounts) * scale + shift  # (batch, height, width, stain)
        restained = (WHITE + 1) * ops.exp(-ops.matmul(amounts, self.stains)) - 1
        return ops.clip(restained, 0, WHITE)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape that came."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return strength and seed."""
        return {**super().get_config(), "strength": self.strength, "random_state": self.random_state}
