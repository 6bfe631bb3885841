"""``permgrad merge``: put the shards of a ranking together."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from permgrad.cli._shards import FILE, KIND, MEASURED, file_of
from permgrad.cli._shown import show_ranking
from permgrad.cli._tables import same_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from permgrad.cli._steps import Steps
    from permgrad.data.table import Table
    from permgrad.importance.ranking import FeatureRanking

IN_COMMON = ("of", "data", "split_random_state", "settings", "steps", "model", "versions")
PLACES = ("path", "note", "read")
"""Of what is known of the data, what says where a file is, and not what is in it."""


@click.command()
@click.argument("shards", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="DIR...")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Results directory.")
@click.option("--table", metavar="FILE", help="The ranked file, if it has moved.")
@click.option("--overwrite", is_flag=True, help="Replace an existing results directory.")
def merge(shards: tuple[Path, ...], out: Path, table: str | None, overwrite: bool) -> None:
    """Put together the shards in DIR..., which `permgrad rank --shard` wrote.

    The results equal those of one whole run: `report.html`, `ranking.csv`, `ranking.json`, `model/` and pictures. You
    need every shard, once, all of the same table and settings.
    """
    from permgrad.cli._steps import Steps
    from permgrad.directories import new_directory

    found = read_shards(shards)
    first = next(iter(found.values()))
    steps = Steps(**first["steps"])
    with new_directory(out, overwrite=overwrite, protected=shards) as staging:
        data = same_table(table, first["data"], next(iter(found)))
        write = _write_saved_model if "model" in first else _write_results
        ranking = write(staging, found, data, steps)
    show_ranking(ranking)
    click.echo(f"\nresults of {len(found)} shards in {out}/")


def read_shards(directories: Sequence[Path]) -> dict[Path, dict[str, Any]]:
    """Return what each shard says of itself, in the order of their numbers.

    Raises
    ------
    PermGradError
        If one is missing, there twice, or of another table or other settings than the rest.
    """
    from permgrad.errors import PermGradError
    from permgrad.files import read_json

    none = [path for path in directories if not (path / FILE).exists()]
    if none:
        raise PermGradError(f"{none[0]} has no {FILE}; give directories that permgrad rank --shard wrote")
    found = sorted(
        ((read_json(path / FILE, kind=KIND), path) for path in directories), key=lambda one: one[0]["number"]
    )
    known, where = found[0]
    for other, path in found[1:]:
        for name in IN_COMMON:
            if _content(known, name) != _content(other, name):
                raise PermGradError(f"{path} is a shard with other {_what(known, other, name)} than {where}")
    there = [one["number"] for one, _ in found]
    missing = sorted(set(range(1, known["of"] + 1)) - set(there))
    doubled = sorted({number for number in there if there.count(number) > 1})
    if missing or doubled:
        numbers = ", ".join(f"{number}/{known['of']}" for number in missing or doubled)
        raise PermGradError(f"shard {numbers} {'is missing' if missing else 'is there more than once'}")
    return {path: one for one, path in found}


def _content(shard: dict[str, Any], name: str) -> Any:
    content = shard.get(name)
    return {key: value for key, value in content.items() if key not in PLACES} if isinstance(content, dict) else content


def _what(one: dict[str, Any], other: dict[str, Any], name: str) -> str:
    """Name what two shards differ in."""
    first, second = _content(one, name), _content(other, name)
    if not isinstance(first, dict) or not isinstance(second, dict):
        return {"of": "parts", "model": "models"}.get(name, name)
    differing = sorted(key for key in {*first, *second} if first.get(key) != second.get(key))
    return f"{name} ({', '.join(differing)})"


def _write_results(directory: Path, found: dict[Path, dict[str, Any]], data: Table, steps: Steps) -> FeatureRanking:
    """Write the results of networks that the shards trained."""
    import permgrad as pg
    from permgrad.evaluation.reference_models import FILE as REFERENCE_MODELS
    from permgrad.report.directory import write_results
    from permgrad.report.results import Results

    place, first = next(iter(found.items()))
    estimator, groups = pg.load(place / "model"), None
    test = data.split(random_state=first["split_random_state"])[2]
    if steps.trainings > 1:
        paths = [path for number in range(steps.trainings) for path in found if (path / file_of(number)).exists()]
        numbers = range(steps.trainings)
        rankings = [pg.FeatureRanking.load(path / file_of(n)) for n, path in zip(numbers, paths, strict=True)]
        ranking = steps.averaged(rankings, first["n_train"])
        groups = pg.FeatureRanking.load(place / "groups.json") if (place / "groups.json").exists() else None
    else:
        with tempfile.TemporaryDirectory() as joined:
            ranking, groups = _joined(found, steps, Path(joined)).rank(estimator, test)
    told = dict.fromkeys(note for shard in found.values() for note in shard["notes"])
    notes = tuple(note for note in told if note not in data.said)
    models = pg.ReferenceModels.load(place / REFERENCE_MODELS)
    known: Any = {"groups": groups, "command": first["command"], "models": models, "notes": notes}
    return write_results(directory, Results(estimator, ranking, data, test, first["split_random_state"], **known))


def _joined(found: dict[Path, dict[str, Any]], steps: Steps, directory: Path) -> Steps:
    """Put what the shards measured together, and return the steps that go on from it."""
    from dataclasses import replace

    from permgrad.errors import PermGradError, listing
    from permgrad.importance.parts import join

    first, *others = found
    stem, suffix = Path(MEASURED).stem, Path(MEASURED).suffix
    for path in sorted(first.glob(f"{stem}*{suffix}")):
        parts = [path, *(other / path.name for other in others)]
        absent = [part for part in parts if not part.exists()]
        if absent:
            raise PermGradError(f"{listing(map(str, absent))} is missing; run that shard again")
        join(parts, directory / path.name)
    return replace(steps, checkpoint=str(directory / MEASURED))


def _write_saved_model(directory: Path, found: dict[Path, dict[str, Any]], data: Table, steps: Steps) -> FeatureRanking:
    """Write the ranking by a model that was there already."""
    from permgrad.cli._saved_model import rank_model, same_model, write_ranked

    first = next(iter(found.values()))
    path = same_model(first["model"])
    with tempfile.TemporaryDirectory() as joined:
        ranked = rank_model(path, data, first["task"], _joined(found, steps, Path(joined)), first["command"])
    return write_ranked(directory, ranked, data)
