"""Networks for images by name, without their heads: Keras's applications, KerasHub's ResNet18, and a small one.

Each is rebuilt from the layers that its library makes, so that seeds, precision and the pace of BatchNorm are the
caller's.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from permgrad.backend import keras
from permgrad.errors import FileFormatError, PermGradError, listing, reading
from permgrad.models.hybrid import BATCH_NORM_MOMENTUM

SMALL_CNN = "SmallCNN"
FILTERS = (24, 48, 96)
"""Of the small network's convolutions."""
HUB = {"ResNet18": "resnet_18_imagenet"}
"""Name → preset of KerasHub."""
RESNET18 = {
    "input_conv_filters": [64],
    "input_conv_kernel_sizes": [7],
    "stackwise_num_filters": [64, 128, 256, 512],
    "stackwise_num_blocks": [2, 2, 2, 2],
    "stackwise_num_strides": [1, 2, 2, 2],
    "block_type": "basic_block",
    "use_pre_activation": False,
}
"""He et al., Deep Residual Learning, CVPR (2016), table 1: what the preset's configuration says, for random weights."""
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
"""Of ImageNet's pixels in [0, 1]; red, green, blue."""
BLUE_MEAN = (103.939, 116.779, 123.68)
"""Of ImageNet's pixels in [0, 255]; blue, green, red."""
SCALINGS = {
    "convnext": "inside",
    "densenet": "standard",
    "efficientnet": "standard",
    "efficientnet_v2": "inside",
    "inception_resnet_v2": "symmetric",
    "inception_v3": "symmetric",
    "mobilenet": "symmetric",
    "mobilenet_v2": "symmetric",
    "mobilenet_v3": "inside",
    "nasnet": "symmetric",
    "resnet": "blue_first",
    "resnet_v2": "symmetric",
    "vgg16": "blue_first",
    "vgg19": "blue_first",
    "xception": "symmetric",
}
"""Module of `keras.applications` → how its weights expect their input, see `scale_input`."""


def backbone_names() -> list[str]:
    """Return all names that `make_backbone` knows."""
    return [SMALL_CNN, *HUB, *_applications()]


def make_backbone(
    name: str,
    weights: str | Path,
    image_shape: tuple[int, int, int],
    *,
    precision: str = "float32",
    random_state: int = 0,
) -> Any:
    """Build a network for images without its head.

    Parameters
    ----------
    name : str
        Of `keras.applications`, such as "EfficientNetB0"; "ResNet18", which needs KerasHub; or "SmallCNN".
    weights : str or path
        "imagenet" (from Keras's or KerasHub's cache, downloaded into it once), "random", or a weight file.
    image_shape : (int, int, int)
        Height, width and 3 channels.
    precision : str
        Keras dtype policy.
    random_state : int
        Of random weights, and of what the network does at random in training.

    Returns
    -------
    keras.Model
        Images as `scale_input` gives them, (batch, height, width, 3) → feature maps (batch, h, w, channels).
        BatchNorm's means move by a tenth with each batch, as PyTorch has it; some of Keras's move by a hundredth, which
        in a training of a few dozen batches leaves them near where they began.

    Raises
    ------
    PermGradError
        For an unknown name, a missing package, weights that are neither at hand nor to be had, or a file that does not
        fit.
    """
    if name not in backbone_names():
        raise PermGradError(f"no backbone {name!r}; there are {listing(backbone_names(), 99)}")
    if weights != "imagenet" and weights != "random" and not Path(weights).is_file():
        raise PermGradError(f"weights must be 'imagenet', 'random' or a weight file; there is no file {weights}")
    source = _source(name, weights == "imagenet", image_shape)
    fresh = keras.models.clone_model(
        source, clone_function=_Remake(precision, random_state, scaled=_is_scaled_outside(name))
    )
    if weights == "imagenet":
        _copy_weights(source, fresh)
    elif weights != "random":
        _load_file(Path(weights), name, source, fresh)
    return keras.Model(fresh.inputs[0], fresh.outputs[0], name="backbone")


def scale_input(images: Any, name: str) -> Any:
    """Scale pixels as the weights of a backbone expect them.

    Parameters
    ----------
    images : KerasTensor
        (batch, height, width, 3), red first, 0 to 255.
    name : str
        See `make_backbone`.

    Returns
    -------
    KerasTensor
        "inside": as they came, the backbone's first layers scale; "symmetric": to [-1, 1]; "standard": to [0, 1], less
        ImageNet's mean, over its standard deviation; "blue_first": blue first, less ImageNet's mean.
    """
    kind = _scaling(name)
    layers = keras.layers
    if kind == "symmetric":
        return layers.Rescaling(1 / 127.5, -1, dtype="float32", name="scale")(images)
    if kind == "standard":
        return layers.Normalization(mean=255 * MEAN, variance=(255 * STD) ** 2, dtype="float32", name="scale")(images)
    if kind == "blue_first":
        swapped = keras.ops.flip(images, axis=-1)
        return layers.Normalization(mean=BLUE_MEAN, variance=np.ones(3), dtype="float32", name="scale")(swapped)
    return images


def _scaling(name: str) -> str:
    if name == SMALL_CNN:
        return "symmetric"
    return "standard" if name in HUB else SCALINGS[_module(_applications()[name])]


