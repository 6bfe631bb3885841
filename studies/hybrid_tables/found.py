"""What the study has found so far, read from its directory: one `Found` for each data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from permgrad.errors import PermGradError
from permgrad.files import read_json

from .ensembles import average_by_seed

Unit = dict[str, Any]
BySeed = dict[int, Unit]
Ensembles = Mapping[str, Sequence[str]]
KIND = "permgrad.hybrid_tables"


@dataclass(frozen=True)
class Found:
    """One data set's finished units; what is not done yet is absent.

    Attributes
    ----------
    name : str
    level : float
        Of intervals.
    settings, data : dict
        What the units were made with; the table's facts, its test rows' target among them.
    note : str
        What is missing of the table, if anything.
    baselines : dict of dict
        Name → seed → unit.
    tuning : dict of dict
        Network → what its tuning found; of the run with most trials.
    networks : dict of dict
        Network → seed → unit, of its best trial.
    ensembles : dict of dict
        Ensemble → seed → unit: of the mean of its networks' predictions. Only where all of them are there.
    mistakes, layouts : dict
        Of the explained network: name → unit; kind and size → seed → unit.
    balanced : dict
        Of the explained network trained with balanced classes: seed → unit.
    permgrad : dict or None
    """

    name: str
    level: float
    settings: dict[str, Any]
    data: dict[str, Any]
    note: str
    baselines: dict[str, BySeed]
    tuning: dict[str, Unit]
    networks: dict[str, BySeed]
    ensembles: dict[str, BySeed]
    mistakes: dict[str, Unit]
    layouts: dict[tuple[str, int], BySeed]
    balanced: BySeed
    permgrad: Unit | None

    @property
    def label(self) -> str:
        """The data set's name, with a word where it is not the whole."""
        return f"{self.name} (part)" if self.note else self.name

    @property
    def regression(self) -> bool:
        """Whether a number is predicted."""
        return self.data["task"] == "regression"

    @property
    def explained(self) -> str:
        """The network that was ranked."""
        return self.settings["explained"]

    @property
    def trials(self) -> int:
        """Of the explained network's tuning."""
        return self.tuning[self.explained]["trials"]


def read_found(out: Path, order: tuple[str, ...], level: float, ensembles: Ensembles) -> list[Found]:
    """Read every data set's units below `out`, those of `order` first.

    `ensembles`: name → names of the networks whose predictions are averaged.

    Raises
    ------
    PermGradError
        If there are none, or one is damaged.
    """
    present = [path.parent.name for path in out.glob("*/study.json")]
    names = sorted(present, key=lambda name: (_place(order, name), name))
    if not names:
        raise PermGradError(f"there are no results in {out} yet")
    return [_read(out / name, level, ensembles) for name in names]


def _place(order: tuple[str, ...], name: str) -> int:
    return order.index(name) if name in order else len(order)


def _read(directory: Path, level: float, ensembles: Ensembles) -> Found:
    study = read_json(directory / "study.json", kind=KIND)
    units = directory / "units"
    tuning, places = {}, {}
    for network in sorted(units.glob("networks/*")):
        tunings = sorted(network.glob("trial_*/tuning_*.json"), key=lambda path: path.stem)
        if tunings:  # the one with most trials
            tuning[network.name], places[network.name] = read_json(tunings[-1], kind=KIND), tunings[-1].parent
    here = places.get(study["settings"]["explained"], units / "none")
    permgrad = here / "permgrad.json"
    networks = {name: seeds for name, place in places.items() if (seeds := _seeds(place))}
    return Found(
        name=directory.name,
        level=level,
        settings=study["settings"],
        data=study["data"],
        note=study["note"],
        baselines={path.name: seeds for path in sorted(units.glob("baselines/*")) if (seeds := _seeds(path))},
        tuning=tuning,
        networks=networks,
        ensembles={
            name: seeds
            for name, members in ensembles.items()
            if set(members) <= set(networks)
            and (seeds := average_by_seed(study["data"], [networks[member] for member in members]))
        },
        mistakes={path.stem: read_json(path, kind=KIND) for path in sorted(here.glob("mistakes/*.json"))},
        layouts=dict(sorted(_layouts(here))),
        balanced=_seeds(here, "balanced"),
        permgrad=read_json(permgrad, kind=KIND) if permgrad.is_file() else None,
    )


def _seeds(directory: Path, prefix: str = "random_state") -> BySeed:
    found = {int(path.stem.rpartition("_")[2]): path for path in directory.glob(f"{prefix}_*.json")}
    return {random_state: read_json(found[random_state], kind=KIND) for random_state in sorted(found)}


def _layouts(place: Path) -> Iterator[tuple[tuple[str, int], BySeed]]:
    for path in place.glob("layouts/*"):
        kind, _, size = path.name.rpartition(" ")
        yield (kind, int(size)), _seeds(path)
