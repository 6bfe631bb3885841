"""Stain normalisation of pathology patches, as a Keras layer: it maps one laboratory's colours to another's."""

from __future__ import annotations

from typing import Any

import numpy as np

from permgrad.backend import keras
from permgrad.errors import PermGradError

ops = keras.ops
TO_CONES = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
"""Red, green, blue in [0, 1] → responses of the eye's cones (Reinhard et al., 2001, equation 4)."""
FROM_CONES = np.linalg.inv(TO_CONES)
TO_OPPONENT = np.diag([3**-0.5, 6**-0.5, 2**-0.5]) @ np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]])
"""Logarithms of these → lightness, yellow-blue and red-green: l, α and β (equation 6)."""
FROM_OPPONENT = np.linalg.inv(TO_OPPONENT)
DARKEST = 1 / 255
"""Red, green and blue are raised to at least this value before the logarithm."""
TISSUE_DENSITY = 0.15
"""A pixel counts as stained tissue from this mean optical density of red, green and blue on (natural logarithm)."""
SMALLEST_SPREAD = 1e-4
LEAST_TISSUE = 0.01
"""A patch with a smaller share of tissue is left as it is."""
MEAN, SPREAD = (-0.59, 0.028, 0.035), (0.24, 0.042, 0.018)
"""Of l, α and β in tissue stained with haematoxylin and eosin: a pink and purple patch. `ReinhardNormalization.like`
takes those of given patches."""


@keras.saving.register_keras_serializable("permgrad")
class ReinhardNormalization(keras.layers.Layer):
    """Give the tissue of each patch the mean colour and the spread of colours of a reference.

    Pixels from 0 to 255 are converted to Reinhard's l, α and β, which are nearly uncorrelated in natural images. There,
    each channel is shifted and scaled so that its mean and standard deviation over the patch's tissue are the
    reference's. Glass is left as it is. The result is converted back and clipped to 0 and 255. The layer does the same
    in training and inference: put it before augmentation.

    Parameters
    ----------
    mean, spread : sequence of 3 float
        Mean and standard deviation of l, α and β over tissue; see `like`.

    Notes
    -----
    The statistics are those of each patch, so a patch of nothing but lymphocytes is made as pink as its reference. For
    whole slides, use a reference and patches of mixed tissue.

    References
    ----------
    Reinhard, Ashikhmin, Gooch & Shirley, Color Transfer between Images, IEEE Computer Graphics and Applications 21
    (2001).

    Examples
    --------
    >>> stain = pg.ReinhardNormalization()
    >>> tuple(stain(np.full((2, 4, 4, 3), 128.0, np.float32)).shape)
    (2, 4, 4, 3)
    """

    def __init__(self, mean: Any = MEAN, spread: Any = SPREAD, **keywords: Any) -> None:
        super().__init__(**{"dtype": "float32", **keywords})
        self.mean, self.spread = (tuple(float(value) for value in each) for each in (mean, spread))
        if len(self.mean) != 3 or len(self.spread) != 3 or not min(self.spread) > 0:
            raise PermGradError(f"mean and spread must be 3 numbers each, with spread above 0, got {mean} and {spread}")

    @classmethod
    def like(cls, images: np.ndarray, **keywords: Any) -> ReinhardNormalization:
        """Return a layer whose reference is the tissue of some patches, taken together.

        Parameters
        ----------
        images : ndarray of shape (n, height, width, 3)
            Pixels from 0 to 255, red first: of the training patches, or of one laboratory.

        Raises
        ------
        PermGradError
            If the patches hold hardly any tissue.

        Examples
        --------
        >>> stain = pg.ReinhardNormalization.like(patches.pixels([0, 1, 2]))
        >>> tuple(stain(patches.pixels([3]).astype(np.float32)).shape)
        (1, 32, 32, 3)
        """
        pixels = np.asarray(images, np.float32).reshape(1, -1, 1, 3)
        layer = cls(**keywords)
        opponent, tissue = layer._opponent(ops.convert_to_tensor(pixels))
        if float(ops.mean(tissue)) < LEAST_TISSUE:
            raise PermGradError("the reference patches are nearly all glass; choose patches with tissue")
        mean, spread = (ops.convert_to_numpy(each).ravel().tolist() for each in _moments(opponent, tissue))
        return cls(mean, spread, **keywords)

    def call(self, images: Any) -> Any:
        """Normalise a batch, (batch, height, width, 3)."""
        images = ops.cast(images, "float32")
        opponent, tissue = self._opponent(images)
        mean, spread = _moments(opponent, tissue)
        moved = (opponent - mean) / spread * np.array(self.spread, np.float32) + np.array(self.mean, np.float32)
        cones = ops.exp(ops.matmul(moved, FROM_OPPONENT.T.astype(np.float32)))
        normalised = 255 * ops.clip(ops.matmul(cones, FROM_CONES.T.astype(np.float32)), 0.0, 1.0)
        enough = ops.mean(tissue, axis=(1, 2, 3), keepdims=True) >= LEAST_TISSUE
        return ops.where(ops.logical_and(tissue > 0, enough), normalised, images)

    def _opponent(self, images: Any) -> tuple[Any, Any]:
        """Return l, α and β, (batch, height, width, 3), and 1 for tissue, 0 for glass, (batch, height, width, 1)."""
        shares = images / 255
        cones = ops.matmul(ops.maximum(shares, DARKEST), TO_CONES.T.astype(np.float32))
        opponent = ops.matmul(ops.log(cones), TO_OPPONENT.T.astype(np.float32))
        density = ops.mean(-ops.log((images + 1) / 256), axis=-1, keepdims=True)
        return opponent, ops.cast(density >= TISSUE_DENSITY, "float32")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the settings."""
        return {**super().get_config(), "mean": self.mean, "spread": self.spread}


def _moments(values: Any, weight: Any) -> tuple[Any, Any]:
    """Return mean and standard deviation of each channel over the pixels that count, (batch, 1, 1, 3)."""
    total = ops.maximum(ops.sum(weight, axis=(1, 2), keepdims=True), 1.0)
    mean = ops.sum(values * weight, axis=(1, 2), keepdims=True) / total
    variance = ops.sum(ops.square(values - mean) * weight, axis=(1, 2), keepdims=True) / total
    return mean, ops.maximum(ops.sqrt(ops.maximum(variance, 0.0)), SMALLEST_SPREAD)
