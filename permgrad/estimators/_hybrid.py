"""What both hybrid estimators do: settings of a preset, the layout, screening, and the network of one training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from permgrad.backend import Devices, free_memory
from permgrad.errors import PermGradError, listing
from permgrad.estimators._screening import relevant_features, worth_screening
from permgrad.estimators._table import TableEstimator
from permgrad.estimators.presets import MOST_INPUTS, PRESETS, batch_size_for, patience_for
from permgrad.images.layout import FeatureLayout, compact_size, fit_layout, image_size
from permgrad.models.hybrid import Branch, HybridConfig, adapt, build_hybrid
from permgrad.training.config import TrainingConfig, choose_precision
from permgrad.training.fit import Rows

SIZES = {"compact": compact_size, "wide": image_size}


@dataclass(kw_only=True, repr=False, eq=False)
class HybridEstimator(TableEstimator):
    """What classifier and regressor share: the settings (`HybridClassifier` describes them), and the network.

    Attributes
    ----------
    layout_ : FeatureLayout or None
        Each encoded column's pixel; None without an image branch.
    """

    preset: str = "default"
    branches: tuple[Branch, ...] | Branch = ("tabular", "image")
    layout: str = "tinto"
    image_size: int | Literal["compact", "wide"] | None = None
    unique: bool = True
    scaling: str | None = None
    embedding: str | None = None
    embedding_size: int | None = None
    ensemble_size: int | None = None
    dense_units: tuple[int, ...] | None = None
    image_network: Literal["cnn", "vit"] | None = None
    n_conv_layers: int | None = None
    downsampling: Literal["max_pool", "stride"] | None = None
    base_filters: int | None = None
    head_units: tuple[int, ...] | None = None
    dropout: float | None = None
    batch_norm: bool | None = None
    gated_image: bool | None = None
    zero_output: bool | None = None
    calibrated: bool | None = None
    screening: bool | None = None
    n_networks: int | None = None
    learning_rate: float | None = None
    schedule: Literal["one_cycle", "cosine", "constant"] | None = None
    optimizer: Literal["adam", "adamw"] | None = None
    weight_decay: float | None = None
    batch_size: int | Literal["auto"] | None = None
    epochs: int | None = None
    patience: int | Literal["auto"] | None = None
    validation_fraction: float = 0.2
    precision: str = "auto"
    random_state: int | np.random.RandomState | None = 0
    verbose: bool = False
    n_jobs: int | None = None
    devices: Devices = None

    def settings(self) -> dict[str, Any]:
        """Return the settings that the preset decides; settings that were given replace the preset's.

        Raises
        ------
        PermGradError
            If there is no such preset.

        Examples
        --------
        >>> pg.HybridClassifier(preset="fast", dropout=0.2).settings()["dropout"]
        0.2
        """
        if self.preset not in PRESETS:
            raise PermGradError(f"preset must be one of {listing(PRESETS)}, got {self.preset!r}")
        settings = {**PRESETS[self.preset], **self._given()}
        if isinstance(settings["epochs"], Mapping):
            settings["epochs"] = settings["epochs"][self._task]
        return settings

    def all_settings(self) -> dict[str, Any]:
        """Return all settings: those of `get_params`, with the preset's values in place of None.

        Examples
        --------
        >>> settings = pg.HybridClassifier(preset="fast").all_settings()
        >>> settings["layout"], settings["epochs"]
        ('tinto', 60)
        """
        return {**self.get_params(), **self.settings()}

    def description(self) -> str:
        """Return the preset, and the settings that were given instead of the preset's, in one line.

        Examples
        --------
        >>> pg.HybridClassifier(preset="fast", dropout=0.2).description()
        'preset fast, but dropout 0.2'
        """
        given = ", ".join(f"{name} {value}" for name, value in self._given().items())
        return f"preset {self.preset}" + (f", but {given}" if given else "")

    def _given(self) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in PRESETS[self.preset]}
        return {name: value for name, value in given.items() if value is not None}

    def state_to_dict(self) -> dict[str, Any]:
        """Return everything that was fitted besides the network, ready for JSON.

        Examples
        --------
        >>> clf.state_to_dict()["layout"]["shape"] == list(clf.layout_.shape)
        True
        """
        return {**super().state_to_dict(), "layout": None if self.layout_ is None else self.layout_.to_dict()}

    def restore_state(self, content: dict[str, Any], networks: list[Any]) -> None:
        """Restore what `state_to_dict` returned, and the networks that were saved with it."""
        super().restore_state(content, networks)
        self.layout_ = None if content["layout"] is None else FeatureLayout.from_dict(content["layout"])

    @property
    def _n_networks(self) -> int:
        return int(self.settings()["n_networks"])

    def _configs(self, n_rows: int, random_state: int) -> tuple[HybridConfig, TrainingConfig]:
        settings = self.settings()
        if settings["n_networks"] < 1:
            raise PermGradError(f"n_networks must be at least 1, got {settings['n_networks']}")
        if settings["batch_size"] == "auto":
            settings["batch_size"] = batch_size_for(n_rows)
        if settings["patience"] == "auto":
            settings["patience"] = patience_for(n_rows, settings["batch_size"])
        shared = {field.name for field in fields(HybridConfig)} & set(settings)
        network = HybridConfig(
            **{name: settings[name] for name in shared - {"dense_units", "head_units"}},
            branches=(self.branches,) if isinstance(self.branches, str) else tuple(self.branches),
            dense_units=tuple(settings["dense_units"]),
            head_units=tuple(settings["head_units"]),
            precision=choose_precision(self.precision),
            random_state=random_state,
        )
        names = ("learning_rate", "schedule", "optimizer", "weight_decay", "batch_size", "epochs", "patience")
        training = TrainingConfig(**{name: settings[name] for name in names}, random_state=random_state)
        return network, training

    def _fit_shared(self, encoded: np.ndarray) -> None:
        self.layout_ = self._fit_layout(encoded) if "image" in self._configs(1, 0)[0].branches else None
        if self.layout_ is not None:
            self._check_memory(self.layout_.shape, len(encoded))

    def _build(self, config: HybridConfig, train: Rows, validation: Rows | None) -> Any:
        encoded, target = train[0], train[1]
        several = ~((encoded == encoded.min(axis=0)) | (encoded == encoded.max(axis=0))).all(axis=0)
        mask, swapped = self._screened(config, train, validation, np.flatnonzero(several).tolist())
        numbers = np.flatnonzero(several if mask is None else several & mask).tolist()
        if self.ensemble_size is None:  # of a table that is wide, fewer networks in one
            fewer = max(1, min(config.ensemble_size, MOST_INPUTS // encoded.shape[1]))
            config = replace(config, ensemble_size=fewer)
        network = build_hybrid(
            config,
            encoded.shape[1],
            layout=self.layout_,
            numbers=numbers,
            mask=mask,
            swapped=swapped,
            task=self._task,
            **self._output_layer(target),
        )
        adapt(network, encoded, self._class_shares(train) if config.zero_output else None)
        return network

    def _screened(
        self, config: HybridConfig, train: Rows, validation: Rows | None, numbers: list[int]
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return which encoded columns the network is to look at, None for all, and bundles to swap, None for none."""
        groups = list(self.encoder_.groups_.values())
        rows = len(train[0])
        if not self.settings()["screening"] or validation is None or not worth_screening(rows, len(groups)):
            return None, None
        owners = np.empty(train[0].shape[1], int)
        for number, columns in enumerate(groups):
            owners[columns] = number
        found = relevant_features(
            train[:2],
            validation[:2],
            owners,
            numbers,
            task=self._task,
            random_state=config.random_state,
            verbose=self.verbose,
        )
        if found is None:
            return None, None
        mask = None if found.relevant.all() else found.relevant[owners]
        return mask, np.where(found.redundant[owners], owners, -1) if found.redundant.any() else None

    def _class_shares(self, train: Rows) -> np.ndarray | None:
        """Return the share of each class among the training rows, as they are weighed; None for regression."""
        return None

    def _fit_layout(self, encoded: np.ndarray) -> FeatureLayout:
        frame = pd.DataFrame(encoded, columns=self.encoder_.get_feature_names_out())
        size = self.settings()["image_size"]
        if isinstance(size, str):
            if size not in SIZES:
                raise PermGradError(f"image_size must be a number, or one of {listing(SIZES)}, got {size!r}")
            size = SIZES[size](encoded.shape[1])
        return fit_layout(frame, self.layout, size, unique=self.unique, random_state=self.random_state_)

    def _check_memory(self, shape: tuple[int, int], n_rows: int) -> None:
        """Raise where a step of training on images of this shape takes more memory than is free."""
        network, training = self._configs(n_rows, 0)
        if network.image_network == "vit":
            return  # of at most 144 tokens, whatever the image's size
        # Of each convolution, what it, BatchNorm and the activation give, with gradients; filters double, sides halve.
        pixels, depth = shape[0] * shape[1], network.n_conv_layers
        activations = 6 * training.batch_size * sum(network.base_filters * pixels / 2**i for i in range(depth))
        # Of the Dense layer on the flattened image: weights, gradients and the optimizer's two moments.
        units = (network.head_units or (1,))[0]
        weights = 4 * units * network.base_filters * 2 ** (depth - 1) * pixels / 4**depth
        needed, free = 4 * (activations + weights), free_memory()
        if needed > free:
            raise PermGradError(
                f"training on images of {shape[0]} × {shape[1]} pixels needs about {needed / 1e9:,.1f} GB of memory,"
                f" {free / 1e9:,.1f} GB are free; choose a smaller image_size, batch_size or base_filters"
            )

    def _output_layer(self, target: np.ndarray) -> dict[str, Any]:
        """Return the number of outputs, and the scale of a target, as `build_hybrid` takes them."""
        raise NotImplementedError
