"""The study's results so far, read from the cached steps: one `DatasetResults` for each data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from permgrad.errors import PermGradError
from permgrad.files import read_json
from studies.hybrid_tables.ensembles import average_by_seed
from studies.hybrid_tables.networks import BySeed, Evaluation
from studies.hybrid_tables.settings import HybridSettings
from studies.kit import Workspace


@dataclass(frozen=True)
class DatasetResults:
    """What is known of one data set; what has not been computed yet is absent.

    Attributes
    ----------
    name : str
    level : float
        Of intervals.
    settings : dict
        What the networks were tuned and trained with.
    facts : dict
        Of the table: task, number of features and rows, ``truth`` of the test rows.
    note : str
        What is missing of the table, if anything.
    baselines : dict of dict
        Name → seed → evaluation.
    tuning : dict of dict
        Network → its tuning; of the run with most trials.
    networks : dict of dict
        Network → seed → evaluation, of its best trial.
    presets : dict of dict
        Preset → seed → evaluation; not tuned.
    ensembles : dict of dict
        Ensemble → seed → evaluation of the mean of its networks' predictions. Only where all of them are there.
    mistakes : dict of dict
        Of the explained network: name → evaluation.
    layouts : dict of dict
        Of the explained network: kind and size → seed → evaluation.
    balanced : dict
        Of the explained network trained with balanced classes: seed → evaluation.
    permgrad : dict or None
        Rankings of the explained network, and what its pictures show.
    """

    name: str
    level: float
    settings: dict[str, Any]
    facts: dict[str, Any]
    note: str
    baselines: dict[str, BySeed]
    tuning: dict[str, dict[str, Any]]
    networks: dict[str, BySeed]
    presets: dict[str, BySeed]
    ensembles: dict[str, BySeed]
    mistakes: dict[str, Evaluation]
    layouts: dict[tuple[str, int], BySeed]
    balanced: BySeed
    permgrad: dict[str, Any] | None

    @property
    def label(self) -> str:
        """The data set's name, with a word where it is not the whole."""
        return f"{self.name} (part)" if self.note else self.name

    @property
    def explained(self) -> str:
        """The network that was ranked."""
        return self.settings["explained"]

    @property
    def trials(self) -> int:
        """Of the explained network's tuning."""
        return self.tuning[self.explained]["trials"]

    @property
    def class_sizes(self) -> dict[str, int]:
        """Training rows of each class where there are more than two; else empty."""
        sizes = self.facts.get("class_sizes", {})
        return sizes if len(sizes) > 2 else {}

    def contenders(self) -> dict[str, dict[str, BySeed]]:
        """Return by their kind the models that are compared with the baselines."""
        return {"network": self.networks, "preset": self.presets, "ensemble": self.ensembles}

    def models(self) -> Iterator[tuple[str, str, BySeed]]:
        """Yield kind, name and evaluations of all that is compared."""
        kinds = {"baseline": self.baselines, **self.contenders()}
        for kind, models in kinds.items():
            for name, by_seed in models.items():
                yield kind, name, by_seed


Results = Sequence[DatasetResults]


def read_results(workspace: Workspace, order: Sequence[str], settings: HybridSettings) -> list[DatasetResults]:
    """Read every data set's cached steps, those of `order` first.

    Raises
    ------
    PermGradError
        If there are none, or one is damaged.
    """
    present = [path.parents[1].name for path in workspace.out.glob("*/steps/study.json")]
    names = [name for name in order if name in present] + sorted(set(present) - set(order))
    if not names:
        raise PermGradError(f"there are no results in {workspace.out} yet")
    return [_Steps(workspace.below(name)).read(name, settings) for name in names]


class _Steps:
    """Cached steps of one data set."""

    def __init__(self, workspace: Workspace) -> None:
        self.directory, self.kind = workspace.out / "steps", workspace.kind

    def read(self, name: str, settings: HybridSettings) -> DatasetResults:
        study, tunings = self._json(self.directory / "study.json"), self._tunings()
        explained = tunings.get(study["settings"]["explained"], self.directory / "none").parent
        networks = {name: by_seed for name, path in tunings.items() if (by_seed := self._by_seed(path.parent))}
        permgrad = explained / "permgrad.json"
        return DatasetResults(
            name=name,
            level=settings.level,
            settings=study["settings"],
            facts=study["facts"],
            note=study["note"],
            baselines=self._by_name("baselines"),
            tuning={name: self._json(path) for name, path in tunings.items()},
            networks=networks,
            presets=self._by_name("presets"),
            ensembles={
                name: by_seed
                for name, averaged in settings.ensembles.items()
                if set(averaged) <= set(networks)
                and (by_seed := average_by_seed(study["facts"], [networks[network] for network in averaged]))
            },
            mistakes={path.stem: self._json(path) for path in sorted(explained.glob("mistakes/*.json"))},
            layouts=dict(sorted(self._layouts(explained))),
            balanced=self._by_seed(explained, "balanced"),
            permgrad=self._json(permgrad) if permgrad.is_file() else None,
        )

    def _json(self, path: Path) -> dict[str, Any]:
        return read_json(path, kind=self.kind)

    def _tunings(self) -> dict[str, Path]:
        """Return the file of each network's tuning; of several, the one with most trials."""
        paths = sorted(self.directory.glob("networks/*/trial_*/tuning_*.json"), key=lambda path: path.stem)
        return dict(sorted({path.parents[1].name: path for path in paths}.items()))

    def _by_name(self, kind: str) -> dict[str, BySeed]:
        paths = sorted(self.directory.glob(f"{kind}/*"))
        return {path.name: by_seed for path in paths if (by_seed := self._by_seed(path))}

    def _by_seed(self, directory: Path, prefix: str = "seed") -> BySeed:
        paths = {int(path.stem.rpartition("_")[2]): path for path in directory.glob(f"{prefix}_*.json")}
        return {seed: self._json(paths[seed]) for seed in sorted(paths)}

    def _layouts(self, explained: Path) -> Iterator[tuple[tuple[str, int], BySeed]]:
        for path in explained.glob("layouts/*"):
            kind, _, size = path.name.rpartition(" ")
            yield (kind, int(size)), self._by_seed(path)
