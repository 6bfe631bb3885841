"""Settings of the gene-panel study; their values stand in study.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from studies.kit import Settings
from studies.kit.settings import Count, NotNegative, Positive, Seed
from studies.selector_mlp.conditions import CONDITIONS, REFEREE, SPARSE, SVMS

FAST = (
    "genes=200",
    "generated.n_cells=1000",
    "generated.n_genes=250",
    "generated.n_classes=4",
    "generated.n_markers=16",
    "generated.program_size=20",
    "conditions=[MLP, selector L1, stochastic, narrowing]",
    "split.caps=[150, 50, 100]",
    "network.hidden_units=[64, 32]",
    "network.batch_size=32",
    "network.learning_rate=1e-2",
    "network.epochs=15",
    "network.alpha=0.03",
    "beyond.narrowing_epochs=8",
    "beyond.sizes=[100, 50, 20, 10]",
    "beyond.epochs_per_size=2",
    "trainings.n=2",
    "masking={step: 20, random_orders: 2}",
    "crop={sizes: [20], step: 5, rankings: [MLP, selector L1, stochastic, narrowing, SVM L1]}",
    "curve=[10]",
    "panels={size: 20, trainings: 3, conditions: [stochastic]}",
)


class Source(Settings):
    """One data set."""

    file: str
    target: str


class Generated(Settings):
    """See `permgrad.toy.single_cells`."""

    n_cells: Count
    n_genes: Count
    n_classes: Count
    n_markers: Count
    n_programs: Annotated[int, Field(ge=0)]
    program_size: Count
    fold: Positive
    random_state: Seed


class Split(Settings):
    """Cells of one class in each part, at most."""

    caps: tuple[Count, Count, Count]
    random_state: Seed


class Network(Settings):
    """All networks and their training; see `permgrad.SelectorClassifier`."""

    hidden_units: tuple[Count, ...]
    alpha: NotNegative
    noise: NotNegative
    dropout: NotNegative
    learning_rate: Positive
    weight_decay: NotNegative
    batch_size: Count
    epochs: Count
    steps: Count | None
    precision: str


class Beyond(Settings):
    """What stochastic gates and the path have of their own."""

    stochastic_alpha: NotNegative
    narrowing_alpha: NotNegative
    narrowing_epochs: Count
    epochs_per_size: Count
    sizes: tuple[Count, ...]


class Svm(Settings):
    """Both linear SVMs."""

    C: Positive


class Trainings(Settings):
    """How often each network is trained."""

    n: Annotated[int, Field(ge=2)]
    first_seed: Seed


class Masking(Settings):
    """Of the curves over all genes."""

    step: Count
    random_orders: Annotated[int, Field(ge=2)]


class Crop(Settings):
    """Panels on which every ranking's network is trained anew."""

    sizes: Annotated[tuple[Count, ...], Field(min_length=1)]
    step: Count
    rankings: Annotated[tuple[str, ...], Field(min_length=2)]


class Panels(Settings):
    """Panels over reseeded trainings."""

    size: Count
    trainings: Annotated[int, Field(ge=2)]
    conditions: Annotated[tuple[str, ...], Field(min_length=1)]


class PanelSettings(Settings):
    """All settings."""

    datasets: dict[str, Source]
    genes: Count
    conditions: tuple[str, ...]
    generated: Generated
    split: Split
    network: Network
    beyond: Beyond
    svm: Svm
    trainings: Trainings
    masking: Masking
    crop: Crop
    curve: tuple[Count, ...]
    panels: Panels

    @model_validator(mode="after")
    def _names_are_known(self) -> PanelSettings:
        unknown = sorted({*self.conditions} - {*CONDITIONS})
        if unknown:
            raise ValueError(f"there is no {unknown[0]!r} among {', '.join(CONDITIONS)}")
        if not {*self.crop.rankings} <= {*self.conditions, *SVMS}:
            raise ValueError(f"crop.rankings must be among conditions, or {', '.join(SVMS)}")
        if not {*self.panels.conditions} <= {*self.conditions}:
            raise ValueError("panels.conditions must be among conditions")
        if not self.sparse:
            raise ValueError(f"conditions must hold one of {', '.join(SPARSE)}")
        if REFEREE not in self.conditions or REFEREE not in self.crop.rankings:
            raise ValueError(f"conditions and crop.rankings must hold {REFEREE!r}, which others are held to")
        return self

    @property
    def rankings(self) -> tuple[str, ...]:
        """All rankings: of networks, and of linear SVMs."""
        return (*self.conditions, *SVMS)

    @property
    def sparse(self) -> list[str]:
        """Conditions that are compared at every size of a panel."""
        return [condition for condition in SPARSE if condition in self.conditions]

    @property
    def panel_sizes(self) -> list[int]:
        """Sizes at which the sparse conditions are compared."""
        return sorted({*self.curve, *self.crop.sizes})

    @property
    def seeds(self) -> range:
        """Seeds of the trainings that are compared."""
        return self._from_first(self.trainings.n)

    @property
    def panel_seeds(self) -> range:
        """Seeds of the trainings that panels are chosen by."""
        return self._from_first(self.panels.trainings)

    def _from_first(self, n: int) -> range:
        return range(self.trainings.first_seed, self.trainings.first_seed + n)

    def masking_counts(self, n_genes: int) -> list[int]:
        """Return how many genes are kept on masking curves over all: every step, and each size of a path."""
        sizes = (size for size in self.beyond.sizes if size < n_genes)
        return sorted({*range(0, n_genes, self.masking.step), *sizes, n_genes})

    def masked_sizes(self) -> list[int]:
        """Return the panel sizes at which masking curves have a point."""
        return [k for k in self.crop.sizes if k % self.masking.step == 0 or k in self.beyond.sizes]
