"""How one network is trained: the baseline, or the baseline with changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

import permgrad as pg
from permgrad.patches.training import PatchTraining
from studies.kit import Settings
from studies.kit.settings import Count, NotNegative, Positive

Fraction = Annotated[float, Field(ge=0, lt=1)]
Schedule = Literal["constant", "cosine", "one_cycle"]
Changes = dict[str, Any]
"""Settings of a `Recipe` by name; of augmentation, only what is changed."""


class Changed(Settings):
    """See `permgrad.Augmentation`."""

    flips: bool
    rotation: Annotated[float, Field(ge=0, le=180)]
    brightness: Fraction
    contrast: Fraction
    saturation: Fraction
    hue: Fraction
    stain: Fraction


class Recipe(Settings):
    """A network and its training; see `permgrad.backbone_classifier` and `permgrad.PatchTraining`."""

    backbone: str
    weights: str
    image_size: Annotated[int, Field(ge=32)] | None
    dropout: Fraction
    augmentation: Changed
    normalised_stain: bool
    epochs: Count
    batch_size: Count
    learning_rate: Positive
    weight_decay: NotNegative
    schedule: Schedule
    positive_weight: bool
    sampling: Literal["plain", "balanced"]
    unfreezing: Literal["free", "frozen", "gradual"]

    def but(self, changes: Mapping[str, Any]) -> Recipe:
        """Return this recipe with changes."""
        content = self.model_dump()
        changed = changes.get("augmentation", {})
        if not isinstance(changed, Mapping):
            raise ValueError(f"augmentation: expected what is changed of it, such as {{stain: 0.05}}, got {changed!r}")
        augmentation = {**content["augmentation"], **changed}
        try:
            recipe = Recipe.model_validate_json(json.dumps({**content, **changes, "augmentation": augmentation}))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}, got {first['input']!r}") from error
        if recipe.unfreezing == "gradual" and recipe.epochs < 2:
            raise ValueError("gradual unfreezing needs at least 2 epochs")
        return recipe

    def network(self, patch_shape: tuple[int, int, int], precision: str, random_state: int) -> Any:
        """Build the network."""
        return pg.backbone_classifier(
            self.backbone,
            weights=self.weights,
            patch_shape=patch_shape,
            image_size=self.image_size,
            dropout=self.dropout,
            augmentation=pg.Augmentation(**self.augmentation.model_dump()),
            stain=pg.ReinhardNormalization() if self.normalised_stain else None,
            precision=precision,
            random_state=random_state,
        )

    def training(self, workers: int | None, random_state: int) -> PatchTraining:
        """Return how it is trained; the last epoch's weights are kept, so that no validation patch has a say."""
        return PatchTraining(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            schedule=self.schedule,
            positive_weight="balanced" if self.positive_weight else None,
            sampling=self.sampling,
            unfreezing=self.unfreezing,
            workers=workers,
            random_state=random_state,
        )

    def key(self, *more: Any) -> str:
        """Return a short hash of the recipe and what else a result depends on."""
        content = json.dumps([self.model_dump(mode="json"), *more], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:12]
