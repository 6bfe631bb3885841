"""Settings of the study; ``study.yaml`` has their values."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from permgrad.estimators.presets import PRESETS
from studies.hybrid_tables.baselines import BASELINES
from studies.hybrid_tables.mistakes import TRAININGS
from studies.kit import Settings

PUBLISHED_SPACES = ("hybrid", "mlp", "cnn")
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(pattern=r"^\w[\w ,.+-]*$")]
"""Of a network or a layout; files are called by it."""


class Network(Settings):
    """A search space of `permgrad.tune`, settings that all its trials share, and what else is its own."""

    space: str
    ranges: dict[str, tuple[Any, ...]] = Field(default_factory=dict)
    settings: dict[str, Any]
    trials: Count | None = None
    pruner: str | None = None


class Epochs(Settings):
    """At most."""

    regression: Count
    classification: Count


class Tuning(Settings):
    """See `permgrad.tune`."""

    trials: Count
    epochs: Epochs
    sampler: str
    pruner: str
    random_state: Seed


class Layout(Settings):
    """See `permgrad.fit_layout`."""

    layout: str
    unique: bool


class Layouts(Settings):
    """Each kind in each size."""

    kinds: dict[Name, Layout]
    sizes: tuple[Count, ...]
    seeds: Count


class HybridSettings(Settings):
    """All settings."""

    split_random_state: Seed
    rows: Annotated[int, Field(ge=100)] | None
    first_seed: Seed
    seeds: Count
    networks: dict[Name, Network]
    presets: tuple[str, ...]
    ensembles: dict[Name, Annotated[tuple[str, ...], Field(min_length=2)]]
    tuning: Tuning
    baselines: tuple[str, ...]
    explained: str
    permgrad_repeats: Count
    mistakes: tuple[str, ...]
    layouts: Layouts
    level: Annotated[float, Field(gt=0, lt=1)]

    @field_validator("baselines")
    @classmethod
    def _baselines_are_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(set(names) - set(BASELINES))
        if unknown:
            raise ValueError(f"there is no baseline {unknown[0]!r}; there are {', '.join(BASELINES)}")
        return names

    @field_validator("presets")
    @classmethod
    def _presets_are_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(set(names) - set(PRESETS))
        if unknown:
            raise ValueError(f"there is no preset {unknown[0]!r}; there are {', '.join(PRESETS)}")
        return names

    @field_validator("mistakes")
    @classmethod
    def _mistakes_can_be_made(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(set(names) - set(TRAININGS["regression"]))
        if unknown:
            raise ValueError(f"there is no {unknown[0]!r}; there are {', '.join(TRAININGS['regression'])}")
        return names

    @model_validator(mode="after")
    def _explains_a_network(self) -> HybridSettings:
        if self.explained not in self.networks:
            raise ValueError(f"explained must be one of networks, {', '.join(self.networks)}")
        return self

    @model_validator(mode="after")
    def _names_models_once(self) -> HybridSettings:
        for name in self.presets:
            if name in self.networks:
                raise ValueError(f"networks.{name}: there is a preset of that name")
        return self

    @model_validator(mode="after")
    def _averages_networks(self) -> HybridSettings:
        for name, averaged in self.ensembles.items():
            unknown = sorted(set(averaged) - set(self.networks))
            if unknown:
                raise ValueError(f"ensembles.{name}: there is no network {unknown[0]!r}")
            if name in self.networks or name in self.presets:
                raise ValueError(f"ensembles.{name}: there is a network or a preset of that name")
        return self

    @property
    def all_seeds(self) -> range:
        """Seeds of the repeated trainings."""
        return range(self.first_seed, self.first_seed + self.seeds)

    @property
    def layout_seeds(self) -> range:
        """Seeds of the trainings with other layouts."""
        return range(self.first_seed, self.first_seed + self.layouts.seeds)

    @property
    def contenders(self) -> list[str]:
        """Networks beyond the published ones, presets and ensembles: what is to reach the best baseline."""
        beyond = [name for name, network in self.networks.items() if network.space not in PUBLISHED_SPACES]
        return [*beyond, *self.presets, *self.ensembles]
