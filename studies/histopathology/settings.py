"""Settings of the histopathology study; their values stand in study.yaml."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from studies.histopathology.recipes import Changes, Fraction, Recipe, Schedule
from studies.kit import Settings
from studies.kit.settings import Count, Positive, Seed

FROM_SCRATCH = (
    "baseline.weights=random",
    "baseline.image_size=null",
    "baseline.learning_rate=1e-3",
    "baseline.epochs=5",
    "grid.changes={backbone: SmallCNN, epochs: 6, batch_size: 32, weight_decay: 1e-3}",
    "grid.learning_rate=[1e-3, 3e-3]",
    "longer.epochs=15",
    "variants.larger inputs={image_size: 128}",
)
"""No pretrained weights, patches at their own size: what about a thousand patches teach, in an hour on two cores."""
FAST = (
    *FROM_SCRATCH,
    "data.at_most=160",
    "baseline.epochs=2",
    "comparison.backbones=[SmallCNN]",
    "grid.changes={backbone: SmallCNN, epochs: 2, batch_size: 32}",
    "grid.dropout=[0.2]",
    "grid.schedule=[cosine]",
    "grid.positive_weight=[false]",
    "longer.epochs=3",
    "variants={balanced sampling: {sampling: balanced}}",
    "small_cnn.epochs=3",
    "folds.n=2",
    "forest_trees=100",
)


class Data(Settings):
    """Where the patches are, and which of them validate."""

    directory: str
    groups: str | None
    at_most: Annotated[int, Field(ge=20)] | None
    strict: bool
    validation: Annotated[float, Field(gt=0, lt=1)]
    random_state: Seed


class Comparison(Settings):
    """The baseline with each of these backbones."""

    backbones: Annotated[tuple[str, ...], Field(min_length=1)]


class Grid(Settings):
    """The baseline with `changes`, and every combination of the lists."""

    changes: Changes
    learning_rate: Annotated[tuple[Positive, ...], Field(min_length=1)]
    dropout: Annotated[tuple[Fraction, ...], Field(min_length=1)]
    schedule: Annotated[tuple[Schedule, ...], Field(min_length=1)]
    positive_weight: Annotated[tuple[bool, ...], Field(min_length=1)]

    @property
    def space(self) -> dict[str, list[Any]]:
        """Name → values."""
        return {name: list(getattr(self, name)) for name in type(self).model_fields if name != "changes"}

    @property
    def first(self) -> dict[str, Any]:
        """The first combination."""
        return {name: values[0] for name, values in self.space.items()}


class Longer(Settings):
    """The grid's best combination, trained for so long."""

    epochs: Count


class Folds(Settings):
    """Cross-validation of all labelled patches."""

    n: Annotated[int, Field(ge=2)]
    random_state: Seed


class PatchSettings(Settings):
    """All settings."""

    data: Data
    baseline: Recipe
    weight_files: dict[str, str]
    precision: Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"]
    random_state: Seed
    workers: Count | None
    comparison: Comparison
    grid: Grid
    longer: Longer
    variants: dict[str, Changes]
    small_cnn: Changes
    folds: Folds
    forest_trees: Count
    shown: Count
    submission_column: str

    @model_validator(mode="after")
    def _every_recipe_is_one(self) -> PatchSettings:
        """Find mistakes before hours of training."""
        makes: dict[str, Callable[[], Any]] = {
            "comparison": lambda: [*map(self.with_backbone, self.comparison.backbones)],
            "grid.changes": lambda: self.longest(self.grid.first),
            "small_cnn": lambda: self.small,
        }
        for name, changes in self.variants.items():
            makes[f"variants.{name}"] = lambda changes=changes: self.longest(self.grid.first, changes)
        for part, make in makes.items():
            try:
                make()
            except ValueError as error:
                raise ValueError(f"{part}: {error}") from error
        return self

    @property
    def small(self) -> Recipe:
        """The small network from random weights."""
        return self.changed(self.small_cnn)

    def with_backbone(self, name: str) -> Recipe:
        """Return the baseline with another backbone."""
        return self.changed({"backbone": name})

    def combination(self, params: dict[str, Any]) -> Recipe:
        """Return the recipe of a combination of the grid."""
        return self.changed({**self.grid.changes, **params})

    def longest(self, params: dict[str, Any], changes: Changes | None = None) -> Recipe:
        """Return that of a combination, trained longer, with changes."""
        return self.changed({**self.grid.changes, **params, "epochs": self.longer.epochs}, changes or {})

    def changed(self, *changes: Changes) -> Recipe:
        """Return the baseline with changes; a weight file takes the place of what would be downloaded."""
        recipe = self.baseline
        for each in changes:
            recipe = recipe.but(each)
        file = self.weight_files.get(recipe.backbone)
        return recipe.but({"weights": file}) if file and recipe.weights == "imagenet" else recipe

    def recipes(self) -> list[Recipe]:
        """Return the recipes of all networks that differ, and one of those that do not."""
        backbones = [self.with_backbone(name) for name in self.comparison.backbones]
        variants = [self.longest(self.grid.first, changes) for changes in self.variants.values()]
        return [*backbones, self.combination(self.grid.first), self.small, *variants]
