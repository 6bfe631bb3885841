"""A part of a ranking's work, done on one machine of several: ``permgrad rank --shard 3/10``, and what it writes.

Of several trainings, a shard does some; of one network, it permutes some of the columns. Its directory holds what was
done, and ``shard.json``, which says of what; `permgrad merge` puts the shards together.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from permgrad.cli._fitting import build_estimator, fit
from permgrad.cli._notes import notes_printed

if TYPE_CHECKING:
    from permgrad.cli._fitting import Fitted
    from permgrad.cli._steps import Steps
    from permgrad.data.table import Table

T = TypeVar("T")
FILE, KIND = "shard.json", "permgrad.Shard"
MEASURED = "measured.npz"
"""Of a shard of columns, what permutations gave; for further ones, as of alike rows, files are beside it."""
APART = {"--shard": 1, "--out": 1, "--workers": 1, "--overwrite": 0}
"""Options that differ from shard to shard, and how many values each has."""


@dataclass(frozen=True)
class Shard:
    """The `number`-th of `of` parts, from 1."""

    number: int
    of: int

    def part(self, items: Sequence[T]) -> Sequence[T]:
        """Return this shard's items."""
        return items[self.number - 1 :: self.of]

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


class ShardOf(click.ParamType):
    """A part of how many, as in ``3/10``."""

    name = "shard"

    def convert(self, value: Any, param: Any, ctx: Any) -> Shard:
        """Return the shard."""
        if isinstance(value, Shard):
            return value
        number, _, of = value.partition("/")
        if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of) <= 10_000):
            self.fail(f"{value!r} is not a part of how many, such as 3/10.", param, ctx)
        return Shard(int(number), int(of))

    def get_metavar(self, param: Any, ctx: Any = None) -> str:
        """Return what the help shows for the value."""
        return "I/N"


def check_shard(shard: Shard, steps: Steps, *, by_blocks: bool) -> None:
    """Raise for what cannot be had of a part of the work."""
    from permgrad.errors import PermGradError

    if by_blocks:
        raise PermGradError("--shard is for tables in memory; leave it out, or pass --no-stream")
    if steps.evaluate:
        raise PermGradError("--evaluate tests a whole ranking; merge the shards, then run permgrad evaluate")
    if steps.by is not None:
        raise PermGradError("--by scores one network on all columns; leave it out, or --shard")
    if steps.trainings > 1 and shard.of > steps.trainings:
        raise PermGradError(
            f"--shard {shard} divides {steps.trainings} trainings; there cannot be more shards than trainings"
        )
    if steps.trainings > 1:
        return
    if steps.formula in (None, "game"):
        raise PermGradError(
            "--shard divides the trainings (--trainings K) or, with one network, the columns; the game of all columns"
            " cannot be divided: add --formula last-in (permutation importance)"
        )
    if steps.groups:
        raise PermGradError("--groups ranks groups, which a shard of the columns has not; leave it out, or --shard")


def write_shard(
    directory: Path, shard: Shard, data: Table, split_random_state: int, settings: dict[str, Any], steps: Steps
) -> None:
    """Do a shard's part of the work on a table, and write it.

    Parameters
    ----------
    directory : Path
        Empty.
    shard : Shard
    data : Table
    split_random_state : int
    settings : dict
        Of the estimator.
    steps : Steps
    """
    numbers = shard.part(range(steps.trainings)) if steps.trainings > 1 else range(1)
    known: dict[str, Any] = {}
    if 0 in numbers:
        known["n_train"] = _write_first(directory, fit(data, split_random_state, settings, steps), steps, shard)
    further = [number for number in numbers if number > 0]
    estimator = build_estimator(data, settings)
    rankings = steps.trained(estimator, data, split_random_state, further)
    for number, ranking in zip(further, rankings, strict=True):
        ranking.save(directory / file_of(number))
    known |= {"split_random_state": split_random_state, "settings": settings}
    write_facts(directory, shard, steps, data, known)


def write_facts(directory: Path, shard: Shard, steps: Steps, data: Table, known: dict[str, Any]) -> None:
    """Write ``shard.json``: the part, and all that shards of one ranking have in common."""
    from permgrad.estimators.saving import versions
    from permgrad.files import write_json
    from permgrad.report.results import facts_of

    content = {
        "kind": KIND,
        "number": shard.number,
        "of": shard.of,
        "data": facts_of(data),
        "steps": asdict(replace(steps, part=None, checkpoint=None)),
        "versions": versions(),
        "command": shlex.join(["permgrad", *_alike(sys.argv[1:])]),
        "notes": [*data.said, *notes_printed()],
        **known,
    }
    write_json(directory / FILE, content)


def file_of(number: int) -> str:
    """Return the name of a training's ranking, counted from 0."""
    return f"training{number + 1}.json"


def parted(steps: Steps, shard: Shard, directory: Path) -> Steps:
    """Return the steps of a shard of the columns, which keep what they measure."""
    return replace(steps, part=(shard.number, shard.of), checkpoint=str(directory / MEASURED))


def _write_first(directory: Path, fitted: Fitted, steps: Steps, shard: Shard) -> int:
    """Rank by the first network; write it, what is known of it, and its ranking, or what its permutations gave."""
    from permgrad.estimators.saving import write_estimator
    from permgrad.evaluation.reference_models import FILE as REFERENCE_MODELS

    (directory / "model").mkdir()
    write_estimator(fitted.estimator, directory / "model")
    fitted.models.save(directory / REFERENCE_MODELS)
    if steps.trainings == 1:
        parted(steps, shard, directory).rank(fitted.estimator, fitted.test)
        return len(fitted.rows)
    ranking, groups = steps.rank(fitted.estimator, fitted.test)
    ranking.save(directory / file_of(0))
    if groups is not None:
        groups.save(directory / "groups.json")
    return len(fitted.rows)


def _alike(arguments: Sequence[str]) -> list[str]:
    """Leave out what differs from shard to shard."""
    left, skip = [], 0
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        if skip:
            skip -= 1
        elif name in APART:
            skip = 0 if equals else APART[name]
        else:
            left.append(argument)
    return left