def _is_scaled_outside(name: str) -> bool:
    """Tell whether a backbone that has scaling layers is to lose them.

    EfficientNet's (the first version) are one thing for random weights, another for ImageNet's, and would not fit a
    file: its own "imagenet" network has a layer more, which makes up for a variance that is a standard deviation.
    """
    return name in _applications() and _module(_applications()[name]) == "efficientnet"


def _module(make: Callable[..., Any]) -> str:
    return make.__module__.rpartition(".")[2]


def _applications() -> dict[str, Callable[..., Any]]:
    named = {name: getattr(keras.applications, name) for name in sorted(dir(keras.applications))}
    return {name: make for name, make in named.items() if inspect.isfunction(make) and _module(make) in SCALINGS}


def _source(name: str, pretrained: bool, image_shape: tuple[int, int, int]) -> Any:
    """Build the network as its library does."""
    if name == SMALL_CNN:
        if pretrained:
            raise PermGradError(f"{name} has no pretrained weights; ask for weights='random', or give a file")
        return _small_cnn(image_shape)
    try:
        if name in HUB:
            return _from_hub(name, pretrained, image_shape)
        make = _applications()[name]
        return make(weights="imagenet" if pretrained else None, include_top=False, input_shape=image_shape)
    except PermGradError:
        raise
    except Exception as error:  # downloads fail in as many ways as there are hubs
        if not pretrained or isinstance(error, ValueError):
            with_weights = " with pretrained weights" if pretrained else ""
            raise PermGradError(
                f"{name} cannot be built for images of {image_shape}{with_weights}: {_first_line(error)}"
            ) from error
        raise PermGradError(
            f"the pretrained weights of {name} are neither in the cache nor to be downloaded ({_first_line(error)})."
            " Connect once, so that they are kept; or give a weight file of this network by its path; or ask for"
            " weights='random'"
        ) from error


def _from_hub(name: str, pretrained: bool, image_shape: tuple[int, int, int]) -> Any:
    if find_spec("keras_hub") is None:
        raise PermGradError(f"{name} comes from KerasHub; pip install 'permgrad[hub]', or choose another backbone")
    import keras_hub

    backbone = keras_hub.models.ResNetBackbone
    if pretrained:
        return backbone.from_preset(HUB[name], image_shape=image_shape)
    return backbone(**RESNET18, image_shape=image_shape)


def _small_cnn(image_shape: tuple[int, int, int]) -> Any:
    """Build [Conv → max pooling → BatchNorm → ReLU] three times, for a few hundred patches and no weights.

    The first convolution takes every second pixel, and pooling comes before what is done to each value: else the
    first layer, on 96 × 96 pixels, would take most of the time.
    """
    inputs = x = keras.Input(image_shape)
    for i, filters in enumerate(FILTERS):
        shape = {"kernel_size": 5, "strides": 2} if i == 0 else {"kernel_size": 3}
        x = keras.layers.Conv2D(
            filters, **shape, padding="same", use_bias=False, kernel_initializer="he_normal", name=f"conv_{i}"
        )(x)
        x = keras.layers.MaxPooling2D(name=f"pool_{i}")(x)
        x = keras.layers.BatchNormalization(name=f"norm_{i}")(x)
        x = keras.layers.ReLU(name=f"relu_{i}")(x)
    return keras.Model(inputs, x)


class _Remake:
    """Makes each layer anew from its settings, with seeds, a precision and a momentum of the caller's."""

    def __init__(self, precision: str, random_state: int, *, scaled: bool) -> None:
        self.precision, self.scaled = precision, scaled
        rng = np.random.default_rng(random_state)
        self.seeds: Iterator[int] = iter(lambda: int(rng.integers(2**31)), None)

    def __call__(self, layer: Any) -> Any:
        if not isinstance(layer, keras.layers.Layer):  # an operation, such as the sum of two tensors, has no settings
            return type(layer).from_config(layer.get_config())
        scales = isinstance(layer, (keras.layers.Rescaling, keras.layers.Normalization))
        if scales and self.scaled:
            return keras.layers.Identity(name=layer.name)
        config = self._seeded(layer.get_config())
        config["dtype"] = "float32" if scales else self.precision
        if isinstance(layer, keras.layers.BatchNormalization):
            config["momentum"] = BATCH_NORM_MOMENTUM
        return type(layer).from_config(config)

    def _seeded(self, config: Any) -> Any:
        """Fill in all seeds, those of the initializers too."""
        if isinstance(config, (list, tuple)):
            return type(config)(self._seeded(value) for value in config)
        if not isinstance(config, dict):
            return config
        return {key: next(self.seeds) if key == "seed" else self._seeded(value) for key, value in config.items()}


def _copy_weights(source: Any, fresh: Any) -> None:
    for layer in source.layers:
        if layer.weights and fresh.get_layer(layer.name).weights:  # a scaling layer that was left out has none
            fresh.get_layer(layer.name).set_weights(layer.get_weights())


def _load_file(path: Path, name: str, source: Any, fresh: Any) -> None:
    """Load a file of the library's own network, or of what `make_backbone` returned."""
    what = f"a file of weights of {name} without its head"
    try:
        with reading(path, what):
            _load_whole(source, path)
    except FileFormatError:
        with reading(path, what):
            _load_whole(fresh, path)
    else:
        _copy_weights(source, fresh)


def _load_whole(model: Any, path: Path) -> None:
    with warnings.catch_warnings():
        # Keras only warns where a part of the network is not in the file, and leaves it as it was.
        warnings.simplefilter("error", UserWarning)
        model.load_weights(path)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
